"""`distiller retrain`: a new student from new labels, promoted only where it is not worse than the current one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distiller_udf.cli.console import json_option, print_json, progress, say, with_options
from distiller_udf.cli.options import FILE, REGISTRY, with_project
from distiller_udf.cli.sources import LABELS, Files, described, labels_of_file, pairs_of_file, with_files
from distiller_udf.comparison import Archive, Margins
from distiller_udf.dbt import warehouse_of
from distiller_udf.errors import RecordError, SettingsError
from distiller_udf.project import Project
from distiller_udf.registry import Registry
from distiller_udf.settings import Settings
from distiller_udf.tables import open_table
from distiller_udf.warehouse import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.pipeline.snapshot import Snapshot
    from distiller_udf.training.recipe import Recipe
    from distiller_udf.training.schedule.retrain import Retrained
    from distiller_udf.training.schedule.weigh import Scales

EXITS = {"promoted": 0, "nothing new": 10, "rejected": 20}


WEIGHED = with_options(
    LABELS,
    with_files(pairs=False),
    click.option("--pairs", type=FILE, help="With --labels: all pairs, in the shape of er_pairs."),
    click.option("--gold", type=FILE, help="Known matches (left_id, right_id), instead of er_gold."),
)
"""The options of every command that weighs students: what they decide, and what judges them."""


@click.command()
@WEIGHED
@click.option("--challenger", metavar="VERSION", help="Weigh this version, trained before, instead of training one.")
@click.option("--if-drift", is_flag=True, help="Only where `distiller drift` finds drift; it is run first.")
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
    settings = project.settings
    if settings.student_path:
        raise SettingsError("er_student_path names a given student, so there is none to retrain; unset it first")
    registry = Registry.of(settings)
    warehouse = None if labels else warehouse_of(project)
    rows, shown = of_files(labels, files, pairs, settings)
    if if_drift and labels:
        raise click.UsageError("--if-drift looks at today's decisions in the warehouse; leave --labels out")
    with registry.lock():
        outcome = unmoved(registry, settings, warehouse) if if_drift and warehouse else None
        if outcome is None:
            with opened(settings, warehouse, rows, shown, gold) as snapshot:
                recipe, scales, training = prepared(snapshot, settings, whole=labels is not None)
                version = registry.find(challenger) if challenger else None
                if dry_run:
                    outcome = planned(training, registry, recipe)
                else:
                    outcome = run(training, registry, recipe, scales, version)
    if warehouse and settings.training == "build":
        say("Warning: er_training is build, so the next `dbt build` trains and promotes by itself; set it to schedule.")
    if warehouse and not dry_run:
        write_comparisons(warehouse, registry)
    show(outcome, as_json)
    context.exit(EXITS[outcome.outcome])


def unmoved(registry: Registry, settings: Settings, warehouse: Warehouse) -> Retrained | None:
    """The outcome where nothing has drifted; None where it has, or where there is no student that could be asked."""
    from distiller_udf.cli.drift import measured
    from distiller_udf.training.schedule.retrain import NOTHING_NEW, Retrained

    current = registry.current_version()
    if current is None or not registry.exists(current):
        return None
    found = measured(settings, warehouse)
    for reason in found.reasons:
        say(f"- {reason}")
    return None if found.drifted else Retrained(NOTHING_NEW, "no drift, so nothing was trained", current, 0)


def of_files(
    labels: Path | None, files: Files, pairs: Path | None, settings: Settings
) -> tuple[pa.Table | None, Path | pa.Table | None]:
    """The labels and the pairs that are in files, their records without ids."""
    if labels is None:
        return None, None
    table, ids = labels_of_file(labels, files, settings, open_table(pairs) if pairs else None)
    return table, pairs_of_file(pairs, ids) if pairs else None


@contextmanager
def opened(
    settings: Settings,
    warehouse: Warehouse | None,
    labels: pa.Table | None,
    pairs: Path | pa.Table | None,
    gold: Path | None,
) -> Iterator[Snapshot]:
    """What is read: copies of a warehouse's tables, or of files where there is none. Raises RecordError."""
    from distiller_udf.pipeline.snapshot import LINKS, add_file, of_rows, of_warehouse

    if warehouse is None:
        with of_rows({"er_votes": labels, "er_pairs": pairs, "er_gold": gold}) as snapshot:
            yield snapshot
        return
    known = settings.model_dump()
    named = {name: None if name == "er_gold" and gold else known[name.removeprefix("er_")] for name in LINKS}
    with of_warehouse(warehouse, named) as snapshot:
        for missing in snapshot.missing:
            say(f"Warning: {missing} is no table of {warehouse.path}; students are compared without it.")
        if gold:
            add_file(snapshot.connection, "er_gold", gold)
            snapshot = replace(snapshot, tables=snapshot.tables | {"er_gold"})
        yield snapshot


def prepared(snapshot: Snapshot, settings: Settings, whole: bool) -> tuple[Recipe, Scales, pa.Table]:
    """How to train, by what to weigh, and the labels to learn from. `whole`: the labels are of single teachers."""
    from distiller_udf.pipeline.downstream import Downstream, with_sources
    from distiller_udf.students import load_student
    from distiller_udf.students.llm import serving_of
    from distiller_udf.training.er_student import sampled, training_settings
    from distiller_udf.training.recipe import Recipe
    from distiller_udf.training.schedule.evaluation_set import split
    from distiller_udf.training.schedule.weigh import Scales
    from distiller_udf.votes import vote

    settings = with_sources(settings, snapshot)
    # A server is asked for each version by its own name, whatever the current one is served as.
    serving = serving_of(settings.but({"llm_served_as": None}))
    labels = snapshot.table("er_votes").to_arrow_table()
    training, held_out = split(vote(labels, settings.vote) if whole else labels, settings.evaluation_share)
    pairs = snapshot.table("er_pairs") if "er_pairs" in snapshot else None
    recipe = Recipe(
        kind=settings.student,
        settings=training_settings(settings),
        candidates=None if pairs is None else (lambda: sampled(snapshot.connection, pairs)),
        columns="" if pairs is None else described(pairs, whole),
    )
    scales = Scales(
        held_out,
        Downstream.of(snapshot, settings),
        Margins(
            f1=settings.promotion_margin,
            risk=settings.promotion_risk,
            calibration=settings.calibration_margin,
            change=settings.promotion_max_change,
        ),
        multi=settings.resolved_constraint == "none",
        threshold=settings.threshold,
        seed=settings.seed,
        load=lambda version: load_student(version, serving),
    )
    return recipe, scales, training


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


def write_comparisons(warehouse: Warehouse, registry: Registry) -> None:
    """Write er_student_comparisons into the warehouse, unless another process has it open; then dbt will."""
    import duckdb

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
    from distiller_udf.cli.comparison_view import print_comparison

    if as_json:
        print_json(asdict(outcome))
    elif outcome.comparison is not None:
        print_comparison(outcome.comparison)
    say(f"{outcome.outcome.capitalize()}: {outcome.why}.")
