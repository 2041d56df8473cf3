"""The task and the constraint on matches, as the macros resolve them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def task(settings: Mapping[str, Any]) -> str:
    """`link`, `dedupe` or `link_and_dedupe`, from er_task and er_sources as dbt has them."""
    if settings["task"] != "auto":
        return str(settings["task"])
    return "link" if len(settings["sources"]) > 1 else "dedupe"


def constraint(settings: Mapping[str, Any]) -> str:
    """`one_to_one`, `many_to_one` or `none`, from er_constraint, er_task and er_sources as dbt has them."""
    if settings["constraint"] != "auto":
        return str(settings["constraint"])
    return "one_to_one" if task(settings) == "link" else "none"
