"""Locks between processes: files that the kernel unlocks when their process ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from distiller_udf.errors import Busy, DistillerError

FOREVER = -1.0


@contextmanager
def locked(file: Path, what: str, *, seconds: float, signed: bool = False) -> Iterator[None]:
    """Hold the lock `file`, which stays there when it is given back.

    `seconds` is how long to wait for another process (0 = not at all, FOREVER); `what` says what is done under the
    lock. Where it is `signed`, a file beside it says who holds it, for the message alone.
    Raises Busy when another process does not give it back, DistillerError when this disk gives no locks.
    """
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise Busy(f"{what} is under way{_holder(file)}; run this again when it has ended") from error
    except (OSError, NotImplementedError) as error:
        raise DistillerError(
            f"{file} could not be locked: {getattr(error, 'strerror', None) or error}; "
            "it must be on a disk that can be written and that knows file locks"
        ) from error
    try:
        if signed:
            _sign(file)
        yield
    finally:
        if signed:
            with suppress(OSError):
                _signature(file).unlink(missing_ok=True)
        lock.release()


def _sign(file: Path) -> None:
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with suppress(OSError):
        signature = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        _signature(file).write_text(json.dumps(signature) + "\n", encoding="utf-8")


def _holder(file: Path) -> str:
    """Who signed the lock, as far as that can be read."""
    try:
        said = json.loads(_signature(file).read_text(encoding="utf-8"))
        return f" in process {said['pid']} on {said['host']} since {said['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return " in another process"


def _signature(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")
