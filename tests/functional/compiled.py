"""SQL that dbt has compiled once, run again and again without it: for tests of many runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
from dbt_harness import macro_project

from distiller_udf.sql import make_table


class Compiled:
    """Models that read tables by name, compiled by dbt; `run` makes one of them as the materialization er_steps would.

    The texts of `replaced` stand for others in all of them, such as limits that only many records would reach.
    `tables` are models that others refer to, and whose columns have to be known.
    """

    def __init__(
        self,
        folder: Path,
        models: Mapping[str, str],
        replaced: Mapping[str, str] | None = None,
        tables: Mapping[str, str] | None = None,
    ) -> None:
        project = macro_project(folder, models={**models, **(tables or {})})
        if tables:
            project.run("run", "--select", *tables)
        project.run("compile")
        compiled = project.folder / "target" / "compiled" / "shop" / "models"
        self.sql = {name: (compiled / f"{name}.sql").read_text(encoding="utf-8") for name in models}
        self.sql = {name: sql.replace('"warehouse"."main".', "") for name, sql in self.sql.items()}
        for old, new in (replaced or {}).items():
            assert any(old in sql for sql in self.sql.values()), old
            self.sql = {name: sql.replace(old, new) for name, sql in self.sql.items()}

    def run(self, connection: duckdb.DuckDBPyConnection, name: str, table: str | None = None) -> None:
        """Make the table `table`, or the one named like the model, on a connection of the test's own."""
        make_table(connection, "made_now", self.sql[name])
        connection.execute(f'drop table if exists "{table or name}"')
        connection.execute(f'alter table made_now rename to "{table or name}"')
