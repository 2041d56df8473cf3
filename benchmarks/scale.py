"""Growth: python -m benchmarks.scale --rows N [--memory 6GB] [--json FILE].

Persons are generated, N a side and a tenth of that, and blocked by the package's own models with default settings,
under a limit of memory. Beside it, on the same data: Splink's blocking and ours with the same rules of equality. Then a
whole `dbt build`, of 100,000 a side at most, and the connected components of ten million matches.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.blocking_peers import splink_equality
from benchmarks.components import component_seconds
from benchmarks.people import People, people
from benchmarks.tables import print_table
from benchmarks.warehouse import Warehouse

BUILD_ROWS = 100_000
"""As many records a side are resolved from end to end at most."""

EDGES = 10_000_000
"""As many matches are put together to entities."""

NEW = 0.001
"""The share of the right records that arrive overnight."""

REPEATS = 3
"""How often our equality and Splink's take turns; the ratio is that of the fastest times."""

RULES = (("phone",), ("surname", "birth_date"), ("surname", "postcode"), ("first_name", "birth_date"))
"""Rules of equality as a practitioner would write them for persons."""

EQUALITY = {
    "er_blocking": "rules",
    "er_blocking_rules": [" || '|' || ".join(columns) for columns in RULES],
    "er_blocking_similarity": "ways",
    "er_blocking_max_block": 100_000,
    "er_max_candidates": None,
}
"""The settings under which our blocking is what Splink's is: all pairs with equal values, and no texts compared."""

Figures = dict[str, Any]


def blocking(made: People, memory: str, variables: Mapping[str, Any]) -> Figures:
    """Pairs, recall, seconds by model and the peak of memory (bytes) of all models up to `er_candidates`."""
    with tempfile.TemporaryDirectory() as folder:
        warehouse = _warehouse(made, folder, memory, variables)
        run = warehouse.measured("run", "--select", "+er_candidates")
        with warehouse.connect() as connection:
            connection.register("gold", made.gold)
            ((pairs, found),) = connection.execute(
                "select count(*), count(gold.left_id) from er_candidates left join gold using (left_id, right_id)"
            ).fetchall()
    seconds = {name: taken for name, taken in run.seconds.items() if name != "er_records"}
    return {
        "pairs": pairs,
        "recall": found / len(made.gold),
        "seconds": sum(seconds.values()),
        "seconds_by_model": seconds,
        "peak_memory": run.peak_memory,
    }


def equality(made: People, memory: str) -> Figures:
    """The same rules of equality in our blocking and in Splink's, in turns: seconds of each and their ratio.

    Ours are those of `er_blocking_records` and `er_candidates`. The other models are left empty by these settings, or
    count and warn, which Splink does not do here.
    """
    ours: list[Figures] = []
    theirs: list[tuple[int, float]] = []
    for _ in range(REPEATS):
        ours.append(blocking(made, memory, EQUALITY))
        found, seconds = splink_equality(made.left, made.right, RULES)
        theirs.append((found.num_rows, seconds))
    blocks = ("er_blocking_records", "er_candidates")
    our_seconds = min(sum(figures["seconds_by_model"][name] for name in blocks) for figures in ours)
    splink_seconds = min(taken for _, taken in theirs)
    return {
        "pairs": ours[0]["pairs"],
        "splink_pairs": theirs[0][0],
        "seconds": our_seconds,
        "splink_seconds": splink_seconds,
        "splink_ratio": our_seconds / splink_seconds,
    }


