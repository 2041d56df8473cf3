"""Drift: does the teacher still agree with today's decisions, and are today's pairs like those trained on?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distiller_udf.english import counted
from distiller_udf.files import write_text
from distiller_udf.metrics.figures import wilson
from distiller_udf.pipeline.relations import TUPLE_KEYS
from distiller_udf.settings import Settings
from distiller_udf.settings.training import CommonSettings
from distiller_udf.students import Student

from ..er_student import sampled
from ..material import read_candidates
from .evaluation_set import EvaluationSet, judge
from .profile import PairProfile, Shift, count_words, shifts
from .snapshot import Snapshot

FOLDER = ".drift"
"""Beside the versions: what was measured, a file each time."""

Answers = tuple[pa.Table, str | None]
"""Labels of one voice, and why the asking ended early, if it did."""

_DRAWN = """
    select left_source, left_id
    from (select distinct left_source, left_id from {pairs})
    order by md5(concat_ws(':', $draw, left_source, left_id::varchar)), left_source, left_id
    limit $count
"""

FEW = 10
"""Fewer answers say nothing of an agreement."""

DRIFTED, CALM, UNKNOWN = "drift", "no drift", "unknown"


@dataclass(frozen=True)
class Share:
    """A share of `of` cases, with its interval of 95 % (Wilson 1927)."""

    value: float
    low: float
    high: float
    of: int


@dataclass(frozen=True)
class Agreement:
    """How far a teacher agrees with decisions about left records; None where there is no such record.

    `on_matches` is of the records that were matched, an estimate of precision; `recall` of those for which the teacher
    chose a candidate; `on_none` of those that were not matched.
    """

    all: Share
    on_matches: Share | None
    on_none: Share | None
    recall: Share | None


def share(right: int, of: int) -> Share | None:
    """A share with its interval; None of no cases."""
    return Share(right / of, *wilson(right / of, of), of) if of else None


def agreement(ours: Sequence[frozenset[object]], theirs: Sequence[object | None]) -> Agreement | None:
    """Compare decisions about left records, row by row; None without any.

    `ours` are the records matched with it, `theirs` is the one that the teacher chose, None for none of them. They
    agree where both say none, or where the chosen one is matched.
    """
    rows = [
        (bool(matched), chosen is not None, _agree(matched, chosen))
        for matched, chosen in zip(ours, theirs, strict=True)
    ]
    everything = share(sum(agreed for *_, agreed in rows), len(rows))
    if everything is None:
        return None

    def among(kept: Iterator[bool]) -> Share | None:
        agreed = list(kept)
        return share(sum(agreed), len(agreed))

    return Agreement(
        all=everything,
        on_matches=among(agreed for matched, _, agreed in rows if matched),
        on_none=among(agreed for matched, _, agreed in rows if not matched),
        recall=among(agreed for _, chosen, agreed in rows if chosen),
    )


def _agree(matched: frozenset[object], chosen: object | None) -> bool:
    return not matched if chosen is None else chosen in matched


@dataclass(frozen=True)
class Drift:
    """What was measured. `promised` is the agreement that held-out labels let expect; `stopped` why asking ended early.

    `agreement` is None where too few were answered, `shifts` is empty where the student has no profile. `outcome` is
    one of DRIFTED, CALM and UNKNOWN: it is unknown where the pairs have not moved, and nothing says whether the teacher
    still agrees.
    """

    measured_at: str
    student: str
    draw: int
    tuples: int
    answered: int
    agreement: Agreement | None
    promised: float | None
    shifts: tuple[Shift, ...]
    outcome: str
    reasons: tuple[str, ...]
    stopped: str | None = None

    @property
    def drifted(self) -> bool:
        return self.outcome == DRIFTED

    def to_dict(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {**asdict(self), "drifted": self.drifted}

    def write(self, folder: Path) -> Path:
        """Write it as JSON beside the versions, one file for a moment."""
        path = folder / FOLDER / f"{self.measured_at.replace(':', '')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", mode=0o644)
        return path


def drawn_tuples(snapshot: Snapshot, count: int, draw: int) -> pa.Table:
    """The questions of er_tuples about so many left records, drawn at random by `draw`.

    Where the teacher was asked about one of these records for training, they are the very same: nothing is paid twice.
    """
    snapshot.write("er_selection", _DRAWN.format(pairs=snapshot.relation("er_pairs")), draw=draw, count=count)
    return snapshot.connection.sql(snapshot.sql("er_tuples")).order("left_source, left_id").to_arrow_table()


def measure(
    snapshot: Snapshot,
    student: Student,
    folder: Path,
    held_out: pa.Table,
    settings: Settings,
    draw: int,
    ask: Callable[[pa.Table], Answers],
) -> Drift:
    """Measure how far decisions and pairs have drifted; `snapshot` has er_tuples, er_matches and er_choices.

    `folder` is the student's. `ask` has the teacher answer tuples. Raises StudentError.
    """
    tuples = drawn_tuples(snapshot, settings.drift_tuples, draw)
    labels, stopped = ask(tuples)
    answers = [row for row in labels.to_pylist() if row["choice"] is not None]
    found = agreement(*_decisions(snapshot, answers)) if len(answers) >= FEW else None
    promised = _promised(student, folder, held_out)
    moved = _shifts(snapshot, folder)
    asked = Asked(tuples.num_rows, len(answers), settings.drift_tuples, stopped)
    agreeing, reason = _agreement_said(found, promised, asked)
    shifted = _shifts_said(moved, settings.drift_psi)
    drifted = agreeing == DRIFTED or any(far for far, _ in shifted)
    told = sorted([(agreeing == DRIFTED, reason), *shifted], key=lambda said: not said[0])
    return Drift(
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        student=student.info.version,
        draw=draw,
        tuples=tuples.num_rows,
        answered=len(answers),
        agreement=found,
        promised=promised,
        shifts=tuple(moved),
        outcome=DRIFTED if drifted else agreeing,
        reasons=tuple(sentence for _, sentence in told),
        stopped=stopped,
    )


def _decisions(
    snapshot: Snapshot, answers: list[dict[str, Any]]
) -> tuple[list[frozenset[object]], list[object | None]]:
    """Today's matches of the answered left records, and whom the teacher chose, row by row."""
    matched: dict[tuple[Any, Any], set[object]] = {}
    keys = ", ".join((*TUPLE_KEYS, "right_source", "right_id"))
    for *left, source, key in snapshot.table("er_matches").select(keys).fetchall():
        matched.setdefault((left[0], str(left[1])), set()).add((source, str(key)))
    ours: list[frozenset[object]] = []
    theirs: list[object | None] = []
    for row in answers:
        options = {(option["source"], str(option["id"])) for option in row["options"]}
        mine = matched.get((row["left_source"], str(row["left_id"])), set()) & options
        chosen = row["options"][row["choice"] - 1] if row["choice"] else None
        if chosen is not None:  # of several sources the teacher names one record, and says nothing of the others
            mine = {one for one in mine if one[0] == chosen["source"]}  # type: ignore[index]
        ours.append(frozenset(mine))
        theirs.append(None if chosen is None else (chosen["source"], str(chosen["id"])))
    return ours, theirs


