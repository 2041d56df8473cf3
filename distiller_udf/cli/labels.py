"""`distiller labels`: what teachers have answered, and answers that someone already paid for."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import Group, err, json_option, out, print_json, print_table, say, say_some
from distiller_udf.cli.options import STORE, with_project
from distiller_udf.english import counted
from distiller_udf.errors import DistillerError, LabelError
from distiller_udf.labels.reading import PEOPLE
from distiller_udf.project import Project

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.labels import LabelStore
    from distiller_udf.labels.erasure import Deleted, Find


@click.group(cls=Group)
def labels() -> None:
    """Import, export, show and delete the teachers' labels."""


@labels.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--teacher", default=PEOPLE, show_default=True, help="Who gave the labels, where the file names nobody.")
@click.option("--skip-bad-rows", is_flag=True, help="Import the good rows although others are bad.")
@with_project(STORE, warehouse=True)
@json_option
def import_file(project: Project, file: Path, teacher: str, skip_bad_rows: bool, as_json: bool) -> None:
    """Import labels from FILE (.parquet, .csv, .tsv, .json, .jsonl, .ndjson).

    One pair a line: left_id, right_id, is_match (1 or 0; without it, every pair is a match). Or one left record a line:
    left_id, options (the candidates' ids in the order shown) and answer (1-based, 0 = none) or right_id (NULL = none).
    Or what `export` wrote: answers come back as they were, and those that you have changed are corrected. Optional are
    teacher, left_source, right_source, confidence, explanation; other columns are passed over.

    Importing a file again changes nothing, and a later import corrects an earlier one. Where one teacher says yes and
    no to the same pair in one file, neither is used. Labels of records that er_records does not have, once it was
    built, are told.
    """
    from distiller_udf.files.tables import read_table
    from distiller_udf.labels import LabelStore

    store = Path(project.settings.label_store)
    table = read_table(file)
    with err.status(f"importing {counted(table.num_rows, 'label')}"), LabelStore(store) as target:
        result = target.import_labels(
            table, teacher=teacher, sources=project.settings.source_names, skip_bad_rows=skip_bad_rows
        )
    unknown = _without_records(project, table, teacher)
    if as_json:
        print_json({**asdict(result), "without_records": unknown, "store": str(store)})
        return
    repeated = f", {result.repeated:,} said more than once" if result.repeated else ""
    say(f"{store}: {result.added:,} added, {result.updated:,} updated, {result.unchanged:,} unchanged{repeated}")
    say_some("left out", result.rejected)
    say_some("neither is used", result.contradictions)
    say_some("passed over", result.passed_over)
    if unknown:
        say(f"{len(unknown):,} of the labels name records that er_records does not have; until then they are not used")
    say_some("no record", unknown)
    if project.exists and result.added + result.updated:
        say("`dbt build` learns from them: until then, er_labels and the student are as they were")


def _without_records(project: Project, table: pa.Table, teacher: str) -> list[str]:
    """A sentence for every label of a record that is not in er_records; none where that was not built."""
    from distiller_udf.labels import labels_without_records, read_labels
    from distiller_udf.project.dbt import warehouse_of

    if not project.exists and project.database is None:
        return []
    try:
        records = warehouse_of(project).table("er_records")
        known = records.select("source, id, cast(id as varchar) as id_text").to_arrow_table()
    except DistillerError as error:
        say(f"whether er_records has the records of these labels is not known: {str(error).splitlines()[0]}")
        return []
    return labels_without_records(read_labels(table, teacher=teacher)[0], known, project.settings.source_names or None)


@labels.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_project(STORE)
@json_option
def export(project: Project, file: Path, as_json: bool) -> None:
    """Export all answers and imported labels of the store to FILE (.parquet, .csv, .json, .jsonl).

    It is the shape of er_labels: `import` reads it back, and `distiller train --labels` learns from it. To correct an
    answer, change its choice (the position in options, 0 for none) and import the file.
    """
    from distiller_udf.files.tables import check_suffix, write_table

    check_suffix(file)
    with _existing(Path(project.settings.label_store)) as source:
        table = source.export()
    write_table(table, file)
    if as_json:
        print_json({"labels": table.num_rows, "output": str(file)})
    else:
        say(f"{counted(table.num_rows, 'label')}: {file}")