def increment(made: People, memory: str) -> Figures:
    """What a night costs: the seconds of blocking a few new records, beside those of all and those of none."""
    held_back = round(NEW * made.right.num_rows)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = _warehouse(People(made.left, made.right.slice(held_back), made.gold), folder, memory, {})
        whole = warehouse.dbt("run", "--select", "+er_candidates")
        with warehouse.connect() as connection:
            connection.register("new", made.right.slice(0, held_back))
            connection.execute("insert into right_table from new")
        night = warehouse.dbt("run", "--select", "+er_candidates")
        again = warehouse.dbt("run", "--select", "+er_candidates")
    return {
        "new_records": held_back,
        "seconds": sum(night.values()),
        "seconds_by_model": night,
        "seconds_of_all": sum(whole.values()),
        "seconds_without_news": sum(again.values()),
    }


def build(made: People, memory: str) -> float:
    """The seconds of a whole `dbt build`, its start-up included."""
    with tempfile.TemporaryDirectory() as folder:
        return _warehouse(made, folder, memory, {}).measured("build").wall_seconds


def _warehouse(made: People, folder: str, memory: str, variables: Mapping[str, Any]) -> Warehouse:
    tables = {"left_table": made.left, "right_table": made.right}
    return Warehouse.create(Path(folder) / "project", tables, variables, settings={"memory_limit": memory})


def growth_exponent(small: Figures, large: Figures, times: float) -> float:
    """The exponent b of seconds ~ rows^b, between two sizes that differ so many times."""
    return math.log(large["seconds"] / small["seconds"]) / math.log(times)


@click.command()
@click.option("--rows", type=click.IntRange(100), default=100_000, show_default=True, help="Records a side.")
@click.option("--memory", default="6GB", show_default=True, help="DuckDB's memory_limit.")
@click.option("--only", type=click.Choice(["blocking", "increment", "equality", "build", "components"]), multiple=True)
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
def main(rows: int, memory: str, only: tuple[str, ...], target: Path | None) -> None:
    """How blocking, a whole build and connected components grow with the data."""
    console = Console()
    figures: Figures = {"rows": rows, "memory_limit": memory}

    def wanted(part: str) -> bool:
        if only and part not in only:
            return False
        console.print(f"{part} ...", style="dim")
        return True

    made = people(rows)
    if wanted("blocking"):
        small = blocking(people(max(rows // 10, 10)), memory, {})
        large = blocking(made, memory, {})
        figures |= {"tenth": small, "blocking": large, "blocking_seconds": large["seconds"]}
        figures["peak_memory"] = large["peak_memory"]
        figures["growth_exponent"] = growth_exponent(small, large, rows / max(rows // 10, 10))
    if wanted("increment"):
        figures["increment"] = increment(made, memory)
        figures["increment_share"] = figures["increment"]["seconds"] / figures["increment"]["seconds_of_all"]
    if wanted("equality"):
        figures["equality"] = equality(made, memory)
        figures["splink_ratio"] = figures["equality"]["splink_ratio"]
    if wanted("build"):
        figures["build_rows"] = min(rows, BUILD_ROWS)
        figures["build_seconds"] = build(people(figures["build_rows"]), memory)
    if wanted("components"):
        figures["components_seconds"] = component_seconds(EDGES, memory)
    show(figures, console)
    if target is not None:
        target.write_text(json.dumps(figures, indent=2), encoding="utf-8")


def show(figures: Figures, console: Console) -> None:
    """Print the figures for people."""
    rows: dict[str, list[str]] = {}
    for name, part in (("a tenth", "tenth"), ("all", "blocking")):
        if part in figures:
            made = figures[part]
            peak = f"{made['peak_memory'] / 2**30:.1f}"
            rows[name] = [f"{made['pairs']:,}", f"{made['recall']:.3f}", f"{made['seconds']:.1f}", peak]
    if rows:
        heading = f"Blocking {figures['rows']:,} records a side, memory_limit {figures['memory_limit']}"
        print_table(heading, ["pairs", "recall", "seconds", "peak GiB"], rows, console)
    for name in ("growth_exponent", "increment_share", "splink_ratio", "build_seconds", "components_seconds"):
        if name in figures:
            console.print(f"{name}: {figures[name]:.2f}")


if __name__ == "__main__":
    main()
