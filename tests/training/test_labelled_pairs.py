"""Labels as training pairs: copies of a candidate, sources beside the chosen one, probabilities to heed or not."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from distiller_udf.constraint import Constraint
from distiller_udf.training.data import BESIDE_CHOSEN, LabelledPairs, labelled_pairs


def pairs_of(
    options: list[tuple[str, str]],
    choice: int,
    probabilities: list[float] | None = None,
    constraint: Constraint = Constraint.ONE_TO_ONE,
) -> LabelledPairs:
    """One answered tuple; an option is its source and the text of its record."""
    row: dict[str, Any] = {
        "left_source": "l",
        "left_id": 1,
        "choice": choice,
        "probabilities": probabilities,
        "query": '{"name":"query"}',
        "options": [{"source": s, "id": i, "record": f'{{"name":"{r}"}}'} for i, (s, r) in enumerate(options)],
    }
    return labelled_pairs(pa.Table.from_pylist([row]), constraint)


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
