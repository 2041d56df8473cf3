"""Blocking: python -m benchmarks.blocking --data DIR [--end-to-end] [--json FILE].

For every task under DIR the package's own models run in a dbt project with its default settings, and the candidate
pairs are compared with all gold pairs. Beside them: what the paper's blocking keeps, scikit-learn's neighbours with as
many pairs, and Splink's blocking and ours with the same rules of equality.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.blocking_peers import linked_pairs, sklearn_neighbours, splink_equality
from benchmarks.end_to_end import f1, matched, usual_labels
from benchmarks.tables import print_table
from benchmarks.tasks import Task, find_tasks
from benchmarks.warehouse import Warehouse

BUDGETS = (0.5, 1.0, 2.0)
"""Numbers of pairs at which recall is compared: so many times those of the paper."""

PAIRS = "select left_id, right_id from er_candidates"

WIDE = {
    "er_blocking_top_k": 30,
    "er_blocking_mode": "union",
    "er_blocking_share_of_best": 0,
    "er_max_candidates": None,
}
"""Settings that propose more than enough pairs, to be cut off anywhere."""

RANKED = """
    with named as (
        select left_id, right_id, similarity, left_source || left_id as a, right_source || right_id as b
        from er_candidates
    )
    select left_id, right_id
    from named
    order by
        similarity / greatest(
            max(similarity) over (partition by a), max(similarity) over (partition by b), 1e-9
        ) desc,
        similarity desc, left_id, right_id
"""
"""The pairs, the one first that is nearest to the best of both its records."""

Pair = tuple[Any, Any]
Row = dict[str, Any]


def measure(task: Task, paper: Mapping[str, Any], peers: bool) -> tuple[Row, list[Pair]]:
    """A task's figures, and the pairs that our default blocking proposes."""
    tables = {side: pq.read_table(task.folder / f"{side}.parquet") for side in ("left", "right")}
    gold = gold_pairs(task)
    pairs, seconds = ours(tables, {})
    row = _figures(pairs, seconds, gold)
    known = paper.get("pairs", {}).get(task.name, len(pairs))
    row["paper_pairs"], row["paper_recall"] = known, paper.get("recall", {}).get(task.name)
    ranked, _ = ours(tables, WIDE, RANKED)
    row["at"] = {str(times): recall(ranked[: round(times * known)], gold) for times in BUDGETS}
    if peers:
        row |= beside(tables, gold, known, len(pairs))
    return row, pairs


def beside(tables: Mapping[str, pa.Table], gold: set[Pair], known: int, count: int) -> Row:
    """The figures of other tools."""
    neighbours = sklearn_neighbours(tables["left"], tables["right"], 40)
    shared = [n for n in tables["left"].column_names if n in tables["right"].column_names and n != "id"]
    found, splink_seconds = splink_equality(tables["left"], tables["right"], [[name] for name in shared])
    rules = {"er_blocking": "rules", "er_blocking_rules": [f'"{name}"' for name in shared]}
    unbounded = {"er_blocking_max_block": 100_000, "er_max_candidates": None, "er_blocking_similarity": "ways"}
    equal, seconds = ours(tables, rules | unbounded)
    return {
        "sklearn_recall_with_as_many_pairs": recall(neighbours.pairs[:count], gold),
        "sklearn_at": {str(times): recall(neighbours.pairs[: round(times * known)], gold) for times in BUDGETS},
        "sklearn_seconds": neighbours.seconds,
        "splink_equality": _figures(linked_pairs(found), splink_seconds, gold),
        "our_equality": _figures(equal, seconds, gold),
    }


def _figures(pairs: Sequence[Pair], seconds: float, gold: set[Pair]) -> Row:
    return {"pairs": len(pairs), "recall": recall(pairs, gold), "seconds": seconds}


def ours(tables: Mapping[str, pa.Table], variables: Mapping[str, Any], query: str = PAIRS) -> tuple[list[Pair], float]:
    """The candidate pairs of two tables, and the seconds of all models from `er_records` to them."""
    with tempfile.TemporaryDirectory() as folder:
        named = {f"{side}_table": table for side, table in tables.items()}
        warehouse = Warehouse.create(Path(folder) / "project", named, variables=variables)
        seconds = sum(warehouse.dbt("run", "--select", "+er_candidates").values())
        with warehouse.connect() as connection:
            return [(a, b) for a, b in connection.execute(query).fetchall()], seconds


