"""What the commands share: where they print, how they show progress, and `--json` for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

out = Console(width=None if sys.stdout.isatty() else 160)
"""Results go to standard output; where that is no terminal, lines are wide enough for a table."""

err = Console(stderr=True)
"""Progress and remarks go to standard error, so that output can be piped."""

SHOWN = 20
"""So many remarks of one kind are printed."""

LINE_SECONDS = 30.0
"""How often long work tells how far it is where there is no terminal."""

Command = TypeVar("Command", bound=Callable[..., Any])


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A decorator that gives a command these options, in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class Group(click.Group):
    """A group that lists its commands with the whole first sentence of each."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(1000)) for name, command in commands if command])


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")


def say(sentence: str) -> None:
    """A remark on standard error, as it is: in one line however long, no brackets read as markup."""
    err.print(sentence, markup=False, highlight=False, soft_wrap=True)


def tell(line: str) -> None:
    """A result on standard output, as it is."""
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def say_some(what: str, sentences: Sequence[str]) -> None:
    """Remarks of one kind, each behind `what`: the first ones, and how many more there are."""
    for sentence in sentences[:SHOWN]:
        say(f"{what}: {sentence}")
    if len(sentences) > SHOWN:
        say(f"{what}: {len(sentences) - SHOWN:,} more")


def print_json(value: Any) -> None:
    """Print one JSON object on standard output, for machines."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers are aligned to the right."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v) for v in row))
    out.print(table)


def print_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print a two-column table of names and values."""
    print_table(title, ["", ""], [[name, _fact(value)] for name, value in facts.items()])


def _fact(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, tuple)) else str(value)


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, silence elsewhere; the yielded function advances it by so many steps."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(description, total=total)

        def advance(steps: int) -> None:
            bar.advance(task, steps)

        yield advance


@contextmanager
def reporting(description: str) -> Iterator[Callable[[str, float], None]]:
    """Shows a training's steps: the yielded function is called with a step's name and the share of the work done.

    A bar with the time left on a terminal; elsewhere, as in a scheduler's log, a line every half a minute.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    said = time.monotonic()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(description, total=1.0)

        def report(step: str, share: float) -> None:
            nonlocal said
            bar.update(task, description=f"{description}: {step}", completed=share)
            if not err.is_terminal and time.monotonic() - said >= LINE_SECONDS:
                said = time.monotonic()
                say(f"{description} {share:.0%}: {step}")

        yield report
