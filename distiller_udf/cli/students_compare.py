"""`distiller students compare`: two versions side by side, and what would change with the other one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distiller_udf.cli.comparison_view import print_comparison
from distiller_udf.cli.console import json_option, print_json, progress
from distiller_udf.cli.label import find_project, read_settings
from distiller_udf.cli.retrain import opened, prepared
from distiller_udf.cli.schedule_settings import check, registry_of, scales_options
from distiller_udf.comparison import Archive, Comparison
from distiller_udf.errors import StudentNotFound
from distiller_udf.registry import Registry


@click.command()
@click.argument("version")
@click.argument("other", required=False)
@scales_options
@json_option
def compare(
    version: str,
    other: str | None,
    database: Path | None,
    schema: str,
    labels: Path | None,
    pairs: Path | None,
    gold: Path | None,
    project_dir: Path | None,
    variables: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Compare VERSION with OTHER, or with the current student; nothing is promoted.

    With --database both decide all of today's pairs and are judged by the held-out labels. Without it, what
    `distiller retrain` found when it weighed the two is shown again.
    """
    settings, folder = read_settings(find_project(project_dir, database), variables, given)
    check(settings)
    registry = registry_of(settings, folder)
    new = registry.find(version)
    old = registry.find(other) if other else registry.current().name
    if database or labels:
        from distiller_udf.training.schedule.weigh import weigh

        with opened(database, schema, labels, pairs, gold, settings) as snapshot:
            _, scales, _ = prepared(snapshot, settings, folder, whole=labels is not None)
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
        raise StudentNotFound(f"{new} has not been weighed against {old}; give --database to compare them now")
    return found[-1]
