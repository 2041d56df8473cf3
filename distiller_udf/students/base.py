"""What every student is: a folder with a `student.json`, and an object that scores pairs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from distiller_udf.errors import ColumnsMismatch, StudentDamaged, StudentNotFound
from distiller_udf.records import TEXT_COLUMN, Records

MANIFEST = "student.json"
FORMAT = 2


@dataclass(frozen=True)
class StudentInfo:
    """The manifest `student.json`: what a student is and what it was trained from.

    `threshold` is on the pair probability, `choice_threshold` on the choice probability; both in (0, 1).
    `trained_from` names labels, teachers, settings and code version; `metrics` are expected figures from
    held-out labels; `choice` is how pairs become a choice (see `students/choice.py`), empty where several candidates of
    a tuple may match; `files` maps each weight file to its SHA-256, so that damage is seen when loading.
    """

    kind: str
    version: str
    left_columns: tuple[str, ...]
    right_columns: tuple[str, ...]
    threshold: float
    choice_threshold: float
    trained_from: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    choice: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def write(self, folder: Path) -> StudentInfo:
        """Write the manifest last, over the weight files already in `folder`, and return it complete."""
        weights = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
        files = {p.relative_to(folder).as_posix(): _digest(p) for p in weights}
        complete = StudentInfo(**{**_shallow(self), "files": files})
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
        if not isinstance(self.choice, Mapping):
            raise ValueError("choice is not a mapping")

    @classmethod
    def read(cls, folder: Path) -> StudentInfo:
        """Read and check a student's folder.

        Raises StudentNotFound when there is none, StudentDamaged when a file is missing, altered or foreign.
        """
        if not folder.is_dir():
            raise StudentNotFound(f"no student at {folder}; train one with `distiller train` or `dbt build`")
        try:
            raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if raw["format"] != FORMAT:
                raise StudentDamaged(
                    f"the student at {folder} has format {raw['format']}, this version reads {FORMAT}; train it again"
                )
            info = cls(**{f.name: _frozen(raw[f.name]) for f in fields(cls)})
            info._check()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudentDamaged(
                f"the student at {folder} has no readable {MANIFEST} ({type(error).__name__}: {error}); "
                "train it again or point to another version"
            ) from error
        for name, digest in info.files.items():
            path = folder / name
            if not path.is_file() or _digest(path) != digest:
                state = "altered" if path.is_file() else "missing"
                raise StudentDamaged(f"the student at {folder} is damaged: {name} is {state}; train it again")
        return info


class Student(Protocol):
    """Scores pairs of records; loaded from a folder and never changed."""

    info: StudentInfo

    def score(self, left: Records, right: Records) -> np.ndarray:
        """The calibrated probability, in [0, 1], that row i of both sides is the same entity."""
        ...

    def choose(self, left: Records, right: Records, tuples: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The probability of each row given the other rows of its tuple.

        `tuples` holds one integer a row; rows of one left record share it.
        `probabilities` are those of `score`.
        """
        ...

    def explain(self, left: Records, right: Records) -> list[str]:
        """One sentence a pair that names what spoke for and against."""
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
    if not records.names or records.names == (TEXT_COLUMN,):
        return records
    records = _in_known_case(records, known)
    if records.as_text and any(name in records.columns for name in known):
        return records.with_columns(known)
    missing = [name for name in known if name not in records.columns]
    if missing:
        raise ColumnsMismatch(
            f"student {info.version} was trained on the columns {', '.join(known)}; the {side} record lacks "
            f"{', '.join(missing)} (it has {', '.join(records.names)}). Rename the columns in the query, "
            "or train a student on these records"
        )
    return records.with_columns(known)


def _in_known_case(records: Records, known: Sequence[str]) -> Records:
    """Columns that differ in case alone take the known spelling, as SQL does not tell them apart."""
    spelling = {name.casefold(): name for name in known if name not in records.columns}
    if not spelling:
        return records
    return replace(records, columns={spelling.get(n.casefold(), n): c for n, c in records.columns.items()})


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shallow(info: StudentInfo) -> dict[str, Any]:
    return {f.name: getattr(info, f.name) for f in fields(info)}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
