"""Fine-tune a pretrained encoder to read both records at once, as the encoder students of DistillER (arXiv 2602.05452).

Pairs come from tuples. A fifth of the tuples is held out: its loss says which epoch is kept, and its pairs alone say
what the student's probabilities and thresholds are. Nothing is learnt from unlabelled pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distiller_udf.encoding.loading import padded_lengths, parameter_groups, seeded, torch_module, warmed_up
from distiller_udf.encoding.pair_classifier import PairClassifier, PairTokens
from distiller_udf.encoding.texts import readable
from distiller_udf.errors import TrainingError
from distiller_udf.settings import DEFAULT_ENCODER
from distiller_udf.students.odds import logit

from .calibration import calibration, losses
from .data import LabelledPairs
from .holdout import held_out
from .material import Material, Report, Trained, model_name
from .settings import FLAG, NOT_NEGATIVE, POSITIVE, SHARE, TEXT, CommonSettings, Rule, whole

LEAST_PRIOR = 1e-3
"""The share of matches that the head starts from is no closer to 0 or 1."""

REPORTS = 10
"""About how often an epoch says how far it is."""

SORTED_BATCHES = 8
"""So many batches are drawn at once and sorted by length: less is padded, and the order stays random."""


@dataclass(frozen=True)
class CrossEncoderSettings(CommonSettings):
    """How a cross-encoder is fine-tuned.

    `encoder` is a local folder or a hub id (`local_only`: the hub is never asked), `max_length` the tokens of two
    records together. `held_out` is the share of tuples that are not trained on. There are at most `epochs`, fewer once
    the held-out loss has not fallen `patience` times in a row; the best one is kept. The rates rise over the share
    `warm_up` of the steps and then fall to 0; `head_learning_rate` is that of the new layer, which starts from nothing.
    Weight decay is for matrices alone; longer gradients are cut to `largest_gradient`.
    """

    encoder: str = DEFAULT_ENCODER
    local_only: bool = False
    max_length: int = 256
    held_out: float = 0.2
    epochs: int = 5
    patience: int = 2
    batch_size: int = 16
    learning_rate: float = 3e-5
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.1
    largest_gradient: float = 1.0

    RULES: ClassVar[Mapping[str, Rule]] = {
        **CommonSettings.RULES,
        "encoder": TEXT,
        "local_only": FLAG,
        "max_length": whole(16),
        "held_out": SHARE,
        "epochs": whole(1),
        "patience": whole(1),
        "batch_size": whole(1),
        "learning_rate": POSITIVE,
        "head_learning_rate": POSITIVE,
        "weight_decay": NOT_NEGATIVE,
        "warm_up": SHARE,
        "largest_gradient": POSITIVE,
    }


@dataclass(frozen=True)
class Examples:
    """Labelled pairs as tokens, in both orders of their records; `labels` in [0, 1], `weights` > 0."""

    forward: list[PairTokens]
    backward: list[PairTokens]
    labels: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, classifier: PairClassifier, pairs: LabelledPairs) -> Examples:
        """In an order that the pairs' content gives."""
        rows = zip(readable(pairs.left), readable(pairs.right), pairs.labels, pairs.weights, strict=True)
        ordered = sorted((left, right, float(label), float(weight)) for left, right, label, weight in rows)
        return cls(
            classifier.tokenise([(left, right) for left, right, *_ in ordered]),
            classifier.tokenise([(right, left) for left, right, *_ in ordered]),
            np.asarray([label for *_, label, _ in ordered]),
            np.asarray([weight for *_, weight in ordered]),
        )

    @property
    def share(self) -> float:
        """The share of matches."""
        return float(np.average(self.labels, weights=self.weights))

    def loss(self, log_odds: np.ndarray) -> float:
        """The mean binary cross-entropy of what a model says."""
        return float(np.average(losses(log_odds, self.labels), weights=self.weights))


def cross_encoder(material: Material[CrossEncoderSettings], report: Report) -> Trained:
    """The cross-encoder student: fine-tuned on four fifths of the tuples, calibrated and judged on the last one."""
    from distiller_udf.students.kinds import CrossEncoderStudent

    settings, pairs = material.settings, material.pairs
    judged = held_out(pairs, settings.held_out, settings.seed)
    report("loading the encoder", 0.1)
    classifier = PairClassifier(settings.encoder, max_length=settings.max_length, local_only=settings.local_only)
    known, unseen = (Examples.of(classifier, pairs.take(np.flatnonzero(part))) for part in (~judged, judged))
    fit(classifier, known, unseen, settings, lambda step, share: report(step, 0.15 + 0.7 * share))
    report("calibrating", 0.85)
    raw = classifier.score(readable(pairs.left), readable(pairs.right))
    slope, intercept = calibration(raw[judged], pairs.labels[judged], pairs.weights[judged])
    return Trained(
        slope * raw + intercept,
        lambda info: CrossEncoderStudent(info, material.similarity, classifier, slope, intercept),
        np.flatnonzero(judged),
        base_model=model_name(settings.encoder),
    )


