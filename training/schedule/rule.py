"""The rule: may the challenger take the current student's place?

It may unless it is too likely to be worse. Held-out tuples are few, so a difference in F1 has a wide interval: asked to
lie above -margin as a whole, it would let nothing through before there are hundreds of tuples, however good. The rule
therefore goes by the risk, the bootstrap probability that the challenger's F1 is worse by more than the margin.
`benchmarks/promotion_rule.py` measures what that lets through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from distiller_udf.english import counted
from distiller_udf.metrics.figures import Estimate

from .comparison import Comparison

FEW = 10
"""Of fewer held-out tuples the bootstrap knows too little: nothing is said of a difference."""


@dataclass(frozen=True)
class Margins:
    """How much worse is still not worse.

    `f1` and `calibration` are absolute differences; `risk` is the probability with which F1 may be worse by more than
    its margin; `change` is the share of the pairs that may change downstream, None: any.
    """

    f1: float = 0.01
    risk: float = 0.2
    calibration: float = 0.02
    change: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger is good enough, and every reason, those against it first."""

    worthy: bool
    reasons: tuple[str, ...]


Finding = tuple[bool, str]
"""Whether one criterion speaks for the challenger, and the sentence that says so."""


def verdict(comparison: Comparison, margins: Margins) -> Verdict:
    """Apply the rule to what a comparison found."""
    findings = list(_sound(comparison))
    if comparison.current_error is not None:
        findings.append((True, f"the current student cannot be judged ({comparison.current_error})"))
    elif comparison.current is not None:
        findings += _not_worse(comparison, margins)
    against_first = sorted(findings, key=lambda finding: finding[0])
    return Verdict(all(good for good, _ in findings), tuple(sentence for _, sentence in against_first))


def _sound(comparison: Comparison) -> Iterator[Finding]:
    """Whether the challenger finds matches at all, and right ones."""
    held_out, judged, gold = comparison.held_out, comparison.judged, comparison.gold
    if comparison.matches is not None:
        yield (
            comparison.matches > 0,
            f"the challenger finds {counted(comparison.matches, 'match')} among all pairs",
        )
    if judged is not None and held_out.matches:
        yield judged.f1.value > 0, f"its F1 on {counted(held_out.tuples, 'held-out tuple')} is {judged.f1.value:.3f}"
    elif gold is None and comparison.current is None:
        yield True, "there is no held-out match to judge the first student by"
    if gold is not None:
        yield (
            gold.challenger.value > 0,
            f"its F1 against {counted(gold.known, 'known match')} is {gold.challenger.value:.3f}",
        )


def _not_worse(comparison: Comparison, margins: Margins) -> Iterator[Finding]:
    """Every criterion that compares it with the current student."""
    held_out, found, gold = comparison.held_out, comparison.difference, comparison.gold
    if held_out.tuples < FEW or not held_out.matches or found is None:
        yield (
            gold is not None,
            f"{counted(held_out.tuples, 'held-out tuple')} with {counted(held_out.matches, 'match')} are too few to "
            f"compare by; label more, so that there are {FEW} at least, or give known matches",
        )
    else:
        yield _f1("held-out tuples", found.f1, found.risk, margins)
        yield from _calibration(comparison, margins)
    if gold is not None and gold.difference is not None and gold.risk is not None:
        yield _f1("known matches", gold.difference, gold.risk, margins)
    if comparison.changes is not None and margins.change is not None:
        changed = comparison.changes.pairs_changed
        limit = f"{margins.change:.1%} may change"
        yield changed <= margins.change, f"{changed:.1%} of the matched pairs change, where {limit}"


def _f1(judge: str, found: Estimate, risk: float, margins: Margins) -> Finding:
    return risk <= margins.risk, (
        f"by the {judge} its F1 differs by {found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f}): "
        f"worse by more than {margins.f1:g} with probability {risk:.2f}, where {margins.risk:g} is allowed"
    )


def _calibration(comparison: Comparison, margins: Margins) -> Iterator[Finding]:
    new, old = comparison.judged, comparison.judged_current
    if new is not None and old is not None:
        worse = new.calibration_error - old.calibration_error
        allowed = f"{margins.calibration:g} more is allowed"
        yield (
            worse <= margins.calibration,
            f"its calibration error is {new.calibration_error:.3f} after {old.calibration_error:.3f}, where {allowed}",
        )
