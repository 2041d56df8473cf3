"""The rule: which findings let a challenger take the current student's place, and which do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distiller_udf.metrics.figures import Difference, Estimate, Figures
from distiller_udf.training.schedule.comparison import AgainstGold, Changes, Comparison, HeldOut
from distiller_udf.training.schedule.rule import Margins, verdict


def sure(value: float) -> Estimate:
    return Estimate(value, value, value)


def judged(f1: float, calibration: float = 0.05) -> Figures:
    return Figures(sure(f1), sure(f1), sure(f1), sure(f1), calibration, 0.3)


def comparison(risk: float = 0.1, **other: object) -> Comparison:
    found = Comparison(
        key="k",
        compared_at="2026-11-23T03:00:00+00:00",
        challenger="new",
        current="old",
        labels_new=10,
        held_out=HeldOut("f", tuples=100, matches=60),
        judged=judged(0.9),
        judged_current=judged(0.9),
        difference=Difference(sure(0.0), sure(0.0), risk),
        matches=50,
    )
    return replace(found, **other)  # type: ignore[arg-type]


def some_changes(share: float) -> Changes:
    lost = round(100 * share)
    return Changes(pairs_gained=0, pairs_lost=lost, pairs_kept=100 - lost, pairs_changed=share)


GOLD = AgainstGold(50, sure(0.8), sure(0.8), sure(0.0), 0.1)


@pytest.mark.parametrize(
    ("found", "margins", "worthy", "reason"),
    [
        (comparison(), Margins(), True, "with probability 0.10, where 0.2 is allowed"),
        (comparison(risk=0.3), Margins(), False, "worse by more than 0.01 with probability 0.30"),
        (comparison(risk=0.3), Margins(risk=0.5), True, "where 0.5 is allowed"),
        (comparison(judged=judged(0.9, 0.08)), Margins(), False, "calibration error is 0.080 after 0.050"),
        (comparison(judged=judged(0.9, 0.08)), Margins(calibration=0.05), True, "where 0.05 more is allowed"),
        (comparison(gold=GOLD), Margins(), True, "by the known matches"),
        (comparison(gold=replace(GOLD, risk=0.9)), Margins(), False, "by the known matches"),
        (comparison(changes=some_changes(0.2)), Margins(), True, "50 matches"),
        (comparison(changes=some_changes(0.2)), Margins(change=0.1), False, "20.0% of the matched pairs change"),
        (comparison(changes=some_changes(0.1)), Margins(change=0.1), True, "10.0% of the matched pairs change"),
        (comparison(matches=0), Margins(), False, "the challenger finds 0 matches"),
        (comparison(judged=judged(0.0)), Margins(risk=1), False, "its F1 on 100 held-out tuples is 0.000"),
        (comparison(held_out=HeldOut("f", 9, 5)), Margins(), False, "too few to compare by; label more"),
        (comparison(held_out=HeldOut("f", 90, 0)), Margins(), False, "too few to compare by; label more"),
        (comparison(held_out=HeldOut("f", 9, 5), gold=GOLD), Margins(), True, "too few to compare by"),
        (comparison(judged_current=None, difference=None, current_error="it is gone"), Margins(), True, "it is gone"),
    ],
)
def test_a_challenger_is_worthy_or_not(found: Comparison, margins: Margins, worthy: bool, reason: str) -> None:
    said = verdict(found, margins)
    assert said.worthy is worthy, said.reasons
    assert any(reason in sentence for sentence in said.reasons), said.reasons


def test_a_reason_against_comes_first() -> None:
    assert "probability 0.90" in verdict(comparison(risk=0.9), Margins()).reasons[0]


@pytest.mark.parametrize(
    ("found", "worthy"),
    [
        (comparison(current=None, judged_current=None, difference=None), True),
        (comparison(current=None, judged_current=None, difference=None, judged=judged(0)), False),
        (comparison(current=None, judged_current=None, difference=None, judged=None), True),
        (comparison(current=None, judged_current=None, difference=None, judged=None, matches=0), False),
    ],
    ids=["good", "finds nothing right", "no held-out label", "no match at all"],
)
def test_a_first_student_needs_to_find_something(found: Comparison, worthy: bool) -> None:
    assert verdict(found, Margins()).worthy is worthy
