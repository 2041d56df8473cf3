"""A comparison of two students as tables for people."""

from __future__ import annotations

from distiller_udf.cli.console import print_facts, print_table, say
from distiller_udf.comparison import Comparison, Estimate, Figures


def print_comparison(found: Comparison) -> None:
    """What the students are worth, what would change, and what the rule says."""
    columns = ["", found.challenger, found.current or "(none)", "difference"]
    rows = [*_figures(found), *_gold(found)]
    if rows:
        held_out = f"{found.held_out.tuples:,} held-out tuples, {found.held_out.matches:,} with a match"
        print_table(f"By {held_out}; intervals of 95 %", columns, rows)
    if found.changes is not None:
        facts = {name.replace("_", " "): value for name, value in vars(found.changes).items() if name != "examples"}
        facts = {name: f"{value:.2%}" if isinstance(value, float) else value for name, value in facts.items()}
        print_facts("What changes downstream", facts)
        for what, pairs in found.changes.examples.items():
            for left, right in pairs:
                say(f"  {what}: {left} – {right}")
    for note in found.notes:
        say(f"Note: {note}.")
    for reason in found.reasons:
        say(f"- {reason}")


def _figures(found: Comparison) -> list[list[str]]:
    new, old, apart = found.judged, found.judged_current, found.difference
    if new is None:
        return []
    named = ("f1", "precision", "recall", "select_accuracy")
    rows = [
        [
            name.replace("_", " "),
            _estimate(getattr(new, name)),
            _estimate(getattr(old, name, None)),
            _estimate(getattr(apart, name, None), "+.3f"),
        ]
        for name in named
    ]
    for name in ("calibration_error", "log_loss"):
        rows.append([name.replace("_", " "), _number(new, name), _number(old, name), ""])
    return rows


def _gold(found: Comparison) -> list[list[str]]:
    gold = found.gold
    if gold is None:
        return []
    values = [_estimate(gold.challenger), _estimate(gold.current), _estimate(gold.difference, "+.3f")]
    return [[f"F1 against {gold.known:,} known matches", *values]]


def _estimate(estimate: Estimate | None, style: str = ".3f") -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:{style}} ({estimate.low:{style}} to {estimate.high:{style}})"


def _number(figures: Figures | None, name: str) -> str:
    return "" if figures is None else f"{getattr(figures, name):.3f}"
