"""The result of a vote, as rows of `er_labels`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import one_of
from distiller_udf.records import content_hash, one_array
from distiller_udf.votes.dawid_skene import Ballots, estimate
from distiller_udf.votes.questions import UNANSWERED, Questions, read_questions

METHODS = ("majority", "dawid_skene", "unanimous")
NEAR_TIE = 0.1
"""dawid_skene abstains where the best answer's posterior is ahead of the next one's by less than this."""

_SUMMED = {"cost_usd": pa.float64(), "input_tokens": pa.int64(), "output_tokens": pa.int64()}


def vote(labels: pa.Table, method: str = "majority") -> pa.Table:
    """One label a left record: the columns of `labels` (as in `er_labels`), `teachers` and `agreement`.

    - majority: the most frequent answer; a tie abstains, and whoever abstained has no vote.
    - unanimous: the answer that all share; where there are several teachers, two at least must have been asked.
    - dawid_skene: the most probable answer, given how reliable each teacher turns out to be (`dawid_skene.estimate`).

    Answers count together where they are about the same question (see `read_questions`). `probabilities` is the mean
    over the teachers, or the posterior; NULL where all say the same and nobody gave any. `confidence` is the mean of
    those who agree, or the posterior; `explanation` that of the first who agrees, by name; costs are sums, NULL where
    one is unknown. `agreement` is the share of the answers that are the result (or the most frequent one, where the
    vote abstains), NULL without any. An abstention has its reason in `error`.

    Where `ask` is match, every pair is voted on by itself: one that is tied or unanswered gets no probability; the
    choice is the best pair that is one, none only where no pair is, and NULL otherwise.

    A single teacher's labels stay as they are. Raises LabelError when columns are missing, SettingsError for a method.
    """
    one_of("the vote", method, METHODS)
    asked = read_questions(labels)
    if len(asked.names) <= 1:
        return _with_agreement(asked.labels, asked, np.where(asked.usable, 1.0, np.nan))
    decided = _of_pairs(asked, method, _of_questions(asked, method))
    return _with_agreement(_as_labels(asked, method, decided), asked, decided.agreement)


def reliabilities(labels: pa.Table) -> pa.Table:
    """What dawid_skene makes of each teacher: one row a teacher and `ask`, shares from 0 to 1 beside its `answers`.

    `none_when_none`: it says none where none is right; `right_when_match` and `none_when_match`: it names the right
    candidate, or none, where a candidate is right (the rest are wrong candidates); `accuracy`: it is right, over all.
    They are estimated from the teachers' agreement alone: what all of them get wrong together does not show.
    """
    asked = read_questions(labels)
    columns: dict[str, list[object]] = {name: [] for name in _RELIABILITY}
    for ask, ballots in (("select", asked.selecting), ("match", asked.matching)):
        found = estimate(ballots, len(asked.names))
        right = (1 - found.none_when_match) * (found.right_among if ask == "select" else 1.0)
        accuracy = found.prior_none * found.none_when_none + (1 - found.prior_none) * right
        answers = np.bincount(ballots.teacher, minlength=len(asked.names))
        measured = (answers, found.none_when_none, right, found.none_when_match, accuracy)
        for teacher in np.flatnonzero(answers):
            row = (asked.names[teacher], ask, *(values[teacher] for values in measured))
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
    return pa.table({name: pa.array(columns[name], kind) for name, kind in _RELIABILITY.items()})


_RELIABILITY = {
    "teacher": pa.string(),
    "ask": pa.string(),
    "answers": pa.int64(),
    "none_when_none": pa.float64(),
    "right_when_match": pa.float64(),
    "none_when_match": pa.float64(),
    "accuracy": pa.float64(),
}


@dataclass(frozen=True)
class _Decided:
    """The result: `choice` (-1 = abstained), `confidence`, `agreement` a question (NaN = NULL), `p` a candidate."""

    choice: np.ndarray
    confidence: np.ndarray
    agreement: np.ndarray
    p: np.ndarray


def _winners(ballots: Ballots, method: str, asked: np.ndarray, teachers: int) -> tuple[np.ndarray, np.ndarray]:
    """What each unit's vote comes to (-1 = abstained), and the posterior of each slot (empty unless dawid_skene).

    `asked` is how many teachers were asked about each unit.
    """
    tally = ballots.tally
    top, total = ballots.best(tally), ballots.sums(tally)
    posterior = np.zeros(0)
    score = tally.astype(np.float64)
    margin = 0.0
    if method == "dawid_skene":
        posterior = estimate(ballots, teachers).posterior
        # Nothing is chosen that nobody said, however badly the teachers agree.
        score, margin = np.where(tally > 0, posterior, -1.0), NEAR_TIE
    best = ballots.best(score)
    leads = score > ballots.per_slot(best - margin) if margin else score == ballots.per_slot(best)
    clear = (ballots.sums(leads.astype(np.int64)) == 1) & (total > 0)
    if method == "unanimous":
        clear &= (top == total) & (asked >= min(2, teachers))
    at = np.flatnonzero(leads & ballots.per_slot(clear).astype(bool))
    choice = np.full(len(ballots.sizes), UNANSWERED, dtype=np.int64)
    choice[clear] = at - ballots.starts[clear]
    return choice, posterior


def _agreeing(ballots: Ballots, choice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many votes of each unit are its result, or its most frequent answer without one, and how many there are."""
    tally = ballots.tally
    of_result = tally[ballots.starts + np.maximum(choice, 0)] if len(choice) else np.zeros(0)
    return np.where(choice == UNANSWERED, ballots.best(tally), of_result), ballots.sums(tally)


