"""An encoder that tells matches from others by comparing two records token by token.

Every record is encoded once. A pair's likeness is how well each token of one record is met by the best token of the
other, averaged (late interaction, as in ColBERT: Khattab and Zaharia 2020, arXiv 2004.12832): in a pretrained encoder
it is telling from the start, so that a few dozen answers are enough to learn from, where a cross-encoder learns
nothing. A tuple's scores become probabilities by a softmax over its candidates and none, whose score is always 0.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller_udf.encoding.loading import PretrainedEncoder, parameter_groups, seeded, torch_module, warmed_up
from distiller_udf.encoding.maxsim import closest, mean

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_HEAD_ROUNDS, _HEAD_DECAY = 100, 1e-3
_HEAD_RATE = 1e-2
_WARM_UP = 0.1
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 1.0
_TEXTS_AT_ONCE = 64
_PAIRS_AT_ONCE = 256
_LIKENESSES = 3


@dataclass(frozen=True)
class Lesson:
    """A tuple to learn from, as the encoder reads it: texts, and the right candidate (1-based, 0 = none of them)."""

    query: str
    candidates: tuple[str, ...]
    choice: int


@dataclass(frozen=True)
class FineTuning:
    """How the encoder is trained: about `batch_size` pairs a step, tokens after `max_length` are cut."""

    seed: int = 42
    batch_size: int = 16
    learning_rate: float = 3e-5
    max_length: int = 128


class PairEncoder(PretrainedEncoder):
    """An encoder and a small head over the likenesses that it sees."""

    def __init__(self, model: str, settings: FineTuning, *, local_only: bool = False) -> None:
        super().__init__(model, max_length=settings.max_length, local_only=local_only)
        self.settings = settings
        self.losses: list[float] = []
        self.head = self.new_head(_LIKENESSES)

    def fit(self, lessons: Sequence[Lesson], steps: int) -> None:
        """Train on the lessons: first the head alone, then all weights in so many steps.

        A head that starts from nothing would spoil the encoder in its first steps (Kumar et al. 2022, arXiv
        2202.10054). On a CPU, the same lessons in the same order give the same weights.
        """
        torch, settings = torch_module(), self.settings
        self._fit_head(lessons)
        # The head moves faster: it is new, and small.
        parts = (self.model, settings.learning_rate, _WEIGHT_DECAY), (self.head, _HEAD_RATE, 0.0)
        optimizer = torch.optim.AdamW(parameter_groups(*parts))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmed_up(steps, _WARM_UP))
        with seeded(settings.seed, self.device):
            self.model.train()
            for batch in self._batches(lessons, steps):
                loss = self._loss(self._likenesses([(e.query, e.candidates) for e in batch]), batch)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()
                self.losses.append(float(loss.detach()))
                if (done := len(self.losses)) % 50 == 0 or done == steps:
                    recent = float(np.mean(self.losses[-50:]))
                    logger.info("training the encoder: step %d of %d, loss %.3f", done, steps, recent)
        self.model.eval()

    def probabilities(self, tuples: Sequence[tuple[str, Sequence[str]]]) -> list[np.ndarray]:
        """For every query the probability of each of its candidates, float64 (candidates,); the rest to 1 is none's."""
        torch = torch_module()
        self.model.eval()
        with torch.inference_mode():
            return [
                torch.softmax(self._with_none(part), 0)[1:].double().cpu().numpy() for part in self._likenesses(tuples)
            ]

    def _fit_head(self, lessons: Sequence[Lesson]) -> None:
        torch = torch_module()
        self.model.eval()
        with torch.no_grad():
            likenesses = self._likenesses([(e.query, e.candidates) for e in lessons])
        optimizer = torch.optim.LBFGS(self.head.parameters(), max_iter=_HEAD_ROUNDS, line_search_fn="strong_wolfe")

        def closure() -> Any:
            optimizer.zero_grad()
            loss = self._loss(likenesses, lessons) + _HEAD_DECAY * self.head.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)

    def _loss(self, likenesses: Sequence[torch.Tensor], lessons: Sequence[Lesson]) -> Any:
        """Minus the log-probability of the right choice, averaged over the tuples."""
        torch = torch_module()
        wrong = [
            -torch.log_softmax(self._with_none(part), 0)[e.choice] for part, e in zip(likenesses, lessons, strict=True)
        ]
        return torch.stack(wrong).mean()

    def _with_none(self, likenesses: torch.Tensor) -> torch.Tensor:
        scores = self.head(likenesses)[:, 0]
        return torch_module().cat([scores.new_zeros(1), scores])

    def _likenesses(self, tuples: Sequence[tuple[str, Sequence[str]]]) -> list[torch.Tensor]:
        """For every tuple the likenesses of its pairs: (candidates, 3)."""
        torch = torch_module()
        encoded = self._encoded({text for query, candidates in tuples for text in (query, *candidates)})
        pairs = [(encoded[query], encoded[candidate]) for query, candidates in tuples for candidate in candidates]
        parts = [
            _compared(*zip(*pairs[start : start + _PAIRS_AT_ONCE], strict=True))
            for start in range(0, len(pairs), _PAIRS_AT_ONCE)
        ]
        compared = torch.cat(parts) if parts else torch.zeros(0, _LIKENESSES, device=self.device)
        return list(torch.split(compared, [len(candidates) for _, candidates in tuples]))

    def _encoded(self, texts: set[str]) -> dict[str, torch.Tensor]:
        """Every text as its tokens' vectors, (tokens, width), each of length 1. Texts of similar length go together."""
        torch = torch_module()
        ordered = sorted(texts, key=lambda text: (len(text), text))
        found = {}
        for start in range(0, len(ordered), _TEXTS_AT_ONCE):
            some = ordered[start : start + _TEXTS_AT_ONCE]
            inputs = self.tokenizer(
                some, truncation=True, max_length=self.max_length, padding=True, return_tensors="pt"
            ).to(self.device)
            hidden = torch.nn.functional.normalize(self.model(**inputs).last_hidden_state, dim=2)
            for text, vectors, mask in zip(some, hidden, inputs["attention_mask"].bool(), strict=True):
                own = vectors[mask]
                # The first and the last token only mark the ends; they are alike in any two records.
                found[text] = own[1:-1] if len(own) > 2 else own
        return found

    def _batches(self, lessons: Sequence[Lesson], steps: int) -> Iterator[list[Lesson]]:
        """Whole tuples in a new order each time around, about `batch_size` pairs at once, until all steps are done."""
        rng, batch = random.Random(self.settings.seed), []
        while steps:
            for lesson in rng.sample(list(lessons), len(lessons)):
                batch.append(lesson)
                if steps and sum(len(e.candidates) for e in batch) >= self.settings.batch_size:
                    yield batch
                    batch, steps = [], steps - 1


def _compared(queries: Sequence[torch.Tensor], candidates: Sequence[torch.Tensor]) -> Any:
    """How well the query's tokens are met by the candidate's, the candidate's by the query's, and the means' cosine."""
    torch = torch_module()
    pad = torch.nn.utils.rnn.pad_sequence
    left, right = pad(list(queries), batch_first=True), pad(list(candidates), batch_first=True)
    # A padded token is all zeros, and its product with anything says nothing.
    here, there = (vectors.detach().abs().sum(2) > 0 for vectors in (left, right))
    met = [mean(best, real) for best, real in zip(closest(left, right, (here, there)), (here, there), strict=True)]
    cosine = torch.nn.functional.cosine_similarity(left.sum(1), right.sum(1), dim=1)
    return torch.stack([*met, cosine], 1)
