"""Blocking by embeddings: vectors that are kept, their nearest neighbours, and what is missing said in a sentence."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from dbt_harness import Project, stubbed_project

from distiller_udf.encoding.record_vectors import shortlists
from distiller_udf.errors import SettingsError
from tests.tiny_encoder import needs_encoder

needs_faiss = pytest.mark.skipif(find_spec("faiss") is None, reason="needs distiller-udf[encoder]")

SOURCES = [{"name": name, "model": name, "id": "id"} for name in ("a", "b")]
A = """
    select i as id, 'sound model ' || i || ' ' || chr(cast(97 + i % 26 as integer)) as name, null as note
    from range({{ var('first', 0) }}, 40) as t(i)
    union all
    select 99, null, null
"""
B = """
    select i as id, 'model ' || i || ' ' || chr(cast(97 + i % 26 as integer)) || ' sound' as name, 'fine' as note
    from range(50) as t(i)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: str) -> Project:
    variables = {
        "er_sources": SOURCES,
        "er_blocking": [{"embeddings": {"top_k": 3, "mode": "union"}}, {"equal": "name"}],
        "er_blocking_encoder": tiny_encoder,
        "er_blocking_columns": ["name"],
        "er_local_only": True,
    }
    made = stubbed_project(tmp_path_factory.mktemp("embeddings"), models={"a": A, "b": B}, variables=variables)
    made.run("run", "--select", "+er_candidates")
    return made


NAMED = {"expression": "name", "name": "embeddings"}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return stubbed_project(
        tmp_path_factory.mktemp("listed"), models={"a": A, "b": B}, variables={"er_sources": SOURCES}
    )


@pytest.mark.parametrize(
    "blocking",
    [
        "embeddings",
        {"embeddings": {"top_k": 3}},
        [{"equal": "note || '\\'"}, {"all": ["qgrams", {"all": [{"equal": "name"}, "embeddings"]}], "name": "both"}],
    ],
)
def test_a_way_by_embeddings_needs_their_models(listed: Project, blocking: Any) -> None:
    names = listed.run("ls", variables={"er_blocking": blocking})
    assert {"distiller_udf.er_embeddings", "distiller_udf.er_neighbours_by_embeddings"} <= set(names)


def test_what_only_speaks_of_embeddings_needs_no_models(listed: Project) -> None:
    blocking = [
        "tokens",
        {"equal": "note = 'embeddings'"},
        {"equal": 'note = "embeddings"'},
        {"equal": {"expression": "embeddings", "name": "of them"}},
        {"all": ["tokens", {"sorted": NAMED}], "name": "no embeddings"},
    ]
    names = listed.run("ls", variables={"er_blocking": blocking})
    assert "distiller_udf.er_candidates" in names
    assert not [name for name in names if "embeddings" in name]


@pytest.mark.parametrize(
    "variables",
    [{"er_blocking_rules": [NAMED]}, {"er_blocking": {"all": ["tokens", "qgrams"], "name": "embeddings"}}],
)
def test_a_way_of_another_kind_is_not_named_embeddings(listed: Project, variables: dict[str, Any]) -> None:
    message = listed.error("ls", variables=variables)
    assert "er_blocking has the name embeddings for a way of the kind" in message
    assert "give it another name, for tokens, qgrams, embeddings, minhash, equal, sorted, identical and all" in message


def _cosines(project: Project) -> np.ndarray:
    rows = project.query("select id, vector from er_embeddings where source = 'a' and vector is not null order by id")
    others = project.query("select id, vector from er_embeddings where source = 'b' order by id")
    return np.asarray([vector for _, vector in rows]) @ np.asarray([vector for _, vector in others]).T


