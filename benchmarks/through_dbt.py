"""A dbt project whose candidates are a benchmark task's, repeated: what `er_scores` takes, dbt included."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tasks import Task
from benchmarks.warehouse import Warehouse

LEFT = """
    create or replace table left_table as
    select r.id || '-' || c.copy as id, r.* exclude (id) from left_table as r cross join copies as c
"""
REPEATED = """
    create table repeated as
    select 'l' as left_source, p.left_id || '-' || c.copy as left_id, 'r' as right_source,
        p.right_id::varchar as right_id, 0.5 as similarity, ['benchmark'] as blocked_by
    from candidates as p cross join copies as c
    limit $pairs
"""


def score_through_dbt(task: Task, student: Path, pairs: int, folder: Path) -> float:
    """Pairs a second of the model `er_scores` in a real `dbt run`; each copy of the task has new left records."""
    tables = {f"{side}_table": pq.read_table(task.folder / f"{side}.parquet") for side in ("left", "right")}
    copies = pa.table({"copy": list(range(-(-pairs // task.candidates.num_rows)))})
    given = {**tables, "candidates": task.candidates, "copies": copies}
    # The project's own er_candidates replaces the package's.
    off = {"er_candidates": {"+enabled": False}}
    warehouse = Warehouse.create(folder, given, variables={"er_student_path": str(student)}, models=off)
    with warehouse.connect() as connection:
        connection.execute(LEFT)
        connection.execute(REPEATED, {"pairs": pairs})
    model = "{{ config(materialized='table') }} select * from main.repeated"
    (folder / "models" / "er_candidates.sql").write_text(model, encoding="utf-8")
    warehouse.dbt("run", "--exclude", "er_scores+")
    seconds = warehouse.dbt("run", "--select", "er_scores")["er_scores"]
    with warehouse.connect() as connection:
        ((scored,),) = connection.execute("select count(probability) from er_scores").fetchall()
    return float(scored) / seconds
