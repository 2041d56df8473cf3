"""How a language model is fine-tuned: the paper's settings are the defaults, one class a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from distiller_udf.errors import one_of

from ..settings import FLAG, NOT_NEGATIVE, POSITIVE, SHARE, TEXT, Chosen, CommonSettings, Rule, choice, optional, whole

PREFERENCES = ("answers", "disagreements", "corrections")


@dataclass(frozen=True)
class LLMSettings(CommonSettings):
    """What all methods have in common.

    `model`: the base model, a folder or a hub id. `start`: the folder of an LLM student to go on from; the base model
    is then its own. `rank`, `alpha`, `dropout`: those of the LoRA adapter on all linear layers; a `rank` of 0 trains
    all weights. `batch` questions make one step, `micro_batch` of them at once on the device. `steps`: so many instead
    of `epochs`. `max_length`: tokens of a prompt with its answer; longer values are cut. `held_out`: the share of the
    tuples that calibrate the student and tell what to expect of it. `four_bit`: the base model is loaded in 4 bits;
    None: where bitsandbytes and a GPU are there. `checkpoint_steps`: how often a training that is killed can go on
    from. `local_only`: nothing is downloaded.
    """

    seed: int = 42
    method: str = "sft"
    model: str | None = None
    start: str | None = None
    rank: int = 16
    alpha: int = 16
    dropout: float = 0.0
    learning_rate: float = 2e-4
    schedule: str = "linear"
    warmup_steps: int = 5
    weight_decay: float = 0.01
    batch: int = 8
    micro_batch: int = 2
    epochs: int = 3
    steps: int | None = None
    max_length: int = 2048
    held_out: float = 0.2
    four_bit: bool | None = None
    checkpoint_steps: int = 100
    local_only: bool = False

    RULES: ClassVar[Mapping[str, Rule]] = {
        **CommonSettings.RULES,
        "method": choice("sft", "dpo", "grpo"),
        "model": optional(TEXT),
        "start": optional(TEXT),
        "rank": whole(0),
        "alpha": whole(1),
        "dropout": (lambda v: NOT_NEGATIVE[0](v) and v < 1, "a number from 0, below 1"),
        "learning_rate": POSITIVE,
        "schedule": choice("linear", "cosine", "constant"),
        "warmup_steps": whole(0),
        "weight_decay": NOT_NEGATIVE,
        "batch": whole(1),
        "micro_batch": whole(1),
        "epochs": whole(1),
        "steps": optional(whole(1)),
        "max_length": whole(64),
        "held_out": SHARE,
        "four_bit": optional(FLAG),
        "checkpoint_steps": whole(1),
        "local_only": FLAG,
    }

    @property
    def pairwise(self) -> bool:
        """Whether every pair is a question of its own: where several candidates may match, none is to be chosen."""
        return not self.constraint.limits_left

    @classmethod
    def of(cls: type[Chosen], settings: Mapping[str, Any] | None) -> Any:
        """Check the settings of the method that they name. Raises SettingsError."""
        if cls is not LLMSettings:
            return super().of(settings)
        return METHODS[one_of("method", (settings or {}).get("method", "sft"), METHODS)].of(settings)


@dataclass(frozen=True)
class SFTSettings(LLMSettings):
    """Supervised: the answer's tokens are learned. `explanations`: the reasons in the labels are learned as well."""

    explanations: bool = False

    RULES: ClassVar[Mapping[str, Rule]] = {**LLMSettings.RULES, "explanations": FLAG}


@dataclass(frozen=True)
class DPOSettings(LLMSettings):
    """By preferences: the right answer against others, with strength `beta` (Rafailov et al. 2023, arXiv 2305.18290).

    `preferences`: against every other answer (`answers`), what dissenting teachers said (`disagreements`), or what
    teachers said before `corrected_by`, another teacher such as a person, answered otherwise (`corrections`).
    """

    method: str = "dpo"
    rank: int = 8
    alpha: int = 16
    learning_rate: float = 5e-6
    epochs: int = 1
    beta: float = 0.1
    preferences: str = "answers"
    corrected_by: str | None = None

    RULES: ClassVar[Mapping[str, Rule]] = {
        **LLMSettings.RULES,
        "beta": POSITIVE,
        "preferences": choice(*PREFERENCES),
        "corrected_by": optional(TEXT),
    }


@dataclass(frozen=True)
class GRPOSettings(LLMSettings):
    """By rewards: several replies to a question are compared with each other (Shao et al. 2024, arXiv 2402.03300).

    `generations`: so many replies to each question, sampled at `temperature`, of at most `reply_tokens` tokens.
    """

    method: str = "grpo"
    rank: int = 8
    alpha: int = 16
    learning_rate: float = 5e-6
    schedule: str = "cosine"
    epochs: int = 1
    generations: int = 8
    temperature: float = 1.0
    reply_tokens: int = 64

    RULES: ClassVar[Mapping[str, Rule]] = {
        **LLMSettings.RULES,
        "generations": whole(2),
        "temperature": POSITIVE,
        "reply_tokens": whole(1),
    }


METHODS: Mapping[str, type[LLMSettings]] = {"sft": SFTSettings, "dpo": DPOSettings, "grpo": GRPOSettings}
