"""Running `distiller` commands in tests."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result

from distiller_udf.cli import main


def run(*arguments: object, code: int = 0, typed: str | None = None) -> Result:
    """Run a command that is to exit with `code`; `typed` is what its user types."""
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False, input=typed)
    assert result.exit_code == code, result.output
    return result


def run_json(*arguments: object, code: int = 0) -> dict:
    """The object that a command prints with --json."""
    return json.loads(run(*arguments, "--json", code=code).stdout)
