"""How much blocking compares: bounded by the number of records, however alike they are."""

from __future__ import annotations

import duckdb
import pytest
from compiled import Compiled
from dbt_harness import in_steps

SHORT = "'the quick brown fox jumps over the lazy dog'"
LONG = "array_to_string([md5(k::varchar) for k in range(60)], ' ')"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    numbered = "{{ distiller_udf.er_blocking_records('memory.main.records', sources=['a']) }}"
    tokens = "{{ distiller_udf.er_terms('tokens', 'memory.main.records', 'memory.main.numbered') }}"
    keys = "{{ distiller_udf._er_keys('memory.main.tokens', '(select common_level from memory.main.size)') }}"
    models = {
        "numbered": numbered,
        "tokens": in_steps(tokens),
        "met": in_steps(f"{keys}\n-- er_step: met\nselect key, count(*) as records from found_under group by key"),
    }
    return Compiled(tmp_path_factory.mktemp("work"), models)


@pytest.mark.parametrize(
    ("records", "common_level", "most"), [(4_000, 6, 65_536), (10_000, 5, 16_384), (16_000, 5, 16_384)]
)
@pytest.mark.parametrize(
    ("own", "shared"),
    [("''", SHORT), ("''", LONG), ("md5(i::varchar)", LONG), ("md5(i::varchar)", f"(i % 16) || {LONG}")],
    ids=["identical", "identical and long", "boilerplate", "groups of boilerplate"],
)
def test_a_record_meets_a_limited_number_of_others(
    compiled: Compiled, records: int, common_level: int, most: int, own: str, shared: str
) -> None:
    with duckdb.connect() as connection:
        connection.execute("set memory_limit = '600MB'")
        connection.execute(
            "create table records as select 'a' as source, i as id, 'f' as fingerprint, "
            f"{own} || ' ' || {shared} as name from range({records}) as t(i)"
        )
        connection.execute(f"create table size as select {common_level} as common_level")
        for name in compiled.sql:
            compiled.run(connection, name)
        ((compared,),) = connection.execute("select coalesce(sum(records * (records - 1)), 0) from met").fetchall()
    assert compared <= records * most
