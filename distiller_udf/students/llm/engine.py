"""Where a language model runs: in transformers, in vLLM in this process, or behind a vLLM server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller_udf.errors import SettingsError, one_of
from distiller_udf.privacy import is_loopback
from distiller_udf.settings import MAX_ORDERS, Settings

if TYPE_CHECKING:
    from distiller_udf.students.llm.prompting import Prompt

ENGINES = {
    "transformers": ("distiller_udf.students.llm.transformers_engine", "TransformersEngine"),
    "vllm": ("distiller_udf.students.llm.vllm_engine", "VLLMEngine"),
    "server": ("distiller_udf.students.llm.server_engine", "ServerEngine"),
}
"""Every engine: the module and the class, imported only when used."""


@dataclass(frozen=True)
class Serving:
    """How an LLM student is served; other students pass over it.

    `engine`: one of `ENGINES`. `base_model`: where the base model is, a folder or a hub id, if it is no longer where it
    was in training. `orders`: in how many orders of the candidates a tuple is asked, the answers averaged.
    `batch_tokens`: so many tokens go through the model at once. For `server`: `base_url`, the name `served_as` under
    which it has the student (default: the student's version), the environment variable `api_key_env` with the key
    (without it none is sent), the seconds `timeout`. `arguments` are further ones of `vllm.LLM`, such as dtype or
    tensor_parallel_size. `local_only`: nothing is downloaded, and a server must be on this machine.
    Raises SettingsError for a value that is not allowed.
    """

    engine: str = "transformers"
    base_model: str | None = None
    orders: int = 1
    batch_tokens: int = 16_384
    base_url: str | None = None
    served_as: str | None = None
    api_key_env: str | None = None
    timeout: float = 120.0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    local_only: bool = False

    def __post_init__(self) -> None:
        one_of("llm_engine", self.engine, ENGINES)
        if isinstance(self.orders, bool) or not isinstance(self.orders, int) or not 1 <= self.orders <= MAX_ORDERS:
            raise SettingsError(f"llm_orders is {self.orders!r}; it must be a whole number from 1 to {MAX_ORDERS}")
        if self.engine == "server" and not self.base_url:
            raise SettingsError("the engine server needs llm_base_url, such as http://localhost:8000/v1")
        if not isinstance(self.arguments, Mapping):
            raise SettingsError(f"llm_engine_arguments is {self.arguments!r}; it must be a mapping")
        if self.arguments.get("trust_remote_code"):
            raise SettingsError("trust_remote_code would run code that comes with the model; it is not allowed")


def serving_of(settings: Settings) -> Serving:
    """The serving that `settings` describe.

    Raises SettingsError where a server is not named, and where one elsewhere would see private or masked columns.
    """
    hidden, url = [*settings.private_columns, *settings.masked_columns], settings.llm_base_url
    if settings.llm_engine == "server" and hidden and url and not is_loopback(url):
        raise SettingsError(
            f"the student's server at {url} would see all columns, and {', '.join(hidden)} are private or masked; run "
            "the student in this process (llm_engine transformers or vllm), or on a server of this machine"
        )
    return Serving(
        engine=settings.llm_engine,
        base_model=settings.llm_model,
        orders=settings.llm_orders,
        arguments=settings.llm_engine_arguments or {},
        base_url=url,
        served_as=settings.llm_served_as,
        api_key_env=settings.llm_api_key_env,
        local_only=settings.local_only,
    )


@dataclass(frozen=True)
class Model:
    """The weights of a student: a base model, and the adapter on it where it has one.

    `tokenizer` is a folder, `max_length` the tokens of a prompt with its answer, `rank` that of the adapter.
    """

    base: str
    tokenizer: Path
    adapter: Path | None
    rank: int
    max_length: int
    name: str


class Engine(ABC):
    """Runs a language model, which is loaded when it is first asked."""

    def __init__(self, model: Model, serving: Serving) -> None:
        self._model = model
        self._serving = serving

    @abstractmethod
    def label_log_probabilities(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        """For each prompt the natural log-probabilities of its labels as the next token, up to what all have in common.

        Only their differences count.
        """

    @abstractmethod
    def write(self, prompts: Sequence[Prompt], max_tokens: int, end: int) -> list[str]:
        """For each prompt what the model writes, its likeliest tokens, up to the token `end` or so many tokens."""


def make_engine(model: Model, serving: Serving) -> Engine:
    """The engine that `serving` names, for a model that is loaded when it is first asked."""
    module, name = ENGINES[serving.engine]
    engine: Engine = getattr(import_module(module), name)(model, serving)
    return engine
