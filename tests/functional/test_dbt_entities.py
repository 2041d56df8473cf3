"""Entities: ids that last, what became of them, and their limits, against plain Python over many random histories."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from compiled import Compiled
from dbt_harness import in_steps, macro_project

Record = tuple[str, int]
Link = tuple[Record, Record]
SOURCES = ["a", "b", "c"]
START = datetime(2020, 1, 1)
FORMER_OF_NONE = (
    "create table former_entities as select *, null::varchar as entity_id, null::timestamp as first_seen from records"
)


def _entities(matches: str, records: str, apart: bool = False, **arguments: object) -> str:
    given = "".join(f", {name}={value!r}" for name, value in arguments.items())
    given += ", cannot_links=ref('apart')" if apart else ""
    return in_steps(f"{{{{ distiller_udf.er_entities('{matches}', records='{records}', sources={SOURCES}{given}) }}}}")


MODELS = {
    "entities": _entities("matches", "records", task="link_and_dedupe", former="former_entities"),
    "changes": "{{ distiller_udf.er_entity_changes('entities', former='log') }}",
    "limited": _entities("matches", "records", constraint="one_to_one", max_size=4, apart=True),
    "small": _entities("matches", "records", task="dedupe", max_size=3),
    "unlinked": _entities("matches", "records", task="dedupe", apart=True),
    "report": in_steps("{{ distiller_udf.er_entity_report('entities', matches='matches', entity_count=3) }}"),
    "report_of_all": in_steps("{{ distiller_udf.er_entity_report('entities', matches='matches') }}"),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    apart = "select 'a' as left_source, 1 as left_id, 'b' as right_source, 1 as right_id"
    made = Compiled(tmp_path_factory.mktemp("entities"), MODELS, tables={"apart": apart})
    # The time of a run is dbt's; here it is a variable of the connection.
    for name in ("entities", "changes"):
        _, _, behind = made.sql[name].partition("timestamp '")
        assert behind
        now = f"timestamp '{behind.split(chr(39))[0]}'"
        made.sql[name] = made.sql[name].replace(now, "getvariable('now')")
    return made


class Memory:
    """What entities should be: each one's members in the order of their age, and the rules of inheritance in a loop."""

    def __init__(self) -> None:
        self.seen: dict[Record, int] = {}
        self.entity: dict[Record, str] = {}

    def run(self, run: int, records: Iterable[Record], matches: Iterable[Link]) -> None:
        """Take in what is there today."""
        records = sorted(records, key=lambda record: (SOURCES.index(record[0]), record[1]))
        self.seen = {record: self.seen.get(record, run) for record in records}
        age = {record: (self.seen[record], position) for position, record in enumerate(records)}
        clusters = components(records, matches)
        former: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if record in self.entity:
                former[self.entity[record]].append(record)
        heirs = {entity: min(members, key=age.__getitem__) for entity, members in former.items()}
        kept = {}
        for cluster in clusters:
            claims = [entity for entity, heir in heirs.items() if heir in cluster]
            if claims:
                kept[frozenset(cluster)] = min(claims, key=lambda entity: age[heirs[entity]])
        names = {}
        for cluster in clusters:
            oldest = min(cluster, key=age.__getitem__)
            name = own = f"{oldest[0]}:{oldest[1]}"
            if frozenset(cluster) not in kept and own in kept.values():
                used = [entity.partition("~")[2] or "1" for entity in kept.values() if entity.partition("~")[0] == own]
                name = f"{own}~{max(map(int, used)) + 1}"
            names[frozenset(cluster)] = kept.get(frozenset(cluster), name)
        self.entity = {record: names[frozenset(cluster)] for cluster in clusters for record in cluster}


def components(records: Iterable[Record], matches: Iterable[Link]) -> list[set[Record]]:
    """The connected components."""
    cluster = {record: {record} for record in records}
    for one, two in matches:
        if cluster[one] is not cluster[two]:
            cluster[one] |= cluster[two]
            for record in cluster[two]:
                cluster[record] = cluster[one]
    return list({id(members): members for members in cluster.values()}.values())


