"""What the commands of the schedule look at: a project's tables and what its models say, or files in their place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.schedule_settings import margins
from distiller_udf.cli.sources import check_shape, described
from distiller_udf.cli.warehouse import read_table
from distiller_udf.errors import RecordError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from distiller_udf.dbt import Graph
    from distiller_udf.project import Project
    from distiller_udf.training.recipe import Recipe
    from distiller_udf.training.schedule.snapshot import Snapshot
    from distiller_udf.training.schedule.weigh import Scales

Settings = Mapping[str, Any]

DECIDING = ("task", "constraint", "threshold", "strict", "entity_max_size", "seed")
"""The settings that say how pairs are decided; in a project without sources of its own they are all that does."""


@contextmanager
def opened(
    database: Path | None,
    schema: str,
    labels: Path | None,
    pairs: Path | None,
    gold: Path | None,
    project: Project | None,
    settings: Settings,
    variables: str,
) -> Iterator[tuple[Snapshot, Settings]]:
    """What is read: copies of a warehouse's tables, or of files; and the settings, with the sources that these have.

    Raises RecordError, SettingsError.
    """
    from distiller_udf.training.schedule.snapshot import DECISIONS, of_files, of_warehouse

    if labels:

        def of_pairs(found: Snapshot) -> Graph:
            return graph(None, with_sources(settings, found.table("er_pairs")), "", DECISIONS)

        with of_files({"er_votes": labels, "er_pairs": pairs, "er_gold": gold}, of_pairs) as snapshot:
            yield snapshot, with_sources(settings, snapshot.table("er_pairs") if "er_pairs" in snapshot else None)
    elif database:
        settings = of_database(database, schema, project, settings)
        models = graph(project, settings, variables, ("er_pairs", *DECISIONS), database, schema)
        named = None if gold else settings["gold"]
        tables = {
            "er_votes": "er_votes",
            "er_pairs": "er_pairs",
            **({"er_gold": named.split(".")[-1]} if named else {}),
        }
        with of_warehouse(database, models, tables) as snapshot:
            yield snapshot.with_file("er_gold", gold) if gold else snapshot, settings
    else:
        raise click.UsageError("give --database, or --labels and --pairs")


def graph(
    project: Project | None,
    settings: Settings,
    variables: str,
    select: Sequence[str],
    database: Path | None = None,
    schema: str = "main",
) -> Graph:
    """The models of a project, those of `select` compiled; without a project those of this package by itself."""
    from distiller_udf.dbt import compiled, temporary_project

    if project:
        return compiled(project.folder, select, project.profiles_dir, variables=variables)
    sources = [{**source, "relation": source["name"], "id": "id"} for source in settings["sources"]]
    given = {f"er_{name}": settings[name] for name in DECIDING}
    with tempfile.TemporaryDirectory(prefix="distiller-") as folder:
        catalog = database.stem if database else "files"
        made = temporary_project(Path(folder), catalog, schema, {**given, "er_sources": sources})
        return compiled(made, select, made)


def of_database(database: Path, schema: str, project: Project | None, settings: Settings) -> Settings:
    """The settings, with the sources of the warehouse's pairs where there is no project that declares them.

    Raises RecordError where there is no warehouse.
    """
    if not database.exists():
        raise RecordError(f"there is no database at {database}; run `dbt build` first, or give --database")
    return settings if project else with_sources(settings, read_table(database, schema, "er_pairs"))


def with_sources(settings: Settings, pairs: duckdb.DuckDBPyRelation | None) -> Settings:
    """The settings, with sources where none are declared: those of the pairs, the ones on their left first.

    Pairs that name no sources are taken to link one table with another.
    """
    if settings["sources"]:
        return settings
    sides = ("left_source", "right_source")
    names: list[str] = ["left", "right"]
    if pairs is not None and set(sides) <= set(pairs.columns):
        found = (sorted(pairs.select(side).distinct().fetchall()) for side in sides)
        names = list(dict.fromkeys(str(name) for side in found for (name,) in side))
    return {**settings, "sources": [{"name": name} for name in names]}


def prepared(snapshot: Snapshot, settings: Settings, folder: Path, whole: bool) -> tuple[Recipe, Scales, pa.Table]:
    """How to train, by what to weigh, and the labels to learn from. `whole`: the labels are of single teachers."""
    from distiller_udf.pipeline.constraint import constraint
    from distiller_udf.students import load_student
    from distiller_udf.students.llm import serving_of
    from distiller_udf.training.er_student import sampled, training_settings
    from distiller_udf.training.recipe import Recipe
    from distiller_udf.training.schedule.evaluation_set import split
    from distiller_udf.training.schedule.weigh import Scales
    from distiller_udf.votes import vote

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
    ends = tuple(settings["sources"][i]["name"] for i in (0, -1))
    scales = Scales(
        held_out,
        snapshot.with_known(ends) if snapshot.decides else None,
        margins(settings),
        multi=constraint(settings) == "none",
        threshold=settings["threshold"],
        seed=settings["seed"],
        load=lambda version: load_student(version, serving),
    )
    return recipe, scales, training
