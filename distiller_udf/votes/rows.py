"""The result of a vote, as rows of `er_labels`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.records import content_hash, one_array
from distiller_udf.votes.decisions import Decided
from distiller_udf.votes.questions import UNANSWERED, Questions
from distiller_udf.votes.winners import ABSTAINED

_SUMMED = {"cost_usd": pa.float64(), "input_tokens": pa.int64(), "output_tokens": pa.int64()}


def as_labels(asked: Questions, method: str, decided: Decided) -> pa.Table:
    """The result in the columns of the labels; what is not decided is that of the question's first row."""
    base = asked.labels.take(pa.array(asked.first))
    chosen = decided.choice > 0
    at = pa.array(np.where(chosen, asked.offsets + decided.choice - 1, 0), mask=~chosen)
    options = one_array(base["options"])
    shown = dict(zip([field.name for field in options.type.value_type], options.flatten().flatten(), strict=True))
    agrees = (asked.choice == decided.choice[asked.question]) & (asked.choice != UNANSWERED)
    new = {
        "teacher": pa.array([f"{method} of {', '.join(asked.names)}"] * len(base), pa.string()),
        "choice": pa.array(decided.choice, pa.int32(), mask=decided.choice == ABSTAINED),
        "confidence": pa.array(decided.confidence, pa.float64(), mask=np.isnan(decided.confidence)),
        "probabilities": _lists(asked, decided.p),
        "error": pa.array(list(_errors(asked, decided)), pa.string()),
    }
    present = set(base.column_names)
    new |= {name: _sum(asked, name) for name in _SUMMED if name in present}
    if "label_key" in present:
        new["label_key"] = pa.array(list(_keys(asked, method)), pa.string())
    for name in ("explanation", "explanations"):
        if name in present:
            new[name] = _reasons(asked, agrees, name)
    if "ask" in present:
        new["ask"] = pc.if_else(pa.array(asked.is_match), "match", "select")
    new |= {f"right_{name}": shown[name].take(at) for name in ("source", "id") if f"right_{name}" in present}
    for name, column in new.items():
        if name in base.column_names:
            base = base.set_column(base.column_names.index(name), name, column)
        else:
            base = base.append_column(name, column)
    return base


def _lists(asked: Questions, p: np.ndarray) -> pa.Array:
    """Probabilities as one list a question, NULL where it has none at all."""
    known = np.bincount(asked.slot_question, np.isfinite(p), len(asked.sizes)) > 0
    offsets = np.append(asked.offsets, len(p)).astype(np.int32)
    values = pa.array(p, pa.float64(), mask=np.isnan(p))
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~known))


def _keys(asked: Questions, method: str) -> Iterator[str]:
    """A hash of the keys of the labels that the vote is of."""
    keys = [str(key) for key in asked.labels["label_key"].to_pylist()]
    for a, b in _spans(asked):
        yield content_hash("vote", method, *keys[a:b])


def _spans(asked: Questions) -> Iterator[tuple[int, int]]:
    """First row and end of each question."""
    ends = np.append(asked.first[1:], len(asked.question))
    return zip(asked.first.tolist(), ends.tolist(), strict=True)


def _reasons(asked: Questions, agrees: np.ndarray, name: str) -> pa.Array:
    """The reasons, in a column, of the first teacher who agrees and gave some."""
    given = one_array(asked.labels[name])
    rows = np.flatnonzero(agrees & np.asarray(given.is_valid().to_numpy(zero_copy_only=False), dtype=bool))
    questions, first = np.unique(asked.question[rows], return_index=True)
    at = np.zeros(len(asked.sizes), dtype=np.int64)
    at[questions] = rows[first]
    return given.take(pa.array(at, mask=~np.isin(np.arange(len(at)), questions)))


def _sum(asked: Questions, name: str) -> pa.Array:
    """The sum of a column over each question's rows, NULL where one is unknown."""
    values = one_array(asked.labels[name]).cast(pa.float64()).to_numpy(zero_copy_only=False)
    sums = np.bincount(asked.question, values, len(asked.sizes))
    unknown = np.isnan(sums)
    return pa.array(np.where(unknown, 0, sums), mask=unknown).cast(_SUMMED[name])


def _errors(asked: Questions, decided: Decided) -> Iterator[str | None]:
    """Why there is no choice; None where there is one."""
    told = asked.labels["error"].to_pylist() if "error" in asked.labels.column_names else [None] * len(asked.question)
    for number, (a, b) in enumerate(_spans(asked)):
        rows = [row for row in range(a, b) if asked.usable[row]]
        if decided.choice[number] != ABSTAINED:
            yield None
        elif not rows:
            yield next((error for error in told[a:b] if error), "abstained: no teacher answered")
        elif asked.is_match[number] and asked.sizes[number]:
            slots = range(asked.offsets[number], asked.offsets[number] + asked.sizes[number])
            open_pairs = [str(n) for n, slot in enumerate(slots, 1) if np.isnan(decided.p[slot])]
            yield f"abstained: the teachers do not decide on {', '.join(open_pairs)}"
        else:
            yield f"abstained: {_who_says_what(asked, rows)}"


def _who_says_what(asked: Questions, rows: list[int]) -> str:
    """What keeps these answers to one question from being a vote."""
    names = [asked.names[asked.teacher[row]] for row in rows]
    choices = [asked.choice[row] or "none" for row in rows]
    if len(set(choices)) > 1:
        says = (f"{name} {choice}" for name, choice in zip(names, choices, strict=True))
        return f"the teachers disagree: {', '.join(says)}"
    if len(rows) == 1:
        return f"{names[0]} alone says {choices[0]}"
    return f"{', '.join(names)} say {choices[0]}, which is not probable after all that they said elsewhere"


def with_agreement(labels: pa.Table, asked: Questions, agreement: np.ndarray) -> pa.Table:
    """Labels, one row a question, with `teachers` and `agreement`."""
    names = pa.array([asked.names[i] for i in asked.teacher[asked.usable]], pa.string())
    counts = np.bincount(asked.question[asked.usable], minlength=len(asked.sizes))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    teachers = pa.ListArray.from_arrays(pa.array(offsets), names)
    share = pa.array(agreement, pa.float64(), mask=np.isnan(agreement))
    return labels.append_column("teachers", teachers).append_column("agreement", share)