def _load(connection: duckdb.DuckDBPyConnection, records: Iterable[Record], matches: Mapping[Link, float]) -> None:
    connection.execute("create or replace table records (source varchar, id integer)")
    connection.execute(
        "create or replace table matches (left_source varchar, left_id integer, right_source varchar, "
        "right_id integer, probability double, choice_probability double, decided_by varchar)"
    )
    there = [[source, number] for source, number in records]
    if there:
        connection.executemany("insert into records values (?, ?)", there)
    rows = [
        [*one, *two, abs(probability), abs(probability), "must_link" if probability < 0 else "student"]
        for (one, two), probability in matches.items()
    ]
    if rows:
        connection.executemany("insert into matches values (?, ?, ?, ?, ?, ?, ?)", rows)


def _evolved(
    rng: random.Random, records: set[Record], links: set[Link], universe: list[Record]
) -> tuple[set[Record], set[Link]]:
    """Some records come, some go; some matches are found, some are lost."""
    records = {record for record in sorted(records) if rng.random() > 0.15}
    records |= {record for record in universe if rng.random() < 0.15}
    links = {link for link in sorted(links) if rng.random() > 0.2 and set(link) <= records}
    there = sorted(records)
    for _ in range(rng.randrange(4)):
        if len(there) > 1:
            one, two = sorted(rng.sample(there, 2))
            links.add((one, two))
    return records, links


def _universes(cases: int, numbers: int) -> list[list[Record]]:
    """The records of `cases` cases that have nothing to do with each other, so that one run may hold them all."""
    return [[(source, 100 * case + number) for source in SOURCES for number in range(numbers)] for case in range(cases)]


ALONE_AND_TOGETHER = [1] * 30 + [10] * 12
"""How many cases a run holds: most stand beside others, which is as hard and much quicker."""


def test_ids_last_through_hundreds_of_histories(compiled: Compiled) -> None:
    """Inserts, updates, deletes, merges and splits: ids as the rules in a loop give them, and a log that replays."""
    rng = random.Random(5)
    changes: Counter[str] = Counter()
    for cases in ALONE_AND_TOGETHER:
        memory = Memory()
        histories = [(universe, set[Record](), set[Link]()) for universe in _universes(cases, 5)]
        with duckdb.connect() as connection:
            connection.execute(
                "create table former_entities (source varchar, id integer, entity_id varchar, first_seen timestamp)"
            )
            connection.execute(
                "create table log (changed_at timestamp, source varchar, id varchar, from_entity_id varchar, "
                "to_entity_id varchar, change varchar)"
            )
            for run in range(5):
                histories = [
                    (universe, *_evolved(rng, records, links, universe)) for universe, records, links in histories
                ]
                records = {record for _, some, _ in histories for record in some}
                links = {link for *_, some in histories for link in some}
                before = memory.entity
                memory.run(run, records, links)
                _load(connection, records, dict.fromkeys(links, 0.9))
                connection.execute("set variable now = ?::timestamp", [START + timedelta(days=run)])
                compiled.run(connection, "entities")
                rows = connection.execute("select source, id, entity_id, entity_size from entities").fetchall()
                assert {(source, number): entity for source, number, entity, _ in rows} == memory.entity
                sizes = Counter(memory.entity.values())
                assert all(size == sizes[entity] for _, _, entity, size in rows)
                compiled.run(connection, "changes")
                found = connection.execute("select source, id::integer, change from changes").fetchall()
                expected = _changes(before, memory.entity)
                assert {(source, number): change for source, number, change in found} == expected
                changes.update(expected.values())
                connection.execute("insert into log from changes")
                connection.execute("create or replace table former_entities as from entities")
    assert set(changes) == {"appeared", "joined", "merged", "split", "moved", "left", "vanished"}
    assert min(changes.values()) >= 10


def _changes(before: Mapping[Record, str], after: Mapping[Record, str]) -> dict[Record, str]:
    """What should be logged, told case by case."""
    survivors = {before[record] for record in before if record in after}
    told = {}
    for record in before.keys() | after.keys():
        one, two = before.get(record), after.get(record)
        if one == two:
            continue
        if one is None:
            told[record] = "joined" if two in before.values() else "appeared"
        elif two is None:
            told[record] = "left" if one in survivors else "vanished"
        elif two not in before.values():
            told[record] = "split"
        else:
            told[record] = "moved" if one in after.values() else "merged"
    return told


