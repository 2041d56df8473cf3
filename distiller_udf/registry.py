"""The registry of students: immutable version folders and one pointer to the current one.

    students/<name>/<version>/     a student, written once
    students/<name>/CURRENT        the version that answers now, and whether someone pinned it; replaced atomically

A reader sees either the old pointer or the new one; a version folder appears only when it is complete.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from distiller_udf.errors import DistillerError, SettingsError, StudentDamaged, StudentError, StudentNotFound
from distiller_udf.students.base import StudentInfo

CURRENT = "CURRENT"
PINNED = "pinned"
STAGING = ".staging-"
WORK = ".work-"
ABANDONED_SECONDS = 24 * 3600
"""No training takes that long: what was staged before is what a killed one left behind."""
FORGOTTEN_SECONDS = 30 * 24 * 3600
"""A training that was killed so long ago will not go on any more."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Registry:
    """The versions of one student under `root`/`name`."""

    root: Path
    name: str = "default"

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.name):
            raise SettingsError(f"the student's name is {self.name!r}; it may have letters, digits, '.', '_' and '-'")

    @property
    def folder(self) -> Path:
        return self.root / self.name

    def path(self, version: str) -> Path:
        """The folder of a version, which need not exist. Raises StudentError for no version's name."""
        if not _VERSION.fullmatch(version):
            raise StudentError(f"{version!r} is not a student version; `distiller students list` shows them")
        return self.folder / version

    def exists(self, version: str) -> bool:
        """Whether a complete student of this version is here."""
        try:
            StudentInfo.read(self.path(version))
        except StudentError:
            return False
        return True

    def versions(self) -> list[StudentInfo]:
        """The manifests of all readable versions, the oldest folder first."""
        folders = [p for p in self.folder.glob("*") if p.is_dir() and _VERSION.fullmatch(p.name)]
        found = []
        for folder in sorted(folders, key=lambda p: (p.stat().st_mtime_ns, p.name)):
            try:
                found.append(StudentInfo.read(folder))
            except StudentDamaged:
                continue
        return found

    def current_version(self) -> str | None:
        """The version that the pointer names; None when nothing was ever promoted."""
        return next(iter(self._pointer()), None)

    @property
    def pinned(self) -> bool:
        """Whether the current version was set to stay: training then publishes versions without promoting them."""
        return PINNED in self._pointer()[1:]

    def current(self) -> Path:
        """The folder of the current student. Raises StudentNotFound when there is none."""
        version = self.current_version()
        if version is None:
            raise StudentNotFound(
                f"no student has been trained in {self.folder}; run `dbt build` or `distiller train` first"
            )
        path = self.path(version)
        if not path.is_dir():
            raise StudentNotFound(
                f"{self.folder / CURRENT} names {version}, which is not there; `dbt build` or `distiller train` "
                "makes a student and points to it"
            )
        return path

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A temporary folder beside the versions, removed on leaving whatever happens.

        Raises StudentError when it cannot be written (a full or read-only disk); no version is touched.
        """
        staged: Path | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_abandoned()
            staged = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.folder))
            yield staged
        except OSError as error:
            raise StudentError(
                f"the student could not be written under {self.folder}: {error.strerror or error}; "
                "free some space or set another students path. The current student is unchanged"
            ) from error
        finally:
            if staged is not None:
                shutil.rmtree(staged, ignore_errors=True)

    @contextmanager
    def work(self, version: str) -> Iterator[Path]:
        """A folder, not made yet, for what a training keeps in case it is killed; removed when it has succeeded."""
        folder = self.folder / f"{WORK}{version}"
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def _remove_abandoned(self) -> None:
        """Remove what trainings that were killed have left; a living one's is younger."""
        kept = {STAGING: ABANDONED_SECONDS, WORK: FORGOTTEN_SECONDS}
        for folder, seconds in ((f, seconds) for start, seconds in kept.items() for f in self.folder.glob(f"{start}*")):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > seconds:
                    shutil.rmtree(folder, ignore_errors=True)

    def publish(self, staged: Path, version: str) -> Path:
        """Make a staged folder a version, whole or not at all. A version that exists already is kept."""
        StudentInfo.read(staged)
        target = self.path(version)
        if self.exists(version):
            return target
        if target.exists():  # damaged remains of this very version: its replacement is complete
            shutil.rmtree(target)
        _sync_tree(staged)
        try:
            staged.rename(target)
        except OSError:
            if self.exists(version):  # another process published the same version meanwhile
                return target
            raise
        target.chmod(0o755)
        _sync(target.parent)
        return target

    def promote(self, version: str, *, pin: bool = False) -> None:
        """Point to a version; readers see the old pointer or the new one. `pin` keeps it there when others are trained.

        Raises StudentNotFound, StudentDamaged where the version cannot be used.
        """
        try:
            StudentInfo.read(self.path(version))
            self._write_pointer([version, PINNED] if pin else [version])
        except OSError as error:
            raise DistillerError(f"{self.folder / CURRENT} could not be written: {error.strerror or error}") from error

    def _pointer(self) -> list[str]:
        path = self.folder / CURRENT
        try:
            return path.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise StudentDamaged(f"{path} cannot be read ({error}); delete it, then run `dbt build`") from error

    def _write_pointer(self, lines: list[str]) -> None:
        handle, temporary = tempfile.mkstemp(prefix=".current-", dir=self.folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(self.folder / CURRENT)
        finally:
            Path(temporary).unlink(missing_ok=True)
        _sync(self.folder)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
