"""`distiller retrain`: a new student from new labels, promoted only where it is not worse than the current one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import json_option, print_json, progress, say
from distiller_udf.cli.drift import measured
from distiller_udf.cli.label import find_project, read_settings
from distiller_udf.cli.schedule_settings import check, registry_of, scales_options
from distiller_udf.cli.students_compare import print_comparison
from distiller_udf.cli.weighing import opened, prepared
from distiller_udf.errors import SettingsError
from distiller_udf.students import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.registry import Registry
    from distiller_udf.training.recipe import Recipe
    from distiller_udf.training.schedule.drift import Drift
    from distiller_udf.training.schedule.retrain import Retrained
    from distiller_udf.training.schedule.weigh import Scales

EXITS = {"promoted": 0, "nothing new": 10, "rejected": 20}


@click.command()
@scales_options
@click.option("--student", type=click.Choice(list(KINDS)), help="Instead of er_student.")
@click.option("--encoder", "student_encoder", help="Instead of er_student_encoder.")
@click.option("--challenger", metavar="VERSION", help="Weigh this version, trained before, instead of training one.")
@click.option("--evaluation-share", type=click.FloatRange(0, 0.9), help="Instead of er_evaluation_share.")
@click.option("--margin", "promotion_margin", type=click.FloatRange(0, 1), help="Instead of er_promotion_margin.")
@click.option("--risk", "promotion_risk", type=click.FloatRange(0, 1), help="Instead of er_promotion_risk.")
@click.option("--max-change", "promotion_max_change", type=click.FloatRange(0, 1), help="As er_promotion_max_change.")
@click.option("--if-drift", is_flag=True, help="Only where `distiller drift` finds drift; it is run first.")
@click.option("--dry-run", is_flag=True, help="Only say what is new; nothing is trained.")
@json_option
@click.pass_context
def retrain(
    context: click.Context,
    /,
    database: Path | None,
    schema: str,
    labels: Path | None,
    pairs: Path | None,
    gold: Path | None,
    project_dir: Path | None,
    variables: str,
    challenger: str | None,
    if_drift: bool,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a challenger from new labels, weigh it against the current student, and promote it if it is not worse.

    It never learns from a fifth of the labelled records (er_evaluation_share), by which both are compared. Settings are
    the er_* variables of the dbt project; the options override them. It may be killed at any moment and run again: the
    current student keeps answering, and what was begun is completed.

    \b
    Exit codes:
      0   promoted (with --dry-run: there is something to train)
      10  nothing new
      20  the challenger was rejected; the reasons are in er_student_comparisons
      1   an error, or another retraining is under way
      2   wrong options
    """
    project = find_project(project_dir, database)
    settings, folder = read_settings(project, variables, given)
    check(settings)
    if settings["student_path"]:
        raise SettingsError("er_student_path names a given student, so there is none to retrain; unset it first")
    registry = registry_of(settings, folder)
    if if_drift and not database:
        raise click.UsageError("--if-drift looks at today's decisions; give --database")
    with registry.lock():
        outcome = None
        if if_drift and database:
            outcome = unmoved(registry, lambda: measured(database, schema, project, settings, variables, folder))
        if outcome is None:
            files = (database, schema, labels, pairs, gold)
            with opened(*files, project, settings, variables) as (snapshot, known):
                recipe, scales, training = prepared(snapshot, known, folder, whole=labels is not None)
                version = registry.find(challenger) if challenger else None
                if dry_run:
                    outcome = planned(training, registry, recipe)
                else:
                    outcome = run(training, registry, recipe, scales, version)
    if database and not labels and settings["training"] == "build":
        say("Warning: er_training is build, so the next `dbt build` trains and promotes by itself; set it to schedule.")
    if database and not labels and not dry_run:
        write_comparisons(database, schema, registry)
    show(outcome, as_json)
    context.exit(EXITS[outcome.outcome])


def unmoved(registry: Registry, measure: Callable[[], Drift]) -> Retrained | None:
    """The outcome where nothing has drifted; None where it has, or where there is no student that could be asked."""
    from distiller_udf.training.schedule.retrain import NOTHING_NEW, Retrained

    current = registry.current_version()
    if current is None or not registry.exists(current):
        return None
    found = measure()
    for reason in found.reasons:
        say(f"- {reason}")
    return None if found.drifted else Retrained(NOTHING_NEW, "no drift, so nothing was trained", current, 0)


def run(
    training: pa.Table, registry: Registry, recipe: Recipe, scales: Scales, challenger: str | None = None
) -> Retrained:
    """Train, weigh and promote, and show how far it is."""
    from distiller_udf.training.schedule.retrain import retrain

    return retrain(training, registry, recipe, scales, progress, challenger)


def planned(training: pa.Table, registry: Registry, recipe: Recipe) -> Retrained:
    """What a retraining would begin with, as if it ended there."""
    from distiller_udf.training.schedule.retrain import NOTHING_NEW, PROMOTED, Retrained, news

    found = news(training, registry, recipe)
    if not found.worth_training:
        return Retrained(NOTHING_NEW, found.sentence, found.current, found.labels)
    return Retrained(PROMOTED, f"{found.sentence}; a dry run trains nothing", found.current, found.labels)


def write_comparisons(database: Path, schema: str, registry: Registry) -> None:
    """Write er_student_comparisons into the warehouse, unless another process has it open; then dbt will."""
    import duckdb

    from distiller_udf.sql import quoted
    from distiller_udf.training.schedule.comparison import Archive

    rows = Archive(registry.folder).table()
    if rows.num_rows == 0:
        return
    try:
        with duckdb.connect(str(database)) as warehouse:
            warehouse.register("er_comparison_rows", rows)
            table = f"{quoted(schema)}.er_student_comparisons"
            warehouse.execute(f"create or replace table {table} as from er_comparison_rows")
    except duckdb.Error as error:
        reason = str(error).strip().splitlines()[0]
        say(f"Warning: er_student_comparisons was not written ({reason}); the next `dbt build` makes it.")


def show(outcome: Retrained, as_json: bool) -> None:
    """The outcome in one line, and the comparison as tables or all of it as JSON."""
    if as_json:
        print_json(asdict(outcome))
    elif outcome.comparison is not None:
        print_comparison(outcome.comparison)
    say(f"{outcome.outcome.capitalize()}: {outcome.why}.")
