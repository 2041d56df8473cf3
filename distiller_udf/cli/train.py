"""`distiller train`: a student from labels, published in the registry and promoted."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click
from click.core import ParameterSource

from distiller_udf.cli.console import json_option
from distiller_udf.cli.sources import read_labels, source_options
from distiller_udf.cli.students import name_option, students_option
from distiller_udf.cli.training import constraint_of, constraint_option, promote_option, train_and_report
from distiller_udf.encoding import DEFAULT_MODEL
from distiller_udf.students import KINDS

METHODS = {
    "sft": "Fine-tune a language model on the labels.",
    "dpo": "Fine-tune by preferences: the right answer against others.",
    "grpo": "Fine-tune by rewards for replies.",
}
"""Ways to train a language model, which are commands of their own."""


class TrainGroup(click.Group):
    """Trains by itself; its commands train language models, and are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(METHODS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in METHODS:
            return None
        command: click.Command = getattr(import_module("distiller_udf.cli.train_llm"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands for language models"):
            formatter.write_dl(list(METHODS.items()))


@click.group(cls=TrainGroup, invoke_without_command=True)
@source_options
@students_option
@name_option
@click.option(
    "--student",
    type=click.Choice([kind for kind in KINDS if kind != "llm"]),
    default="lexical",
    show_default=True,
    help="The kind; encoder, blend and cross_encoder need distiller-udf[encoder].",
)
@click.option(
    "--encoder",
    help=f"With these three: a folder or the id of a model on the hub.  [default: {DEFAULT_MODEL}]",
)
@click.option(
    "--target-precision",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The precision that decisions must keep on held-out labels.  [default: the best F1]",
)
@constraint_option
@click.option("--seed", type=click.IntRange(0), default=42, show_default=True)
@promote_option
@json_option
@click.pass_context
def train(
    context: click.Context,
    /,
    database: Path | None,
    schema: str,
    labels: Path | None,
    vote: str,
    pairs: Path | None,
    evaluation_share: float,
    root: Path,
    name: str,
    student: str,
    encoder: str | None,
    target_precision: float | None,
    constraint: str | None,
    seed: int,
    promoted: bool,
    as_json: bool,
) -> None:
    """Train a student from labels and make it the current one.

    A student of the very same labels and settings is not trained again.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    from distiller_udf.registry import Registry
    from distiller_udf.training.recipe import Recipe

    if encoder and student == "lexical":
        raise click.UsageError(
            "--encoder is for the students encoder, blend and cross_encoder; the lexical student has none"
        )
    model = None if student == "lexical" else encoder or DEFAULT_MODEL
    given = {"encoder": model, "target_precision": target_precision}
    source = read_labels(database, schema, labels, pairs, vote, evaluation_share)
    chosen = {"seed": seed, "constraint": constraint_of(constraint, database, source.labels)}
    chosen |= {k: v for k, v in given.items() if v is not None}
    recipe = Recipe(student, chosen, source.candidates, source.columns)
    train_and_report(source.labels, Registry(root, name), recipe, promoted, as_json)


def _refuse_options_before(context: click.Context) -> None:
    """Raise UsageError for options that stand before the command's name: they would be passed over."""
    given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        raise click.UsageError(f"put the options behind {context.invoked_subcommand}")
