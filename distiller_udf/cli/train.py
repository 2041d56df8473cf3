"""`distiller train`: a student from labels, published in the registry and promoted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from distiller_udf.cli.console import json_option, print_json, reporting, say
from distiller_udf.cli.options import REGISTRY, with_project
from distiller_udf.cli.sources import LABELS, SHARE, Files, read_sources, with_files
from distiller_udf.cli.students import print_student
from distiller_udf.project import Project
from distiller_udf.registry import Registry
from distiller_udf.students.base import StudentInfo

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.training.recipe import Recipe

FINE_TUNING = {
    "sft": "Fine-tune a language model on the labels.",
    "dpo": "Fine-tune by preferences: the right answer against others.",
    "grpo": "Fine-tune by rewards for replies.",
}
"""Ways to train a language model, which are commands of their own."""


promote_option = click.option(
    "--promote/--no-promote",
    "promoted",
    default=True,
    show_default=True,
    help="Make it the current student, unless that one is pinned.",
)


class TrainGroup(click.Group):
    """Trains by itself; its commands train language models, and are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(FINE_TUNING)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in FINE_TUNING:
            return None
        command: click.Command = getattr(import_module("distiller_udf.cli.train_llm"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands for language models"):
            formatter.write_dl(list(FINE_TUNING.items()))


@click.group(cls=TrainGroup, invoke_without_command=True)
@LABELS
@with_files()
@SHARE
@promote_option
@with_project(
    {
        **REGISTRY,
        "--student": "student",
        "--encoder": "student_encoder",
        "--target-precision": "target_precision",
        "--constraint": "constraint",
        "--vote": "vote",
        "--seed": "seed",
    },
    warehouse=True,
)
@json_option
@click.pass_context
def train(
    context: click.Context,
    /,
    project: Project,
    labels: Path | None,
    files: Files,
    evaluation_share: float | None,
    promoted: bool,
    as_json: bool,
) -> None:
    """Train a student from labels and make it the current one.

    From the project's warehouse it is the very student that `dbt build` makes. Labels in a file name records by their
    ids, which are looked up in the files --left and --right, or hold the records themselves. A student of the very same
    labels and settings is not trained again.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    from distiller_udf.training.er_student import training_settings
    from distiller_udf.training.recipe import Recipe

    settings = files.settings(project)
    if settings.student == "lexical" and _is_given(context, "setting_student_encoder"):
        raise click.UsageError(
            "--encoder is for the students encoder, blend and cross_encoder; the lexical student has none"
        )
    source = read_sources(project, labels, files, evaluation_share)
    recipe = Recipe(settings.student, training_settings(source.settings), source.candidates, source.columns)
    train_and_report(source.labels, Registry.of(settings), recipe, promoted, as_json)


def _refuse_options_before(context: click.Context) -> None:
    """Raise UsageError for options that stand before the command's name: they would be passed over."""
    if any(_is_given(context, name) for name in context.params):
        raise click.UsageError(f"put the options behind {context.invoked_subcommand}")


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def train_and_report(labels: pa.Table, registry: Registry, recipe: Recipe, promoted: bool, as_json: bool) -> None:
    """Train by a `Recipe`, and say what came of it: the student, and whether it is the one that answers now."""
    from distiller_udf.training.ensure import ensure_student, publish_student

    before = registry.current_version()
    with reporting("training") as report:
        outcome = (ensure_student if promoted else publish_student)(labels, registry, recipe, report)
    if as_json:
        print_json({"trained": outcome.trained, "path": str(outcome.path), **asdict(outcome.info)})
        return
    say("trained" if outcome.trained else "nothing new: there is a student of these very labels and settings already")
    print_student(outcome.info, outcome.path)
    for line in _place(registry, outcome.info, before):
        say(line)


def _place(registry: Registry, info: StudentInfo, before: str | None) -> Iterator[str]:
    """What a training changed for those who ask the current student."""
    if registry.current_version() != info.version:
        yield f"It answers when it is promoted: distiller students promote {info.version}"
    elif before in (None, info.version):
        yield "It is the current student."
    else:
        yield f"It is the current student, in place of {before}; `distiller students rollback` goes back."
        old = registry.read(before).metrics.get("choice_f1") if before and registry.exists(before) else None
        new = info.metrics.get("choice_f1")
        if old is not None and new is not None and new < old:
            yield f"Warning: its expected F1 is {new}, that of the one before was {old}."
