"""`distiller ask`: asks the teachers what dbt would ask, so that `dbt build` finds the answers in the store."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import json_option, print_json, say, tell
from distiller_udf.cli.options import BUDGET, FILE, STORE, opened_warehouse, with_project
from distiller_udf.cli.sources import Files, with_constraint, with_files
from distiller_udf.english import counted
from distiller_udf.errors import DistillerError, SettingsError
from distiller_udf.files.tables import check_suffix, read_table, write_table
from distiller_udf.project import Project
from distiller_udf.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.labels import CostEstimate, Progress, Run

FAILED, BUDGET_REACHED, INTERRUPTED = 1, 3, 130
PAIR_COLUMNS = "left_source, left_id, right_source, left_record, right_record"
file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--tuples", type=FILE, help="Instead: tuples in the shape of er_tuples; embedded knows no other pairs.")
@with_files(pairs=False)
@click.option("--limit", type=click.IntRange(1), help="Ask about so many tuples only.")
@click.option("--dry-run", is_flag=True, help="Only say what a run will ask and what it costs.")
@click.option("--output", "-o", type=file, help="Write the labels in the shape of er_labels, as in labels.parquet.")
@with_project(
    {
        "--teacher": "teacher",
        "--model": "teacher_model",
        "--base-url": "teacher_base_url",
        "--ask": "teacher_ask",
        "--reply": "teacher_reply",
        "--orders": "teacher_orders",
        "--concurrency": "teacher_concurrency",
        "--prices": "teacher_prices",
        "--local-only": "local_only",
        **STORE,
        **BUDGET,
    },
    warehouse=True,
)
@json_option
@click.pass_context
def ask(
    context: click.Context,
    /,
    project: Project,
    tuples: Path | None,
    files: Files,
    limit: int | None,
    dry_run: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Ask the teachers what dbt would ask, and watch it; `dbt build` then finds the answers in the label store.

    Without dbt it asks about the candidates of two files of records (--left, --right, --candidates). Settings are the
    er_* variables of the dbt project; the options below override them for this run. Nothing that the store knows is
    asked again, and every answer is kept the moment it arrives.

    \b
    Exit codes:
      0    all is answered
      1    an error, or questions that stayed without a reply: run again to ask them
      3    the budget is reached: what was answered is kept
      130  interrupted: what was answered is kept
    """
    asked = TuplesToAsk.of(project, tuples, files, limit)
    if output:
        check_suffix(output)
        if not output.resolve().parent.is_dir():
            raise click.UsageError(f"the folder of {output} does not exist; make it first")
        if output.resolve() in [path.resolve() for path in (tuples, *files.paths) if path]:
            raise click.UsageError(f"{output} is an input; give another --output")
    settings = with_constraint(files.settings(project), asked.tuples, "candidates")
    context.exit(ask_all(asked, settings, dry_run, output, as_json))


@dataclass(frozen=True)
class TuplesToAsk:
    """Where the tuples are; `pairs` fetches all pairs for a teacher that looks at them first, where they are known."""

    tuples: pa.Table
    pairs: Callable[[], pa.Table] | None

    @classmethod
    def of(cls, project: Project, tuples: Path | None, files: Files, limit: int | None) -> TuplesToAsk:
        """Read the tuples of files or the warehouse, the first ones by their keys where there is a limit.

        The warehouse is closed at once, so that dbt can build while teachers answer. Raises RecordError, TableError.
        """
        from distiller_udf.labels.tuples import with_lists
        from distiller_udf.pairs import all_pairs, tuples_of

        constraint = files.settings(project).resolved_constraint
        given = None if tuples else files.pairs()
        if tuples:
            source = cls(with_lists(read_table(tuples)), None)
        elif given is not None:
            left, right = constraint.ordered(files.sources)
            pairs = given.ordered(constraint)
            table = tuples_of(pairs, (left, right)).sort_by("left_id")
            source = cls(table, lambda: all_pairs(pairs, (left, right)))
        else:
            warehouse = opened_warehouse(project)
            source = cls(
                warehouse.table("er_tuples").order("left_source, left_id").to_arrow_table(),
                lambda: warehouse.table("er_pairs").select(PAIR_COLUMNS).to_arrow_table(),
            )
        return source if limit is None else cls(source.tuples.slice(0, limit), source.pairs)


