"""Neighbours and similarities against plain Python: the cosines of rare words and q-grams, and who is near whom."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import duckdb
import pytest
from compiled import Compiled
from dbt_harness import in_steps

from distiller_udf.similarity.words import fold, parts, tokens

Record = tuple[str, int, str | None, str | None, str | None]
Pair = tuple[int, int]
SOURCES = ["a", "b", "c"]
TASKS = ("link", "dedupe", "link_and_dedupe")
MODES = ("mutual", "union", "left", "right")
TERMS = ("tokens", "qgrams")
TOP_K = {"tokens": 2, "qgrams": 3}


def _call(macro: str, **arguments: object) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return in_steps(f"{{{{ distiller_udf.{macro}({given}) }}}}")


def _models() -> dict[str, str]:
    """The search of every task, and candidates in every mode of it; a rule proposes what is not near as well."""
    numbered = "memory.main.numbered"
    rule = {"equal": "town"}
    models = {
        "numbered": "{{ distiller_udf.er_blocking_records('memory.main.records', sources="
        f"{SOURCES}, blocking={['auto', rule]}) }}}}",
    }
    for terms in TERMS:
        models[terms] = _call("er_terms", terms=terms, records="memory.main.records", blocking_records=numbered)
    for task in TASKS:
        for terms, top_k in TOP_K.items():
            models[f"{terms}_{task}"] = _call(
                "er_neighbours",
                terms=f"memory.main.{terms}",
                blocking_records=numbered,
                sources=SOURCES,
                task=task,
                top_k=top_k,
            )
        for mode in MODES:
            ways = [{terms: {"top_k": top_k, "mode": mode}} for terms, top_k in TOP_K.items()]
            models[f"{mode}_{task}"] = _call(
                "er_candidates",
                blocking_records=numbered,
                sources=SOURCES,
                terms={terms: f"memory.main.{terms}" for terms in TERMS},
                neighbours={terms: f"memory.main.{terms}_{task}" for terms in TERMS},
                task=task,
                blocking=[*ways, rule],
                share_of_best=0,
                max_candidates=None,
            )
    return models


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return Compiled(tmp_path_factory.mktemp("cosines"), _models())


WORDS = "ada alan grace edsger barbara john kay lin mary niklaus tony vint of the o".split()


def _records(rng: random.Random) -> list[Record]:
    """Names of common and rare words, towns that many share, notes that few have; some values are empty."""

    def text(most: int) -> str | None:
        words = [rng.choice(WORDS[: rng.choice((3, 15))]) for _ in range(rng.randrange(most))]
        words += [f"x{rng.randrange(40)}" for _ in range(rng.randrange(2))]
        return rng.choice((" ", ", ", "-")).join(words).title() or rng.choice(("", None))

    return [
        (source, number, text(5), rng.choice((None, " ", "Bern", "New York", text(2))), text(9))
        for source in SOURCES
        for number in range(rng.randrange(1, 45))
    ]


# The oracle: what the comment of _er_weights says, in plain Python.


def _level(count: int) -> int:
    """0 up to 3, 1 up to 15, 2 up to 63, and so on."""
    return int(math.log(max(count, 1), 4) + 1e-9)


def _exact(number: float, bits: int) -> float:
    return round(number * 2**bits) / 2**bits


def _terms_of(text: str | None, terms: str) -> set[str]:
    folded = fold(text or "")
    words = parts(folded).split()
    if terms == "tokens" or not words:
        return tokens(folded)
    spaced = f" {' '.join(words)} "
    return {spaced[start : start + 3] for start in range(len(spaced) - 2)}


def _weights(records: list[Record], terms: str) -> list[dict[str, float]]:
    """The weights of each record's terms, of length 1; in the order of the records."""
    fields = [[_terms_of(text, terms) for text in record[2:]] for record in records]
    common = Counter(term for columns in fields for term in set().union(*columns))
    size = _level(sum(any(columns) for columns in fields))
    weights = []
    for columns in fields:
        weight: dict[str, float] = Counter()
        for column in columns:
            idf = {term: max(size - _level(common[term]), 0) + 2**-12 for term in column}
            length = math.sqrt(sum(value * value for value in idf.values()))
            for term, value in idf.items():
                weight[term] += _exact(value / math.sqrt(length), 14)
        length = math.sqrt(sum(value * value for value in weight.values()))
        weights.append({term: _exact(value / length, 24) for term, value in weight.items()})
    return weights


def _cosines(records: list[Record], terms: str) -> dict[Pair, float]:
    """The cosine of every two records, by their numbers from 1."""
    weights = _weights(records, terms)
    return {
        (left + 1, right + 1): sum(weight * weights[right].get(term, 0) for term, weight in weights[left].items())
        for left, right in combinations(range(len(records)), 2)
    }


def _nearest(records: list[Record], cosines: Mapping[Pair, float], task: str, top_k: int) -> Iterator[Pair]:
    """Who has whom among its top k in a source, of those that share a term; of equals, to a millionth, the first."""
    for n, record in enumerate(records, 1):
        for source in SOURCES:
            if task != "link_and_dedupe" and (source == record[0]) != (task == "dedupe"):
                continue
            alike = {
                other: cosines[min(n, other), max(n, other)]
                for other, candidate in enumerate(records, 1)
                if other != n and candidate[0] == source
            }
            scored = sorted((-round(1e6 * cosine), other) for other, cosine in alike.items() if cosine > 0)
            yield from ((n, other) for _, other in scored[:top_k])


def _load(connection: duckdb.DuckDBPyConnection, records: list[Record]) -> None:
    connection.execute(
        "create table records "
        "(source varchar, id integer, fingerprint varchar, name varchar, town varchar, note varchar)"
    )
    for source, number, *texts in records:
        connection.execute("insert into records values (?, ?, 'f', ?, ?, ?)", [source, number, *texts])


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_and_similarities_are_those_of_plain_python(compiled: Compiled, seed: int) -> None:
    rng = random.Random(seed)
    records = _records(rng)
    cosines = {terms: _cosines(records, terms) for terms in TERMS}
    with duckdb.connect() as connection:
        _load(connection, records)
        for name in compiled.sql:
            compiled.run(connection, name)
        rows = connection.sql("select source, id, n from numbered").fetchall()
        numbers = {(source, number): n for source, number, n in rows}
        assert [numbers[record[:2]] for record in records] == list(range(1, len(records) + 1))
        for task in TASKS:
            proposed: dict[Any, set[Pair]] = {}
            for mode in MODES:
                rows = connection.sql(f"select * from {mode}_{task}").fetchall()
                for source, number, other_source, other_number, similarity, blocked_by in rows:
                    pair = numbers[source, number], numbers[other_source, other_number]
                    mean = sum(cosines[terms][pair] for terms in TERMS) / 2
                    assert similarity == pytest.approx(mean, abs=1e-5), pair
                    for way in blocked_by:
                        proposed.setdefault((mode, way), set()).add(pair)
            for terms, top_k in TOP_K.items():
                listed = set(_nearest(records, cosines[terms], task, top_k))
                left = {(n, other) for n, other in listed if n < other}
                right = {(other, n) for n, other in listed if n > other}
                assert left - right
                assert right - left
                assert proposed["left", terms] == left
                assert proposed["right", terms] == right
                assert proposed["mutual", terms] == left & right
                assert proposed["union", terms] == left | right
            near = proposed["union", "tokens"] | proposed["union", "qgrams"]
            assert proposed["mutual", "town"] - near, "a rule proposes what is not near, too"
