"""Candidates beside the one that was chosen, where several may match: the choice does not say that they do not."""

from __future__ import annotations

import numpy as np


def with_unchosen(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The labels, those of candidates that were merely not chosen (of a weight below 1) being what they likely are.

    `probabilities` of having been chosen come from a model that took these for non-matches, and has not seen the pair.
    If it was left to chance which of several matches was chosen, matches are so in one share, and the chance of an
    unchosen one follows (Elkan and Noto 2008, "Learning classifiers from only positive and unlabeled data").
    """
    unchosen = weights < 1
    chosen = (labels >= 0.5) & ~unchosen
    if not unchosen.any() or not chosen.any():
        return labels
    share = np.average(probabilities[chosen])
    odds = probabilities / (1 - probabilities)
    return np.where(unchosen, np.clip((1 - share) / share * odds, 0.0, 1.0), labels)