@dataclass
class Report:
    """What --json prints."""

    estimate: list[dict[str, Any]]
    outcome: list[dict[str, Any]] = field(default_factory=list)
    spent: dict[str, Any] | None = None
    labels: int | None = None
    output: str | None = None
    stopped: str | None = None


def ask_all(asked: TuplesToAsk, settings: Settings, dry_run: bool, output: Path | None, as_json: bool) -> int:
    """Estimate, ask, report; the exit code. Raises SettingsError, LabelError, TeacherError."""
    from distiller_udf.cli.ask_view import print_estimates
    from distiller_udf.labels import make_run

    run = make_run(settings)
    if not run.teachers:
        raise SettingsError("only imported labels are set, and nobody is asked for these; give --teacher or --model")
    with run.store:
        expected = run.estimate(asked.tuples, pairs=asked.pairs)
        report = Report([_estimate(part) for part in expected])
        if not as_json:
            print_estimates(expected)
        code = 0 if dry_run else _label(run, asked, output, report, as_json)
    if as_json:
        print_json({"estimate": report.estimate} if dry_run else asdict(report))
    if code == INTERRUPTED:
        leave_at_once(code)
    return code


def _label(run: Run, asked: TuplesToAsk, output: Path | None, report: Report, as_json: bool) -> int:
    """Ask, show it, and write what came; the exit code."""
    from distiller_udf.cli.ask_view import watching

    code, rows = 0, None
    with watching() as watch:
        try:
            rows = run.label(asked.tuples, pairs=asked.pairs, progress=watch)
        except KeyboardInterrupt:
            code, report.stopped = INTERRUPTED, "interrupted"
        except DistillerError as error:
            code, report.stopped = FAILED, str(error)
    stands = watch.all()
    if code == 0 and watch.stopped:
        code, report.stopped = BUDGET_REACHED, watch.stopped
    elif code == 0 and watch.failed:
        code, report.stopped = (
            FAILED,
            f"{counted(watch.failed, 'question')} stayed without a reply; run again to ask once more",
        )
    report.outcome = [asdict(stand) for stand in stands]
    report.spent = {**asdict(run.budget.spent), "cost_unknown": sum(stand.cost_unknown for stand in stands)}
    if rows is not None:
        report.labels = rows.num_rows
        if output:
            write_table(rows, output)
            report.output = str(output)
    if not as_json:
        for stand in stands:
            tell(str(stand))
    _say_end(code, report, stands)
    return code


def _say_end(code: int, report: Report, stands: Sequence[Progress]) -> None:
    """In a sentence, how it ended."""
    arrived = sum(stand.answered for stand in stands)
    kept = counted(arrived, "answer has arrived and is kept", "answers have arrived and are kept")
    if code == INTERRUPTED:
        say(f"Interrupted: {kept}; run again to ask the rest.")
    elif code == BUDGET_REACHED:
        say(f"Stopped: {report.stopped}. {kept[0].upper()}{kept[1:]}.")
    elif code == FAILED:
        say(f"Error: {report.stopped}")
    if report.output:
        say(f"{counted(report.labels or 0, 'label')}: {report.output}")


def _estimate(part: CostEstimate) -> dict[str, Any]:
    """One teacher's estimate, flat; `usd` is null where the price is unknown."""
    fields = asdict(part)
    return {**{name: value for name, value in fields.items() if name != "cost"}, **fields["cost"]}


def leave_at_once(code: int) -> None:
    """End the process without waiting for calls under way, whose answers nobody would take any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