def _kruskal(
    records: set[Record],
    matches: Mapping[Link, float],
    ties: Mapping[Link, int],
    apart: set[Link],
    one_of_each: bool,
    most: int,
) -> set[frozenset[Record]]:
    """One pass over the matches from the best to the worst; a negative probability is a must-link's."""
    cluster = {record: {record} for record in records}
    order = sorted(matches, key=lambda link: (matches[link] >= 0, -abs(matches[link]), ties[link]))
    for one, two in order:
        left, right = cluster[one], cluster[two]
        together = left | right
        if left is right or any(set(link) <= together for link in apart):
            continue
        shared = {source for source, _ in left} & {source for source, _ in right}
        if matches[one, two] >= 0 and (len(together) > most or (one_of_each and shared)):
            continue
        for record in together:
            cluster[record] = together
    return {frozenset(members) for members in cluster.values()}


def _drawn(rng: random.Random, records: list[Record]) -> Link:
    one, two = sorted(rng.sample(records, 2))
    return one, two


@pytest.mark.parametrize(
    ("model", "one_of_each", "most"), [("limited", True, 4), ("small", False, 3), ("unlinked", False, 10**9)]
)
def test_limits_are_kept_as_one_pass_would(compiled: Compiled, model: str, one_of_each: bool, most: int) -> None:
    rng = random.Random(model)
    refused = 0
    for cases in [1] * 12 + [6] * 8:
        records, matches, apart = set[Record](), dict[Link, float](), set[Link]()
        universes = _universes(cases, 6)
        for universe in universes:
            there = sorted(universe)
            links = {_drawn(rng, there) for _ in range(rng.randrange(40))}
            unlinked = {_drawn(rng, there) for _ in range(4)} if model != "small" else set()
            records.update(universe)
            # Few different probabilities, so that ties matter; some are must-links.
            probabilities = {link: rng.choice([-0.5, 0.6, 0.7, 0.8, 0.9, 0.95]) for link in sorted(links)}
            matches |= {link: probability for link, probability in probabilities.items() if link not in unlinked}
            apart |= unlinked
        with duckdb.connect() as connection:
            _load(connection, records, matches)
            connection.execute(
                "create table apart (left_source varchar, left_id integer, right_source varchar, right_id integer)"
            )
            for one, two in apart:
                connection.execute("insert into apart values (?, ?, ?, ?)", [*one, *two])
            ties = {
                link: connection.execute("select hash(?, ?::integer, ?, ?::integer)", [*link[0], *link[1]]).fetchall()[
                    0
                ][0]
                for link in matches
            }
            compiled.run(connection, model)
            found = defaultdict(set)
            for source, number, entity in connection.execute(f"select source, id, entity_id from {model}").fetchall():
                found[entity].add((source, number))
        expected = _kruskal(records, matches, ties, apart, one_of_each, most)
        assert {frozenset(members) for members in found.values()} == expected
        for universe in universes:
            entities = sum(members <= set(universe) for members in expected)
            refused += entities > len(components(universe, [link for link in matches if link[0] in universe]))
    assert refused > 20


def test_a_taken_name_is_numbered(compiled: Compiled) -> None:
    """a:1 leaves the entity that is named after it, and comes back as an entity of its own."""
    runs: list[tuple[set[Record], dict[Link, float]]] = [
        ({("a", 1), ("b", 1)}, {(("a", 1), ("b", 1)): 0.9}),
        ({("b", 1)}, {}),
        ({("a", 1), ("b", 1)}, {}),
        ({("a", 1), ("b", 1)}, {(("a", 1), ("b", 1)): 0.9}),
    ]
    said = []
    with duckdb.connect() as connection:
        connection.execute(
            "create table former_entities (source varchar, id integer, entity_id varchar, first_seen timestamp)"
        )
        for run, (records, matches) in enumerate(runs):
            _load(connection, records, matches)
            connection.execute("set variable now = ?::timestamp", [START + timedelta(days=run)])
            compiled.run(connection, "entities")
            said.append(dict(connection.execute("select source, entity_id from entities").fetchall()))
            connection.execute("create or replace table former_entities as from entities")
    assert said == [{"a": "a:1", "b": "a:1"}, {"b": "a:1"}, {"a": "a:1~2", "b": "a:1"}, {"a": "a:1", "b": "a:1"}]


