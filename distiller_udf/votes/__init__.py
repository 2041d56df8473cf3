"""Several teachers' answers about a left record become one label; how reliable each teacher is.

`questions` finds the rows of `er_labels` that count and brings their candidates into one order; `decisions` counts the
ballots on each question or pair, with `dawid_skene` where reliability matters; here the result becomes rows again.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.errors import one_of
from distiller_udf.records import content_hash, one_array
from distiller_udf.votes.dawid_skene import ABSTAINED, Ballots, estimate
from distiller_udf.votes.decisions import Decided, decide
from distiller_udf.votes.questions import Questions, column, read_questions

__all__ = ["VOTES", "reliabilities", "vote"]

VOTES = ("majority", "dawid_skene", "unanimous")
_ALWAYS = ("confidence", "probabilities", "error")
_REASONS = ("explanation", "explanations")
_SUMMED = {"cost_usd": pa.float64(), "input_tokens": pa.int64(), "output_tokens": pa.int64()}


def vote(labels: pa.Table, method: str = "majority", asked: int | None = None) -> pa.Table:
    """One label a left record: the columns of `labels` (as in `er_labels`), `teachers` and `agreement`.

    - majority: the most frequent answer; a tie abstains, and whoever abstained has no vote.
    - unanimous: the answer that all share; where several teachers are asked, two at least must have answered.
    - dawid_skene: the most probable answer, given how reliable each teacher turns out to be (`dawid_skene.estimate`);
      it abstains where that is one that nobody gave, or hardly ahead of another.

    `asked` is how many teachers are asked about each left record, whether their answers are there or not; None = as
    many as `labels` has.

    Answers count together where they are about the same question (see `read_questions`). `probabilities` is the mean
    over the teachers, or the posterior; NULL where all say the same and nobody gave any. `confidence` is the mean of
    those who agree, or the posterior; `explanation` that of the first who agrees, by name; costs are sums, NULL where
    one is unknown. `agreement` is the share of the answers that are the result (or the most frequent one, where the
    vote abstains), NULL without any. An abstention has its reason in `error`.

    Where `ask` is match, every pair is voted on by itself: one that is tied or unanswered gets no probability; the
    choice is the best pair that is one, none only where no pair is, and NULL otherwise.

    Labels stay as they are where no left record has two. Raises LabelError when columns are missing, SettingsError for
    a method.
    """
    one_of("the vote", method, VOTES)
    questions = read_questions(labels)
    needed = min(2, len(questions.names) if asked is None else asked)
    one_each = len(questions.question) == len(questions.sizes)
    if one_each and not (method == "unanimous" and needed > 1):
        return _with_agreement(questions.labels, questions, np.where(questions.usable, 1.0, np.nan))
    decided = decide(questions, method, needed)
    return _with_agreement(_as_labels(questions, method, decided), questions, decided.agreement)


def reliabilities(labels: pa.Table) -> pa.Table:
    """What dawid_skene makes of each teacher: one row a teacher and `ask`; shares from 0 to 1.

    `answers`: how many it gave (to whole questions, or to pairs where `ask` is match), `compared`: those that another
    teacher answered too. `none_given_none`: it says none where none is right; `match_given_match`: it names the right
    candidate where one is right; `none_given_match`: it says none there (the rest are wrong candidates); `accuracy`: it
    is right, over all; `prior_none`: of how many none is right, the same for all teachers.

    They are estimated from the teachers' agreement alone: what all of them get wrong together does not show. A teacher
    who is compared with nobody has NULL. Raises LabelError when columns are missing.
    """
    asked = read_questions(labels)
    ballots = {"select": asked.selecting, "match": asked.matching}
    return pa.concat_tables([_reliabilities(ask, votes, asked.names) for ask, votes in ballots.items()])


def _reliabilities(ask: str, ballots: Ballots, names: list[str]) -> pa.Table:
    """The rows of `reliabilities` for one `ask`."""
    found = estimate(ballots)
    answers = np.bincount(ballots.teacher, minlength=ballots.teachers)
    compared = np.bincount(ballots.teacher[ballots.compared[ballots.unit]], minlength=ballots.teachers)
    right = (1 - found.none_given_match) * (found.right_among if ask == "select" else 1.0)
    shares = {
        "none_given_none": found.none_given_none,
        "match_given_match": right,
        "none_given_match": found.none_given_match,
        "accuracy": found.prior_none * found.none_given_none + (1 - found.prior_none) * right,
        "prior_none": np.full(len(names), found.prior_none),
    }
    teachers, asks = pa.array(names, pa.string()), pa.array([ask] * len(names), pa.string())
    columns = {"teacher": teachers, "ask": asks, "answers": pa.array(answers), "compared": pa.array(compared)}
    columns |= {name: pa.array(values, mask=compared == 0) for name, values in shares.items()}
    return pa.table(columns).filter(pa.array(answers > 0))


def _as_labels(asked: Questions, method: str, decided: Decided) -> pa.Table:
    """The result in the columns of the labels; what is not decided is that of the question's first row."""
    voted = asked.labels.take(pa.array([rows.start for rows in asked.rows], pa.int64()))
    chosen = decided.choice > 0
    at = pa.array(np.where(chosen, asked.offsets + decided.choice - 1, 0), mask=~chosen)
    option = one_array(voted["options"]).flatten().take(at)
    keys = [str(key) for key in column(asked.labels, "label_key", pa.string()).to_pylist()]
    hashes = [content_hash("vote", method, *(keys[row] for row in rows)) for rows in asked.rows]
    columns = {
        "label_key": pa.array(hashes, pa.string()),
        "teacher": pa.array([f"{method} of {', '.join(asked.names)}"] * len(voted), pa.string()),
        "ask": pc.if_else(pa.array(asked.is_match), "match", "select"),
        "choice": pa.array(decided.choice, pa.int32(), mask=decided.choice == ABSTAINED),
        "right_source": pc.struct_field(option, "source"),
        "right_id": pc.struct_field(option, "id"),
        "confidence": pa.array(decided.confidence, pa.float64(), mask=np.isnan(decided.confidence)),
        "probabilities": _lists(asked, decided.p),
        "error": pa.array(_errors(asked, decided), pa.string()),
        **{name: _sum(asked, name) for name in _SUMMED},
        **{name: _reasons(asked, decided, name) for name in _REASONS if name in voted.column_names},
    }
    for name, values in columns.items():
        if name in voted.column_names:
            voted = voted.set_column(voted.column_names.index(name), name, values)
        elif name in _ALWAYS:
            voted = voted.append_column(name, values)
    return voted


