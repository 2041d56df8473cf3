"""Figures of many runs: their mean over tasks, their mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from benchmarks.runs import Result

Figures = dict[str, Any]
Row = dict[str, float | None]

SPREAD = ("select_accuracy", "pair_f1")
"""The figures whose spread over seeds is told."""


def summary(results: Mapping[str, Result]) -> Figures:
    """One seed's figures by task and their mean over tasks."""
    tasks: dict[str, Row] = {
        name: {k: None if v is None else float(v) for k, v in vars(result).items() if k != "failure"}
        for name, result in results.items()
    }
    return {"tasks": tasks, "mean": _mean(tasks.values())}


def over_seeds(by_seed: Mapping[int, Mapping[str, Result]]) -> Figures:
    """Means over seeds in `tasks` and `mean`; beside them their `spread`, every run, and the runs without a student."""
    runs = {seed: summary(results) for seed, results in by_seed.items()}
    names = list(next(iter(by_seed.values())))
    tasks = {name: [run["tasks"][name] for run in runs.values()] for name in names}
    means = [run["mean"] for run in runs.values()]
    return {
        "seeds": list(runs),
        "tasks": {name: _mean(rows) for name, rows in tasks.items()},
        "mean": _mean(means),
        "spread": {"tasks": {name: spread(rows) for name, rows in tasks.items()}, "mean": spread(means)},
        "failures": [
            {"task": name, "seed": seed, "reason": result.failure}
            for seed, results in by_seed.items()
            for name, result in results.items()
            if result.failure
        ],
        "runs": [{"seed": seed, **run} for seed, run in runs.items()],
    }


def spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Standard deviation (of a sample; 0 for one run), lowest and highest value of the figures in SPREAD."""
    values = {name: [row[name] for row in rows] for name in SPREAD}
    return {name: {"std": stdev(v) if len(v) > 1 else 0.0, "min": min(v), "max": max(v)} for name, v in values.items()}


def _mean(rows: Iterable[Mapping[str, float | None]]) -> Row:
    """Each figure's mean over the rows that have it."""
    listed = list(rows)
    known = {name: [v for row in listed if (v := row[name]) is not None] for name in listed[0]}
    return {name: fmean(values) if values else None for name, values in known.items()}
