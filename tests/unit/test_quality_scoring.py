"""The benchmark's figures agree with the published definitions, which are written in SQL."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import numpy as np
import pytest

from benchmarks.quality import run_task, summary
from benchmarks.scoring import judge, one_to_one
from benchmarks.tasks import Task, find_tasks
from tests.unit.benchmark_task import write_task

# The scoring query of the benchmark's protocol, word for word but for its inputs.
PUBLISHED = """
with test as (select left_id, list(right_id) as options from candidates group by all),
gold as (select left_id, min(right_id) as right_id from gold_pairs group by all),
decision as (
    select left_id, any_value(right_id) as right_id from decisions where right_id is not null group by all
),
judged as (
    select case when list_contains(test.options, gold.right_id) then gold.right_id end as truth,
        decision.right_id as chosen
    from test left join gold using (left_id) left join decision using (left_id)
)
select
    avg((truth is not distinct from chosen)::double),
    coalesce(sum((chosen = truth)::int) / nullif(count(chosen), 0), 0),
    coalesce(sum((chosen = truth)::int) / nullif(count(truth), 0), 0)
from judged
"""


@pytest.mark.parametrize("seed", range(8))
def test_figures_agree_with_the_published_query(seed: int) -> None:
    rng = random.Random(seed)
    options = {i: rng.sample(range(100, 140), rng.randint(1, 6)) for i in range(1, 60)}
    gold = {i: rng.choice([*options[i], 999]) for i in options if rng.random() < 0.8}
    decisions = {i: rng.choice([*options[i], None]) for i in options if rng.random() < 0.9}
    with duckdb.connect() as connection:
        pairs = [(i, j) for i, found in options.items() for j in found]
        for name, rows in (
            ("candidates", pairs),
            ("gold_pairs", list(gold.items())),
            ("decisions", list(decisions.items())),
        ):
            connection.execute(f"create table {name} (left_id bigint, right_id bigint)")
            connection.executemany(f"insert into {name} values (?, ?)", rows)
        row = connection.execute(PUBLISHED).fetchone()
    assert row is not None
    accuracy, precision, recall = row
    found = judge(options, gold, decisions)
    assert (found.select_accuracy, found.precision, found.recall) == (accuracy, precision, recall)
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert found.pair_f1 == pytest.approx(expected)


def test_no_decisions_give_no_figures_but_zero() -> None:
    found = judge({1: [2]}, {1: 2}, {})
    assert (found.select_accuracy, found.precision, found.recall, found.pair_f1) == (0.0, 0.0, 0.0, 0.0)
    assert judge({}, {}, {}).queries == 0


@pytest.mark.parametrize("kind", ["number", "text"])
def test_a_task_runs_from_files_to_figures(tmp_path: Path, kind: str) -> None:
    folder = write_task(tmp_path / "data" / "people", "p-" if kind == "text" else None)
    assert find_tasks(tmp_path / "data") == [folder]
    task = Task.read(folder)
    judged, _ = task.unlabelled("some:1b", "random")
    assert sorted(set(judged.tolist())) == list(range(50, 80))
    result = run_task(task, "some:1b", "random", tmp_path / "student")
    assert result.select_accuracy > 0.9
    assert result.pair_f1 > 0.9
    figures = summary({"people": result})
    assert figures["mean"] == figures["tasks"]["people"]


def test_one_to_one_uses_each_record_once() -> None:
    chosen = one_to_one(["a", "a", "b", "c"], [1, 2, 1, 3], np.asarray([0.9, 0.5, 0.8, 0.1]), 0.3)
    assert chosen == [0]
    assert one_to_one(["a", "b"], [1, 2], np.asarray([0.9, np.nan]), 0.3) == [0]
