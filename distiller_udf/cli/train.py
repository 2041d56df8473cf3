"""`distiller train`: a student from labels, published in the registry and promoted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import json_option, print_json, progress, say
from distiller_udf.cli.students import name_option, print_student, students_option
from distiller_udf.cli.warehouse import database_option, read_parquet, read_table, require_columns, schema_option
from distiller_udf.encoding import DEFAULT_MODEL
from distiller_udf.students import KINDS
from distiller_udf.votes import METHODS
from distiller_udf.votes import vote as voted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

RECORD_COLUMNS = ("left_record", "right_record")
existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@database_option
@schema_option
@click.option("--labels", type=existing, help="Instead of --database: labels as Parquet, in the shape of er_labels.")
@click.option(
    "--vote",
    type=click.Choice(METHODS),
    default="majority",
    show_default=True,
    help="With --labels: how several teachers' labels become one.",
)
@click.option("--pairs", type=existing, help="With --labels: unlabelled pairs (left_record, right_record) as Parquet.")
@students_option
@name_option
@click.option(
    "--student",
    type=click.Choice(list(KINDS)),
    default="lexical",
    show_default=True,
    help="The kind; encoder and blend need distiller-udf[encoder].",
)
@click.option(
    "--encoder",
    help=f"With encoder and blend: a folder or the id of a model on the hub.  [default: {DEFAULT_MODEL}]",
)
@click.option(
    "--target-precision",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The precision that decisions must keep on held-out labels.  [default: the best F1]",
)
@click.option("--multi", is_flag=True, help="Several candidates of a record may match, as in deduplication.")
@click.option("--seed", type=click.IntRange(0), default=42, show_default=True)
@json_option
def train(
    database: Path | None,
    schema: str,
    labels: Path | None,
    vote: str,
    pairs: Path | None,
    root: Path,
    name: str,
    student: str,
    encoder: str | None,
    target_precision: float | None,
    multi: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Train a student from labels and make it the current one.

    A student of the very same labels and settings is not trained again.
    """
    from distiller_udf.registry import Registry
    from distiller_udf.scoring import BATCH_ROWS
    from distiller_udf.training.ensure import ensure_student
    from distiller_udf.training.er_student import shuffled

    if encoder and student == "lexical":
        raise click.UsageError("--encoder is for --student encoder and --student blend; the lexical student has none")
    model = None if student == "lexical" else encoder or DEFAULT_MODEL
    given = {"encoder": model, "target_precision": target_precision}
    label_source, pair_source = read_sources(database, schema, labels, pairs)
    label_table = label_source.to_arrow_table()
    check_shape(label_table)
    with progress("training", 100) as advance:
        outcome = ensure_student(
            voted(label_table, vote) if labels else label_table,
            Registry(root, name),
            kind=student,
            settings={"seed": seed, "multi": multi} | {k: v for k, v in given.items() if v is not None},
            candidates=pair_source and (lambda: shuffled(pair_source).to_arrow_reader(BATCH_ROWS)),
            columns=described(pair_source, pairs is not None) if pair_source else "",
            progress=in_percent(advance),
        )
    if as_json:
        print_json({"trained": outcome.trained, "path": str(outcome.path), **asdict(outcome.info)})
        return
    say("trained" if outcome.trained else "nothing new: the current student knows these labels already")
    print_student(outcome.info, outcome.path)


def read_sources(
    database: Path | None, schema: str, labels: Path | None, pairs: Path | None
) -> tuple[duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation | None]:
    """The labels, and the unlabelled pairs where there are any.

    Raises RecordError when a file or a column is missing.
    """
    if labels:
        label_source, found = read_parquet(labels), read_parquet(pairs) if pairs else None
    elif database:
        label_source, found = (read_table(database, schema, table) for table in ("er_votes", "er_pairs"))
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


def in_percent(advance: Callable[[int], None]) -> Callable[[str, float], None]:
    """A training's report of (step, share done) as steps of a bar that ends at 100."""
    done = 0

    def report(step: str, share: float) -> None:
        nonlocal done
        advance(int(100 * share) - done)
        done = int(100 * share)

    return report