@needs_encoder
@needs_faiss
def test_candidates_are_the_nearest_of_either(project: Project) -> None:
    cosines = _cosines(project)
    wanted = {(i, int(j)) for i, row in enumerate(cosines) for j in np.argsort(-row, kind="stable")[:3]}
    wanted |= {(int(i), j) for j, row in enumerate(cosines.T) for i in np.argsort(-row, kind="stable")[:3]}
    found = set(project.query("select left_id, right_id from er_candidates where 'embeddings' in blocked_by"))
    # Below the best, candidates that are far less alike are dropped; what is left is among the nearest.
    assert found <= wanted
    assert {left for left, _ in found} == set(range(40))
    assert project.query("select vector from er_embeddings where source = 'a' and id = 99") == [(None,)]
    scores = project.query(
        "select l.id, r.id, e.score from (select id, unnest(shortlist) as e from er_neighbours_by_embeddings "
        "where source = 'a') as l inner join er_neighbours_by_embeddings as r on l.e.n = r.n"
    )
    assert len(scores) == 40 * 5
    assert all(score == pytest.approx(1e6 * cosines[left, right], abs=2) for left, right, score in scores)


@needs_encoder
@needs_faiss
def test_only_what_changed_is_encoded_again(project: Project) -> None:
    marked = "update er_embeddings set vector = [0.5::float for x in vector] where id = 7"
    with duckdb.connect(str(project.database)) as connection:
        connection.execute(marked)
    project.run("run", "--select", "+er_candidates", variables={"first": 2})
    assert project.query("select count(*) from er_embeddings where source = 'a'") == [(39,)]
    assert project.query("select distinct list_max(vector) from er_embeddings where id = 7") == [(0.5,)]
    other = {"first": 2, "er_blocking_columns": ["name", "note"]}
    project.run("run", "--select", "+er_candidates", variables=other)
    assert project.query("select count(*) from er_embeddings where list_max(vector) = 0.5") == [(0,)]
    project.run("run", "--select", "+er_candidates", variables={"er_blocking_index": "hnsw"})
    assert project.query("select count(*) >= 38 from er_candidates") == [(True,)]


@needs_faiss
@pytest.mark.parametrize("task", ["link", "dedupe", "link_and_dedupe"])
@pytest.mark.parametrize("index", ["exact", "hnsw"])
def test_shortlists_are_the_nearest_that_the_task_allows(task: str, index: str) -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(300, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    sources = np.sort(rng.integers(1, 4, 300))
    numbers = np.arange(300) + 7
    found = shortlists(vectors, numbers, sources, task, 4, index)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    right = total = 0
    for i, listed in enumerate(found.to_pylist()):
        wanted = set()
        for source in (1, 2, 3):
            if task == "link_and_dedupe" or (source == sources[i]) == (task == "dedupe"):
                rows = np.flatnonzero(sources == source)
                best = rows[np.argsort(-cosines[i, rows], kind="stable")][:4]
                wanted |= {int(numbers[j]) for j in best if j != i}
        right += len(wanted & {entry["n"] for entry in listed})
        total += len(wanted)
        assert all(entry["score"] == entry["shared"] >= 0 for entry in listed)
        assert len(listed) == len(wanted)
    assert right == total if index == "exact" else right > 0.95 * total


@needs_faiss
def test_few_records_and_none() -> None:
    vectors = np.eye(3, dtype=np.float32)[[0, 0]]
    assert shortlists(vectors, np.asarray([1, 2]), np.asarray([1, 2]), "link", 8).to_pylist() == [
        [{"n": 2, "shared": 10**6, "score": 10**6}],
        [{"n": 1, "shared": 10**6, "score": 10**6}],
    ]
    nothing = np.empty(0, dtype=np.int64)
    assert shortlists(np.empty((0, 3), dtype=np.float32), nothing, nothing, "dedupe", 8) == pa.array(
        [], pa.list_(pa.struct([("n", pa.uint32()), ("shared", pa.int32()), ("score", pa.int32())]))
    )
    with pytest.raises(SettingsError, match="er_blocking_index"):
        shortlists(vectors, np.asarray([1, 2]), np.asarray([1, 2]), "link", 8, "fast")


def test_without_the_extra_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(SettingsError, match="needs faiss; install it with the extra encoder"):
        shortlists(np.eye(2, dtype=np.float32), np.asarray([1, 2]), np.asarray([1, 2]), "link", 2)
