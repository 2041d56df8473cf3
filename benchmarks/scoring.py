"""How decisions on a benchmark task are judged: the definitions of the published figures, in Python."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass


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
    precision = right / chosen if chosen else 0.0
    recall = right / matches if matches else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return Judgement(queries, agreed / queries if queries else 0.0, precision, recall, f1)