def recall(pairs: Sequence[Pair], gold: set[Pair]) -> float:
    """The share of the gold pairs that are among the pairs."""
    return len(gold.intersection(pairs)) / len(gold)


def gold_pairs(task: Task) -> set[Pair]:
    """All true pairs."""
    table = pq.read_table(task.folder / "gold.parquet").to_pydict()
    return set(zip(table["left_id"], table["right_id"], strict=True))


def show(tasks: Mapping[str, Row], console: Console) -> None:
    """Print the figures for people."""
    first = {
        name: [
            f"{row['pairs']:,}",
            f"{row['recall']:.3f}",
            f"{row['seconds']:.1f}",
            f"{row['paper_pairs']:,}",
            "" if row["paper_recall"] is None else f"{row['paper_recall']:.3f}",
            *(f"{row['at'][str(times)]:.3f}" for times in BUDGETS),
        ]
        for name, row in tasks.items()
    }
    headings = [
        "pairs",
        "recall",
        "seconds",
        "paper's\npairs",
        "recall",
        *(f"{times:g}x\nits pairs" for times in BUDGETS),
    ]
    print_table("Candidate pairs with the default settings", headings, first, console)
    peers = {name: _peers(row) for name, row in tasks.items() if "sklearn_at" in row}
    if peers:
        headings = [
            "scikit-learn,\nas many pairs",
            *(f"{t:g}x" for t in BUDGETS),
            "equality,\npairs",
            "Splink's",
            "s",
            "Splink",
        ]
        print_table("Peers: recall, and the pairs and seconds of equal values", headings, peers, console)
    if all("end_to_end_f1" in row for row in tasks.values()):
        cells = {name: [f"{row['end_to_end_f1']:.3f}", row["labels"]] for name, row in tasks.items()}
        cells["mean"] = [f"{sum(row['end_to_end_f1'] for row in tasks.values()) / len(tasks):.3f}", ""]
        print_table("End to end: F1 against all gold pairs", ["F1", "labels"], cells, console)


def _peers(row: Row) -> list[str]:
    mine, theirs = row["our_equality"], row["splink_equality"]
    return [
        f"{row['sklearn_recall_with_as_many_pairs']:.3f}",
        *(f"{row['sklearn_at'][str(times)]:.3f}" for times in BUDGETS),
        f"{mine['pairs']:,}",
        f"{theirs['pairs']:,}",
        f"{mine['seconds']:.2f}",
        f"{theirs['seconds']:.2f}",
    ]


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--end-to-end", is_flag=True, help="Also train the default student on recorded labels, and match.")
@click.option("--teacher", help="Whose recorded labels; default: the largest model's.")
@click.option("--selection", help="Which recorded selection; default: random, the package's own, where it is there.")
@click.option("--seed", default=0, show_default=True)
@click.option("--peers/--no-peers", default=True, show_default=True)
@click.option(
    "--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to this file."
)
def main(
    data: Path,
    end_to_end: bool,
    teacher: str | None,
    selection: str | None,
    seed: int,
    peers: bool,
    target: Path | None,
) -> None:
    """Measure blocking on every task under DATA."""
    console, progress = Console(), Console(stderr=True)
    known = data / "paper_results.json"
    paper = json.loads(known.read_text(encoding="utf-8")).get("blocking", {}) if known.is_file() else {}
    tasks: dict[str, Row] = {}
    for folder in find_tasks(data):
        task = Task.read(folder)
        with progress.status(task.name):
            row, pairs = measure(task, paper, peers)
            if end_to_end:
                labels = usual_labels(task, teacher, selection)
                row["labels"] = " ".join(labels)
                with tempfile.TemporaryDirectory() as trained:
                    found = matched(task, pairs, *labels, Path(trained) / "student", seed)
                row["end_to_end_f1"] = f1(found, gold_pairs(task))
        tasks[task.name] = row
    show(tasks, console)
    if target:
        target.write_text(json.dumps({"tasks": tasks}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