def _with_agreement(labels: pa.Table, asked: Questions, agreement: np.ndarray) -> pa.Table:
    """Labels, one row a question, with `teachers` and `agreement`."""
    names = pa.array(asked.names, pa.string()).take(pa.array(asked.teacher[asked.usable]))
    offsets = pa.array(np.append(0, np.cumsum(asked.answers)), pa.int32())
    share = pa.array(agreement, pa.float64(), mask=np.isnan(agreement))
    teachers = pa.ListArray.from_arrays(offsets, names)
    return labels.append_column("teachers", teachers).append_column("agreement", share)


def _lists(asked: Questions, p: np.ndarray) -> pa.Array:
    """Probabilities as one list a question, NULL where it has none at all."""
    known = np.bincount(asked.slot_question, np.isfinite(p), len(asked.sizes)) > 0
    offsets = pa.array(np.append(asked.offsets, len(p)), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(p, pa.float64(), mask=np.isnan(p)), mask=pa.array(~known))


def _sum(asked: Questions, name: str) -> pa.Array:
    """The sum of a column over each question's rows, NULL where one is unknown."""
    values = np.asarray(column(asked.labels, name, pa.float64()), dtype=np.float64)
    sums = np.bincount(asked.question, values, len(asked.sizes))
    unknown = np.isnan(sums)
    return pa.array(np.where(unknown, 0, sums), mask=unknown).cast(_SUMMED[name])


def _reasons(asked: Questions, decided: Decided, name: str) -> pa.Array:
    """The reasons, in a column, of the first teacher who agrees and gave some."""
    given = one_array(asked.labels[name])
    rows = np.flatnonzero(asked.agree(decided.choice) & np.asarray(given.is_valid()))
    questions, first = np.unique(asked.question[rows], return_index=True)
    at = np.full(len(asked.sizes), -1)
    at[questions] = rows[first]
    return given.take(pa.array(at, mask=at < 0))


def _errors(asked: Questions, decided: Decided) -> list[str | None]:
    """Why there is no choice; None where there is one."""
    told = column(asked.labels, "error", pa.string()).to_pylist()
    errors: list[str | None] = [None] * len(asked.rows)
    for question in np.flatnonzero(decided.choice == ABSTAINED).tolist():
        answered = [row for row in asked.rows[question] if asked.usable[row]]
        if not answered:
            known = (told[row] for row in asked.rows[question] if told[row])
            errors[question] = next(known, "abstained: no teacher answered")
        elif asked.is_match[question] and asked.sizes[question]:
            pairs = decided.p[asked.offsets[question] :][: asked.sizes[question]]
            open_pairs = ", ".join(str(n) for n in np.flatnonzero(np.isnan(pairs)) + 1)
            errors[question] = f"abstained: the teachers do not decide on {open_pairs}"
        else:
            errors[question] = f"abstained: {_who_says_what(asked, answered)}"
    return errors


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
