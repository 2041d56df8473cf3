"""Pairs of records as rows of similarity features: fitted once on the candidates, without labels."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distiller_udf.records import TEXT_COLUMN, Column, Records
from distiller_udf.similarity.columns import ComparedFeatures, Comparison, Matching, match_columns
from distiller_udf.similarity.compare import FEATURES, compare
from distiller_udf.similarity.vectors import Rarity, ValueCache

PAIR_FEATURES = {"comparable": 0, "filled_min": 0, "filled_max": 0, "same_name_column": 1}
"""Features of the pair as a whole: which columns could be compared at all."""

COMPARISONS_FILE = "comparisons.json"


class PairFeatures(ComparedFeatures):
    """Turns pairs of records into similarity features: those of compared columns, and some of the pair as a whole."""

    def __init__(self, comparisons: Sequence[Comparison], rarity: Rarity) -> None:
        super().__init__(comparisons, FEATURES)
        self._add("pair", -1, PAIR_FEATURES)
        self.rarity = rarity
        self._cache = ValueCache(rarity)
        self._lock = threading.Lock()

    @classmethod
    def fit(cls, left: Records, right: Records, matching: Matching | None = None) -> PairFeatures:
        """Fit on candidate pairs: row i of both sides is one pair. `matching` says how their columns are compared.

        Without it columns are matched by the values of these pairs; see `match_columns`.
        """
        left, right = left.leaves(), right.leaves()
        matching = matching or match_columns(left, right)
        left, right = matching.compared(left, right)
        documents = list(dict.fromkeys(_record_texts(left) + _record_texts(right)))
        return cls(matching.comparisons, Rarity.fit(documents))

    def transform(self, left: Records, right: Records) -> np.ndarray:
        """Features of each pair: float32, shape (pairs, features); NaN = not comparable.

        Columns that are in no comparison are passed over; a record given as plain text is compared as a whole.
        """
        sides = zip((left, right), self.columns, strict=True)
        left, right = ((s if s.is_plain else s.with_columns(names)).leaves() for s, names in sides)
        columns: list[np.ndarray] = []
        with self._lock:
            self._cache.begin()
            for comparison in self.comparisons:
                a = _view(comparison.kind, left, comparison.left_columns)
                b = _view(comparison.kind, right, comparison.right_columns)
                features = compare(comparison, a, b, self._cache)
                columns += [features[name] for name in FEATURES[comparison.kind]]
        columns += self._pair_features(left, right, columns)
        return np.column_stack(columns).astype(np.float32)

    @property
    def columns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns of the left and of the right record that are compared."""
        sides = zip(*((c.left_columns, c.right_columns) for c in self.comparisons), strict=True)
        left, right = (tuple(dict.fromkeys(name for names in side for name in names)) for side in sides)
        return left, right

    def _pair_features(self, left: Records, right: Records, columns: list[np.ndarray]) -> list[np.ndarray]:
        comparable = np.zeros(len(left))
        same = np.full(len(left), np.nan)
        start = 0
        for comparison in self.comparisons:
            if comparison.kind not in ("record", "name"):
                comparable += ~np.isnan(columns[start])
            if comparison.kind == "name" and max(len(comparison.left_columns), len(comparison.right_columns)) > 1:
                same = _same_column(left, right, comparison)
            start += len(FEATURES[comparison.kind])
        filled = [sum((c.codes >= 0 for c in s.columns.values()), np.zeros(len(s))) for s in (left, right)]
        return [comparable, np.minimum(*filled), np.maximum(*filled), same]

    def save(self, folder: Path) -> None:
        """Write the fitted state into `folder`: JSON and Parquet only."""
        folder.mkdir(parents=True, exist_ok=True)
        state = [comparison.state for comparison in self.comparisons]
        (folder / COMPARISONS_FILE).write_text(json.dumps(state, ensure_ascii=False, indent=1), encoding="utf-8")
        self.rarity.save(folder)

    @classmethod
    def load(cls, folder: Path) -> PairFeatures:
        """Read what `save` wrote. Raises OSError, ValueError, KeyError or TypeError for other files."""
        state = json.loads((folder / COMPARISONS_FILE).read_text(encoding="utf-8"))
        return cls(list(map(Comparison.of, state)), Rarity.load(folder))


def _view(kind: str, records: Records, names: Sequence[str]) -> Column:
    """The values that a comparison sees of each record, as one column."""
    if kind == "record":
        return _whole(records, names)
    known = [records.columns[n] for n in names if n in records.columns]
    if not known:
        return Column(np.full(len(records), -1, dtype=np.int32), ())
    column = known[0]
    for other in known[1:]:
        codes = np.where((column.codes < 0) & (other.codes >= 0), other.codes + len(column.values), column.codes)
        column = Column(codes, (*column.values, *other.values))
    return column


def _whole(records: Records, names: Sequence[str]) -> Column:
    """All known columns of each record as one text; a record given as plain text is taken as it is."""
    if records.is_plain:
        return records.columns[TEXT_COLUMN]
    known = records.with_columns([n for n in names if n in records.columns])
    if not known.names:
        return Column(np.full(len(records), -1, dtype=np.int32), ())
    first, inverse = known.distinct
    lists = [column.to_list() for column in known.take(first).columns.values()]
    texts = [" ".join(v for v in row if v is not None) or None for row in zip(*lists, strict=True)]
    column = Column.from_values(texts)
    return column.take(inverse)


def _record_texts(records: Records) -> list[str]:
    return list(_whole(records, records.names).values)


def _same_column(left: Records, right: Records, comparison: Comparison) -> np.ndarray:
    """1 where both sides are named by columns of the same name, 0 where not, NaN where a side is unnamed."""
    sides, positions = [], {name: i for i, name in enumerate({*comparison.left_columns, *comparison.right_columns})}
    for records, names in ((left, comparison.left_columns), (right, comparison.right_columns)):
        used = np.full(len(records), -1)
        for name in reversed(names):
            if name in records.columns:
                used[records.columns[name].codes >= 0] = positions[name]
        sides.append(used)
    same = np.asarray(sides[0] == sides[1], dtype=float)
    same[(sides[0] < 0) | (sides[1] < 0)] = np.nan
    return same