@labels.command()
@click.option("--limit", type=click.IntRange(0), default=10, show_default=True, help="How many of the newest labels.")
@with_project(STORE)
@json_option
def show(project: Project, limit: int, as_json: bool) -> None:
    """Show what the store holds, by teacher and kind of question, and the newest labels.

    These are answers that were asked, answers that an import corrected, and imported labels.
    """
    store = Path(project.settings.label_store)
    with _existing(store) as source:
        teachers = [asdict(summary) for summary in source.summary()]
        newest = source.latest(limit)
    if as_json:
        print_json({"teachers": teachers, "newest": newest})
        return
    columns = ["teacher", "ask", "imported", "labels", "matches", "nones", "abstained", "cost_usd", "cost_unknown"]
    print_table(f"Labels in {store}", columns, [[row[c] for c in columns] for row in teachers])
    if not teachers:
        out.print("No labels yet; `dbt build` asks the teacher, `distiller labels import FILE` brings your own.")
    if newest:
        columns = ["when (UTC)", "origin", "teacher", "ask", "record", "choice", "confidence"]
        print_table("Newest labels", columns, [_cells(row) for row in newest])


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
        erase = partial(target.delete, _found_by(record_id, source, text, containing))
        found, unmentioned = erase(dry_run=True), target.unmentioned() if record_id is not None else 0
        if not as_json or not (yes or dry_run):
            say(f"{store}: it is mentioned in {_counts(found)}")
        if unmentioned and not as_json:
            one, several = "answer does not say whom it mentions", "answers do not say whom they mention"
            say(f"{counted(unmentioned, one, several)}; --text or --containing looks into them")
        if not (dry_run or yes):
            click.confirm("Delete them for good?", abort=True, err=True)
        # Also where nothing is found: an earlier deletion may have been cut off before it cleared the log.
        deleted = found if dry_run else erase(dry_run=False)
    if as_json:
        print_json({**asdict(deleted), "deleted": not dry_run, "unmentioned": unmentioned, "store": str(store)})
    elif not dry_run:
        say(f"{_counts(deleted)} deleted")


def _found_by(record_id: str | None, source: str | None, text: str | None, containing: str | None) -> Find:
    """What the options mean. A record given as JSON stands for its canonical text, other text for one column."""
    from distiller_udf.labels import erasure
    from distiller_udf.records import Records

    if record_id is not None:
        return erasure.of_record(source, record_id)
    if containing is not None:
        return erasure.containing(containing)
    return erasure.of_text(Records.from_texts([text]).texts()[0])


def _counts(found: Deleted) -> str:
    return f"{counted(found.answers, 'answer')} and {counted(found.imported, 'imported label')}"


def _existing(store: Path) -> LabelStore:
    from distiller_udf.labels import LabelStore

    if not store.exists():
        raise LabelError(f"there is no label store at {store}; `dbt build` makes one, or give --store")
    return LabelStore(store)


def _choice_text(row: dict[str, Any]) -> str:
    choice = row["choice"]
    if choice is None:
        return f"abstained: {row['error']}"
    return "none" if choice == 0 else _shown(row["options"][choice - 1])


def _cells(row: dict[str, Any]) -> list[Any]:
    when = str(row["stored_at"] or "").replace("T", " ")[:16]
    record = _shown({"record": row["query"], "source": row["left_source"], "id": row["left_id"]})
    return [when, row["origin"], row["teacher"], row["ask"], record, _choice_text(row), row["confidence"]]


def _shown(record: dict[str, Any]) -> str:
    """A record's text as far as there is room; of one that was only named its id."""
    if record["record"] is not None:
        return str(record["record"])[:60]
    return f"{record['source']}:{record['id']}" if record["source"] else str(record["id"])
