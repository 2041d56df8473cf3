"""What the tests of the documentation share: a page's blocks, and whether what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import yaml

from distiller_udf.cli import main

ROOT = Path(__file__).parents[1]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def check_commands(text: str, least: int) -> None:
    """Every `distiller` command of a page and all its options exist, in blocks and in running text alike."""
    named = re.findall(r"distiller ((?:[a-z-]+ ?)+)((?:[^`\n&|;>]*))", text)
    assert len(named) >= least
    for words, rest in named:
        command: click.Command = main
        context = click.Context(main)
        for word in words.split():
            found = command.get_command(context, word) if isinstance(command, click.Group) else None
            if found is None and command is not main:
                break
            assert found is not None, f"distiller {words}"
            command = found
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, f"distiller {words}{rest}"


def check_variables(text: str) -> None:
    """Every variable that a page sets or names is one of the package's."""
    known = yaml.safe_load((ROOT / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    named = set(re.findall(r"`(er_[a-z_]+)(?::[^`]*)?`", text))
    models = {path.stem for path in (ROOT / "models").iterdir()}
    functions = {"er_score", "er_match", "er_decide", "er_select", "er_label", "er_explain", "er_version"}
    assert named <= {*known, *models, *functions}
