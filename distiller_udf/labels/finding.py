"""Labels name records by their ids or carry them; here each finds its records, and all become rows of `er_labels`."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.constraint import Constraint
from distiller_udf.errors import LabelError, require_columns
from distiller_udf.labels.judgements import Contradiction, Found
from distiller_udf.labels.reading import good_labels
from distiller_udf.labels.table import Key, Label, Provenance, label_table
from distiller_udf.labels.tuples import Tuples
from distiller_udf.labels.uniting import Row, united
from distiller_udf.records import Records, content_hash, one_array
from distiller_udf.records.ids import id_text, id_texts, whole

_EXAMPLES = 5


@dataclass(frozen=True)
class FoundReport:
    """What became of labels: `used` of `total`; the others name records that are not there.

    `options_dropped` counts options without a record that were not chosen: such a label is still used. `examples` are
    sentences about a few of the unused ones, `contradictions` about what is used of neither label.
    """

    total: int
    used: int
    options_dropped: int = 0
    examples: tuple[str, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()


def labels_on_records(
    labels: Sequence[Label],
    records: pa.Table,
    *,
    asked: pa.Table | None = None,
    sources: Sequence[str] | None = None,
    constraint: str = "one_to_one",
) -> tuple[pa.Table, FoundReport]:
    """Labels in the shape of `er_labels`, on the records that their ids name, as these are now.

    `records` has the columns `source`, `id` and `record` (STRUCT or text), and may have `id_text`, the id as DuckDB
    writes it (`cast(id as varchar)`), by which ids of any type are found. `sources` are the sources in the order in
    which they are declared: a label that names no source means the first on its left, the last on its right (where
    there are more than two, the source in which the id is found). Ids are compared as text and returned in the
    type of `records`. `asked` are teachers' answers in the same shape, which come along: those that a label corrects,
    or that another teacher judges too, are united with it. `constraint` is that of the task. Raises LabelError when a
    column is missing.
    """
    find = _Finder(records, sources, constraint)
    found, examples, dropped = [], [], 0
    for label in labels:
        each = _find(label, find)
        if isinstance(each, str):
            examples.append(each)
        else:
            dropped += len(label.options) - len(each.options)
            found.append(each)
    others, same = asked, _Answered.nowhere()
    if asked is not None:
        same = _Answered.about({record for each in found for record in (each.left, *each.options)}, asked, find)
        others = asked.filter(pa.array(same.untouched, pa.bool_()))
    rows, contradictions = united(
        [*found, *same.found], place=find.places.__getitem__, source=find.ranks.__getitem__, constraint=constraint
    )
    table = same.costs_kept(rows, _rows_table(rows, find))
    report = FoundReport(len(labels), len(found), dropped, tuple(examples[:_EXAMPLES]), contradictions)
    return table if others is None else pa.concat_tables([table, others.select(table.column_names)]), report


def labels_without_records(
    labels: Sequence[Label], records: pa.Table, sources: Sequence[str] | None = None
) -> list[str]:
    """A sentence for every label that says nothing of these records, as `labels_on_records` takes them; no `record`."""
    find = _Finder(records.append_column("record", pa.nulls(records.num_rows, pa.string())), sources)
    named = [label for label in labels if label.ask != "justify" and label.left[1] is not None]
    return [said for label in named if isinstance(said := _find(label, find), str)]


def _find(label: Label, find: _Finder) -> Found | str:
    """A label with the records that are there; a sentence where it says nothing of them."""
    left = find.position(label.left, left=True)
    options = [find.position(option, left=False) for option in label.options]
    kept = label.without([position is None for position in options]) if left is not None else None
    if left is None or kept is None:
        side = "left record" if left is None else "chosen option" if label.choice else "options"
        return f"{label.teacher}: the {side} of left_id {label.left[1]} is no record of the input"
    return Found(kept, left, tuple(position for position in options if position is not None))


@dataclass(frozen=True)
class _Answered:
    """Teachers' answers about records that labels are about too, with the row of each; the others are `untouched`."""

    asked: pa.Table | None
    found: Sequence[Found]
    rows: Sequence[int]
    untouched: Sequence[bool]

    @classmethod
    def nowhere(cls) -> _Answered:
        """No answers at all."""
        return cls(None, (), (), ())

    @classmethod
    def about(cls, records: set[Hashable], asked: pa.Table, find: _Finder) -> _Answered:
        """The answers in `asked` about one of these records."""
        lefts = zip(map(str, asked["left_source"].to_pylist()), id_texts(asked["left_id"]), strict=True)
        rows = [row for row, key in enumerate(lefts) if find.position(key, left=True) in records]
        nobody = Provenance("", "", "")
        labels = good_labels(asked.take(pa.array(rows, pa.int64())))
        told = [_find(replace(label, asked=nobody), find) for label in labels]
        known = [(row, each) for row, each in zip(rows, told, strict=True) if isinstance(each, Found)]
        taken = {row for row, _ in known}
        return cls(asked, [e for _, e in known], [r for r, _ in known], [r not in taken for r in range(asked.num_rows)])

    def costs_kept(self, rows: Sequence[Row], table: pa.Table) -> pa.Table:
        """The table of united rows; an answer that stands as it was is the row that it was, all keep what they cost."""
        if self.asked is None or not self.rows:
            return table
        of = {(each.label.teacher, each.left): (row, each) for row, each in zip(self.rows, self.found, strict=True)}
        before = [of.get((row.teacher, row.left)) for row in rows]
        at = pa.array([None if known is None else known[0] for known in before], pa.int64())
        stands = pa.array([known is not None and _is(row, known[1]) for row, known in zip(rows, before, strict=True)])
        was = self.asked.take(at)
        for place, name in enumerate(table.column_names):
            column, former = one_array(table[name]), one_array(was[name])
            if name in ("label_key", "orders", "seed", "input_tokens", "output_tokens", "cost_usd"):
                table = table.set_column(place, name, pc.coalesce(former, column))
            else:
                table = table.set_column(place, name, _where(stands, former, column))
        return table


