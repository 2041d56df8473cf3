"""What every student is: a folder with a `student.json`, and an object that scores pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from distiller_udf.constraint import Constraint
from distiller_udf.errors import ColumnsMismatch, ConstraintMismatch, StudentDamaged, StudentNotFound
from distiller_udf.files import sha256
from distiller_udf.records import Records

MANIFEST = "student.json"
EMPTY = "A record is empty, so there is nothing to compare."
FORMAT = 3


@dataclass(frozen=True)
class StudentInfo:
    """The manifest `student.json`: what a student is and what it was trained from.

    `threshold` is on the pair probability, `choice_threshold` on the choice probability; both in (0, 1).
    `constraint` is the one that it was made for; under another it is refused.
    `trained_from` names labels, teachers, settings and code version; `metrics` are expected figures from held-out
    labels, with intervals of 95 % (`…_low`, `…_high`); `choice` is how pairs become a choice (see
    `students/choice.py`), empty without a constraint; `files` maps each weight file to its SHA-256, so that damage is
    seen when loading.
    """

    kind: str
    version: str
    left_columns: tuple[str, ...]
    right_columns: tuple[str, ...]
    threshold: float
    choice_threshold: float
    constraint: Constraint = Constraint.ONE_TO_ONE
    trained_from: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    choice: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def write(self, folder: Path) -> StudentInfo:
        """Write the manifest last, over the weight files already in `folder`, and return it complete."""
        complete = replace(self, files={name: sha256(folder / name) for name in sorted(_contents(folder))})
        text = json.dumps(asdict(complete), indent=2, sort_keys=True, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        return complete

    def _check(self) -> None:
        """Raise ValueError where a field cannot be what a student wrote."""
        for name in ("threshold", "choice_threshold"):
            if not (isinstance(getattr(self, name), float) and 0 < getattr(self, name) < 1):
                raise ValueError(f"{name} is {getattr(self, name)!r}, not a number between 0 and 1")
        for name in ("left_columns", "right_columns"):
            if not all(isinstance(column, str) for column in getattr(self, name)):
                raise ValueError(f"{name} is not a list of names")
        if not isinstance(self.files, Mapping):
            raise ValueError("files is not a mapping")
        for name in self.files:
            if not _is_inside(name):
                raise ValueError(f"files names {name!r}, which is not a path within the folder")
        if not isinstance(self.choice, Mapping):
            raise ValueError("choice is not a mapping")

    @classmethod
    def manifest(cls, folder: Path) -> StudentInfo:
        """Read and check `student.json` alone.

        Raises StudentNotFound when there is no folder, StudentDamaged when it is not the folder of a student.
        """
        if not folder.is_dir():
            raise StudentNotFound(f"no student at {folder}; train one with `distiller train` or `dbt build`")
        try:
            raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if raw["format"] != FORMAT:
                raise StudentDamaged(
                    f"the student at {folder} has format {raw['format']}, this version reads {FORMAT}; train it again"
                )
            given = {f.name: raw[f.name] for f in fields(cls)}
            known: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}
            info = cls(**{**known, "constraint": Constraint(raw["constraint"])})
            info._check()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudentDamaged(
                f"the student at {folder} has no readable {MANIFEST} ({type(error).__name__}: {error}); "
                "train it again or point to another version"
            ) from error
        return info

    @classmethod
    def read(cls, folder: Path) -> StudentInfo:
        """Read and check a student's folder: its manifest, that all files are as this says, and that there are no more.

        Raises StudentNotFound when there is none, StudentDamaged when a file is missing, altered or foreign.
        """
        info = cls.manifest(folder)
        for name, digest in info.files.items():
            if wrong := _wrong(folder / name, digest):
                raise StudentDamaged(f"the student at {folder} is damaged: {name} is {wrong}; train it again")
        foreign = _contents(folder) - set(info.files)
        if foreign:
            raise StudentDamaged(
                f"the student at {folder} is damaged: {min(foreign)} is not in its {MANIFEST}; "
                "take it out of the folder, or train the student again"
            )
        return info

    @property
    def tuple_threshold(self) -> float:
        """What a candidate has to reach where its tuple alone is seen: without a constraint, what any pair has to."""
        return self.choice_threshold if self.constraint.limits_left else self.threshold

    def expected(self, kind: str, figure: str) -> str:
        """What to expect of its decisions, with the interval of 95 %, as `0.96 (0.89 to 1)`; empty where it is unknown.

        `kind` is `pair` or `choice`, `figure` one of precision, recall, f1 and calibration_error.
        """
        names = (f"{kind}_{figure}{end}" for end in ("", "_low", "_high"))
        value, low, high = (self.metrics.get(name) for name in names)
        if value is None:
            return ""
        return f"{value:.4g}" if low is None else f"{value:.4g} ({low:.4g} to {high:.4g})"

    def check_constraint(self, wanted: Constraint) -> None:
        """Raise ConstraintMismatch where the student was made for another constraint than the `wanted` one."""
        if self.constraint is not wanted:
            raise ConstraintMismatch(
                f"student {self.version} was made for the constraint {self.constraint}, and {wanted} is wanted: who "
                "competes with whom, and how sure it must be, depend on that; train another student, or set "
                f"er_constraint to {self.constraint}"
            )


class Student(Protocol):
    """Scores pairs of records; loaded from a folder and never changed."""

    info: StudentInfo

    def score(self, left: Records, right: Records) -> np.ndarray:
        """The calibrated probability, in [0, 1], that row i of both sides is the same entity."""
        ...

    def score_tuples(self, left: Records, right: Records, tuples: np.ndarray) -> np.ndarray:
        """The same for pairs of tuples that may be looked at as a whole: rows of one left record share an integer."""
        ...

    def explain(self, left: Records, right: Records, matches: Sequence[bool]) -> list[str]:
        """What spoke for and against each pair; `matches` says of which the reader is told that they are matches."""
        ...


def check_columns(info: StudentInfo, left: Records, right: Records) -> tuple[Records, Records]:
    """Both sides with exactly the columns that the student knows; other columns are ignored.

    A record that was given as plain text keeps its one column `text` and is compared as a whole.
    Raises ColumnsMismatch when a column that the student was trained on is not there.
    """
    return (
        _with_known_columns(info, left, info.left_columns, "first"),
        _with_known_columns(info, right, info.right_columns, "second"),
    )


def _with_known_columns(info: StudentInfo, records: Records, known: Sequence[str], side: str) -> Records:
    if not records.names or records.is_plain:
        return records
    records = _in_known_case(records, known)
    if records.as_text and any(name in records.columns for name in known):
        return records.with_columns(known)
    missing = [name for name in known if name not in records.columns]
    if missing:
        raise ColumnsMismatch(
            f"student {info.version} was trained on the columns {', '.join(known)}; the {side} record lacks "
            f"{', '.join(missing)} (it has {', '.join(records.names)}). Give the columns these names, "
            "or train a student on these records"
        )
    return records.with_columns(known)


def _in_known_case(records: Records, known: Sequence[str]) -> Records:
    """Columns that differ in case alone take the known spelling, as SQL does not tell them apart."""
    spelling = {name.casefold(): name for name in known if name not in records.columns}
    if not spelling:
        return records
    return replace(records, columns={spelling.get(n.casefold(), n): c for n, c in records.columns.items()})


def _contents(folder: Path) -> set[str]:
    """What lies in a student's folder beside its manifest, links included.

    Hidden files are nobody's: file managers and network disks leave them, and no student reads them.
    """
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    visible = {path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)}
    return visible - {MANIFEST}


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    plain = path.as_posix() == name and "\\" not in name
    return plain and not path.is_absolute() and not {"..", "."} & set(path.parts)


def _wrong(path: Path, digest: str) -> str | None:
    """What is wrong with a file that is to have this hash."""
    if path.is_symlink():
        return "a link, which may lead elsewhere tomorrow"
    if not path.is_file():
        return "missing"
    return None if sha256(path) == digest else "altered"
