"""Decisions, entities and metrics: the macros on hand-made tables, against plain Python."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from dbt_harness import Project, in_steps, macro_project

rng = random.Random(11)
SOURCES = "['a', 'b']"


def _values(rows: list[tuple[object, ...]], columns: str) -> str:
    literals = ", ".join(str(row if len(row) > 1 else f"({row[0]!r})").replace("None", "null") for row in rows)
    return f"select * from (values {literals}) as t({columns})"


def _scores(rows: list[tuple[object, ...]]) -> str:
    return _values(
        [("a", left, "b", right, score, choice, "v1") for left, right, score, choice in rows],
        "left_source, left_id, right_source, right_id, probability, choice_probability, student",
    )


# Every probability occurs many times, so that ties matter.
RANDOM = [
    (left, right, rng.randint(0, 10) / 10, rng.randint(0, 20) / 20)
    for left in range(300)
    for right in sorted(rng.sample(range(250), 6))
]
FEW = [
    # 1 and 2 both want 1; 1 wants it more. 2 then takes its second choice.
    (1, 1, 0.9, 0.95),
    (2, 1, 0.9, 0.9),
    (2, 2, 0.6, 0.6),
    # Sure from the records alone, but not against the other candidates.
    (3, 3, 0.9, 0.3),
    (4, 4, 0.2, 0.7),
]
GRAPH = [(i, i + 1) for i in range(5_000)] + [
    (rng.randrange(5_100, 9_000), rng.randrange(5_100, 9_000)) for _ in range(1_500)
]


def _records(source: str, ids: str) -> str:
    return f"select '{source}' as source, i as id, 'f' as fingerprint from {ids} as t(i)"


def _matches(scores: str, arguments: str) -> str:
    given = f"ref('{scores}'), records=ref('records'), sources={SOURCES}, task='link', {arguments}"
    return f"{{{{ distiller_udf.er_matches({given}) }}}}"


def _entities(matches: str, records: str, sources: str = SOURCES) -> str:
    given = f"ref('{matches}'), records=ref('{records}'), sources={sources}"
    return in_steps(f"{{{{ distiller_udf.er_entities({given}) }}}}")


MODELS = {
    "records": f"{_records('a', 'range(300)')} union all {_records('b', 'range(300)')}",
    "random_scores": _scores(RANDOM),
    "few_scores": _scores(FEW),
    "no_scores": _scores(FEW) + " where false",
    "students": "select 'v1' as student, 0.5 as threshold, 0.65 as choice_threshold",
    "must": "select * from (values ('3', '3'), ('2', '1'), ('250', '251'), ('777', '1')) as t(left_id, right_id)",
    "must_reversed": "select 'b' as left_source, 3 as left_id, 'a' as right_source, 3 as right_id",
    "cannot": "select 1 as left_id, 1 as right_id",
    "random_one_to_one": _matches("random_scores", "threshold=0.3"),
    "random_many_to_one": _matches("random_scores", "threshold=0.3, constraint='many_to_one'"),
    "random_none": _matches("random_scores", "threshold=0.3, constraint='none'"),
    "zigzag_scores": """
        select 'a' as left_source, i as left_id, 'b' as right_source, i + k as right_id, 0.9 as probability,
            0.9 as choice_probability, 'v1' as student
        from range(10000) as t(i), range(2) as s(k)
    """,
    "zigzag_one_to_one": _matches("zigzag_scores", "threshold=0.3"),
    "few_by_student": _matches("few_scores", "student=ref('students')"),
    "few_none_by_student": _matches("few_scores", "student=ref('students'), constraint='none'"),
    "few_one_to_one": _matches("few_scores", "threshold=0.5"),
    "few_must": _matches("few_scores", "threshold=0.5, must_links=ref('must')"),
    "few_must_many": _matches("few_scores", "threshold=0.5, must_links=ref('must'), constraint='many_to_one'"),
    "few_must_reversed": _matches("few_scores", "threshold=0.5, must_links=ref('must_reversed')"),
    "few_cannot": _matches("few_scores", "threshold=0.5, cannot_links=ref('cannot')"),
    "no_matches": _matches("no_scores", "threshold=0.5"),
    "graph_records": f"{_records('z', 'range(5001)')} union all {_records('y', 'range(9000)')} where i > 5000",
    "graph_matches": _values(
        [("z" if one <= 5000 else "y", one, "z" if two <= 5000 else "y", two) for one, two in GRAPH],
        "left_source, left_id, right_source, right_id",
    ),
    "graph_entities": _entities("graph_matches", "graph_records", "['z', 'y']"),
    "single_entities": _entities("no_matches", "records"),
    "gold": "select 1 as left_id, 1 as right_id union all select 2, 2 union all select 9, 9 union all select 1, 1",
    "few_entities": _entities("few_one_to_one", "records"),
    "chain": _values([("a", i, "a", i + 1) for i in range(9)], "left_source, left_id, right_source, right_id"),
    "chain_entities": _entities("chain", "records"),
    "chain_gold": "select i as left_id, j as right_id from range(5) as t(i), range(5) as s(j) where i < j",
    "chain_metrics": (
        "{{ distiller_udf.er_metrics(ref('chain'), candidates=ref('chain'), entities=ref('chain_entities'), "
        "records=ref('records'), sources=['a'], gold=ref('chain_gold')) }}"
    ),
    "metrics": (
        "{{ distiller_udf.er_metrics(ref('few_one_to_one'), candidates=ref('few_scores'), "
        f"entities=ref('few_entities'), records=ref('records'), sources={SOURCES}, gold=ref('gold')) }}}}"
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = macro_project(
        tmp_path_factory.mktemp("matching"),
        models={
            **MODELS,
            "strict": "{{ config(enabled=var('strict', false)) }}"
            + _matches("few_scores", "threshold=0.5, must_links=ref('must'), strict=true"),
            "strict_cannot": "{{ config(enabled=var('strict', false)) }}"
            + _matches("no_scores", "threshold=0.5, cannot_links=ref('must'), strict=true"),
            "strict_gold": "{{ config(enabled=var('strict', false)) }}"
            + MODELS["metrics"].replace("gold=ref('gold')", "gold=ref('must'), strict=true"),
            "strict_known": "{{ config(enabled=var('strict', false)) }}"
            + _matches("few_scores", "threshold=0.5, must_links=ref('must_reversed'), strict=true"),
            "other_students": "select 'v9' as student, 0.5 as threshold, 0.65 as choice_threshold",
            "unknown_student": "{{ config(enabled=var('strict', false)) }}"
            + _matches("few_scores", "student=ref('other_students')"),
            "contradiction": "{{ config(enabled=var('strict', false)) }}"
            + _matches("few_scores", "threshold=0.5, must_links=ref('cannot'), cannot_links=ref('cannot')"),
        },
    )
    project.run("run")
    return project


def _pairs(made: Project, table: str) -> set[tuple[int, int]]:
    rows = made.query(f"select left_id, right_id from {table}")
    assert len(rows) == len(set(rows))
    return set(rows)  # type: ignore[arg-type]


def _best_first(made: Project) -> list[tuple[int, int, float, float]]:
    """The random scores in the order of decisions: ties go by a hash of the records."""
    hashes = made.query(
        "select left_id, right_id, hash(left_source, left_id, right_source, right_id) from random_scores"
    )
    ties = {(left, right): tie for left, right, tie in hashes}
    return sorted(RANDOM, key=lambda row: (-row[3], -row[2], ties[row[0], row[1]]))


def _greedy(rows: list[tuple[int, int, float, float]], threshold: float) -> set[tuple[int, int]]:
    taken: set[tuple[str, int]] = set()
    chosen = set()
    for left, right, _, choice in rows:
        if choice >= threshold and not {("a", left), ("b", right)} & taken:
            taken |= {("a", left), ("b", right)}
            chosen.add((left, right))
    return chosen


def test_one_to_one_is_the_greedy_assignment(made: Project) -> None:
    assert _pairs(made, "random_one_to_one") == _greedy(_best_first(made), 0.3)


def test_a_long_chain_of_equal_scores_takes_few_rounds(made: Project) -> None:
    """No pair could be added: a match stands beside every pair. In the order of the ids it would be a round a match."""
    found = _pairs(made, "zigzag_one_to_one")
    lefts, rights = {left for left, _ in found}, {right for _, right in found}
    assert len(found) == len(lefts) == len(rights)
    assert all(i in lefts or j in rights for i in range(10_000) for j in (i, i + 1))


def test_many_to_one_is_the_best_of_each_left_record(made: Project) -> None:
    best = {}
    for left, right, _, choice in _best_first(made):
        if choice >= 0.3:
            best.setdefault(left, right)
    assert _pairs(made, "random_many_to_one") == set(best.items())


def test_without_a_constraint_every_pair_that_reaches_the_threshold_is_a_match(made: Project) -> None:
    assert _pairs(made, "random_none") == {(left, right) for left, right, _, choice in RANDOM if choice >= 0.3}


def test_a_loser_takes_its_second_choice(made: Project) -> None:
    assert _pairs(made, "few_one_to_one") == {(1, 1), (2, 2), (4, 4)}


def test_thresholds_come_from_the_student(made: Project) -> None:
    assert _pairs(made, "few_by_student") == {(1, 1), (4, 4)}
    assert _pairs(made, "few_none_by_student") == {(1, 1), (2, 1), (4, 4)}


def test_must_links_are_forced_and_take_their_places(made: Project) -> None:
    rows = made.query("select left_id, right_id, probability::double, decided_by from few_must order by all")
    assert rows == [
        (2, 1, 0.9, "must_link"),
        (3, 3, 0.9, "must_link"),
        (4, 4, 0.2, "student"),
        (250, 251, None, "must_link"),
    ]
    assert _pairs(made, "few_must_many") == {(1, 1), (2, 1), (3, 3), (4, 4), (250, 251)}


def test_links_may_be_given_the_other_way_round(made: Project) -> None:
    assert made.query("select left_source, left_id from few_must_reversed where decided_by = 'must_link'") == [("a", 3)]


def test_cannot_links_free_the_place_for_the_next(made: Project) -> None:
    assert _pairs(made, "few_cannot") == {(2, 1), (4, 4)}


def test_strict_refuses_links_to_nowhere_and_contradictions_are_errors(made: Project) -> None:
    models = ("strict", "strict_cannot", "strict_gold", "contradiction")
    message = made.error("run", "--select", *models, variables={"strict": True})
    for variable in ("must_links", "cannot_links"):
        assert (
            f"er_matches: 1 of 4 pairs of er_{variable} names a record that does not exist, such as 777 – 1" in message
        )
    assert "er_metrics: 1 of 4 pairs of er_gold names a record that does not exist, such as 777 – 1" in message
    assert "correct er_cannot_links, or set er_strict to false" in message
    assert "the must-link 1 – 1 is a cannot-link as well" in message


def test_strict_takes_links_whose_records_are_there(made: Project) -> None:
    made.run("run", "--select", "strict_known", variables={"strict": True})
    assert _pairs(made, "strict_known") == _pairs(made, "few_must_reversed")


def test_scores_of_a_student_that_nobody_knows_are_an_error(made: Project) -> None:
    message = made.error("run", "--select", "other_students", "unknown_student", variables={"strict": True})
    assert "er_student does not know the student v1 of er_scores; set er_threshold" in message


def test_no_scores_are_no_matches_and_single_entities(made: Project) -> None:
    assert _pairs(made, "no_matches") == set()
    rows = made.query("select count(*), count(distinct entity_id), max(entity_size) from single_entities")
    assert rows == [(600, 600, 1)]


def test_entities_are_the_components_of_union_find(made: Project) -> None:
    parent = list(range(9_000))

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, two in GRAPH:
        low, high = sorted((find(one), find(two)))
        parent[high] = low
    sizes = Counter(find(node) for node in range(9_000))
    expected = {
        (node, f"{'z' if find(node) <= 5000 else 'y'}:{find(node)}", sizes[find(node)]) for node in range(9_000)
    }
    assert set(made.query("select id, entity_id, entity_size from graph_entities")) == expected


def test_metrics_count_what_blocking_missed(made: Project) -> None:
    assert dict(made.query("select metric, round(value, 6) from metrics")) == {
        "gold_pairs": 3,
        "candidate_pairs": 5,
        "matches": 3,
        "true_matches": 2,
        "missed_by_blocking": 1,
        "blocking_recall": 0.666667,
        "precision": 0.666667,
        "recall": 0.666667,
        "f1": 0.666667,
        "entity_precision": 0.666667,
        "entity_recall": 0.666667,
        "entity_f1": 0.666667,
    }


def test_entities_are_measured_by_their_pairs(made: Project) -> None:
    # Ten records in a chain are 45 pairs; 10 of them are known, 4 of these as links of the chain.
    metrics = dict(made.query("select metric, value from chain_metrics"))
    assert (metrics["matches"], metrics["true_matches"]) == (9, 4)
    assert metrics["entity_precision"] == pytest.approx(10 / 45)
    assert metrics["entity_recall"] == 1
