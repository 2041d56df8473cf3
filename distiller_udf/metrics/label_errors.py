"""Labels that are likely wrong: those that contradict a student where it is never contradicted for its own sake.

The surer a student is, the rarer are its mistakes; those of the labels are as frequent everywhere. So the share of
contradictions that stays however sure the student is tells how often labels are wrong, and each label's chance of being
so follows from how sure the student is against it. It may as well be a mistake that the student makes with certainty:
figures by these labels are what it may be worth at best.
"""

from __future__ import annotations

import numpy as np

from distiller_udf.students.odds import logit, sigmoid

WRONG, RIGHT = 2.0, 38.0
"""The prior of the share of labels that are wrong, a beta distribution: 5 % on average, and never none."""

SPREAD = {"slope": 0.5, "offset": 1.0}
"""Standard deviations of the prior: of the slope's logarithm around 0 and of the offset around 0."""

STARTS = ((-2.2, -4.6), (-4.6, -2.2), (-4.6, -4.6))
"""Where the shares of errors are looked for from: matches denied, non-matches called one, hardly any of either."""


def chance_of_error(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The probability that each label is wrong, given what an unseeing student says of its pair.

    `probabilities` and `labels` are in [0, 1]; a label of a weight below 1 is a guess, and as good as none.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    log_odds = logit(probabilities)
    told = np.where(weights < 1, 0.0, weights)

    def shares(parameters: np.ndarray) -> tuple[np.ndarray, float, float]:
        """The probability of a match, the share of matches that are denied, of non-matches that are called one."""
        match = sigmoid(np.exp(parameters[0]) * log_odds + parameters[1])
        denied, invented = sigmoid(parameters[2:]) / 2
        return match, float(denied), float(invented)

    def loss(parameters: np.ndarray) -> float:
        match, denied, invented = shares(parameters)
        said = np.clip(invented + (1 - denied - invented) * match, 1e-9, 1 - 1e-9)
        likelihood = told @ (labels * np.log(said) + (1 - labels) * np.log(1 - said))
        prior = (parameters[0] / SPREAD["slope"]) ** 2 / 2 + (parameters[1] / SPREAD["offset"]) ** 2 / 2
        errors = np.array([denied, invented])
        prior -= ((WRONG - 1) * np.log(errors) + (RIGHT - 1) * np.log(1 - errors)).sum()
        return float(prior - likelihood)

    # Four numbers: several threads would wait for one another longer than they work.
    with threadpool_limits(1, user_api="blas"):
        tried = [minimize(loss, np.array([0.5, 0.0, *start]), method="L-BFGS-B") for start in STARTS]
    match, denied, invented = shares(min(tried, key=lambda found: found.fun).x)
    wrongly = {
        1: invented * (1 - match) / ((1 - denied) * match + invented * (1 - match)),
        0: denied * match / (denied * match + (1 - invented) * (1 - match)),
    }
    return np.where(weights < 1, 1.0, labels * wrongly[1] + (1 - labels) * wrongly[0])
