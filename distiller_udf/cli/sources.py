"""What students are trained from: labels and pairs, in a warehouse or in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import with_options
from distiller_udf.cli.warehouse import database_option, read_parquet, read_table, require_columns, schema_option
from distiller_udf.votes import METHODS
from distiller_udf.votes import vote as voted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

RECORD_COLUMNS = ("left_record", "right_record")
existing = click.Path(exists=True, dir_okay=False, path_type=Path)

source_options = with_options(
    database_option,
    schema_option,
    click.option(
        "--labels", type=existing, help="Instead of --database: labels as Parquet, in the shape of er_labels."
    ),
    click.option(
        "--vote",
        type=click.Choice(METHODS),
        default="majority",
        show_default=True,
        help="With --labels: how several teachers' labels become one.",
    ),
    click.option(
        "--pairs", type=existing, help="With --labels: unlabelled pairs (left_record, right_record) as Parquet."
    ),
    click.option(
        "--evaluation-share",
        type=click.FloatRange(0, 0.9),
        default=0.0,
        help="Never learn from this share of the labelled records, as `distiller retrain` does (er_evaluation_share), "
        "so that it can weigh the student.  [default: learn from all]",
    ),
)


@dataclass(frozen=True)
class Source:
    """Labels in the shape of `er_labels`, a reader of the unlabelled pairs where there are any, and their columns."""

    labels: pa.Table
    candidates: Callable[[], Iterable[pa.RecordBatch]] | None
    columns: str


def read_labels(
    database: Path | None,
    schema: str,
    labels: Path | None,
    pairs: Path | None,
    vote: str | None,
    evaluation_share: float = 0.0,
) -> Source:
    """Read labels and pairs; the labels as several teachers gave them where `vote` is None.

    The labels of `evaluation_share` of the left records are left out: those by which students are compared.

    Raises RecordError when a file or a column is missing, LabelError for labels of another shape.
    """
    from distiller_udf.scoring import BATCH_ROWS
    from distiller_udf.training.er_student import shuffled
    from distiller_udf.training.schedule.evaluation_set import split

    label_source, found = read_sources(database, schema, labels, pairs, "er_votes" if vote else "er_labels")
    table = label_source.to_arrow_table()
    check_shape(table)
    to_learn, _ = split(voted(table, vote) if labels and vote else table, evaluation_share)
    return Source(
        to_learn,
        None if found is None else lambda: shuffled(found).to_arrow_reader(BATCH_ROWS),
        "" if found is None else described(found, pairs is not None),
    )


def read_sources(
    database: Path | None, schema: str, labels: Path | None, pairs: Path | None, table: str = "er_votes"
) -> tuple[duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation | None]:
    """The labels, and the unlabelled pairs where there are any.

    Raises RecordError when a file or a column is missing.
    """
    if labels:
        label_source, found = read_parquet(labels), read_parquet(pairs) if pairs else None
    elif database:
        label_source, found = (read_table(database, schema, name) for name in (table, "er_pairs"))
    else:
        raise click.UsageError("give --database, or --labels and --pairs")
    if found is not None:
        require_columns("the pairs", found, RECORD_COLUMNS)
    return label_source, found


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

    from distiller_udf.errors import LabelError

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
