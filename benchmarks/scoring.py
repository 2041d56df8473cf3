"""How a benchmark task is decided and judged: the definitions of the published figures, in Python."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distiller_udf.metrics.figures import measures


@dataclass(frozen=True)
class Judgement:
    """Figures of one task: `select_accuracy` over left records, precision, recall and `pair_f1` over chosen pairs."""

    queries: int
    select_accuracy: float
    precision: float
    recall: float
    pair_f1: float


def judge(
    candidates: Mapping[Hashable, Sequence[Hashable]],
    gold: Mapping[Hashable, Hashable],
    decisions: Mapping[Hashable, Hashable | None],
) -> Judgement:
    """Judge one decision (a right id, or None) for each left record.

    `candidates`: left id → its candidates' ids; a true match that is not among them counts as none.
    """
    queries = len(candidates)
    chosen = matches = agreed = right = 0
    for left, options in candidates.items():
        truth = gold.get(left) if gold.get(left) in set(options) else None
        decision = decisions.get(left)
        agreed += truth == decision
        chosen += decision is not None
        matches += truth is not None
        right += decision is not None and decision == truth
    figures = {name: float(value) for name, value in measures(right, chosen, matches).items()}
    accuracy = agreed / queries if queries else 0.0
    return Judgement(queries, accuracy, figures["precision"], figures["recall"], figures["f1"])


def one_to_one(
    left: Sequence[Hashable], right: Sequence[Hashable], probabilities: np.ndarray, threshold: float
) -> list[int]:
    """Positions of the pairs that `er_matches` takes: the likeliest first, each record once, down to the threshold."""
    used_left: set[Hashable] = set()
    used_right: set[Hashable] = set()
    chosen = []
    for i in np.argsort(-np.asarray(probabilities), kind="stable"):
        if not probabilities[i] >= threshold:
            break
        if left[i] not in used_left and right[i] not in used_right:
            used_left.add(left[i])
            used_right.add(right[i])
            chosen.append(int(i))
    return chosen
