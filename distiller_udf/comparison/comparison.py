"""A comparison of a challenger with the current student: what is kept of it, and how it reads back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from distiller_udf.comparison.changes import Changes
from distiller_udf.comparison.figures import Difference, Estimate, Figures

FORMAT = 1


@dataclass(frozen=True)
class HeldOut:
    """The labels that both were judged by: `tuples` of them, with so many `matches`.

    `seen_by_current` is how many of these the current student was trained on. `fingerprint` is a hash of all of them.
    """

    fingerprint: str
    tuples: int
    matches: int
    seen_by_current: int = 0


@dataclass(frozen=True)
class AgainstGold:
    """The F1 of the decisions on all pairs against `known` matches; `risk` as in `Difference`."""

    known: int
    challenger: Estimate
    current: Estimate | None = None
    difference: Estimate | None = None
    risk: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A challenger weighed against the current student; `current` and all that is about it is None where there is none.

    `judged` is None where no held-out tuple could be had, `gold` without known matches, `changes` without the pairs.
    `current_error` says why the current student cannot be judged, where it cannot.
    `worthy` is what the rule says, `reasons` why, sentence by sentence; `promoted` says whether it came to that.
    `key` tells comparisons apart that were made of the same two students by other labels, gold or margins.
    """

    key: str
    compared_at: str
    challenger: str
    current: str | None
    labels_new: int
    held_out: HeldOut
    judged: Figures | None = None
    judged_current: Figures | None = None
    current_error: str | None = None
    difference: Difference | None = None
    gold: AgainstGold | None = None
    matches: int | None = None
    changes: Changes | None = None
    worthy: bool = False
    promoted: bool = False
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Comparison:
        """What `to_dict` made. Raises KeyError, TypeError, ValueError for anything else."""
        if state["format"] != FORMAT:
            raise ValueError(f"format {state['format']!r}")
        known = {f.name: state[f.name] for f in fields(cls)}
        kinds = {
            "held_out": HeldOut,
            "judged": Figures,
            "judged_current": Figures,
            "difference": Difference,
            "gold": AgainstGold,
            "changes": Changes,
        }
        for name, kind in kinds.items():
            known[name] = None if known[name] is None else _restored(kind, known[name])
        known["reasons"], known["notes"] = tuple(known["reasons"]), tuple(known["notes"])
        return cls(**known)


def _restored(kind: type[Any], state: Mapping[str, Any]) -> Any:
    """A dataclass of figures from its mapping; a mapping with exactly the fields of an estimate is one."""
    estimate = {f.name for f in fields(Estimate)}
    return kind(
        **{
            name: Estimate(**value) if isinstance(value, Mapping) and set(value) == estimate else value
            for name, value in state.items()
        }
    )
