"""The embedded teacher: an unsupervised mixture over similarity features. For trying things out; it is no LLM.

It reads no labels and knows nothing of the world, only how alike records are compared with the other candidates.
Where matches stand out from the rest (people, publications) it is nearly always right; where similar is not the
same (products and their versions) it is not a teacher to rely on. Where hardly any record has a match and there are
few columns to tell by, it takes the records that look alike for matches.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from distiller_udf.budget import Budget, Cost
from distiller_udf.constraint import Constraint
from distiller_udf.english import counted
from distiller_udf.errors import TeacherError
from distiller_udf.prompts import Answer, Asking, Question
from distiller_udf.records import Records, content_hash
from distiller_udf.teachers.mixture import Evidence, Mixture, fit_mixture

if TYPE_CHECKING:
    from distiller_udf.similarity import PairFeatures

logger = logging.getLogger(__name__)

MAX_FITTED_PAIRS = 30_000
"""More candidate pairs than this are sampled, whole tuples at a time: the mixture has few parameters."""

_QUESTIONS_AT_ONCE = 2_000
_BACKGROUND_PAIRS = 3_000
_ODD_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_VERSION = 3
_WHOLE_RECORD = ("token_cosine", "gram_cosine")


@dataclass(frozen=True)
class _Pairs:
    """What the teacher was prepared with: row i of both sides is one candidate pair of records that say something."""

    left: Records
    right: Records
    constraint: Constraint

    def fingerprint(self) -> str:
        """A hash of the distinct pairs, whatever their order. It costs a hash a record, not one a pair."""
        left, right = (_hashes(records) for records in (self.left, self.right))
        mixed = left * _ODD_FACTOR + (right ^ (right >> np.uint64(29)))
        mixed = (mixed ^ (mixed >> np.uint64(31))) * _ODD_FACTOR
        known = np.unique(mixed).astype("<u8").tobytes() + self.constraint.encode()
        return hashlib.sha256(known).hexdigest()[:32]


@dataclass(frozen=True)
class _Fitted:
    features: PairFeatures
    mixture: Mixture


class EmbeddedMixture:
    """A teacher without an LLM, fitted on all candidate pairs before its first answer; the same pairs, in any
    order, give the same answers.

    Its answers depend on these pairs, so its `parameters` hold their fingerprint once it is prepared.
    """

    name = "embedded"
    free = True
    local = True

    def __init__(self, asking: Asking | None = None, constraint: Constraint = Constraint.ONE_TO_ONE) -> None:
        self.asking = asking or Asking()
        self.constraint = constraint
        self.parameters: Mapping[str, Any] = {"version": _VERSION}
        self._pairs: _Pairs | None = None
        self._fitted: _Fitted | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "EmbeddedMixture()"

    def prepare(self, pairs: pa.Table) -> None:
        """Take all candidate pairs, to be fitted on at the first answer: both records as STRUCT or canonical text.

        Raises RecordError when the records are neither rows nor text.
        """
        left, right = Records.from_arrow(pairs["left_record"]), Records.from_arrow(pairs["right_record"])
        known = np.flatnonzero(~(left.empty | right.empty))
        prepared = _Pairs(left.take(known), right.take(known), self.constraint)
        parameters = {"version": _VERSION, "pairs": prepared.fingerprint()}
        with self._lock:
            # Only hashed here: where all answers are in the store, nothing needs to be fitted.
            if parameters != self.parameters:
                self.parameters, self._pairs, self._fitted = parameters, prepared, None

    def expect(self, question: Question) -> Cost:
        """Nothing: it computes its answers here."""
        return Cost()

    def answer(self, questions: Sequence[Question], budget: Budget) -> Iterator[tuple[Question, Answer]]:
        """Answer every question, in order; see `Teacher.answer`. Raises TeacherError before it has been prepared."""
        fitted = self._fit_once()
        for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
            part = questions[start : start + _QUESTIONS_AT_ONCE]
            yield from zip(part, _answers(fitted, part), strict=True)

    def _fit_once(self) -> _Fitted | None:
        """The mixture, fitted if that has not happened yet; None where there are no pairs to fit it on."""
        with self._lock:
            if self._pairs is None:
                raise TeacherError(
                    "the embedded teacher answers only after it has seen all candidate pairs, which er_label cannot "
                    "show it; label with `dbt build`, or give er_label an LLM as teacher"
                )
            if self._fitted is None and len(self._pairs.left):
                self._fitted = _fit(self._pairs.left, self._pairs.right, self.constraint)
            return self._fitted


def _answers(fitted: _Fitted | None, questions: Sequence[Question]) -> Iterator[Answer]:
    if fitted is None:
        yield from (Answer(None, cost_usd=0.0, error="abstained: there is nothing to compare") for _ in questions)
        return
    evidence = _evidence(fitted.features, *_pairs_of(questions))
    sizes = [len(question.candidates) for question in questions]
    probabilities = fitted.mixture.probabilities(evidence, np.repeat(np.arange(len(questions)), sizes))
    contributions = fitted.mixture.contributions(evidence)
    labels = [comparison.label for comparison in fitted.features.comparisons]
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        mine = probabilities[end - size : end]
        best = int(end - size + np.argmax(mine)) if size else 0
        reasons = {labels[group]: float(values[best]) for group, values in contributions.items()} if size else {}
        yield _answer(mine, fitted.mixture.constraint, _explanation(reasons))


def _fit(left: Records, right: Records, constraint: Constraint) -> _Fitted:
    from distiller_udf.similarity import PairFeatures, filled_columns

    left, right, tuples, rights = _distinct_pairs(left, right)
    features = PairFeatures.fit(*filled_columns(left, right, one_table=not constraint.limits_left))
    evidence = _evidence(features, left, right)
    rng = np.random.default_rng(0)
    a, b = (rng.permutation(len(left))[:_BACKGROUND_PAIRS] for _ in range(2))
    background = features.transform(left.take(a), right.take(b))
    mixture = fit_mixture(evidence, tuples, rights, background, constraint)
    logger.info(
        "embedded: fitted on %s of %s; by similarity %.1f%% of these records have a match",
        counted(len(left), "pair"),
        counted(int(tuples.max(initial=-1)) + 1, "left record"),
        100 * mixture.prior,
    )
    return _Fitted(features, mixture)


def _distinct_pairs(left: Records, right: Records) -> tuple[Records, Records, np.ndarray, np.ndarray]:
    """Distinct pairs of a sample of left records, with the numbers of their left and right records.

    All is ordered by the records' texts, so that the order in which the pairs came makes no difference.
    """
    lefts, rights = _ranked(left), _ranked(right)
    pairs, first = np.unique(lefts * (int(rights.max(initial=0)) + 1) + rights, return_index=True)
    if len(pairs) > MAX_FITTED_PAIRS:
        numbers = lefts[first]
        heads = np.flatnonzero(np.r_[True, np.diff(numbers) != 0])
        hashes = [content_hash(text) for text in left.take(first[heads]).texts()]
        order = sorted(range(len(heads)), key=hashes.__getitem__)
        size = np.bincount(numbers)[numbers[heads]]
        kept = [i for i, total in zip(order, np.cumsum(size[order]), strict=True) if total <= MAX_FITTED_PAIRS]
        first = first[np.isin(numbers, numbers[heads][kept])]
    # Encoded afresh, because the order of a column's distinct values is that of the rows it was read from.
    left, right = (Records.from_dicts(records.take(first).to_dicts()) for records in (left, right))
    numbers, right_numbers = (np.unique(ranks[first], return_inverse=True)[1] for ranks in (lefts, rights))
    return left, right, numbers, right_numbers


def _hashes(records: Records) -> np.ndarray:
    """64 bits of each record's content hash."""
    texts, inverse = _distinct_texts(records)
    hashes = np.array([int(content_hash(text)[:16], 16) for text in texts], dtype=np.uint64)
    return np.asarray(hashes[inverse])


