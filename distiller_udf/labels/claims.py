"""Who is asking what right now: two runs over one store that start together do not both pay for a question.

A claim is a note, not a lock: it lapses when its owner has ended, however that happened, and at the latest after
`LEASE_SECONDS`.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from distiller_udf.errors import LabelError
from distiller_udf.files.database import Database

LEASE_SECONDS = 1_800.0
RENEWAL_SECONDS = 60.0


class Claims:
    """The claims of one run, as a context manager: renewed as long as the block lasts, given back at its end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owner = f"{_this_machine()} {os.getpid()} {_started(os.getpid())} {uuid.uuid4().hex}"
        self._ended = threading.Event()

    def __enter__(self) -> Claims:
        threading.Thread(target=self._keep, name="distiller-claims", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.release()

    def take(self, keys: Iterable[str]) -> set[str]:
        """Claim questions by their keys; returns those that nobody else is asking."""
        wanted = list(keys)
        with self._database.using(), self._database.writing() as connection:
            rows = connection.execute(
                "select key, owner, expires_at from claims where key in (select value from json_each(?))",
                [json.dumps(wanted)],
            ).fetchall()
            ended = {owner: _has_ended(owner) for owner in {owner for _, owner, _ in rows}}
            now = time.time()
            taken = {key for key, owner, expires in rows if owner != self._owner and expires > now and not ended[owner]}
            mine = [key for key in wanted if key not in taken]
            connection.executemany(
                "insert or replace into claims (key, owner, expires_at) values (?, ?, ?)",
                [(key, self._owner, now + LEASE_SECONDS) for key in mine],
            )
        return set(mine)

    def release(self, keys: Iterable[str] | None = None) -> None:
        """Give these claims back, or all of this run."""
        which = None if keys is None else json.dumps(list(keys))
        with self._database.using(), self._database.writing() as connection:
            connection.execute(
                "delete from claims where owner = ?1 and (?2 is null or key in (select value from json_each(?2)))",
                [self._owner, which],
            )

    def _keep(self) -> None:
        """Renew the claims from time to time: one answer may take longer than the lease."""
        while not self._ended.wait(RENEWAL_SECONDS):
            with suppress(LabelError), self._database.using(), self._database.writing() as connection:
                connection.execute(
                    "update claims set expires_at = ? where owner = ?", [time.time() + LEASE_SECONDS, self._owner]
                )


@lru_cache(maxsize=1)
def _this_machine() -> str:
    return socket.gethostname().replace(" ", "") or "unknown"


def _has_ended(owner: str) -> bool:
    """Whether the process that made a claim is gone; one on another machine cannot be asked about."""
    machine, pid, started, _ = owner.split(" ")
    if machine != _this_machine() or os.name != "posix":
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    # Another process may have got the number since, as in a container that was started again.
    return started != _started(int(pid))


def _started(pid: int) -> str:
    """When a process began, in the clock of its kernel; the same text for all where that cannot be known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "-"
