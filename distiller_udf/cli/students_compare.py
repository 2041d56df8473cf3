"""`distiller students compare`: two versions side by side, and what would change with the other one."""

from __future__ import annotations

from pathlib import Path

import click

from distiller_udf.cli.comparison_view import print_comparison
from distiller_udf.cli.console import json_option, print_json, progress
from distiller_udf.cli.options import REGISTRY, with_project
from distiller_udf.cli.retrain import WEIGHED, of_files, opened, prepared
from distiller_udf.cli.sources import Files
from distiller_udf.comparison import Archive, Comparison
from distiller_udf.dbt import warehouse_of
from distiller_udf.errors import StudentNotFound
from distiller_udf.project import Project
from distiller_udf.registry import Registry


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

    With --now both decide all of today's pairs and are judged by the held-out labels. Without it, what
    `distiller retrain` found when it weighed the two is shown again.
    """
    settings = project.settings
    registry = Registry.of(settings)
    new = registry.find(version)
    old = registry.find(other) if other else registry.current().name
    if now or project.database or labels:
        from distiller_udf.training.schedule.weigh import weigh

        rows, shown = of_files(labels, files, pairs, settings)
        with opened(settings, None if labels else warehouse_of(project), rows, shown, gold) as snapshot:
            _, scales, _ = prepared(snapshot, settings, whole=labels is not None)
            found = weigh(registry.path(new), registry.path(old), scales, steps=progress)
    else:
        found = remembered(registry, new, old)
    if as_json:
        print_json(found.to_dict())
    else:
        print_comparison(found)


def remembered(registry: Registry, new: str, old: str) -> Comparison:
    """The latest comparison of two versions, in either role. Raises StudentNotFound where there is none."""
    found = [c for c in Archive(registry.folder).all() if {c.challenger, c.current} == {new, old}]
    if new == old:
        raise StudentNotFound(f"{new} is the current student itself; name the version to compare it with")
    if not found:
        raise StudentNotFound(f"{new} has not been weighed against {old}; give --now to compare them")
    return found[-1]
