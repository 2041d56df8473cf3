"""The little SQL that Python writes itself: quoting names, running compiled models. Values are bound as parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_STEP = re.compile(r"(?m)^ *-- er_(step|view): (\w+)\n")


def quoted(*names: str) -> str:
    """An identifier, or several with points between them, quoted for DuckDB, whatever characters they have."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A text in SQL, for the few statements in which DuckDB takes no parameter."""
    return "'" + text.replace("'", "''") + "'"


def make_table(connection: duckdb.DuckDBPyConnection, relation: str, sql: str) -> None:
    """Make the table `relation`, named as SQL names it, of a model that dbt has compiled.

    The model is one SELECT, or steps behind lines `-- er_step: name`, as the materialization er_steps takes them.
    """
    parts = _STEP.split(sql)[1:] or ["step", "", sql]
    *steps, (_, _, last) = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    kinds = {"step": "table", "view": "view"}
    for kind, name, select in steps:
        connection.execute(f"create or replace temporary {kinds[kind]} {quoted(name)} as (\n{select}\n)")
    connection.execute(f"create or replace table {relation} as (\n{last}\n)")
    for kind, name, _ in reversed(steps):
        connection.execute(f"drop {kinds[kind]} temp.{quoted(name)}")
