"""An encoder that tells matches from others by comparing two records token by token.

Every record is encoded once. A pair's likeness is how well each token of one record is met by the best token of the
other, averaged (late interaction, as in ColBERT: Khattab and Zaharia 2020, arXiv 2004.12832): in a pretrained encoder
it is telling from the start, so that a few dozen answers are enough to learn from, where a cross-encoder learns
nothing. A tuple's scores become probabilities by a softmax over its candidates and none, whose score is always 0.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller_udf.encoding.loading import load_pretrained, longest_input, torch_module
from distiller_udf.records import parse_text
from distiller_udf.values import leaf_text

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
class Example:
    """A tuple as the encoder reads it: texts, and the right candidate (1-based, 0 = none of them)."""

    query: str
    candidates: tuple[str, ...]
    choice: int


@dataclass(frozen=True)
class Training:
    """How the encoder is trained: `steps` of about `batch_size` pairs each, tokens after `max_length` are cut."""

    seed: int = 42
    steps: int = 60
    batch_size: int = 16
    learning_rate: float = 3e-5
    max_length: int = 128


def readable(text: str) -> str:
    """A canonical text as an encoder reads it: `name: Sony Turntable; price: 399`."""
    return "; ".join(f"{column}: {leaf_text(str(value))}" for column, value in parse_text(text).items())


class PairEncoder:
    """An encoder from a local folder or by its hub id, and a small head over likenesses; on a GPU where there is one.

    Raises SettingsError when torch or transformers is missing, or when there is no such model.
    """

    def __init__(self, model: str, training: Training, *, local_only: bool = False) -> None:
        torch = torch_module()
        self.training = training
        self.losses: list[float] = []
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        with self._seeded():  # weights that the folder lacks are drawn at random
            self.tokenizer, self.model = load_pretrained(model, local_only=local_only)
            self.head = torch.nn.Linear(_LIKENESSES, 1).to(self.device)
        self.model.to(self.device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self._max_length = longest_input(self.tokenizer, self.model, training.max_length)

    def fit(self, examples: Sequence[Example]) -> None:
        """Train on the examples: first the head alone, then all weights.

        A head that starts from nothing would spoil the encoder in its first steps (Kumar et al. 2022, arXiv
        2202.10054). On a CPU, the same examples in the same order give the same weights.
        """
        torch, settings = torch_module(), self.training
        self._fit_head(examples)
        optimizer = torch.optim.AdamW(self._groups(), lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        with self._seeded():
            self.model.train()
            for batch in self._batches(examples):
                loss = self._loss(self._likenesses([(e.query, e.candidates) for e in batch]), batch)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()
                self.losses.append(float(loss.detach()))
                if (done := len(self.losses)) % 50 == 0 or done == settings.steps:
                    recent = float(np.mean(self.losses[-50:]))
                    logger.info("training the encoder: step %d of %d, loss %.3f", done, settings.steps, recent)
        self.model.eval()

    def probabilities(self, tuples: Sequence[tuple[str, Sequence[str]]]) -> list[np.ndarray]:
        """For every query with its candidates the probability of each of them; what they leave to 1 is none's."""
        torch = torch_module()
        self.model.eval()
        with torch.inference_mode():
            return [
                torch.softmax(self._with_none(part), 0)[1:].double().cpu().numpy() for part in self._likenesses(tuples)
            ]

    def _fit_head(self, examples: Sequence[Example]) -> None:
        torch = torch_module()
        self.model.eval()
        with torch.no_grad():
            likenesses = self._likenesses([(e.query, e.candidates) for e in examples])
        optimizer = torch.optim.LBFGS(self.head.parameters(), max_iter=_HEAD_ROUNDS, line_search_fn="strong_wolfe")

        def closure() -> Any:
            optimizer.zero_grad()
            loss = self._loss(likenesses, examples) + _HEAD_DECAY * self.head.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)

    def _loss(self, likenesses: Sequence[torch.Tensor], examples: Sequence[Example]) -> Any:
        """Minus the log-probability of the right choice, averaged over the tuples."""
        torch = torch_module()
        wrong = [
            -torch.log_softmax(self._with_none(part), 0)[e.choice] for part, e in zip(likenesses, examples, strict=True)
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
                some, truncation=True, max_length=self._max_length, padding=True, return_tensors="pt"
            ).to(self.device)
            hidden = torch.nn.functional.normalize(self.model(**inputs).last_hidden_state, dim=2)
            for text, vectors, mask in zip(some, hidden, inputs["attention_mask"].bool(), strict=True):
                own = vectors[mask]
                # The first and the last token only mark the ends; they are alike in any two records.
                found[text] = own[1:-1] if len(own) > 2 else own
        return found

    def _batches(self, examples: Sequence[Example]) -> Iterator[list[Example]]:
        """Whole tuples in a new order each time around, about `batch_size` pairs at once, until all steps are done."""
        rng, size, steps = random.Random(self.training.seed), 0, 0
        batch: list[Example] = []
        while steps < self.training.steps:
            for example in rng.sample(list(examples), len(examples)):
                batch.append(example)
                size += len(example.candidates)
                if size >= self.training.batch_size and steps < self.training.steps:
                    yield batch
                    batch, size, steps = [], 0, steps + 1

    def _groups(self) -> list[dict[str, Any]]:
        """Weight decay is for matrices; it would only pull biases and norms towards 0. The head moves faster."""
        parameters = list(self.model.parameters())
        return [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": _WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
            {"params": list(self.head.parameters()), "weight_decay": 0.0, "lr": _HEAD_RATE},
        ]

    def _rate(self, step: int) -> float:
        """Up in a straight line over the first tenth of the steps, then down to 0."""
        steps = self.training.steps
        warm = max(1, math.ceil(_WARM_UP * steps))
        return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))

    @contextlib.contextmanager
    def _seeded(self) -> Iterator[None]:
        """torch's random numbers from our seed, and the caller's own afterwards as if nothing had happened."""
        torch = torch_module()
        devices = [torch.cuda.current_device()] if self.device == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.training.seed)
            yield


def _compared(queries: Sequence[torch.Tensor], candidates: Sequence[torch.Tensor]) -> Any:
    """How well the query's tokens are met by the candidate's, the candidate's by the query's, and the means' cosine."""
    torch = torch_module()
    pad = torch.nn.utils.rnn.pad_sequence
    left, right = pad(list(queries), batch_first=True), pad(list(candidates), batch_first=True)
    # A padded token is all zeros, and its product with anything says nothing.
    here, there = (vectors.detach().abs().sum(2) > 0 for vectors in (left, right))
    tokens = (left @ right.transpose(1, 2)).masked_fill(~(here[:, :, None] & there[:, None, :]), -1.0)
    met = (tokens.max(2).values * here).sum(1) / here.sum(1)
    meets = (tokens.max(1).values * there).sum(1) / there.sum(1)
    cosine = torch.nn.functional.cosine_similarity(left.sum(1), right.sum(1), dim=1)
    return torch.stack([met, meets, cosine], 1)
