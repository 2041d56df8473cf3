"""Every error this package raises on purpose. Each message says what is wrong and what to do next.

DistillerError
├── SettingsError          a setting is unknown or has a value that is not allowed
├── RecordError            the input rows cannot be read as records
├── TableError             a file of rows cannot be read or written
├── StudentError           a student cannot be used
│   ├── StudentNotFound        no student has been trained or the pointer leads nowhere
│   ├── StudentDamaged         the folder is incomplete, altered or of a foreign kind
│   ├── ColumnsMismatch        the records lack columns that the student was trained on
│   └── ConstraintMismatch     the student was made for another constraint
├── Busy                   another process is doing what may be done by one at a time
├── TrainingError          a student cannot be trained from these labels
├── LabelError             labels cannot be read, imported or stored
└── TeacherError           a teacher cannot be asked
    ├── TeacherUnreachable     no answer from the server after all retries
    ├── TeacherRefused         the key, the model or the request is rejected: asking again is pointless
    └── BudgetSpent            the run has reached its limit of calls, tokens or dollars
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class DistillerError(Exception):
    """Base of every error raised on purpose by distiller-udf."""


class SettingsError(DistillerError):
    """A setting is unknown or has a value that is not allowed."""


class RecordError(DistillerError):
    """The input rows cannot be read as records."""


class TableError(DistillerError):
    """A file of rows cannot be read or written."""


class StudentError(DistillerError):
    """A student cannot be used."""


class StudentNotFound(StudentError):
    """No student has been trained here, or the pointer to the current one leads nowhere."""


class StudentDamaged(StudentError):
    """A student's folder is incomplete, altered, or of a kind this version does not know."""


class ColumnsMismatch(StudentError):
    """The records lack columns that the student was trained on."""


class ConstraintMismatch(StudentError):
    """The student was made for another constraint than it is to decide under."""


class Busy(DistillerError):
    """Another process is doing what may be done by one at a time; the message says which."""


class TrainingError(DistillerError):
    """A student cannot be trained from these labels."""


class LabelError(DistillerError):
    """Labels cannot be read, imported or stored."""


class TeacherError(DistillerError):
    """A teacher cannot be asked."""


class TeacherUnreachable(TeacherError):
    """The teacher's server gave no usable answer after all retries."""


class TeacherRefused(TeacherError):
    """The teacher rejected the key, the model or the request, so asking again is pointless."""


class BudgetSpent(TeacherError):
    """The run has reached its limit of calls, tokens or dollars; everything answered so far is kept."""


def closest(word: str, options: Iterable[str]) -> str | None:
    """The option that is spelt most like a word; None where none is."""
    spelt = {option.lower(): option for option in options}
    found = get_close_matches(word.lower(), spelt, n=1)
    return spelt[found[0]] if found else None


def unknown(what: str, word: object, allowed: Iterable[str]) -> str:
    """The sentence that begins with `what` and refuses a word which is none of the allowed ones."""
    known = list(allowed)
    near = closest(str(word), known)
    return f"{what}{f'; did you mean {near}?' if near else '.'} Allowed: {', '.join(known)}."


def require_columns(
    what: str, there: Iterable[str], needed: Iterable[str], error: type[DistillerError] = RecordError
) -> None:
    """Raise an error for what lacks columns that are needed, with those that are there."""
    known = list(there)
    if missing := [name for name in needed if name not in known]:
        raise error(
            f"{what} lack the column{'s' * (len(missing) > 1)} {', '.join(missing)}; they have {', '.join(known)}"
        )


def one_of(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if the setting `name` allows it; raise SettingsError listing what is allowed."""
    known = list(allowed)
    if value in known:
        return str(value)
    raise SettingsError(unknown(f"{name} is {value!r}", value, known))


def check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise SettingsError for the first name that is not known, with the closest known one and the whole list."""
    names = list(known)
    for name in given:
        if name not in names:
            raise SettingsError(unknown(f"unknown {what} {name!r}", name, names))
