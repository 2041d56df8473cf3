"""The wheel, built for real: what `pip install` puts there is the whole Python package and the whole dbt package."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("distiller_udf", "training", "macros", "models")
FILES = ("pyproject.toml", "dbt_project.yml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that is built from a copy of the sources."""
    sources, wheels = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheels")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, sources / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, sources)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"]
    built = subprocess.run([*command, "-w", str(wheels), str(sources)], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = wheels.iterdir()
    return set(zipfile.ZipFile(wheel).namelist())


def _files(folder: str) -> set[str]:
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_wheel_carries_every_module(names: set[str]) -> None:
    modules = _files("distiller_udf") | {f"distiller_udf/{name}" for name in _files("training")}
    assert len(modules) > 100
    assert modules == {name for name in names if name.startswith("distiller_udf/")}


def test_the_wheel_carries_the_whole_dbt_package(names: set[str]) -> None:
    shared = {name.partition("/data/share/distiller_udf/")[2] for name in names}
    assert _files("macros") | _files("models") | {"dbt_project.yml"} == shared - {""}
