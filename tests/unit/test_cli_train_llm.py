"""`distiller train sft | dpo | grpo` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run, run_json

from benchmarks.typo_task import label_table, save_small_llm
from distiller_udf.registry import Registry
from distiller_udf.settings.training import FINE_TUNING
from distiller_udf.students.base import StudentInfo
from tests.small_llm import needs_llm

pytestmark = [pytest.mark.slow, needs_llm, pytest.mark.usefixtures("one_thread")]

QUICK = ("--max-length", 512, "--epochs", 1, "--batch", 4, "--micro-batch", 4, "--rank", 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    save_small_llm(folder / "base", width=64, layers=1)
    pq.write_table(label_table(16, seed=2), folder / "labels.parquet")
    return folder


def test_every_setting_is_an_option_of_its_method_with_what_it_is_and_may_be() -> None:
    for method, settings in FINE_TUNING.items():
        shown = " ".join(run("train", method, "--help").stdout.split())
        for name, field in settings.model_fields.items():
            if name in ("method", "constraint", "max_candidates"):
                continue
            option = "--from" if name == "start" else f"--{name.replace('_', '-')}"
            assert option in shown, (method, name)
            assert field.description, name
            assert field.description.split()[0] in shown


@pytest.mark.slow
def test_sft_then_dpo_and_grpo_from_it(home: Path) -> None:
    where = ("--labels", home / "labels.parquet", "--students", home / "students")
    first = run_json("train", "sft", *where, "--model", home / "base", *QUICK)
    assert (first["kind"], first["trained"], first["settings"]["rank"]) == ("llm", True, 2)
    registry = Registry(home / "students")
    assert registry.current_version() == first["version"]
    assert not run_json("train", "sft", *where, "--model", home / "base", *QUICK)["trained"]
    second = run_json("train", "dpo", *where, "--from", first["version"], *QUICK, "--steps", 1, "--no-promote")
    assert second["settings"]["start"] == first["version"]
    assert registry.current_version() == first["version"]
    few = ("--steps", 1, "--generations", 2, "--reply-tokens", 2)
    third = run_json("train", "grpo", *where, "--from", registry.path(second["version"]), *QUICK, *few)
    assert registry.current_version() == third["version"]
    assert len({first["version"], second["version"], third["version"]}) == 3
    shown = run("students", "show", third["version"][:9], "--students", home / "students").stdout
    assert "Made of" in shown


def test_it_starts_from_what_the_project_says(home: Path, tmp_path: Path) -> None:
    own = {"steps": 1, "max_length": 512, "batch": 4, "micro_batch": 4, "rank": 2, "learning_rate": 0.001}
    variables = {"er_llm_model": str(home / "base"), "er_llm_training": own, "er_seed": 7}
    where = ("--labels", home / "labels.parquet", "--students", tmp_path, "--vars", json.dumps(variables))
    found = run_json("train", "sft", *where, "--rank", 4, "--no-local-only")["settings"]
    assert found["model"] == "base"
    assert {name: found[name] for name in own} == {**own, "rank": 4}
    assert (found["seed"], found["method"], found["epochs"]) == (7, "sft", 3)
    # What is meant for sft is nothing for dpo, whose own default it would replace.
    found = run_json("train", "dpo", *where)["settings"]
    assert {name: found[name] for name in own} == {**own, "rank": 8, "learning_rate": 5e-6}
    wrong = json.dumps({"er_llm_training": {"epoch": 1}})
    said = run("train", "sft", *where[:4], "--vars", wrong, code=1).stderr
    assert 'er_llm_training has "epoch"; did you mean epochs? Allowed: seed' in said


def test_preferences_of_teachers_need_their_own_labels(home: Path, tmp_path: Path) -> None:
    where = ("--labels", home / "labels.parquet", "--students", tmp_path, "--model", home / "base", *QUICK)
    said = run("train", "dpo", *where, "--preferences", "disagreements", code=1).stderr
    assert "no tuple that teachers answered differently" in said
    wrong, right = label_table(16, seed=2, wrong=0.5), label_table(16, seed=2)
    pq.write_table(pa.concat_tables([wrong, right]), tmp_path / "both.parquet")
    where = ("--labels", tmp_path / "both.parquet", *where[2:], "--steps", 1)
    corrected = run_json("train", "dpo", *where, "--preferences", "corrections", "--corrected-by", "truth")
    assert corrected["settings"]["corrected_by"] == "truth"
    assert StudentInfo.read(Path(corrected["path"])).trained_from["teachers"] == ["truth", "unsure"]


def test_what_is_missing_is_said(home: Path) -> None:
    labels = ("--labels", home / "labels.parquet", "--students", home / "none")
    assert "name the base model with --model" in run("train", "sft", *labels, code=2).stderr
    assert "has no version llm-x" in run("train", "dpo", *labels, "--from", "llm-x", code=1).stderr
    assert "put the options behind sft" in run("train", *labels, "sft", "--model", home / "base", code=2).stderr
    gone = run("train", "sft", *labels, "--model", "./gone", code=1).stderr
    assert gone.startswith("Error: the language model './gone' cannot be loaded (there is no such folder here)")
    assert "Invalid value for '--schedule'" in run("train", "sft", *labels, "--schedule", "up", code=2).stderr
