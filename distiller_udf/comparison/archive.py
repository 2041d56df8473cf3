"""The comparisons of a student's versions as JSON files beside them, and as rows of `er_student_comparisons`."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.comparison.comparison import Comparison
from distiller_udf.errors import StudentError

logger = logging.getLogger(__name__)

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
            _replace(path, json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False) + "\n")
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


def _replace(path: Path, text: str) -> None:
    """Replace a file whole and durably."""
    handle, staged = tempfile.mkstemp(prefix=".staged-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(staged).chmod(0o644)
        Path(staged).replace(path)
    finally:
        with suppress(FileNotFoundError):
            Path(staged).unlink()


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