def test_an_id_that_looks_numbered_is_nobody_elses(compiled: Compiled) -> None:
    """a:1 comes back as a:1~2, and then a record whose own id is 1~2 arrives."""
    runs: list[tuple[list[tuple[str, str]], bool]] = [
        ([("a", "1"), ("b", "1")], True),
        ([("b", "1")], False),
        ([("a", "1"), ("b", "1")], False),
        ([("a", "1"), ("b", "1"), ("a", "1~2"), ("a", "1~3")], False),
    ]
    with duckdb.connect() as connection:
        _load(connection, [], {})
        connection.execute("alter table records alter id type varchar")
        connection.execute("alter table matches alter left_id type varchar")
        connection.execute("alter table matches alter right_id type varchar")
        connection.execute(
            "create table former_entities (source varchar, id varchar, entity_id varchar, first_seen timestamp)"
        )
        for run, (records, are_one) in enumerate(runs):
            connection.execute("delete from records")
            connection.execute("delete from matches")
            connection.executemany("insert into records values (?, ?)", records)
            if are_one:
                connection.execute("insert into matches values ('a', '1', 'b', '1', 0.9, 0.9, 'student')")
            connection.execute("set variable now = ?::timestamp", [START + timedelta(days=run)])
            compiled.run(connection, "entities")
            connection.execute("create or replace table former_entities as from entities")
        rows = connection.execute("select source || ':' || id, entity_id from entities").fetchall()
    assert dict(rows) == {"a:1": "a:1~2", "b:1": "a:1", "a:1~2": "a:1~2~2", "a:1~3": "a:1~3"}


def test_a_long_chain_of_equal_matches_takes_few_rounds(compiled: Compiled) -> None:
    """In the order of the records it would be a round a match, each as large as all of them."""
    with duckdb.connect() as connection:
        _load(connection, [], {})
        connection.execute("insert into records select 'a', unnest(range(20000))")
        connection.execute(
            "insert into matches select 'a', i, 'a', i + 1, 0.9, 0.9, 'student' from range(19999) as t(i)"
        )
        connection.execute("set memory_limit = '400MB'")
        compiled.run(connection, "small")
        assert connection.execute("select max(entity_size), count(*) from small").fetchall() == [(3, 20000)]


def test_the_weakest_link_of_the_largest_entities(compiled: Compiled) -> None:
    """Two dense groups with one doubtful match between; a worse match inside of one of them holds nothing together."""
    left = [("a", number) for number in range(4)]
    right = [("b", number) for number in range(3)]
    matches = {(left[i], left[j]): 0.9 for i in range(4) for j in range(i + 1, 4)}
    matches |= {(right[0], right[1]): 0.95, (right[1], right[2]): -1.0, (left[3], right[0]): 0.6}
    matches[left[0], left[1]] = 0.2
    pair = (("c", 0), ("c", 1))
    with duckdb.connect() as connection:
        _load(connection, [*left, *right, *pair, ("c", 2)], {**matches, pair: 0.7})
        connection.execute(FORMER_OF_NONE)
        connection.execute("set variable now = timestamp '2020-01-01'")
        compiled.run(connection, "entities")
        compiled.run(connection, "report")
        rows = connection.execute(
            "select entity_id, entity_size, matches, weakest_probability, left_source, left_id, right_source, "
            "right_id, left_size, right_size, weakest_is_must_link from report order by entity_size desc"
        ).fetchall()
    assert rows == [
        ("a:0", 7, 9, 0.6, "a", 3, "b", 0, 4, 3, False),
        ("c:0", 2, 1, 0.7, "c", 0, "c", 1, 1, 1, False),
    ]


def _weakest(records: Iterable[Record], matches: Mapping[Link, float]) -> Counter[tuple[int, float, frozenset[int]]]:
    """Each entity's size, the last match that one pass from the best to the worst needs, and its halves' sizes."""
    cluster = {record: {record} for record in records}
    last: dict[int, tuple[float, frozenset[int]]] = {}
    for one, two in sorted(matches, key=matches.__getitem__, reverse=True):
        left, right = cluster[one], cluster[two]
        if left is not right:
            together = left | right
            cluster |= dict.fromkeys(together, together)
            last[id(together)] = (matches[one, two], frozenset((len(left), len(right))))
    entities = {id(members): members for members in cluster.values() if len(members) > 1}
    return Counter((len(members), *last[key]) for key, members in entities.items())


