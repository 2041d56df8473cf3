"""Labels as people have them: any table that says which records are the same, read row by row.

It is the shape of er_labels and of exported labels, or one that people have at hand. A row judges a left record:
`left_id` with its `options` (ids, or structs with `source`, `id` and `record`) and a `choice` (or `answer`: the
position of the option that is the same, 0 = none; or `right_id`: that option itself, NULL = none); or a single pair,
`left_id` and `right_id`, with `is_match` (or `match`, `answer`, `choice`: 1 or 0, true or false), without which it is a
match.
`teacher`, `left_source`, `right_source`, `confidence` and what else er_labels has are optional, and other columns are
passed over. Names of columns are read in any case, ids as they are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.english import counted
from distiller_udf.errors import LabelError
from distiller_udf.files.tables import read_json
from distiller_udf.labels.table import EXPORT_SCHEMA, Key, Label, Provenance
from distiller_udf.prompts import ASKS
from distiller_udf.records import Records, one_array
from distiller_udf.records.ids import id_text, id_texts

PEOPLE = "people"
"""Whose labels they are where a file does not say."""

ANSWERS = ("choice", "answer", "is_match", "match")
"""The columns that may hold an answer, the first of them counts."""

_KNOWN = frozenset((*EXPORT_SCHEMA.names, *ANSWERS))
_IDS = ("left_id", "right_id")
_NUMBERS = ("confidence", "input_tokens", "output_tokens", "cost_usd", "seconds", "chosen")
_NESTED = ("options", "probabilities", "explanations")
_TRUTHS = {"1": 1, "true": 1, "yes": 1, "0": 0, "false": 0, "no": 0}
_SHAPES = {
    "options": "a list of ids, or of structs with the fields source, id and record",
    "probabilities": "a list of numbers, one for each option",
    "explanations": "a list of texts, one for each option",
    "query": "a record, as a struct or as text",
    "choice": "a whole number, 0 = none of the options",
    "confidence": "a number from 0 to 1",
}
_ROWS_SHOWN = 5
_ROUNDING = 1e-9

Former = Callable[[Label], "Label | None"]
"""The label that a store has for the same question, by which it shows what was edited in a row."""

Row = dict[str, Any]


def read_labels(
    table: pa.Table, *, teacher: str = PEOPLE, former: Former = lambda label: None
) -> tuple[list[Label], list[str]]:
    """The good rows of a table as labels, and one sentence for every bad row (rows count from 1).

    `teacher` is who gave the labels that name nobody. Raises LabelError when columns are missing or of another type.
    """
    columns = _columns(table)
    if columns:
        _require(columns, table.column_names)
    labels, problems = [], []
    for number, row in enumerate(_rows(columns, table.num_rows), start=1):
        try:
            labels.append(_label(row, number, teacher, former))
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    return labels, problems


def good_labels(table: pa.Table, *, teacher: str = PEOPLE) -> list[Label]:
    """All rows of a table as labels. Raises LabelError that names the bad rows, where there are any."""
    labels, problems = read_labels(table, teacher=teacher)
    if problems:
        raise LabelError(f"{len(problems):,} of {counted(table.num_rows, 'label')} cannot be used: {listed(problems)}")
    return labels


def listed(problems: list[str]) -> str:
    """The first few problems as one text, and how many more there are."""
    more = len(problems) - _ROWS_SHOWN
    return "; ".join(problems[:_ROWS_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    """The columns that are known, by their names in lower case."""
    found: dict[str, pa.Array] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        plain = name.strip().lower()
        if plain in found:
            raise LabelError(f"the labels have the column {plain} twice; rename or drop one")
        if plain in _KNOWN:
            found[plain] = one_array(column)
    if table.column_names and not found:
        raise LabelError(f"the labels have none of the columns of labels; they have {', '.join(table.column_names)}")
    return found


def _require(columns: Mapping[str, pa.Array], there: Sequence[str]) -> None:
    missing = []
    if not {"left_id", "query"} & columns.keys():
        missing.append("left_id")
    if not {"options", "right_id"} & columns.keys():
        missing.append("right_id (or options)")
    elif not {"right_id", *ANSWERS} & columns.keys():
        missing.append("choice (or answer, or right_id)")
    if missing:
        raise LabelError(
            f"the labels lack the column{'s' * (len(missing) > 1)} {' and '.join(missing)}; they have "
            f"{', '.join(there)}. A label is left_id and right_id, with is_match where some are no matches; or "
            "left_id, options and answer"
        )


def _rows(columns: Mapping[str, pa.Array], count: int) -> Iterator[Row]:
    cells = {name: _cells(name, column) for name, column in columns.items()}
    for i in range(count):
        yield {name: values[i] for name, values in cells.items()}


def _cells(name: str, column: pa.Array) -> list[Any]:
    """A column's values: ids and texts as text, records as canonical text, lists as lists or as their JSON text."""
    kind = column.type
    if column.null_count == len(column):
        return [None] * len(column)  # whatever type a file gives to what it does not have
    if name == "query" and pa.types.is_struct(kind):
        return _record_texts(column)
    if name == "options" and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return _option_cells(column)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_list = name in _NESTED and (pa.types.is_list(kind) or pa.types.is_large_list(kind))
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    is_answer = name in ANSWERS and (is_number or pa.types.is_boolean(kind))
    if is_text or is_list or is_answer or (name in _NUMBERS and is_number):
        return list(column.to_pylist())
    if pa.types.is_nested(kind) or name in (*_NESTED, *_NUMBERS, *ANSWERS, "query"):
        wanted = _SHAPES.get("choice" if name in ANSWERS else name, "a number" if name in _NUMBERS else "a text")
        raise LabelError(f"the labels' column {name} is {kind}; it must be {wanted}")
    return list(id_texts(column))