def fit(
    classifier: PairClassifier, known: Examples, unseen: Examples, settings: CrossEncoderSettings, report: Report
) -> None:
    """Train all weights on `known` pairs and keep those of the epoch after which `unseen` ones have the least loss.

    On a CPU with the same number of threads, the same pairs give the same weights. Raises TrainingError where the loss
    is no number.
    """
    course = _Course(classifier, known, settings)
    best, best_loss, waited = classifier.state(), math.inf, 0
    with seeded(settings.seed, classifier.device):
        for epoch in range(settings.epochs):
            name = f"epoch {epoch + 1} of {settings.epochs}"
            for loss, share in course.epoch():
                report(f"{name}, loss {loss:.3f}", (epoch + share) / settings.epochs)
            held = _finite(unseen.loss((classifier.raw(unseen.forward) + classifier.raw(unseen.backward)) / 2))
            report(f"{name}, loss {loss:.3f}, held out {held:.3f}", (epoch + 1) / settings.epochs)
            waited += 1
            if held < best_loss:
                best, best_loss, waited = classifier.state(), held, 0
            if waited == settings.patience:
                break
    classifier.restore(best)


class _Course:
    """The steps in which a classifier learns from examples."""

    def __init__(self, classifier: PairClassifier, known: Examples, settings: CrossEncoderSettings) -> None:
        torch = torch_module()
        self.classifier = classifier
        self.known = known
        self.settings = settings
        self.steps = math.ceil(len(known.labels) / settings.batch_size)
        self._rng = np.random.default_rng(settings.seed)
        # The head moves faster.
        parts = (classifier.model, settings.learning_rate), (classifier.head, settings.head_learning_rate)
        self._optimizer = torch.optim.AdamW(parameter_groups(*((*part, settings.weight_decay) for part in parts)))
        rate = warmed_up(settings.epochs * self.steps, settings.warm_up)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, rate)
        # The head begins where every pair is as likely as any; from there it learns what tells them apart.
        prior = float(logit(np.clip(known.share, LEAST_PRIOR, 1 - LEAST_PRIOR)))
        torch.nn.init.constant_(classifier.head.bias, prior)

    def epoch(self) -> Iterator[tuple[float, float]]:
        """Learn from every pair once; now and then, and at the end, the mean loss so far and the share that is done."""
        losses: list[float] = []
        for rows in _batches(self.known, self.settings.batch_size, self._rng):
            losses.append(self._step(rows))
            if len(losses) == self.steps or len(losses) % max(1, self.steps // REPORTS) == 0:
                yield float(np.mean(losses)), len(losses) / self.steps

    def _step(self, rows: np.ndarray) -> float:
        """Learn from the pairs at `rows`, each in an order of its two records that is drawn; returns their loss."""
        torch, classifier, known = torch_module(), self.classifier, self.known
        orders = zip(rows, self._rng.random(len(rows)) < 0.5, strict=True)
        pairs = [(known.backward if turned else known.forward)[row] for row, turned in orders]
        length = int(padded_lengths([len(pair.ids) for pair in pairs], classifier.max_length).max())
        labels, weights = (
            torch.from_numpy(values[rows]).float().to(classifier.device) for values in (known.labels, known.weights)
        )
        classifier.model.train()
        logits = classifier.logits(pairs, length)
        wrong = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum")
        loss = wrong / weights.sum()
        self._optimizer.zero_grad()
        loss.backward()
        everything = [*classifier.model.parameters(), *classifier.head.parameters()]
        torch.nn.utils.clip_grad_norm_(everything, self.settings.largest_gradient)
        self._optimizer.step()
        self._schedule.step()
        classifier.model.eval()
        return _finite(float(loss.detach()))


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise TrainingError("fine-tuning the encoder diverged: its loss is no number; lower learning_rate")
    return loss


def _batches(known: Examples, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """All positions in a new order, `size` at once; among those that come at about the same time, of similar length.

    Matches are as rare as in the labels and count no more than others, so that log odds stay what they are.
    """
    lengths = np.asarray([len(pair.ids) for pair in known.forward])
    order = rng.permutation(len(lengths))
    for start in range(0, len(order), SORTED_BATCHES * size):
        window = order[start : start + SORTED_BATCHES * size]
        window = window[np.argsort(lengths[window], kind="stable")]
        for at in rng.permutation(math.ceil(len(window) / size)):
            yield window[at * size : (at + 1) * size]
