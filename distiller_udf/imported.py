"""Labels that someone already paid for: read a file, check every row.

A row says which of its options is the same entity as the left record: `left_id`, `options` (ids, in the order in
which they were shown), `answer` (1-based position, 0 = none) or `right_id` (NULL = none), and `teacher`. Optional are
`confidence`, `explanation`, `left_source` and `right_source`; further columns are ignored. Ids are kept as text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.errors import LabelError

REQUIRED = ("left_id", "options", "teacher")
OPTIONAL = ("answer", "right_id", "confidence", "explanation", "left_source", "right_source")
_ROWS_SHOWN = 5


@dataclass(frozen=True)
class ImportedLabel:
    """One checked row; `choice` is 1-based, 0 = none of the options, None = the teacher gave no answer."""

    teacher: str
    left_source: str
    left_id: str
    right_source: str
    options: tuple[str, ...]
    choice: int | None
    confidence: float | None
    explanation: str | None


@dataclass(frozen=True)
class ImportResult:
    """What an import did: numbers of labels, and what is wrong with the rows that were left out.

    `contradictory` left records are answered in two ways by one teacher; of these the last answer was taken.
    """

    added: int
    updated: int
    unchanged: int
    rejected: tuple[str, ...] = ()
    contradictory: int = 0


def read_label_file(path: str | Path) -> pa.Table:
    """Read a file of labels: .parquet, .csv, .json, .jsonl or .ndjson, told apart by the suffix.

    Raises LabelError when the file is missing, unreadable or of another kind.
    """
    file = Path(path)
    if not file.is_file():
        raise LabelError(f"there is no file {file}; give the path of a .parquet, .csv, .json or .jsonl file")
    suffix = file.suffix.lower()
    try:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(file)
        if suffix == ".csv":
            return _read_csv(file)
        if suffix in (".json", ".jsonl", ".ndjson"):
            return _read_json(file)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise LabelError(f"{file} cannot be read as {suffix[1:]}: {error}") from error
    raise LabelError(f"{file.name} is no .parquet, .csv, .json or .jsonl file; convert it to one of these")


def check_labels(table: pa.Table) -> tuple[list[ImportedLabel], list[str]]:
    """Check a table row by row: the good labels, and one sentence for every bad row (rows count from 1).

    Raises LabelError when a column is missing.
    """
    names = list(table.column_names)
    missing = [name for name in REQUIRED if name not in names]
    if "answer" not in names and "right_id" not in names:
        missing.append("answer (or right_id)")
    if missing:
        raise LabelError(
            f"the labels lack the column{'s' * (len(missing) > 1)} {', '.join(missing)}; they have {', '.join(names)}"
        )
    labels, problems = [], []
    for number, row in enumerate(_rows(table), start=1):
        try:
            labels.append(_check_row(row))
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    return labels, problems


def listed(problems: list[str]) -> str:
    """The first few problems as one text, and how many more there are."""
    more = len(problems) - _ROWS_SHOWN
    return "; ".join(problems[:_ROWS_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")


def id_text(value: Any) -> str | None:
    """An id of any type as text, None for NULL; a whole number is the same id whether stored as 12 or as 12.0."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _rows(table: pa.Table) -> Iterator[Mapping[str, Any]]:
    """Only the columns we know, row by row: what else a file holds need not be readable."""
    known = [name for name in table.column_names if name in (*REQUIRED, *OPTIONAL)]
    if len(set(known)) < len(known):
        raise LabelError(f"a column is there twice: {', '.join(known)}; rename or drop one")
    for batch in table.select(known).to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _check_row(row: Mapping[str, Any]) -> ImportedLabel:
    left_id, teacher = id_text(row["left_id"]), row["teacher"]
    if left_id is None:
        raise ValueError("left_id is NULL")
    if teacher is None or not str(teacher).strip():
        raise ValueError("teacher is empty")
    options = _options(row["options"])
    return ImportedLabel(
        teacher=str(teacher).strip(),
        left_source=_text(row.get("left_source")) or "",
        left_id=left_id,
        right_source=_text(row.get("right_source")) or "",
        options=options,
        choice=_choice(row, options),
        confidence=_confidence(row.get("confidence")),
        explanation=_text(row.get("explanation")),
    )


def _options(value: Any) -> tuple[str, ...]:
    """The options of a row: a list, or a text that is a JSON list."""
    if isinstance(value, str):
        try:
            # Kept as written: an id such as 1e5 or 0.10 must not be rounded on its way.
            value = json.loads(value, parse_float=str)
        except ValueError:
            raise ValueError(f"options is no JSON list: {value[:60]!r}") from None
    if not isinstance(value, list):
        raise ValueError("options is NULL" if value is None else f"options is no list: {str(value)[:60]!r}")
    options = tuple(id_text(option) for option in value)
    if None in options or any(isinstance(option, (dict, list)) for option in value):
        raise ValueError("options must be a list of ids")
    return tuple(str(option) for option in options)


def _choice(row: Mapping[str, Any], options: tuple[str, ...]) -> int | None:
    """The choice from `answer` or else from `right_id`; both may be given if they agree."""
    right_id = id_text(row.get("right_id"))
    if right_id == "" and "answer" in row:
        right_id = None
    answer = _whole_number(row.get("answer"))
    if answer is None:
        if right_id is None:
            # Where only right_id is there, NULL means none; an answer that is NULL is no answer.
            return None if "answer" in row else 0
        if right_id not in options:
            raise ValueError(f"right_id {right_id!r} is not among the options")
        return options.index(right_id) + 1
    if not 0 <= answer <= len(options):
        raise ValueError(f"answer {answer} is out of range: there are {len(options)} options (0 = none)")
    if right_id is not None and (answer == 0 or options[answer - 1] != right_id):
        raise ValueError(f"answer {answer} and right_id {right_id!r} contradict each other")
    return answer


def _whole_number(value: Any) -> int | None:
    number = _number(value)
    if number is not None and not number.is_integer():
        raise ValueError(
            f"answer {id_text(value)!r} is no whole number: it is the position in options, from 1, or 0 for none; "
            "right_id may name the record instead"
        )
    return None if number is None else int(number)


def _confidence(value: Any) -> float | None:
    number = _number(value)
    if number is not None and not 0 <= number <= 1:
        raise ValueError(f"confidence {id_text(value)!r} is not between 0 and 1")
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


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _read_csv(file: Path) -> pa.Table:
    """A CSV file with ids as they are written: 007 stays 007."""
    from pyarrow import csv

    with csv.open_csv(file) as reader:
        names = reader.schema.names
    convert = csv.ConvertOptions(
        column_types={name: pa.string() for name in names}, strings_can_be_null=True, quoted_strings_can_be_null=True
    )
    parse = csv.ParseOptions(newlines_in_values=True)
    return csv.read_csv(file, convert_options=convert, parse_options=parse)


def _read_json(file: Path) -> pa.Table:
    """JSON lines, or one JSON list of objects."""
    text = file.read_text(encoding="utf-8-sig")
    stripped = text.lstrip()
    values = json.loads(text) if stripped.startswith("[") else [json.loads(s) for s in text.splitlines() if s.strip()]
    if not all(isinstance(value, dict) for value in values):
        raise ValueError("every entry must be an object")
    names = dict.fromkeys(name for value in values for name in value if name in (*REQUIRED, *OPTIONAL))
    # As JSON text: one file may write ids as numbers and as texts, which no Arrow column could hold.
    columns = {name: [_json_cell(value.get(name)) for value in values] for name in names}
    return pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()})


def _json_cell(value: Any) -> str | None:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return id_text(value)
