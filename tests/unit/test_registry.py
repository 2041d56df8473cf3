"""The registry: versions appear whole, the pointer is always valid, and failures leave nothing behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from distiller_udf import load_student
from distiller_udf.errors import Busy, DistillerError, SettingsError, StudentDamaged, StudentError, StudentNotFound
from distiller_udf.registry import Registry
from distiller_udf.registry.current import CurrentStudent
from distiller_udf.students.base import StudentInfo


@pytest.fixture
def registry(students: Registry, tmp_path: Path) -> Registry:
    shutil.copytree(students.root, tmp_path / "students")
    return Registry(tmp_path / "students")


def publish_copy(registry: Registry, version: str) -> None:
    with registry.staging() as folder:
        shutil.copytree(registry.current(), folder, dirs_exist_ok=True)
        rewrite(folder, version=version)
        registry.publish(folder, version)


def changes(registry: Registry) -> list[tuple[str, bool]]:
    """The history without its times, the newest first: the version, and whether it was a rollback."""
    return [(change.version, change.rollback) for change in registry.history()]


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


def test_what_a_killed_training_has_staged_goes_with_the_next_one(registry: Registry) -> None:
    listing = {p.name for p in registry.folder.iterdir()}
    code = """
import os, signal, sys
from pathlib import Path
from distiller_udf.registry import Registry
with Registry(Path(sys.argv[1])).staging() as folder:
    (folder / "weights").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(registry.root)], check=False)
    (left,) = {p.name for p in registry.folder.iterdir()} - listing
    assert left not in registry.names()
    with registry.staging() as folder:
        assert {p.name for p in registry.folder.iterdir()} == {*listing, folder.name}


def test_a_full_disk_is_one_sentence_and_changes_nothing(registry: Registry) -> None:
    listing = sorted(p.name for p in registry.folder.iterdir())
    with pytest.raises(StudentError, match=r"No space left.*The current student is unchanged"), registry.staging():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert sorted(p.name for p in registry.folder.iterdir()) == listing
    assert load_student(registry.current()).info.kind == "lexical"


@pytest.mark.parametrize(
    "error", [OSError("the hub cannot be reached"), FileNotFoundError(errno.ENOENT, "No such file", "/models/base")]
)
def test_what_is_missing_elsewhere_is_not_taken_for_a_full_disk(registry: Registry, error: OSError) -> None:
    with pytest.raises(StudentError, match=r"could not be trained: .*current student is unchanged"), registry.staging():
        raise error


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


@pytest.mark.slow
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
        (lambda f: list_outside(f, "../stolen"), r"files names '../stolen', which is not a path within the folder"),
        (lambda f: list_outside(f, str(f / "model.json")), "which is not a path within the folder"),
        (lambda f: list_outside(f, "similarity/../../stolen"), "which is not a path within the folder"),
        (lambda f: (f / "weights.pkl").write_bytes(b"x"), "weights.pkl is not in its student.json; take it out"),
        (lambda f: (f / "similarity" / "run.py").write_text("x"), r"similarity/run.py is not in its student.json"),
        (lambda f: (f / "more").symlink_to(f.parent), "more is not in its student.json"),
        (lambda f: replace_by_link(f / "model.json"), "model.json is a link"),
        (lambda f: rewrite(f, kind="oracle"), "of kind 'oracle'"),
        (lambda f: rewrite(f, format=99), "has format 99"),
    ],
)
def test_a_damaged_or_foreign_student_is_refused_with_the_reason(registry: Registry, damage, message: str) -> None:
    folder = registry.current()
    damage(folder)
    with pytest.raises(StudentDamaged, match=message):
        load_student(folder)


def test_what_a_file_manager_leaves_does_no_harm(registry: Registry) -> None:
    (registry.current() / ".DS_Store").write_bytes(b"x")
    (registry.current() / "similarity" / ".nfs0001").write_bytes(b"x")
    assert load_student(registry.current()).info.version == registry.current_version()


def list_outside(folder: Path, name: str) -> None:
    """A manifest that lists a file which is there, with its right hash, but not in the student's folder."""
    (folder.parent / "stolen").write_bytes(b"")
    rewrite(folder, files={name: hashlib.sha256(b"").hexdigest()})


