"""A table of labels: the one shape that er_labels has, that is exported and imported, and that students learn from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.labels.tuples import Tuples
from distiller_udf.prompts import Answer
from distiller_udf.records import Records, content_hash, one_array
from distiller_udf.records.ids import id_columns, id_texts, without_columns

SAID = ("choice", "confidence", "probabilities", "explanation", "explanations")
TOOK = ("input_tokens", "output_tokens", "cost_usd", "seconds", "error")
"""What an answer says, and what it took."""

Key = tuple[str, str | None]
"""A record's source and its id as text: the id is None where it is unknown, the source empty where none is named."""

SURE, EVEN, BARELY = 1.0, 0.5, 0.51
"""What yes is worth where no probability goes with it; what says nothing; the least that yes is worth."""


def label_schema(ids: pa.DataType | None = None) -> pa.Schema:
    """The columns of `er_labels`, with ids of a type (text); `choice` counts from 1, 0 = none of the options, NULL = no
    answer."""
    kind = ids or pa.string()
    option = pa.struct([("source", pa.string()), ("id", kind), ("record", pa.string())])
    return pa.schema(
        [
            ("label_key", pa.string()),
            ("left_source", pa.string()),
            ("left_id", kind),
            ("teacher", pa.string()),
            ("ask", pa.string()),
            ("orders", pa.int32()),
            ("seed", pa.int64()),
            ("choice", pa.int32()),
            ("right_source", pa.string()),
            ("right_id", kind),
            ("confidence", pa.float64()),
            ("probabilities", pa.list_(pa.float64())),
            ("explanation", pa.string()),
            ("explanations", pa.list_(pa.string())),
            ("input_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("cost_usd", pa.float64()),
            ("error", pa.string()),
            ("query", pa.string()),
            ("options", pa.list_(option)),
        ]
    )


EXPORT_SCHEMA = pa.schema(
    [
        *label_schema(),
        ("prompt_version", pa.string()),
        ("parameters", pa.string()),
        ("chosen", pa.int32()),
        ("seconds", pa.float64()),
        ("stored_at", pa.string()),
    ]
)
"""What a store exports: labels, and how each answer was asked for, so that an import puts it back as it was."""


@dataclass(frozen=True)
class Provenance:
    """How a teacher was asked for an answer: the key under which it is stored, and what went into it."""

    key: str
    prompt_version: str
    parameters: str
    chosen: int | None = None


@dataclass(frozen=True, kw_only=True)
class Label(Answer):
    """One row of a table of labels, checked: what somebody has answered about records that have names.

    `ask` is `select` (one of the options, or none), `match` (each option by itself) or `justify` (a reason that was
    asked for afterwards). `probabilities`, `explanations` and `records` (canonical texts) have one value an option,
    None where it is unknown. `asked` is None where somebody brought the label, which then took no tokens and has no
    error; `row` is its number in a file, from 1.
    """

    teacher: str
    left: Key
    options: tuple[Key, ...]
    ask: str = "select"
    query: str | None = None
    records: tuple[str | None, ...] | None = None
    stored_at: str | None = None
    asked: Provenance | None = None
    row: int | None = None

    @property
    def question(self) -> tuple[str, Key, frozenset[Key]]:
        """Who was asked about what: another answer to the same question takes the place of the one before."""
        return self.teacher, self.left, frozenset(self.options)

    @property
    def answer(self) -> Answer:
        """What is answered, without what it took."""
        return Answer(**{name: getattr(self, name) for name in SAID})

    @property
    def said(self) -> list[float | None]:
        """The probability that each option is the same as the left record, None where nothing is said of it.

        A choice says yes to one option and nothing of the others, none of them says no to all.
        """
        count = len(self.options)
        chosen = np.arange(1, count + 1) == self.choice
        given = believed(self.probabilities, chosen, self.choice)
        if self.ask == "match" and given is not None:
            return [None if np.isnan(p) else float(p) for p in given]
        sure = SURE if self.confidence is None else max(self.confidence, BARELY)
        if self.choice is None:
            return [None] * count
        if self.choice == 0:
            no = 1 - sure if count == 1 else 0.0
            return [no if given is None or np.isnan(p) else min(float(p), 1 - BARELY) for p in _padded(given, count)]
        yes = sure if given is None else max(float(given[self.choice - 1]), BARELY)
        return [yes if each else None for each in chosen]

    def is_older_than(self, other: Label) -> bool:
        """Whether it was stored before another one."""
        own, theirs = parsed_time(self.stored_at), parsed_time(other.stored_at)
        return own is not None and theirs is not None and own < theirs

    def without(self, struck: Sequence[bool]) -> Label | None:
        """The label without some of its options; None where it then says nothing."""
        kept = [i for i, gone in enumerate(struck) if not gone]
        if len(kept) == len(self.options):
            return self
        lost = bool(self.choice) and struck[self.choice - 1]  # type: ignore[operator]
        if not kept or (lost and (self.ask != "match" or self.probabilities is None)):
            return None

        def only(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
            return None if values is None else tuple(values[i] for i in kept)

        return replace(
            self,
            options=tuple(self.options[i] for i in kept),
            choice=None if lost else kept.index(self.choice - 1) + 1 if self.choice else self.choice,
            probabilities=only(self.probabilities),
            explanations=only(self.explanations),
            records=only(self.records),
        )


def parsed_time(text: str | None) -> datetime | None:
    """A time as it is stored; None where there is none, or it is no time in UTC."""
    try:
        time = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo else None


def believed(probabilities: Sequence[float | None] | None, chosen: np.ndarray, choice: int | None) -> np.ndarray | None:
    """A teacher's probability of each option (NaN: unknown); None where it gave none from which its choice follows."""
    if probabilities is None or len(probabilities) != len(chosen):
        return None
    given = np.asarray([np.nan if p is None else p for p in probabilities], dtype=np.float64)
    known = np.isfinite(given)
    # An answer that was corrected by hand may keep the probabilities of the one before.
    most = np.nanmax(given) if known.any() else np.nan
    follows = given[chosen][0] >= most if chosen.any() else choice is None or most <= EVEN
    return np.clip(given, 0.0, 1.0) if follows else None


def has_answer(labels: pa.Table) -> pa.Array:
    """Boolean mask of the rows that say something of their options: a choice, or a probability of a pair by itself."""
    chosen = one_array(labels["choice"]).is_valid()
    shown = pc.greater(pc.fill_null(pc.list_value_length(one_array(labels["options"])), 0), 0)
    if not {"ask", "probabilities"} <= set(labels.column_names):
        return pc.and_(chosen, shown)
    given = one_array(labels["probabilities"])
    if pa.types.is_null(given.type):
        return pc.and_(chosen, shown)
    lengths = pc.fill_null(pc.list_value_length(given), 0).to_numpy(zero_copy_only=False)
    known = np.zeros(len(given), dtype=bool)
    known[np.repeat(np.arange(len(given)), lengths)[given.flatten().is_valid().to_numpy(zero_copy_only=False)]] = True
    by_pair = one_array(pc.fill_null(pc.equal(labels["ask"], "match"), False))
    return pc.and_(shown, pc.or_(chosen, pc.and_(by_pair, pa.array(known))))


def table_of(labels: Iterable[Label]) -> pa.Table:
    """Labels as rows of `EXPORT_SCHEMA`."""
    return pa.Table.from_pylist([_row(label) for label in labels], schema=EXPORT_SCHEMA)


def label_id_columns(labels: pa.Table, named: Sequence[str | None]) -> list[set[str]]:
    """The columns of the left records, and of the options, that are their ids; `named` are called so."""
    _, keys, records = one_array(labels["options"]).flatten().flatten()
    left = id_columns(Records.from_arrow(labels["query"]), id_texts(labels["left_id"]), named[0])
    return [left, id_columns(Records.from_arrow(records), id_texts(keys), named[1])]


def without_label_columns(labels: pa.Table, columns: Sequence[set[str]]) -> pa.Table:
    """Labels whose left records, and whose options, lack these columns."""
    if not any(columns):
        return with_left_ids(labels)
    lists = one_array(labels["options"])
    source, key, record = lists.flatten().flatten()
    members = pa.StructArray.from_arrays([source, key, without_columns(record, columns[1])], ["source", "id", "record"])
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths.to_numpy())]).astype(np.int32))
    changed = {
        "query": without_columns(labels["query"], columns[0]),
        "options": pa.ListArray.from_arrays(offsets, members),
    }
    for name, column in changed.items():
        labels = labels.set_column(labels.column_names.index(name), name, column)
    return with_left_ids(labels)