def _ranked(records: Records) -> np.ndarray:
    """Each record's rank among the distinct texts."""
    texts, inverse = _distinct_texts(records)
    return np.asarray(np.argsort(sorted(range(len(texts)), key=texts.__getitem__))[inverse])


def _distinct_texts(records: Records) -> tuple[list[str], np.ndarray]:
    first, inverse = records.distinct
    return records.take(first).texts(), inverse


def _evidence(features: PairFeatures, left: Records, right: Records) -> Evidence:
    matrix = features.transform(left, right)
    kinds = {group: comparison.kind for group, comparison in enumerate(features.comparisons)}
    whole = [
        column
        for column, (name, group) in enumerate(zip(features.names, features.groups, strict=True))
        if kinds.get(group) == "record" and name.rpartition(":")[2] in _WHOLE_RECORD
    ]
    similarity = np.nan_to_num(matrix[:, whole]).mean(axis=1, dtype=np.float64) if whole else np.zeros(len(matrix))
    return Evidence(matrix, features.groups, features.directions, similarity)


def _pairs_of(questions: Sequence[Question]) -> tuple[Records, Records]:
    """Each question's record beside each of its candidates."""
    return (
        Records.from_texts([q.query for q in questions for _ in q.candidates]),
        Records.from_texts([text for q in questions for text in q.candidates]),
    )


def _answer(probabilities: np.ndarray, constraint: Constraint, explanation: str) -> Answer:
    """The likeliest candidate, or none where it is likelier that there is no match."""
    some = float(min(probabilities.sum(), 1.0) if constraint.limits_left else probabilities.max(initial=0.0))
    best = int(np.argmax(probabilities)) if len(probabilities) else -1
    matched = best >= 0 and some >= 0.5
    return Answer(
        choice=best + 1 if matched else 0,
        confidence=float(probabilities[best]) if matched else 1 - some,
        probabilities=tuple(float(p) for p in probabilities),
        explanation=explanation,
        cost_usd=0.0,
        input_tokens=0,
        output_tokens=0,
    )


def _explanation(reasons: Mapping[str, float]) -> str:
    """Which comparisons spoke for and against the likeliest candidate."""
    ranked = sorted(reasons.items(), key=lambda item: -abs(item[1]))
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (
            ("for it:", [name for name, weight in ranked if weight > 0.5][:3]),
            ("against it:", [name for name, weight in ranked if weight < -0.5][:3]),
        )
        if names
    ]
    return f"similarity alone, no LLM; {'; '.join(parts) or 'nothing stands out'}"
