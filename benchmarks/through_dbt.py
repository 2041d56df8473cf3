"""A dbt project whose candidates are a benchmark task's, repeated: what `er_scores` takes, dbt included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa

from benchmarks.tasks import Task

ROOT = Path(__file__).resolve().parents[1]
MODELS = {
    "left_table": "select r.id || '-' || c.copy as key, r.* exclude (id) from {left} as r cross join copies as c",
    "right_table": "select id as key, * exclude (id) from {right}",
    "repeated": """
        select 'l' as left_source, p.left_id || '-' || c.copy as left_id, 'r' as right_source,
            p.right_id::varchar as right_id, 0.5 as similarity, ['benchmark'] as blocked_by
        from {candidates} as p cross join copies as c
        limit {pairs}
    """,
}


def score_through_dbt(task: Task, student: Path, pairs: int, folder: Path) -> float:
    """Pairs a second of the model `er_scores` in a real `dbt run`; each copy of the task has new left records."""
    _project(folder, student)
    _warehouse(folder / "warehouse.duckdb", task, pairs)
    _dbt(folder, "deps")
    _dbt(folder, "run", "--exclude", "er_scores+")
    _dbt(folder, "run", "--select", "er_scores")
    results = json.loads((folder / "target" / "run_results.json").read_text(encoding="utf-8"))["results"]
    with duckdb.connect(str(folder / "warehouse.duckdb")) as warehouse:
        scored = warehouse.execute("select count(probability) from er_scores").fetchone()
    return float(scored[0] if scored else 0) / float(results[0]["execution_time"])


def _project(folder: Path, student: Path) -> None:
    """The project's files; its own er_candidates replaces the package's."""
    sources = [
        {"name": "l", "relation": "main.left_table", "id": "key"},
        {"name": "r", "relation": "main.right_table", "id": "key"},
    ]
    files = {
        "packages.yml": {"packages": [{"local": str(ROOT)}]},
        "profiles.yml": {"b": {"target": "d", "outputs": {"d": {"type": "duckdb", "path": "warehouse.duckdb"}}}},
        "dbt_project.yml": {
            "name": "throughput",
            "profile": "b",
            "flags": {"send_anonymous_usage_stats": False},
            "models": {"distiller_udf": {"er_candidates": {"+enabled": False}}},
            "vars": {"er_sources": sources, "er_student_path": str(student)},
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML too
    (folder / "models").mkdir()
    model = "{{ config(materialized='table') }} select * from main.repeated"
    (folder / "models" / "er_candidates.sql").write_text(model, encoding="utf-8")


def _warehouse(database: Path, task: Task, pairs: int) -> None:
    files = {name: f"read_parquet('{task.folder / name}.parquet')" for name in ("left", "right", "candidates")}
    copies = -(-pairs // task.candidates.num_rows)
    with duckdb.connect(str(database)) as warehouse:
        warehouse.register("numbers", pa.table({"copy": list(range(copies))}))
        warehouse.execute("create table copies as from numbers")
        for name, query in MODELS.items():
            warehouse.execute(f"create table {name} as {query.format(**files, pairs=pairs)}")


def _dbt(folder: Path, *arguments: str) -> None:
    command = [str(Path(sys.executable).parent / "dbt"), "--quiet", *arguments]
    environment = {**os.environ, "DBT_PROFILES_DIR": str(folder)}
    subprocess.run(command, cwd=folder, env=environment, check=True)
