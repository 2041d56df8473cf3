"""er_decisions: why a pair is a match or not, on random scores, links and limits, against what was decided."""

from __future__ import annotations

import random
from typing import Any

import duckdb
import pytest
from compiled import Compiled
from dbt_harness import in_steps

SOURCES = ["a", "b", "c"]
Record = tuple[str, int]

RULES: dict[str, dict[str, Any]] = {
    "one_to_one": {"constraint": "one_to_one"},
    "limited": {"constraint": "one_to_one", "max_size": 2, "links": True},
    "many_to_one": {"constraint": "many_to_one", "max_size": 3, "links": True},
    "none": {"task": "dedupe", "constraint": "none", "max_size": 3, "links": True},
    "threshold": {"constraint": "one_to_one", "threshold": 0.6},
    "unlimited": {"task": "dedupe", "constraint": "none"},
}


def models() -> dict[str, str]:
    made = {}
    for name, rules in RULES.items():
        own = dict(rules)
        links, threshold, size = own.pop("links", False), own.pop("threshold", None), own.pop("max_size", None)
        common = ", ".join(f"{key}={value!r}" for key, value in {"sources": SOURCES, "task": "link", **own}.items())
        cannot = ", cannot_links=ref('cannot')" if links else ""
        must = ", must_links=ref('must')" if links else ""
        by = f", threshold={threshold}" if threshold else ", student='students'"
        limit = f", max_size={size}" if size else ""
        made[f"{name}_matches"] = (
            f"{{{{ distiller_udf.er_matches('choices', records='records', {common}{by}{must}{cannot}) }}}}"
        )
        made[f"{name}_entities"] = in_steps(
            f"{{{{ distiller_udf.er_entities('{name}_matches', records='records', {common}{limit}{cannot}) }}}}"
        )
        made[f"{name}_decisions"] = (
            f"{{{{ distiller_udf.er_decisions('choices', matches='{name}_matches', entities='{name}_entities', "
            f"records='records', {common}{by}{limit}{cannot}) }}}}"
        )
    return made


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    link = "select 'a' as left_source, 1 as left_id, 'b' as right_source, 1 as right_id"
    return Compiled(tmp_path_factory.mktemp("decisions"), models(), tables={"must": link, "cannot": link})


def load(connection: duckdb.DuckDBPyConnection, rng: random.Random) -> None:
    """Ten records a source and scores of random pairs; some records are empty, some links name nobody."""
    records = [(source, number) for source in SOURCES for number in range(10)]
    pairs = sorted(rng.sample([(a, b) for a in records for b in records if a < b and a[0] != b[0]], 90))
    connection.execute("create or replace table records (source varchar, id integer)")
    connection.executemany("insert into records values (?, ?)", records)
    keys = "left_source varchar, left_id integer, right_source varchar, right_id integer"
    for name in ("must", "cannot"):
        connection.execute(f"create or replace table {name} ({keys})")
    drawn = rng.sample([pair for pair in pairs if pair != (("a", 9), ("c", 9))], 9)
    connection.executemany("insert into must values (?, ?, ?, ?)", [(*a, *b) for a, b in drawn[:3]])
    connection.executemany("insert into must values (?, ?, ?, ?)", [("a", 0, "b", 77), ("c", 9, "a", 9)])
    connection.executemany("insert into cannot values (?, ?, ?, ?)", [(*b, *a) for a, b in drawn[3:]])
    connection.execute(
        f"create or replace table choices ({keys}, probability double, choice_probability double, student varchar)"
    )
    scores = [(round(rng.random(), 1), round(rng.random(), 1)) if rng.random() > 0.05 else (None, None) for _ in pairs]
    connection.executemany(
        "insert into choices values (?, ?, ?, ?, ?, ?, 'v1')",
        [(*a, *b, *score) for (a, b), score in zip(pairs, scores, strict=True)],
    )
    connection.execute(
        "create or replace table students as select 'v1' as student, 0.5 threshold, 0.3 choice_threshold"
    )


