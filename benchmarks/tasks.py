"""A benchmark task on disk: two tables, candidate pairs, a teacher's recorded answers, and the gold pairs."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distiller_udf.records import Records, one_array, record_text

FILES = ("left.parquet", "right.parquet", "gold.parquet", "candidates.parquet", "teacher_labels.parquet")
ID = "id"


@dataclass(frozen=True)
class Task:
    """All of a task except its gold pairs, which `gold` reads on their own: only after decisions are made.

    `dropped` are the ids of right records that a derived task (`thinned`) no longer has.
    """

    folder: Path
    left: Records
    right: Records
    left_ids: list[Hashable]
    right_ids: list[Hashable]
    candidates: pa.Table
    dropped: frozenset[Hashable] = frozenset()

    @property
    def name(self) -> str:
        return self.folder.name

    @classmethod
    def read(cls, folder: Path) -> Task:
        left, left_ids = _table(folder / "left.parquet")
        right, right_ids = _table(folder / "right.parquet")
        return cls(folder, left, right, left_ids, right_ids, pq.read_table(folder / "candidates.parquet"))

    def split(self, name: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers, left and right, of the candidate pairs of a split (None = all)."""
        table = self.candidates
        wanted = [name is None or split == name for split in table["split"].to_pylist()]
        left = {value: i for i, value in enumerate(self.left_ids)}
        right = {value: i for i, value in enumerate(self.right_ids)}
        pairs = zip(table["left_id"].to_pylist(), table["right_id"].to_pylist(), wanted, strict=True)
        rows = [(left[a], right[b]) for a, b, keep in pairs if keep]
        return np.asarray([a for a, _ in rows], dtype=np.int64), np.asarray([b for _, b in rows], dtype=np.int64)

    def recorded(self) -> list[tuple[str, str]]:
        """Which teachers were recorded for which selections, sorted: pairs of teacher and selection."""
        table = pq.read_table(self.folder / "teacher_labels.parquet", columns=["teacher", "selection"]).to_pydict()
        return sorted(set(zip(table["teacher"], table["selection"], strict=True)))

    def tested(self, teacher: str, selection: str) -> np.ndarray:
        """Which candidate pairs are tested, as a mask: those whose left record the teacher was not asked about."""
        labelled = {row["left_id"] for row in self._recorded(teacher, selection)}
        pairs = zip(self.candidates["split"].to_pylist(), self.candidates["left_id"].to_pylist(), strict=True)
        return np.asarray([split == "test" and left not in labelled for split, left in pairs], dtype=bool)

    def unlabelled(self, teacher: str, selection: str) -> tuple[np.ndarray, np.ndarray]:
        """The test pairs, whose left record the teacher was not asked about in this selection."""
        left, right = self.split(None)
        tested = self.tested(teacher, selection)
        return left[tested], right[tested]

    def thinned(self, share: float, seed: int) -> Task:
        """The task without a random share of its right records, so that most left records may have no match.

        Their candidate pairs and gold pairs go with them, and they are no options of a label; a label that chose
        one of them says none.
        """
        order = np.random.default_rng(seed).permutation(len(self.right_ids))
        gone, kept = np.split(order, [round(share * len(order))])
        kept = np.sort(kept)
        dropped = self.dropped | {self.right_ids[i] for i in gone}
        pairs = pa.array([i not in dropped for i in self.candidates["right_id"].to_pylist()], pa.bool_())
        right_ids = [self.right_ids[i] for i in kept]
        candidates = self.candidates.filter(pairs)
        return replace(self, right=self.right.take(kept), right_ids=right_ids, candidates=candidates, dropped=dropped)

    def gold(self) -> dict[Hashable, Hashable]:
        """Left id → its true match; the smallest where there are several."""
        result: dict[Hashable, Any] = {}
        for row in pq.read_table(self.folder / "gold.parquet").to_pylist():
            if row["right_id"] in self.dropped:
                continue
            known = result.get(row["left_id"])
            result[row["left_id"]] = row["right_id"] if known is None else min(known, row["right_id"])
        return result

    def labels(self, teacher: str, selection: str, own_candidates: bool = False) -> pa.Table:
        """The teacher's recorded answers for the selection, in the shape of `er_labels`.

        An answer that names none of the options is an abstention. A question of which all options are dropped would
        never have been asked. With `own_candidates` the options are this task's candidates instead of those that the
        teacher was shown.
        """
        own: dict[Hashable, list[Hashable]] = {}
        for pair in self.candidates.to_pylist() if own_candidates else ():
            own.setdefault(pair["left_id"], []).append(pair["right_id"])
        left, right = _texts(self.left, self.left_ids), _texts(self.right, self.right_ids)
        rows = []
        for row in self._recorded(teacher, selection):
            asked = self._own_options(row, own) if own_candidates else row["options"]
            options = [i for i in asked if i not in self.dropped]
            if not options and (row["options"] or own_candidates):
                continue
            rows.append(
                {
                    "left_source": "left",
                    "left_id": str(row["left_id"]),
                    "teacher": teacher,
                    "choice": _choice(row, options),
                    "query": left[row["left_id"]],
                    "options": [{"source": "right", "id": str(i), "record": right[i]} for i in options],
                }
            )
        if not rows:
            raise SystemExit(f"{self.name} has no labels of teacher {teacher} for the selection {selection}")
        return pa.Table.from_pylist(rows)

    def _own_options(self, row: Mapping[str, Any], own: Mapping[Hashable, list[Hashable]]) -> list[Hashable]:
        """This task's candidates of a recorded question's left record, and what was chosen, were it not among them."""
        options = list(own.get(row["left_id"], []))
        answer, asked = row["answer"], row["options"]
        if answer and answer <= len(asked) and asked[answer - 1] not in options:
            options.append(asked[answer - 1])
        return options

    def _recorded(self, teacher: str, selection: str) -> list[dict[str, Any]]:
        columns = ["selection", "teacher", "left_id", "options", "answer"]
        table = pq.read_table(self.folder / "teacher_labels.parquet", columns=columns)
        return [row for row in table.to_pylist() if (row["teacher"], row["selection"]) == (teacher, selection)]


