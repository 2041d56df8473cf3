"""Options of commands that ask a student which may be a language model: where it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from distiller_udf.students.llm import ENGINES

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = [
    click.option("--engine", "llm_engine", type=click.Choice(list(ENGINES)), help="Where a language model runs."),
    click.option("--model", "llm_model", help="Its base model, where that is no longer where it was in training."),
    click.option("--orders", "llm_orders", type=click.IntRange(1, 19), help="In how many orders it is asked."),
    click.option("--base-url", "llm_base_url", help="With --engine server: its address."),
    click.option("--served-as", "llm_served_as", help="With --engine server: the name that it has there."),
    click.option("--local-only", is_flag=True, help="Download nothing; a server must be on this machine."),
]


def serving_options(command: Command) -> Command:
    """Add the options to a command; their values are those that `serving_of` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
