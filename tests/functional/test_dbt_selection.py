"""Selection and the teachers' agreement with real dbt: strategies, rounds of uncertainty, odd names and ids."""

from __future__ import annotations

import hashlib
import itertools
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import make_people
from dbt_harness import ROOT, Project, macro_project, stubbed_project
from sklearn.metrics import cohen_kappa_score

PEOPLE = make_people(200)
SIDES = {"left": PEOPLE.left, "right": PEOPLE.right}
SOURCES = [{"name": side, "model": f"people_{side}", "id": "key"} for side in SIDES]
# A stand-in for the teachers: whatever is asked is answered.
LABELS = """
    {{ config(materialized='table') }}
    select 'k' as label_key, left_source, left_id, 't' as teacher, {{ var('choice', '0') }} as choice
    from {{ ref('er_tuples') }}
    where {{ var('answers', 'true') }}
"""


def people(side: str, key: str) -> str:
    rows = ", ".join(
        "({}, '{}', {}, '{}')".format(i, p["name"], f"'{p['town']}'" if p["town"] else "null", p["born"])
        for i, p in enumerate(SIDES[side])
    )
    return f"select {key} as key, name, town, born from (values {rows}) as t(i, name, town, born)"


def made(folder: Path, *, key: str = "i", labels: bool = False, schema: str = "main", **variables: object) -> Project:
    models = {f"people_{side}": people(side, key) for side in SIDES}
    if labels:
        models["er_labels"] = LABELS
    return stubbed_project(
        folder,
        models=models,
        variables={
            "er_sources": SOURCES,
            "er_selection_share": 0.4,
            "er_selection_minimum": 0,
            **variables,
        },
        output={"schema": schema},
    )


def again(project: Project, **variables: str) -> None:
    """Select and label anew what is blocked and scored already."""
    project.run("run", "--select", "er_selection", "er_tuples", "er_labels", variables=variables)


def selected(project: Project, schema: str = "main") -> set[int]:
    return {left for (left,) in project.query(f'select left_id from "{schema}".er_selection')}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    built = made(tmp_path_factory.mktemp("selection"))
    built.run("build")
    return built


