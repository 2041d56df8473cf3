"""`distiller retrain`: a new student from new labels, promoted only where it is not worse than the current one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import json_option, print_json, progress, say
from distiller_udf.cli.label import find_project, read_settings
from distiller_udf.cli.schedule_settings import check, margins, registry_of, scales_options
from distiller_udf.cli.sources import check_shape, described
from distiller_udf.constraint import Constraint
from distiller_udf.errors import ConstraintMismatch, SettingsError
from distiller_udf.students import KINDS

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.pipeline.snapshot import Snapshot
    from distiller_udf.registry import Registry
    from distiller_udf.training.recipe import Recipe
    from distiller_udf.training.schedule.retrain import Retrained
    from distiller_udf.training.schedule.weigh import Scales

EXITS = {"promoted": 0, "nothing new": 10, "rejected": 20}

Settings = Mapping[str, Any]


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
    settings, folder = read_settings(find_project(project_dir, database), variables, given)
    check(settings)
    if settings["student_path"]:
        raise SettingsError("er_student_path names a given student, so there is none to retrain; unset it first")
    registry = registry_of(settings, folder)
    if if_drift and not database:
        raise click.UsageError("--if-drift looks at today's decisions; give --database")
    with registry.lock():
        outcome = unmoved(registry, database, schema, settings, folder) if if_drift and database else None
        if outcome is None:
            with opened(database, schema, labels, pairs, gold, settings) as snapshot:
                recipe, scales, training = prepared(snapshot, settings, folder, whole=labels is not None)
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


def unmoved(registry: Registry, database: Path, schema: str, settings: Settings, folder: Path) -> Retrained | None:
    """The outcome where nothing has drifted; None where it has, or where there is no student that could be asked."""
    from distiller_udf.cli.drift import measured
    from distiller_udf.training.schedule.retrain import NOTHING_NEW, Retrained

    current = registry.current_version()
    if current is None or not registry.exists(current):
        return None
    try:
        found = measured(database, schema, settings, folder)
    except ConstraintMismatch:
        return None
    for reason in found.reasons:
        say(f"- {reason}")
    return None if found.drifted else Retrained(NOTHING_NEW, "no drift, so nothing was trained", current, 0)


@contextmanager
def opened(
    database: Path | None, schema: str, labels: Path | None, pairs: Path | None, gold: Path | None, settings: Settings
) -> Iterator[Snapshot]:
    """What is read: copies of a warehouse's tables, or of files. Raises RecordError."""
    from distiller_udf.pipeline.snapshot import LINKS, add_file, of_files, of_warehouse

    if labels:
        with of_files({"er_votes": labels, "er_pairs": pairs, "er_gold": gold}) as snapshot:
            yield snapshot
    elif database:
        named = {name: None if name == "er_gold" and gold else settings[name.removeprefix("er_")] for name in LINKS}
        with of_warehouse(database, schema, named) as snapshot:
            for missing in snapshot.missing:
                say(f"Warning: {missing} is no table of {database}; students are compared without it.")
            if gold:
                add_file(snapshot.connection, "er_gold", gold)
                snapshot = replace(snapshot, tables=snapshot.tables | {"er_gold"})
            yield snapshot
    else:
        raise click.UsageError("give --database, or --labels and --pairs")


def prepared(snapshot: Snapshot, settings: Settings, folder: Path, whole: bool) -> tuple[Recipe, Scales, pa.Table]:
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
    constraint = Constraint.of(settings)
    # A server is asked for each version by its own name, whatever the current one is served as.
    serving = serving_of({**settings, "llm_served_as": None}, folder)
    labels = snapshot.table("er_votes").to_arrow_table()
    check_shape(labels)
    training, held_out = split(vote(labels, settings["vote"]) if whole else labels, settings["evaluation_share"])
    pairs = snapshot.table("er_pairs") if "er_pairs" in snapshot else None
    recipe = Recipe(
        kind=settings["student"],
        settings=training_settings(settings, folder),
        candidates=None if pairs is None else (lambda: sampled(snapshot.connection, pairs)),
        columns="" if pairs is None else described(pairs, whole),
    )
    scales = Scales(
        held_out,
        Downstream.of(snapshot, settings),
        margins(settings),
        constraint=constraint,
        threshold=settings["threshold"],
        seed=settings["seed"],
        load=lambda version: load_student(version, serving, constraint),
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


def write_comparisons(database: Path, schema: str, registry: Registry) -> None:
    """Write er_student_comparisons into the warehouse, unless another process has it open; then dbt will."""
    import duckdb

    from distiller_udf.comparison import Archive
    from distiller_udf.sql import quoted

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
    from distiller_udf.cli.comparison_view import print_comparison

    if as_json:
        print_json(asdict(outcome))
    elif outcome.comparison is not None:
        print_comparison(outcome.comparison)
    say(f"{outcome.outcome.capitalize()}: {outcome.why}.")
