"""A student's card says what its manifest says, for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from distiller_udf.students import KINDS
from distiller_udf.students.base import StudentInfo
from distiller_udf.training.write import CARD, WHAT, model_card


def test_the_card_of_a_student_names_its_data_and_figures(student_folder: Path) -> None:
    info = StudentInfo.read(student_folder)
    card = (student_folder / CARD).read_text(encoding="utf-8")
    assert card == model_card(info, [path.name for path in student_folder.iterdir()])
    assert f"# Student {info.version}" in card
    assert "- Left records: `name`, `town`, `born`" in card
    assert "| teachers | test |" in card
    assert f"| answers | {info.trained_from['labels']} |" in card
    assert f"| a pair among all others | {info.expected('choice', 'precision')} |" in card
    assert "| ridge | 50.0 |" in card
    assert "no gold label was read in training" in card
    assert CARD in info.files


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_card(kind: str, student_folder: Path) -> None:
    info = StudentInfo.read(student_folder)
    origin = info.trained_from | ({"base_model": "org/base"} if kind != "lexical" else {})
    card = model_card(replace(info, kind=kind, trained_from=origin, settings={"note": "a|b"}))
    assert WHAT[kind] in card
    assert "| note | a\\|b |" in card
    assert ('base_model: "org/base"' in card) is (kind != "lexical")
    assert ("written to mislead" in card) is (kind == "llm")


def test_a_language_models_card_says_which_weights_are_there(student_folder: Path) -> None:
    info = replace(StudentInfo.read(student_folder), kind="llm")
    adapter, whole = (model_card(info, ["tokenizer", part]) for part in ("adapter", "model"))
    assert "`adapter/`, a LoRA adapter" in adapter
    assert "`model/`, all of them" in whole
    assert "`adapter/`" not in whole
