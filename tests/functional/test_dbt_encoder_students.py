"""The students that see records through a pretrained encoder, a tiny one of random weights, with real dbt."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_dbt_python_models import linked

from distiller_udf.registry import Registry
from tests.tiny_encoder import needs_encoder, save_tiny_encoder

SCORED = "select left_id, right_id, probability from er_scores order by all"


@needs_encoder
@pytest.mark.parametrize("kind", ["blend", "encoder"])
def test_a_student_with_an_encoder_answers_in_dbt_and_in_sql(tmp_path: Path, kind: str) -> None:
    """The folder of the encoder is relative to the dbt project; the student keeps weights of its own."""
    project = linked(tmp_path, er_student=kind, er_student_encoder="models/bert", er_local_only=True)
    (tmp_path / "models" / "bert").parent.mkdir(exist_ok=True)
    moved = (tmp_path / "models" / "bert", tmp_path / "elsewhere")
    save_tiny_encoder(moved[0])
    project.run("build", "--exclude", "by_function")
    assert project.query("select kind, is_current, labels from er_student") == [(kind, True, 60)]
    scored = project.query(SCORED)
    assert len({probability for *_, probability in scored}) > 10
    moved[0].rename(moved[1])
    project.run("run", "--select", "by_function")
    pairs, difference, matches = project.query(
        "select count(*), max(difference), count(*) filter (is_match) from by_function"
    )[0]
    assert (pairs, matches > 0) == (len(scored), True)
    assert difference < 1e-6
    assert project.query("select count(*) from er_choices") == [(len(scored),)]


@needs_encoder
def test_other_weights_in_the_same_folder_make_another_student(tmp_path: Path, tiny_encoder: str) -> None:
    project = linked(tmp_path, er_student="encoder", er_student_encoder=tiny_encoder)
    project.run("seed")
    project.run("run", "--select", "+er_student")
    project.run("run", "--select", "er_student", variables={"er_local_only": True})
    registry = Registry(tmp_path / "distiller" / "students")
    assert len(registry.versions()) == 1
    other = tmp_path / "other"
    save_tiny_encoder(other)
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    project.run("run", "--select", "er_student", variables={"er_student_encoder": str(other)})
    assert len(registry.versions()) == 2


def test_without_torch_the_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    message = linked(tmp_path, er_student="blend").error("build", "--exclude", "by_function")
    assert "pip install -c constraints.txt '.[encoder]'" in message
    assert_no_student(tmp_path)


@needs_encoder
def test_an_encoder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    project = linked(tmp_path, er_student="encoder", er_student_encoder="./gone/bert", er_local_only=True)
    assert "there is no encoder at ./gone/bert; er_student_encoder" in project.error(
        "build", "--exclude", "by_function"
    )
    assert_no_student(tmp_path)


@needs_encoder
def test_local_only_asks_no_hub_for_the_encoder(tmp_path: Path) -> None:
    variables = {"er_student": "encoder", "er_student_encoder": "nobody/nothing", "er_local_only": True}
    message = linked(tmp_path, **variables).error("build", "--exclude", "by_function")
    assert "the encoder 'nobody/nothing' cannot be loaded; give a local folder with safetensors" in message
    assert_no_student(tmp_path)


def assert_no_student(folder: Path) -> None:
    assert Registry(folder / "distiller" / "students").versions() == []
