"""Tuples → labels: the rows of `er_labels`, from every teacher that is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pyarrow as pa

from distiller_udf.budget import Budget
from distiller_udf.ids import id_texts
from distiller_udf.labels.panel import Estimate, Labelled, Panel
from distiller_udf.labels.progress import OnProgress, unseen
from distiller_udf.labels.store import LabelStore
from distiller_udf.labels.table import Key, label_schema, label_table
from distiller_udf.labels.tuples import Tuples
from distiller_udf.privacy import Privacy
from distiller_udf.teachers.base import Teacher

Pairs: TypeAlias = "pa.Table | Callable[[], pa.Table] | None"


def label_tuples(
    tuples: pa.Table | pa.RecordBatchReader,
    *,
    teachers: Sequence[Teacher],
    store: LabelStore,
    budget: Budget | None = None,
    privacy: Privacy | None = None,
    pairs: Pairs = None,
    progress: OnProgress | None = None,
) -> pa.Table:
    """Have every teacher answer every tuple, through the store: rows of `er_labels`, one an answer, teacher by teacher.

    `tuples` has the columns of `er_tuples`; ids keep their type. `pairs` are all candidate pairs, or a function that
    fetches them, for a teacher that looks at them first. `privacy` says which columns no teacher outside this process
    may see. A question that failed gives no row, so that an earlier answer stays where it is; it is not stored, and is
    asked again by the next run. A spent budget ends the run in the same manner, and the last progress says so.

    Raises LabelError when the tuples or the store cannot be used, SettingsError when a column that is to be private is
    not there, and TeacherError when a teacher cannot be asked; whatever was answered until then is kept.
    """
    read, panel = _panel(tuples, store, budget, privacy, pairs, progress)
    tables = [_rows(read, panel.ask(teacher)) for teacher in teachers]
    return pa.concat_tables(tables) if tables else label_schema(read.left_id.type).empty_table()


def estimate(
    tuples: pa.Table | pa.RecordBatchReader,
    *,
    teachers: Sequence[Teacher],
    store: LabelStore,
    privacy: Privacy | None = None,
    pairs: Pairs = None,
) -> list[Estimate]:
    """What `label_tuples` would ask and about what it would cost, teacher by teacher. It asks nothing."""
    _, panel = _panel(tuples, store, None, privacy, pairs, None)
    return [part for teacher in teachers for part in panel.estimate(teacher)]


def _panel(
    tuples: pa.Table | pa.RecordBatchReader,
    store: LabelStore,
    budget: Budget | None,
    privacy: Privacy | None,
    pairs: Pairs,
    progress: OnProgress | None,
) -> tuple[Tuples, Panel]:
    read = Tuples.from_table(tuples.read_all() if isinstance(tuples, pa.RecordBatchReader) else tuples)
    hidden = privacy or Privacy()
    if read.columns is not None:
        hidden.check_columns(read.columns)

    def all_pairs() -> pa.Table:
        return pairs() if callable(pairs) else read.pairs() if pairs is None else pairs

    texts = [(question.query, question.candidates) for question in read.questions]
    return read, Panel(
        texts,
        store,
        budget or Budget(),
        hidden,
        records=_keys(read),
        rows=read.columns is not None,
        pairs=all_pairs,
        progress=progress or unseen,
    )


def _keys(read: Tuples) -> list[list[Key]]:
    """The source and id of every tuple's records, the left one first, as text."""
    left = list(zip(map(str, read.left_source.to_pylist()), id_texts(read.left_id), strict=True))
    members = list(zip(map(str, read.sources.to_pylist()), id_texts(read.ids), strict=True))
    spans = zip(left, read.offsets[:-1], read.offsets[1:], strict=True)
    return [[key, *members[start:stop]] for key, start, stop in spans]


def _rows(read: Tuples, labels: Sequence[Labelled]) -> pa.Table:
    """One teacher's labels as rows of `er_labels`, without those that failed."""
    table = label_table(
        read,
        [label.key for label in labels],
        [label.answer for label in labels],
        [label.teacher.name for label in labels],
        [(asking.ask, asking.orders, asking.seed) for asking in (label.teacher.asking for label in labels)],
    )
    answered = [not label.answer.failed for label in labels]
    return table if all(answered) else table.filter(pa.array(answered, pa.bool_()))
