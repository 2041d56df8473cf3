"""Labels as training pairs: one row for each candidate that a teacher judged, and which of them are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from distiller_udf.constraint import Constraint
from distiller_udf.errors import TrainingError
from distiller_udf.labels.table import believed, has_answer
from distiller_udf.records import Records, content_hash

NEEDED = ("left_source", "left_id", "choice", "query", "options")
BESIDE_CHOSEN = 0.25
"""Weight of an unchosen candidate beside a chosen one where several candidates may match."""


@dataclass(frozen=True)
class LabelledPairs:
    """Row i is one judged pair: `labels` in [0, 1] (soft where teachers differ), `weights` > 0, `tuples` its question.

    Rows of one question share their tuple number; tuples are numbered from 0 without gaps.
    """

    left: Records
    right: Records
    labels: np.ndarray
    weights: np.ndarray
    tuples: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def with_columns(self, left: Sequence[str], right: Sequence[str]) -> LabelledPairs:
        """The same pairs with exactly these columns: a label's records carry only those that they fill."""
        return replace(self, left=self.left.with_columns(left), right=self.right.with_columns(right))

    def take(self, rows: np.ndarray) -> LabelledPairs:
        """The pairs at the given positions."""
        tuples = np.unique(self.tuples[rows], return_inverse=True)[1]
        return LabelledPairs(self.left.take(rows), self.right.take(rows), self.labels[rows], self.weights[rows], tuples)

    @property
    def questions(self) -> int:
        """How many answered tuples there are."""
        return len(np.unique(self.tuples))


def labelled_pairs(labels: pa.Table, constraint: Constraint = Constraint.ONE_TO_ONE) -> LabelledPairs:
    """Read a label table of the shape of `er_labels`; abstentions are left out, teachers of one tuple are averaged.

    Where the `constraint` lets several candidates of a tuple match, an unchosen candidate beside a chosen one is only
    weak evidence of a non-match.
    Raises TrainingError when columns are missing or no label is usable.
    """
    missing = [name for name in NEEDED if name not in labels.column_names]
    if missing:
        raise TrainingError(
            f"the label table lacks {', '.join(missing)} (it has {', '.join(labels.column_names)}); "
            "pass er_labels as the label store exports it"
        )
    questions: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in labels.filter(has_answer(labels)).to_pylist():
        if row["query"]:
            options = tuple(option["record"] for option in row["options"])
            questions.setdefault((row["left_source"], row["left_id"], row["query"], options), []).append(row)
    if not questions:
        raise TrainingError(
            "there are no usable labels: every answer is missing or an abstention; label some tuples first "
            "(`distiller labels import FILE`, or `dbt build --select er_labels`)"
        )
    return _pairs(questions, multi=not constraint.limits_left)


def _pairs(questions: Mapping[tuple[Any, ...], Sequence[Mapping[str, Any]]], multi: bool) -> LabelledPairs:
    left, right, targets, weights, tuples = [], [], [], [], []
    for number, ((_, _, query, options), answers) in enumerate(questions.items()):
        distinct = list(dict.fromkeys(options))
        copies = np.asarray([distinct.index(option) for option in options])
        judged = [_judgement(answer, copies, multi) for answer in answers]
        labels, heard = np.asarray([j[0] for j in judged]), np.asarray([j[1] for j in judged])
        weight = heard.mean(axis=0)
        told = weight > 0
        target = np.average(labels[:, told], axis=0, weights=heard[:, told] > 0)
        left += [query] * int(told.sum())
        right += [option for option, keep in zip(distinct, told, strict=True) if keep]
        targets.append(target)
        weights.append(weight[told])
        tuples += [number] * int(told.sum())
    return LabelledPairs(
        Records.from_texts(left),
        Records.from_texts(right),
        np.concatenate(targets),
        np.concatenate(weights),
        np.asarray(tuples, dtype=np.int64),
    )


def _judgement(answer: Mapping[str, Any], copies: np.ndarray, multi: bool) -> tuple[np.ndarray, np.ndarray]:
    """One teacher's labels and weights for the distinct candidates of a tuple; a weight of 0 where it does not know.

    Options that share a number in `copies` are the same text: which of them was chosen says nothing, and what it
    thinks of them adds up. Where a record has one match in each source, what it did not choose from another source than
    that of its choice may match as well; what it was asked pair by pair (`ask` is match) it knows of each.
    """
    choice, options, by_pair = answer["choice"], len(copies), answer.get("ask") == "match"
    if choice is not None and not 0 <= choice <= options:
        raise TrainingError(
            f"the label of {answer['left_source']}:{answer['left_id']} chooses candidate {choice} of {options}; "
            "a choice is 1-based, 0 means none of them"
        )
    chosen = np.arange(1, options + 1) == choice
    given = believed(answer.get("probabilities"), chosen, choice)
    soft = chosen.astype(np.float64) if given is None else given
    heard = np.isfinite(soft)
    if choice and not multi and not (by_pair and given is not None):
        sources = np.asarray([str(option.get("source")) for option in answer["options"]])
        heard &= sources == sources[choice - 1]
    labels = np.minimum(np.bincount(copies, np.where(heard, soft, 0.0)), 1.0)
    weights = (np.bincount(copies, heard) > 0).astype(np.float64)
    if multi and choice and answer.get("probabilities") is None:
        weights[(labels == 0) & (weights > 0)] = BESIDE_CHOSEN
    return labels, weights


def held_out(pairs: LabelledPairs, share: float, seed: int) -> np.ndarray:
    """Boolean mask of the pairs of about a `share` of the tuples, which are not trained on.

    Tuples about the same left record stay together. Those with a match and those without are divided one by one, so
    that both parts have some of each where there are two. Which ones is a matter of their content and the seed, never
    of the order of rows. Raises TrainingError where all tuples are about one record.
    """
    first, record = pairs.left.distinct
    matched = np.bincount(record, pairs.labels >= 0.5) > 0
    names = [content_hash(str(seed), text) for text in pairs.left.take(first).texts()]
    if len(names) < 2:
        raise TrainingError(
            "all labelled tuples are about one record, so nothing is left to judge the student by; label other records"
        )
    drawn = np.asarray(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
    kept = [_first(part, share) for part in (drawn[matched[drawn]], drawn[~matched[drawn]])]
    chosen = np.concatenate(kept)
    # One record with a match and one without: training needs the match.
    return np.isin(record, chosen if len(chosen) else drawn[~matched[drawn]])


def _first(drawn: np.ndarray, share: float) -> np.ndarray:
    """A share of what was drawn, at least one, and never all."""
    return drawn[: min(max(1, round(share * len(drawn))), len(drawn) - 1)] if len(drawn) > 1 else drawn[:0]
