"""The settings of training, one class for each way to train; every default is meant for any data.

A project sets those of a language model in `er_llm_training`, and they are the options of `distiller train sft`, `dpo`
and `grpo`; the other kinds of student are trained by their defaults, but for what the project's own settings say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from distiller_udf.constraint import Constraint
from distiller_udf.settings.declared import DEFAULT_ENCODER, Declared, Fraction, Group, Seed, setting
from distiller_udf.settings.ways import Text

Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Several = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Method = Literal["sft", "dpo", "grpo"]
Schedule = Literal["linear", "cosine", "constant"]


def _as_declared(name: str, default: Any) -> Any:
    """A setting that the project has as well, explained as it is there."""
    place = "model" if name == "student_encoder" else ""
    return setting(default, str(Declared.model_fields[name].description), place=place)


class CommonSettings(Group):
    """What holds for every kind of student."""

    seed: Seed = _as_declared("seed", 0)
    constraint: Annotated[Constraint, Field(strict=False)] = setting(
        Constraint.ONE_TO_ONE, "What a match excludes: how many records of another source a record may match."
    )
    max_candidates: Count = setting(200_000, "So many unlabelled pairs are read at most.")
    target_precision: Fraction | None = _as_declared("target_precision", None)


class PairSettings(CommonSettings):
    """How a pair model over features is trained: a line, then trees that correct it, `folds` × `repeats` of both."""

    folds: Several = setting(
        5, "Into so many parts labelled tuples are divided; each is scored by models of the others."
    )
    repeats: Count = setting(1, "So many times, divided otherwise each time; the models are averaged.")
    ridge: Positive = setting(
        50.0,
        "The line's penalty, a normal prior on each weight of standard deviation 1 / sqrt(ridge), of standardised "
        "features: none decides alone, and those that agree share the say.",
    )
    rounds: Natural = setting(50, "So many trees correct it.")
    learning_rate: Positive = setting(0.1, "How much each tree corrects.")
    leaves: Several = setting(4, "Leaves of a tree.")
    leaf_size: Count = setting(10, "Pairs in a leaf at least.")
    self_training: Natural = setting(
        3, "So many times it learns from its own decisions on unlabelled tuples; unused without a constraint."
    )


class EncodedPairSettings(PairSettings):
    """How a pair model is trained that sees what a frozen encoder makes of the records: encoder, blend."""

    encoder: Text = _as_declared("student_encoder", DEFAULT_ENCODER)
    local_only: bool = setting(False, "Download nothing.")
    max_length: Annotated[int, Field(ge=3)] = setting(64, "The tokens of a record that are read.")


class CrossEncoderSettings(CommonSettings):
    """How an encoder is fine-tuned on pairs."""

    encoder: Text = _as_declared("student_encoder", DEFAULT_ENCODER)
    local_only: bool = setting(False, "Download nothing.")
    max_length: Annotated[int, Field(ge=16)] = setting(256, "The tokens of two records together that are read.")
    held_out: Fraction = setting(0.2, "The share of the tuples that are not trained on.")
    epochs: Count = setting(5, "How often all labels are gone through at most.")
    patience: Count = setting(2, "It ends once the held-out loss has not fallen so many times in a row.")
    batch_size: Count = setting(16, "Pairs that make one step.")
    learning_rate: Positive = setting(3e-5, "The learning rate at its highest; then it falls to 0.")
    head_learning_rate: Positive = setting(1e-3, "That of the new layer, which starts from nothing.")
    weight_decay: NotNegative = setting(0.01, "Decay of the matrices.")
    warm_up: Fraction = setting(0.1, "The share of the steps until the learning rate is at its highest.")
    largest_gradient: Positive = setting(1.0, "Longer gradients are cut to this.")


class LLMSettings(CommonSettings):
    """What all ways to fine-tune a language model have in common; the paper's settings are the defaults."""

    seed: Seed = _as_declared("seed", 42)
    method: Method = setting(
        "sft", "sft: the answers are learned; dpo: by preferences among answers; grpo: by rewards for replies."
    )
    model: Text | None = setting(None, "The base model.", place="model")
    start: Text | None = setting(None, "Go on from an LLM student; the base model is then its own.", place="student")
    rank: Natural = setting(16, "The rank of the LoRA adapter on all linear layers; 0 trains all weights.")
    alpha: Count = setting(16, "The scale of the adapter.")
    dropout: Annotated[float, Field(ge=0, le=0.99)] = setting(0.0, "Dropout in the adapter.")
    learning_rate: Positive = setting(2e-4, "The learning rate at its highest.")
    schedule: Schedule = setting("linear", "How the learning rate falls.")
    warmup_steps: Natural = setting(5, "Steps until the learning rate is at its highest.")
    weight_decay: NotNegative = setting(0.01, "Decay of the weights.")
    batch: Count = setting(8, "Examples (of grpo: replies) that make one step.")
    micro_batch: Count = setting(2, "As many of them are on the device at once.")
    epochs: Count = setting(3, "How often all labels are gone through.")
    steps: Count | None = setting(None, "So many steps instead.")
    max_length: Annotated[int, Field(ge=64)] = setting(
        2048, "Tokens of a question with its answer; longer values are cut."
    )
    held_out: Fraction = setting(
        0.2, "The share of the labelled records that calibrates the student and tells what to expect of it."
    )
    four_bit: bool | None = setting(
        None, "Load the base model in 4 bits; of its own accord where bitsandbytes and a GPU are there."
    )
    checkpoint_steps: Count = setting(100, "After so many steps each, a training that is killed can go on.")
    local_only: bool = setting(False, "Download nothing.")

    @property
    def pairwise(self) -> bool:
        """Whether every pair is a question of its own: where several candidates may match, none is to be chosen."""
        return not self.constraint.limits_left


