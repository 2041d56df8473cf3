"""The constraint on matches, as the macros resolve it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def constraint(settings: Mapping[str, Any]) -> str:
    """`one_to_one`, `many_to_one` or `none`, from er_constraint, er_task and er_sources as dbt has them."""
    if settings["constraint"] != "auto":
        return str(settings["constraint"])
    links = settings["task"] == "link" or (settings["task"] == "auto" and len(settings["sources"]) > 1)
    return "one_to_one" if links else "none"
