"""Train a student: labels → what its kind sees of pairs → pair models → calibrated choice → thresholds."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.errors import TrainingError, one_of
from distiller_udf.similarity import filled_columns, match_columns
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.odds import sigmoid

from .card import CARD, model_card
from .data import LabelledPairs, labelled_pairs, read_candidates
from .decisions import Decisions, counts, decided
from .kinds import KINDS
from .learned import Learned
from .material import Material, Report, Trained, model_name
from .pool import Pool
from .schedule.profile import PairProfile
from .settings import CommonSettings

logger = logging.getLogger(__name__)

MINIMUM_TUPLES = 4


def train(
    kind: str,
    labels: pa.Table,
    folder: Path,
    candidates: Iterable[pa.RecordBatch] | None = None,
    settings: Mapping[str, Any] | None = None,
    version: str | None = None,
    trained_from: Mapping[str, Any] | None = None,
    progress: Report | None = None,
    work: Path | None = None,
) -> StudentInfo:
    """Train a student of a kind (see `KINDS`) into the empty `folder` and return its manifest.

    `labels` has the shape of `er_labels`. `candidates` are batches of unlabelled pairs (`left`, `right`, optional
    integer `tuple`): they tell how rare words are, which columns belong together, and what the unlabelled rest looks
    like. `progress` is called with a step's name and the share done. `work` is a folder for what a long training
    keeps in case it is killed; the caller removes it.
    Raises TrainingError when the labels cannot carry a student, SettingsError for an unknown kind or setting.
    """
    one_of("student", kind, KINDS)
    chosen = KINDS[kind].settings.of(settings)
    report = progress or (lambda step, share: logger.info("%s (%.0f %%)", step, 100 * share))
    report("reading labels", 0.0)
    pairs = labelled_pairs(labels, chosen.constraint)
    _check(pairs)
    work = work or folder.with_name(f"{folder.name}.work")
    material = _material(labels, pairs, candidates, chosen, work, KINDS[kind].reads_all)
    report("reading candidates", 0.1)
    trained = KINDS[kind].train(material, report)
    report("writing the student", 0.95)
    decisions = _decided(trained, material)
    info = StudentInfo(
        kind=kind,
        version=version or kind,
        left_columns=material.left.names,
        right_columns=material.right.names,
        threshold=decisions.threshold,
        choice_threshold=decisions.choice_threshold,
        trained_from={**(trained_from or {}), **({"base_model": trained.base_model} if trained.base_model else {})},
        metrics=decisions.metrics,
        settings=_shareable(chosen),
        constraint=chosen.constraint,
        choice=decisions.choice,
    )
    folder.mkdir(parents=True, exist_ok=True)
    trained.student(info).save(folder)
    (Learned.of(labels) | trained.learned_before).write(folder)
    _profile(trained, material).write(folder)
    (folder / CARD).write_text(model_card(info, [path.name for path in folder.iterdir()]), encoding="utf-8")
    info = info.write(folder)
    report("done", 1.0)
    return info


def _decided(trained: Trained, material: Material[CommonSettings]) -> Decisions:
    """The decisions by what `trained` says of pairs that it has not seen."""
    pairs, pool, judged = material.pairs, material.pool, trained.judged
    if trained.labels is not None:
        pairs = replace(pairs, labels=trained.labels)
    if judged is None:
        return decided(trained.log_odds, pairs, pool, material.settings)
    alone = None if trained.alone is None else trained.alone[judged]
    told = trained.log_odds[judged], pairs.take(judged), pool.of_labelled(judged)
    decisions = decided(*told, material.settings, alone)
    metrics = {**decisions.metrics, "judged_tuples": decisions.metrics["labelled_tuples"], **counts(pairs)}
    return replace(decisions, metrics=metrics)


def _profile(trained: Trained, material: Material[CommonSettings]) -> PairProfile:
    """What the candidates are like, so that it can be told when they have drifted away.

    Of labelled pairs alone the probabilities say nothing about all: how these were chosen shows in them.
    """
    log_odds = trained.log_odds if trained.judged is None else trained.log_odds[:0]
    return PairProfile.of(material.left, material.right, sigmoid(log_odds))


def _material(
    labels: pa.Table,
    pairs: LabelledPairs,
    candidates: Iterable[pa.RecordBatch] | None,
    settings: CommonSettings,
    work: Path,
    reads_all: bool,
) -> Material[CommonSettings]:
    read = read_candidates(candidates, settings.max_candidates) if candidates is not None else None
    left, right, tuples = read if read is not None else (pairs.left, pairs.right, None)
    left, right = filled_columns(left, right, one_table=not settings.constraint.limits_left)
    matching = None if reads_all else match_columns(left, right)
    if matching is not None:
        left, right = matching.compared(left, right)
        if unseen := matching.warning():
            logger.warning("%s", unseen)
    pairs = pairs.with_columns(left.names, right.names)
    _check_columns(pairs)
    pool = Pool.of(pairs, left, right, tuples, settings.seed, settings.constraint)
    return Material(labels, pairs, pool, left, right, settings, work, matching)


def _shareable(settings: CommonSettings) -> dict[str, Any]:
    """The settings as a manifest keeps them: of folders the name alone, for they are elsewhere on other machines."""
    known = asdict(settings)
    return known | {name: model_name(known[name]) for name in ("encoder", "model", "start") if known.get(name)}


def _check_columns(pairs: LabelledPairs) -> None:
    """Raise TrainingError where the labelled records have none of the candidates' columns."""
    for side, records in (("left", pairs.left), ("right", pairs.right)):
        if records.empty.all():
            raise TrainingError(
                f"the labels' {side} records have none of the columns of the candidates' {side} records "
                f"({', '.join(records.names) or 'none that is filled'}); give the pairs that the labels are about"
            )


def _check(pairs: LabelledPairs) -> None:
    """Raise TrainingError where nothing could be learnt."""
    positive = int((pairs.labels >= 0.5).sum())
    if pairs.questions < MINIMUM_TUPLES:
        raise TrainingError(
            f"{pairs.questions} labelled tuples are too few to train on; label at least {MINIMUM_TUPLES}, better 50; "
            "where a budget ended the asking, raise it or run again"
        )
    if positive == 0:
        raise TrainingError(
            f"the teacher found no match in {pairs.questions} tuples, so there is nothing to learn; check that "
            "blocking proposes true matches, or label more records with another selection"
        )
    if positive == len(pairs):
        raise TrainingError(
            f"all {len(pairs)} labelled pairs are matches, so there is nothing to tell them from; "
            "let blocking propose more candidates a record, or label records that have no match"
        )