def _promised(student: Student, folder: Path, held_out: pa.Table) -> float | None:
    """How often the student agrees with held-out labels that it has not learned; None where these are too few."""
    evaluation = EvaluationSet.of(held_out, None, folder, student.info.constraint)
    if evaluation.pairs is None or evaluation.note is not None or evaluation.held_out.tuples < FEW:
        return None
    judged = judge(student, evaluation.pairs)
    wrong = np.bincount(judged.tuples, (judged.labels >= 0.5) != judged.matched)
    return float((wrong == 0).mean())


def _shifts(snapshot: Snapshot, student: Path) -> list[Shift]:
    """How today's pairs differ from those in the student's profile."""
    before = PairProfile.read(student)
    pairs = sampled(snapshot.connection, snapshot.table("er_pairs"))
    read = read_candidates(pairs, CommonSettings().max_candidates)
    if before is None or read is None:
        return []
    names = [name.split(" ", 1) for name in before.columns]
    left, right = (
        records.with_columns([column for known, column in names if known == side])
        for side, records in zip(("left", "right"), read[:2], strict=True)
    )
    query = f"select probability from {snapshot.relation('er_choices')} where student = ?"  # noqa: S608
    scored = snapshot.connection.execute(query, [student.name]).fetchnumpy()["probability"]
    now = PairProfile.of(left, right, np.ma.filled(scored.astype(np.float64), np.nan))
    words = count_words(side.take(side.distinct[0]) for side in (left, right))
    return shifts(before, now, before.unseen_share(words))


@dataclass(frozen=True)
class Asked:
    """How many questions there were, how many of them got an answer, and how many were wanted (`er_drift_tuples`)."""

    tuples: int
    answered: int
    wanted: int
    stopped: str | None = None

    @property
    def too_few(self) -> str:
        """Why there are too few answers, and what would give more."""
        needed = f"{FEW} answers are needed to say how far the teacher agrees"
        if self.tuples < min(FEW, self.wanted):
            there = (
                counted(self.tuples, "left record has", "left records have") if self.tuples else "no left record has"
            )
            return f"today {there} candidates, and {needed}; run `dbt build` once there are more records"
        if self.tuples < FEW:
            more = f"ask about more (--tuples, or er_drift_tuples, which is {self.wanted:,})"
        else:
            more = "raise the budget" if self.stopped else "the other questions failed, or the teacher abstained"
        return f"{self.answered:,} of {counted(self.tuples, 'question')} got an answer, and {needed}; {more}"


def _agreement_said(found: Agreement | None, promised: float | None, asked: Asked) -> tuple[str, str]:
    """What the teacher's answers say: DRIFTED, CALM or UNKNOWN, and why in a sentence."""
    if found is None:
        return UNKNOWN, asked.too_few
    share = found.all
    said = f"the teacher agrees with {share.value:.1%} of {share.of:,} decisions ({share.low:.1%} to {share.high:.1%})"
    if promised is None:
        # Nobody can promise more than that it agrees with all.
        calm = CALM if share.value == 1 else UNKNOWN
        return calm, f"{said}; no held-out labels say what to expect (er_training: schedule holds some out)"
    return (DRIFTED if share.high < promised else CALM), f"{said}, where {promised:.1%} were to be expected"


def _shifts_said(found: list[Shift], limit: float) -> list[tuple[bool, str]]:
    """What the pairs say: whether that is drift, and why in a sentence."""
    if not found:
        return [(False, "the student has no profile of the pairs that it was trained on")]
    far = [shift for shift in found if shift.psi >= limit and shift.psi > shift.chance]
    if not far:
        farthest = f"{found[0].what} most of all, by {found[0].psi:.2f}"
        return [(False, f"the pairs are like those trained on ({farthest}; drift begins at {limit:g})")]
    return [(True, f"{shift.what} has moved by {shift.psi:.2f}, where drift begins at {limit:g}") for shift in far]
