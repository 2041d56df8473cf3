"""Quality by the share of the labels that a student learns: what `benchmarks.quality --curve` adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console

from benchmarks.figures import Figures
from benchmarks.tables import both, both_spreads, print_table

SHARES = (1.0, 0.5, 0.2, 0.05)


def measure_curve(measure: Callable[[float], Figures]) -> list[Figures]:
    """What `measure` finds at each share; the test records are the same at all of them."""
    return [{"label_share": share, **measure(share)} for share in SHARES]


def show_curve(curve: Sequence[Figures], console: Console) -> None:
    """Print tasks by shares: the means over seeds, their standard deviations, the tuples learnt, and failures."""
    title = "Select accuracy / pair F1 by share of the labels, ± over seeds, labelled tuples"
    rows = {name: [_cell(figures, name) for figures in curve] for name in [*curve[0]["tasks"], "mean"]}
    print_table(title, [f"{figures['label_share']:g}" for figures in curve], rows, console)


def _cell(figures: Figures, name: str) -> str:
    row, spread = (part["mean"] if name == "mean" else part["tasks"][name] for part in (figures, figures["spread"]))
    lines = [both(row), f"±{both_spreads(spread, 'std')}"]
    failed = sum(failure["task"] == name for failure in figures["failures"])
    if name != "mean":
        lines.append(f"{row['labelled_tuples']:.0f}")
    if failed:
        lines.append(f"too few: {failed} of {len(figures['seeds'])}")
    return "\n".join(lines)
