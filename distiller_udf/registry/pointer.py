"""The pointer to the current version and its history: one small text file, replaced as a whole.

    lexical-1f0c9be53a77                                        the current version
    pinned                                                      only where it stays when others are trained
    lexical-1f0c9be53a77 2026-11-23T03:12:20+00:00 rollback     what became the current one and when, the newest first
    blend-88a01c6de2f4 2026-11-22T02:30:11+00:00
    lexical-1f0c9be53a77 2026-11-21T02:30:08+00:00

Nothing is taken back from the history: a rollback is one more line of it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from distiller_udf.errors import StudentDamaged
from distiller_udf.files import write_text

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
PINNED = "pinned"
ROLLBACK = "rollback"
REMEMBERED = 100
"""Lines of history that are kept."""


@dataclass(frozen=True)
class Promotion:
    """A version became the current one, at a time in UTC; `rollback` says that it had been that before."""

    version: str
    promoted_at: datetime
    rollback: bool = False

    @classmethod
    def now(cls, version: str, *, rollback: bool = False) -> Promotion:
        """A promotion at this moment, to the second."""
        return cls(version, datetime.now(timezone.utc).replace(microsecond=0), rollback)

    def line(self) -> str:
        """The promotion as a line of the file."""
        words = [self.version, self.promoted_at.isoformat(timespec="seconds"), *([ROLLBACK] if self.rollback else [])]
        return " ".join(words)


@dataclass(frozen=True)
class Pointer:
    """The current version, whether it stays when others are trained, and the history, the newest first."""

    version: str
    pinned: bool
    history: tuple[Promotion, ...]

    @classmethod
    def read(cls, path: Path) -> Pointer | None:
        """None where there is no file. Raises StudentDamaged where it is not what `write` wrote."""
        try:
            with path.open(encoding="utf-8") as file:
                text, modified = file.read(), os.fstat(file.fileno()).st_mtime
            return _parsed(text, datetime.fromtimestamp(int(modified), timezone.utc))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StudentDamaged(
                f"{path} cannot be read ({error}); delete it, then run `dbt build`, or `distiller students promote` "
                "with the version that is to answer"
            ) from error

    def write(self, path: Path) -> None:
        """Replace the file by this pointer, whole and durably. Raises OSError."""
        lines = [self.version, *([PINNED] if self.pinned else []), *(p.line() for p in self.history[:REMEMBERED])]
        write_text(path, "\n".join(lines) + "\n", mode=0o644)

    def earlier(self) -> list[str]:
        """Where rollbacks lead to, step by step: what was current before, without what was rolled back since."""
        kept: list[str] = []
        for change in reversed(self.history):
            if change.rollback:
                back_to = _last(change.version, kept[:-1])
                del kept[back_to:]
            kept.append(change.version)
        return [version for version in reversed(kept) if version != self.version]


def promoted(pointer: Pointer | None, version: str, *, pin: bool, rollback: bool = False) -> Pointer:
    """The pointer after a version was promoted; the current one again changes nothing but the pin."""
    history = pointer.history if pointer else ()
    if pointer is None or pointer.version != version:
        history = (Promotion.now(version, rollback=rollback), *history)
    return Pointer(version, pin, history)


def _parsed(text: str, modified: datetime) -> Pointer:
    """A pointer that someone else wrote, by hand or without a history, was promoted when the file was `modified`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not VERSION.fullmatch(lines[0]):
        raise ValueError("its first line is not the name of a version")
    pinned = lines[1:2] == [PINNED]
    history = tuple(_promotion(line) for line in lines[2 if pinned else 1 :])
    if not history or history[0].version != lines[0]:
        history = (Promotion(lines[0], modified), *history)
    return Pointer(lines[0], pinned, history)


def _promotion(line: str) -> Promotion:
    words = line.split()
    if len(words) > 1 and VERSION.fullmatch(words[0]) and words[2:] in ([], [ROLLBACK]):
        promoted_at = datetime.fromisoformat(words[1])
        if promoted_at.utcoffset() == timedelta(0):
            return Promotion(words[0], promoted_at, rollback=len(words) > 2)
    raise ValueError(f"{line[:80]!r} is not a line of its history")


def _last(version: str, versions: list[str]) -> int:
    """The last place of a version; 0 where the history does not reach back to it."""
    return next((i for i in reversed(range(len(versions))) if versions[i] == version), 0)
