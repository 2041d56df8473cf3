"""The command line `distiller`: one module a command, each a thin shell over the package."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from distiller_udf import __version__
from distiller_udf.errors import DistillerError

COMMANDS = {
    "init": "Add distiller-udf to an existing dbt project; nothing is overwritten.",
    "ask": "Ask the teachers now, outside dbt, and watch it; or see what it will cost.",
    "labels": "Import, export, show and delete labels: your own, and the teachers' answers.",
    "train": "Train a student from labels and make it the current one.",
    "retrain": "Train a student from new labels; promote it only where it is not worse.",
    "drift": "Ask the teacher about a sample of today's decisions; is the student still right?",
    "evaluate": "Measure matches against known pairs: precision, recall, F1.",
    "score": "Score pairs of records: files in, a file out.",
    "students": "List, show, promote and roll back trained students.",
    "doctor": "Say what is missing, and the command that fixes it.",
}

FORMER = {"label": "ask"}
"""Commands that were called otherwise: the old name still works."""


class LazyGroup(click.Group):
    """Imports a command's module only when that command runs, so that `distiller --help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        former, *rest = args
        if former in FORMER:
            click.echo(f"`distiller {former}` is now called `distiller {FORMER[former]}`", err=True)
            args = [FORMER[former], *rest]
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"distiller_udf.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DistillerError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise  # click ends quietly where the reader of a pipe has gone
        except OSError as error:
            raise click.ClickException(str(error)) from error
        except Exception as error:
            import duckdb

            if not isinstance(error, duckdb.Error):
                raise
            raise click.ClickException(f"DuckDB: {str(error).strip().splitlines()[0]}") from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="distiller-udf")
def main() -> None:
    """Entity resolution inside dbt and DuckDB: block, label a tenth, distil a student, match."""
