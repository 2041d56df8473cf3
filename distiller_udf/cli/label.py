"""`distiller label`: asks the teachers what dbt would ask, so that `dbt build` finds the answers in the store."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import json_option, print_json, say
from distiller_udf.cli.files import check_suffix, write_table
from distiller_udf.cli.warehouse import database_option, read_parquet, read_table, schema_option
from distiller_udf.constraint import Constraint, sides
from distiller_udf.errors import DistillerError, SettingsError
from distiller_udf.project import Project, default_variables, read_variables, with_variables
from distiller_udf.prompts import REPLIES
from distiller_udf.teachers.settings import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.labelling import Estimate, Progress, Run

FAILED, BUDGET_REACHED, INTERRUPTED = 1, 3, 130
PAIR_COLUMNS = "left_source, left_id, right_source, left_record, right_record"
file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@database_option
@schema_option
@click.option(
    "--tuples",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead: er_tuples as Parquet; the embedded teacher then knows no other pairs.",
)
@click.option(
    "--project-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The dbt project whose er_* variables count.  [default: the one that --database is in, or this folder]",
)
@click.option("--vars", "variables", metavar="YAML", default="", help="More er_* variables, as dbt takes them.")
@click.option("--limit", type=click.IntRange(1), help="Ask about so many tuples only.")
@click.option("--dry-run", is_flag=True, help="Only say what a run will ask and what it costs.")
@click.option("--output", "-o", type=file, help="Write the labels in the shape of er_labels, as in labels.parquet.")
@click.option("--teacher", type=click.Choice(KINDS), help="Instead of er_teacher and er_teachers.")
@click.option("--model", "teacher_model", help="Instead of er_teacher_model and er_teachers.")
@click.option("--base-url", "teacher_base_url", help="Instead of er_teacher_base_url.")
@click.option("--ask", "teacher_ask", type=click.Choice(["select", "match"]), help="Instead of er_teacher_ask.")
@click.option("--reply", "teacher_reply", type=click.Choice(REPLIES), help="Instead of er_teacher_reply.")
@click.option("--orders", "teacher_orders", type=click.IntRange(1, 100), help="Instead of er_teacher_orders.")
@click.option("--concurrency", "teacher_concurrency", type=click.IntRange(1, 1024), help="Questions at the same time.")
@click.option("--prices", "teacher_prices", type=file, help="Instead of er_teacher_prices.")
@click.option("--budget-calls", type=click.IntRange(0), help="How many calls this run may make.")
@click.option("--budget-tokens", type=click.IntRange(0), help="How many tokens this run may use.")
@click.option("--budget-usd", type=click.FloatRange(0), help="How many dollars this run may spend.")
@click.option("--local-only", is_flag=True, default=None, help="Refuse every server that is not on this machine.")
@click.option("--store", "label_store", type=file, help="Instead of er_label_store.")
@json_option
@click.pass_context
def label(
    context: click.Context,
    /,
    database: Path | None,
    schema: str,
    tuples: Path | None,
    project_dir: Path | None,
    variables: str,
    limit: int | None,
    dry_run: bool,
    output: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Ask the teachers what dbt would ask, and watch it; `dbt build` then finds the answers in the label store.

    Settings are the er_* variables of the dbt project; the options below override them for this run. Nothing that the
    store knows is asked again, and every answer is kept the moment it arrives.

    \b
    Exit codes:
      0    all is answered
      1    an error, or questions that stayed without a reply: run again to ask them
      3    the budget is reached: what was answered is kept
      130  interrupted: what was answered is kept
    """
    source = Source.of(database, schema, tuples, limit)
    if output:
        check_suffix(output)
        if not output.resolve().parent.is_dir():
            raise click.UsageError(f"the folder of {output} does not exist; make it first")
        if tuples and output.resolve() == tuples.resolve():
            raise click.UsageError(f"{output} is an input; give another --output")
    settings, folder = read_settings(find_project(project_dir, database), variables, given)
    settings["constraint"] = Constraint.of(settings, sides(source.tuples, "candidates"))
    context.exit(ask(source, settings, folder, dry_run, output, as_json))


@dataclass(frozen=True)
class Source:
    """Where the tuples are; `pairs` fetches all pairs for a teacher that looks at them first, where they are known."""

    tuples: pa.Table
    pairs: Callable[[], pa.Table] | None

    @classmethod
    def of(cls, database: Path | None, schema: str, tuples: Path | None, limit: int | None) -> Source:
        """Read the tuples of a warehouse or a file, the first ones by their keys where there is a limit.

        The warehouse is closed at once, so that dbt can build while teachers answer. Raises RecordError.
        """
        if tuples:
            relation, pairs = read_parquet(tuples), None
        elif database:
            relation = read_table(database, schema, "er_tuples").order("left_source, left_id")

            def pairs() -> pa.Table:
                return read_table(database, schema, "er_pairs").select(PAIR_COLUMNS).to_arrow_table()

        else:
            raise click.UsageError("give --database or --tuples")
        return cls((relation if limit is None else relation.limit(limit)).to_arrow_table(), pairs)


