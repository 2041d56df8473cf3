"""Students weighed against each other: what the commands of the schedule look at, and how they show what they found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from distiller_udf.cli.console import json_option, print_facts, print_json, print_table, progress, say, with_options
from distiller_udf.cli.options import FILE, REGISTRY, opened_warehouse, with_project
from distiller_udf.cli.sources import (
    LABELS,
    Files,
    described,
    labels_of_file,
    pairs_of_file,
    say_of_newer_labels,
    with_files,
)
from distiller_udf.english import counted
from distiller_udf.errors import StudentNotFound
from distiller_udf.files.tables import open_table
from distiller_udf.project import Project
from distiller_udf.project.dbt import Graph, compiled, project_of_files
from distiller_udf.registry import Registry
from distiller_udf.settings import Settings

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from distiller_udf.metrics.figures import Estimate, Figures
    from distiller_udf.training.schedule.comparison import Comparison
    from distiller_udf.training.schedule.snapshot import Snapshot
    from distiller_udf.training.schedule.weigh import Scales
    from distiller_udf.training.versions import Recipe

WEIGHED = with_options(
    LABELS,
    with_files(pairs=False),
    click.option("--pairs", type=FILE, help="With --labels: all pairs, in the shape of er_pairs."),
    click.option("--gold", type=FILE, help="Known matches (left_id, right_id), instead of er_gold."),
)
"""The options of every command that weighs students: what they decide, and what judges them."""


@contextmanager
def opened(
    project: Project, labels: Path | None, files: Files, pairs: Path | None, gold: Path | None
) -> Iterator[tuple[Snapshot, Settings]]:
    """What is read, copies of a warehouse's tables or of files; and the settings, with the sources that these have.

    Raises RecordError, TableError, LabelError, SettingsError.
    """
    from distiller_udf.training.schedule.snapshot import DECISIONS, of_rows

    settings = project.settings
    if labels:

        def models(found: Snapshot) -> Graph:
            return graph_of_files(with_sources(settings, found.table("er_pairs")), DECISIONS)

        table, ids = labels_of_file(labels, files, settings, open_table(pairs) if pairs else None)
        shown = pairs_of_file(pairs, ids) if pairs else None
        with of_rows({"er_votes": table, "er_pairs": shown, "er_gold": gold}, models) as snapshot:
            known = with_sources(settings, snapshot.table("er_pairs") if "er_pairs" in snapshot else None)
            yield replace(snapshot, constraint=known.resolved_constraint), known
        return
    named = {} if gold or not settings.gold else {"er_gold": settings.gold}
    with of_project(project, ("er_pairs", *DECISIONS), {"er_votes": "er_votes", **named}) as (snapshot, known):
        yield snapshot.with_rows("er_gold", gold) if gold else snapshot, known


@contextmanager
def of_project(project: Project, select: Sequence[str], tables: dict[str, str]) -> Iterator[tuple[Snapshot, Settings]]:
    """A project's tables: er_pairs, what the models of `select` read, and `tables`; and its settings.

    Where there is a warehouse and no project, the models are those of this package, and the sources those of its pairs.
    """
    from distiller_udf.training.schedule.snapshot import of_warehouse

    settings = project.settings
    if project.exists:
        models = compiled(project, select)
        warehouse = opened_warehouse(project, models)
    else:
        warehouse = opened_warehouse(project)
        settings = with_sources(settings, warehouse.table("er_pairs"))
        models = graph_of_files(settings, select, warehouse.name, warehouse.schema)
    say_of_newer_labels(warehouse, Path(settings.label_store))
    wanted = {"er_pairs": "er_pairs", **tables}
    with of_warehouse(warehouse, models, wanted, settings.resolved_constraint) as snapshot:
        yield snapshot, settings


def graph_of_files(settings: Settings, select: Sequence[str], catalog: str = "files", schema: str = "main") -> Graph:
    """The models of this package by itself, those of `select` compiled."""
    with tempfile.TemporaryDirectory(prefix="distiller-") as folder:
        return compiled(project_of_files(Path(folder), settings, catalog, schema), select)


def with_sources(settings: Settings, pairs: duckdb.DuckDBPyRelation | None) -> Settings:
    """The settings, with sources where none are declared: those of the pairs, the ones on their left first.

    Pairs that name no sources are taken to link one table with another.
    """
    if settings.sources:
        return settings
    sides = ("left_source", "right_source")
    names: list[str] = ["left", "right"]
    if pairs is not None and set(sides) <= set(pairs.columns):
        found = (sorted(pairs.select(side).distinct().fetchall()) for side in sides)
        names = list(dict.fromkeys(str(name) for side in found for (name,) in side))
    return settings.but({"sources": [{"name": name, "relation": [name], "id": "id"} for name in names]})


def prepared(snapshot: Snapshot, settings: Settings, whole: bool) -> tuple[Recipe, Scales, pa.Table]:
    """How to train, by what to weigh, and the labels to learn from. `whole`: the labels are of single teachers."""
    from distiller_udf.students import load_student
    from distiller_udf.students.llm import serving_of
    from distiller_udf.training.er_student import sampled, training_settings
    from distiller_udf.training.schedule.evaluation_set import split
    from distiller_udf.training.schedule.rule import Margins
    from distiller_udf.training.schedule.weigh import Scales
    from distiller_udf.training.versions import Recipe
    from distiller_udf.votes import vote

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
    ends = settings.source_names[0], settings.source_names[-1]
    scales = Scales(
        held_out,
        snapshot.with_known(ends) if snapshot.decides else None,
        Margins(
            f1=settings.promotion_margin,
            risk=settings.promotion_risk,
            calibration=settings.calibration_margin,
            change=settings.promotion_max_change,
        ),
        constraint=settings.resolved_constraint,
        threshold=settings.threshold,
        seed=settings.seed,
        load=lambda version: load_student(version, serving, settings.resolved_constraint),
    )
    return recipe, scales, training


@click.command()
@click.argument("version")
@click.argument("other", required=False)
@WEIGHED
@click.option("--now", is_flag=True, help="Decide all of today's pairs in the warehouse; so does --database.")
@with_project(REGISTRY, warehouse=True)
@json_option
def compare(
    project: Project,
    version: str,
    other: str | None,
    labels: Path | None,
    files: Files,
    pairs: Path | None,
    gold: Path | None,
    now: bool,
    as_json: bool,
) -> None:
    """Compare VERSION with OTHER, or with the current student; nothing is promoted.

    What `distiller retrain` found when it weighed the two is shown again. Where it has not, and with --now, both decide
    all of today's pairs and are judged by the held-out labels.
    """
    registry = Registry.of(project.settings)
    new = registry.find(version)
    old = registry.find(other) if other else registry.current().name
    found = None if now or project.database or labels else remembered(registry, new, old)
    if found is None:
        from distiller_udf.training.schedule.weigh import weigh

        with opened(project, labels, files, pairs, gold) as (snapshot, known):
            _, scales, _ = prepared(snapshot, known, whole=labels is not None)
            found = weigh(registry.path(new), registry.path(old), scales, steps=progress)
    if as_json:
        print_json(found.to_dict())
    else:
        print_comparison(found)


def remembered(registry: Registry, new: str, old: str) -> Comparison | None:
    """The latest comparison of two versions, in either role. Raises StudentNotFound for one and the same."""
    from distiller_udf.training.schedule.comparison import Archive

    found = [c for c in Archive(registry.folder).all() if {c.challenger, c.current} == {new, old}]
    if new == old:
        raise StudentNotFound(f"{new} is the current student itself; name the version to compare it with")
    return found[-1] if found else None


def print_comparison(found: Comparison) -> None:
    """What the students are worth, what would change, and what the rule says."""
    columns = ["", found.challenger, found.current or "(none)", "difference"]
    rows = [*_figures(found), *_gold(found)]
    if rows:
        held_out = f"{counted(found.held_out.tuples, 'held-out tuple')}, {found.held_out.matches:,} with a match"
        print_table(f"By {held_out}; intervals of 95 %", columns, rows)
    if found.changes is not None:
        facts = {name.replace("_", " "): value for name, value in vars(found.changes).items() if value is not None}
        examples = facts.pop("examples")
        facts = {name: f"{value:.2%}" if isinstance(value, float) else value for name, value in facts.items()}
        print_facts("What changes downstream", facts)
        for what, pairs in examples.items():
            for left, right in pairs:
                say(f"  {what}: {left} – {right}")
    for note in found.notes:
        say(f"Note: {note}.")
    for reason in found.reasons:
        say(f"- {reason}")


def _figures(found: Comparison) -> list[list[str]]:
    new, old, apart = found.judged, found.judged_current, found.difference
    if new is None:
        return []
    named = ("f1", "precision", "recall", "select_accuracy")
    rows = [
        [
            name.replace("_", " "),
            _estimate(getattr(new, name)),
            _estimate(getattr(old, name, None)),
            _estimate(getattr(apart, name, None), "+.3f"),
        ]
        for name in named
    ]
    for name in ("calibration_error", "log_loss"):
        rows.append([name.replace("_", " "), _number(new, name), _number(old, name), ""])
    return rows


def _gold(found: Comparison) -> list[list[str]]:
    gold = found.gold
    if gold is None:
        return []
    values = [_estimate(gold.challenger), _estimate(gold.current), _estimate(gold.difference, "+.3f")]
    return [[f"F1 against {counted(gold.known, 'known match')}", *values]]


def _estimate(estimate: Estimate | None, style: str = ".3f") -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:{style}} ({estimate.low:{style}} to {estimate.high:{style}})"


def _number(figures: Figures | None, name: str) -> str:
    return "" if figures is None else f"{getattr(figures, name):.3f}"
