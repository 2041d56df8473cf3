"""Who is asking what right now: two runs over one store that start together do not both pay for a question.

A claim is a note, not a lock: it lapses when its owner has ended, however that happened, and at the latest after
`LEASE_SECONDS`.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterable
from functools import lru_cache

from distiller_udf.database import Database

LEASE_SECONDS = 1_800.0
RENEWAL_SECONDS = 60.0


class Claims:
    """The claims of one run; `release` them when it ends. A context manager that does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owner = f"{_this_machine()} {os.getpid()} {uuid.uuid4().hex}"
        self._renewed_at = time.monotonic()

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
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

    def renew(self) -> None:
        """Say that this run goes on; costs nothing unless a minute has passed."""
        if time.monotonic() - self._renewed_at < RENEWAL_SECONDS:
            return
        self._renewed_at = time.monotonic()
        with self._database.using(), self._database.writing() as connection:
            connection.execute(
                "update claims set expires_at = ? where owner = ?", [time.time() + LEASE_SECONDS, self._owner]
            )

    def release(self) -> None:
        """Give all claims of this run back."""
        with self._database.using(), self._database.writing() as connection:
            connection.execute("delete from claims where owner = ?", [self._owner])


@lru_cache(maxsize=1)
def _this_machine() -> str:
    return socket.gethostname().replace(" ", "") or "unknown"


def _has_ended(owner: str) -> bool:
    """Whether the process that made a claim is gone; one on another machine cannot be asked about."""
    machine, _, rest = owner.partition(" ")
    pid = rest.partition(" ")[0]
    if machine != _this_machine() or os.name != "posix" or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