def _record_texts(records: pa.Array) -> list[str | None]:
    """Canonical texts of records, which are structs or text already; None where there is none."""
    if not pa.types.is_struct(records.type):
        return list(records.to_pylist())
    texts = Records.from_arrow(records).texts()
    return [text if there else None for text, there in zip(texts, records.is_valid().to_pylist(), strict=True)]


def _option_cells(column: pa.Array) -> list[list[Any] | None]:
    """Lists of options as lists of ids, or of mappings with `source`, `id` and `record`."""
    members, kind = column.flatten(), column.type.value_type
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    values: list[Any]
    if pa.types.is_struct(kind):
        fields = {field.name.lower(): part for field, part in zip(kind, members.flatten(), strict=True)}
        is_nested = "id" in fields and pa.types.is_nested(fields["id"].type)
        if is_nested or not {"id", "record"} & fields.keys():
            raise LabelError(f"the labels' column options is {column.type}; it must be {_SHAPES['options']}")
        parts = {name: _record_texts(part) if name == "record" else id_texts(part) for name, part in fields.items()}
        known = {name: parts.get(name, [None] * len(members)) for name in ("source", "id", "record")}
        values = [dict(zip(known, each, strict=True)) for each in zip(*known.values(), strict=True)]
    elif pa.types.is_nested(kind):
        raise LabelError(f"the labels' column options is {column.type}; it must be {_SHAPES['options']}")
    else:
        values = list(id_texts(members))
    taken = iter(values)
    return [
        [next(taken) for _ in range(length)] if there else None
        for length, there in zip(lengths, column.is_valid().to_pylist(), strict=True)
    ]


def _label(row: Row, number: int, teacher: str, former: Former) -> Label:
    """One row, checked; raises ValueError with what is wrong."""
    if row.get("left_id") is None and row.get("query") is None:
        raise ValueError("left_id is NULL")
    who = str(row["teacher"] or "").strip() if "teacher" in row else teacher
    if not who:
        raise ValueError("teacher is empty")
    options, records = _options(row)
    ask = row.get("ask") or ("match" if len(options) == 1 else "select")
    if ask not in ASKS:
        raise ValueError(f"ask is {ask!r}; it must be one of {', '.join(ASKS)}")
    asked = _provenance(row)
    label = Label(
        teacher=who,
        left=(row.get("left_source") or "", row.get("left_id")),
        options=options,
        choice=None,
        ask=ask,
        confidence=_probability("confidence", row.get("confidence")),
        probabilities=_each(row, "probabilities", len(options)),
        explanation=row.get("explanation"),
        explanations=_each(row, "explanations", len(options)),
        query=row.get("query"),
        records=records,
        stored_at=row.get("stored_at"),
        asked=asked,
        row=number,
        **(_costs(row) if asked else {}),
    )
    return replace(label, choice=_choice(row, label, former))


def _options(row: Row) -> tuple[tuple[Key, ...], tuple[str | None, ...] | None]:
    """The options of a row and their records: a list, a text that is a JSON list, or what `right_id` names."""
    source, given = row.get("right_source") or "", row.get("options")
    if given is None and row.get("right_id") is not None:
        return ((source, row["right_id"]),), None
    if given is None and "options" not in row:
        raise ValueError("right_id is NULL and there are no options, so it says nothing of any pair")
    members = _list("options", given)
    if any(isinstance(member, list) for member in members):
        raise ValueError("options must be a list of ids")
    structs = [member if isinstance(member, dict) else {"id": member} for member in members]
    if any(isinstance(each.get("id"), (dict, list)) for each in structs):
        raise ValueError("an id in options is a list or a mapping; an id is one value, such as a number or a text")
    keys = tuple((str(each.get("source", source) or ""), id_text(each.get("id"))) for each in structs)
    records = tuple(_record_text(each.get("record")) for each in structs)
    if any(key is None and record is None for (_, key), record in zip(keys, records, strict=True)):
        raise ValueError("options must be a list of ids")
    return keys, records if any(record is not None for record in records) else None


