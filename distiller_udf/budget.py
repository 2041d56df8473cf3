"""A budget: what a run may spend on calls, tokens and dollars, and what it has spent.

Every call is reserved before it is made, at the most that it may cost, and settled at what it did cost; so a limit is
kept however many calls are under way at once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from distiller_udf.english import counted
from distiller_udf.errors import BudgetSpent, SettingsError

_BYTES_A_TOKEN = 3.0


@dataclass(frozen=True)
class Cost:
    """Calls, tokens in and out, and US dollars; `usd` None = the price is unknown, which is never taken as zero."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def price(self) -> str:
        """The US dollars for people; an unknown price is never shown as zero."""
        return "an unknown price" if self.usd is None else f"${self.usd:.4f}"

    def __add__(self, other: Cost) -> Cost:
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        given, made = self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens
        return Cost(self.calls + other.calls, given, made, usd)

    def __neg__(self) -> Cost:
        return Cost(-self.calls, -self.input_tokens, -self.output_tokens, None if self.usd is None else -self.usd)

    def __sub__(self, other: Cost) -> Cost:
        return self + -other


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, rather too many: three bytes a token, where English prose has about four."""
    return math.ceil(len(text.encode("utf-8")) / _BYTES_A_TOKEN)


@dataclass(frozen=True)
class Limits:
    """What a run may spend at most; None = no limit. Raises SettingsError for a limit below zero."""

    calls: int | None = None
    tokens: int | None = None
    usd: float | None = None

    def __post_init__(self) -> None:
        for name in ("calls", "tokens", "usd"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise SettingsError(f"budget_{name} is {value!r}; it must be a number from 0, or null for no limit")

    def exceeded(self, cost: Cost) -> str | None:
        """The limit that `cost` is over, as a sentence's end; None where it is within all of them."""
        if self.calls is not None and cost.calls > self.calls:
            return counted(self.calls, "call")
        if self.tokens is not None and cost.tokens > self.tokens:
            return counted(self.tokens, "token")
        if self.usd is not None and (cost.usd is None or cost.usd > self.usd + 1e-12):
            return f"{self.usd:g} US dollars"
        return None


class Ledger:
    """What a run has spent and what its calls under way may still cost; shared by all its threads."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.spent = Cost()
        self.reserved = Cost()
        self.stopped: str | None = None

    def stop(self, reason: str) -> None:
        """Let no further call be made, for this reason."""
        with self.changed:
            self.stopped = reason
            self.changed.notify_all()


class Reservation:
    """One call's share of the budget: taken at the most that it may cost, settled at what it did cost."""

    def __init__(self, at_most: Cost) -> None:
        self.actual = at_most

    def settle(self, actual: Cost) -> None:
        """Say what the call did cost. A call that is never settled counts as its reservation."""
        self.actual = actual


class Budget:
    """The limits of a run over its ledger, which several budgets may share. Thread-safe."""

    def __init__(self, limits: Limits | None = None, ledger: Ledger | None = None) -> None:
        self.limits = limits or Limits()
        self._ledger = ledger or Ledger()

    @property
    def spent(self) -> Cost:
        """What has been spent so far, calls under way not counted."""
        with self._ledger.changed:
            return self._ledger.spent

    @contextmanager
    def reserve(self, at_most: Cost) -> Iterator[Reservation]:
        """Reserve one call; waits while calls under way might still leave enough for it.

        Raises BudgetSpent when the limit would be passed or the ledger was stopped, and SettingsError when dollars are
        limited and the price is unknown.
        """
        if self.limits.usd is not None and at_most.usd is None:
            raise SettingsError(
                "budget_usd needs the model's price, which is unknown; add it to the file of teacher_prices, or limit "
                "calls or tokens instead"
            )
        ledger = self._ledger
        # What a call of unknown price costs must not make the sum of all others unknown.
        held = at_most if at_most.usd is not None else Cost(at_most.calls, at_most.input_tokens, at_most.output_tokens)
        with ledger.changed:
            self._check_stopped()
            while over := self.limits.exceeded(ledger.spent + ledger.reserved + held):
                if not ledger.reserved.calls or self.limits.exceeded(ledger.spent + held):
                    raise BudgetSpent(self._message(over))
                ledger.changed.wait(1.0)
                self._check_stopped()
            ledger.reserved += held
        reservation = Reservation(held)
        try:
            yield reservation
        finally:
            actual = reservation.actual
            known = Cost(actual.calls, actual.input_tokens, actual.output_tokens, actual.usd or 0.0)
            with ledger.changed:
                ledger.reserved -= held
                ledger.spent += known
                ledger.changed.notify_all()

    def _check_stopped(self) -> None:
        if self._ledger.stopped:
            raise BudgetSpent(self._ledger.stopped)

    def _message(self, over: str) -> str:
        spent = self._ledger.spent
        return (
            f"the budget of {over} is spent ({counted(spent.calls, 'call')}, "
            f"{counted(spent.tokens, 'token')}, ${spent.usd or 0.0:.4f}); "
            "raise it, or run again to ask the rest under a new one"
        )


@lru_cache(maxsize=8)
def ledger_of(run: str) -> Ledger:
    """The ledger of a run in this process, the same for all who name that run."""
    return Ledger()
