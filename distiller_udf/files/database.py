"""One SQLite file that outlives crashes and is shared by threads and processes; its errors as sentences."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from distiller_udf.errors import LabelError

BUSY_SECONDS = 60.0
"""How long a process waits for another one that is writing."""


class Database:
    """The SQLite file `path` in WAL mode, made with the statements of `schema` on first use.

    `what` names it in errors; `application` and `version` mark the file as ours in its header. A file of an older
    version is brought to this one by `migrations`: from a version, the statements that make the next. Raises
    LabelError when the file is damaged, foreign, from a newer version or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        what: str,
        application: int,
        version: int,
        schema: str,
        migrations: Mapping[int, str] | None = None,
    ) -> None:
        self._path = path
        self._what = what
        self._application = application
        self._version = version
        self._schema = schema
        self._migrations = migrations or {}
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._inherited: list[sqlite3.Connection | None] = []
        try:
            with self.using():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._prepare()
        except LabelError:
            self.close()
            raise

    def connection(self) -> sqlite3.Connection:
        """This process's connection; to be used inside `using`, which keeps other threads off it."""
        if self._connection is None:
            # Not one a thread: DuckDB calls SQL functions from threads that Python forgets after each call.
            connection = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            connection.execute("pragma synchronous = full")  # what is committed survives a power cut too
            connection.execute("pragma secure_delete = on")
        return self._connection

    def close(self) -> None:
        """Close the connection; using the database again opens it again."""
        with self._own_lock():
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _own_lock(self) -> threading.RLock:
        """The lock of this process; a forked child uses neither its parent's lock nor its connection."""
        if self._pid != os.getpid():
            self._inherited.append(self._connection)  # kept, because closing it here would release the parent's locks
            self._lock, self._connection, self._pid = threading.RLock(), None, os.getpid()
        return self._lock

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: durable when the block ends, undone when it raises."""
        connection = self.connection()
        # immediate: waiting for another writer must happen here, not in the middle of the transaction.
        connection.execute("begin immediate")
        try:
            yield connection
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """One thread at a time; raises LabelError, a sentence, for SQLite's errors."""
        try:
            with self._own_lock():
                yield
        except (sqlite3.Error, OSError) as error:
            raise LabelError(f"the {self._what} {self._path} {_meaning(error)} ({error})") from error

    def forget(self) -> None:
        """Let nothing that was deleted stay readable in the write-ahead log.

        Waits for other processes that are reading; raises LabelError where one of them reads on for too long.
        """
        busy = self.connection().execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if busy:
            raise LabelError(
                f"the {self._what} {self._path} no longer holds what was deleted, but another process keeps its "
                "write-ahead log in use, where it can still be read; end that process and delete once more"
            )

    def _prepare(self) -> None:
        """Make the tables in an empty file, bring an older file to this version; refuse any file that is not ours."""
        connection = self.connection()
        found = self._found_version(connection)
        if found == self._version:
            return
        if found == 0:
            _use_wal(connection)
        with self.writing():
            found = self._found_version(connection)  # another process may have been faster
            if found == self._version:
                return
            steps = [self._migrations[v] for v in range(found, self._version)] if found else [self._schema]
            for statement in itertools.chain.from_iterable(step.split(";") for step in steps):
                connection.execute(statement)
            connection.execute(f"pragma application_id = {self._application}")
            connection.execute(f"pragma user_version = {self._version}")

    def _found_version(self, connection: sqlite3.Connection) -> int:
        """The file's version, 0 for an empty file; LabelError for a file that cannot be used."""
        application, version, tables = connection.execute(
            "select (select application_id from pragma_application_id), (select user_version from pragma_user_version),"
            " (select count(*) from sqlite_master)"
        ).fetchone()
        if application == 0 and version == 0 and tables == 0:
            return 0
        if application != self._application:
            raise LabelError(f"{self._path} is an SQLite file but no {self._what}; choose another path for it")
        if version > self._version:
            raise LabelError(
                f"the {self._what} {self._path} was written by a newer distiller-udf (format {version}, this one "
                f"reads {self._version}); upgrade distiller-udf"
            )
        return int(version)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself while another process does the same."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _meaning(error: Exception) -> str:
    text = str(error).lower()
    if "full" in text or getattr(error, "errno", None) == errno.ENOSPC:
        return "cannot be written because the disk is full; free some space and run again, nothing stored is lost"
    if "readonly" in text or "read-only" in text or "permission" in text:
        return "cannot be written; make the file and its folder writable, or choose another path"
    if "unable to open" in text or isinstance(error, OSError):
        return "cannot be opened; check that its folder exists and can be written"
    if "locked" in text or "busy" in text:
        return f"stayed locked by another process for {BUSY_SECONDS:.0f} s; run again when that one has ended"
    if "not a database" in text:
        return "is no SQLite file; choose another path"
    return "is damaged; restore it from a copy, or choose another path and ask again"
