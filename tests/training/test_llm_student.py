"""An LLM student behind the same functions as every other one: scored, chosen, explained, loaded, refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import distiller_udf
from benchmarks.typo_task import label_table, save_small_llm
from distiller_udf.errors import SettingsError, StudentDamaged, StudentError
from distiller_udf.pipeline.scores import score
from distiller_udf.records import Records
from distiller_udf.registry import Registry
from distiller_udf.scoring import score_records
from distiller_udf.settings import Settings
from distiller_udf.students import load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.llm import LLMStudent, Serving, serving_of
from distiller_udf.students.llm.prompting import Prompt
from distiller_udf.students.odds import logit
from distiller_udf.training.versions import Recipe, publish_student
from tests.small_llm import QUICK, FakeEngine, needs_llm, weights_of

pytestmark = [pytest.mark.slow, needs_llm, pytest.mark.usefixtures("one_thread")]

NAMES = ["badofagu", "lilimemu", "rososeti", "zazuvive", "kokunupe"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model and, in a registry, a student that was fine-tuned a little."""
    folder = tmp_path_factory.mktemp("llm")
    save_small_llm(folder / "base", width=64, layers=2)
    labels, registry = label_table(30, seed=5), Registry(folder / "students")
    settings = {**QUICK, "model": str(folder / "base"), "rank": 4}
    made = publish_student(labels, registry, Recipe("llm", {**settings, "explanations": True}))
    registry.promote(made.info.version)
    publish_student(labels, Registry(folder / "students", "many"), Recipe("llm", {**settings, "constraint": "none"}))
    return folder


@pytest.fixture
def student(home: Path) -> LLMStudent:
    found = load_student(Registry(home / "students").current())
    assert isinstance(found, LLMStudent)
    return found


def fake(student: LLMStudent, says: Any) -> FakeEngine:
    engine = FakeEngine(student.prompter.tokenizer, says)
    student.__dict__["engine"] = engine
    return engine


def by_number(logit_of: Callable[[int], float]) -> Callable[[str, int], list[float]]:
    """An engine's answers that depend on the numbers in the candidates' names alone: n7 has the logit of 7."""
    return lambda text, labels: [0.0, *(logit_of(int(n)) for n in re.findall(r'\[[A-U]\] \{"name":"n(\d+)', text))]


def records(*names: str | None) -> Records:
    return Records.from_dicts([{"name": name} for name in names])


def test_a_tuple_is_one_question(student: LLMStudent) -> None:
    engine = fake(student, by_number(lambda number: float(number)))
    tuples = np.asarray([0, 0, 0, 1, 1])
    left = records("a", "a", "a", "b", "b")
    pair, choice = score_records(student, left, records(*[f"n{i}" for i in range(5)]), tuples)
    assert len(engine.asked) == 2
    expected = 1 / (1 + np.exp(-(student.weights.slope * np.arange(5) + student.weights.offset)))
    np.testing.assert_allclose(pair, expected)
    assert (choice <= pair).all()  # rivals only take


def test_pairs_by_themselves_are_questions_by_themselves(student: LLMStudent) -> None:
    engine = fake(student, lambda text, labels: [0.0, 1.0])
    student.score(records("a", "a", "b"), records("x", "y", "x"))
    assert len(engine.asked) == 3


def test_a_pair_by_itself_has_a_calibration_of_its_own(student: LLMStudent) -> None:
    """Without rivals a model answers otherwise: the thresholds of er_match belong to these answers."""
    fake(student, lambda text, labels: [0.0, 1.0])
    student.weights = replace(student.weights, slope=2.0, offset=0.5, alone_slope=3.0, alone_offset=-1.0)
    np.testing.assert_allclose(logit(student.score(records("a"), records("x"))), [2.0])
    np.testing.assert_allclose(logit(student.score_tuples(records("a"), records("x"), np.zeros(1, int))), [2.5])


def test_answers_that_are_no_numbers_are_no_decision(student: LLMStudent) -> None:
    fake(student, lambda text, labels: [np.nan] * labels)
    with pytest.raises(StudentError, match="answers are no numbers"):
        student.score(records("a"), records("x"))


def test_the_same_question_is_asked_once(student: LLMStudent) -> None:
    engine = fake(student, lambda text, labels: [0.0, 1.0])
    student.score(records(*["a"] * 5), records(*["x"] * 5))
    assert len(engine.asked) == 1


def test_copies_of_a_candidate_are_one(student: LLMStudent) -> None:
    engine = fake(student, lambda text, labels: [0.0, 2.0, 0.0][:labels])
    found = student.score_tuples(records(*["a"] * 3), records("x", "x", "y"), np.zeros(3, int))
    assert found[0] == found[1] != found[2]
    assert "[C]" not in engine.asked[0]


