"""What commands read beside the warehouse: labels, pairs and records in files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import say, say_some, with_options
from distiller_udf.cli.options import FILE, opened_warehouse
from distiller_udf.constraint import Constraint, sides
from distiller_udf.english import counted
from distiller_udf.errors import require_columns
from distiller_udf.files.tables import open_table, read_table
from distiller_udf.project import Project
from distiller_udf.settings import Settings
from distiller_udf.votes import vote

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from distiller_udf.labels import FoundReport
    from distiller_udf.pairs import PairSource, RecordFile
    from distiller_udf.project.warehouse import Warehouse

LABELS = click.option(
    "--labels", type=FILE, help="Instead of the warehouse: labels in any shape that `distiller labels import` reads."
)
"""A file of labels: it is read alike wherever it is given."""

SHARE = click.option(
    "--evaluation-share",
    type=click.FloatRange(0, 0.9),
    help="Never learn from this share of the labelled records, so that `distiller retrain` can weigh the student.  "
    "[default: er_evaluation_share where er_training is schedule, else 0]",
)

_RECORDS = (
    click.option("--left", type=FILE, help="Left records: an id and any columns."),
    click.option("--right", type=FILE, help="Right records.  [default: the left ones]"),
    click.option("--candidates", type=FILE, help="With --left: pairs of their ids, left_id and right_id."),
    click.option("--id", "id_column", help="The id column of the records.  [default: id]"),
    click.option("--right-id", "right_id_column", help="The id column of the right records, if it is another one."),
)
_PAIRS = click.option("--pairs", "pair_file", type=FILE, help="Instead: pairs as left_record and right_record.")


@dataclass(frozen=True)
class Files:
    """Records and pairs of records in files, as the options name them.

    Left and right are what is declared first and last, as in er_sources. The pairs in `pair_file` are as in er_pairs.
    """

    left: Path | None = None
    right: Path | None = None
    candidates: Path | None = None
    id_column: str | None = None
    right_id_column: str | None = None
    pair_file: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All files that are read."""
        return [path for path in (self.left, self.right, self.candidates, self.pair_file) if path]

    @property
    def sides(self) -> tuple[RecordFile, RecordFile] | None:
        """The left and the right records, which are the same where only the left ones are named; None without them."""
        from distiller_udf.pairs import RecordFile

        if self.left is None:
            if self.right or self.candidates:
                raise click.UsageError("--right and --candidates go with --left")
            return None
        named = self.id_column or "id"
        left = RecordFile(self.left, named)
        return left, RecordFile(self.right, self.right_id_column or named) if self.right else left

    @property
    def sources(self) -> tuple[str, str]:
        """What the left and the right records are called: their files' names, or left and right where these are one."""
        sides = self.sides
        if sides is None or sides[0].source != sides[1].source:
            return ("left", "right") if sides is None else (sides[0].source, sides[1].source)
        return (sides[0].source, sides[0].source) if sides[0] == sides[1] else ("left", "right")

    def pairs(self) -> PairSource | None:
        """The pairs; None where none are named. Raises RecordError and TableError for files that cannot be used."""
        from distiller_udf.pairs import pairs_from_file, pairs_from_tables

        if self.pair_file:
            return pairs_from_file(self.pair_file)
        sides = self.sides
        if sides is None or self.candidates is None:
            return None
        return pairs_from_tables(*sides, self.candidates)

    def records(self) -> pa.Table | None:
        """All records with `source`, `id` and `record`; None where none are named."""
        from distiller_udf.pairs import records_from_tables

        sides = self.sides
        return None if sides is None else records_from_tables(dict(zip(self.sources, sides, strict=True)))

    def settings(self, project: Project) -> Settings:
        """The project's settings; of the task, where that is not set, what the files are: one table or two."""
        settings = project.settings
        if self.left is None or settings.task != "auto":
            return settings
        return settings.but({"task": "link" if self.right else "dedupe"})


