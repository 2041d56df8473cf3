"""How a tuple is asked about: which questions are made of it, and how their answers become one.

A model that reads a list has a liking for some positions in it. Asked in several orders, it likes different candidates
for that, and what it says of the records themselves remains. (Wang et al. 2023, "Large Language Models are not Fair
Evaluators", arXiv 2305.17926, call this balanced position calibration.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from distiller_udf.prompts.question import Answer, Ask, Question, Reply, why
from distiller_udf.prompts.token import MAX_TOKEN_CANDIDATES
from distiller_udf.records import content_hash

_TIE = 1e-9
_BARELY = 0.51


@dataclass(frozen=True)
class Posed:
    """One question of a tuple; its candidate i is the tuple's candidate `positions[i]`, counted from 0.

    A pair is `turned` where its question's query is the candidate, and its candidate the tuple's query.
    """

    question: Question
    positions: tuple[int, ...]
    turned: bool = False

    @property
    def places(self) -> tuple[int, ...]:
        """Which record of the tuple each of the question's is, the query's first: 0 is the tuple's query."""
        shown = (0, *(1 + position for position in self.positions))
        return shown[::-1] if self.turned else shown


@dataclass(frozen=True)
class Asking:
    """How a teacher is asked about a tuple.

    `ask`: `select` (the tuple at once) or `match` (every pair by itself, so that several candidates may match).
    `reply`: what a reply holds. `orders`: in how many orders the candidates are shown, at most as many as there are
    candidates: the given one, and turns of it drawn by `seed`; for `match`, two orders ask a pair both ways round.
    `justify`: the reason is asked for afterwards, in a question of its own. `justify_each`: so is, of every candidate,
    why it is the match or is not. What is allowed, the settings er_teacher_… say.
    """

    ask: Ask = "select"
    reply: Reply = "explanation"
    orders: int = 1
    seed: int = 42
    justify: bool = False
    justify_each: bool = False

    def pose(self, query: str, candidates: tuple[str, ...]) -> list[Posed]:
        """The questions of a tuple, the same ones each time; at least one, and none twice."""
        if self.ask == "match" and candidates:
            return [posed for i in range(len(candidates)) for posed in self._pair(query, candidates[i], i)]
        # One token names at most so many candidates; beyond them the answer is asked for as JSON.
        reply: Reply = "answer" if self.reply == "token" and len(candidates) > MAX_TOKEN_CANDIDATES else self.reply
        turns = self._turns(query, candidates)
        orders = [tuple((turn + i) % len(candidates) for i in range(len(candidates))) for turn in turns]
        return [Posed(Question(query, tuple(candidates[i] for i in order), "select", reply), order) for order in orders]

    def combine(self, candidates: int, posed: Sequence[Posed], answers: Sequence[Answer]) -> Answer:
        """One answer about a tuple with so many candidates from the answers to its questions, in the same order.

        It failed as long as one of them did: what is answered already is not asked again.
        """
        failed = next((answer for answer in answers if answer.failed), None)
        if failed is not None:
            return with_costs(replace(failed, choice=None, failed=True), answers)
        if len(posed) == 1 and posed[0].question.ask == "select":
            return answers[0]
        matching = posed[0].question.ask == "match"
        return with_costs((_matched if matching else _selected)(candidates, posed, answers), answers)

    def reasons(self, query: str, candidates: tuple[str, ...], choice: int | None) -> list[Posed]:
        """The questions for the reasons of an answer: that of the answer itself first, then those of each candidate."""
        if choice is None or not candidates:
            return []
        whole = [Posed(why(query, candidates, choice), tuple(range(len(candidates))))] if self.justify else []
        pairs = enumerate(candidates) if self.justify_each else ()
        return whole + [Posed(why(query, (text,), int(choice == i + 1)), (i,)) for i, text in pairs]

    def explained(self, answer: Answer, candidates: int, posed: Sequence[Posed], reasons: Sequence[Answer]) -> Answer:
        """The answer with the reasons that were given; without its reason it is still an answer."""
        given = [reason for reason in reasons if reason.explanation]
        told = with_costs(answer, [answer, *given])
        if self.justify and posed and reasons[0].explanation:
            told = replace(told, explanation=reasons[0].explanation)
        if self.justify_each and posed:
            each: list[str | None] = [None] * candidates
            for p, reason in list(zip(posed, reasons, strict=True))[int(self.justify) :]:
                each[p.positions[0]] = reason.explanation
            told = replace(told, explanations=tuple(each))
        return told

    def _pair(self, query: str, candidate: str, position: int) -> list[Posed]:
        asked = [Posed(Question(query, (candidate,), "match", self.reply), (position,))]
        if self.orders > 1 and query != candidate:
            asked.append(Posed(Question(candidate, (query,), "match", self.reply), (position,), turned=True))
        return asked

    def _turns(self, query: str, candidates: tuple[str, ...]) -> list[int]:
        """Where each order starts in the given one: turned, every candidate stands at another place in every order."""
        others = range(1, len(candidates))
        drawn = sorted(others, key=lambda turn: content_hash("order", str(self.seed), str(turn), query, *candidates))
        return [0, *drawn[: self.orders - 1]]


