"""The registry: versions appear whole, the pointer is always valid, and failures leave nothing behind."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from pathlib import Path

import pytest

from distiller_udf import load_student
from distiller_udf.errors import SettingsError, StudentDamaged, StudentError, StudentNotFound
from distiller_udf.registry import Registry
from distiller_udf.students.base import StudentInfo


@pytest.fixture
def registry(students: Registry, tmp_path: Path) -> Registry:
    shutil.copytree(students.root, tmp_path / "students")
    return Registry(tmp_path / "students")


def publish_copy(registry: Registry, version: str) -> None:
    with registry.staging() as folder:
        shutil.copytree(registry.current(), folder, dirs_exist_ok=True)
        registry.publish(folder, version)


def test_an_empty_registry_says_what_to_run(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert registry.versions() == []
    with pytest.raises(StudentNotFound, match="run `dbt build` or `distiller train` first"):
        registry.current()


def test_publishing_does_not_change_the_current_student(registry: Registry) -> None:
    before = registry.current_version()
    publish_copy(registry, "another")
    assert registry.current_version() == before
    registry.promote("another")
    assert registry.current_version() == "another"
    assert len(registry.versions()) == 2


def test_staging_leaves_nothing_behind_on_failure(registry: Registry) -> None:
    listing = sorted(p.name for p in registry.folder.iterdir())
    with pytest.raises(RuntimeError, match="boom"), registry.staging() as folder:
        (folder / "weights").write_text("half")
        raise RuntimeError("boom")
    assert sorted(p.name for p in registry.folder.iterdir()) == listing


def test_a_full_disk_is_one_sentence_and_changes_nothing(registry: Registry) -> None:
    listing = sorted(p.name for p in registry.folder.iterdir())
    with pytest.raises(StudentError, match=r"No space left.*The current student is unchanged"), registry.staging():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert sorted(p.name for p in registry.folder.iterdir()) == listing
    assert load_student(registry.current()).info.kind == "lexical"


def test_an_incomplete_folder_is_never_published(registry: Registry) -> None:
    with registry.staging() as folder:
        (folder / "weights").write_text("half")
        with pytest.raises(StudentDamaged):
            registry.publish(folder, "half")
    assert not (registry.folder / "half").exists()


def test_a_version_is_written_once(registry: Registry) -> None:
    publish_copy(registry, "again")
    stamp = (registry.path("again") / "student.json").stat().st_mtime_ns
    publish_copy(registry, "again")
    assert (registry.path("again") / "student.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("version", ["../x", "", ".hidden", "a/b", "x" * 200])
def test_a_version_is_a_plain_name(registry: Registry, version: str) -> None:
    with pytest.raises(StudentError, match="is not a student version"):
        registry.path(version)


def test_an_unreadable_pointer_says_what_to_delete(registry: Registry) -> None:
    (registry.folder / "CURRENT").write_bytes(b"\xff\xfe")
    with pytest.raises(StudentDamaged, match="delete it, then run"):
        registry.current()


def test_a_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the student's name is"):
        Registry(tmp_path, "../elsewhere")


def test_a_pointer_to_nowhere_says_so(registry: Registry) -> None:
    (registry.folder / "CURRENT").write_text("gone\n")
    with pytest.raises(StudentNotFound, match="names gone, which is not there"):
        registry.current()


def test_a_reader_always_finds_a_whole_student(registry: Registry) -> None:
    """One thread moves the pointer to and fro while another reads it; every read is one of the two versions."""
    publish_copy(registry, "other")
    names = [str(registry.current_version()), "other"]
    stop, seen, failures = threading.Event(), set(), []

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(StudentInfo.read(registry.current()).kind + Path(registry.current()).name)
            except StudentError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(200):
        registry.promote(names[turn % 2])
    stop.set()
    reader.join()
    assert failures == []
    assert seen <= {"lexical" + name for name in names}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "student.json").unlink(), "no readable student.json"),
        (lambda f: (f / "student.json").write_text("{"), "no readable student.json"),
        (lambda f: (f / "student.json").write_text("{}"), "no readable student.json"),
        (lambda f: (f / "pair_0.txt").unlink(), "pair_0.txt is missing"),
        (lambda f: (f / "pair_0.txt").write_text("tree"), "pair_0.txt is altered"),
        (lambda f: rewrite(f, threshold=7), "threshold is 7"),
        (lambda f: rewrite(f, files=["a"]), "no readable student.json"),
        (lambda f: rewrite(f, kind="oracle"), "of kind 'oracle'"),
        (lambda f: rewrite(f, format=99), "has format 99"),
    ],
)
def test_a_damaged_or_foreign_student_is_refused_with_the_reason(registry: Registry, damage, message: str) -> None:
    folder = registry.current()
    damage(folder)
    with pytest.raises(StudentDamaged, match=message):
        load_student(folder)


def rewrite(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps({**manifest, **changes}))


def test_a_missing_folder_says_how_to_train(tmp_path: Path) -> None:
    with pytest.raises(StudentNotFound, match="distiller train"):
        load_student(tmp_path / "nothing")
