"""Increments of blocking: whatever came, changed and went, the result is that of a full refresh."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from compiled import Compiled
from dbt_harness import Project, in_steps, stubbed_project

Record = tuple[str, int, str, str]
SOURCES = ["a", "b"]
RULES: dict[str, Any] = {"blocking": "auto", "rules": ["town"]}
EMPTY = (
    "create table {name} (n uinteger, source varchar, id integer, signature ubigint, "
    "shortlist struct(n uinteger, shared integer, score integer)[], settings varchar)"
)


def _call(macro: str, *relations: str, **arguments: object) -> str:
    given = [
        *(repr(f"memory.main.{relation}") for relation in relations),
        *(f"{name}={value!r}" for name, value in arguments.items()),
    ]
    return f"{{{{ distiller_udf.{macro if '(' in macro else macro + '('}{', '.join(given)}) }}}}"


def _models(task: str) -> dict[str, str]:
    near = {"sources": SOURCES, "task": task, "top_k": 2}
    return {
        "numbered": _call("er_blocking_records", "records", sources=SOURCES, **RULES),
        **{terms: in_steps(_call(f"er_terms({terms!r}, ", "records", "numbered")) for terms in ("tokens", "qgrams")},
        **{
            f"near_{terms}": in_steps(
                _call("er_neighbours", terms, "numbered", former=f"memory.main.former_{terms}", **near)
            )
            for terms in ("tokens", "qgrams")
        },
        "candidates": in_steps(
            _call(
                "er_candidates",
                "numbered",
                terms={terms: f"memory.main.{terms}" for terms in ("tokens", "qgrams")},
                neighbours={terms: f"memory.main.near_{terms}" for terms in ("tokens", "qgrams")},
                max_candidates=3,
                **near,
                **RULES,
            )
        ),
    }


# What a record is found by is limited where there are many; a few dozen records shall reach the limits too.
LIMITS = {
    "greatest(3, 12 - ceil(log2(greatest(count(*), 1)) / 2))": "1",
    "2 * count(*) >= pow(4, (select common_level from size))": "count(*) > 3",
    "min(packed, 128)": "min(packed, 4)",
    "count(*) filter (is_rare) > 128": "count(*) filter (is_rare) > 4",
    "greatest(8192, pow(4, (select common_level from size) + 2))": "10",
    "min(packed, 10)": "min(packed, 4)",
}
WORDS = ("ada", "alan", "grace", "edsger", "barbara", "john", "kay", "lin", "mary", "niklaus", "tony", "vint")


def _person(rng: random.Random) -> tuple[str, str]:
    """A name of common words and a rare one, misspelt at times; a town that many share."""
    words = [rng.choice(WORDS[: rng.choice((3, 12))]) for _ in range(rng.randrange(1, 4))]
    if rng.random() < 0.4:
        words.append(f"x{rng.randrange(30)}")
    text = list(" ".join(words))
    if rng.random() < 0.3:
        text[rng.randrange(len(text))] = rng.choice("aeiou")
    return "".join(text), rng.choice(("", "here", "there", f"at {rng.randrange(6)}"))


def _evolved(rng: random.Random, records: dict[tuple[str, int], Record], share: float) -> dict[tuple[str, int], Record]:
    """Some records come, some change, some go."""
    after = {}
    for key in [(source, number) for source in SOURCES for number in range(25)]:
        there, roll = key in records, rng.random()
        if there and roll > share / 2:
            after[key] = records[key] if rng.random() > share else (*key, *_person(rng))
        elif not there and roll < max(share, 0.1):
            after[key] = (*key, *_person(rng))
    return after


def _load(connection: duckdb.DuckDBPyConnection, records: Iterable[Record]) -> None:
    connection.execute(
        "create or replace table records (source varchar, id integer, fingerprint varchar, name varchar, town varchar)"
    )
    rows = sorted(records)
    if rows:
        connection.executemany("insert into records values (?, ?, 'f', ?, ?)", rows)


def _state(connection: duckdb.DuckDBPyConnection, terms: str) -> set[Any]:
    """The shortlists, with records by their keys."""
    return set(
        connection.execute(
            f"""
            select own.source, own.id, other.source, other.id, own.e.shared, own.e.score, own.signature, own.settings
            from (select *, unnest(shortlist) as e from near_{terms}) as own
            inner join near_{terms} as other on own.e.n = other.n
            union all
            select source, id, null, null, null, null, signature, settings from near_{terms}
            """
        ).fetchall()
    )


FOLLOWING = ("near_tokens", "near_qgrams", "candidates")
"""What looks at the former run, and what is made of that; the others are made of the records alone."""


def _run(
    compiled: Compiled, connection: duckdb.DuckDBPyConnection, models: Iterable[str] | None = None
) -> tuple[set[Any], ...]:
    for name in models or compiled.sql:
        compiled.run(connection, name)
    candidates = connection.execute("select * replace (blocked_by::varchar as blocked_by) from candidates").fetchall()
    return set(candidates), _state(connection, "tokens"), _state(connection, "qgrams")


@pytest.fixture(scope="module", params=["link", "dedupe", "link_and_dedupe"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return Compiled(tmp_path_factory.mktemp("increments"), _models(request.param), LIMITS)


def test_increments_are_a_full_refresh_through_many_histories(compiled: Compiled) -> None:
    """Each history grows from nothing; every run is compared with one that knows nothing of those before."""
    rng = random.Random(7)
    pairs = 0
    for history in range(12):
        records: dict[tuple[str, int], Record] = {}
        with duckdb.connect() as connection:
            for terms in ("tokens", "qgrams"):
                connection.execute(EMPTY.format(name=f"former_{terms}"))
            for run in range(6):
                records = _evolved(rng, records, 0.6 if run == 0 else 0.02 + 0.3 * rng.random())
                _load(connection, records.values())
                found = _run(compiled, connection)
                for terms in ("tokens", "qgrams"):
                    connection.execute(f"create or replace table kept_{terms} as from near_{terms}")
                    connection.execute(f"delete from former_{terms}")
                if run:
                    assert found == _run(compiled, connection, FOLLOWING), (history, run)
                    pairs += len(found[0])
                for terms in ("tokens", "qgrams"):
                    connection.execute(f"create or replace table former_{terms} as from kept_{terms}")
    assert pairs > 1000


def test_what_has_not_changed_is_not_compared_again(compiled: Compiled) -> None:
    """The scores of the last run are taken over: one that is wrong there stays, unless its record has changed."""
    rng = random.Random(3)
    records = _evolved(rng, {}, 0.9)
    with duckdb.connect() as connection:
        for terms in ("tokens", "qgrams"):
            connection.execute(EMPTY.format(name=f"former_{terms}"))
        _load(connection, records.values())
        _run(compiled, connection)
        connection.execute(
            "create or replace table former_tokens as select * replace "
            "([{'n': e.n, 'shared': e.shared, 'score': 77} for e in shortlist] as shortlist) from near_tokens"
        )
        compiled.run(connection, "near_tokens")
        assert connection.execute("select distinct unnest(shortlist).score from near_tokens").fetchall() == [(77,)]
        changed = next(iter(records))
        _load(connection, [*(r for key, r in records.items() if key != changed), (*changed, "someone else", "")])
        for name in ("numbered", "tokens", "near_tokens"):
            compiled.run(connection, name)
        said = dict(
            connection.execute(
                "select e.score = 77, count(*) from (select unnest(shortlist) as e from near_tokens) group by all"
            ).fetchall()
        )
    assert said[True] > said.get(False, 0)


PEOPLE = """
    select i as id, 'person ' || (i % 40) || ' ' || md5((i % 40)::varchar) as name, 'town ' || (i % 7) as town
    from range({{ var('people', 80) }}) as t(i)
    where i != {{ var('gone', -1) }}
"""


def test_an_incremental_run_is_a_full_refresh(tmp_path: Path) -> None:
    """With the real dbt: records come, go and come back."""
    variables = {"er_sources": [{"name": "people", "model": "people", "id": "id"}]}
    project: Project = stubbed_project(tmp_path, models={"people": PEOPLE}, variables=variables)
    project.run("run", "--select", "+er_candidates")
    for change in ({"people": 84}, {"people": 84, "gone": 3}, {"people": 80}):
        project.run("run", "--select", "+er_candidates", variables=change)
        incremental = project.query("select * from er_candidates order by all")
        lists = project.query("select * from er_neighbours_by_qgrams order by all")
        project.run("run", "--select", "+er_candidates", "--full-refresh", variables=change)
        assert project.query("select * from er_candidates order by all") == incremental
        assert project.query("select * from er_neighbours_by_qgrams order by all") == lists