def _selected(candidates: int, posed: Sequence[Posed], answers: Sequence[Answer]) -> Answer:
    """The answers to several orders of one tuple, averaged over those that chose; more than half must agree."""
    usable = [(p, a) for p, a in zip(posed, answers, strict=True) if a.choice is not None]
    if not usable:
        return answers[0]
    shares = [0.0] * (candidates + 1)
    for p, answer in usable:
        for label, probability in enumerate(_distribution(answer, len(p.positions))):
            shares[p.positions[label - 1] + 1 if label else 0] += probability / len(usable)
    best = max(range(candidates + 1), key=shares.__getitem__)
    agree = sum(_original(p, answer) == best for p, answer in usable)
    # More than half of the orders, not the highest mean alone: who goes by the position is a little surer each time.
    if 2 * agree <= len(usable):
        return Answer(None, error=f"abstained: the answers to {len(usable)} orders of the candidates disagree")
    agreeing = (a.explanation for p, a in usable if a.explanation and _original(p, a) == best)
    return Answer(best, shares[best], tuple(shares[1:]), next(agreeing, None))


def _matched(candidates: int, posed: Sequence[Posed], answers: Sequence[Answer]) -> Answer:
    """The answers about a tuple's pairs: `probabilities` has one value a pair, None where nobody could say."""
    said: list[list[float]] = [[] for _ in range(candidates)]
    for p, answer in zip(posed, answers, strict=True):
        if answer.choice is not None:
            said[p.positions[0]].append(_yes(answer))
    pairs = [math.fsum(values) / len(values) if values else None for values in said]
    # As likely as not says nothing, exactly as no answer does.
    known = tuple(None if p is None or abs(p - 0.5) < _TIE else p for p in pairs)
    best = max(range(candidates), key=lambda i: -1.0 if (p := known[i]) is None else p)
    likeliest = known[best]
    if likeliest is not None and likeliest > 0.5:
        explanation = next((a.explanation for p, a in zip(posed, answers, strict=True) if p.positions == (best,)), None)
        return Answer(best + 1, likeliest, known, explanation)
    if None in known:
        reason = next(
            (a.error for a in answers if a.choice is None), "abstained: asked both ways round, answers differ"
        )
        return Answer(None, None, known, error=reason)
    return Answer(0, 1 - (likeliest or 0.0), known, next((a.explanation for a in answers if a.explanation), None))


def _distribution(answer: Answer, candidates: int) -> list[float]:
    """The probability of none and of every candidate; all on the choice where only that is known."""
    given = answer.probabilities
    if given is not None and len(given) == candidates and all(p is not None for p in given):
        known = [p for p in given if p is not None]
        return [max(0.0, 1 - math.fsum(known)), *known]
    return [1.0 if label == answer.choice else 0.0 for label in range(candidates + 1)]


def _yes(answer: Answer) -> float:
    """The probability of a match in the answer to a match question."""
    if answer.probabilities and answer.probabilities[0] is not None:
        return answer.probabilities[0]
    # A verdict stays one: some take the confidence for the probability of a match.
    sure = 1.0 if answer.confidence is None else max(answer.confidence, _BARELY)
    return sure if answer.choice else 1 - sure


def _original(posed: Posed, answer: Answer) -> int | None:
    return posed.positions[answer.choice - 1] + 1 if answer.choice else answer.choice


def with_costs(answer: Answer, answers: Sequence[Answer]) -> Answer:
    """The answer with what all of `answers` cost together; unknown where one of them is."""
    costs, given, made, seconds = (
        [getattr(a, name) for a in answers] for name in ("cost_usd", "input_tokens", "output_tokens", "seconds")
    )
    return replace(
        answer,
        cost_usd=None if None in costs else math.fsum(costs),
        input_tokens=None if None in given else sum(given),
        output_tokens=None if None in made else sum(made),
        seconds=None if None in seconds else math.fsum(seconds),
    )
