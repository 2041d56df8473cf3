"""Labelling: tuples go in, answers come out, and nothing is paid for twice.

Every answer goes through the label store: what is there is not asked again, what arrives is stored before anything
else happens. A teacher that fails midway loses nothing; the next run asks only what is missing.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from distiller_udf.errors import LabelError, TeacherError
from distiller_udf.imported import id_text
from distiller_udf.labels import LabelStore
from distiller_udf.prompts import Answer, Question
from distiller_udf.records import Records, content_hash, one_array
from distiller_udf.teachers.base import Prepared, Teacher
from distiller_udf.tuples import Tuples, label_table

logger = logging.getLogger(__name__)

EMPTY_TEXT = "{}"
_FREE_AT_ONCE = 500


@dataclass(frozen=True)
class Progress:
    """Where a run stands, in distinct questions: `total` = `cached` + `answered` + `failed` + those still to come.

    `cached` came from the store, `answered` from the teacher in this run; of these `abstained` are unusable. `tokens`
    and `cost_usd` are what this run has used as far as known; `cost_unknown` counts the answers without a price.
    """

    total: int = 0
    cached: int = 0
    answered: int = 0
    abstained: int = 0
    failed: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    cost_unknown: int = 0

    def plus(self, answer: Answer) -> Progress:
        """The same after one more answer from the teacher."""
        return replace(
            self,
            answered=self.answered + (not answer.failed),
            abstained=self.abstained + answer.abstained,
            failed=self.failed + answer.failed,
            tokens=self.tokens + (answer.input_tokens or 0) + (answer.output_tokens or 0),
            cost_usd=self.cost_usd + (answer.cost_usd or 0.0),
            cost_unknown=self.cost_unknown + (answer.cost_usd is None and not answer.failed),
        )


class OnProgress(Protocol):
    """Called once at the start and after every answer, in the thread that labels."""

    def __call__(self, progress: Progress, /) -> None: ...


def label_tuples(
    tuples: pa.Table | pa.RecordBatchReader,
    *,
    teacher: Teacher,
    store: LabelStore,
    pairs: pa.Table | Callable[[], pa.Table] | None = None,
    progress: OnProgress | None = None,
) -> pa.Table:
    """Answer every tuple through the store: a table of the shape of `er_labels`, one row an answer, in order.

    `tuples` has the columns of `er_tuples`; ids keep their type. `pairs` are all candidate pairs, or a function that
    fetches them, for a teacher that looks at them first. A question that failed gives no row, so that an earlier
    answer stays where it is; it is not stored, and is asked again by the next run. What was asked is logged at the end.

    Raises LabelError when the tuples or the store cannot be used, and TeacherError when the teacher cannot be asked;
    whatever was answered until then is kept.
    """
    read = Tuples.from_table(tuples.read_all() if isinstance(tuples, pa.RecordBatchReader) else tuples)

    def all_pairs() -> pa.Table:
        return pairs() if callable(pairs) else read.pairs() if pairs is None else pairs

    answers = answer_questions(read.questions, teacher=teacher, store=store, pairs=all_pairs, progress=progress)
    keys = [question.key(teacher) for question in read.questions]
    table = label_table(read, keys, answers, [teacher.name] * len(keys))
    answered = [not answer.failed for answer in answers]
    return table if all(answered) else table.filter(pa.array(answered, pa.bool_()))


def answer_questions(
    questions: Sequence[Question],
    *,
    teacher: Teacher,
    store: LabelStore,
    pairs: Callable[[], pa.Table] | None = None,
    progress: OnProgress | None = None,
) -> list[Answer]:
    """The answer to each question, from the store or else from the teacher; those that failed say so.

    `pairs` fetches all candidate pairs, for a teacher that looks at them first: its keys tell what it has seen. See
    `label_tuples`.
    """
    if questions and pairs is not None and isinstance(teacher, Prepared):
        teacher.prepare(pairs())
    keys = [question.key(teacher) for question in questions]
    distinct = dict(zip(keys, questions, strict=True))
    answers = {key: given for key, question in distinct.items() if (given := _without_asking(question))}
    answers |= store.get(key for key in distinct if key not in answers)
    missing = {key: question for key, question in distinct.items() if key not in answers}
    notify: OnProgress = progress or (lambda progress: None)
    state = Progress(total=len(distinct), cached=len(answers))
    notify(state)
    if missing:
        logger.info("asking %s: %d questions, %d more are answered already", teacher.name, len(missing), len(answers))
        asked, state = _ask(missing, teacher, store, state, notify)
        answers |= asked
    if questions:
        _log_end(teacher, state, [answer for answer in answers.values() if answer.failed])
    return [answers[key] for key in keys]


@dataclass(frozen=True)
class ImportedReport:
    """What became of the imported labels: `used` of `total`; the others name records that are not there.

    `options_dropped` counts options without a record that were not chosen: such a label is still used.
    `examples` are sentences about a few of the unused ones.
    """

    total: int
    used: int
    options_dropped: int
    examples: tuple[str, ...] = ()


def imported_labels(
    store: LabelStore, records: pa.Table, *, teacher: str | None = None, sources: Sequence[str] | None = None
) -> tuple[pa.Table, ImportedReport]:
    """The imported labels of `teacher` (or all) in the shape of `er_labels`, with the records as they are now.

    `records` has the columns `source`, `id` and `record` (STRUCT or text), and may have `id_text`, the id as DuckDB
    writes it (`cast(id as varchar)`), by which ids of any type are found. `sources` are the sources in the order in
    which they are declared: a label that names no source means the first on its left, the last on its right (where
    there are more than two, the source in which the id is found). Ids are compared as text and returned in the
    type of `records`. Raises LabelError when a column is missing.
    """
    labels = store.imported(teacher).to_pylist()
    find = _Finder(records, sources)
    found, examples, dropped = [], [], 0
    for label in labels:
        left = find.position(label["left_id"], label["left_source"], left=True)
        options = [find.position(option, label["right_source"], left=False) for option in label["options"]]
        choice = label["choice"]
        if left is None or (choice and options[choice - 1] is None):
            side = "left record" if left is None else "chosen option"
            examples.append(f"{label['teacher']}: the {side} of left_id {label['left_id']} is no record of the input")
            continue
        kept = [position for position in options if position is not None]
        dropped += len(options) - len(kept)
        moved = choice - options[: choice - 1].count(None) if choice else choice
        found.append((left, kept, label, moved))
    report = ImportedReport(len(labels), len(found), dropped, tuple(examples[:5]))
    if report.used < report.total:
        logger.warning("%d of %d imported labels name unknown records", report.total - report.used, report.total)
    return _imported_table(find, found), report


_FoundLabel = tuple[int, list[int], dict[str, Any], int | None]
"""Positions of the left record and of the options, the imported row, its choice among these options."""


def _imported_table(find: _Finder, found: list[_FoundLabel]) -> pa.Table:
    """Imported labels whose records were found, as rows of `er_labels`."""
    left = pa.array([position for position, *_ in found], pa.int64())
    members = pa.array([position for _, kept, *_ in found for position in kept], pa.int64())
    tuples = Tuples(
        left_source=find.sources.take(left),
        left_id=find.ids.take(left),
        queries=find.texts(left),
        offsets=np.concatenate([[0], np.cumsum([len(kept) for _, kept, *_ in found])]).astype(np.int32),
        sources=find.sources.take(members),
        ids=find.ids.take(members),
        texts=find.texts(members),
    )
    answers = [
        Answer(
            choice,
            label["confidence"],
            explanation=label["explanation"],
            error="abstained: the imported label has no answer" if choice is None else None,
        )
        for _, _, label, choice in found
    ]
    teachers = [label["teacher"] for *_, label, _ in found]
    keys = [
        # The keys of the left record too: two imported labels may show the same texts.
        content_hash("imported", label["teacher"], label["left_source"], label["left_id"], q.query, *q.candidates)
        for (*_, label, _), q in zip(found, tuples.questions, strict=True)
    ]
    return label_table(tuples, keys, answers, teachers)


class _Finder:
    """Finds records by source and id."""

    def __init__(self, records: pa.Table, sources: Sequence[str] | None) -> None:
        missing = [name for name in ("source", "id", "record") if name not in records.column_names]
        if missing:
            raise LabelError(f"the records lack the columns {', '.join(missing)}")
        self.sources, self.ids = one_array(records["source"]), one_array(records["id"])
        self._records = one_array(records["record"])
        self._by_key: dict[tuple[str, str], int] = {}
        self._by_id: dict[str, dict[int, None]] = {}
        names = [str(source) for source in self.sources.to_pylist()]
        self._numbers = _is_number(self.ids.type)
        for spelling in self._spellings(records):
            # An id in DuckDB's own text comes first: other ways to write one may not take its place.
            for position, (source, text) in enumerate(zip(names, spelling, strict=True)):
                if text is not None and self._by_key.setdefault((source, text), position) == position:
                    self._by_id.setdefault(text, {})[position] = None
        declared = list(sources) if sources is not None else list(dict.fromkeys(names))
        self._default = {True: declared[0], False: declared[-1]} if 1 <= len(declared) <= 2 else {}

    def position(self, value: str, source: str, *, left: bool) -> int | None:
        """The row of the record with this id; None when it is unknown or, without a source, not unique."""
        source = source or self._default.get(left, "")
        for text in dict.fromkeys((value, _whole(value)) if self._numbers else (value,)):
            if source and (source, text) in self._by_key:
                return self._by_key[source, text]
            same_id = self._by_id.get(text, {})
            if not source and same_id:
                return next(iter(same_id)) if len(same_id) == 1 else None
        return None

    def _spellings(self, records: pa.Table) -> Iterator[list[str | None]]:
        """All ids as text, in one way after the other, the most faithful first."""
        known = "id_text" in records.column_names
        if known:
            texts = one_array(records["id_text"]).to_pylist()
            yield texts
            if self._numbers:
                yield [None if text is None else _whole(text) for text in texts]
        try:
            yield [id_text(value) for value in self.ids.to_pylist()]
        except (ValueError, ImportError, pa.ArrowException):
            # Python has no such value: nanoseconds, far dates, a time zone that is not installed.
            if not known:
                yield self.ids.cast(pa.string()).to_pylist()

    def texts(self, positions: pa.Array) -> list[str]:
        """Canonical texts of the records at these rows."""
        return Records.from_arrow(self._records.take(positions)).texts()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _whole(text: str) -> str:
    """A number without decimals that say nothing: 12.0 is 12."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)