def _is(row: Row, each: Found) -> bool:
    """Whether a row says what a label says."""
    label = each.label
    return (row.options, row.answer.choice, row.ask) == (each.options, label.choice, label.ask)


def _where(mask: pa.Array, one: pa.Array, other: pa.Array) -> pa.Array:
    """Row by row `one` where the mask is true, otherwise `other`; of any type."""
    rows = np.arange(len(mask)) + np.where(mask.to_numpy(zero_copy_only=False), 0, len(mask))
    return pa.concat_arrays([one, other]).take(pa.array(rows))


def labels_with_records(labels: Sequence[Label], constraint: str = "one_to_one") -> tuple[pa.Table, FoundReport]:
    """Labels that carry their records, in the shape of `er_labels`, on the records as they were; ids are text.

    Reasons that were asked for afterwards are no labels. Raises LabelError for labels that only name their records.
    """
    told = [label for label in labels if label.ask != "justify"]
    if any(label.query is None or None in (label.records or (None,) * len(label.options)) for label in told):
        raise LabelError(
            "the labels name records by their ids and do not hold them (query, and record in options); give the files "
            "that have them with --left and --right"
        )
    carried = _Carried.by(told)
    found = [
        Found(
            label,
            carried.position(label.left, label.query),
            tuple(carried.position(*each) for each in zip(label.options, label.records or (), strict=True)),
        )
        for label in told
    ]
    rows, contradictions = united(
        found, place=carried.place, source=lambda position: carried.place(position)[0], constraint=constraint
    )
    return _rows_table(rows, carried), FoundReport(len(told), len(told), contradictions=contradictions)


class _Carried:
    """Records that labels carry: one is another one where its text is another."""

    def __init__(self, records: Sequence[tuple[str, str | None, str]], ranks: dict[str, int]) -> None:
        self.sources = pa.array([source for source, *_ in records], pa.string())
        self.ids = pa.array([key for _, key, _ in records], pa.string())
        self._records = records
        self._ranks = ranks
        self._positions = {record: position for position, record in enumerate(records)}

    @classmethod
    def by(cls, labels: Sequence[Label]) -> _Carried:
        """The records of these labels; a source that is more often on the left comes first."""
        records: dict[tuple[str, str | None, str], None] = {}
        on_left: dict[str, float] = {}
        for label in labels:
            on_left[label.left[0]] = on_left.get(label.left[0], 0) - 1
            records[(*label.left, label.query or "")] = None
            for (source, key), record in zip(label.options, label.records or (), strict=True):
                on_left[source] = on_left.get(source, 0) + 1 / len(label.options)
                records[(source, key, record or "")] = None
        order = sorted(on_left, key=lambda source: (on_left[source], source))
        return cls(list(records), {source: rank for rank, source in enumerate(order)})

    def position(self, key: Key, text: str | None) -> int:
        """Where the record is."""
        return self._positions[(*key, text or "")]

    def place(self, position: int) -> tuple[int, str, str]:
        """What orders records: their source, then their id."""
        source, key, text = self._records[position]
        return self._ranks[source], key or "", text

    def texts(self, positions: pa.Array) -> list[str]:
        """The texts of the records at these positions."""
        return [self._records[position][2] for position in positions.to_pylist()]