def test_weakest_links_are_those_of_one_pass(compiled: Compiled) -> None:
    rng = random.Random(11)
    largest = 0
    for cases in [1] * 12 + [6] * 8:
        matches: dict[Link, float] = {}
        universes = _universes(cases, 8)
        for universe in universes:
            links = sorted({_drawn(rng, universe) for _ in range(rng.randrange(1, 40))})
            chances = rng.sample(range(1, 1000), len(links))
            matches |= {link: p / 1000 for link, p in zip(links, chances, strict=True)}
        there = [record for universe in universes for record in universe]
        expected = _weakest(there, matches)
        with duckdb.connect() as connection:
            _load(connection, there, matches)
            connection.execute(FORMER_OF_NONE)
            connection.execute("set variable now = timestamp '2020-01-01'")
            compiled.run(connection, "entities")
            compiled.run(connection, "report_of_all")
            rows = connection.execute(
                "select entity_size, weakest_probability, left_size, right_size from report_of_all"
            ).fetchall()
        assert Counter((size, p, frozenset((left, right))) for size, p, left, right in rows) == expected
        largest = max(largest, *(size for size, _, _ in expected))
    assert largest >= 10


@pytest.mark.parametrize(
    ("shape", "matches"),
    [
        ("star", "select 0 as i, k as j from range(1, 30000) as t(k)"),
        ("chain", "select k as i, k + 1 as j from range(29999) as t(k)"),
        ("cloud", "select hash(2 * k) % 30000 as i, hash(2 * k + 1) % 30000 as j from range(90000) as t(k)"),
    ],
)
def test_a_giant_entity_is_reported_in_few_rounds(compiled: Compiled, shape: str, matches: str) -> None:
    """With probabilities that all differ, a giant grows by one record at a time from the best match to the worst."""
    with duckdb.connect() as connection:
        _load(connection, [], {})
        connection.execute("insert into records select 'a', unnest(range(30000))")
        connection.execute(
            "insert into matches select distinct 'a', least(i, j), 'a', greatest(i, j), "
            f"hash(i + j) % 1000000 / 1e6, 0.9, 'student' from ({matches}) where i != j"
        )
        connection.execute("create table entities as select *, 'a:0' as entity_id, 30000 as entity_size from records")
        connection.execute("set memory_limit = '400MB'")
        compiled.run(connection, "report")
        ((size, count, left, right),) = connection.execute(
            "select entity_size, matches, left_size, right_size from report"
        ).fetchall()
    assert size == 30000
    assert count >= 29_999
    assert left >= 1
    assert right >= 1


def test_ids_and_log_through_dbt(tmp_path: Path) -> None:
    """With the real dbt: a run that skips the log is made up for, and a full refresh renames nothing."""
    models = {
        "records": "select 'a' as source, unnest([1, 2, 3]) as id",
        "matches": """
            select 'a' as left_source, 1 as left_id, 'a' as right_source, 3 as right_id
            where {{ var('first_is_there', true) }}
            union all
            select 'a', 2, 'a', 3
        """,
        "entities": in_steps(
            "{{ distiller_udf.er_entities(ref('matches'), records=ref('records'), sources=['a'], "
            "former=distiller_udf._er_former(this, keep=true)) }}"
        ),
        "changes": (
            "{{ config(materialized='incremental', full_refresh=false) }}"
            "{{ distiller_udf.er_entity_changes(ref('entities'), former=this if is_incremental() else none) }}"
        ),
    }
    project = macro_project(tmp_path, models=models)
    project.run("run")
    entities = "select id, entity_id from entities order by id"
    assert project.query(entities) == [(1, "a:1"), (2, "a:1"), (3, "a:1")]
    project.run("run", "--select", "matches", "entities", variables={"first_is_there": False})
    project.run("run", "--full-refresh", variables={"first_is_there": False})
    assert project.query(entities) == [(1, "a:1"), (2, "a:2"), (3, "a:2")]
    project.run("run", "--full-refresh")
    assert project.query(entities) == [(1, "a:1"), (2, "a:1"), (3, "a:1")]
    log = project.query("select id, from_entity_id, to_entity_id, change from changes order by changed_at, id")
    assert log == [
        *((str(number), None, "a:1", "appeared") for number in (1, 2, 3)),
        *((str(number), "a:1", "a:2", "split") for number in (2, 3)),
        *((str(number), "a:2", "a:1", "merged") for number in (2, 3)),
    ]
