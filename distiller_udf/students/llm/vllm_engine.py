"""A language model in vLLM, in this process."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from distiller_udf.errors import SettingsError, StudentError
from distiller_udf.students.llm.engine import Engine
from distiller_udf.students.llm.prompting import Prompt
from distiller_udf.teachers.vllm import loaded, one_line, vllm_module

_RANKS = (8, 16, 32, 64, 128, 256, 512)
"""The ranks that vLLM makes room for."""


class VLLMEngine(Engine):
    """The adapter is a LoRARequest on the base model; prompts that begin alike share what vLLM has read of them."""

    @cached_property
    def _vllm(self) -> Any:
        return vllm_module("engine", self._serving.local_only)

    @cached_property
    def _llm(self) -> Any:
        settings: dict[str, Any] = {"max_model_len": self._model.max_length, "enable_prefix_caching": True, "seed": 0}
        if self._model.adapter is not None:
            room = next((rank for rank in _RANKS if rank >= self._model.rank), _RANKS[-1])
            settings |= {"enable_lora": True, "max_lora_rank": room, "max_loras": 1}
        settings |= {"model": self._model.base, "tokenizer": str(self._model.tokenizer), **self._serving.arguments}
        return loaded(self._vllm, StudentError, **settings)

    @cached_property
    def _lora(self) -> Any:
        if self._model.adapter is None:
            return None
        request = importlib.import_module("vllm.lora.request").LoRARequest
        return request(self._model.name, 1, str(self._model.adapter))

    def label_log_probabilities(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        sampling = [self._sampling(max_tokens=1, logprob_token_ids=list(prompt.labels)) for prompt in prompts]
        found = []
        for prompt, output in zip(prompts, self._generate(prompts, sampling), strict=True):
            known = output.outputs[0].logprobs[0]
            found.append(np.asarray([known[label].logprob for label in prompt.labels], dtype=np.float64))
        return found

    def write(self, prompts: Sequence[Prompt], max_tokens: int, end: int) -> list[str]:
        sampling = [self._sampling(max_tokens=max_tokens, stop_token_ids=[end])] * len(prompts)
        return [output.outputs[0].text for output in self._generate(prompts, sampling)]

    def _generate(self, prompts: Sequence[Prompt], sampling: Sequence[Any]) -> Any:
        inputs, llm = [{"prompt_token_ids": list(prompt.tokens)} for prompt in prompts], self._llm
        try:
            return llm.generate(inputs, list(sampling), lora_request=self._lora, use_tqdm=False)
        except Exception as error:
            said = one_line(str(error)) or type(error).__name__
            raise StudentError(f"vLLM does not answer for student {self._model.name}: {said}") from error

    def _sampling(self, **settings: Any) -> Any:
        try:
            return self._vllm.SamplingParams(temperature=0.0, **settings)
        except TypeError as error:
            raise SettingsError(
                f"this vLLM cannot give the probabilities of single tokens ({error}); install a newer one"
            ) from None
