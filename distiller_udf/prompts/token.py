"""Answers of one token: its name for every choice, and the probabilities behind it.

A model that has to answer with one token shows, in the log-probabilities of that token, how likely it holds each
candidate to be the answer: a whole distribution for the price of one token.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from distiller_udf.errors import SettingsError
from distiller_udf.prompts.question import Answer, Question
from distiller_udf.prompts.reading import Form, abstained, decided

MAX_TOKEN_CANDIDATES = 19
"""Servers give at most 20 log-probabilities a token (OpenAI; vLLM by default): 19 candidates and none."""

MIN_MASS = 0.5
"""With less probability than this on all labels together, the model wanted to say something else."""

_NONE = "0"
_LETTERS = "ABCDEFGHJKLMNPQRSTU"  # no I, with which many a refusal begins, and no O, which looks like 0
_BEFORE, _AFTER = r"[\[(▁Ġ]*", r"[\]):,.]*"
"""What tokenizers and models put around a label, beside quotes: the marks that stand for space, brackets, a stop."""


def token_labels(question: Question) -> tuple[str, ...]:
    """The one-token names of none (or no) and of every candidate (or yes), in this order.

    Raises SettingsError where there are more candidates than `MAX_TOKEN_CANDIDATES`.
    """
    if question.ask == "match":
        return ("N", "Y")
    n = len(question.candidates)
    if n > MAX_TOKEN_CANDIDATES:
        raise SettingsError(
            f"one token tells at most {MAX_TOKEN_CANDIDATES} candidates apart, but this question has {n}; ask about "
            "every pair by itself, or for another reply"
        )
    return (_NONE, *_LETTERS[:n])


def read_token(text: str | None, logprobs: Mapping[str, float] | None, question: Question) -> Answer:
    """Read a reply of one token; never raises for what a server sent.

    `logprobs`: natural log-probabilities of that token, by its text. All writings of one label are summed and the sums
    divided by their total. A tie, a reply that is no label, or labels that have less than `MIN_MASS` together abstain.
    Without log-probabilities the label is read from `text`, and no probability is known.
    """
    labels = token_labels(question)
    form = _form(labels)
    if (text and text.strip()) or not logprobs:
        said = decided(text, form)
        if said.abstained or not logprobs:
            return said
    masses = _masses(logprobs, form)
    total = math.fsum(masses)
    if total < MIN_MASS:
        return abstained(
            f"the labels have a probability of {total:.2f} together; the model wanted to say something else"
        )
    probabilities = [mass / total for mass in masses]
    best = max(probabilities)
    if probabilities.count(best) > 1:
        tied = " and ".join(label for label, p in zip(labels, probabilities, strict=True) if p == best)
        return abstained(f"{tied} are equally likely")
    return Answer(probabilities.index(best), confidence=best, probabilities=tuple(probabilities[1:]))


@lru_cache(maxsize=64)
def _form(labels: tuple[str, ...]) -> Form:
    """A label, or the words yes, no and none; small letters too."""
    written = {label.lower(): i for i, label in enumerate(labels)}
    # Where N is a candidate, it may be the beginning of "none" as well.
    written |= {"no": 0, "yes": 1} if "Y" in labels else {} if "N" in labels else {"none": 0}
    words = "|".join(sorted(written, key=len, reverse=True))
    return Form(
        names=("answer",),
        words=rf"{_BEFORE}(?:{words}){_AFTER}",
        read=lambda word: written[word.strip("[](▁Ġ):,.").lower()],
        literal=lambda _: None,
        last=len(labels) - 1,
        called=lambda label: labels[label],
        nothing="the reply is none of the labels",
        label="(?!)",  # no words before it: "Answer" begins with a label
    )


def _masses(logprobs: Mapping[str, float], form: Form) -> list[float]:
    """The probability of every label, over all its writings."""
    found: defaultdict[int | None, list[float]] = defaultdict(list)
    for token, logprob in logprobs.items():
        found[form.whole(token)].append(_probability(logprob))
    return [math.fsum(found[label]) for label in range(form.last + 1)]


def _probability(logprob: object) -> float:
    """A log-probability as a probability; 0 for what is none."""
    try:
        value = float(logprob)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 0.0
    # A little above zero is rounding; NaN fails the comparison.
    return min(math.exp(value), 1.0) if value <= 0.01 else 0.0
