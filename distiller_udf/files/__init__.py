"""Files and folders that appear whole: whoever reads finds the old one or the new one, whatever befalls the writer."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DRAFTS = ".distiller-draft-"
"""What the folders begin with in which drafts are written, beside what they are to replace."""


@contextmanager
def replaced(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Where to write a draft, which becomes the file `path`, durably, when the block ends without an error.

    A link stays, and the file that it leads to is replaced. `mode` is the new file's (None: that of the file which it
    replaces; one that is new has what its writer gave it). Until it is in place nobody else can read it, for its folder
    is private; that goes with the block, or, where the process was killed, with the next one that writes here. Raises
    OSError, and what the block raises; the old file is then as it was.
    """
    path = Path(os.path.realpath(path))
    kept = stat.S_IMODE(path.stat().st_mode) if mode is None and path.exists() else mode
    with private_folder(path.parent) as folder:
        draft = folder / path.name
        yield draft
        if kept is not None:
            draft.chmod(kept)
        sync(draft)
        draft.replace(path)
    sync(path.parent)


def write_text(path: Path, text: str, mode: int | None = None) -> None:
    """Replace the file `path` whole by this text, in UTF-8 with the line ends that it has; see `replaced`."""
    with replaced(path, mode) as draft:
        draft.write_bytes(text.encode("utf-8"))


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` for what is not to be seen yet: nobody else can read it, and it goes when the block ends.

    What is to stay is moved out of it, or the folder itself renamed. It is locked as long as its process lives; what
    processes that were killed have left goes first. Raises OSError where `parent` cannot be written.
    """
    _remove_abandoned(parent)
    handle = None
    while handle is None:
        folder = Path(tempfile.mkdtemp(prefix=DRAFTS, dir=parent))
        handle = _held(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def sync(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _held(folder: Path) -> int | None:
    """A handle that locks a new folder; None where another process took it for abandoned before that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        taken = folder.exists()
    except BlockingIOError:
        taken = False
    except OSError:  # a disk that knows no locks: nothing on it is taken for abandoned
        taken = True
    if not taken:
        os.close(handle)
    return handle if taken else None


def _remove_abandoned(parent: Path) -> None:
    """Remove the drafts of processes that were killed: nobody locks them any more."""
    for folder in parent.glob(f"{DRAFTS}*"):
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
