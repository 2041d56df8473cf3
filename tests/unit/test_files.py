"""Files are replaced whole: beside readers and writers, on a full disk, under a kill, through links; modes stay."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller_udf.files import DRAFTS, replaced, write_text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.txt"
    path.write_text("old")
    return path


def names(file: Path) -> list[str]:
    return sorted(path.name for path in file.parent.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@settings(max_examples=30)
@given(st.lists(st.text(), min_size=2, max_size=2))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "text"
    for text in texts:
        write_text(path, text)
        assert path.read_bytes() == text.encode()


def test_nobody_sees_the_draft_in_place_and_nothing_is_left_of_it(file: Path) -> None:
    with replaced(file) as draft:
        draft.write_text("new")
        assert file.read_text() == "old"
        assert draft.parent.parent == file.parent, "on the same disk, or it could not be moved"
        assert draft.name == file.name, "some writers go by the suffix"
    assert file.read_text() == "new"
    assert names(file) == ["file.txt"]


@pytest.mark.parametrize("new", [True, False])
def test_an_error_leaves_all_as_it_was(file: Path, new: bool) -> None:
    path = file.with_name("other.txt") if new else file
    with pytest.raises(ZeroDivisionError), replaced(path) as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError), replaced(path):
        pass  # nothing was written
    assert names(file) == ["file.txt"]
    assert file.read_text() == "old"


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
def test_a_disk_that_fails_at_any_step_leaves_the_old_file(
    file: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_text(file, "new")
    assert names(file) == ["file.txt"]
    assert file.read_text() == "old"


def test_a_limit_of_the_disk_leaves_the_old_file(file: Path) -> None:
    """The kernel itself ends the writing, after half of it."""
    code = """
import resource, signal, sys
from pathlib import Path
from distiller_udf.files import write_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_text(Path(sys.argv[1]), "new" * 100_000)
except OSError as error:
    print(error.strerror)
"""
    ran = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert ran.stdout == "File too large\n"
    assert names(file) == ["file.txt"]
    assert file.read_text() == "old"


def test_the_draft_of_a_killed_writer_goes_with_the_next_one_and_that_of_a_living_one_stays(file: Path) -> None:
    code = """
import sys
from pathlib import Path
from distiller_udf.files import replaced
with replaced(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    print(draft, flush=True)
    sys.stdin.readline()
    draft.write_text("theirs")
"""
    command = [sys.executable, "-c", code, str(file)]
    killed, living = (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    drafts = [Path(process.stdout.readline().strip()) for process in (killed, living)]
    assert [draft.read_text() for draft in drafts] == ["half", "half"]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    write_text(file, "ours")
    assert [draft.exists() for draft in drafts] == [False, True]
    assert file.read_text() == "ours"
    living.communicate("go on\n")
    assert living.returncode == 0
    assert file.read_text() == "theirs"
    assert names(file) == ["file.txt"]


def test_many_writers_and_readers_of_one_file(file: Path) -> None:
    """Every reader finds one whole text, and nobody's draft is taken for abandoned."""
    texts = {f"{i} " * 5_000 for i in range(4)}
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(file.read_text())

    with ThreadPoolExecutor(5) as pool:
        reader = pool.submit(read)
        writers = [pool.submit(lambda text=text: [write_text(file, text) for _ in range(25)]) for text in texts]
        errors = [writer.exception() for writer in writers]
        done.set()
        reader.result()
    assert errors == [None] * 4
    assert seen <= {"old", *texts}
    assert names(file) == ["file.txt"]


@pytest.mark.parametrize("old", [0o600, 0o644, 0o664, 0o755])
def test_the_mode_stays_and_another_one_is_set_where_it_is_asked_for(file: Path, old: int) -> None:
    file.chmod(old)
    write_text(file, "new")
    assert mode(file) == old
    write_text(file, "new", 0o640)
    assert mode(file) == 0o640


def test_a_new_file_has_the_mode_that_the_process_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o640


def test_a_draft_is_private_from_the_start(file: Path) -> None:
    file.chmod(0o600)
    with replaced(file) as draft:
        draft.write_text("a password")
        assert mode(draft.parent) == 0o700
    assert mode(file) == 0o600


def test_a_link_stays_and_what_it_leads_to_is_replaced(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link, dangling = folder / "link", folder / "dangling"
    link.symlink_to(file)
    dangling.symlink_to(tmp_path / "new.txt")
    for path in (link, dangling):
        write_text(path, "new")
        assert path.is_symlink()
        assert path.resolve().read_text() == "new"
    assert names(link) == ["dangling", "link"]


def test_what_only_looks_like_a_draft_stays(file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "kept").touch()
    (tmp_path / f"{DRAFTS}link").symlink_to(mine)
    (tmp_path / f"{DRAFTS}file").touch()
    write_text(file, "new")
    assert (mine / "kept").exists()
    assert names(file) == [f"{DRAFTS}file", f"{DRAFTS}link", "file.txt", "mine"]


def test_a_disk_without_locks_takes_nobody_s_draft_for_abandoned(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    with replaced(file) as one:
        one.write_text("one")
        write_text(file, "two")
    assert file.read_text() == "one"
    assert names(file) == ["file.txt"]


def test_writers_that_take_a_path_can_write_there(tmp_path: Path) -> None:
    path = tmp_path / "it's.parquet"
    for value in (1, 2):
        with replaced(path) as draft:
            duckdb.from_query("select $value as value", params={"value": value}).write_parquet(str(draft))
    assert duckdb.read_parquet(str(path)).fetchall() == [(2,)]
    assert names(path) == ["it's.parquet"]


@pytest.mark.parametrize("path", ["gone/file.txt", "file.txt/file.txt", "folder"])
def test_where_nothing_can_be_written_it_is_an_os_error(file: Path, path: str) -> None:
    (file.parent / "folder").mkdir()
    with pytest.raises(OSError, match=path.partition("/")[0]):
        write_text(file.parent / path, "new")
    assert names(file) == ["file.txt", "folder"]


def test_a_name_as_long_as_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_text(path, "new")
    assert path.read_text() == "new"
