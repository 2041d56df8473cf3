"""`distiller students`: what is listed and shown, and which version answers after promote and rollback."""

from __future__ import annotations

import json
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest
from commands import run, run_json

from distiller_udf.registry import Registry


@pytest.fixture
def registry(students: Registry, tmp_path: Path) -> Registry:
    """The trained student, and two copies of it that were promoted after it."""
    shutil.copytree(students.root, tmp_path / "students")
    registry = Registry(tmp_path / "students")
    for version in ("night-1", "night-2"):
        with registry.staging() as folder:
            shutil.copytree(students.current(), folder, dirs_exist_ok=True)
            manifest = json.loads((folder / "student.json").read_text())
            (folder / "student.json").write_text(json.dumps({**manifest, "version": version}))
            registry.publish(folder, version)
        registry.promote(version)
    return registry


def words(text: str) -> str:
    """A table's words without its frame."""
    return re.sub(r"[\s│┃━─┏┓┡┩└┘┴┬╇]+", " ", text)


def at(registry: Registry) -> list[object]:
    return ["--students", registry.root]


def test_the_list_says_which_answers_and_since_when(registry: Registry) -> None:
    first = registry.names()[0]
    listed = run_json("students", "list", *at(registry))
    assert listed["current"] == "night-2"
    assert [(s["version"], s["current"], s["pinned"], s["damaged"]) for s in listed["students"]] == [
        (first, False, False, None),
        ("night-1", False, False, None),
        ("night-2", True, False, None),
    ]
    for student in listed["students"]:
        age = datetime.now(timezone.utc) - datetime.fromisoformat(student["promoted_at"])
        assert 0 <= age.total_seconds() < 3600
        assert student["kind"] == "lexical"
        assert student["labels"] == 120
    assert [(h["version"], h["rollback"]) for h in listed["history"]] == [
        ("night-2", False),
        ("night-1", False),
        (first, False),
    ]
    promoted = registry.history()[0].promoted_at.strftime("%Y-%m-%d %H:%M")
    assert f"night-2 lexical current {promoted} 120" in words(run("students", "list", *at(registry)).stdout)


def test_what_was_never_promoted_has_no_time(registry: Registry) -> None:
    (registry.folder / "CURRENT").write_text("night-1\n")
    listed = run_json("students", "list", *at(registry))["students"]
    assert [s["promoted_at"] is None for s in listed] == [True, False, True]


def test_an_empty_registry_lists_nothing(tmp_path: Path) -> None:
    assert "`dbt build` or `distiller train` makes one" in run("students", "list", "--students", tmp_path).stdout
    nothing = {"current": None, "students": [], "history": []}
    assert run_json("students", "list", "--students", tmp_path) == nothing
    assert "nothing has been promoted" in run("students", "rollback", "--students", tmp_path, code=1).stderr


def test_a_damaged_version_is_listed_and_show_says_why(registry: Registry) -> None:
    (registry.path("night-1") / "pair_0.txt").write_text("tree")
    (registry.path("night-2") / "weights.pkl").write_text("x")
    shutil.copytree(registry.path("night-1"), registry.path("renamed"))
    listed = {s["version"]: s["damaged"] for s in run_json("students", "list", *at(registry))["students"]}
    assert listed.pop(registry.names()[0]) is None
    reasons = {"night-1": "pair_0.txt is altered", "night-2": "weights.pkl is not in", "renamed": "renamed or copied"}
    assert set(listed) == set(reasons)
    for version, reason in reasons.items():
        assert reason in listed[version]
        assert reason in run("students", "show", version, *at(registry), code=1).stderr
        assert reason in run("students", "promote", version, *at(registry), code=1).stderr
    shown = words(run("students", "list", *at(registry)).stdout)
    assert "night-1 damaged" in shown
    assert "night-2 current, damaged" in shown


def test_a_current_student_that_is_gone_is_said(registry: Registry) -> None:
    shutil.rmtree(registry.path("night-2"))
    said = run("students", "list", *at(registry)).stderr
    assert said.startswith("The current student, night-2, is not there; `distiller students promote`")


def test_show_is_the_manifest(registry: Registry) -> None:
    first = registry.names()[0]
    shown = run_json("students", "show", *at(registry))
    assert (shown["version"], shown["path"]) == ("night-2", str(registry.path("night-2")))
    assert "choice_f1" in shown["metrics"]
    assert run_json("students", "show", first[:9], *at(registry))["version"] == first
    assert f"Student {first}" in run("students", "show", first, *at(registry)).stdout
    assert "is not a student version" in run("students", "show", "../x", *at(registry), code=1).stderr


def test_promote_says_what_answers_now_and_until_when(registry: Registry) -> None:
    first = registry.names()[0]
    said = run("students", "promote", first[:8], *at(registry)).stdout
    assert said.splitlines() == [
        f"{first} is the current student; it was night-2.",
        "The next student that is trained takes its place.",
    ]
    assert (registry.current_version(), registry.pinned) == (first, False)
    said = run("students", "promote", first, "--pin", *at(registry)).stdout
    assert said.splitlines() == [
        f"{first} is the current student.",
        "It is pinned: `dbt build` would otherwise bring back what its labels give. "
        f"`distiller students promote {first}` ends that.",
    ]
    assert registry.pinned
    assert "current, pinned" in words(run("students", "list", *at(registry)).stdout)
    done = run_json("students", "promote", first, *at(registry))
    assert done == {"current": first, "previous": first, "pinned": False}
    assert not registry.pinned


def test_a_rollback_goes_back_and_stays_there(registry: Registry) -> None:
    first = registry.names()[0]
    said = run("students", "rollback", *at(registry)).stdout
    assert said.startswith("night-1 is the current student; it was night-2.\nIt is pinned: `dbt build` would otherwise")
    assert (registry.current_version(), registry.pinned) == ("night-1", True)
    done = run_json("students", "rollback", "--no-pin", *at(registry))
    assert done == {"current": first, "previous": "night-1", "pinned": False}
    assert "has no earlier version to go back to" in run("students", "rollback", *at(registry), code=1).stderr
    history = run_json("students", "list", *at(registry))["history"]
    assert [(h["version"], h["rollback"]) for h in history][:2] == [(first, True), ("night-1", True)]


@pytest.mark.parametrize("command", ["show", "promote"])
def test_a_version_that_is_not_there_is_answered_with_those_that_are(registry: Registry, command: str) -> None:
    unknown = run("students", command, "nihgt-1", *at(registry), code=1).stderr
    assert "has no version nihgt-1; did you mean night-1" in unknown
    assert "`distiller students list` shows all" in unknown
    assert "night may be night-1, night-2; give more" in run("students", command, "night", *at(registry), code=1).stderr
    assert registry.current_version() == "night-2"


def test_another_name_has_versions_of_its_own(registry: Registry) -> None:
    shutil.copytree(registry.folder, registry.root / "products")
    run("students", "rollback", "--name", "products", *at(registry))
    assert registry.current_version() == "night-2"
    assert Registry(registry.root, "products").current_version() == "night-1"