@pytest.mark.parametrize("name", RULES)
def test_every_pair_has_its_reason(compiled: Compiled, name: str) -> None:
    seen: set[str] = set()
    for seed in range(8):
        connection = duckdb.connect()
        load(connection, random.Random(seed))
        for step in ("matches", "entities", "decisions"):
            compiled.run(connection, f"{name}_{step}")
        seen |= check(connection, name, RULES[name])
    expected = {"match", "threshold", "nothing_to_compare"}
    expected |= {"group"} if RULES[name]["constraint"] == "none" else {"rival"}
    if RULES[name].get("links"):
        expected |= {"must_link", "cannot_link", *(["taken_by_must_link"] if name != "none" else [])}
        expected |= {"apart by cannot_link", "apart by max_size"}
        expected |= {"apart by one_of_each_source"} if name == "limited" else set()
    assert expected <= seen


def check(connection: duckdb.DuckDBPyConnection, name: str, rules: dict[str, Any]) -> set[str]:
    """Hold each row against the tables that it tells of; the reasons that there are."""
    matches = {
        row[:4]: row[4]
        for row in connection.execute(
            f"select left_source, left_id, right_source, right_id, decided_by from {name}_matches"
        ).fetchall()
    }
    entity = {
        row[:2]: row[2] for row in connection.execute(f"select source, id, entity_id from {name}_entities").fetchall()
    }
    cannot = (
        {(*row[2:], *row[:2]) for row in connection.execute("from cannot").fetchall()} if rules.get("links") else set()
    )
    choices = {row[:4]: row[4:6] for row in connection.execute("from choices").fetchall()}
    rows = connection.sql(f"from {name}_decisions").to_arrow_table().to_pylist()
    found = {(r["left_source"], r["left_id"], r["right_source"], r["right_id"]): r for r in rows}
    assert len(rows) == len(found)
    assert set(found) == set(choices) | set(matches)
    for pair, row in found.items():
        assert row["is_match"] == (pair in matches)
        assert row["same_entity"] == (entity[pair[:2]] == entity[pair[2:]])
        own, among = choices.get(pair, (None, None))
        decisive, threshold = among, rules.get("threshold", 0.3)
        if row["is_match"]:
            assert row["reason"] == {"student": "match", "must_link": "must_link"}[matches[pair]]
            assert row["rival_id"] is None
        else:
            assert (row["reason"] == "cannot_link") == (pair in cannot)
            if row["reason"] == "threshold":
                assert decisive < threshold == row["threshold"]
                assert row["rival_id"] is None or own < rules.get("threshold", 0.5)
                assert rules["constraint"] != "none" or own < 0.5
            if row["reason"] == "group":
                assert rules["constraint"] == "none"
                assert decisive < threshold < 0.5 <= own
            if row["reason"] == "nothing_to_compare":
                assert decisive is None
        if row["reason"] in ("rival", "taken_by_must_link"):
            assert decisive >= threshold or own >= rules.get("threshold", 0.5)
            assert row["rival_id"] is not None
        if row["rival_id"] is not None:
            rival = (row["rival_source"], row["rival_id"])
            winner = (*pair[:2], *rival) if row["rival_side"] == "right" else (*rival, *pair[2:])
            assert rival[0] == (pair[2] if row["rival_side"] == "right" else pair[0])
            assert winner in matches
            if row["reason"] == "rival":
                assert row["rival_probability"] >= decisive
            if row["reason"] == "taken_by_must_link":
                assert matches[winner] == "must_link"
        assert (row["kept_apart_by"] is not None) == (row["is_match"] and not row["same_entity"]), row
        check_limit(row["kept_apart_by"], entity, pair, rules, cannot)
    return {row["reason"] for row in rows} | {f"apart by {row['kept_apart_by']}" for row in rows}


def check_limit(
    limit: str | None, entity: dict[Record, str], pair: tuple[Any, ...], rules: dict[str, Any], cannot: set[Any]
) -> None:
    """The two entities would break the limit as one."""
    left, right = ([r for r in entity if entity[r] == entity[end]] for end in (pair[:2], pair[2:]))
    if limit == "cannot_link":
        assert any((*a, *b) in cannot or (*b, *a) in cannot for a in left for b in right)
    elif limit == "one_of_each_source":
        assert {source for source, _ in left} & {source for source, _ in right}
    elif limit == "max_size":
        assert len(left) + len(right) > rules["max_size"]
