"""Verdicts: what is said of a pair by itself, among its rivals, and once it was decided."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller_udf.constraint import Constraint
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.odds import logit, sigmoid
from distiller_udf.students.verdict import verdict

CHOICE = {"sharpness": 2.0, "offset": 3.0}
INFO = StudentInfo("lexical", "v1", ("name",), ("name",), 0.41, 0.45, choice={"alone": CHOICE, "linked": CHOICE})
PLAIN = StudentInfo("lexical", "v1", ("name",), ("name",), 0.41, 0.45, Constraint.NONE)
"""Without a constraint: nothing competes."""


def unrivalled(probability: float) -> float:
    """What the student makes of a pair whose records nobody else wants."""
    return float(sigmoid(CHOICE["sharpness"] * logit(probability) + CHOICE["offset"]))


def row(reason: str, **known: Any) -> dict[str, Any]:
    """A row of er_decisions."""
    is_match = reason in ("match", "must_link")
    decided = {"is_match": is_match, "decided_by": "student", "same_entity": is_match, "threshold": 0.45}
    return {**decided, "reason": reason, "choice_probability": 0.1, **known}


RIVAL = {"rival_side": "right", "rival_source": "crm", "rival_id": 7, "rival_probability": 0.92}
MATCH = {"decided_by": "student"}
"""What a row of er_matches has besides its probabilities."""

ALONE, LOW, SURE = "0.28 (0.41 is needed)", "0.10 (0.41 is needed)", "0.90 (0.41 is enough)"


@pytest.mark.parametrize(
    ("probability", "row", "is_match", "text"),
    [
        (0.9, None, True, f"A match, by itself {SURE} and where no rival comes near (0.9994, 0.45 is enough)."),
        (
            0.28,
            None,
            True,
            f"A match where no rival comes near (0.75, 0.45 is enough), although by itself only {ALONE}.",
        ),
        (
            0.1,
            None,
            False,
            f"No match: by itself {LOW}, and not even where no rival comes near (0.20, 0.45 is needed).",
        ),
        (
            0.28,
            {**MATCH, "choice_probability": 0.74},
            True,
            f"Matched: no rival comes near (0.74, 0.45 is enough), although by itself only {ALONE}.",
        ),
        (0.28, {"choice_probability": 0.74}, True, "A match: no rival comes near (0.74, 0.45 is enough), although"),
        (
            0.28,
            {"choice_probability": 0.3},
            False,
            "No match: rivals come too near. Among them it has 0.30 (0.45 is nee",
        ),
        (
            0.9,
            {**MATCH, "choice_probability": 0.97},
            True,
            f"Matched: among its rivals 0.97 (0.45 is enough), and by itself {SURE}.",
        ),
        (0.1, row("must_link", decided_by="must_link"), True, f"Matched by a must-link; by itself it has {LOW}."),
        (0.9, row("cannot_link"), False, f"Not matched: a cannot-link forbids it; by itself it has {SURE}."),
        (
            0.9,
            row("rival", **RIVAL),
            False,
            "Not matched: its left record is matched with crm:7 (0.92). This pair has 0.10",
        ),
        (
            0.9,
            row("taken_by_must_link", **{**RIVAL, "rival_side": "left"}),
            False,
            "Not matched: its right record is matched with crm:7 by a must-link. This pair has",
        ),
        (
            0.3,
            row("threshold", **RIVAL),
            False,
            "rivals come too near, and its left record is matched with crm:7 (0.92).",
        ),
        (0.1, row("threshold"), False, f"Not matched: by itself {LOW}, and not even where no rival comes near (0.20,"),
        (
            0.9,
            row("match", same_entity=False, kept_apart_by="max_size"),
            True,
            "two entities all the same: as one they",
        ),
        (0.1, row("threshold", same_entity=True), False, "Its records are in one entity all the same, through others."),
        (0.9, row("match", probability=0.5), True, "has changed since: by itself it has 0.90 now."),
    ],
)
def test_what_is_said(probability: float, row: dict[str, Any] | None, is_match: bool, text: str) -> None:
    said = verdict(INFO, probability, row)
    assert said.is_match is is_match
    assert text in said.text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (None, f"No match: {ALONE}."),
        (row("threshold", threshold=0.6), f"Not matched: {ALONE}."),
        (
            row("match", threshold=0.2, choice_probability=0.5),
            "Matched: the records around both make it 0.50 (0.20 is enough), although by itself 0.28 (0.41 is needed).",
        ),
        (
            row("group", probability=0.9, choice_probability=0.3),
            f"Not matched: the records around both make it 0.30 (0.45 is needed), although by itself {SURE}.",
        ),
    ],
)
def test_without_a_constraint_there_are_no_rivals_but_company(row: dict[str, Any] | None, text: str) -> None:
    assert verdict(PLAIN, 0.28, row).text.startswith(text)


Probability = st.floats(0, 1)


@given(alone=Probability, among=Probability, threshold=st.floats(0.001, 0.999), enough=st.floats(0.001, 0.999))
def test_the_verdict_follows_the_thresholds(alone: float, among: float, threshold: float, enough: float) -> None:
    info = StudentInfo("lexical", "v", (), (), enough, threshold, choice={"alone": CHOICE, "linked": CHOICE})
    open_ = verdict(info, alone)
    assert open_.is_match == (unrivalled(alone) >= threshold)
    scored = verdict(info, alone, {"choice_probability": among})
    assert scored.is_match == (among >= threshold)
    for said in (open_, scored):
        assert said.text.endswith(".")
        assert said.text.startswith("A match" if said.is_match else "No match")
        # What is called enough reads as no less than what it takes, in the very figures.
        for written, needed, what in re.findall(r"(\d\.\d+)(?: \(|, )(\d\.\d+) is (enough|needed)\)", said.text):
            assert (float(written) >= float(needed)) if what == "enough" else (float(written) <= float(needed))


def test_a_pair_that_cannot_be_scored_has_no_verdict() -> None:
    assert verdict(INFO, float("nan")) == verdict(INFO, float("nan"), {"choice_probability": None})
    assert verdict(INFO, float("nan")).text == ""
