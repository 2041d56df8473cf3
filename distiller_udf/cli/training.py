"""What the commands that train have in common: the student becomes a version, and it is said what that changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from distiller_udf.cli.console import print_json, reporting, say
from distiller_udf.cli.students import print_student
from distiller_udf.registry import Registry
from distiller_udf.students.base import StudentInfo

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.training.versions import Recipe

promote_option = click.option(
    "--promote/--no-promote",
    "promoted",
    default=True,
    show_default=True,
    help="Make it the current student, unless that one is pinned.",
)


def train_and_report(labels: pa.Table, registry: Registry, recipe: Recipe, promoted: bool, as_json: bool) -> None:
    """Train by a `Recipe`, and say what came of it: the student, and whether it is the one that answers now."""
    from distiller_udf.training.versions import ensure_student, publish_student

    before = registry.current_version()
    with reporting("training") as report:
        outcome = (ensure_student if promoted else publish_student)(labels, registry, recipe, report)
    if as_json:
        print_json({"trained": outcome.trained, "path": str(outcome.path), **asdict(outcome.info)})
        return
    say("trained" if outcome.trained else "nothing new: there is a student of these very labels and settings already")
    print_student(outcome.info, outcome.path)
    for line in _place(registry, outcome.info, before):
        say(line)


def _place(registry: Registry, info: StudentInfo, before: str | None) -> Iterator[str]:
    """What a training changed for those who ask the current student."""
    if registry.current_version() != info.version:
        yield f"It answers when it is promoted: distiller students promote {info.version}"
    elif before in (None, info.version):
        yield "It is the current student."
    else:
        yield f"It is the current student, in place of {before}; `distiller students rollback` goes back."
        old = registry.read(before).metrics.get("choice_f1") if before and registry.exists(before) else None
        new = info.metrics.get("choice_f1")
        if old is not None and new is not None and new < old:
            yield f"Warning: its expected F1 is {new}, that of the one before was {old}."