def replace_by_link(file: Path) -> None:
    file.rename(file.parents[1] / "elsewhere")
    file.symlink_to(file.parents[1] / "elsewhere")


def rewrite(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps({**manifest, **changes}))


def test_a_missing_folder_says_how_to_train(tmp_path: Path) -> None:
    with pytest.raises(StudentNotFound, match="distiller train"):
        load_student(tmp_path / "nothing")


def test_a_folder_that_was_renamed_or_linked_is_no_version(registry: Registry) -> None:
    own = registry.current()
    shutil.copytree(own, registry.folder / "copy")
    (registry.folder / "link").symlink_to(own)
    with pytest.raises(StudentDamaged, match=f"holds the student {own.name}, renamed or copied; rename"):
        registry.promote("copy")
    with pytest.raises(StudentDamaged, match="is a link; a version is a folder of its own"):
        registry.promote("link")
    (registry.folder / "CURRENT").write_text("copy\n")
    with pytest.raises(StudentDamaged, match="renamed or copied"):
        registry.current()
    assert [info.version for info in registry.versions()] == [own.name]
    assert sorted(registry.names()) == sorted(["copy", "link", own.name])


def test_a_kind_of_a_newer_package_is_never_promoted(registry: Registry) -> None:
    shutil.copytree(registry.current(), registry.folder / "newer")
    rewrite(registry.folder / "newer", version="newer", kind="oracle")
    with pytest.raises(StudentDamaged, match=r"of kind 'oracle'.*upgrade distiller-udf"):
        registry.promote("newer")
    assert registry.current_version() != "newer"


def test_a_folder_is_published_under_its_own_version_alone(registry: Registry) -> None:
    with registry.staging() as folder:
        shutil.copytree(registry.current(), folder, dirs_exist_ok=True)
        with pytest.raises(StudentDamaged, match="to be published as other says that it is"):
            registry.publish(folder, "other")
    assert not (registry.folder / "other").exists()


@pytest.mark.parametrize("remains", ["folder", "link"])
def test_publishing_replaces_damaged_remains(registry: Registry, remains: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("stays")
    if remains == "folder":
        shutil.copytree(tmp_path / "mine", registry.folder / "again")
    else:
        (registry.folder / "again").symlink_to(tmp_path / "mine")
    publish_copy(registry, "again")
    assert registry.exists("again")
    assert (tmp_path / "mine" / "file").read_text() == "stays"
    assert {p.name for p in registry.folder.iterdir()} == {"CURRENT", "again", str(registry.current_version())}


def test_a_trained_version_takes_the_place_of_one_that_is_not_pinned(registry: Registry) -> None:
    first = str(registry.current_version())
    publish_copy(registry, "second")
    assert registry.succeed("second")
    registry.promote(first, pin=True)
    assert not registry.succeed("second")
    assert registry.succeed(first)
    assert (registry.current_version(), registry.pinned) == (first, True)
    (registry.path(first) / "student.json").write_text("{}")
    assert registry.succeed("second")
    assert (registry.current_version(), registry.pinned) == ("second", False)


def test_the_history_says_what_answered_since_when(registry: Registry) -> None:
    first, started = str(registry.current_version()), datetime.now(timezone.utc) - timedelta(seconds=1)
    publish_copy(registry, "second")
    registry.promote("second")
    registry.promote("second", pin=True)
    assert changes(registry) == [("second", False), (first, False)]
    assert registry.pinned
    assert started <= registry.history()[0].promoted_at <= datetime.now(timezone.utc)
    registry.promote("second")
    assert not registry.pinned
    lines = (registry.folder / "CURRENT").read_text().splitlines()
    assert lines[0] == "second"
    assert [re.fullmatch(r"(\S+) \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", line)[1] for line in lines[1:]] == [
        "second",
        first,
    ]


@pytest.mark.parametrize("text", ["{0}\n", "{0}", "{0}\npinned\n"])
def test_a_pointer_without_a_history_still_reads(registry: Registry, text: str) -> None:
    """As earlier versions of the package and people with an editor write it; its own time is that of the promotion."""
    first, pointer = str(registry.current_version()), registry.folder / "CURRENT"
    pointer.write_text(text.format(first))
    os.utime(pointer, (1_700_000_000, 1_700_000_000))
    assert registry.current().name == first
    assert registry.pinned == ("pinned" in text)
    assert [p.promoted_at for p in registry.history()] == [datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)]
    publish_copy(registry, "second")
    registry.promote("second")
    assert registry.rollback() == first
    assert changes(registry) == [(first, True), ("second", False), (first, False)]


