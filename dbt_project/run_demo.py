"""Run the example project with the real `dbt build` and say what came out: python dbt_project/run_demo.py"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from distiller_udf.prompts import Question, messages
from distiller_udf.teachers.prices import read_prices

PROJECT = Path(__file__).resolve().parent
DATABASE = PROJECT / "person_linkage.duckdb"
SUMMARY = PROJECT / "demo_summary.json"
REFERENCE_MODEL = "gpt-4o-mini"
"""The teacher here is free; the summary says what this model would have charged, at the prices in prices.json."""

CHARACTERS_PER_TOKEN, ANSWER_TOKENS = 4, 60

console = Console()


def main() -> int:
    """Build, measure, print and write the summary; the exit status is dbt's."""
    started = time.perf_counter()
    for command in (["deps"], ["build"]):
        status = subprocess.run(dbt(*command), cwd=PROJECT, env=environment(), check=False).returncode
        if status:
            console.print(f"dbt {command[0]} failed with status {status}; its output above says why", style="red")
            return status
    summary = summarise(time.perf_counter() - started)
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    show(summary)
    return 0


def dbt(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "dbt"), "--quiet" if arguments == ("deps",) else "--no-quiet", *arguments]


def environment() -> dict[str, str]:
    """dbt's settings of this run: its own profile, nothing sent anywhere."""
    return {**os.environ, "DBT_PROFILES_DIR": str(PROJECT), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}


def summarise(seconds: float) -> dict[str, Any]:
    """The figures of the run, read from the tables that dbt built."""
    with duckdb.connect(str(DATABASE), read_only=True) as warehouse:
        metrics = dict(warehouse.execute("select metric, value from er_metrics").fetchall())
        labels = warehouse.execute("select query, options, teacher, cost_usd from er_labels").fetchall()
        return {
            "records": count(warehouse, "er_records"),
            "candidate_pairs": count(warehouse, "er_candidates"),
            "blocking_recall": metrics["blocking_recall"],
            "labels": len(labels),
            "teachers": sorted({row[2] for row in labels}),
            "labels_cost_usd": sum(row[3] or 0.0 for row in labels),
            f"labels_cost_usd_{REFERENCE_MODEL}": estimated_cost([(row[0], row[1]) for row in labels]),
            "student": scalar(warehouse, "select student from er_student where is_current"),
            "precision": metrics["precision"],
            "recall": metrics["recall"],
            "f1": metrics["f1"],
            "entities": scalar(warehouse, "select count(distinct entity_id) from er_entities"),
            "seconds": round(seconds, 1),
            "seconds_by_step": step_seconds(),
        }


def estimated_cost(questions: list[tuple[str, list[dict[str, Any]]]]) -> float:
    """What an LLM would have charged in US dollars, at about four characters a token."""
    characters = 0
    for query, options in questions:
        question = Question(query, tuple(option["record"] for option in options))
        characters += sum(len(message["content"]) for message in messages(question))
    price = read_prices(PROJECT / "prices.json")[REFERENCE_MODEL]
    return price.cost(characters // CHARACTERS_PER_TOKEN, ANSWER_TOKENS * len(questions))


def step_seconds() -> dict[str, float]:
    """Seconds of each model, from dbt's own run results."""
    results = json.loads((PROJECT / "target" / "run_results.json").read_text(encoding="utf-8"))["results"]
    models = [result for result in results if result["unique_id"].startswith("model.")]
    return {result["unique_id"].split(".")[-1]: round(result["execution_time"], 2) for result in models}


def count(warehouse: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(scalar(warehouse, f"select count(*) from {table}"))  # noqa: S608 - our own table names


def scalar(warehouse: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = warehouse.execute(query).fetchone()
    return row[0] if row else None


def show(summary: dict[str, Any]) -> None:
    """Print the summary as a table, one line a figure, one a step."""
    table = Table(title="From two tables to entities", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    reference = f"about ${summary[f'labels_cost_usd_{REFERENCE_MODEL}']:.2f} from {REFERENCE_MODEL}"
    rows = {
        "records": f"{summary['records']:,}",
        "candidate pairs": f"{summary['candidate_pairs']:,}",
        "blocking recall": f"{summary['blocking_recall']:.4f}",
        "teacher's labels": f"{summary['labels']:,} by {', '.join(summary['teachers'])}",
        "their cost": f"${summary['labels_cost_usd']:.2f} ({reference})",
        "student": summary["student"],
        "precision / recall": f"{summary['precision']:.4f} / {summary['recall']:.4f}",
        "F1": f"{summary['f1']:.4f}",
        "entities": f"{summary['entities']:,}",
        "seconds in all": f"{summary['seconds']:.1f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    table.add_section()
    for step, seconds in summary["seconds_by_step"].items():
        table.add_row(step, f"{seconds:.2f} s", style="dim")
    console.print(table)
    files = [path.relative_to(PROJECT.parent) for path in (SUMMARY, DATABASE)]
    console.print(f"The same figures: {files[0]}\nThe tables: {files[1]}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
