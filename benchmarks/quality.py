"""Matching quality: python -m benchmarks.quality --data DIR [--json FILE].

For every task under DIR a student is trained on the teacher's recorded labels of the train records; it decides
the test records one to one; only then are the gold pairs read.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.scoring import judge
from benchmarks.tasks import Task, candidate_batch, find_tasks, paper_results
from distiller_udf.students import load_student
from distiller_udf.training.evaluate import one_to_one
from distiller_udf.training.lexical import train

PAPER_SYSTEMS = {"paper's 8B student": "sft_llama3.1_8b_from_qwen_32", "teacher": "teacher_qwen2.5_32b"}


@dataclass(frozen=True)
class Result:
    """One task's figures."""

    select_accuracy: float
    pair_f1: float
    precision: float
    recall: float
    train_seconds: float
    pairs_per_second: float


def run_task(task: Task, teacher: str, selection: str, folder: Path, seed: int = 0) -> Result:
    """Train, decide, and then judge one task."""
    started = time.perf_counter()
    train(task.labels(teacher, selection), folder, [candidate_batch(task)], {"seed": seed})
    trained = time.perf_counter() - started
    student = load_student(folder)
    left, right = task.unlabelled(teacher, selection)
    started = time.perf_counter()
    a, b = task.left.take(left), task.right.take(right)
    probabilities = student.score(a, b)
    choices = student.choose(a, b, left, probabilities)
    speed = len(left) / (time.perf_counter() - started)
    rows = one_to_one(left.tolist(), right.tolist(), choices, student.info.choice_threshold)
    decisions: dict[Hashable, Hashable | None] = {task.left_ids[left[i]]: task.right_ids[right[i]] for i in rows}
    candidates: dict[Hashable, list[Hashable]] = {}
    for i, j in zip(left, right, strict=True):
        candidates.setdefault(task.left_ids[i], []).append(task.right_ids[j])
    judged = judge(candidates, task.gold(), decisions)
    return Result(judged.select_accuracy, judged.pair_f1, judged.precision, judged.recall, trained, speed)


def summary(results: dict[str, Result]) -> dict[str, Any]:
    """Figures by task and their mean over tasks."""
    tasks = {name: {k: float(v) for k, v in vars(result).items()} for name, result in results.items()}
    keys = next(iter(tasks.values())).keys()
    return {"tasks": tasks, "mean": {k: sum(t[k] for t in tasks.values()) / len(tasks) for k in keys}}


def show(figures: dict[str, Any], paper: dict[str, dict[str, dict[str, float]]], console: Console) -> None:
    """Print the figures beside those of the paper's systems."""
    table = Table(title="Matching quality (select accuracy / pair F1)")
    table.add_column("task")
    for heading in ("student", *PAPER_SYSTEMS, "precision", "recall", "training", "pairs/s"):
        table.add_column(heading, justify="right")
    for name, row in [*figures["tasks"].items(), ("mean", figures["mean"])]:
        table.add_row(
            name,
            f"{row['select_accuracy']:.3f} / {row['pair_f1']:.3f}",
            *(_paper_cell(paper.get(key, {}), name, list(figures["tasks"])) for key in PAPER_SYSTEMS.values()),
            f"{row['precision']:.3f}",
            f"{row['recall']:.3f}",
            f"{row['train_seconds']:.1f} s",
            f"{row['pairs_per_second']:,.0f}",
        )
    console.print(table)


def _paper_cell(system: dict[str, dict[str, float]], name: str, tasks: list[str]) -> str:
    rows = [system[t] for t in (tasks if name == "mean" else [name]) if t in system]
    if not rows or (name == "mean" and len(rows) < len(tasks)):
        return "–"
    means = (sum(row[k] for row in rows) / len(rows) for k in ("select_accuracy", "pair_f1"))
    return " / ".join(f"{value:.3f}" for value in means)


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--student", type=click.Choice(["lexical"]), default="lexical", show_default=True)
@click.option("--teacher", default="qwen2.5:32b", show_default=True)
@click.option("--selection", default="blocking_max", show_default=True)
@click.option("--seed", default=0, show_default=True, help="The student's seed.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def main(data: Path, student: str, teacher: str, selection: str, seed: int, json_file: Path | None) -> None:
    """Train on recorded labels and measure the decisions on every task under DATA."""
    console = Console()
    results = {}
    for folder in find_tasks(data):
        with console.status(f"{folder.name}: training the {student} student"), tempfile.TemporaryDirectory() as staged:
            results[folder.name] = run_task(Task.read(folder), teacher, selection, Path(staged) / student, seed)
    if not results:
        raise click.ClickException(f"no task under {data}; a task is a folder with the five files of a benchmark")
    figures = summary(results)
    show(figures, paper_results(data), console)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
