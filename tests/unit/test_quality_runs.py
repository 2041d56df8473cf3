"""The quality benchmark's protocol: gold is for judging alone, seeds and shares of labels do what they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from benchmarks.figures import over_seeds, summary
from benchmarks.quality import main
from benchmarks.runs import Decided, Result, Training, decide, drawn, judged, run_task
from benchmarks.tasks import Task
from distiller_udf.students import KINDS
from tests.unit.benchmark_task import write_task

ROOT = Path(__file__).parents[2]
LABELS = ("some:1b", "random")
FAST = Training(settings={"rounds": 20, "folds": 3})
QUICK = ["--teacher", LABELS[0], "--selection", LABELS[1], "--setting", "rounds=20", "--setting", "folds=3"]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def shuffle_gold(folder: Path) -> None:
    gold = pq.read_table(folder / "gold.parquet")
    order = pa.array(np.random.default_rng(1).permutation(len(gold)))
    pq.write_table(gold.set_column(1, "right_id", gold["right_id"].take(order)), folder / "gold.parquet")


def same(one: Decided, other: Decided) -> bool:
    pairs = ((one.left, other.left), (one.right, other.right), (one.choices, other.choices))
    return one.chosen == other.chosen and all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_task(tmp_path / "data" / "people")


@pytest.mark.slow
def test_gold_changes_neither_the_student_nor_its_decisions(folder: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled" / "people"
    shutil.copytree(folder, shuffled)
    shuffle_gold(shuffled)
    absent = tmp_path / "absent" / "people"
    shutil.copytree(folder, absent)
    (absent / "gold.parquet").unlink()
    tasks = {path: Task.read(path) for path in (folder, shuffled, absent)}
    decided = {
        path: decide(task, *LABELS, tmp_path / f"student-{i}", training=FAST)
        for i, (path, task) in enumerate(tasks.items())
    }
    assert files(tmp_path / "student-0") == files(tmp_path / "student-1") == files(tmp_path / "student-2")
    assert same(decided[folder], decided[shuffled])
    assert same(decided[folder], decided[absent])
    assert len(decided[folder].chosen) > 10
    # Judging does look: the same decisions are wrong by the wrong gold, and there is no judging without any.
    assert judged(tasks[folder], decided[folder]).select_accuracy > 0.9
    assert judged(tasks[shuffled], decided[shuffled]).select_accuracy < 0.5
    with pytest.raises(FileNotFoundError):
        judged(tasks[absent], decided[absent])


def test_derived_tasks_are_trained_without_gold_too(folder: Path, tmp_path: Path) -> None:
    (folder / "gold.parquet").unlink()
    decided = decide(Task.read(folder).thinned(0.3, 0), *LABELS, tmp_path / "student", training=FAST)
    assert decided.failure is None


@pytest.mark.slow
def test_the_same_labels_and_seed_give_the_same_student(folder: Path, tmp_path: Path) -> None:
    half = replace(FAST, label_share=0.5)
    runs = [decide(Task.read(folder), *LABELS, tmp_path / str(i), seed, half) for i, seed in enumerate((3, 3, 4))]
    assert files(tmp_path / "0") == files(tmp_path / "1")
    assert same(runs[0], runs[1])
    assert files(tmp_path / "0") != files(tmp_path / "2")
    assert not np.array_equal(runs[0].probabilities, runs[2].probabilities)


@pytest.mark.slow
def test_another_process_trains_the_same_student(folder: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from benchmarks.runs import Training, decide
from benchmarks.tasks import Task
quick = Training(settings={"rounds": 20, "folds": 3})
print(decide(Task.read(Path(sys.argv[1])), "some:1b", "random", Path(sys.argv[2]), training=quick).chosen)
"""
    said = []
    for number in (1, 2):  # sets of strings have another order in each
        environment = {**os.environ, "PYTHONHASHSEED": str(number)}
        command = [sys.executable, "-c", program, str(folder), str(tmp_path / str(number))]
        said.append(subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True).stdout)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert len(said[0]) > 10
    assert said[0] == said[1]