def find_project(named: Path | None, database: Path | None) -> Project | None:
    """The dbt project that is named, or the one that the database lies in, or the one of this folder."""
    if named:
        return Project(named)
    above = database.resolve().parents if database else ()
    return next((Project(folder) for folder in (*above, Path()) if (folder / "dbt_project.yml").is_file()), None)


def read_settings(project: Project | None, variables: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], Path]:
    """The settings of a run and the folder that its paths start from: defaults, project, --vars, options.

    Raises SettingsError.
    """
    known = project.variables() if project else default_variables()
    known = with_variables(known, read_variables(variables))
    settings = {name.removeprefix("er_"): value for name, value in known.items()}
    options = {
        name: str(value.resolve()) if isinstance(value, Path) else value
        for name, value in given.items()
        if value is not None
    }
    if "teacher" in options or "teacher_model" in options:
        settings["teachers"] = None  # who is named here is asked alone
    if (
        "teacher_model" in options
        and "teacher" not in options
        and settings["teacher"] in (None, "embedded", "imported")
    ):
        settings["teacher"] = "openai"  # a model means a server
    return {**settings, **options}, project.folder if project else Path()


@dataclass
class Report:
    """What --json prints."""

    estimate: list[dict[str, Any]]
    outcome: list[dict[str, Any]] = field(default_factory=list)
    spent: dict[str, Any] | None = None
    labels: int | None = None
    output: str | None = None
    stopped: str | None = None


def ask(
    source: Source, settings: Mapping[str, Any], folder: Path, dry_run: bool, output: Path | None, as_json: bool
) -> int:
    """Estimate, ask, report; the exit code. Raises SettingsError, LabelError, TeacherError."""
    from distiller_udf.cli.label_view import print_estimates
    from distiller_udf.labelling import estimate, make_run

    run = make_run(settings, folder)
    if not run.teachers:
        raise SettingsError("only imported labels are set, and nobody is asked for these; give --teacher or --model")
    with run.store as store:
        expected = estimate(source.tuples, teachers=run.teachers, store=store, privacy=run.privacy, pairs=source.pairs)
        report = Report([_estimate(part) for part in expected])
        if not as_json:
            print_estimates(expected)
        code = 0 if dry_run else _label(run, source, output, report, as_json)
    if as_json:
        print_json({"estimate": report.estimate} if dry_run else asdict(report))
    if code == INTERRUPTED:
        leave_at_once(code)
    return code


def _label(run: Run, source: Source, output: Path | None, report: Report, as_json: bool) -> int:
    """Ask, show it, and write what came; the exit code."""
    from distiller_udf.cli.label_view import print_outcome, watching
    from distiller_udf.labelling import label_tuples

    code, rows = 0, None
    with watching() as watch:
        try:
            rows = label_tuples(
                source.tuples,
                teachers=run.teachers,
                store=run.store,
                budget=run.budget,
                privacy=run.privacy,
                pairs=source.pairs,
                progress=watch,
            )
        except KeyboardInterrupt:
            code, report.stopped = INTERRUPTED, "interrupted"
        except DistillerError as error:
            code, report.stopped = FAILED, str(error)
    stands = watch.all()
    if code == 0 and watch.stopped:
        code, report.stopped = BUDGET_REACHED, watch.stopped
    elif code == 0 and watch.failed:
        code, report.stopped = FAILED, f"{watch.failed:,} questions stayed without a reply; run again to ask them"
    report.outcome = [asdict(stand) for stand in stands]
    report.spent = {**asdict(run.budget.spent), "cost_unknown": sum(stand.cost_unknown for stand in stands)}
    if rows is not None:
        report.labels = rows.num_rows
        if output:
            write_table(rows, output)
            report.output = str(output)
    if not as_json and stands:
        print_outcome(stands)
    _say_end(code, report, stands)
    return code


def _say_end(code: int, report: Report, stands: Sequence[Progress]) -> None:
    """In a sentence, how it ended."""
    kept = f"{sum(stand.answered for stand in stands):,} answers arrived and are kept"
    if code == INTERRUPTED:
        say(f"Interrupted: {kept}; run again to ask the rest.")
    elif code == BUDGET_REACHED:
        say(f"Stopped: {report.stopped}. {kept[0].upper()}{kept[1:]}.")
    elif code == FAILED:
        say(f"Error: {report.stopped}")
    if report.output:
        say(f"{report.labels:,} labels: {report.output}")


def _estimate(part: Estimate) -> dict[str, Any]:
    """One teacher's estimate, flat; `usd` is null where the price is unknown."""
    fields = asdict(part)
    return {**{name: value for name, value in fields.items() if name != "cost"}, **fields["cost"]}


def leave_at_once(code: int) -> None:
    """End the process without waiting for calls under way, whose answers nobody would take any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