def test_the_order_of_the_rows_means_nothing(student: LLMStudent) -> None:
    left, right = records(*["badofagu"] * 5), records(*NAMES)
    turned = np.asarray([3, 1, 4, 0, 2])
    found = student.score_tuples(left, right, np.zeros(5, int))
    np.testing.assert_array_equal(student.score_tuples(left, right.take(turned), np.zeros(5, int)), found[turned])


def test_an_empty_record_has_no_probability(student: LLMStudent) -> None:
    engine = fake(student, lambda text, labels: [0.0, 1.0])
    found = student.score(records("a", None, "b"), records("x", "y", None))
    assert np.isnan(found).tolist() == [False, True, True]
    assert len(engine.asked) == 1


def test_scores_of_the_model_itself_do_not_depend_on_the_batch(student: LLMStudent) -> None:
    left, right = records(*NAMES), records(*[name[1:] * 3 for name in NAMES])
    together = student.score(left, right)
    alone = [student.score(left.take(np.asarray([i])), right.take(np.asarray([i])))[0] for i in range(len(NAMES))]
    np.testing.assert_allclose(logit(together), logit(np.asarray(alone)), atol=1e-4)


def test_log_odds_are_those_of_the_models_next_token(student: LLMStudent, home: Path) -> None:
    """Worked with transformers and peft alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from distiller_udf.prompts import Question, messages

    base = AutoModelForCausalLM.from_pretrained(home / "base")
    model = PeftModel.from_pretrained(base, student.folder / "adapter").eval()
    tokenizer = AutoTokenizer.from_pretrained(student.folder / "tokenizer")
    shown = ['{"name":"badofagu"}', '{"name":"badofgau"}', '{"name":"kokunupe"}']
    asked = messages(Question(shown[0], tuple(shown[1:]), "select", "token"))
    tokens = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        logits = model(**tokens).logits[0, -1]
    none, first, second = (logits[tokenizer.encode(label)[0]].item() for label in "0AB")
    raw = student.raw_log_odds(records("badofagu", "badofagu"), records("badofgau", "kokunupe"), np.zeros(2, int))
    np.testing.assert_allclose(raw, [first - none, second - none], atol=1e-4)


def test_the_sql_functions_work_unchanged(home: Path) -> None:
    connection = duckdb.connect()
    distiller_udf.register(connection, home / "students", serving=Serving(orders=2))
    (row,) = connection.sql("""
        select
            er_score(a, b), er_match(a, b), er_decide(a, b).student, er_select(a, [b, {'name': 'zuzu'}]),
            er_explain(a, b)
        from (select {'name': 'badofagu'} as a, {'name': 'badofgau'} as b)
    """).fetchall()
    info = StudentInfo.read(Registry(home / "students").current())
    assert row[0] is not None
    assert 0 < row[0] < 1
    assert row[1] is (row[0] >= info.threshold)
    assert row[2] == info.version
    assert sum(p for p in row[3]["probabilities"]) <= 1
    assert row[4].startswith(("A match", "No match"))
    assert " Reason: " in row[4]


def test_er_scores_has_whole_tuples(home: Path) -> None:
    connection = duckdb.connect()
    connection.execute("create table names as select unnest(range(5)) as id, unnest(?) as name", [NAMES])
    connection.execute("""
        create table pairs as
        select 'l' as left_source, l.id as left_id, 'r' as right_source, r.id as right_id,
            {'name': l.name} as left_record, {'name': r.name} as right_record,
            hash(l.id, r.id)::varchar as pair_fingerprint
        from names l, names r
    """)
    pairs = connection.table("pairs")
    student = load_student(Registry(home / "students").current())
    found = score(connection, pairs, student).order("left_id, right_id").fetchnumpy()
    left = records(*[name for name in NAMES for _ in NAMES])
    expected = student.score_tuples(left, records(*NAMES * 5), np.repeat(np.arange(5), 5))
    np.testing.assert_allclose(logit(found["probability"]), logit(expected), atol=1e-4)


def test_where_several_may_match_pairs_are_asked_about(home: Path) -> None:
    (version,) = Registry(home / "students", "many").names()
    student = load_student(Registry(home / "students", "many").path(version))
    assert isinstance(student, LLMStudent)
    assert student.weights.ask == "match"
    assert student.info.choice == {}
    engine = fake(student, lambda text, labels: [0.0, 1.0])
    student.score_tuples(records("a", "a"), records("x", "y"), np.zeros(2, int))
    assert len(engine.asked) == 2
    assert all("Reply with Y or N." in text for text in engine.asked)


def test_an_explanation_is_written_only_when_asked(student: LLMStudent, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = fake(student, lambda text, labels: [0.0, 20.0])
    monkeypatch.setattr(engine, "write", lambda *_: pytest.fail("nobody asked for a reason"))
    student.score_tuples(records("a"), records("x"), np.zeros(1, int))
    monkeypatch.undo()
    (sentence, empty) = student.explain(records("a", None), records("x", "y"), [True, True])
    assert sentence == "Reason: it is the same name"
    assert empty == "A record is empty, so there is nothing to compare."


def test_a_student_without_explanations_says_so(home: Path) -> None:
    (version,) = Registry(home / "students", "many").names()
    student = load_student(Registry(home / "students", "many").path(version))
    fake(student, lambda text, labels: [0.0, -20.0])  # type: ignore[arg-type]
    (sentence,) = student.explain(records("a"), records("x"), [False])
    assert sentence.startswith("Reason: this student was not trained with explanations")


def test_a_hundred_candidates_are_decided(student: LLMStudent) -> None:
    fake(student, by_number(lambda number: -abs(number - 42) / 10))
    names = [f"n{i}" for i in range(100)]
    found = student.score_tuples(records(*["q"] * 100), records(*names), np.zeros(100, int))
    assert found.argmax() == 42
    expected = -np.abs(np.arange(100) - 42) / 10
    np.testing.assert_allclose(logit(found), student.weights.slope * expected + student.weights.offset)


def test_a_base_model_that_moved_is_found_where_the_serving_says(home: Path, tmp_path: Path) -> None:
    moved = tmp_path / "students" / "default" / Registry(home / "students").current().name
    shutil.copytree(Registry(home / "students").current(), moved)
    state = json.loads((moved / "model.json").read_text())
    (moved / "model.json").write_text(json.dumps({**state, "base_model": str(tmp_path / "gone")}))
    info = StudentInfo.read(Registry(home / "students").current())
    info.write(moved)
    with pytest.raises(StudentError, match="which is not there; set er_llm_model"):
        load_student(moved).score(records("a"), records("b"))
    again = load_student(moved, serving_of(Settings.of({"llm_model": "base"}).placed(home)))
    assert np.isfinite(again.score(records("a"), records("b"))).all()
    save_small_llm(tmp_path / "other", width=32, layers=1)
    with pytest.raises(StudentError, match=r"the weights in .* are others"):
        load_student(moved, Serving(base_model=str(tmp_path / "other"))).score(records("a"), records("b"))


def test_a_folder_that_is_no_llm_student_is_refused(home: Path, tmp_path: Path) -> None:
    shutil.copytree(Registry(home / "students").current(), tmp_path / "student")
    info = StudentInfo.read(tmp_path / "student")
    (tmp_path / "student" / "model.json").write_text("{}")
    with pytest.raises(StudentDamaged, match=r"model\.json is altered"):
        load_student(tmp_path / "student")
    info.write(tmp_path / "student")
    with pytest.raises(StudentDamaged, match=r"the llm student at .* cannot be read"):
        load_student(tmp_path / "student")


def test_no_file_is_a_pickle(home: Path) -> None:
    folder = Registry(home / "students").current()
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert kinds <= {".safetensors", ".json", ".txt", ".jinja", ".md"}
    assert weights_of(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"llm_engine": "cloud"}, 'llm_engine is "cloud". Allowed: transformers, vllm, server'),
        ({"llm_orders": 0}, "llm_orders is 0"),
        ({"llm_engine": "server"}, "needs llm_base_url"),
    ],
)
def test_a_serving_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        serving_of(Settings.of(settings))


def test_a_reason_has_room_where_prompts_are_short(student: LLMStudent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the tokens at most, so that a long pair can be cut to fit beside it."""
    short = LLMStudent(student.info, student.folder, replace(student.weights, max_length=256), Serving())
    engine = fake(short, lambda text, labels: [0.0] * labels)
    room = []

    def write(prompts: Sequence[Prompt], max_tokens: int, end: int) -> list[str]:
        room.extend(len(prompt.tokens) + max_tokens for prompt in prompts)
        return ['{"explanation": "alike"}'] * len(prompts)

    monkeypatch.setattr(engine, "write", write)
    long = Records.from_texts([json.dumps({"name": " ".join(NAMES * 20)})])
    assert "alike" in short.explain(long, long, [True])[0]
    assert short.prompter.explanation_tokens == 64
    assert room[0] <= 256
