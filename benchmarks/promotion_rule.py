"""What the rule of `distiller retrain` lets through: python -m benchmarks.promotion_rule [--repeats N]

Two students are simulated on held-out tuples, most of which they decide alike; where they differ, one of them is right.
The table says how often a challenger is promoted that is truly so much better or worse, for several risks allowed. The
risk 0.025 is what an interval of 95 % would ask for.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table

from distiller_udf.metrics.figures import Judged, difference
from distiller_udf.training.schedule.rule import Margins

ACCURACY, DIFFERENT = 0.9, 0.08
"""How often the current student finds a tuple's match, and on how many tuples the challenger decides otherwise."""

TUPLES = (20, 50, 100, 300, 1000)
BETTER = (-0.05, -0.02, 0.0, 0.02, 0.05)
RISKS = (0.025, 0.2, 0.5)


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400, help="simulated comparisons a cell")
    repeats = parser.parse_args().repeats
    table = Table("held-out tuples", "risk allowed", *(f"truly {better:+.2f}" for better in BETTER))
    for tuples in TUPLES:
        found = {better: risks(tuples, better, repeats) for better in BETTER}
        for allowed in RISKS:
            table.add_row(str(tuples), str(allowed), *(f"{(found[b] <= allowed).mean():.0%}" for b in BETTER))
    Console().print(table)


def risks(tuples: int, better: float, repeats: int) -> np.ndarray:
    """The risk that simulated comparisons find of a challenger that is better by so much."""
    rng = np.random.default_rng(42)
    margin = Margins().f1
    return np.asarray([difference(*students(tuples, better, rng), margin, seed=i).risk for i in range(repeats)])


def students(tuples: int, better: float, rng: np.random.Generator) -> tuple[Judged, Judged]:
    """A challenger and a current student; every tuple has one true pair, found or missed."""
    alike = rng.random(tuples) < (ACCURACY - DIFFERENT / 2) / (1 - DIFFERENT)
    differs = rng.random(tuples) < DIFFERENT
    challenger_is_right = rng.random(tuples) < 0.5 + better / (2 * DIFFERENT)
    new, old = np.where(differs, challenger_is_right, alike), np.where(differs, ~challenger_is_right, alike)
    ones = np.ones(tuples)
    return tuple(Judged(ones * 0.5, found, ones, ones, np.arange(tuples)) for found in (new, old))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
