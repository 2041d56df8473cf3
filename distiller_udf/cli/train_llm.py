"""`distiller train sft | dpo | grpo`: language models as students."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from distiller_udf.cli.console import Command, json_option, with_options
from distiller_udf.cli.options import REGISTRY, with_project
from distiller_udf.cli.sources import LABELS, SHARE, Files, read_sources, with_files
from distiller_udf.cli.train import promote_option, train_and_report
from distiller_udf.project import Project
from distiller_udf.registry import Registry
from distiller_udf.students.base import MANIFEST

HELP = {
    "model": "The base model: a folder, or the id of a model on the hub.",
    "start": "Go on from an LLM student: a version of the registry, or a folder. The base model is then its own.",
    "rank": "The rank of the LoRA adapter; 0 trains all weights.",
    "alpha": "The scale of the adapter.",
    "dropout": "Dropout in the adapter.",
    "learning_rate": "The learning rate at its highest.",
    "schedule": "How the learning rate falls: linear, cosine, constant.",
    "warmup_steps": "Steps until the learning rate is at its highest.",
    "weight_decay": "Decay of the weights.",
    "batch": "Examples (of grpo: replies) that make one step.",
    "micro_batch": "As many of them are on the device at once.",
    "epochs": "How often all labels are gone through.",
    "steps": "So many steps instead.",
    "max_length": "Tokens of a question with its answer; longer values are cut.",
    "held_out": "The share of the labels that calibrates the student and tells what to expect of it.",
    "four_bit": "Load the base model in 4 bits.  [default: where bitsandbytes and a GPU are there]",
    "checkpoint_steps": "After so many steps each, a training that is killed can go on.",
    "local_only": "Download nothing.",
    "target_precision": "The precision that decisions must keep on held-out labels.  [default: the best F1]",
    "seed": "The seed of everything that is drawn.",
    "explanations": "Learn the reasons in the labels as well.",
    "beta": "How much the preferences count against the model as it was.",
    "preferences": "What is preferred to what: answers, disagreements (of teachers), corrections (--corrected-by).",
    "corrected_by": "The teacher, such as a person, whose answers correct those of the others.",
    "generations": "Replies to each question that are compared.",
    "temperature": "How freely they are drawn.",
    "reply_tokens": "Tokens of a reply at most.",
}
"""Every setting that is an option, and what it is."""

WORDS = {
    "schedule": ("linear", "cosine", "constant"),
    "preferences": ("answers", "disagreements", "corrections"),
}


def setting_options(method: str) -> Callable[[Command], Command]:
    """Options for all settings of a method, with the method's own defaults."""
    from distiller_udf.training.llm.settings import METHODS

    own = [field for field in fields(METHODS[method]) if field.name in HELP]
    return with_options(*(_option(field.name, field.default) for field in own))


def _option(name: str, default: Any) -> Callable[[Command], Command]:
    flag = "--from" if name == "start" else f"--{name.replace('_', '-')}"
    told = HELP[name]
    if default is not None and not isinstance(default, bool):
        told += f"  [default: {default:g}]" if isinstance(default, (int, float)) else f"  [default: {default}]"
    if name == "four_bit":
        return click.option("--four-bit/--no-four-bit", name, default=None, help=told)
    if isinstance(default, bool):
        return click.option(flag, name, is_flag=True, help=told)
    kind: Any = click.Choice(WORDS[name]) if name in WORDS else {"steps": int, "target_precision": float}.get(name)
    return click.option(flag, name, type=kind or (str if default is None else type(default)), help=told)


shared_options = with_options(
    LABELS,
    with_files(),
    SHARE,
    promote_option,
    with_project({**REGISTRY, "--constraint": "constraint", "--vote": "vote"}, warehouse=True),
    json_option,
)
"""The options that all methods share besides the settings of their training."""


@click.command()
@setting_options("sft")
@shared_options
def sft(**given: Any) -> None:
    """Fine-tune a language model on the labels: supervised, with LoRA.

    The defaults are those of the paper. A training that was killed goes on where it stopped when it is started again.
    """
    fine_tune("sft", **given)


@click.command()
@setting_options("dpo")
@shared_options
def dpo(**given: Any) -> None:
    """Fine-tune by preferences: the right answer against others (DPO).

    From a base model, or better --from a student that was fine-tuned with `distiller train sft`.
    """
    fine_tune("dpo", **given)


@click.command()
@setting_options("grpo")
@shared_options
def grpo(**given: Any) -> None:
    """Fine-tune by rewards for replies that are right, well-formed and short (GRPO).

    From a base model, or better --from a student that was fine-tuned with `distiller train sft`.
    """
    fine_tune("grpo", **given)


def fine_tune(
    method: str,
    project: Project,
    promoted: bool,
    as_json: bool,
    labels: Path | None,
    files: Files,
    evaluation_share: float | None,
    **settings: Any,
) -> None:
    """Train, publish, promote, and say how good it is expected to be. Raises SettingsError, TrainingError."""
    from distiller_udf.training.recipe import Recipe

    registry = Registry.of(project.settings)
    # A flag that is not set leaves its default; --no-four-bit says something.
    chosen = {key: v for key, v in settings.items() if v is not None and (v is not False or key == "four_bit")}
    if "start" in chosen:
        chosen["start"] = str(_start(registry, chosen["start"]))
    elif "model" not in chosen:
        raise click.UsageError("name the base model with --model, or a student to go on from with --from")
    answers = chosen.get("preferences", "answers") == "answers"
    source = read_sources(project, labels, files, evaluation_share, voted=answers)
    chosen |= {"method": method, "constraint": source.settings.resolved_constraint}
    recipe = Recipe("llm", chosen, source.candidates, source.columns)
    train_and_report(source.labels, registry, recipe, promoted, as_json)


def _start(registry: Registry, named: str) -> Path:
    """The folder of the student to go on from: a folder, or a version or the beginning of its name.

    Raises StudentNotFound where there is none.
    """
    return Path(named) if (Path(named) / MANIFEST).is_file() else registry.path(registry.find(named))
