"""A comparison of a challenger with the current student, kept as JSON beside the versions and as a row of a table."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.errors import StudentError
from distiller_udf.files import write_text
from distiller_udf.metrics.figures import Difference, Estimate, Figures

logger = logging.getLogger(__name__)

FORMAT = 1

FOLDER = ".comparisons"
"""Beside the versions; no version's name begins with a dot."""

_INTERVALS = ("f1", "f1_low", "f1_high")
COMPARISON_SCHEMA = pa.schema(
    [
        ("compared_at", pa.timestamp("us")),
        ("challenger", pa.string()),
        ("current", pa.string()),
        ("worthy", pa.bool_()),
        ("promoted", pa.bool_()),
        ("reasons", pa.list_(pa.string())),
        ("labels_new", pa.int64()),
        ("tuples", pa.int64()),
        ("tuples_seen_by_current", pa.int64()),
        *((name, pa.float64()) for name in _INTERVALS),
        *((f"current_{name}", pa.float64()) for name in _INTERVALS),
        *((f"difference_{name}", pa.float64()) for name in _INTERVALS),
        ("risk", pa.float64()),
        ("select_accuracy", pa.float64()),
        ("current_select_accuracy", pa.float64()),
        ("calibration_error", pa.float64()),
        ("current_calibration_error", pa.float64()),
        ("gold_f1", pa.float64()),
        ("current_gold_f1", pa.float64()),
        ("pairs_gained", pa.int64()),
        ("pairs_lost", pa.int64()),
        ("pairs_kept", pa.int64()),
        ("pairs_changed", pa.float64()),
        ("entities_merged", pa.int64()),
        ("entities_split", pa.int64()),
        ("entities_renamed", pa.int64()),
        ("records_renamed", pa.int64()),
    ]
)


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
class Changes:
    """How one set of decisions differs from another over the same records.

    `pairs_changed` is the share of gained and lost pairs among all pairs of either. An entity is merged where it holds
    records of several earlier ones, split where its records are now in several; renamed where most of it lives on (more
    than half of both) under another id. Appeared and vanished count the ids, renamed ones left out; `records_renamed`
    the records whose `entity_id` is another one. What is about entities is None in a project without er_entities.
    """

    pairs_gained: int
    pairs_lost: int
    pairs_kept: int
    pairs_changed: float
    entities_merged: int | None = None
    entities_split: int | None = None
    entities_renamed: int | None = None
    entities_appeared: int | None = None
    entities_vanished: int | None = None
    entities_unchanged: int | None = None
    records_renamed: int | None = None
    examples: dict[str, list[list[str]]] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Archive:
    """The comparisons of one student; `folder` is the one that holds its versions."""

    folder: Path

    def path(self, challenger: str, current: str | None, key: str) -> Path:
        """Where a comparison is, or would be."""
        return self.folder / FOLDER / f"{challenger}-against-{current or 'nobody'}-{key}.json"

    def find(self, challenger: str, current: str | None, key: str) -> Comparison | None:
        """The comparison of these two by these very labels and margins; None where there is none that reads."""
        return _read(self.path(challenger, current, key))

    def write(self, comparison: Comparison) -> Path:
        """Write a comparison; the file appears, or is replaced, only when it is complete.

        Raises StudentError when it cannot be written.
        """
        path = self.path(comparison.challenger, comparison.current, comparison.key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False) + "\n", mode=0o644)
        except OSError as error:
            raise StudentError(
                f"the comparison {path} could not be written: {error.strerror or error}; free some space or let this "
                "user write there. The current student is unchanged"
            ) from error
        return path

    def all(self) -> list[Comparison]:
        """Every comparison that reads, the oldest first."""
        found = (_read(path) for path in sorted((self.folder / FOLDER).glob("*.json")))
        return sorted((c for c in found if c is not None), key=lambda c: (c.compared_at, c.challenger))

    def table(self) -> pa.Table:
        """The rows of `er_student_comparisons`."""
        return pa.Table.from_pylist([_row(comparison) for comparison in self.all()], schema=COMPARISON_SCHEMA)


def _read(path: Path) -> Comparison | None:
    try:
        return Comparison.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is no comparison of this version (%s); it is passed over", path, error)
        return None


def _row(comparison: Comparison) -> dict[str, Any]:
    """One comparison, flat; what it does not know is NULL."""
    new, old, changes = comparison.judged, comparison.judged_current, comparison.changes
    found, gold = comparison.difference, comparison.gold
    row: dict[str, Any] = {
        "compared_at": datetime.fromisoformat(comparison.compared_at).replace(tzinfo=None),
        "tuples": comparison.held_out.tuples,
        "tuples_seen_by_current": comparison.held_out.seen_by_current,
        "risk": found and found.risk,
        "gold_f1": gold and gold.challenger.value,
        "current_gold_f1": gold and gold.current and gold.current.value,
    }
    for name in ("challenger", "current", "worthy", "promoted", "labels_new"):
        row[name] = getattr(comparison, name)
    row["reasons"] = list(comparison.reasons)
    for prefix, about in (("", new), ("current_", old), ("difference_", found)):
        row |= dict(_intervals(prefix, about))
    for prefix, judged in (("", new), ("current_", old)):
        row[f"{prefix}select_accuracy"] = judged and judged.select_accuracy.value
        row[f"{prefix}calibration_error"] = judged and judged.calibration_error
    for name in COMPARISON_SCHEMA.names:
        if name.startswith(("pairs_", "entities_", "records_")):
            row[name] = changes and getattr(changes, name)
    return row


def _intervals(prefix: str, about: Any) -> Iterator[tuple[str, float | None]]:
    """F1 and the ends of its interval, under their columns' names."""
    for name, part in zip(_INTERVALS, ("value", "low", "high"), strict=True):
        yield f"{prefix}{name}", about and getattr(about.f1, part)
