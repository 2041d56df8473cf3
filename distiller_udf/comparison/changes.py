"""What would change downstream: pairs gained and lost; entities merged, split and renamed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from distiller_udf.comparison.decisions import encoded

EXAMPLES = 5


@dataclass(frozen=True)
class Changes:
    """How one set of decisions differs from another over the same records.

    `pairs_changed` is the share of gained and lost pairs among all pairs of either. An entity is merged where it holds
    records of several earlier ones, split where its records are now in several; renamed where most of it lives on (more
    than half of both) under another id. Appeared and vanished count the ids, renamed ones left out; `records_renamed`
    the records whose `entity_id` is another one. Ids last as er_entities lets them: an entity's goes where its first
    record goes, and of several the first one's wins.
    """

    pairs_gained: int
    pairs_lost: int
    pairs_kept: int
    pairs_changed: float
    entities_merged: int
    entities_split: int
    entities_renamed: int
    entities_appeared: int
    entities_vanished: int
    entities_unchanged: int
    records_renamed: int
    examples: dict[str, list[list[str]]] = field(default_factory=dict)


def changes(
    before: np.ndarray, after: np.ndarray, entities_before: np.ndarray, entities_after: np.ndarray, names: list[str]
) -> Changes:
    """Compare matches (pairs of record numbers) and entities (each record's first one); `names` are the records'."""
    gained = after[~np.isin(encoded(after), encoded(before))]
    lost = before[~np.isin(encoded(before), encoded(after))]
    kept = len(after) - len(gained)
    return Changes(
        pairs_gained=len(gained),
        pairs_lost=len(lost),
        pairs_kept=kept,
        pairs_changed=(len(gained) + len(lost)) / max(len(gained) + len(lost) + kept, 1),
        **entity_changes(entities_before, entities_after),
        examples={
            what: [[names[n] for n in pair] for pair in pairs[:EXAMPLES]]
            for what, pairs in (("gained", gained), ("lost", lost))
        },
    )


def entity_changes(before: np.ndarray, after: np.ndarray) -> dict[str, int]:
    """The counts of `Changes` that are about entities, from the first record of each record's entity."""
    after = _inherited(before, after)
    old_names, old = np.unique(before, return_inverse=True)
    new_names, new = np.unique(after, return_inverse=True)
    _, first, sizes = np.unique(encoded(np.column_stack([old, new])), return_index=True, return_counts=True)
    a, b = old[first], new[first]
    old_size, new_size = np.bincount(old), np.bincount(new)
    lives_on = (2 * sizes > old_size[a]) & (2 * sizes > new_size[b])
    renamed = np.flatnonzero(lives_on & (old_names[a] != new_names[b]))
    size = len(before)
    was, now = _marked(size, old_names), _marked(size, new_names)
    appeared = now & ~was & ~_marked(size, new_names[b[renamed]])
    vanished = was & ~now & ~_marked(size, old_names[a[renamed]])
    return {
        "entities_merged": int((np.bincount(b) > 1).sum()),
        "entities_split": int((np.bincount(a) > 1).sum()),
        "entities_renamed": len(renamed),
        "entities_appeared": int(appeared.sum()),
        "entities_vanished": int(vanished.sum()),
        "entities_unchanged": int(((sizes == old_size[a]) & (sizes == new_size[b])).sum()),
        "records_renamed": int((before != after).sum()),
    }


def _inherited(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The id of every record's entity, as a record's number: an earlier entity's first record, or its own first one."""
    numbers = np.arange(len(before))
    heirs = numbers[before == numbers]
    inherited = np.full(len(before), len(before))
    np.minimum.at(inherited, after[heirs], heirs)
    return np.asarray(np.where(inherited < len(before), inherited, numbers)[after])


def _marked(size: int, numbers: np.ndarray) -> np.ndarray:
    """A mask of so many records that is true at the given numbers."""
    mask = np.zeros(size, dtype=bool)
    mask[numbers] = True
    return mask
