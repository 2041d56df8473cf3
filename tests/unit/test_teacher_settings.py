"""Teachers by their settings: one or several, under names that are theirs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from distiller_udf import pipeline
from distiller_udf.errors import SettingsError
from distiller_udf.labels import make_run
from distiller_udf.prompts import Asking
from distiller_udf.settings import Settings
from distiller_udf.settings.rules import rules
from distiller_udf.teachers import IMPORTED, TEACHERS, entries, make_teachers, voices

LLM = {"teacher": "openai", "teacher_model": "m", "teacher_base_url": "http://127.0.0.1:1/v1"}


def test_an_entry_is_laid_over_the_common_settings() -> None:
    settings = {**LLM, "teacher_reply": "answer", "seed": 7}
    first, second, third = make_teachers(
        Settings.of(
            {**settings, "teachers": [{"orders": 3}, {"model": "n", "reply": "token"}, {"teacher": "embedded"}]}
        )
    )
    assert (first.name, first.asking) == ("m", Asking(reply="answer", orders=3, seed=7))
    assert (second.name, second.asking) == ("n", Asking(reply="token", seed=7))
    assert third.name == "embedded"


def test_a_model_without_a_kind_means_a_server() -> None:
    (teacher,) = make_teachers(Settings.of({**LLM, "teacher": "embedded", "teachers": [{"model": "n"}]}))
    assert teacher.name == "n"


@pytest.mark.parametrize(
    "teachers",
    [
        [{"model": "m"}, {"model": "m", "reply": "token"}],
        [{"model": "m"}, {"teacher": "encoder", "model": "m", "encoder": "weights"}],
        [{"model": "m"}, {"teacher": "imported", "model": "m"}],
        [{"teacher": "imported", "model": "m"}, {"teacher": "imported", "model": "m"}],
    ],
)
def test_two_teachers_never_answer_under_one_name(teachers: list[dict[str, Any]]) -> None:
    with pytest.raises(SettingsError, match="two teachers answer under the name 'm'"):
        make_teachers(Settings.of({**LLM, "teachers": teachers}))


def test_a_name_of_its_own_tells_them_apart() -> None:
    teachers = make_teachers(
        Settings.of({**LLM, "teachers": [{"model": "m"}, {"model": "m", "reply": "token", "name": "m, short"}]})
    )
    assert [teacher.name for teacher in teachers] == ["m", "m, short"]


def test_imported_labels_of_all_are_not_limited_to_the_model_of_the_others() -> None:
    listed = entries(
        Settings.of(
            {**LLM, "teachers": [{"model": "m"}, {"teacher": "imported"}, {"teacher": "imported", "model": "x"}]}
        )
    )
    assert [entry.settings.teacher_model for entry in listed] == ["m", None, "x"]
    assert entries(Settings.of({**LLM, "teacher": "imported"}))[0].settings.teacher_model == "m"


def test_a_learner_speaks_with_its_base() -> None:
    (teacher,) = make_teachers(Settings.of({**LLM, "teacher": "encoder", "teacher_encoder": "weights"}))
    assert voices(teacher) == ["encoder of m", "m"]


def test_dollars_cannot_be_limited_where_any_price_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text('{"m": {"input": 1, "output": 1}}')
    settings = {**LLM, "teacher_prices": "prices.json", "budget_usd": 1}
    make_run(Settings.of(settings).placed(tmp_path))
    with pytest.raises(SettingsError, match="budget_usd needs the price of n"):
        make_run(Settings.of({**settings, "teachers": [{"model": "m"}, {"model": "n"}]}).placed(tmp_path))
    with pytest.raises(SettingsError, match="budget_usd needs the price of n"):
        make_run(
            Settings.of({**settings, "teachers": [{"teacher": "encoder", "model": "n", "encoder": "w"}]}).placed(
                tmp_path
            )
        )


def test_unanimous_needs_teachers_who_answer_the_same(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be unanimous"):
        make_run(
            Settings.of({**LLM, "teacher": "encoder", "teacher_encoder": "w", "vote": "unanimous"}).placed(tmp_path)
        )


def test_where_the_base_has_answered_the_encoder_has_no_second_vote(tmp_path: Path) -> None:
    """As after a change from the LLM alone to an encoder that learns from it."""
    settings = {**LLM, "teacher": "encoder", "teacher_encoder": "w", "vote": "majority", "label_store": "l.sqlite"}
    said = [(1, "m", 2), (1, "encoder of m", 1), (2, "encoder of m", 1), (3, "m", 1), (3, "someone else", 2)]
    with duckdb.connect() as session:
        session.execute("create table labels (left_id bigint, teacher varchar, choice integer)")
        session.executemany("insert into labels values (?, ?, ?)", said)
        labels = session.sql("""
            select teacher || left_id as label_key, 'l' as left_source, left_id, teacher, choice, 'r' as right_source,
                choice as right_id, 0.9::double as confidence, null::double[] as probabilities, null as explanation,
                null::double as cost_usd, null as error, 'q' || left_id as query,
                [{'source': 'r', 'id': 1::bigint, 'record': 'a'}, {'source': 'r', 'id': 2, 'record': 'b'}] as options
            from labels
        """)
        votes = pipeline.vote(session, labels, Settings.of(settings).placed(tmp_path)).order("left_id").fetchall()
        choice = [row[4] for row in votes]
    assert choice == [2, 1, 1], "the paid answer, the learned one, and nothing of who is not set"


def test_every_teacher_that_may_be_set_can_be_made() -> None:
    assert set(rules()["teacher"]["values"]) == {*TEACHERS, IMPORTED}
