"""An LLM student from labels: fine-tuned on most of them, calibrated and judged by the rest."""

from __future__ import annotations

import gc
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import numpy as np

from distiller_udf.errors import TrainingError
from distiller_udf.prompts import MAX_TOKEN_CANDIDATES
from distiller_udf.settings.training import LLMSettings, SFTSettings
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.llm import LLMStudent, Serving, Weights
from distiller_udf.students.llm.causal import modules
from distiller_udf.students.llm.prompting import Prompter
from distiller_udf.teachers.weights import model_identity

from ...labelled import held_out
from ...learned import Learned
from ...material import Material, Report, Trained
from ..calibration import calibration
from .base import Base, empty_folder
from .examples import Example, examples
from .trainer import quietly

Generated: TypeAlias = "Material[LLMSettings]"


def fine_tune(material: Generated, report: Report) -> Trained:
    """Fine-tune by the method of the settings. Raises TrainingError, SettingsError."""
    settings = material.settings
    base = Base.of(settings)
    base.check()
    tokenizer = base.tokenizer()
    prompter = Prompter(tokenizer, settings.max_length)
    told = examples(material.labels, material.left.names, material.right.names, settings.pairwise)
    found = [_readable(example, prompter) for example in told]
    judged = held_out(material.pairs, settings.held_out, settings.seed)
    unseen = {text for text, kept in zip(material.pairs.left.texts(), judged, strict=True) if kept}
    unseen = {prompter.readable(text) for text in unseen}
    learned = [example for example in found if example.query not in unseen]
    if isinstance(settings, SFTSettings) and settings.explanations and not any(map(_has_reasons, learned)):
        raise TrainingError(
            "the labels hold no reasons to learn from; ask for them with er_teacher_justify_each: true, or leave "
            "explanations out"
        )
    report("loading the model", 0.1)
    method = import_module(f".{settings.method}", __package__)
    with quietly():
        trained = method.fine_tune(base, learned, prompter, material.work, report)
        folder = empty_folder(material.work / "student")
        rank = base.save(trained, tokenizer, folder)
    del trained
    _free_memory()
    report("asking about what was held out", 0.8)
    most = max(len(example.candidates) for example in learned)
    return _judged(material, base, np.flatnonzero(judged), folder, rank, most)


def _judged(material: Generated, base: Base, judged: np.ndarray, folder: Path, rank: int, most: int) -> Trained:
    """The student in `folder`, calibrated by what it says of the labelled pairs `judged`, which were held out."""
    settings, pairs = material.settings, material.pairs
    weights = Weights(
        base_model=base.shown,
        base_identity=model_identity(base.shown) if base.shown else "",
        rank=rank,
        max_length=settings.max_length,
        ask="match" if settings.pairwise else "select",
        candidates=min(most, MAX_TOKEN_CANDIDATES),
        slope=1.0,
        offset=0.0,
        alone_slope=1.0,
        alone_offset=0.0,
        explains=_explains(settings),
    )
    info = StudentInfo("llm", "untried", material.left.names, material.right.names, 0.5, 0.5, settings.constraint)
    student = LLMStudent(info, folder, weights, Serving(local_only=settings.local_only))
    seen = pairs.take(judged)
    together, alone = np.zeros(len(pairs)), np.zeros(len(pairs))
    fitted = []
    for log_odds, tuples in ((together, seen.tuples), (alone, np.arange(len(seen)))):
        raw = student.raw_log_odds(seen.left, seen.right, tuples)
        slope, offset = calibration(raw, seen.labels, seen.weights)
        log_odds[judged] = slope * raw + offset
        fitted.append((slope, offset))
    (slope, offset), (alone_slope, alone_offset) = fitted
    calibrated = replace(weights, slope=slope, offset=offset, alone_slope=alone_slope, alone_offset=alone_offset)
    return Trained(
        together,
        lambda info: LLMStudent(info, folder, calibrated, Serving()),
        judged,
        alone,
        base_model=base.origin,
        learned_before=Learned.read(Path(settings.start)) if settings.start else Learned(),
    )


def _readable(example: Example, prompter: Prompter) -> Example:
    """The example as its records are shown."""
    shown = tuple(map(prompter.readable, example.candidates))
    return replace(example, query=prompter.readable(example.query), candidates=shown)


def _has_reasons(example: Example) -> bool:
    return bool(example.explanation or example.reasons)


def _explains(settings: LLMSettings) -> bool:
    """Whether the student was taught to give reasons, now or by what it goes on from."""
    if isinstance(settings, SFTSettings) and settings.explanations:
        return True
    if settings.start is None:
        return False
    folder = Path(settings.start)
    return LLMStudent.load(folder, StudentInfo.read(folder)).weights.explains


def _free_memory() -> None:
    """Give back what the training held before the student is loaded again."""
    torch, _ = modules()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
