"""Labels as training pairs: copies of a candidate, sources beside the chosen one, probabilities to heed or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from distiller_udf.constraint import Constraint
from distiller_udf.training.labelled import BESIDE_CHOSEN, LabelledPairs, labelled_pairs
from distiller_udf.training.learned import usable, usable_labels


def pairs_of(
    options: list[tuple[str, str]],
    choice: int,
    probabilities: list[float] | None = None,
    constraint: Constraint = Constraint.ONE_TO_ONE,
) -> LabelledPairs:
    """One answered tuple."""
    return labelled_pairs(pa.Table.from_pylist([pairs_row(options, choice, probabilities)]), constraint)


def pairs_row(
    options: list[tuple[str, str]], choice: int | None, probabilities: Sequence[float | None] | None
) -> dict[str, Any]:
    """A label; an option is its source and the text of its record."""
    return {
        "left_source": "l",
        "left_id": 1,
        "teacher": "t",
        "ask": "select",
        "choice": choice,
        "probabilities": probabilities,
        "query": '{"name":"query"}',
        "options": [{"source": s, "id": i, "record": f'{{"name":"{r}"}}'} for i, (s, r) in enumerate(options)],
    }


def said(pairs: LabelledPairs) -> dict[str | None, float]:
    names = [row["name"] for row in pairs.right.to_dicts()]
    assert len(set(names)) == len(names)
    return dict(zip(names, pairs.labels.round(6).tolist(), strict=True))


def test_copies_of_a_candidate_are_one() -> None:
    copies = [("r", "a"), ("r", "b"), ("r", "a"), ("r", "a")]
    assert said(pairs_of(copies, 3)) == {"a": 1.0, "b": 0.0}
    assert said(pairs_of(copies, 0)) == {"a": 0.0, "b": 0.0}
    assert said(pairs_of(copies, 1, [0.3, 0.05, 0.3, 0.3])) == {"a": 0.9, "b": 0.05}


def test_a_choice_says_nothing_of_other_sources() -> None:
    options = [("b", "b1"), ("b", "b2"), ("c", "c1")]
    assert said(pairs_of(options, 2)) == {"b1": 0.0, "b2": 1.0}
    assert said(pairs_of(options, 3)) == {"c1": 1.0}
    assert said(pairs_of(options, 0)) == {"b1": 0.0, "b2": 0.0, "c1": 0.0}
    assert said(pairs_of(options, 2, [0.1, 0.9, 0.2], constraint=Constraint.NONE)) == {"b1": 0.1, "b2": 0.9, "c1": 0.2}


@pytest.mark.parametrize(("choice", "expected"), [(1, {"a": 0.7, "b": 0.2}), (2, {"a": 0.0, "b": 1.0})])
def test_a_corrected_choice_counts_more_than_the_probabilities_before_it(
    choice: int, expected: dict[str | None, float]
) -> None:
    assert said(pairs_of([("r", "a"), ("r", "b")], choice, [0.7, 0.2])) == expected


def test_none_after_a_likely_match_is_a_correction() -> None:
    assert said(pairs_of([("r", "a"), ("r", "b")], 0, [0.7, 0.2])) == {"a": 0.0, "b": 0.0}
    assert said(pairs_of([("r", "a"), ("r", "b")], 0, [0.3, 0.2])) == {"a": 0.3, "b": 0.2}


def test_where_several_may_match_the_unchosen_count_little() -> None:
    pairs = pairs_of([("r", "a"), ("r", "b")], 1, constraint=Constraint.NONE)
    assert pairs.weights.tolist() == [1.0, BESIDE_CHOSEN]
    assert pairs_of([("r", "a"), ("r", "b")], 0, constraint=Constraint.NONE).weights.tolist() == [1.0, 1.0]


def by_pair(options: list[tuple[str, str]], probabilities: list[float | None], choice: int | None) -> dict[str, Any]:
    """A label whose pairs were judged one by one."""
    row = pairs_row(options, choice, probabilities)
    return {**row, "ask": "match"}


def test_what_was_judged_pair_by_pair_is_heard_of_every_source() -> None:
    options = [("b", "b1"), ("c", "c1"), ("c", "c2"), ("d", "d1")]
    table = pa.Table.from_pylist([by_pair(options, [1.0, 1.0, 0.0, None], 1)])
    for constraint in Constraint:
        assert said(labelled_pairs(table, constraint)) == {"b1": 1.0, "c1": 1.0, "c2": 0.0}


def test_pairs_that_are_known_are_heard_though_there_is_no_choice() -> None:
    table = pa.Table.from_pylist([by_pair([("b", "b1"), ("b", "b2")], [0.1, None], None)])
    assert said(labelled_pairs(table)) == {"b1": 0.1}
    assert (usable(table).num_rows, usable_labels(table)) == (1, 1)
    silent = pa.Table.from_pylist([by_pair([("b", "b1")], [None], None), pairs_row([("b", "b1")], None, [0.4])])
    assert (usable(silent).num_rows, usable_labels(silent)) == (0, 0)


def test_a_language_model_is_asked_about_what_was_judged_alone() -> None:
    from distiller_udf.training.fit.llm.examples import examples

    options = [("b", "b1"), ("c", "c1"), ("c", "c2"), ("c", "c3"), ("d", "d1")]
    row = {
        **by_pair(options, [1.0, 0.2, 0.9, None, 0.0], 1),
        "teacher": "t",
        "explanation": "same",
        "explanations": None,
    }
    found = examples(pa.Table.from_pylist([row]), ["name"], ["name"])
    shown = [([text[9:11] for text in e.candidates], e.choice, e.explanation) for e in found]
    assert shown == [(["b1"], 1, "same"), (["c1", "c2"], 2, None), (["d1"], 0, None)]
    (whole,) = examples(
        pa.Table.from_pylist([{**row, "choice": None, "probabilities": [0.1, 0.2, 0.3, None, None]}]),
        ["name"],
        ["name"],
        pairwise=True,
    )
    assert (len(whole.candidates), whole.choice, whole.yes, whole.heard) == (3, 0, frozenset(), frozenset({0, 1, 2}))