def test_random_goes_by_the_hash_of_id_and_seed(project: Project) -> None:
    asked = {left for (left,) in project.query("select left_id from er_candidates")}
    drawn = sorted(asked, key=lambda left: hashlib.md5(f"42:left:{left}".encode()).hexdigest())
    wanted = -(-len(asked) * 4 // 10)
    assert [left for (left,) in project.query("select left_id from er_selection order by rank")] == drawn[:wanted]
    assert project.query("select distinct strategy, score from er_selection") == [("random", None)]


def test_max_takes_the_most_and_the_least_similar_in_turns(project: Project) -> None:
    variables = {"er_selection_strategy": "max", "er_selection_share": 0.1}
    project.run("build", "--select", "er_selection", variables=variables)
    best = sorted(
        b for (b,) in project.query("select max(similarity) from er_candidates group by left_source, left_id")
    )
    scores = [score for (score,) in project.query("select score from er_selection order by rank")]
    half = (len(scores) + 1) // 2
    assert scores[::2] == best[::-1][:half]
    assert scores[1::2] == best[: len(scores) - half]


@pytest.mark.parametrize("strategy", ["top2", "kmeans", "hierarchical", "uncertain"])
def test_every_strategy_runs_and_is_reproducible(project: Project, strategy: str) -> None:
    variables = {"er_selection_strategy": strategy, "er_selection_bins": 5, "er_selection_rounds": 2, "er_seed": 3}
    rows = []
    for _ in range(2):
        project.run("build", "--select", "er_selection+", "er_candidates", variables=variables)
        rows.append(project.query("select * from er_selection order by rank"))
    assert rows[0] == rows[1]
    assert {row[2] for row in rows[0]} == {strategy}
    assert project.query("select count(*) from er_tuples") == [(len(rows[0]),)]


def test_a_wrong_setting_stops_before_anything_runs(project: Project) -> None:
    message = project.error("build", "--select", "er_candidates+", variables={"er_selection_strategy": "uncertian"})
    assert "did you mean uncertain? Allowed: random, max, top2, kmeans, hierarchical, uncertain." in message


def test_it_compiles_and_builds_empty(tmp_path: Path) -> None:
    empty = made(tmp_path, er_selection_strategy="uncertain")
    empty.run("compile")
    empty.run("build", "--empty")
    assert empty.query("select count(*) from er_selection") == [(0,)]
    empty.run("build")
    assert len(selected(empty)) > 0


@pytest.mark.parametrize("schema", ["main", "Odd Schema"])
def test_rounds_follow_the_student_until_the_share_is_reached(tmp_path: Path, schema: str) -> None:
    built = made(tmp_path, labels=True, schema=schema, er_selection_strategy="uncertain", er_selection_rounds=4)
    built.run("build")
    rounds = [selected(built, schema)]
    wanted = -(-len({left for (left,) in built.query(f'select left_id from "{schema}".er_candidates')}) * 4 // 10)
    assert len(rounds[0]) == -(-wanted // 4)
    built.run("build")
    for expected in (2, 3, 4, 4):
        if expected > 2:
            again(built)
        rounds.append(selected(built, schema))
        assert rounds[-1] >= rounds[-2]
        assert len(rounds[-1]) == min(wanted, expected * len(rounds[0]))
    assert rounds[-1] == rounds[-2]


def test_the_least_sure_are_asked(tmp_path: Path) -> None:
    """The stand-in for the student is as sure of a pair as it is similar."""
    built = made(tmp_path, labels=True, er_selection_strategy="uncertain", er_selection_rounds=2)
    built.run("build")
    before = selected(built)
    again(built)
    new = selected(built) - before
    lists = built.query("select left_id, list(choice_probability) from er_scores group by left_id")
    leads = {}
    for left, probabilities in lists:
        weights = sorted([1.0, *(p / (1 - p) if p < 1 else 1e9 for p in probabilities)], reverse=True)
        leads[left] = (weights[0] - weights[1]) / sum(weights)
    others = set(leads) - new - before
    assert np.mean([leads[left] for left in new]) < np.mean([leads[left] for left in others]) - 0.1
    scores = dict(built.query("select left_id, score from er_selection"))
    assert all(scores[left] == pytest.approx(1 - leads[left], abs=1e-6) for left in new)


def test_without_answers_no_round_is_used_up(tmp_path: Path) -> None:
    built = made(tmp_path, labels=True, er_selection_strategy="uncertain", er_selection_rounds=4)
    built.run("build", variables={"answers": "false"})
    first = selected(built)
    again(built, answers="false")
    assert selected(built) == first
    again(built)
    assert selected(built) == first
    again(built)
    assert len(selected(built)) == 2 * len(first)


@pytest.mark.parametrize("variables", [{"choice": "null::integer"}, {"answers": "left_id % 2 = 0"}])
def test_abstentions_and_failures_do_not_keep_rounds_from_being_added(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    built = made(tmp_path, labels=True, er_selection_strategy="uncertain", er_selection_rounds=4)
    built.run("build", variables=variables)
    counts = [len(selected(built))]
    for _ in range(8):
        again(built, **variables)
        counts.append(len(selected(built)))
    wanted = -(-len({left for (left,) in built.query("select left_id from er_candidates")}) * 4 // 10)
    assert counts[-1] == wanted
    if "choice" in variables:
        assert counts[3] == wanted, "an abstention is an answer"


def labels_are(built: Project, config: str) -> None:
    model = built.folder / "models" / "er_labels.sql"
    model.write_text(model.read_text().replace("'table'", config))


def test_the_labels_are_found_wherever_dbt_has_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    built = made(tmp_path, labels=True, er_selection_strategy="uncertain", er_selection_rounds=4)
    labels_are(built, "'table', schema='other', alias='answers'")
    built.run("build", variables={"answers": "false"})
    first = selected(built)
    assert built.query("select count(*) from main_other.answers") == [(0,)]
    with caplog.at_level("INFO"):
        again(built, answers="false")
    assert selected(built) == first, "nothing was answered"
    assert '"warehouse"."main_other"."answers"' in caplog.text
    assert "not there: –" in caplog.text


def test_without_a_table_of_labels_every_run_adds_a_round(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    built = made(tmp_path, labels=True, er_selection_strategy="uncertain", er_selection_rounds=4)
    labels_are(built, "'ephemeral'")
    with caplog.at_level("INFO"):
        built.run("build")
        first = selected(built)
        again(built)
    assert selected(built) > first
    there = ", ".join(f'"warehouse"."main"."{name}"' for name in ("er_selection", "er_scores"))
    assert f"uncertain reads {there}; not there: er_labels" in caplog.text
    assert "all that was selected before counts as answered" in caplog.text
    assert built.query("select round, count(*) from er_selection group by all order by 1")[1][0] == 2


@pytest.mark.parametrize("kind", ["uuid", "hugeint", "date"])
def test_ids_keep_a_type_that_arrow_does_not_know(tmp_path: Path, kind: str) -> None:
    key = {
        "uuid": "md5(i::varchar)::uuid",
        "hugeint": "i::hugeint + 170141183460469231731687303715884000000",
        "date": "date '2000-01-01' + i::integer",
    }[kind]
    built = made(tmp_path, key=key, labels=True, er_selection_strategy="uncertain")
    built.run("build")
    again(built)
    assert built.query("select distinct typeof(left_id) from er_selection") == [(kind.upper(),)]
    assert built.query("select count(*) from er_selection")[0][0] == built.query("select count(*) from er_tuples")[0][0]
    assert built.query("select count(*) filter (score is not null) > 10 from er_selection") == [(True,)]


# --- How teachers agree ---------------------------------------------------------------------------------------------


def random_labels() -> tuple[pa.Table, dict[str, dict[tuple[int, int], bool]]]:
    """Labels of three ways of asking, and what each teacher says of each pair that it judged."""
    rng = random.Random(8)
    rows, said = [], {name: {} for name in ("ann", "bob", "cid", "dot")}
    for left, teacher in itertools.product(range(150), said):
        ids = rng.sample([left * 10 + i for i in range(5)], 5)[: rng.randint(3, 5)]
        options = [{"source": "r", "id": i, "record": "{}"} for i in ids]
        label = {"left_source": "l", "left_id": left, "teacher": teacher, "options": options}
        if teacher == "dot":
            probabilities = [rng.choice([0.9, 0.6, 0.1, 0.5, None]) for _ in ids]
            judged = {(left, i): p > 0.5 for i, p in zip(ids, probabilities, strict=True) if p not in (None, 0.5)}
            rows.append({**label, "ask": "match", "choice": None, "probabilities": probabilities})
        else:
            choice = rng.choice([None, 0, 1, 1, 2])
            judged = {} if choice is None else {(left, i): n == choice for n, i in enumerate(ids, 1)}
            rows.append({**label, "ask": "select", "choice": choice, "probabilities": None})
        said[teacher] |= judged
    return pa.Table.from_pylist(rows), said


def test_agreement_and_kappa_are_those_of_sklearn(tmp_path: Path) -> None:
    labels, said = random_labels()
    pq.write_table(labels, tmp_path / "labels.parquet")
    built = macro_project(
        tmp_path / "project",
        models={
            "labels": f"select * from '{tmp_path}/labels.parquet'",
            "agreement": "{{ distiller_udf.er_teacher_agreement(ref('labels')) }}",
            "always": "select * replace (0 as choice, 'select' as ask) from {{ ref('labels') }}",
            "constant": "{{ distiller_udf.er_teacher_agreement(ref('always')) }}",
            "nobody": "{{ distiller_udf.er_teacher_agreement(ref('nothing')) }}",
            "nothing": "select * from {{ ref('labels') }} where choice > 100",
        },
    )
    built.run("run")
    rows = built.query("select teacher_a, teacher_b, pairs, agreement, kappa from agreement order by 1, 2")
    assert [row[:2] for row in rows] == list(itertools.combinations(sorted(said), 2))
    for one, other, pairs, agreement, kappa in rows:
        both = sorted(said[one].keys() & said[other].keys())
        a, b = ([said[name][pair] for pair in both] for name in (one, other))
        assert pairs == len(both) > 100
        assert agreement == pytest.approx(np.mean(np.equal(a, b)))
        assert kappa == pytest.approx(cohen_kappa_score(a, b))
    models = yaml.safe_load((ROOT / "models" / "er_models.yml").read_text())["models"]
    described = next(model for model in models if model["name"] == "er_teacher_agreement")["columns"]
    assert [column["name"] for column in described] == [name for name, *_ in built.query("describe agreement")]
    assert built.query("select distinct agreement, kappa from constant") == [(1.0, None)]
    assert built.query("select count(*) from nobody") == [(0,)]