def test_a_pointer_that_was_changed_by_hand_keeps_its_history(registry: Registry) -> None:
    first, pointer = str(registry.current_version()), registry.folder / "CURRENT"
    publish_copy(registry, "second")
    pointer.write_text(pointer.read_text().replace(first, "second", 1))
    assert registry.current().name == "second"
    assert changes(registry) == [("second", False), (first, False)]
    assert registry.rollback() == first


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "../outside\n",
        "<html>\n",
        "v1\nunpinned\n",
        "v1\npinned\npinned\n",
        "v1\nv1 2026-11-23\n",
        "v1\nv1 2026-11-23T03:12:20\n",
        "v1\nv1 2026-11-23T03:12:20+01:00\n",
        "v1\nv1 yesterday\n",
        "v1\nv1 2026-11-23T03:12:20+00:00 rollback rollback\n",
        "v1\nv1 2026-11-23T03:12:20+00:00 forced\n",
        "v1\n/etc 2026-11-23T03:12:20+00:00\n",
    ],
)
def test_a_damaged_or_foreign_pointer_says_what_to_do(registry: Registry, text: str) -> None:
    (registry.folder / "CURRENT").write_text(text)
    for ask in (registry.current, registry.history, registry.rollback, lambda: registry.promote(registry.names()[0])):
        with pytest.raises(StudentDamaged, match=r"CURRENT cannot be read .*delete it, then run `dbt build`"):
            ask()
    assert (registry.folder / "CURRENT").read_text() == text


def test_the_history_is_bounded(registry: Registry) -> None:
    names = [str(registry.current_version()), "second"]
    publish_copy(registry, "second")
    for turn in range(120):
        registry.promote(names[(turn + 1) % 2])
    assert changes(registry) == [(names[turn % 2], False) for turn in range(100)]
    assert registry.rollback() == "second"
    assert changes(registry)[:2] == [("second", True), (names[0], False)]
    assert len(registry.history()) == 100


def test_each_rollback_goes_one_step_further_back(registry: Registry) -> None:
    first = str(registry.current_version())
    for version in ("second", "third"):
        publish_copy(registry, version)
        registry.promote(version)
    assert [registry.rollback(), registry.rollback()] == ["second", first]
    with pytest.raises(StudentNotFound, match=r"has no earlier version to go back to; `distiller students list`"):
        registry.rollback()
    assert registry.current_version() == first
    registry.promote("third")  # what was rolled back in between was left behind for good
    assert registry.rollback() == first
    rolled = [(first, True), ("third", False), (first, True), ("second", True)]
    assert changes(registry) == [*rolled, ("third", False), ("second", False), (first, False)]


def test_a_rollback_stays_until_someone_promotes(registry: Registry) -> None:
    first = str(registry.current_version())
    publish_copy(registry, "second")
    registry.promote("second")
    registry.rollback()
    assert (registry.current_version(), registry.pinned) == (first, True)
    registry.promote(first)
    assert (registry.current_version(), registry.pinned) == (first, False)
    registry.promote("second")
    registry.rollback(pin=False)
    assert (registry.current_version(), registry.pinned) == (first, False)


def test_a_rollback_passes_over_what_is_gone_or_damaged(registry: Registry) -> None:
    first = str(registry.current_version())
    for version in ("gone", "damaged", "last"):
        publish_copy(registry, version)
        registry.promote(version)
    shutil.rmtree(registry.path("gone"))
    (registry.path("damaged") / "pair_0.txt").write_text("tree")
    assert registry.rollback() == first
    registry.promote("last")
    (registry.path(first) / "student.json").unlink()
    with pytest.raises(StudentNotFound, match=f"no earlier version to go back to: {first} cannot be used any more"):
        registry.rollback()
    assert registry.current_version() == "last"


def test_a_rollback_works_when_the_current_student_is_gone(registry: Registry) -> None:
    first = registry.current()
    publish_copy(registry, "second")
    registry.promote("second")
    shutil.rmtree(registry.path("second"))
    with pytest.raises(StudentNotFound, match="`distiller students rollback` points to an earlier one"):
        registry.current()
    registry.rollback()
    assert registry.current() == first


