"""Answers of one token: its name for every choice, and the probabilities behind it.

A model that has to answer with one token shows, in the log-probabilities of that token, how likely it holds each
candidate to be the answer: a whole distribution for the price of one token.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from distiller_udf.errors import SettingsError
from distiller_udf.prompts.question import Answer, Question
from distiller_udf.prompts.reading import abstained, usable_text

MAX_TOKEN_CANDIDATES = 19
"""Servers give at most 20 log-probabilities a token (OpenAI; vLLM by default): 19 candidates and none."""

MIN_MASS = 0.5
"""With less probability than this on all labels together, the model wanted to say something else."""

_NONE = "0"
_LETTERS = "ABCDEFGHJKLMNPQRSTU"  # no I, with which many a refusal begins, and no O, which looks like 0
_AROUND = " \t\r\n\"'`*[]().:,▁Ġ"
"""What tokenizers and models put around a label: space, the marks that stand for it, quotes, brackets, a full stop."""


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
    said = _label(text, labels)
    if text and text.strip() and said is None:
        return abstained("the reply is none of the labels", text)
    if not logprobs:
        return Answer(labels.index(said)) if said is not None else abstained("the reply is empty")
    masses = _masses(logprobs, labels)
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


def _masses(logprobs: Mapping[str, float], labels: tuple[str, ...]) -> list[float]:
    """The probability of every label, over all its writings."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for token, logprob in logprobs.items():
        label = _label(token, labels)
        if label is not None:
            found[label].append(_probability(logprob))
    return [math.fsum(found[label]) for label in labels]


def _label(text: object, labels: tuple[str, ...]) -> str | None:
    """The label that a token or a reply's first line is; small letters and the words yes, no and none are read too."""
    if not isinstance(text, str):
        return None
    bare = usable_text(text).partition("\n")[0].strip(_AROUND)
    word = {"no": "N", "yes": "Y"} if "Y" in labels else {"none": _NONE}
    return next((name for name in (bare, bare.upper(), word.get(bare.lower())) if name in labels), None)


def _probability(logprob: object) -> float:
    """A log-probability as a probability; 0 for what is none."""
    try:
        value = float(logprob)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 0.0
    # A little above zero is rounding; NaN fails the comparison.
    return min(math.exp(value), 1.0) if value <= 0.01 else 0.0