def _but(name: str, default: Any) -> Any:
    """A setting of all methods with the default of one of them."""
    return setting(default, str(LLMSettings.model_fields[name].description))


class SFTSettings(LLMSettings):
    """Fine-tune a language model on the labels.

    Supervised, with LoRA. The defaults are those of the paper. A training that was killed goes on where it stopped
    when it is started again.
    """

    explanations: bool = setting(False, "Learn the reasons in the labels as well.")


class DPOSettings(LLMSettings):
    """Fine-tune by preferences: the right answer against others.

    DPO (Rafailov et al. 2023, arXiv 2305.18290). From a base model, or better --from a student that was fine-tuned with
    `distiller train sft`.
    """

    method: Method = _but("method", "dpo")
    rank: Natural = _but("rank", 8)
    learning_rate: Positive = _but("learning_rate", 5e-6)
    epochs: Count = _but("epochs", 1)
    beta: Positive = setting(0.1, "How much the preferences count against the model as it was.")
    preferences: Literal["answers", "disagreements", "corrections"] = setting(
        "answers", "What is preferred to what: answers, disagreements (of teachers), corrections (by corrected_by)."
    )
    corrected_by: Text | None = setting(
        None, "The teacher, such as a person, whose answers correct those of the others."
    )


class GRPOSettings(LLMSettings):
    """Fine-tune by rewards for replies that are right, well-formed and short.

    GRPO (Shao et al. 2024, arXiv 2402.03300). From a base model, or better --from a student that was fine-tuned with
    `distiller train sft`.
    """

    method: Method = _but("method", "grpo")
    rank: Natural = _but("rank", 8)
    learning_rate: Positive = _but("learning_rate", 5e-6)
    schedule: Schedule = _but("schedule", "cosine")
    epochs: Count = _but("epochs", 1)
    generations: Several = setting(8, "Replies to each question that are compared.")
    temperature: Positive = setting(1.0, "How freely they are drawn.")
    reply_tokens: Count = setting(64, "Tokens of a reply at most.")


FINE_TUNING: Mapping[str, type[LLMSettings]] = {"sft": SFTSettings, "dpo": DPOSettings, "grpo": GRPOSettings}
"""The ways to fine-tune a language model."""
