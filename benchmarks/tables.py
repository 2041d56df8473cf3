"""Figures as tables that fit into 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.figures import SPREAD, Figures

Paper = dict[str, dict[str, dict[str, float]]]

PAPER_SYSTEMS = {"paper's 8B student": "sft_llama3.1_8b_from_qwen_32", "teacher": "teacher_qwen2.5_32b"}

MORE = {
    "precision": ("precision", ".3f"),
    "recall": ("recall", ".3f"),
    "ECE of\nscore": ("pair_calibration_error", ".4f"),
    "ECE of\nchoice": ("choice_calibration_error", ".4f"),
    "labelled\ntuples": ("labelled_tuples", ",.0f"),
    "training": ("train_seconds", ".1f"),
    "pairs/s": ("pairs_per_second", ",.0f"),
}
"""Heading of every other figure: its name, and how it is written."""


def show(figures: Figures, paper: Paper, console: Console) -> None:
    """Print the figures beside those of the paper's systems, their spread over seeds, and what else was measured."""
    tasks = list(figures["tasks"])
    rows = {**figures["tasks"], "mean": figures["mean"]}
    quality = {
        name: [both(row), *(_paper_cell(paper.get(key, {}), name, tasks) for key in PAPER_SYSTEMS.values())]
        for name, row in rows.items()
    }
    title = f"Select accuracy / pair F1, mean of the seeds {', '.join(map(str, figures['seeds']))}"
    print_table(title, ["student", *PAPER_SYSTEMS], quality, console)
    if len(figures["seeds"]) > 1:
        spread = {**figures["spread"]["tasks"], "mean": figures["spread"]["mean"]}
        cells = {name: [both_spreads(row, what) for what in ("std", "min", "max")] for name, row in spread.items()}
        print_table("The same, over seeds", ["standard deviation", "lowest", "highest"], cells, console)
    more = {name: [_figure(row[key], how) for key, how in MORE.values()] for name, row in rows.items()}
    print_table("Expected calibration error against gold, seconds, speed", list(MORE), more, console)


def show_failures(figures: Figures, console: Console) -> None:
    """Print which runs had too few labels for a student."""
    share = f"{figures['label_share']:g} of the labels"
    for failure in figures["failures"]:
        run = f"{failure['task']}, {share}, seed {failure['seed']}"
        console.print(f"{run}: too few, so no record is matched ({failure['reason']})", highlight=False)


def print_table(title: str, headings: Sequence[str], rows: Mapping[str, Sequence[str]], console: Console) -> None:
    """Print one row a task or case, and numbers on the right of their columns."""
    table = Table(title=title, box=SIMPLE, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)
    console.print()


def both(row: Mapping[str, float]) -> str:
    """Select accuracy and pair F1, as every table has them."""
    return " / ".join(f"{row[name]:.3f}" for name in SPREAD)


def both_spreads(row: Mapping[str, Mapping[str, float]], what: str) -> str:
    """The spread of select accuracy and pair F1: `std`, `min` or `max`."""
    return " / ".join(f"{row[name][what]:.3f}" for name in SPREAD)


def _figure(value: float | None, how: str) -> str:
    return "–" if value is None else format(value, how)


def _paper_cell(system: dict[str, dict[str, float]], name: str, tasks: list[str]) -> str:
    rows = [system[t] for t in (tasks if name == "mean" else [name]) if t in system]
    if not rows or (name == "mean" and len(rows) < len(tasks)):
        return "–"
    return both({key: sum(row[key] for row in rows) / len(rows) for key in SPREAD})