def with_files(pairs: bool = True) -> Callable[..., Any]:
    """A decorator that calls a command with `files`, a `Files`; with `pairs` these may be in one file, too."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(*arguments: Any, **options: Any) -> Any:
            names = [name for name in Files.__dataclass_fields__ if name in options]
            return command(*arguments, files=Files(**{name: options.pop(name) for name in names}), **options)

        decorated: Callable[..., Any] = with_options(*_RECORDS, *([_PAIRS] if pairs else []))(called)
        return decorated

    return decorate


@dataclass(frozen=True)
class TrainingData:
    """Labels in the shape of `er_labels`, a reader of the unlabelled pairs where there are any, and their columns.

    `settings` are the project's, with a constraint.
    """

    labels: pa.Table
    candidates: Callable[[], Iterable[pa.RecordBatch]] | None
    columns: str
    settings: Settings


def say_of_newer_labels(warehouse: Warehouse, store: Path) -> None:
    """Warn where labels were imported or corrected after the warehouse was written last: er_votes lacks them."""
    from distiller_udf.labels import LabelStore

    written = [path.stat().st_mtime for path in (Path(warehouse.path), Path(f"{warehouse.path}.wal")) if path.exists()]
    if not written or not store.exists():
        return
    with LabelStore(store) as labels:
        imported = labels.last_import()
    if imported is not None and imported.timestamp() > max(written):
        say(
            "Warning: labels were imported after the warehouse was built, so er_votes does not have them; "
            "`dbt build --select er_labels+` takes them in."
        )


def read_sources(
    project: Project, labels: Path | None, files: Files, share: float | None, voted: bool = True
) -> TrainingData:
    """The labels to learn from, and all pairs: of files, or the er_* tables of the project's warehouse.

    The labels of a `share` of the left records are left out, those by which students are compared; None: as many as
    `dbt build` leaves out. `voted`: one label a tuple, otherwise as several teachers gave them.

    Raises RecordError, TableError and LabelError for what cannot be read as pairs and labels.
    """
    from distiller_udf.pairs import RECORD_COLUMNS, without_ids
    from distiller_udf.scoring import BATCH_ROWS
    from distiller_udf.training.er_student import shuffled
    from distiller_udf.training.schedule.evaluation_set import split

    settings = files.settings(project)
    ids: list[set[str]] = []
    if labels:
        given = files.pairs()
        pairs = None if given is None else given.ordered(settings.known_constraint).relation
        table, ids = labels_of_file(labels, files, settings, pairs)
        table = vote(table, settings.vote) if voted else table
    else:
        warehouse = opened_warehouse(project)
        say_of_newer_labels(warehouse, Path(settings.label_store))
        table = warehouse.table("er_votes" if voted else "er_labels").to_arrow_table()
        pairs = warehouse.table("er_pairs")
        require_columns("the pairs", pairs.columns, RECORD_COLUMNS)
    settings = with_constraint(settings, table)
    if share is None:
        share = settings.evaluation_share if settings.training == "schedule" else 0.0
    to_learn, _ = split(table, share)
    if pairs is None:
        return TrainingData(to_learn, None, "", settings)

    def candidates() -> Iterable[pa.RecordBatch]:
        batches = shuffled(pairs).to_arrow_reader(BATCH_ROWS)
        return without_ids(batches, ids) if any(ids) else batches

    return TrainingData(to_learn, candidates, described(pairs, labels is not None), settings)


def with_constraint(settings: Settings, questions: pa.Table, options: str = "options") -> Settings:
    """The settings with a constraint; where nothing says which, it is what the records of the questions suggest.

    `questions` are in the shape of er_labels, or with `candidates` as `options` in that of er_tuples.
    """
    if settings.known_constraint is not None:
        return settings
    return settings.but({"constraint": str(Constraint.of_sides(sides(questions, options)))})


def labels_of_file(
    path: Path, files: Files, settings: Settings, pairs: duckdb.DuckDBPyRelation | None = None
) -> tuple[pa.Table, list[set[str]]]:
    """The labels of a file in the shape of `er_labels`: on the records of `files`, or else on those that they carry.

    Their records lack the columns that are ids, in the labels or the `pairs`; these come along, of left and of right
    records: an id says nothing of what a record is, and no new record has one that was learned. Says what is not used.
    Raises LabelError where nothing can be used, TableError for a file that cannot be read.
    """
    from distiller_udf.labels import (
        good_labels,
        label_id_columns,
        labels_on_records,
        labels_with_records,
        without_label_columns,
    )
    from distiller_udf.pairs import pair_id_columns

    labels, records = good_labels(read_table(path)), files.records()
    constraint = settings.resolved_constraint
    if records is None:
        table, report = labels_with_records(labels, constraint)
    else:
        table, report = labels_on_records(
            [label for label in labels if label.ask != "justify"], records, sources=files.sources, constraint=constraint
        )
    _say_unused(report)
    named = constraint.ordered((files.id_column, files.right_id_column or files.id_column))
    ids = label_id_columns(table, named)
    if pairs is not None:
        ids = [one | other for one, other in zip(ids, pair_id_columns(pairs, named), strict=True)]
    for side, columns in zip(("left", "right"), ids, strict=True):
        for column in sorted(columns):
            say(f"the column {column} of the {side} records is their id, so nothing is learned from it")
    return without_label_columns(table, ids), ids


def _say_unused(report: FoundReport) -> None:
    say_some("not used", report.examples)
    if report.used < report.total:
        say(f"{report.total - report.used:,} of {counted(report.total, 'label')} left out: no such record is there")
    say_some("neither is used", [str(each) for each in report.contradictions])


def pairs_of_file(path: Path, ids: list[set[str]]) -> Path | pa.Table:
    """The pairs of a file without these columns of their records; the file itself where there are none."""
    import pyarrow as pa

    from distiller_udf.pairs import without_ids
    from distiller_udf.scoring import BATCH_ROWS

    if not any(ids):
        return path
    return pa.Table.from_batches(list(without_ids(open_table(path).to_arrow_reader(BATCH_ROWS), ids)))


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
