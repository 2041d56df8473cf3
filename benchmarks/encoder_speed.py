"""How fast pairs are scored by the students that use an encoder, beside a cross-encoder of the same weights."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.runs import Training, decide, decided_by, judged
from benchmarks.tasks import Task
from distiller_udf.encoding import EncoderFeatures
from distiller_udf.encoding.loading import located
from distiller_udf.students import load_student
from distiller_udf.students.kinds import ENCODING_FOLDER, EncoderStudent
from distiller_udf.students.pairwise import PairwiseStudent

CROSS_ENCODER_PAIRS = 400
PAIRS = 4_000


def encoder_figures(task: Task, teacher: str, selection: str, model: str) -> dict[str, float]:
    """Pairs a second from cold, each record encoded on the way, and what other precisions cost in pair F1.

    `int8` quantises the linear layers of the encoder's attention as torch does (dynamically); of all linear layers it
    would cost 0.015 of pair F1 and more. Students do not offer it, because its scales come from the batch. Raises
    ImportError where sentence-transformers is missing.
    """
    figures = {"cross_encoder_predict_pairs_per_second": _speed(_cross_encoder(model), task, CROSS_ENCODER_PAIRS)}
    with tempfile.TemporaryDirectory() as staged:
        folders = {kind: Path(staged) / kind for kind in ("encoder", "blend")}
        for kind, folder in folders.items():
            decide(task, teacher, selection, folder, 0, Training(kind, settings={"encoder": model}))
        f1: dict[str, float] = {}
        for name, precision in {"": "float32", "bfloat16_": "bfloat16", "int8_": "float32"}.items():
            student = load_student(folders["encoder"])
            assert isinstance(student, EncoderStudent)
            student.encoding = EncoderFeatures.load(folders["encoder"] / ENCODING_FOLDER, precision)
            if name == "int8_":
                _quantise(student.encoding)
            figures[f"encoder_{name}pairs_per_second"] = _speed(_scorer(student), task, PAIRS)
            f1[name] = judged(task, decided_by(student, task, teacher, selection, 0, 0.0)).pair_f1
        figures |= {f"encoder_{name}f1_loss": f1[""] - value for name, value in f1.items() if name}
        blend = load_student(folders["blend"])
        figures["blend_pairs_per_second"] = _speed(_scorer(blend), task, PAIRS)  # type: ignore[arg-type]
    return figures


def _speed(score: Callable[[Task, np.ndarray, np.ndarray], object], task: Task, pairs: int) -> float:
    """Pairs a second over the first candidates of a task, after the last few have warmed everything up."""
    left, right = task.split(None)
    pairs = min(pairs, len(left) - 50)
    score(task, left[-50:], right[-50:])
    started = time.perf_counter()
    score(task, left[:pairs], right[:pairs])
    return pairs / (time.perf_counter() - started)


def _scorer(student: PairwiseStudent) -> Callable[[Task, np.ndarray, np.ndarray], np.ndarray]:
    return lambda task, left, right: student.score(task.left.take(left), task.right.take(right))


def _cross_encoder(model: str) -> Callable[[Task, np.ndarray, np.ndarray], object]:
    """Plain sentence-transformers: a cross-encoder of these weights over the values of both records."""
    from sentence_transformers import CrossEncoder

    encoder = CrossEncoder(located(model), num_labels=1)

    def score(task: Task, left: np.ndarray, right: np.ndarray) -> object:
        sides = zip(task.left.take(left).to_dicts(), task.right.take(right).to_dicts(), strict=True)
        texts = [tuple(" ".join(filter(None, record.values())) for record in pair) for pair in sides]
        return encoder.predict(texts, show_progress_bar=False)

    return score


def _quantise(encoding: EncoderFeatures) -> None:
    import torch

    encoder = encoding.encoder
    layers = encoder.model.named_modules()
    chosen = {name for name, layer in layers if isinstance(layer, torch.nn.Linear) and "attention" in name}
    encoder.model = torch.ao.quantization.quantize_dynamic(encoder.model, chosen, dtype=torch.qint8)