def find_tasks(data: Path) -> list[Path]:
    """Every folder under `data` that holds the five files of a task, by name."""
    return sorted(p.parent for p in data.rglob(FILES[0]) if all((p.parent / f).is_file() for f in FILES))


def paper_results(data: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The paper's systems, task by task, where the folder has them."""
    path = data / "paper_results.json"
    results: dict[str, dict[str, dict[str, float]]] = {}
    if path.is_file():
        results = json.loads(path.read_text(encoding="utf-8")).get("matching", {})
    return results


def candidate_batch(task: Task) -> pa.RecordBatch:
    """All candidate pairs of a task, unlabelled: `left`, `right` and `tuple`."""
    left, right = task.split(None)
    columns = [struct(task.left, left), struct(task.right, right), pa.array(left)]
    return pa.RecordBatch.from_arrays(columns, ["left", "right", "tuple"])


def struct(records: Records, rows: np.ndarray) -> pa.StructArray:
    """The records at the given positions as Arrow structs of text."""
    arrays = [pa.array(column.to_list(), pa.string()) for column in records.columns.values()]
    return pa.StructArray.from_arrays(arrays, list(records.names)).take(pa.array(rows))


def _choice(row: Mapping[str, Any], options: Sequence[Hashable]) -> int | None:
    """The position, from 1, among the options that are left of what a recorded answer chose; 0 = none of them."""
    answer, asked = row["answer"], row["options"]
    if answer is None or not 0 <= answer <= len(asked):
        return None
    return options.index(asked[answer - 1]) + 1 if answer and asked[answer - 1] in options else 0


def _table(path: Path) -> tuple[Records, list[Hashable]]:
    table = pq.read_table(path)
    names = [n for n in table.column_names if n != ID]
    struct = pa.StructArray.from_arrays([one_array(table[n]) for n in names], names)
    return Records.from_arrow(struct), table[ID].to_pylist()


def _texts(records: Records, ids: list[Hashable]) -> dict[Hashable, str]:
    return {i: record_text(row) for i, row in zip(ids, records.to_dicts(), strict=True)}
