"""Several teachers' labels of a left record become one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from distiller_udf.errors import one_of
from distiller_udf.votes.by_pair import by_pair
from distiller_udf.votes.by_question import by_question
from distiller_udf.votes.decisions import Decided
from distiller_udf.votes.questions import Questions, read_questions
from distiller_udf.votes.rows import as_labels, with_agreement

METHODS = ("majority", "dawid_skene", "unanimous")


def vote(labels: pa.Table, method: str = "majority", asked: int | None = None) -> pa.Table:
    """One label a left record: the columns of `labels` (as in `er_labels`), `teachers` and `agreement`.

    - majority: the most frequent answer; a tie abstains, and whoever abstained has no vote.
    - unanimous: the answer that all share; where several teachers are asked, two at least must have answered.
    - dawid_skene: the most probable answer, given how reliable each teacher turns out to be (`dawid_skene.estimate`);
      it abstains where that is one that nobody gave, or hardly ahead of another.

    `asked` is how many teachers are asked about each left record, whether their answers are there or not; None = as
    many as `labels` has.

    Answers count together where they are about the same question (see `read_questions`). `probabilities` is the mean
    over the teachers, or the posterior; NULL where all say the same and nobody gave any. `confidence` is the mean of
    those who agree, or the posterior; `explanation` that of the first who agrees, by name; costs are sums, NULL where
    one is unknown. `agreement` is the share of the answers that are the result (or the most frequent one, where the
    vote abstains), NULL without any. An abstention has its reason in `error`.

    Where `ask` is match, every pair is voted on by itself: one that is tied or unanswered gets no probability; the
    choice is the best pair that is one, none only where no pair is, and NULL otherwise.

    Labels stay as they are where no left record has two. Raises LabelError when columns are missing, SettingsError for
    a method.
    """
    one_of("the vote", method, METHODS)
    questions = read_questions(labels)
    needed = min(2, len(questions.names) if asked is None else asked)
    one_each = len(questions.question) == len(questions.sizes)
    if one_each and not (method == "unanimous" and needed > 1):
        return with_agreement(questions.labels, questions, np.where(questions.usable, 1.0, np.nan))
    decided = _decided(questions, method, needed)
    return with_agreement(as_labels(questions, method, decided), questions, decided.agreement)


def _decided(questions: Questions, method: str, needed: int) -> Decided:
    """The vote on each question, pair by pair where its pairs were asked by themselves."""
    whole = by_question(questions, method, needed)
    if not questions.is_match.any():
        return whole
    pairs, match = by_pair(questions, method, needed), questions.is_match
    return Decided(
        choice=np.where(match, pairs.choice, whole.choice),
        confidence=np.where(match, pairs.confidence, whole.confidence),
        agreement=np.where(match, pairs.agreement, whole.agreement),
        p=np.where(match[questions.slot_question], pairs.p, whole.p),
    )