def test_nothing_is_made_where_there_is_nothing_to_roll_back(tmp_path: Path) -> None:
    with pytest.raises(StudentNotFound, match="nothing has been promoted"):
        Registry(tmp_path / "mistyped").rollback()
    with pytest.raises(StudentNotFound, match="no student at"):
        Registry(tmp_path / "mistyped").promote("v1")
    assert not (tmp_path / "mistyped").exists()


def test_a_version_is_found_by_its_beginning(registry: Registry) -> None:
    first = str(registry.current_version())
    for version in ("night-1", "night-12", "night-2"):
        publish_copy(registry, version)
    assert [registry.find(start) for start in ("night-1", "night-12", "lex", first)] == [
        "night-1",
        "night-12",
        first,
        first,
    ]
    with pytest.raises(StudentError, match=r"^night may be .*night-1.*; give more of the version's name"):
        registry.find("night")
    with pytest.raises(
        StudentNotFound, match=r"has no version nigth-2; did you mean night-2.*`distiller students list`"
    ):
        registry.find("nigth-2")
    with pytest.raises(StudentNotFound, match=r"has no version zzz; `distiller students list` shows all"):
        registry.find("zzz")


@contextmanager
def retraining_elsewhere(registry: Registry) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until it is killed."""
    script = f"""
import time
from pathlib import Path
from distiller_udf.registry import Registry
with Registry(Path({str(registry.root)!r})).lock():
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_lock_of_a_killed_retraining_is_free_at_once(registry: Registry) -> None:
    with retraining_elsewhere(registry) as process:
        said = rf"a retraining of .* is under way in process {process.pid} on \S+ since 2\S+\+00:00; run this again"
        with pytest.raises(Busy, match=said), registry.lock():
            pytest.fail("two retrainings at once")
        process.send_signal(signal.SIGKILL)
        process.wait()
        with registry.lock():
            pass
    assert not list((registry.root / ".locks").glob("*.json"))


def test_students_are_promoted_while_one_is_trained(registry: Registry) -> None:
    publish_copy(registry, "second")
    with registry.lock():
        registry.promote("second")
        with pytest.raises(Busy, match=f"process {os.getpid()} on"), registry.lock():
            pytest.fail("two retrainings at once")
    assert registry.current_version() == "second"
    with registry.lock(), Registry(registry.root, "products").lock():
        pass


def test_a_retraining_may_wait_for_the_other_to_end(registry: Registry) -> None:
    with retraining_elsewhere(registry) as process:
        threading.Timer(0.3, process.kill).start()
        with registry.lock(wait=True):
            assert process.wait() == -signal.SIGKILL


def test_a_lock_that_nobody_signed_is_still_a_lock(registry: Registry) -> None:
    with registry.lock():
        (registry.root / ".locks" / "default.retraining.json").write_text("[")
        with pytest.raises(Busy, match="is under way in another process; run this again"), registry.lock():
            pytest.fail("two retrainings at once")


def test_an_error_under_the_lock_gives_it_back(registry: Registry) -> None:
    with pytest.raises(OSError, match="mine"), registry.lock():
        raise OSError("mine")
    with registry.lock():
        pass


def test_a_disk_without_locks_says_so(tmp_path: Path) -> None:
    (tmp_path / ".locks").write_text("a file in the way")
    with pytest.raises(DistillerError, match=r"could not be locked: .*; it must be on"), Registry(tmp_path).lock():
        pytest.fail("not locked")


def test_a_retraining_that_fails_at_first_leaves_an_empty_registry(tmp_path: Path) -> None:
    with Registry(tmp_path).lock():
        pass
    with pytest.raises(StudentNotFound, match="run `dbt build` or `distiller train` first"):
        CurrentStudent(tmp_path).get()


def test_promoting_on_a_full_disk_keeps_the_pointer(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_copy(registry, "second")
    before = (registry.folder / "CURRENT").read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DistillerError, match="CURRENT could not be written: No space left on device"):
        registry.promote("second")
    assert (registry.folder / "CURRENT").read_bytes() == before
    assert {p.name for p in registry.folder.iterdir()} == {"CURRENT", "second", before.decode().split()[0]}
