"""What the estimate says is what blocking does: exactly where it claims to be exact, and never too little."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import duckdb
import pytest
from compiled import Compiled
from dbt_harness import in_steps

SOURCES = ["a", "b", "c"]
TASKS = ("link", "dedupe", "link_and_dedupe")
NEAR_IN_TOWN = {"all": ["qgrams", {"equal": {"expression": "town", "max_block": 6}}], "name": "near_in_town"}
NEAR_IN_ANY_TOWN = {"all": ["qgrams", {"equal": {"expression": "town", "max_block": 1000}}], "name": "near_in_any_town"}
WAYS: list[Any] = [
    "qgrams",
    {"tokens": {"top_k": 2, "mode": "union"}},
    {"equal": {"expression": "town", "max_block": 20}},
    {"sorted": {"expression": "name", "window": 3}},
    {"minhash": {"bands": 3, "rows": 1, "max_block": 12}},
    NEAR_IN_TOWN,
    NEAR_IN_ANY_TOWN,
    {
        "all": [{"sorted": {"expression": "town || name", "window": 8}}, {"minhash": {"bands": 4, "rows": 1}}],
        "name": "next",
    },
]
BLOCKING: dict[str, Any] = {"sources": SOURCES, "blocking": WAYS}


def _call(macro: str, *relations: str, **arguments: object) -> str:
    given = [
        *(relation if relation.startswith("'") else repr(f"memory.main.{relation}") for relation in relations),
        *(f"{name}={value!r}" for name, value in arguments.items()),
    ]
    return f"{{{{ distiller_udf.{macro}({', '.join(given)}) }}}}"


def _models(task: str) -> dict[str, str]:
    terms = {kind: f"memory.main.{kind}" for kind in ("tokens", "qgrams")}
    near = {kind: f"memory.main.near_{kind}_{task}" for kind in terms}
    search = {"sources": SOURCES, "task": task, "top_k": 6}
    options = {"task": task, "terms": terms, **BLOCKING}
    return {
        **{f"near_{kind}_{task}": in_steps(_call("er_neighbours", kind, "numbered", **search)) for kind in terms},
        f"estimate_{task}": _call("er_blocking_estimate", "records", "numbered", **options),
        f"candidates_{task}": in_steps(
            _call("er_candidates", "numbered", neighbours=near, max_candidates=None, **options)
        ),
    }


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    models = {
        "numbered": _call("er_blocking_records", "records", **BLOCKING),
        **{kind: in_steps(_call("er_terms", f"'{kind}'", "records", "numbered")) for kind in ("tokens", "qgrams")},
    }
    for task in TASKS:
        models |= _models(task)
    return Compiled(tmp_path_factory.mktemp("estimate"), models)


def _records(rng: random.Random) -> list[tuple[str, int, str, str | None]]:
    """Texts that some sources have once, some many times and some not at all, and towns of all sizes."""
    records = []
    for name in range(rng.randrange(1, 9)):
        town = rng.choice((None, "", "here", "there", f"town {name}"))
        for source in SOURCES:
            records += [(source, f"name {name} {'x' * name}", town)] * rng.choice((0, 0, 1, 2, 9))
    rng.shuffle(records)
    return [(source, number, *values) for number, (source, *values) in enumerate(records)]


@pytest.mark.parametrize("task", TASKS)
def test_the_estimate_holds_for_the_candidates(compiled: Compiled, task: str) -> None:
    rng = random.Random(task)
    left_out = 0
    for _ in range(8):
        records = _records(rng)
        with duckdb.connect() as connection:
            connection.execute(
                "create table records (source varchar, id integer, fingerprint varchar, name varchar, town varchar)"
            )
            for source, number, name, town in records:
                connection.execute("insert into records values (?, ?, 'f', ?, ?)", [source, number, name, town])
            near = [f"near_{kind}_{task}" for kind in ("tokens", "qgrams")]
            for model in ("numbered", "tokens", "qgrams", *near, f"estimate_{task}", f"candidates_{task}"):
                compiled.run(connection, model)
            said = {
                way: row
                for way, *row in connection.execute(
                    f"select way, pairs, is_exact, skipped_pairs, largest_blocks from estimate_{task}"
                ).fetchall()
            }
            pairs = connection.execute(f"select * from candidates_{task}").fetchall()
        found = Counter(way for *_, ways in pairs for way in ways)
        for way, (estimated, is_exact, *_) in said.items():
            assert estimated >= found[way], way
            assert estimated == found[way] or not is_exact, way
        assert [way for way, row in said.items() if row[1]] == ["town", "identical"]
        # What a value costs that too many records share is not more than the estimate says.
        lost = found["near_in_any_town"] - found["near_in_town"]
        assert lost <= said["near_in_town"][2]
        left_out += lost
        assert said["identical"][3] == _blocks_of_twins(records, pairs)
    assert left_out > 0


def _blocks_of_twins(records: list[tuple[Any, ...]], pairs: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """The five texts with the most pairs by identical, as the candidates have them."""
    twins = defaultdict(list)
    for source, number, *values in sorted(records):
        twins[tuple(value or None for value in values)].append((source, number))
    text = {key: values for values, keys in twins.items() for key in keys}
    proposed = Counter(text[pair[:2]] for pair in pairs if "identical" in pair[-1])
    blocks = [
        {"value": "the text of {}:{}".format(*twins[values][0]), "records": len(twins[values]), "pairs": count}
        for values, count in sorted(proposed.items(), key=lambda item: (-item[1], twins[item[0]][0]))
    ]
    return [{**block, "is_skipped": False} for block in blocks[:5]]


def test_one_record_with_a_thousand_twins_is_a_block_of_all(compiled: Compiled) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "create table records as select case when i = 0 then 'a' else 'b' end as source, cast(i as integer) as id, "
            "'f' as fingerprint, 'one and the same' as name, 'here' as town from range(1001) as t(i)"
        )
        for model in ("numbered", "tokens", "qgrams", "estimate_link"):
            compiled.run(connection, model)
        rows = connection.execute("select pairs, largest_blocks from estimate_link where way = 'identical'").fetchall()
    block = {"value": "the text of a:0", "records": 1001, "pairs": 1000, "is_skipped": False}
    assert rows == [(1000, [block])]
