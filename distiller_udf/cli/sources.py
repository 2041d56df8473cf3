"""What students are trained from: labels and pairs, in a warehouse or in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import with_options
from distiller_udf.cli.options import FILE
from distiller_udf.dbt import warehouse_of
from distiller_udf.errors import LabelError, RecordError
from distiller_udf.project import Project
from distiller_udf.votes import vote

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

RECORD_COLUMNS = ("left_record", "right_record")
source_options = with_options(
    click.option("--labels", type=FILE, help="Instead of the warehouse: labels as Parquet, in the shape of er_labels."),
    click.option("--pairs", type=FILE, help="With --labels: unlabelled pairs (left_record, right_record) as Parquet."),
    click.option(
        "--evaluation-share",
        type=click.FloatRange(0, 0.9),
        help="Never learn from this share of the labelled records, so that `distiller retrain` can weigh the student.  "
        "[default: er_evaluation_share where er_training is schedule, else 0]",
    ),
)


@dataclass(frozen=True)
class Source:
    """Labels in the shape of `er_labels`, a reader of the unlabelled pairs where there are any, and their columns."""

    labels: pa.Table
    candidates: Callable[[], Iterable[pa.RecordBatch]] | None
    columns: str


def read_labels(
    project: Project, labels: Path | None, pairs: Path | None, share: float | None, voted: bool = True
) -> Source:
    """The labels to learn from, and all pairs: files, or the er_* tables of the project's warehouse.

    The labels of a `share` of the left records are left out, those by which students are compared; None: as many as
    `dbt build` leaves out. `voted`: one label a tuple, otherwise as several teachers gave them.

    Raises RecordError when a file or a column is missing, LabelError for labels of another shape.
    """
    from distiller_udf.scoring import BATCH_ROWS
    from distiller_udf.training.er_student import shuffled
    from distiller_udf.training.schedule.evaluation_set import split

    label_source, found = read_sources(project, labels, pairs, "er_votes" if voted else "er_labels")
    table = label_source.to_arrow_table()
    check_shape(table)
    settings = project.settings
    if share is None:
        share = settings.evaluation_share if settings.training == "schedule" else 0.0
    to_learn, _ = split(vote(table, settings.vote) if labels and voted else table, share)
    return Source(
        to_learn,
        None if found is None else lambda: shuffled(found).to_arrow_reader(BATCH_ROWS),
        "" if found is None else described(found, pairs is not None),
    )


def read_sources(
    project: Project, labels: Path | None, pairs: Path | None, table: str = "er_votes"
) -> tuple[duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation | None]:
    """The labels, and the unlabelled pairs where there are any.

    Raises RecordError when a file or a column is missing.
    """
    if labels:
        label_source, found = read_parquet(labels), read_parquet(pairs) if pairs else None
    else:
        warehouse = warehouse_of(project)
        label_source, found = warehouse.table(table), warehouse.table("er_pairs")
    if found is not None:
        require_columns("the pairs", found, RECORD_COLUMNS)
    return label_source, found


def read_parquet(path: Path) -> duckdb.DuckDBPyRelation:
    """A Parquet file as a relation. Raises RecordError when it cannot be read."""
    import duckdb

    try:
        return duckdb.connect().read_parquet(str(path))
    except duckdb.Error as error:
        raise RecordError(f"{path} cannot be read as Parquet: {error}") from error


def require_columns(what: str, relation: duckdb.DuckDBPyRelation, needed: Sequence[str]) -> None:
    """Raise RecordError, with the columns that are there, when one of the needed ones is not."""
    missing = [name for name in needed if name not in relation.columns]
    if missing:
        raise RecordError(f"{what} lack the column {', '.join(missing)}; they have {', '.join(relation.columns)}")


def described(pairs: duckdb.DuckDBPyRelation, whole: bool) -> str:
    """What of the pairs makes another student: their columns, and all they hold where they were given as a `whole`.

    The warehouse's pairs change every night; the student that dbt trained is not trained again for that.
    """
    from distiller_udf.training.er_student import record_columns

    columns: str = record_columns(pairs)
    if not whole:
        return columns
    content = "count(*), bit_xor(md5_number_lower(concat(left_record::varchar, chr(31), right_record::varchar)))"
    return f"{columns}, {pairs.aggregate(content).fetchall()[0]}"


def check_shape(labels: pa.Table) -> None:
    """Raise LabelError, with the column, where labels are not of the types of er_labels."""
    import pyarrow as pa

    def fits(name: str, kind: Any) -> bool:
        if name == "choice":
            return bool(pa.types.is_integer(kind) or pa.types.is_null(kind))
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            return bool(name == "probabilities" and pa.types.is_null(kind))
        inner = kind.value_type
        if name == "probabilities":
            return any(of(inner) for of in (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal))
        return bool(pa.types.is_struct(inner)) and "record" in {field.name for field in inner}

    wanted = {
        "choice": "a whole number, 0 = none of the options",
        "options": "a list of structs with the field record",
        "probabilities": "a list of numbers, one for each option",
    }
    for name, shape in wanted.items():
        if name in labels.column_names and not fits(name, labels.schema.field(name).type):
            raise LabelError(f"the labels' column {name} is {labels.schema.field(name).type}; it must be {shape}")