def _ask(
    missing: dict[str, Question], teacher: Teacher, store: LabelStore, state: Progress, notify: OnProgress
) -> tuple[dict[str, Answer], Progress]:
    """Ask what is missing and store every answer as it arrives; a question left unanswered counts as failed."""
    key_of = {question: key for key, question in missing.items()}
    answers = {key: Answer(None, error="no answer: the teacher passed over it", failed=True) for key in missing}
    arrived = 0
    try:
        with contextlib.closing(_chunks(teacher, list(missing.values()))) as chunks:
            for chunk in chunks:
                for (question, given), held in zip(chunk, store.put_many(chunk, teacher), strict=True):
                    answers[key_of[question]] = held
                    state = state.plus(given)
                    arrived += not given.failed
                    notify(state)
    except TeacherError as error:
        if not arrived:
            raise
        kept = f"{arrived:,} of {len(missing):,} answers arrived and are kept; run again to ask only the rest"
        raise type(error)(f"{error} ({kept})") from error
    passed_over = len(missing) - state.answered - state.failed
    return answers, replace(state, failed=state.failed + passed_over)


def _log_end(teacher: Teacher, state: Progress, failed: Sequence[Answer]) -> None:
    """Say in one line what was asked and what it cost, and warn where questions failed."""
    unknown = f" and {state.cost_unknown} answers of unknown price" if state.cost_unknown else ""
    logger.info(
        "%s: %d answered (%d abstained), %d answered before, %d failed, cost %.4f USD%s",
        *(teacher.name, state.answered, state.abstained, state.cached, state.failed, state.cost_usd, unknown),
    )
    if failed:
        logger.warning(
            "%d of %d questions to %s failed and will be asked again by the next run; the first: %s",
            *(len(failed), state.total, teacher.name, failed[0].error),
        )


def _chunks(teacher: Teacher, questions: list[Question]) -> Generator[list[tuple[Question, Answer]], None, None]:
    """The answers one by one as they arrive; those of a free teacher many at a time, as losing them costs nothing."""
    answers = teacher.answer(questions)
    try:
        while chunk := list(itertools.islice(answers, _FREE_AT_ONCE if teacher.free else 1)):
            yield chunk
    finally:
        close = getattr(answers, "close", None)
        if close:
            close()  # stops the calls that are still under way


def _without_asking(question: Question) -> Answer | None:
    """The answer to a question that nobody needs to be asked."""
    if question.query == EMPTY_TEXT:
        return Answer(None, cost_usd=0.0, error="abstained: the record is empty")
    if not question.candidates:
        return Answer(0, confidence=1.0, cost_usd=0.0, explanation="It has no candidates.")
    return None