def _of_questions(asked: Questions, method: str) -> _Decided:
    """The vote on whole questions."""
    ballots = asked.selecting
    teachers_asked = np.bincount(asked.question, minlength=len(asked.sizes))
    choice, posterior = _winners(ballots, method, teachers_asked, len(asked.names))
    agreeing, total = _agreeing(ballots, choice)
    agreement = np.divide(agreeing, total, out=np.full(len(total), np.nan), where=total > 0)
    if method == "dawid_skene":
        p = np.delete(posterior, ballots.starts) if len(posterior) else posterior
        confidence = np.where(choice == UNANSWERED, np.nan, posterior[ballots.starts + np.maximum(choice, 0)])
        p[~(total > 0)[asked.slot_question]] = np.nan
        return _Decided(choice, confidence, agreement, p)
    confidence = _mean_confidence(asked, choice)
    return _Decided(choice, confidence, agreement, _mean_distribution(asked, choice, agreement))


def _mean_distribution(asked: Questions, choice: np.ndarray, agreement: np.ndarray) -> np.ndarray:
    """The mean over a question's answers of the teachers' probabilities, of 1 for the choice where they gave none."""
    told = asked.choice[asked.row]
    hard = asked.slot == asked.offsets[asked.question[asked.row]] + told - 1
    given = np.bincount(asked.row, np.isfinite(asked.p), len(asked.question)) == asked.sizes[asked.question]
    p = np.where(given[asked.row], asked.p, hard)
    votes = told != UNANSWERED
    slots = len(asked.slot_question)
    sums = np.bincount(asked.slot[votes], p[votes], slots)
    counts = np.bincount(asked.slot[votes], minlength=slots)
    mean = np.divide(sums, counts, out=np.full(slots, np.nan), where=counts > 0)
    # A plain answer of all stays a plain answer: in deduplication, what was not chosen may match as well.
    soft = np.bincount(asked.question, given & (asked.choice != UNANSWERED), len(asked.sizes)) > 0
    return np.asarray(np.where((soft | ~(agreement == 1.0))[asked.slot_question], mean, np.nan))


def _mean_confidence(asked: Questions, choice: np.ndarray) -> np.ndarray:
    """The mean confidence of the teachers who chose what the vote chose."""
    if "confidence" not in asked.labels.column_names:
        return np.full(len(choice), np.nan)
    given = one_array(asked.labels["confidence"]).cast(pa.float64()).to_numpy(zero_copy_only=False)
    heard = np.isfinite(given) & (asked.choice == choice[asked.question]) & (asked.choice != UNANSWERED)
    sums = np.bincount(asked.question[heard], given[heard], len(choice))
    counts = np.bincount(asked.question[heard], minlength=len(choice))
    return np.asarray(np.divide(sums, counts, out=np.full(len(choice), np.nan), where=counts > 0))


