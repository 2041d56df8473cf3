"""A language model in transformers, in this process: one forward pass for a batch of prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from distiller_udf.students.llm.causal import adapted, load_causal, load_tokenizer, modules
from distiller_udf.students.llm.engine import Engine, Serving
from distiller_udf.students.llm.prompting import Prompt

LONGER = 1.1
"""In one forward pass the longest prompt is at most so many times the shortest: padding costs what text costs."""


class TransformersEngine(Engine):
    """Runs on a GPU where there is one, in the model's own precision there and in float32 on a CPU."""

    @classmethod
    def of_loaded(cls, loaded: Any, tokenizer: Any, serving: Serving) -> TransformersEngine:
        """An engine for a model that is in memory already."""
        engine = cls.__new__(cls)
        engine._serving = serving
        engine.__dict__ |= {"loaded": loaded, "tokenizer": tokenizer}
        return engine

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(str(self._model.tokenizer), local_only=True)

    @cached_property
    def loaded(self) -> Any:
        """The model with its adapter."""
        torch, _ = modules()
        on_gpu = torch.cuda.is_available()
        settings = {"device_map": "auto"} if on_gpu else {}
        precision = "auto" if on_gpu else torch.float32
        loaded = load_causal(self._model.base, self._serving.local_only, dtype=precision, **settings)
        if self._model.adapter is not None:
            loaded = adapted(loaded, self._model.adapter)
        if loaded.dtype != torch.float32:
            loaded.get_output_embeddings().register_forward_hook(_in_full_precision)
        return loaded.eval()

    def label_log_probabilities(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        torch, _ = modules()
        result: list[np.ndarray] = [np.zeros(0)] * len(prompts)
        for rows in self._batches(prompts, longer=LONGER):
            inputs = self._padded([prompts[i].tokens for i in rows])
            with torch.inference_mode():
                logits = self.loaded(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float()
                known = torch.log_softmax(logits, 1).double().cpu().numpy()
            for row, scores in zip(rows, known, strict=True):
                result[row] = scores[list(prompts[row].labels)]
        return result

    def write(self, prompts: Sequence[Prompt], max_tokens: int, end: int) -> list[str]:
        torch, transformers = modules()
        # One of its own: a base model may come with a liking for sampling, or against repetition.
        settings = transformers.GenerationConfig(
            max_new_tokens=max_tokens, do_sample=False, eos_token_id=end, pad_token_id=self.tokenizer.pad_token_id
        )
        result = [""] * len(prompts)
        for rows in self._batches(prompts, answer=max_tokens):
            inputs = self._padded([prompts[i].tokens for i in rows])
            with torch.inference_mode():
                written = self.loaded.generate(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], generation_config=settings
                )
            texts = self.tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for row, text in zip(rows, texts, strict=True):
                result[row] = text
        return result

    def _batches(self, prompts: Sequence[Prompt], answer: int = 0, longer: float = math.inf) -> Iterator[list[int]]:
        """Positions of prompts of similar length, together within the tokens that go through the model at once.

        The longest of a batch is at most `longer` times its shortest; `answer` tokens will follow each.
        """
        by_length = sorted(range(len(prompts)), key=lambda i: (len(prompts[i].tokens), i))
        batch: list[int] = []
        shortest = 0
        for position in by_length:
            length = len(prompts[position].tokens)
            full = (length + answer) * (len(batch) + 1) > self._serving.batch_tokens
            if batch and (full or length > longer * shortest):
                yield batch
                batch = []
            shortest = shortest if batch else length
            batch.append(position)
        if batch:
            yield batch

    def _padded(self, rows: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Token rows of one length, filled up on the left: the next token follows the last column in all of them."""
        torch, _ = modules()
        width = max(map(len, rows))
        tokens = torch.full((len(rows), width), int(self.tokenizer.pad_token_id))
        seen = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            tokens[i, width - len(row) :] = torch.tensor(row)
            seen[i, width - len(row) :] = 1
        places = (seen.cumsum(1) - 1).clamp(min=0)
        device = self.loaded.device
        return {
            "input_ids": tokens.to(device),
            "attention_mask": seen.to(device),
            "position_ids": places.to(device),
        }


def _in_full_precision(head: Any, inputs: tuple[Any, ...], _: Any) -> Any:
    """What the last layer says, computed in float32: in bfloat16 many candidates would be equally likely."""
    torch, _ = modules()
    bias = None if head.bias is None else head.bias.float()
    return torch.nn.functional.linear(inputs[0].float(), head.weight.float(), bias)
