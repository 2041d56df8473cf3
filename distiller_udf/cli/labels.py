"""`distiller labels`: what teachers have answered, and answers that someone already paid for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import err, json_option, out, print_json, print_table
from distiller_udf.errors import LabelError

if TYPE_CHECKING:
    from distiller_udf.labels import LabelStore

store_option = click.option(
    "--store",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("distiller/labels.sqlite"),
    show_default=True,
    help="The label store.",
)


@click.group()
def labels() -> None:
    """Import, export and show the teachers' labels."""


@labels.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--skip-bad-rows", is_flag=True, help="Import the good rows although others are bad.")
@store_option
@json_option
def import_file(file: Path, skip_bad_rows: bool, store: Path, as_json: bool) -> None:
    """Import labels from FILE (.parquet, .csv, .json, .jsonl).

    Columns: left_id, options (the candidates' ids in the order shown), answer (1-based, 0 = none) or right_id
    (NULL = none), teacher; optional confidence, explanation, left_source, right_source. Importing a file again
    changes nothing.
    """
    from distiller_udf.imported import read_label_file
    from distiller_udf.labels import LabelStore

    table = read_label_file(file)
    with err.status(f"importing {table.num_rows:,} labels"), LabelStore(store) as target:
        result = target.import_labels(table, skip_bad_rows=skip_bad_rows)
    if as_json:
        print_json({**asdict(result), "store": str(store)})
        return
    err.print(f"{store}: {result.added:,} added, {result.updated:,} updated, {result.unchanged:,} unchanged")
    for problem in result.rejected:
        err.print(f"left out: {problem}", markup=False)


@labels.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--imported", is_flag=True, help="Instead: the imported labels, in the shape that import takes.")
@store_option
@json_option
def export(file: Path, imported: bool, store: Path, as_json: bool) -> None:
    """Export every answer of the store to FILE (.parquet)."""
    import pyarrow.parquet as pq

    with _existing(store) as source:
        table = source.export_imported() if imported else source.export()
    staged = file.with_name(f".{file.name}.part")
    try:
        pq.write_table(table, staged)
        staged.replace(file)
    except OSError as error:
        raise LabelError(f"{file} could not be written: {error.strerror or error}") from error
    finally:
        staged.unlink(missing_ok=True)
    if as_json:
        print_json({"labels": table.num_rows, "output": str(file)})
    else:
        err.print(f"{table.num_rows:,} labels: {file}")


@labels.command()
@click.option("--limit", type=click.IntRange(0), default=10, show_default=True, help="How many of the newest answers.")
@store_option
@json_option
def show(limit: int, store: Path, as_json: bool) -> None:
    """Show what the store holds, teacher by teacher, and the newest answers."""
    with _existing(store) as source:
        teachers = [asdict(summary) for summary in source.summary()]
        newest = source.newest(limit).to_pylist()
    if as_json:
        print_json({"teachers": teachers, "newest": newest})
        return
    columns = ["teacher", "imported", "labels", "matches", "nones", "abstained", "cost_usd", "cost_unknown"]
    print_table(f"Labels in {store}", columns, [[row[c] for c in columns] for row in teachers])
    if not teachers:
        out.print("No labels yet; `dbt build` asks the teacher, `distiller labels import FILE` brings your own.")
    shown = [[row["teacher"], row["query"][:60], _choice_text(row), row["confidence"]] for row in newest]
    if shown:
        print_table("Newest answers", ["teacher", "query", "choice", "confidence"], shown)


def _existing(store: Path) -> LabelStore:
    from distiller_udf.labels import LabelStore

    if not store.exists():
        raise LabelError(f"there is no label store at {store}; `dbt build` makes one, or give --store")
    return LabelStore(store)


def _choice_text(row: dict[str, Any]) -> str:
    choice, candidates = row["choice"], row["candidates"]
    if choice is None:
        return f"abstained: {row['error']}"
    return "none" if choice == 0 else str(candidates[choice - 1])[:60]
