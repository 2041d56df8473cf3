"""Matching quality: python -m benchmarks.quality --data DIR [--student KIND] [--curve] [--json FILE].

For every task under DIR a student is trained on the teacher's recorded labels of the train records; it decides
the test records one to one; only then are the gold pairs read. This is done with several seeds. A seed is the
student's; it also draws the tuples of `--label-share` (whole tuples, at random; the left records that it leaves out
stay out of the test) and the right records of `--drop-right` (each seed another derived task).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.curve import measure_curve, show_curve
from benchmarks.figures import Figures, over_seeds, summary
from benchmarks.runs import Result, Training, run_task
from benchmarks.tables import show, show_failures
from benchmarks.tasks import Task, find_tasks, paper_results
from distiller_udf.students import KINDS

__all__ = ["main", "measure", "run_task", "show", "summary"]


PROGRESS = Console(stderr=True, highlight=False)


def measure(
    tasks: Sequence[Task],
    teacher: str,
    selection: str,
    seeds: Sequence[int],
    training: Training,
    drop_right: float,
    console: Console,
) -> Figures:
    """Run every task with every seed; a share `drop_right` of its right records is removed first."""
    by_seed: dict[int, dict[str, Result]] = {seed: {} for seed in seeds}
    for task in tasks:
        for seed in seeds:
            derived = task.thinned(drop_right, seed) if drop_right else task
            status = f"{task.name}, {training.label_share:g} of the labels, seed {seed}: {training.student} student"
            with console.status(status), tempfile.TemporaryDirectory() as staged:
                folder = Path(staged) / training.student
                result = run_task(derived, teacher, selection, folder, seed, training)
            by_seed[seed][task.name] = result
            PROGRESS.print(
                f"{status}: {result.select_accuracy:.3f} / {result.pair_f1:.3f}, {result.train_seconds:.0f} s"
            )
    return over_seeds(by_seed)


def _settings(given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is JSON where it reads as such, otherwise text."""
    settings: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--setting")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--student", type=click.Choice(list(KINDS)), default="lexical", show_default=True)
@click.option("--teacher", default="qwen2.5:32b", show_default=True)
@click.option("--selection", default="blocking_max", show_default=True)
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="How many seeds from there.")
@click.option(
    "--label-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Learn the labels of this share of the labelled left records, drawn by seed.",
)
@click.option("--curve", is_flag=True, help="Measure at the label shares 1, 0.5, 0.2 and 0.05.")
@click.option(
    "--drop-right",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Remove this share of the right records first, drawn by seed: most left records then have no match.",
)
@click.option("--setting", "given", multiple=True, metavar="NAME=VALUE", help="A setting of the student; repeatable.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def main(
    data: Path,
    student: str,
    teacher: str,
    selection: str,
    seed: int,
    seeds: int,
    label_share: float,
    curve: bool,
    drop_right: float,
    given: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Train on recorded labels and measure the decisions on every task under DATA."""
    if curve and label_share != 1:
        raise click.UsageError("--curve measures several label shares: leave out --label-share")
    console = Console()
    tasks = [Task.read(folder) for folder in find_tasks(data)]
    if not tasks:
        raise click.ClickException(f"no task under {data}; a task is a folder with the five files of a benchmark")
    settings = _settings(given)

    def at(share: float) -> Figures:
        training = Training(student, share, settings)
        found = measure(tasks, teacher, selection, range(seed, seed + seeds), training, drop_right, console)
        return {"label_share": share, **found}

    by_share = measure_curve(at) if curve else [at(label_share)]
    setup = {"student": student, "settings": settings, "teacher": teacher, "selection": selection}
    figures = {**setup, "drop_right": drop_right, **by_share[0]}
    # The paper's systems were measured on the tasks as they are.
    show(figures, {} if drop_right else paper_results(data), console)
    if curve:
        show_curve(by_share, console)
        figures["curve"] = by_share
    for measured in by_share:
        show_failures(measured, console)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
