"""Connected components of millions of matches, by the package's own model of entities."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.warehouse import Warehouse

RECORDS = """
    create table all_records as
    select distinct 'r' as source, unnest([left_id, right_id]) as id from all_matches
"""

MATCHES = """
    create table all_matches as
    with edges as (
        -- a third are pairs, a third trees of nine by chance, the rest one chain and one cloud
        select 0 as part, 2 * i as a, 2 * i + 1 as b from range($edges // 3) as t(i)
        union all
        select 1, 9 * i + j, 9 * i + hash(9 * i + j) % j from range($edges // 24) as t(i) cross join range(1, 9) as u(j)
        union all
        select 2, i, i + 1 from range($edges // 6) as t(i)
        union all
        select 3, hash(2 * i) % ($edges // 6), hash(2 * i + 1) % ($edges // 6) from range($edges // 6) as t(i)
    )
    select distinct
        'r' as left_source, part * $edges + least(a, b) as left_id,
        'r' as right_source, part * $edges + greatest(a, b) as right_id,
        0.9::double as probability, 0.9::double as choice_probability, 'student' as decided_by
    from edges
    where a != b
"""
"""Pairs, small trees, a chain as long as a sixth of the edges, and a random graph of as many."""


def component_seconds(edges: int, memory: str) -> float:
    """The seconds of the model `er_entities` over about so many matches."""
    with tempfile.TemporaryDirectory() as folder:
        own = ("er_records", "er_matches")
        variables = {"er_sources": [{"name": "r", "relation": "main.all_records", "id": "id"}]}
        off = {name: {"+enabled": False} for name in own}
        warehouse = Warehouse.create(Path(folder) / "project", {}, variables, off, {"memory_limit": memory})
        for name, table in zip(own, ("all_records", "all_matches"), strict=True):
            model = f"{{{{ config(materialized='view') }}}} select * from main.{table}"
            (warehouse.folder / "models" / f"{name}.sql").write_text(model, encoding="utf-8")
        with warehouse.connect() as connection:
            connection.execute(MATCHES, {"edges": edges})
            connection.execute(RECORDS)
        return warehouse.dbt("run", "--select", *own, "er_entities")["er_entities"]
