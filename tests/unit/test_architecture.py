"""The house rules: imports go downwards only, and `import distiller_udf` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "distiller_udf"

LAYERS = [
    {"errors", "constraint", "english", "sql"},
    {"records", "settings"},
    {"files"},
    {"project", "similarity", "prompts", "privacy", "budget"},
    {"encoding"},
    {"students", "teachers", "votes", "selection"},
    {"registry", "scoring", "labels", "metrics"},
    {"udf", "pairs", "pipeline", "inquiry"},
    {"plugin", "cli"},
]
"""A module may import its own layer and those above this line of the list, never one below it."""

TRAINING = [
    {"labelled", "learned", "schedule.profile"},
    {"pool"},
    {"material"},
    {"fit"},
    {"decide"},
    {"write"},
    {"train"},
    {"versions"},
    {"er_student", "schedule"},
]
"""The steps of training, likewise: what the next step is made of knows nothing of it."""

HEAVY = {
    "torch",
    "transformers",
    "trl",
    "peft",
    "vllm",
    "lightgbm",
    "sklearn",
    "scipy",
    "openai",
    "dbt",
    "pandas",
    "rich",
}

TORCH = {"encoding", "teachers/vllm.py", "students/llm"}
"""Rooms and files that may import torch, transformers or safetensors."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@cache
def imports(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports_on_loading(path: Path) -> set[str]:
    """Modules that a file imports outside functions; of a package whose modules are named, these alone."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {name for name in inner if is_module(name)}
            found |= known or {node.module}
        elif not isinstance(node, ast.FunctionDef):
            waiting += ast.iter_child_nodes(node)
    return found


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_every_room_has_a_layer() -> None:
    assert {room(path) for path in modules()} - {"__init__"} == set.union(*LAYERS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path: Path) -> None:
    if room(path) == "__init__":
        return
    level = next(i for i, layer in enumerate(LAYERS) if room(path) in layer)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "distiller_udf" or len(parts) < 2 or parts[1] in ("__version__", "training"):
            continue
        target = next((i for i, layer in enumerate(LAYERS) if parts[1] in layer), None)
        assert target is not None, f"{path} imports {name}, which has no layer"
        assert target <= level, f"{path.name} imports {name} from a layer above its own"


def test_no_module_is_imported_by_what_it_imports() -> None:
    """As far as imports are made on loading: one in a function may look back, one for the type checker may not."""
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in modules()
    }
    graph = {name: imports_on_loading(path) & names.keys() - {name} for name, path in names.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the modules


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_training_is_imported_by_commands_alone(path: Path) -> None:
    if any(name.startswith("distiller_udf.training") for name in imports(path)):
        assert room(path) == "cli"


def step(parts: tuple[str, ...]) -> int:
    """Which step of training a module is of."""
    names = {parts[0], ".".join(parts[:2])}
    return min(i for i, layer in enumerate(TRAINING) if names & layer)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "training").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_training_goes_one_way(path: Path) -> None:
    place = path.relative_to(ROOT / "training").with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = (*place[: len(place) - node.level], *(node.module or "").split("."))
            assert step(target) <= step(place), f"{'/'.join(place)} imports {'.'.join(target)}, a step after its own"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_two_modules_import_dbt(path: Path) -> None:
    if any(name.split(".")[0] == "dbt" for name in imports(path)):
        assert path.relative_to(PACKAGE).as_posix() in ("plugin.py", "project/dbt.py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_encoders_import_torch(path: Path) -> None:
    if {"torch", "transformers", "safetensors", "peft"} & {name.split(".")[0] for name in imports(path)}:
        inside = path.relative_to(PACKAGE)
        assert {room(path), inside.as_posix(), inside.parent.as_posix()} & TORCH


def test_importing_the_package_is_light() -> None:
    code = f"import sys, distiller_udf; print(sorted(set(sys.modules) & {HEAVY!r}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"


def test_nothing_pickles_or_trusts_remote_code() -> None:
    for path in [*modules(), *(ROOT / "training").rglob("*.py")]:
        assert not {"pickle", "joblib", "dill", "cloudpickle"} & {name.split(".")[0] for name in imports(path)}, path
        assert "trust_remote_code=True" not in path.read_text(encoding="utf-8"), path
