"""A dbt project in a folder of its own, with two tables to link and the package as it is in this checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
DATABASE = "warehouse.duckdb"
SOURCES = ("left_table", "right_table")


@dataclass(frozen=True)
class Run:
    """A run of dbt: seconds by model, all seconds with its start-up, and the most memory that it held, in bytes."""

    seconds: dict[str, float]
    wall_seconds: float
    peak_memory: int


@dataclass(frozen=True)
class Warehouse:
    """The folder of a dbt project and its database."""

    folder: Path

    @classmethod
    def create(
        cls,
        folder: Path,
        tables: Mapping[str, pa.Table],
        variables: Mapping[str, Any] | None = None,
        models: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        sources: Sequence[str] = SOURCES,
    ) -> Warehouse:
        """A project whose sources are those of the `sources` that are among the tables, with the id column `id`.

        `models` are settings of the package's models, `settings` those of DuckDB.
        """
        warehouse = cls(folder)
        named = {name: name[0] if sources == SOURCES else name for name in sources if name in tables}
        declared = [{"name": named[name], "relation": f"main.{name}", "id": "id"} for name in named]
        output = {"type": "duckdb", "path": DATABASE, "settings": dict(settings or {})}
        files = {
            "packages.yml": {"packages": [{"local": str(ROOT)}]},
            "profiles.yml": {"b": {"target": "d", "outputs": {"d": output}}},
            "dbt_project.yml": {
                "name": "benchmark",
                "profile": "b",
                "flags": {"send_anonymous_usage_stats": False},
                "models": {"distiller_udf": dict(models or {})},
                "vars": {"er_sources": declared, **(variables or {})},
            },
        }
        (folder / "models").mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML too
        with warehouse.connect() as connection:
            for name, table in tables.items():
                connection.register("given", table)
                connection.execute(f'create table "{name}" as from given')
                connection.unregister("given")
        warehouse.dbt("deps")
        return warehouse

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection, while dbt is not at work."""
        return duckdb.connect(str(self.folder / DATABASE))

    def dbt(self, *arguments: str) -> dict[str, float]:
        """Run dbt, and return the seconds of every model that it ran. Raises CalledProcessError."""
        return self.measured(*arguments).seconds

    def measured(self, *arguments: str) -> Run:
        """Run dbt, and measure it. Raises CalledProcessError."""
        command = [str(Path(sys.executable).parent / "dbt"), "--quiet", *arguments]
        environment = {**os.environ, "DBT_PROFILES_DIR": str(self.folder)}
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=self.folder, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - started
        code = process.returncode = os.waitstatus_to_exitcode(status)
        if code:
            raise subprocess.CalledProcessError(code, command)
        results = self.folder / "target" / "run_results.json"
        found = json.loads(results.read_text(encoding="utf-8"))["results"] if results.is_file() else ()
        seconds = {node["unique_id"].rpartition(".")[2]: float(node["execution_time"]) for node in found}
        return Run(seconds, wall_seconds, usage.ru_maxrss * 1024)
