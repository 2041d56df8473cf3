"""`distiller train sft | dpo | grpo`: language models as students."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from distiller_udf.cli.console import Command, json_option, with_options
from distiller_udf.cli.options import REGISTRY, option_type, with_project
from distiller_udf.cli.sources import LABELS, SHARE, Files, read_sources, with_files
from distiller_udf.cli.train import promote_option, train_and_report
from distiller_udf.project import Project
from distiller_udf.registry import Registry
from distiller_udf.settings import place_of
from distiller_udf.settings.rules import Rule, rules_of
from distiller_udf.settings.training import FINE_TUNING, LLMSettings
from distiller_udf.settings.written import default_of, described

NO_OPTIONS = ("method", "constraint", "max_candidates")
"""Settings of a training that are no options of its own command."""


def method_command(method: str) -> click.Command:
    """The command that trains by a method: its options are the method's settings."""
    settings = FINE_TUNING[method]
    own = [_option(settings, name, rule) for name, rule in rules_of(settings).items() if name not in NO_OPTIONS]

    @click.command(method, help=settings.__doc__)
    @with_options(*own)
    @shared_options
    def command(**given: Any) -> None:
        fine_tune(method, **given)

    return command


def _option(settings: type[LLMSettings], name: str, rule: Rule) -> Callable[[Command], Command]:
    """The option of a setting, with what it may be; what is not given is as the project has it."""
    flag = "--from" if name == "start" else f"--{name.replace('_', '-')}"
    told, default, place = described(name, settings), default_of(name, settings), place_of(name, settings)
    told = f"{told.rstrip('.')}: {rule['allowed']}." if place else told
    told = f"{told}  [default: {default}]" if default else told
    if rule["type"] == "boolean":
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=told)
    return click.option(flag, name, type=option_type(rule, place), help=told)


shared_options = with_options(
    LABELS,
    with_files(),
    SHARE,
    promote_option,
    with_project({**REGISTRY, "--constraint": "constraint", "--vote": "vote"}, warehouse=True),
    json_option,
)
"""The options that all methods share besides the settings of their training."""


def fine_tune(
    method: str,
    project: Project,
    promoted: bool,
    as_json: bool,
    labels: Path | None,
    files: Files,
    evaluation_share: float | None,
    **options: Any,
) -> None:
    """Train, publish, promote, and say how good it is expected to be. Raises SettingsError, TrainingError.

    The `options` that are given take the place of the project's settings.
    """
    from distiller_udf.training.er_student import llm_settings
    from distiller_udf.training.versions import Recipe

    given = {name: value for name, value in options.items() if value is not None}
    chosen = llm_settings(project.settings, method, given)
    if not chosen.get("start") and not chosen.get("model"):
        raise click.UsageError(
            "name the base model with --model or er_llm_model, or a student to go on from with --from"
        )
    answers = chosen.get("preferences", "answers") == "answers"
    source = read_sources(project, labels, files, evaluation_share, voted=answers)
    chosen["constraint"] = source.settings.resolved_constraint
    recipe = Recipe("llm", chosen, source.candidates, source.columns)
    train_and_report(source.labels, Registry.of(project.settings), recipe, promoted, as_json)
