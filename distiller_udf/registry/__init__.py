"""The registry of students: immutable version folders and one pointer to the current one.

    students/<name>/<version>/     a student, written once
    students/<name>/CURRENT        the version that answers now, and its history (see `pointer.py`); replaced atomically
    students/.locks/<name>.*       one process at a time changes something here, and another one retrains

A reader takes no lock: it sees either the old pointer or the new one, and a version's folder appears only when it is
complete.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from distiller_udf.errors import DistillerError, SettingsError, StudentDamaged, StudentError, StudentNotFound
from distiller_udf.files import private_folder, sync
from distiller_udf.files.locks import FOREVER, locked
from distiller_udf.registry.pointer import VERSION, Pointer, Promotion, promoted
from distiller_udf.settings import Settings
from distiller_udf.students import KINDS
from distiller_udf.students.base import StudentInfo

CURRENT = "CURRENT"
LOCKS = ".locks"
WORK = ".work-"
FORGOTTEN_SECONDS = 30 * 24 * 3600
"""A training that was killed so long ago will not go on any more."""
CHANGE_SECONDS = 60.0
"""A change takes an instant; only a check of large weights, or a disk that hangs, makes others wait."""


@dataclass(frozen=True)
class Registry:
    """The versions of one student under `root`/`name`."""

    root: Path
    name: str = "default"

    @classmethod
    def of(cls, settings: Settings) -> Registry:
        """The registry that the settings name."""
        return cls(Path(settings.students_path), settings.student_name)

    def __post_init__(self) -> None:
        if not VERSION.fullmatch(self.name):
            raise SettingsError(f"the student's name is {self.name!r}; it may have letters, digits, '.', '_' and '-'")

    @property
    def folder(self) -> Path:
        """The folder of the versions, which need not exist."""
        return self.root / self.name

    def path(self, version: str) -> Path:
        """The folder of a version, which need not exist. Raises StudentError for no version's name."""
        if not VERSION.fullmatch(version):
            raise StudentError(f"{version!r} is not a student version; `distiller students list` shows them")
        return self.folder / version

    def names(self) -> list[str]:
        """The names of all versions, damaged ones too, the oldest folder first."""
        folders = [p for p in self.folder.glob("*") if p.is_dir() and VERSION.fullmatch(p.name)]
        return [p.name for p in sorted(folders, key=lambda p: (p.stat().st_mtime_ns, p.name))]

    def find(self, start: str) -> str:
        """The version of this name, or the only one whose name begins so.

        Raises StudentNotFound with the versions that are spelt alike, StudentError where several begin so.
        """
        wanted, names = self.path(start).name, self.names()
        beginning = [wanted] if wanted in names else [name for name in names if name.startswith(wanted)]
        if len(beginning) == 1:
            return beginning[0]
        if beginning:
            raise StudentError(f"{start} may be {_some(beginning)}; give more of the version's name")
        close = get_close_matches(start, names, n=3, cutoff=0.5)
        hint = f"did you mean {_some(close)}? " if close else ""
        raise StudentNotFound(f"{self.folder} has no version {start}; {hint}`distiller students list` shows all")

    def read(self, version: str) -> StudentInfo:
        """The manifest of a version, when all of it was checked.

        Raises StudentNotFound, and StudentDamaged with the reason why it cannot be used.
        """
        self._check_folder(version)
        return StudentInfo.read(self.path(version))

    def exists(self, version: str) -> bool:
        """Whether a complete student of this version is here."""
        try:
            self.read(version)
        except StudentError:
            return False
        return True

    def versions(self) -> list[StudentInfo]:
        """The manifests of all usable versions, the oldest folder first."""
        found = []
        for name in self.names():
            with suppress(StudentError):
                found.append(self.read(name))
        return found

    def _check_folder(self, version: str) -> None:
        """Raise StudentDamaged where a version's folder is not the student that was published under this name."""
        folder = self.path(version)
        if folder.is_symlink():
            raise StudentDamaged(f"{folder} is a link; a version is a folder of its own: put a copy in its place")
        info = StudentInfo.manifest(folder)
        if info.version != version:
            raise StudentDamaged(
                f"{folder} holds the student {info.version}, renamed or copied; rename the folder to that, or delete it"
            )
        if info.kind not in KINDS:
            raise StudentDamaged(
                f"{folder} is a student of kind {info.kind!r}, which this version of distiller-udf does not know "
                f"(it knows {', '.join(KINDS)}); upgrade distiller-udf"
            )

    def pointer(self) -> Pointer | None:
        """The current version, its pin and the history as of one moment; None when nothing was ever promoted."""
        return Pointer.read(self.folder / CURRENT)

    def current_version(self) -> str | None:
        """The version that the pointer names; None when nothing was ever promoted."""
        pointer = self.pointer()
        return pointer.version if pointer else None

    @property
    def pinned(self) -> bool:
        """Whether the current version was set to stay: training then publishes versions without promoting them."""
        pointer = self.pointer()
        return pointer is not None and pointer.pinned

    def history(self) -> list[Promotion]:
        """Every change of the current version that is remembered, the newest, which is in force, first."""
        pointer = self.pointer()
        return list(pointer.history) if pointer else []

    def current(self) -> Path:
        """The folder of the current student.

        Raises StudentNotFound when there is none, StudentDamaged when it cannot be the one that was promoted.
        """
        version = self.current_version()
        if version is None:
            raise StudentNotFound(
                f"no student has been trained in {self.folder}; run `dbt build` or `distiller train` first"
            )
        path = self.path(version)
        if not path.is_dir():
            raise StudentNotFound(
                f"{self.folder / CURRENT} names {version}, which is not there; `dbt build` or `distiller train` "
                "makes a student and points to it, `distiller students rollback` points to an earlier one"
            )
        self._check_folder(version)
        return path

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A temporary folder beside the versions, removed on leaving whatever happens.

        Raises StudentError when it cannot be written (a full or read-only disk); no version is touched.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._forget_work()
            with private_folder(self.folder) as staged:
                yield staged
        except OSError as error:
            raise StudentError(f"{self._reason(error)}. The current student is unchanged") from error

    def _reason(self, error: OSError) -> str:
        """Why a student could not be made: its folder cannot be written, or something that it needs is not there."""
        file = Path(error.filename) if isinstance(error.filename, str) else self.folder
        if error.errno is None or not (file.is_relative_to(self.folder) or self.folder.is_relative_to(file)):
            return f"the student could not be trained: {error}"
        return (
            f"the student could not be written under {self.folder}: {error.strerror}; free some space or set another "
            "students path"
        )

    @contextmanager
    def work(self, version: str) -> Iterator[Path]:
        """A folder, not made yet, for what a training keeps in case it is killed; removed when it has succeeded.

        Who trains the same version meanwhile waits, and may find it made.
        """
        folder = self.folder / f"{WORK}{version}"
        with locked(self._lock(version), f"a training of {version}", seconds=FOREVER):
            yield folder
            shutil.rmtree(folder, ignore_errors=True)

    def _forget_work(self) -> None:
        """Remove what trainings that were killed long ago have kept to go on from."""
        for folder in self.folder.glob(f"{WORK}*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > FORGOTTEN_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)

    def publish(self, staged: Path, version: str) -> Path:
        """Make a staged folder a version, whole or not at all. A version that exists already is kept.

        Raises StudentDamaged where the folder is not a complete student of this version.
        """
        info = StudentInfo.read(staged)
        if info.version != version:
            raise StudentDamaged(f"the student to be published as {version} says that it is {info.version}")
        target = self.path(version)
        staged.chmod(0o755)
        _sync_tree(staged)
        with self._changing():
            if self.exists(version):
                return target
            self._discard(target)  # damaged remains of this very version: its replacement is complete
            staged.rename(target)
        sync(target.parent)
        return target

    def _discard(self, folder: Path) -> None:
        """Take a folder away at once, so that nobody meets half of it; a link goes, what it leads to stays."""
        if folder.exists() or folder.is_symlink():
            with private_folder(self.folder) as aside:
                folder.rename(aside / folder.name)

    def promote(self, version: str, *, pin: bool = False) -> None:
        """Point to a version; readers see the old pointer or the new one. `pin` keeps it there when others are trained.

        Raises StudentNotFound, StudentDamaged where the version cannot be used.
        """
        self.read(version)
        with self._changing():
            self._point(promoted(self.pointer(), version, pin=pin))

    def succeed(self, version: str, instead_of: str | None = None) -> bool:
        """Promote a version that was just trained unless the current one is pinned and can be used; whether it was.

        Nor is it promoted where the current one is not the one it was weighed against, `instead_of` (None: any).
        Raises StudentNotFound, StudentDamaged where the version cannot be used.
        """
        self.read(version)
        with self._changing():
            pointer = self.pointer()
            if pointer is not None and pointer.pinned and self.exists(pointer.version):
                return pointer.version == version
            if instead_of is not None and (pointer is None or pointer.version not in (instead_of, version)):
                return False
            self._point(promoted(pointer, version, pin=False))
        return True

    def rollback(self, *, pin: bool = True) -> str:
        """Point to the version that was current before, or the last before it that is still usable, and return it.

        A second rollback goes one step further back. Unless it is pinned, the next `dbt build` trains from the same
        labels again and promotes what was rolled back. Raises StudentNotFound when no earlier version is left.
        """
        if self.pointer() is None:
            raise StudentNotFound(f"nothing has been promoted in {self.folder}, so there is nothing to go back to")
        with self._changing():
            pointer = self.pointer()
            version = self._usable(pointer.earlier() if pointer else [])
            self._point(promoted(pointer, version, pin=pin, rollback=True))
        return version

    def _usable(self, earlier: Sequence[str]) -> str:
        """The first of these versions that can be used. Raises StudentNotFound when there is none."""
        for version in earlier:
            if self.exists(version):
                return version
        gone = f": {_some(earlier)} cannot be used any more" if earlier else ""
        raise StudentNotFound(
            f"{self.folder} has no earlier version to go back to{gone}; "
            "`distiller students list` shows what can be promoted instead"
        )

    @contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """One retraining at a time: a second one is refused, or waits. The lock of a process that dies is free at once.

        Students can be promoted meanwhile. Raises Busy, which says who holds the lock.
        """
        with suppress(OSError):  # a registry that has a lock alone is to be known as an empty one
            self.folder.mkdir(parents=True, exist_ok=True)
        what, seconds = f"a retraining of {self.folder}", FOREVER if wait else 0
        with locked(self._lock("retraining"), what, seconds=seconds, signed=True):
            yield

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """What is seen of the pointer and the versions in here is still so when it is changed."""
        with locked(self._lock("change"), f"a change of {self.folder}", seconds=CHANGE_SECONDS):
            yield

    def _lock(self, name: str) -> Path:
        return self.root / LOCKS / f"{self.name}.{name}"

    def _point(self, pointer: Pointer) -> None:
        try:
            pointer.write(self.folder / CURRENT)
        except OSError as error:
            raise DistillerError(f"{self.folder / CURRENT} could not be written: {error.strerror or error}") from error


def _some(versions: Sequence[str]) -> str:
    """The first few versions, for a message."""
    return ", ".join(versions[:5]) + (", …" if len(versions) > 5 else "")


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            sync(path)
    sync(folder)