class _Finder:
    """Finds records by source and id."""

    def __init__(self, records: pa.Table, sources: Sequence[str] | None, constraint: str = "one_to_one") -> None:
        require_columns("the records", records.column_names, ("source", "id", "record"), LabelError)
        self.sources, self.ids = one_array(records["source"]), one_array(records["id"])
        self._records = one_array(records["record"])
        self._by_key: dict[Key, int] = {}
        self._by_id: dict[str, dict[int, None]] = {}
        names = [str(source) for source in self.sources.to_pylist()]
        self._numbers = _is_number(self.ids.type)
        for spelling in self._spellings(records):
            # An id in DuckDB's own text comes first: other ways to write one may not take its place.
            for position, (source, text) in enumerate(zip(names, spelling, strict=True)):
                if text is not None and self._by_key.setdefault((source, text), position) == position:
                    self._by_id.setdefault(text, {})[position] = None
        declared = list(sources) if sources is not None else list(dict.fromkeys(names))
        self._default = {True: declared[0], False: declared[-1]} if 1 <= len(declared) <= 2 else {}
        order = Constraint(constraint).ordered(dict.fromkeys([*declared, *names]))
        self.ranks = [order.index(name) for name in names]
        self.places = list(zip(self.ranks, self._id_ranks(), strict=True))
        """What orders records as er_pairs does: their source, then their id."""

    def position(self, key: Key, *, left: bool) -> int | None:
        """The row of the record with this id; None when it is unknown or, without a source, not unique."""
        source, value = key[0] or self._default.get(left, ""), key[1]
        if value is None:
            return None
        for text in dict.fromkeys((value, whole(value)) if self._numbers else (value,)):
            if source and (source, text) in self._by_key:
                return self._by_key[source, text]
            same_id = self._by_id.get(text, {})
            if not source and same_id:
                return next(iter(same_id)) if len(same_id) == 1 else None
        return None

    def texts(self, positions: pa.Array) -> list[str]:
        """Canonical texts of the records at these rows."""
        return Records.from_arrow(self._records.take(positions)).texts()

    def _spellings(self, records: pa.Table) -> Iterator[list[str | None]]:
        """All ids as text, in one way after the other, the most faithful first."""
        known = "id_text" in records.column_names
        if known:
            texts = one_array(records["id_text"]).to_pylist()
            yield texts
            if self._numbers:
                yield [None if text is None else whole(text) for text in texts]
        try:
            yield [id_text(value) for value in self.ids.to_pylist()]
        except (ValueError, OverflowError, ImportError, pa.ArrowException):
            # Python has no such value: nanoseconds, far and infinite dates, a time zone that is not installed.
            if not known:
                yield self.ids.cast(pa.string()).to_pylist()

    def _id_ranks(self) -> list[int]:
        """Each id's place among all of them."""
        ids = self.ids.storage if isinstance(self.ids, pa.ExtensionArray) else self.ids
        try:
            order = pc.sort_indices(ids)
        except pa.ArrowNotImplementedError:
            order = pc.sort_indices(ids.cast(pa.string()))
        ranks = np.empty(len(ids), dtype=np.int64)
        ranks[order.to_numpy()] = np.arange(len(ids))
        return [int(rank) for rank in ranks]


def _rows_table(rows: Sequence[Row], records: _Finder | _Carried) -> pa.Table:
    """Rows as a table of the shape of `er_labels`."""
    left = pa.array([row.left for row in rows], pa.int64())
    members = pa.array([option for row in rows for option in row.options], pa.int64())
    tuples = Tuples(
        left_source=records.sources.take(left),
        left_id=records.ids.take(left),
        queries=records.texts(left),
        offsets=np.concatenate([[0], np.cumsum([len(row.options) for row in rows])]).astype(np.int32),
        sources=records.sources.take(members),
        ids=records.ids.take(members),
        texts=records.texts(members),
    )
    whose = zip(rows, tuples.left_source.to_pylist(), id_texts(tuples.left_id), tuples.questions, strict=True)
    keys = [
        # Whose label it is, and of which record: two of them may show the same texts.
        content_hash("imported", row.teacher, source or "", key or "", q.query, *q.candidates)
        for row, source, key, q in whose
    ]
    return label_table(
        tuples, keys, [row.answer for row in rows], [row.teacher for row in rows], [(row.ask, 1, None) for row in rows]
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
