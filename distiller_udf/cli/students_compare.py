"""`distiller students compare`: two versions side by side, and what would change with the other one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from distiller_udf.cli.console import json_option, print_facts, print_json, print_table, progress, say
from distiller_udf.cli.options import REGISTRY, with_project
from distiller_udf.cli.sources import Files
from distiller_udf.cli.weighing import WEIGHED, opened, prepared
from distiller_udf.errors import StudentNotFound
from distiller_udf.project import Project
from distiller_udf.registry import Registry

if TYPE_CHECKING:
    from distiller_udf.metrics.figures import Estimate, Figures
    from distiller_udf.training.schedule.comparison import Comparison


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
    registry = Registry.of(project.settings)
    new = registry.find(version)
    old = registry.find(other) if other else registry.current().name
    if now or project.database or labels:
        from distiller_udf.training.schedule.weigh import weigh

        with opened(project, labels, files, pairs, gold) as (snapshot, known):
            _, scales, _ = prepared(snapshot, known, whole=labels is not None)
            found = weigh(registry.path(new), registry.path(old), scales, steps=progress)
    else:
        found = remembered(registry, new, old)
    if as_json:
        print_json(found.to_dict())
    else:
        print_comparison(found)


def remembered(registry: Registry, new: str, old: str) -> Comparison:
    """The latest comparison of two versions, in either role. Raises StudentNotFound where there is none."""
    from distiller_udf.training.schedule.comparison import Archive

    found = [c for c in Archive(registry.folder).all() if {c.challenger, c.current} == {new, old}]
    if new == old:
        raise StudentNotFound(f"{new} is the current student itself; name the version to compare it with")
    if not found:
        raise StudentNotFound(f"{new} has not been weighed against {old}; give --now to compare them")
    return found[-1]


def print_comparison(found: Comparison) -> None:
    """What the students are worth, what would change, and what the rule says."""
    columns = ["", found.challenger, found.current or "(none)", "difference"]
    rows = [*_figures(found), *_gold(found)]
    if rows:
        held_out = f"{found.held_out.tuples:,} held-out tuples, {found.held_out.matches:,} with a match"
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
    return [[f"F1 against {gold.known:,} known matches", *values]]


def _estimate(estimate: Estimate | None, style: str = ".3f") -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:{style}} ({estimate.low:{style}} to {estimate.high:{style}})"


def _number(figures: Figures | None, name: str) -> str:
    return "" if figures is None else f"{getattr(figures, name):.3f}"
