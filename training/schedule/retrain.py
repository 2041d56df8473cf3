"""Retraining: new labels → a challenger, weighed against the current student, promoted where it is not worse.

Every step is idempotent and leaves something whole behind, so that a run that was killed is completed by the next one:
a trained version is not trained again, a comparison that was written is not made again, and one that says `promoted`
is carried out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from distiller_udf.english import counted
from distiller_udf.registry import Registry

from ..learned import Learned, usable
from ..versions import Outcome, Recipe, publish_student
from .comparison import Archive, Comparison
from .weigh import Scales, Steps, unseen, weigh

logger = logging.getLogger(__name__)

NOT_NOW = "not promoted: "
"""How a reason begins that lies in the registry, not in the students, and may be gone tomorrow."""

PROMOTED, NOTHING_NEW, REJECTED = "promoted", "nothing new", "rejected"


@dataclass(frozen=True)
class Retrained:
    """How a retraining ended, one of PROMOTED, NOTHING_NEW and REJECTED, and why in a sentence.

    `comparison` is None where nothing was weighed, `trained` says whether a student was trained just now.
    """

    outcome: str
    why: str
    current: str | None
    labels_new: int
    trained: bool = False
    comparison: Comparison | None = None


@dataclass(frozen=True)
class News:
    """How many labels are newer than the current student, and whether they, or other settings, make another one."""

    current: str | None
    labels: int
    worth_training: bool
    sentence: str


def retrain(
    labels: pa.Table,
    registry: Registry,
    recipe: Recipe,
    scales: Scales,
    steps: Steps = unseen,
    challenger: str | None = None,
) -> Retrained:
    """Train a challenger where there are new labels, weigh it, and promote it where the rule says so.

    `labels` are those to learn from, in the shape of `er_labels`; `scales` has the held-out ones. A `challenger` is a
    version that was trained before, weighed instead of a new one. The caller holds `Registry.lock`. Raises
    TrainingError when the labels cannot carry a student, StudentError when it cannot be written.
    """
    found = news(labels, registry, recipe)
    current, new = found.current, found.labels
    trained = False
    if challenger is None:
        if not found.worth_training:
            return Retrained(NOTHING_NEW, found.sentence, current, new)
        published = _published(labels, registry, recipe, steps)
        challenger, trained = published.info.version, published.trained
        current = registry.current_version()  # somebody may have promoted another one while it was trained
    if challenger == current:
        return Retrained(NOTHING_NEW, f"the challenger would be {current} itself", current, new)
    archive = Archive(registry.folder)
    compared = archive.find(challenger, current, scales.key)
    if compared is not None and not _is_open(compared, registry):
        return Retrained(NOTHING_NEW, _weighed_before(compared), current, new, trained, compared)
    if compared is None:
        against = registry.path(current) if current is not None else None
        compared = weigh(registry.path(challenger), against, scales, new, steps)
    compared = _settled(compared, registry)
    archive.write(compared)
    if compared.promoted and not registry.succeed(challenger, instead_of=current):
        compared = _settled(compared, registry)
        archive.write(compared)
    if not compared.promoted:
        return Retrained(REJECTED, compared.reasons[0], current, new, trained, compared)
    return Retrained(PROMOTED, _why_promoted(compared), challenger, new, trained, compared)


def _published(labels: pa.Table, registry: Registry, recipe: Recipe, steps: Steps) -> Outcome:
    """The challenger as a version: trained now, or before by a run that was killed."""
    with steps("training", 100) as advance:
        return publish_student(labels, registry, recipe, _in_percent(advance))


def news(labels: pa.Table, registry: Registry, recipe: Recipe) -> News:
    """What the current student has not learned of these labels, and whether it was made by another recipe."""
    current = registry.current_version()
    if current is None:
        return News(None, usable(labels).num_rows, True, "there is no student yet")
    if not registry.exists(current):
        return News(current, usable(labels).num_rows, True, f"{current} cannot be used any more")
    new = Learned.read(registry.path(current)).new(labels).num_rows
    if new:
        return News(current, new, True, f"{counted(new, 'label is', 'labels are')} newer than {current}")
    if not recipe.made(registry.read(current)):
        return News(current, 0, True, f"{current} was trained by other settings, or by another version of this package")
    return News(current, 0, False, f"{current} knows all labels that there are to learn from")


def _is_open(found: Comparison, registry: Registry) -> bool:
    """Whether a comparison asks for a promotion that has not happened; one that someone turned back has."""
    if not found.worthy or registry.pinned:
        return False
    since = datetime.fromisoformat(found.compared_at)
    return not any(p.version == found.challenger and p.promoted_at >= since for p in registry.history())


def _settled(found: Comparison, registry: Registry) -> Comparison:
    """The comparison with what comes of it now: what hindered it before may not any more."""
    hindrance = _hindrance(found, registry)
    own = tuple(reason for reason in found.reasons if not reason.startswith(NOT_NOW))
    if hindrance is None:
        return replace(found, promoted=found.worthy, reasons=own)
    return replace(found, promoted=False, reasons=(NOT_NOW + hindrance, *own))


def _hindrance(found: Comparison, registry: Registry) -> str | None:
    """What keeps even a worthy challenger from its place: a pinned student that can be used, or another one in it."""
    if found.current is not None and registry.pinned and registry.exists(found.current):
        return f"{found.current} is pinned: `distiller students promote {found.challenger}` would replace it"
    now = registry.current_version()
    if found.current is not None and now not in (found.current, found.challenger):
        return f"{now} has become the current student meanwhile; run this again to weigh the two"
    return None


def _weighed_before(found: Comparison) -> str:
    day = found.compared_at[:10]
    if found.promoted:
        return f"{found.challenger} was promoted on {day}, and someone has turned back to {found.current} since"
    return f"{found.challenger} was rejected on {day}, and nothing is new since: {found.reasons[0]}"


def _why_promoted(found: Comparison) -> str:
    if found.current is None:
        return f"{found.challenger} is the first student"
    return f"{found.challenger} takes the place of {found.current}"


def _in_percent(advance: Callable[[int], None]) -> Callable[[str, float], None]:
    """A training's report of (step, share done) as steps of a bar that ends at 100."""
    done = 0

    def report(step: str, share: float) -> None:
        nonlocal done
        advance(int(100 * share) - done)
        done = int(100 * share)

    return report