def _choice(row: Row, label: Label, former: Former) -> int | None:
    """The choice by the answer or by `right_id`: where both are given they must agree, unless one was edited."""
    answers = [name for name in ANSWERS if name in row]
    told = _told(row, answers, len(label.options)) if answers else None
    if "options" not in row or (row["options"] is None and row.get("right_id") is not None):
        return told if answers else 1  # right_id names the only option, whatever the answer is
    if "right_id" not in row or label.ask == "justify" or (told and label.options[told - 1][1] is None):
        return told
    named = _named(row, label, told)
    if not answers or told == named or (told is None and named == 0):
        return named if not answers else told
    before = former(label) if "stored_at" in row else None  # only an export says both of every label
    if before is not None and before.choice == told:
        return told if label.is_older_than(before) else named
    if before is not None and (before.choice or 0) == named:
        return before.choice if label.is_older_than(before) else told
    if told is None or named == 0:
        return told or named
    if row.get("choice") is not None:
        return told  # in the shape of er_labels right_id only repeats it
    raise ValueError(f"answer {told} and right_id {row['right_id']!r} contradict each other; change both, or empty one")


def _named(row: Row, label: Label, told: int | None) -> int:
    """The position of the option that `right_id` names, that of the answer if it may be; 0 where it is NULL (or empty,
    beside an answer)."""
    right_id, source = row["right_id"], row.get("right_source")
    found = [i for i, (of, key) in enumerate(label.options, 1) if key == right_id and (not source or of == source)]
    if right_id is None or (right_id == "" and not found and any(name in row for name in ANSWERS)):
        return 0
    if not found:
        raise ValueError(f"right_id {right_id!r} is not among the options")
    if told in found:
        return told
    if len({label.options[i - 1] for i in found}) > 1:
        raise ValueError(f"right_id {right_id!r} is more than one of the options; name its right_source")
    return found[0]


def _told(row: Row, answers: list[str], options: int) -> int | None:
    """The first answer that a row has, as a position among so many options."""
    for name in answers:
        value = row[name]
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        text = str(id_text(value)).strip().lower()
        number = _TRUTHS[text] if options == 1 and text in _TRUTHS else _number(value)
        if name in ("is_match", "match") and (options != 1 or number not in (0, 1)):
            raise ValueError(f"{name} {text!r} is neither 1 nor 0, true nor false, of a single pair")
        if number is None or not float(number).is_integer():
            raise ValueError(
                f"answer {text!r} is no whole number: it is the position in options, from 1, or 0 for none; "
                "right_id may name the record instead"
            )
        if not 0 <= number <= options:
            raise ValueError(
                f"answer {int(number)} is out of range: it has {counted(options, 'option')}, and 0 is none"
            )
        return int(number)
    return None


def _each(row: Row, name: str, options: int) -> tuple[Any, ...] | None:
    """A list with one value an option; None where there is none."""
    if row.get(name) is None:
        return None
    values = _list(name, row[name])
    if len(values) != options:
        raise ValueError(f"{name} has {counted(len(values), 'value')} for {counted(options, 'option')}")
    if name == "explanations":
        return tuple(None if value is None else str(value) for value in values)
    return tuple(_probability(name, value) for value in values)


def _list(name: str, value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = read_json(value)
        except ValueError:
            raise ValueError(f"{name} is no JSON list: {value[:60]!r}") from None
    if not isinstance(value, list):
        raise ValueError(f"{name} is NULL" if value is None else f"{name} is no list: {str(value)[:60]!r}")
    return value


def _record_text(value: Any) -> str | None:
    return Records.from_dicts([value]).texts()[0] if isinstance(value, dict) else id_text(value)


def _probability(name: str, value: Any) -> float | None:
    number = _number(value)
    if number is not None and not -_ROUNDING <= number <= 1 + _ROUNDING:
        raise ValueError(f"{name} {id_text(value)!r} is not between 0 and 1")
    return number


def _number(value: Any) -> float | None:
    """A cell as a number: None where it is empty, NaN where it is something else."""
    text = id_text(value)
    if text is None or not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return math.nan


def _provenance(row: Row) -> Provenance | None:
    """How an exported answer was asked for; None for what somebody brought."""
    if any(row.get(name) is None for name in ("label_key", "prompt_version", "parameters")):
        return None
    return Provenance(
        key=row["label_key"],
        prompt_version=row["prompt_version"],
        parameters=row["parameters"],
        chosen=_whole(row.get("chosen")),
    )


def _costs(row: Row) -> dict[str, Any]:
    """What an exported answer took."""
    counts = {name: _whole(row.get(name)) for name in ("input_tokens", "output_tokens")}
    return {**counts, **{name: _number(row.get(name)) for name in ("cost_usd", "seconds")}, "error": row.get("error")}


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or not math.isfinite(number) else int(number)
