"""Tuples of any size as questions of one token: heats and a final, orders averaged, answers as log odds.

The unit of all results is a candidate's log odds against none. Candidates that do not fit into one question meet in
heats. The best of each heat meet in a final, and the others keep their distance from the best of their own heat.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np

from distiller_udf.errors import StudentError
from distiller_udf.prompts import Asking, Posed
from distiller_udf.students.llm.engine import Engine
from distiller_udf.students.llm.prompting import Prompter, select

Tuple = tuple[str, Sequence[str]]
"""A left record and its distinct candidates, as canonical texts."""

Contest = Generator[list[Posed], list[np.ndarray], np.ndarray]
"""Gives questions, is sent the log-probabilities of their labels, and returns the log odds of the candidates."""


def log_odds(tuples: Sequence[Tuple], engine: Engine, prompter: Prompter, asking: Asking) -> list[np.ndarray]:
    """The log odds of each candidate of each tuple; all tuples' questions of one round go to the engine together."""
    results = [np.zeros(0)] * len(tuples)
    shown = [(prompter.readable(query), [prompter.readable(text) for text in texts]) for query, texts in tuples]
    contests = {i: _contest(*each, prompter, asking) for i, each in enumerate(shown) if len(each[1])}
    waiting = {i: next(contest) for i, contest in contests.items()}
    while waiting:
        prompts = [prompter.prompt(prompter.fitting(posed.question)) for asked in waiting.values() for posed in asked]
        answers = iter(_finite(engine.label_log_probabilities(prompts)))
        waiting = dict(_next_round(waiting, contests, answers, results))
    return results


def _finite(answers: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """The answers; raises StudentError where one is no number: it would read as a decision."""
    if not all(np.isfinite(answer).all() for answer in answers):
        raise StudentError(
            "the language model's answers are no numbers; its training has diverged, or its precision is too low here"
        )
    return answers


def _next_round(
    waiting: dict[int, list[Posed]],
    contests: dict[int, Contest],
    answers: Iterator[np.ndarray],
    results: list[np.ndarray],
) -> Iterator[tuple[int, list[Posed]]]:
    """What the contests ask next; the results of those that are over are put in their place."""
    for i, asked in waiting.items():
        try:
            yield i, contests[i].send([next(answers) for _ in asked])
        except StopIteration as end:
            results[i] = end.value


def _contest(query: str, candidates: Sequence[str], prompter: Prompter, asking: Asking) -> Contest:
    """The log odds of the candidates of one tuple."""
    groups = [range(len(candidates))] if asking.ask == "match" else prompter.heats(query, candidates)
    posed = [asking.pose(query, tuple(candidates[i] for i in group)) for group in groups]
    answers = iter((yield [question for heat in posed for question in heat]))
    heats = [_read(len(group), heat, [next(answers) for _ in heat]) for group, heat in zip(groups, posed, strict=True)]
    result = np.concatenate(heats)
    if len(groups) in (1, len(candidates)):  # no heats, or heats of one: not even two fit into a question
        return result
    best = _finalists(query, candidates, groups, heats, prompter)
    finalists = [candidates[i] for i in np.concatenate(best)]
    final: np.ndarray = yield from _contest(query, finalists, prompter, asking)
    return _after_final(result, groups, best, final)


def _finalists(
    query: str, candidates: Sequence[str], groups: Sequence[range], heats: Sequence[np.ndarray], prompter: Prompter
) -> list[np.ndarray]:
    """The best of every heat, as many of each as fit into one final together, one at least."""
    ranked = [group.start + np.argsort(-odds, kind="stable") for group, odds in zip(groups, heats, strict=True)]
    for each in range(max(1, prompter.candidates // len(groups)), 1, -1):
        best = [order[:each] for order in ranked]
        if prompter.fits(select(query, [candidates[i] for i in np.concatenate(best)])):
            return best
    return [order[:1] for order in ranked]


def _after_final(
    odds: np.ndarray, groups: Sequence[range], best: Sequence[np.ndarray], final: np.ndarray
) -> np.ndarray:
    """The odds of the heats, those of each heat moved by how far its best went in the final."""
    moved: np.ndarray = odds.copy()
    start = 0
    for group, winners in zip(groups, best, strict=True):
        moved[group.start : group.stop] += final[start] - odds[winners[0]]
        moved[winners] = final[start : start + len(winners)]
        start += len(winners)
    return moved


def _read(candidates: int, posed: Sequence[Posed], answers: Sequence[np.ndarray]) -> np.ndarray:
    """The log odds of so many candidates from the label log-probabilities of one or several questions about them."""
    said: list[list[float]] = [[] for _ in range(candidates)]
    none: list[float] = []
    for question, given in zip(posed, answers, strict=True):
        shares = given - np.logaddexp.reduce(given)
        none.append(float(shares[0]))
        for position, share in zip(question.positions, shares[1:], strict=True):
            said[position].append(float(share))
    if posed[0].question.ask == "match":
        # Every question is about one pair: yes against no.
        return np.asarray([_logit(_mean(values)) for values in said])
    return np.asarray([_mean(values) for values in said]) - _mean(none)


def _mean(log_probabilities: Sequence[float]) -> float:
    """The logarithm of the mean probability."""
    return float(np.logaddexp.reduce(log_probabilities) - np.log(len(log_probabilities)))


def _logit(log_probability: float) -> float:
    return float(log_probability - np.log(max(-np.expm1(min(log_probability, -1e-12)), 1e-12)))
