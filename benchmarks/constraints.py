"""What comes of each constraint: python -m benchmarks.constraints [--seeds 3] [--only CASE] [--json FILE].

Generated persons go through a real `dbt build`, with one answer for each record that it asks about, of which a share is
wrong: one to one; many to one, each right record noted one, three and ten times; and no constraint, one table in which
persons are noted two to ten times. Beside what is true stands what the student lets expect of itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import click
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.people import copies, duplicates
from benchmarks.tables import print_table
from benchmarks.warehouse import Warehouse
from distiller_udf.constraint import Constraint
from distiller_udf.metrics.figures import measures

FIGURES = ("precision", "recall", "f1")

PAIRS = {
    "er_candidates": "select left_id, right_id from er_candidates",
    "er_matches": "select left_id, right_id from er_matches",
    "er_entities": """
        select a.id as left_id, b.id as right_id
        from er_entities as a inner join er_entities as b using (entity_id)
        where a.source < b.source or ($within and a.source = b.source and a.id < b.id)
    """,
}


@dataclass(frozen=True)
class Case:
    """A constraint, and how often a person is noted: on the left for each on the right, or in the only table."""

    constraint: Constraint
    notes: tuple[int, int]

    def tables(self, rows: int, seed: int) -> tuple[dict[str, pa.Table], pa.Table]:
        """The input tables by name, and the true pairs."""
        if not self.constraint.limits_left:
            table, gold = duplicates(rows, self.notes, seed)
            return {"left_table": table}, gold
        found = copies(rows, self.notes[0], seed)
        return {"left_table": found.left, "right_table": found.right}, found.gold

    @property
    def judged(self) -> str:
        """Where the decisions are that count: without a constraint it is entities that come of it."""
        return "er_matches" if self.constraint.limits_left else "er_entities"


CASES: Mapping[str, Case] = {
    "one to one": Case(Constraint.ONE_TO_ONE, (1, 1)),
    "many to one 1": Case(Constraint.MANY_TO_ONE, (1, 1)),
    "many to one 3": Case(Constraint.MANY_TO_ONE, (3, 3)),
    "many to one 10": Case(Constraint.MANY_TO_ONE, (10, 10)),
    "none 2 to 10": Case(Constraint.NONE, (2, 10)),
}

Found = dict[str, Any]


def measure(case: Case, rows: int, seed: int, wrong: float, folder: Path, variables: Mapping[str, Any]) -> Found:
    """Build the case in `folder`, a share `wrong` of its labels being so, and compare with the true pairs."""
    tables, gold = case.tables(rows, seed)
    settings = {"er_teacher": "imported", "er_seed": seed, "er_constraint": str(case.constraint), **variables}
    warehouse = Warehouse.create(folder, tables, settings)
    warehouse.dbt("run", "--select", "+er_tuples")
    with warehouse.connect() as connection:
        tuples = connection.sql(
            "select left_id, [c.id for c in candidates] as options from er_tuples order by left_source, left_id"
        ).to_arrow_table()
    labels = answers(tuples, gold, wrong, seed, either_way=not case.constraint.limits_left)
    pq.write_table(labels, folder / "labels.parquet")
    command = [str(Path(sys.executable).parent / "distiller"), "labels", "import", "labels.parquet"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    warehouse.dbt("build")
    with warehouse.connect() as connection:
        return {"labels": labels.num_rows, **judged(connection, gold, within=not case.constraint.limits_left)}


def answers(tuples: pa.Table, gold: pa.Table, wrong: float, seed: int, either_way: bool) -> pa.Table:
    """One answer a tuple, in the shape of imported labels; a share of them is another option, or none, than is right.

    Where several options are right, one of them is drawn. `either_way`: a true pair is one in either order.
    """
    rng = np.random.default_rng(seed)
    true = set(zip(gold["left_id"].to_pylist(), gold["right_id"].to_pylist(), strict=True))
    true |= {(right, left) for left, right in true if either_way}
    chosen = []
    for left, options in zip(*(tuples[name].to_pylist() for name in ("left_id", "options")), strict=True):
        right = [place for place, option in enumerate(options, 1) if (left, option) in true] or [0]
        others = sorted(set(range(len(options) + 1)) - set(right))
        chosen.append(int(rng.choice(others if others and rng.random() < wrong else right)))
    return tuples.append_column("answer", pa.array(chosen)).append_column("teacher", pa.array(["person"] * len(chosen)))


def judged(connection: duckdb.DuckDBPyConnection, gold: pa.Table, within: bool) -> Found:
    """What of the pairs of each table is right, and what the current student had let expect."""
    connection.register("gold", gold)
    figures: Found = {}
    for table, pairs in PAIRS.items():
        counts = connection.execute(
            f"with pairs as ({pairs}) select (select count(*) from pairs semi join gold using (left_id, right_id)), "
            "(select count(*) from pairs), (select count(*) from gold)",
            {"within": within} if "$within" in pairs else None,
        ).fetchall()[0]
        figures[table] = {name: float(value) for name, value in measures(*counts).items()}
        figures[table]["pairs"] = counts[1]
    ((metrics, *thresholds),) = connection.execute(
        "select metrics, threshold, choice_threshold from er_student where is_current"
    ).fetchall()
    return {**figures, "expected": json.loads(metrics), "thresholds": thresholds}


def show(found: Mapping[str, Sequence[Found]], console: Console) -> None:
    """The means over seeds, and beside them the intervals that were expected and how often they held."""
    true, expected = {}, {}
    for name, results in found.items():
        table = CASES[name].judged
        recall = mean(r["er_candidates"]["recall"] for r in results)
        true[name] = [f"{value:.3f}" for value in (recall, *(mean(r[table][f] for r in results) for f in FIGURES))]
        expected[name] = [_expected(results, table, figure) for figure in FIGURES]
    print_table("What is true, mean of the seeds", ["blocking recall", *FIGURES], true, console)
    print_table("The interval expected, and how many hold what is true", FIGURES, expected, console)


def _expected(results: Sequence[Found], table: str, figure: str) -> str:
    """The mean interval, and in how many results it holds what is true."""
    ends = [[r["expected"][f"choice_{figure}_{end}"] for end in ("low", "high")] for r in results]
    held = sum(low <= r[table][figure] <= high for r, (low, high) in zip(results, ends, strict=True))
    low, high = (mean(each) for each in zip(*ends, strict=True))
    return f"{low:.3f}–{high:.3f} ({held} of {len(results)})"


@click.command()
@click.option("--rows", default=600, show_default=True, help="Records on the left, or in the only table.")
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.option("--seeds", default=1, show_default=True, help="How many seeds from there.")
@click.option("--wrong", default=0.05, show_default=True, help="The share of wrong labels.")
@click.option("--only", type=click.Choice(list(CASES)), multiple=True, help="A case; repeatable.")
@click.option("--vars", "variables", default="{}", help="More er_* variables, as JSON.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
def main(
    rows: int, seed: int, seeds: int, wrong: float, only: Sequence[str], variables: str, json_file: Path | None
) -> None:
    """Build every case with every seed, and show what is true beside what was to be expected."""
    console = Console()
    found: dict[str, list[Found]] = {}
    for name in only or CASES:
        found[name] = []
        for each in range(seed, seed + seeds):
            with console.status(f"{name}, seed {each}"), tempfile.TemporaryDirectory() as staged:
                folder = Path(staged) / "project"
                found[name].append(measure(CASES[name], rows, each, wrong, folder, json.loads(variables)))
    show(found, console)
    if json_file:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