def test_a_share_draws_whole_tuples_by_seed() -> None:
    labels = pa.table({"left_id": [str(i // 2) for i in range(40)], "row": range(40)})
    half, fifth = drawn(labels, 0.5, 7), drawn(labels, 0.2, 7)
    assert (len(half), len(fifth)) == (20, 8)
    assert all(row ^ 1 in half["row"].to_pylist() for row in half["row"].to_pylist())
    assert set(fifth["left_id"].to_pylist()) < set(half["left_id"].to_pylist())
    assert drawn(labels, 0.5, 7) == half
    assert drawn(labels, 0.5, 8) != half
    assert drawn(labels, 1, 7) == labels
    assert len(drawn(labels, 0.001, 7)) == 2


def test_the_test_records_are_the_same_at_every_share(folder: Path, tmp_path: Path) -> None:
    task = Task.read(folder)
    runs = [decide(task, *LABELS, tmp_path / str(share), 0, replace(FAST, label_share=share)) for share in (1, 0.2)]
    assert [run.labelled_tuples for run in runs] == [50, 10]
    for run in runs:
        assert sorted(set(run.left.tolist())) == list(range(50, 80))
    assert runs[0].left.tolist() == runs[1].left.tolist()


def test_too_few_labels_decide_none_everywhere(folder: Path, tmp_path: Path) -> None:
    result = run_task(Task.read(folder), *LABELS, tmp_path / "student", 0, replace(FAST, label_share=0.02))
    assert result.labelled_tuples == 1
    assert result.failure is not None
    assert "too few" in result.failure
    # Every fifth record's match is no candidate: none is right there.
    assert result.select_accuracy == 6 / 30
    assert (result.pair_f1, result.precision, result.recall) == (0.0, 0.0, 0.0)
    assert (result.pair_calibration_error, result.choice_calibration_error) == (None, None)


def test_calibration_is_of_probabilities_against_gold(folder: Path) -> None:
    task = Task.read(folder)
    left, right = task.unlabelled(*LABELS)
    truth = (left == right).astype(float)
    assert 0 < truth.sum() < len(truth)
    decided = Decided(left, right, truth, np.full(len(left), 0.25), [], 50, 0.0, 1.0)
    result = judged(task, decided)
    assert result.pair_calibration_error == 0.0
    assert result.choice_calibration_error == pytest.approx(abs(0.25 - truth.mean()))


def test_means_and_spread_are_over_seeds() -> None:
    def result(accuracy: float, error: float | None, failure: str | None = None) -> Result:
        return Result(accuracy, accuracy / 2, 1.0, 1.0, error, error, 50, 1.0, 1.0, failure)

    by_seed = {
        4: {"a": result(0.8, 0.2), "b": result(0.6, 0.3)},
        5: {"a": result(0.9, 0.4), "b": result(0.1, None, "too few labels")},
    }
    figures = over_seeds(by_seed)
    assert figures["seeds"] == [4, 5]
    assert figures["tasks"]["a"]["select_accuracy"] == pytest.approx(0.85)
    assert figures["mean"]["select_accuracy"] == pytest.approx(0.6)
    assert figures["mean"]["pair_f1"] == pytest.approx(0.3)
    assert figures["tasks"]["b"]["pair_calibration_error"] == 0.3
    assert figures["spread"]["tasks"]["a"]["select_accuracy"] == pytest.approx(
        {"std": 0.1 / 2**0.5, "min": 0.8, "max": 0.9}
    )
    assert figures["spread"]["mean"]["pair_f1"] == pytest.approx({"std": 0.1 / 2**0.5, "min": 0.25, "max": 0.35})
    assert figures["failures"] == [{"task": "b", "seed": 5, "reason": "too few labels"}]
    assert [run["mean"] for run in figures["runs"]] == [summary(results)["mean"] for results in by_seed.values()]
    single = over_seeds({0: by_seed[4]})
    assert single["spread"]["mean"]["select_accuracy"] == pytest.approx({"std": 0.0, "min": 0.7, "max": 0.7})


def test_a_thinned_task_knows_nothing_of_what_was_dropped(folder: Path) -> None:
    task = Task.read(folder)
    thin = task.thinned(0.5, 2)
    assert (len(thin.right), len(thin.right_ids), len(thin.dropped)) == (40, 40, 40)
    assert thin.right_ids == [i for i in task.right_ids if i not in thin.dropped]
    records = dict(zip(task.right_ids, task.right.to_dicts(), strict=True))
    assert thin.right.to_dicts() == [records[i] for i in thin.right_ids]
    kept = [pair for pair in task.candidates.to_pylist() if pair["right_id"] not in thin.dropped]
    assert thin.candidates.to_pylist() == kept
    assert thin.gold() == {left: right for left, right in task.gold().items() if right not in thin.dropped}
    assert thin.thinned(0.5, 3).dropped > thin.dropped
    assert task.thinned(0.5, 2).right_ids == thin.right_ids
    assert task.thinned(0.5, 3).right_ids != thin.right_ids


def test_a_label_of_a_thinned_task_chooses_what_is_left(folder: Path) -> None:
    def chosen(label: dict[str, Any]) -> str | None:
        return label["options"][label["choice"] - 1]["id"] if label["choice"] else None

    task = Task.read(folder)
    thin = task.thinned(0.7, 0)
    labels, thinned = ({row["left_id"]: row for row in t.labels(*LABELS).to_pylist()} for t in (task, thin))
    dropped = {str(i) for i in thin.dropped}
    for left, label in labels.items():
        options = [option for option in label["options"] if option["id"] not in dropped]
        if options:
            assert thinned[left]["options"] == options
            assert chosen(thinned[left]) == (None if chosen(label) in dropped else chosen(label))
        else:
            assert left not in thinned
    moved = sum(0 < row["choice"] != labels[left]["choice"] for left, row in thinned.items())
    gone = sum(row["choice"] == 0 != labels[left]["choice"] for left, row in thinned.items())
    assert len(thinned) < len(labels)
    assert min(moved, gone) > 0
    # A left record stays labelled, and so out of the test, even where no option is left.
    assert set(thin.unlabelled(*LABELS)[0].tolist()) <= set(task.unlabelled(*LABELS)[0].tolist())


def test_an_answer_that_names_no_option_is_an_abstention(folder: Path) -> None:
    path = folder / "teacher_labels.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["answer"] = 9
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert Task.read(folder).labels(*LABELS)["choice"].to_pylist()[:1] == [None]


def test_the_command_measures_and_writes_all_figures(folder: Path, tmp_path: Path) -> None:
    (folder.parent / "paper_results.json").write_text("{}")
    arguments = ["--data", str(folder.parent), *QUICK, "--seed", "1", "--seeds", "2", "--json"]
    found = CliRunner(env={"COLUMNS": "80"}).invoke(main, [*arguments, str(tmp_path / "figures.json")])
    assert found.exit_code == 0, found.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["seeds"] == [1, 2]
    assert figures["mean"] == figures["tasks"]["people"]
    assert figures["mean"]["select_accuracy"] > 0.8
    assert set(figures["spread"]["mean"]) == {"select_accuracy", "pair_f1"}
    assert (figures["student"], figures["label_share"], figures["drop_right"]) == ("lexical", 1, 0)
    assert figures["settings"] == {"rounds": 20, "folds": 3}


@pytest.mark.slow
def test_the_command_measures_a_curve(folder: Path, tmp_path: Path) -> None:
    second = write_task(folder.parent / "a_rather_long_name")
    labels = pq.read_table(second / "teacher_labels.parquet")
    pq.write_table(labels.slice(0, 20), second / "teacher_labels.parquet")
    arguments = ["--data", str(folder.parent), *QUICK, "--seeds", "1", "--curve", "--drop-right", "0.2", "--json"]
    found = CliRunner(env={"COLUMNS": "100"}).invoke(main, [*arguments, str(tmp_path / "figures.json")])
    assert found.exit_code == 0, found.output
    assert "…" not in found.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    curve = figures["curve"]
    assert [point["label_share"] for point in curve] == [1, 0.5, 0.2, 0.05]
    assert curve[0]["tasks"] == figures["tasks"]
    counts = [point["tasks"]["people"]["labelled_tuples"] for point in curve]
    assert counts == sorted(counts, reverse=True)
    failures = [failure["task"] for failure in curve[-1]["failures"]]
    assert failures == ["a_rather_long_name", "people"]
    assert "too few: 1 of 1" in found.output
    assert "people, 0.05 of the labels, seed 0: too few" in " ".join(found.output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--curve", "--label-share", "0.5"], "leave out --label-share"),
        (["--label-share", "0"], "--label-share"),
        (["--drop-right", "1"], "--drop-right"),
        (["--student", "oracle"], "lexical"),
        (["--setting", "rounds"], "NAME=VALUE"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(folder: Path, arguments: list[str], message: str) -> None:
    found = CliRunner().invoke(main, ["--data", str(folder.parent), *QUICK, *arguments])
    assert found.exit_code == 2
    assert message in found.output


def test_every_kind_of_student_can_be_asked_for() -> None:
    option = next(p for p in main.params if p.name == "student")
    assert list(option.type.choices) == list(KINDS)
