"""The benchmark of blocking on generated persons: its command, its figures, and that gold is read last."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from benchmarks.blocking import main
from benchmarks.end_to_end import usual_labels
from benchmarks.people import people
from benchmarks.tasks import Task

PEERS = all(find_spec(name) is not None for name in ("sklearn", "splink"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one task, of which a teacher that is right has answered a hundred questions."""
    folder = tmp_path_factory.mktemp("tasks") / "people"
    folder.mkdir()
    made = people(400, seed=3)
    matches = dict(zip(made.gold["left_id"].to_pylist(), made.gold["right_id"].to_pylist(), strict=True))
    asked = [
        {
            "selection": "blocking_max",
            "teacher": "qwen2.5:32b",
            "left_id": left,
            "options": [(matches.get(left, left) + 1) % 400, *([matches[left]] if left in matches else [])],
            "answer": 2 if left in matches else 0,
        }
        for left in range(0, 400, 4)
    ]
    candidates = {"left_id": [row["left_id"] for row in asked], "right_id": [row["options"][0] for row in asked]}
    pq.write_table(made.left, folder / "left.parquet")
    pq.write_table(made.right, folder / "right.parquet")
    pq.write_table(made.gold, folder / "gold.parquet")
    pq.write_table(pa.table({**candidates, "split": ["train"] * len(asked)}), folder / "candidates.parquet")
    pq.write_table(pa.Table.from_pylist(asked), folder / "teacher_labels.parquet")
    return folder.parent


def test_figures_of_the_whole_way(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    done = CliRunner().invoke(
        main, ["--data", str(data), "--end-to-end", "--no-peers", "--json", str(target)], catch_exceptions=False
    )
    assert done.exit_code == 0
    row = json.loads(target.read_text())["tasks"]["people"]
    assert row["recall"] > 0.99
    assert row["pairs"] < 3 * 400
    assert row["at"]["2.0"] >= row["at"]["1.0"] >= row["at"]["0.5"] > 0.9
    assert row["end_to_end_f1"] > 0.95
    assert "End to end" in done.output
    assert row["labels"] == "qwen2.5:32b blocking_max"


def test_labels_are_those_of_the_default_selection_where_they_are_recorded(data: Path, tmp_path: Path) -> None:
    source = data / "people"
    folder = tmp_path / "people"
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    labels = pq.read_table(folder / "teacher_labels.parquet")
    others = [
        ("random", "small:8b"),
        ("random", "large:14b"),
        ("sampled", "large:70b"),
        ("blocking_max", "qwen2.5:32b"),
    ]
    rows = [{**labels.to_pylist()[0], "selection": selection, "teacher": teacher} for selection, teacher in others]
    pq.write_table(pa.Table.from_pylist(rows), folder / "teacher_labels.parquet")
    task = Task.read(folder)
    assert usual_labels(task, None, None) == ("large:14b", "random")
    assert usual_labels(task, "small:8b", None) == ("small:8b", "random")
    assert usual_labels(task, None, "sampled") == ("large:70b", "sampled")
    with pytest.raises(ValueError, match="people has no labels of nobody for any selection"):
        usual_labels(task, "nobody", None)


@pytest.mark.skipif(not PEERS, reason="the peers need scikit-learn and splink, of the extra bench")
def test_equality_proposes_what_splink_proposes(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    done = CliRunner().invoke(main, ["--data", str(data), "--json", str(target)], catch_exceptions=False)
    assert done.exit_code == 0
    row = json.loads(target.read_text())["tasks"]["people"]
    assert row["our_equality"]["pairs"] == row["splink_equality"]["pairs"] > 400
    assert row["our_equality"]["recall"] == row["splink_equality"]["recall"]
    assert row["sklearn_at"]["1.0"] > 0.9