def with_left_ids(labels: pa.Table) -> pa.Table:
    """Labels of which each left record has an id: where none is known, a hash of what it holds (ids are text then)."""
    ids = one_array(labels["left_id"])
    if not ids.null_count:
        return labels
    told = zip(id_texts(ids), labels["query"].to_pylist(), strict=True)
    known = pa.array([content_hash(query or "") if key is None else key for key, query in told], pa.string())
    return labels.set_column(labels.column_names.index("left_id"), "left_id", known)


def label_table(
    tuples: Tuples,
    keys: Sequence[str],
    answers: Sequence[Answer],
    teachers: Sequence[str],
    asked: Sequence[tuple[str, int, int | None]],
) -> pa.Table:
    """Tuples and their answers in the shape of `er_labels`, row for row; `asked` is how: `ask`, `orders` and `seed`.

    Ids keep their type.
    """
    chosen = pa.array(
        [a + answer.choice - 1 if answer.choice else None for a, answer in zip(tuples.offsets, answers, strict=False)],
        pa.int32(),
    )
    schema = label_schema(tuples.left_id.type)
    texts = pa.array(tuples.texts, pa.string())
    members = pa.StructArray.from_arrays([tuples.sources, tuples.ids, texts], names=["source", "id", "record"])
    columns = {
        "label_key": keys,
        "left_source": tuples.left_source,
        "left_id": tuples.left_id,
        "teacher": teachers,
        **{name: [each[i] for each in asked] for i, name in enumerate(("ask", "orders", "seed"))},
        "right_source": tuples.sources.take(chosen),
        "right_id": tuples.ids.take(chosen),
        "query": tuples.queries,
        "options": pa.ListArray.from_arrays(pa.array(tuples.offsets, pa.int32()), members),
    }
    columns |= {name: [getattr(answer, name) for answer in answers] for name in schema.names if name not in columns}
    arrays = [c if isinstance(c, pa.Array) else pa.array(c, schema.field(n).type) for n, c in columns.items()]
    return pa.table(arrays, names=list(columns)).select(schema.names)


def _padded(given: np.ndarray | None, count: int) -> np.ndarray:
    return np.full(count, np.nan) if given is None else given


def _row(label: Label) -> dict[str, object]:
    records = label.records or (None,) * len(label.options)
    source, record_id = label.options[label.choice - 1] if label.choice else (None, None)
    asked = label.asked
    return {
        "label_key": asked and asked.key,
        "left_source": label.left[0] or None,
        "left_id": label.left[1],
        "teacher": label.teacher,
        "ask": label.ask,
        "orders": 1,
        "right_source": source or None,
        "right_id": record_id,
        "query": label.query,
        "options": [
            {"source": of or None, "id": key, "record": record}
            for (of, key), record in zip(label.options, records, strict=True)
        ],
        "stored_at": label.stored_at,
        **{name: getattr(label, name) for name in (*SAID, *TOOK)},
        **({name: value for name, value in vars(asked).items() if name != "key"} if asked else {}),
    }
