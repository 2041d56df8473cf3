"""`distiller retrain`: a new student from new labels, promoted only where it is not worse than the current one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distiller_udf.cli.console import json_option, print_json, progress, say
from distiller_udf.cli.drift import measured
from distiller_udf.cli.options import REGISTRY, opened_warehouse, with_project
from distiller_udf.cli.sources import Files
from distiller_udf.cli.weighing import WEIGHED, opened, prepared, print_comparison
from distiller_udf.errors import ConstraintMismatch, RecordError, SettingsError
from distiller_udf.project import Project
from distiller_udf.project.warehouse import Warehouse
from distiller_udf.registry import Registry

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.training.schedule.retrain import Retrained
    from distiller_udf.training.versions import Recipe

EXITS = {"promoted": 0, "nothing new": 10, "rejected": 20}


@click.command()
@WEIGHED
@click.option("--challenger", metavar="VERSION", help="Weigh this version, trained before, instead of training one.")
@click.option(
    "--if-drift",
    is_flag=True,
    help="Run `distiller drift` first; train nothing where it finds no drift.",
)
@click.option("--dry-run", is_flag=True, help="Only say what is new; nothing is trained.")
@with_project(
    {
        **REGISTRY,
        "--student": "student",
        "--encoder": "student_encoder",
        "--evaluation-share": "evaluation_share",
        "--margin": "promotion_margin",
        "--risk": "promotion_risk",
        "--max-change": "promotion_max_change",
    },
    warehouse=True,
)
@json_option
@click.pass_context
def retrain(
    context: click.Context,
    /,
    project: Project,
    labels: Path | None,
    files: Files,
    pairs: Path | None,
    gold: Path | None,
    challenger: str | None,
    if_drift: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a challenger from new labels, weigh it against the current student, and promote it if it is not worse.

    With --if-drift it ends where nothing has drifted; where that cannot be told, it goes on as without the option.

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
    from distiller_udf.training.schedule.retrain import retrain as weighed

    settings = project.settings
    if settings.student_path:
        raise SettingsError("er_student_path names a given student, so there is none to retrain; unset it first")
    registry = Registry.of(settings)
    if if_drift and labels:
        raise click.UsageError("--if-drift looks at today's decisions in the warehouse; leave --labels out")
    with registry.lock():
        outcome = unmoved(registry, project) if if_drift else None
        if outcome is None:
            with opened(project, labels, files, pairs, gold) as (snapshot, known):
                recipe, scales, training = prepared(snapshot, known, whole=labels is not None)
                version = registry.find(challenger) if challenger else None
                if dry_run:
                    outcome = planned(training, registry, recipe)
                else:
                    outcome = weighed(training, registry, recipe, scales, progress, version)
    if not labels and settings.training == "build":
        say("Warning: er_training is build, so the next `dbt build` trains and promotes by itself; set it to schedule.")
    if not labels and not dry_run:
        write_comparisons(opened_warehouse(project), registry)
    show(outcome, as_json)
    context.exit(EXITS[outcome.outcome])


def unmoved(registry: Registry, project: Project) -> Retrained | None:
    """The outcome where nothing has drifted; None where something has, where that is unknown, and without a student."""
    from distiller_udf.training.schedule.drift import CALM, UNKNOWN
    from distiller_udf.training.schedule.retrain import NOTHING_NEW, Retrained

    current = registry.current_version()
    if current is None or not registry.exists(current):
        return None
    try:
        found = measured(project)
    except ConstraintMismatch:
        return None
    for reason in found.reasons:
        say(f"- {reason}")
    if found.outcome == UNKNOWN:
        say("Whether there is drift cannot be told, so that new labels alone decide, as without --if-drift.")
    return Retrained(NOTHING_NEW, "no drift, so nothing was trained", current, 0) if found.outcome == CALM else None


def planned(training: pa.Table, registry: Registry, recipe: Recipe) -> Retrained:
    """What a retraining would begin with, as if it ended there."""
    from distiller_udf.training.schedule.retrain import NOTHING_NEW, PROMOTED, Retrained, news

    found = news(training, registry, recipe)
    if not found.worth_training:
        return Retrained(NOTHING_NEW, found.sentence, found.current, found.labels)
    return Retrained(PROMOTED, f"{found.sentence}; a dry run trains nothing", found.current, found.labels)


def write_comparisons(warehouse: Warehouse, registry: Registry) -> None:
    """Write er_student_comparisons into the warehouse, unless another process has it open; then dbt will."""
    import duckdb

    from distiller_udf.training.schedule.comparison import Archive

    rows = Archive(registry.folder).table()
    if rows.num_rows == 0:
        return
    try:
        with warehouse.connect(read_only=False) as connection:
            connection.register("er_comparison_rows", rows)
            table = warehouse.relation("er_student_comparisons")
            connection.execute(f"create or replace table {table} as from er_comparison_rows")
    except (duckdb.Error, RecordError) as error:
        reason = str(error).strip().splitlines()[0]
        say(f"Warning: er_student_comparisons was not written ({reason}); the next `dbt build` makes it.")


def show(outcome: Retrained, as_json: bool) -> None:
    """The outcome in one line, and the comparison as tables or all of it as JSON."""
    if as_json:
        print_json(asdict(outcome))
    elif outcome.comparison is not None:
        print_comparison(outcome.comparison)
    say(f"{outcome.outcome.capitalize()}: {outcome.why}.")