def _of_pairs(asked: Questions, method: str, decided: _Decided) -> _Decided:
    """The same, with the questions whose pairs were asked by themselves decided pair by pair."""
    if not asked.is_match.any():
        return decided
    ballots, of = asked.matching, asked.slot_question
    teachers_asked = np.bincount(asked.question, minlength=len(asked.sizes))[of]
    said, posterior = _winners(ballots, method, teachers_asked, len(asked.names))
    known = np.isfinite(asked.p)
    counts = np.bincount(asked.slot[known], minlength=len(of))
    mean = np.bincount(asked.slot[known], asked.p[known], len(of)) / np.maximum(counts, 1)
    p = np.where(said == UNANSWERED, np.nan, posterior[1::2] if method == "dawid_skene" else mean)
    agreeing, total = _agreeing(ballots, said)
    yes_share = np.divide(agreeing, total, out=np.zeros(len(of)), where=total > 0)
    # The best pair: most of its answers say yes, then the highest probability, then the first shown.
    order = np.lexsort((-np.arange(len(of)), p, yes_share, said == 1, of))
    best = order[np.flatnonzero(np.diff(of[order], append=-1))]
    questions = len(asked.sizes)
    choice = np.full(questions, UNANSWERED, dtype=np.int64)
    all_no = np.bincount(of, said != 0, questions) == 0
    choice[all_no] = 0
    matched = best[said[best] == 1]
    choice[of[matched]] = matched - asked.offsets[of[matched]] + 1
    confidence = _mean_confidence(asked, choice)
    if method == "dawid_skene":
        confidence[choice == 0] = 1.0
        np.minimum.at(confidence, of[choice[of] == 0], (1 - p)[choice[of] == 0])
        confidence[of[matched]] = p[matched]
    votes = np.bincount(of, total, questions)
    shares = np.divide(np.bincount(of, agreeing, questions), votes, out=np.full(questions, np.nan), where=votes > 0)
    return _Decided(
        choice=np.where(asked.is_match, choice, decided.choice),
        confidence=np.where(asked.is_match, confidence, decided.confidence),
        agreement=np.where(asked.is_match, shares, decided.agreement),
        p=np.where(asked.is_match[of], p, decided.p),
    )


def _as_labels(asked: Questions, method: str, decided: _Decided) -> pa.Table:
    """The result in the columns of the labels; what is not decided is that of the question's first row."""
    base = asked.labels.take(pa.array(asked.first))
    chosen = decided.choice > 0
    at = pa.array(np.where(chosen, asked.offsets + decided.choice - 1, 0), mask=~chosen)
    options = one_array(base["options"])
    shown = dict(zip([field.name for field in options.type.value_type], options.flatten().flatten(), strict=True))
    agrees = (asked.choice == decided.choice[asked.question]) & (asked.choice != UNANSWERED)
    new = {
        "teacher": pa.array([f"{method} of {', '.join(asked.names)}"] * len(base), pa.string()),
        "choice": pa.array(decided.choice, pa.int32(), mask=decided.choice == UNANSWERED),
        "confidence": pa.array(decided.confidence, pa.float64(), mask=np.isnan(decided.confidence)),
        "probabilities": _lists(asked, decided.p),
        "error": pa.array(list(_errors(asked, decided)), pa.string()),
    }
    present = set(base.column_names)
    new |= {name: _sum(asked, name) for name in _SUMMED if name in present}
    if "label_key" in present:
        new["label_key"] = pa.array(list(_keys(asked, method)), pa.string())
    if "explanation" in present:
        new["explanation"] = _explanations(asked, agrees)
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


def _explanations(asked: Questions, agrees: np.ndarray) -> pa.Array:
    """The explanation of the first teacher who agrees and gave one."""
    given = one_array(asked.labels["explanation"])
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


def _errors(asked: Questions, decided: _Decided) -> Iterator[str | None]:
    """Why there is no choice; None where there is one."""
    told = asked.labels["error"].to_pylist() if "error" in asked.labels.column_names else [None] * len(asked.question)
    for number, (a, b) in enumerate(_spans(asked)):
        rows = [row for row in range(a, b) if asked.usable[row]]
        if decided.choice[number] != UNANSWERED:
            yield None
        elif not rows:
            yield next((error for error in told[a:b] if error), "abstained: no teacher answered")
        elif asked.is_match[number]:
            slots = range(asked.offsets[number], asked.offsets[number] + asked.sizes[number])
            open_pairs = [str(n) for n, slot in enumerate(slots, 1) if np.isnan(decided.p[slot])]
            yield f"abstained: the teachers do not decide on {', '.join(open_pairs)}"
        elif len({asked.choice[row] for row in rows}) == 1:
            yield f"abstained: {asked.names[asked.teacher[rows[0]]]} alone says {asked.choice[rows[0]] or 'none'}"
        else:
            says = (f"{asked.names[asked.teacher[row]]} {asked.choice[row] or 'none'}" for row in rows)
            yield f"abstained: the teachers disagree: {', '.join(says)}"


def _with_agreement(labels: pa.Table, asked: Questions, agreement: np.ndarray) -> pa.Table:
    """Labels, one row a question, with `teachers` and `agreement`."""
    names = pa.array([asked.names[i] for i in asked.teacher[asked.usable]], pa.string())
    counts = np.bincount(asked.question[asked.usable], minlength=len(asked.sizes))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    teachers = pa.ListArray.from_arrays(pa.array(offsets), names)
    share = pa.array(agreement, pa.float64(), mask=np.isnan(agreement))
    return labels.append_column("teachers", teachers).append_column("agreement", share)
