"""A budget is kept to the call, however many calls are under way at once."""

from __future__ import annotations

import threading
import time

import pytest

from distiller_udf.budget import Budget, Cost, Ledger, Limits, estimated_tokens, ledger_of
from distiller_udf.errors import BudgetSpent, SettingsError

CALL = Cost(1, 10, 5, 0.25)


def spend(budget: Budget, at_most: Cost = CALL, actual: Cost | None = None) -> None:
    with budget.reserve(at_most) as reservation:
        if actual is not None:
            reservation.settle(actual)


def test_costs_add_up_and_an_unknown_price_stays_unknown() -> None:
    assert Cost(2, 20, 10, 0.5) == CALL + CALL
    assert (CALL + Cost(1, usd=None)).usd is None
    assert CALL.tokens == 15


@pytest.mark.parametrize(
    ("limits", "calls", "said"),
    [
        (Limits(calls=3), 3, "3 calls"),
        (Limits(tokens=44), 2, "44 tokens"),
        (Limits(tokens=45), 3, "45 tokens"),
        (Limits(usd=1.0), 4, "1 US dollars"),
        (Limits(usd=0.1), 0, "0.1 US dollars"),
        (Limits(calls=0), 0, "0 calls"),
    ],
)
def test_a_limit_is_never_passed(limits: Limits, calls: int, said: str) -> None:
    budget = Budget(limits)
    for _ in range(calls):
        spend(budget)
    with pytest.raises(BudgetSpent, match=f"the budget of {said} is spent"):
        spend(budget)
    assert budget.spent.calls == calls


def test_without_limits_everything_is_counted_and_nothing_refused() -> None:
    budget = Budget()
    for _ in range(50):
        spend(budget, actual=Cost(1, 1, 1, None))
    assert budget.spent == Cost(50, 50, 50, 0.0)


def test_what_a_call_did_cost_counts_not_what_it_might_have() -> None:
    budget = Budget(Limits(tokens=100))
    for _ in range(5):
        spend(budget, Cost(1, 20, 40), Cost(1, 5, 5))
    assert budget.spent.tokens == 50
    with pytest.raises(BudgetSpent):
        spend(budget, Cost(1, 20, 40))
    spend(budget, Cost(1, 20, 30))


def test_a_call_that_raised_counts_as_it_was_reserved() -> None:
    budget = Budget(Limits(calls=5))
    with pytest.raises(RuntimeError), budget.reserve(CALL):
        raise RuntimeError("the connection broke")
    assert budget.spent == CALL


def test_a_call_waits_for_those_under_way_that_may_leave_enough() -> None:
    budget = Budget(Limits(tokens=100))
    inside, leave, done = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with budget.reserve(Cost(1, 40, 60)) as reservation:
            inside.set()
            leave.wait(5)
            reservation.settle(Cost(1, 5, 5))

    def second() -> None:
        spend(budget, Cost(1, 40, 40), Cost(1, 20, 0))
        done.set()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(5)
    threads[1].start()
    assert not done.wait(0.2), "the second call had to wait"
    leave.set()
    assert done.wait(5)
    assert budget.spent == Cost(2, 25, 5)
    for thread in threads:
        thread.join()


def test_many_threads_never_pass_the_limit() -> None:
    budget, refused = Budget(Limits(calls=100, usd=25.0)), []

    def work() -> None:
        for _ in range(20):
            try:
                with budget.reserve(CALL):
                    time.sleep(0.0005)
            except BudgetSpent as error:
                refused.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent.calls == 100
    assert refused


def test_budgets_over_one_ledger_share_what_is_spent() -> None:
    ledger = Ledger()
    spend(Budget(Limits(calls=3), ledger))
    spend(Budget(Limits(calls=3), ledger))
    with pytest.raises(BudgetSpent):
        spend(Budget(Limits(calls=2), ledger))
    assert ledger_of("a run") is ledger_of("a run")
    assert ledger_of("a run") is not ledger_of("another run")


def test_dollars_cannot_be_limited_without_a_price() -> None:
    with pytest.raises(SettingsError, match="price"):
        spend(Budget(Limits(usd=5)), Cost(1, 10, 5, None))
    spend(Budget(Limits(calls=5)), Cost(1, 10, 5, None))


@pytest.mark.parametrize("limits", [{"calls": -1}, {"tokens": -0.5}, {"usd": float("nan")}])
def test_a_limit_below_zero_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=f"budget_{next(iter(limits))}"):
        Limits(**limits)  # type: ignore[arg-type]


def test_tokens_are_estimated_on_the_high_side() -> None:
    text = "Sony PS-LX350H fully automatic turntable, black, 33 and 45 rpm"
    assert len(text) / 4 < estimated_tokens(text) <= len(text) / 2
    assert estimated_tokens("") == 0
