"""`distiller labels`: what teachers have answered, and answers that someone already paid for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import err, json_option, out, print_json, print_table, say
from distiller_udf.cli.options import STORE, with_project
from distiller_udf.errors import LabelError
from distiller_udf.project import Project

if TYPE_CHECKING:
    from distiller_udf.labels import Deleted, LabelStore


@click.group()
def labels() -> None:
    """Import, export, show and delete the teachers' labels."""


@labels.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--skip-bad-rows", is_flag=True, help="Import the good rows although others are bad.")
@with_project(STORE)
@json_option
def import_file(project: Project, file: Path, skip_bad_rows: bool, as_json: bool) -> None:
    """Import labels from FILE (.parquet, .csv, .json, .jsonl).

    Columns: left_id, options (the candidates' ids in the order shown), answer (1-based, 0 = none) or right_id
    (NULL = none), teacher; optional confidence, explanation, left_source, right_source. Importing a file again
    changes nothing.
    """
    from distiller_udf.imported import read_label_file
    from distiller_udf.labels import LabelStore

    store = Path(project.settings.label_store)
    table = read_label_file(file)
    with err.status(f"importing {table.num_rows:,} labels"), LabelStore(store) as target:
        result = target.import_labels(table, skip_bad_rows=skip_bad_rows)
    if as_json:
        print_json({**asdict(result), "store": str(store)})
        return
    say(f"{store}: {result.added:,} added, {result.updated:,} updated, {result.unchanged:,} unchanged")
    if result.contradictory:
        say(
            f"{result.contradictory:,} left records are answered in two ways by one teacher in this file; "
            "the last answer was taken"
        )
    for problem in result.rejected:
        say(f"left out: {problem}")


@labels.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--imported", is_flag=True, help="Instead: the imported labels, in the shape that import takes.")
@with_project(STORE)
@json_option
def export(project: Project, file: Path, imported: bool, as_json: bool) -> None:
    """Export every answer of the store to FILE (.parquet, .csv, .json, .jsonl)."""
    from distiller_udf.cli.files import check_suffix, write_table

    check_suffix(file)
    with _existing(Path(project.settings.label_store)) as source:
        table = source.export_imported() if imported else source.export()
    write_table(table, file)
    if as_json:
        print_json({"labels": table.num_rows, "output": str(file)})
    else:
        say(f"{table.num_rows:,} labels: {file}")


@labels.command()
@click.option("--limit", type=click.IntRange(0), default=10, show_default=True, help="How many of the newest answers.")
@with_project(STORE)
@json_option
def show(project: Project, limit: int, as_json: bool) -> None:
    """Show what the store holds, by teacher and kind of question, and the newest answers."""
    store = Path(project.settings.label_store)
    with _existing(store) as source:
        teachers = [asdict(summary) for summary in source.summary()]
        newest = source.newest(limit).to_pylist()
    if as_json:
        print_json({"teachers": teachers, "newest": newest})
        return
    columns = ["teacher", "ask", "imported", "labels", "matches", "nones", "abstained", "cost_usd", "cost_unknown"]
    print_table(f"Labels in {store}", columns, [[row[c] for c in columns] for row in teachers])
    if not teachers:
        out.print("No labels yet; `dbt build` asks the teacher, `distiller labels import FILE` brings your own.")
    shown = [[row["teacher"], row["ask"], row["query"][:60], _choice_text(row), row["confidence"]] for row in newest]
    if shown:
        print_table("Newest answers", ["teacher", "ask", "query", "choice", "confidence"], shown)


@labels.command()
@click.option("--id", "record_id", help="Delete what mentions the record of this id.")
@click.option("--source", help="With --id: the record's source.  [default: any source]")
@click.option("--text", metavar="JSON", help='Delete answers that show exactly this record, as in \'{"name":"Anna"}\'.')
@click.option("--containing", metavar="TEXT", help="Delete all in which this text stands, capitals or not.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@with_project(STORE)
@json_option
def delete(
    project: Project,
    record_id: str | None,
    source: str | None,
    text: str | None,
    containing: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete what teachers were asked and said about a record, as a person may request of you.

    Answers about it and imported labels that name it are erased, so that no byte of them can be read in the store's
    file. A question shows several records: those that are asked again are paid for again.

    Delete the record from your sources first, and let no run ask meanwhile: its answers would come in afterwards.
    dbt's own tables (er_records, er_labels, er_scores …) hold copies; the next `dbt build --full-refresh` makes them
    without the record. Trained students and backups are not touched.

    --id finds what was asked with ids: not the questions of the SQL function er_label, nor those of a store of an
    older version until a dbt build has met them again. --text and --containing find these too.
    """
    if sum(given is not None for given in (record_id, text, containing)) != 1:
        raise click.UsageError("give one of --id, --text and --containing")
    if source is not None and record_id is None:
        raise click.UsageError("--source goes with --id")
    store = Path(project.settings.label_store)
    with _existing(store) as target:
        erase = _eraser(target, record_id, source, text, containing)
        found, unmentioned = erase(dry_run=True), target.unmentioned() if record_id is not None else 0
        if not as_json or not (yes or dry_run):
            say(f"{store}: {found.answers:,} answers and {found.imported:,} imported labels mention it")
        if unmentioned and not as_json:
            say(f"{unmentioned:,} answers do not say whom they mention; --text or --containing looks into them")
        if not (dry_run or yes):
            click.confirm("Delete them for good?", abort=True, err=True)
        # Also where nothing is found: an earlier deletion may have been cut off before it cleared the log.
        deleted = found if dry_run else erase(dry_run=False)
    if as_json:
        print_json({**asdict(deleted), "deleted": not dry_run, "unmentioned": unmentioned, "store": str(store)})
    elif not dry_run:
        say(f"{deleted.answers:,} answers and {deleted.imported:,} imported labels deleted")


def _eraser(
    store: LabelStore, record_id: str | None, source: str | None, text: str | None, containing: str | None
) -> Callable[..., Deleted]:
    """The store's deletion that the options mean; it takes `dry_run`."""
    if record_id is not None:
        return partial(store.delete_record, source, record_id)
    if containing is not None:
        return partial(store.delete_containing, containing)
    return partial(store.delete, _canonical(str(text)))


def _canonical(text: str) -> str:
    """A record given as JSON in its canonical text; any other text is a record of one column."""
    from distiller_udf.records import Records

    return Records.from_texts([text]).texts()[0]


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
