"""Throughput: python -m benchmarks.throughput [--data DIR] [--json FILE].

One task's candidate pairs are repeated to a million. Repeated records come from the student's cache, as they do in
any linkage where a record meets several candidates; repeated pairs are scored again each time.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import click
import duckdb
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

import distiller_udf
from benchmarks.tasks import Task, candidate_batch, struct
from benchmarks.through_dbt import score_through_dbt
from distiller_udf.settings import DEFAULT_ENCODER
from distiller_udf.students import Student, load_student
from distiller_udf.training.train import train

CHUNK = 4_096
"""Pairs the student scores at a time here: fewer than the task has, so that no pair occurs twice in one call."""


def student_pairs_per_second(student: Student, task: Task, pairs: int) -> float:
    """The student alone: pair probabilities of records that are columns already."""
    left, right = (np.resize(rows, pairs) for rows in task.split(None))
    started = time.perf_counter()
    for start in range(0, pairs, CHUNK):
        rows = slice(start, start + CHUNK)
        student.score(task.left.take(left[rows]), task.right.take(right[rows]))
    return pairs / (time.perf_counter() - started)


def udf_pairs_per_second(student: Student, task: Task, pairs: int) -> float:
    """`er_score` in SQL: two tables of records joined with their candidate pairs."""
    left, right = (np.resize(rows, pairs) for rows in task.split(None))
    with duckdb.connect() as connection:
        connection.execute("set threads = 2")
        distiller_udf.register(connection, student=student)
        for name, records in (("left_records", task.left), ("right_records", task.right)):
            table = pa.table({"row": np.arange(len(records)), "record": struct(records, np.arange(len(records)))})
            connection.from_arrow(table).create(name)
        connection.from_arrow(pa.table({"a": left, "b": right})).create("pairs")
        started = time.perf_counter()
        scored = connection.execute(SCORED).fetchone()
        seconds = time.perf_counter() - started
    return float(scored[0] if scored else 0) / seconds


SCORED = """
select count(er_score(l.record, r.record))
from pairs
inner join left_records as l on pairs.a = l.row
inner join right_records as r on pairs.b = r.row
"""


def dbt_pairs_per_second(student: Path, task: Task, pairs: int) -> float:
    """The model `er_scores` in a real `dbt run`."""
    with tempfile.TemporaryDirectory() as folder:
        return score_through_dbt(task, student, pairs, Path(folder))


def peak_memory_mb() -> float:
    """Largest resident memory so far of this process or of a dbt that it ran, in MiB."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def measure(task: Task, teacher: str, selection: str, pairs: int) -> dict[str, float]:
    """Train on the task's recorded labels, warm up, and measure each way of scoring."""
    with tempfile.TemporaryDirectory() as staged:
        folder = Path(staged) / "lexical"
        train("lexical", task.labels(teacher, selection), folder, [candidate_batch(task)])
        student = load_student(folder)
        student_pairs_per_second(student, task, min(pairs, 20_000))
        return {
            "pairs": pairs,
            "student_pairs_per_second": student_pairs_per_second(student, task, pairs),
            "udf_pairs_per_second": udf_pairs_per_second(student, task, pairs),
            "dbt_pairs_per_second": dbt_pairs_per_second(folder, task, pairs),
            "peak_memory_mb": peak_memory_mb(),
        }


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), default="../shared/benchmarks")
@click.option("--task", "name", default="abt_buy", show_default=True)
@click.option("--pairs", default=1_000_000, show_default=True)
@click.option("--teacher", default="qwen2.5:32b", show_default=True)
@click.option("--selection", default="blocking_max", show_default=True)
@click.option("--encoder", default=DEFAULT_ENCODER, show_default=True, help="A folder or a hub id.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def main(data: Path, name: str, pairs: int, teacher: str, selection: str, encoder: str, json_file: Path | None) -> None:
    """Measure pairs a second on the task NAME under DATA."""
    task = Task.read(data / name)
    figures = measure(task, teacher, selection, pairs)
    try:
        from benchmarks.encoder_speed import encoder_figures

        figures |= encoder_figures(task, teacher, selection, encoder)
    except ImportError as error:
        Console(stderr=True).print(f"no figures of encoders: {error}; pip install -e '.[dev,encoder,bench]'")
    table = Table(title=f"Throughput on {name}, {pairs:,} pairs")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for measured, value in figures.items():
        table.add_row(measured, f"{value:,.4f}" if measured.endswith("loss") else f"{value:,.0f}")
    Console().print(table)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
