"""Values: what one value of any type says, written in one way, whether it came from Arrow, out of JSON or from Python.

A value is read as a `Tree`: a text, a list of trees, or trees by name; None where it says nothing. A text is written as
it is, what is nested as compact JSON:

- A number has its shortest digits, whatever type held it: 399 is `399` as INTEGER, DOUBLE or DECIMAL(5, 2), and a
  FLOAT 0.1 is `0.1`. A whole number keeps all its digits, a fraction as many as a DOUBLE has. NaN and infinity say
  nothing.
- Days, times and intervals are as DuckDB casts them to VARCHAR; a moment with a time zone is told in UTC.
- A text loses what cannot be seen, and is what it says: JSON (an object, a list, a string or null) is read, and so is
  the VARCHAR of a BLOB that holds text.
- What is empty is missing, at any depth: blanks, NULL, lists and objects of nothing but these.

Each rule goes by the value alone, so that a text that is read again stays as it is.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TypeAlias

import numpy as np

Tree: TypeAlias = "str | list[Tree] | dict[str, Tree] | None"


class Bare(str):
    """A leaf that JSON writes without quotes: a number, true or false."""

    __slots__ = ()


MAX_VALUE_CHARACTERS = 20_000
"""Longer values are cut here: what follows never decided a match, and a 1 MB text must not stall a run."""

MAX_DEPTH = 100
"""What is nested deeper says nothing."""

MAX_ZEROS = 20
"""A number that needs more zeros than this is written with an exponent."""

FLOAT_DIGITS = 10
"""A fraction of more digits that a FLOAT holds exactly was one: it is written as 0.1, not as 0.10000000149011612."""

SPECIAL_STARTS = ' {["'
"""What a text begins with that may not stay as it is: a blank, or JSON."""

NANOSECONDS = 1_000_000_000

_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\s]+")
_JSON_START = re.compile(r'[\x00-\x1f\ufeff\s]*[{\["]')
_SHORTEST = re.compile(r"-?[1-9]\d*(?:\.\d*[1-9])?|-?0\.\d*[1-9]|0", re.ASCII)
_NUMBER = re.compile(r"([-+]?)(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([-+]\d\d)(?::(\d\d))?(?::(\d\d))?", re.ASCII)
_ESCAPED_BYTE = re.compile(rb"\\x([0-9A-F]{2})")
_ESCAPED = re.compile(rb"[^ -~]|[\\'\"]")
# DuckDB writes a DECIMAL without a place before its point, which is no JSON.
_BARE_POINT = re.compile(r'("(?:[^"\\]|\\.)*")|(?<!\d)\.(?=\d)', re.DOTALL)
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


def normalise_value(text: str) -> str | None:
    """The canonical text of a value that is a text; None when it says nothing."""
    return tree_text(text_tree(text))


def tree_text(tree: Tree) -> str | None:
    """The canonical text of a value: a leaf itself, compact JSON of what is nested, cut at MAX_VALUE_CHARACTERS."""
    if tree is None or isinstance(tree, str):
        return tree
    text, room = _json(tree), MAX_VALUE_CHARACTERS
    while len(text) > MAX_VALUE_CHARACTERS:
        kept, _ = _within(tree, room)
        if kept is None:
            return None
        text, room = _json(kept), room * 3 // 4
    return text


def leaf_text(value: str) -> str:
    """What a canonical text says in words: of a nested value its leaves without names, those of a list in order."""
    if value[:1] not in ("{", "["):
        return value
    try:
        return " ".join(_leaves(json.loads(value, parse_int=str, parse_float=str)))
    except (ValueError, RecursionError):
        return value


def text_tree(text: str) -> Tree:
    """What a text says: NFC, white space and control characters collapsed, cut; JSON is read."""
    while not _is_settled(text):
        if not _JSON_START.match(text):
            text = text[: 2 * MAX_VALUE_CHARACTERS]
        text = _seen(text)
        if text == "null":
            return None
        if text.startswith(tuple(SPECIAL_STARTS)):
            try:
                return python_tree(read_json(text))
            except (ValueError, RecursionError):
                pass
        text = text[:MAX_VALUE_CHARACTERS].rstrip()
        told = _of_blob(_in_utc(text))
        if told == text:
            break
        text = told
    return text or None


def python_tree(value: object, depth: int = 0) -> Tree:
    """What a Python value says: what `json` and DuckDB return, and the like of it from numpy and pandas."""
    if value is None or depth > MAX_DEPTH:
        return None
    if isinstance(value, str):
        return value if isinstance(value, Bare) else text_tree(value)
    if isinstance(value, (bool, np.bool_)):
        return Bare("true" if value else "false")
    if isinstance(value, (int, np.integer)):
        return number_text(str(int(value)))
    if isinstance(value, (float, np.floating)):
        return number_text(repr(float(value)))
    if isinstance(value, Decimal):
        return number_text(str(value))
    if isinstance(value, Mapping):
        return object_tree((name_text(name), python_tree(member, depth + 1)) for name, member in value.items())
    if isinstance(value, (list, tuple, np.ndarray)):
        return list_tree(python_tree(member, depth + 1) for member in value)
    if isinstance(value, (set, frozenset)):
        return list_tree(sorted((python_tree(member, depth + 1) for member in value), key=str))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return text_tree(blob_text(bytes(value)))
    if isinstance(value, (date, time, timedelta)):
        return _moment_text(value)
    return text_tree(str(value))


def read_json(text: str) -> object:
    """A JSON text in Python's types, numbers as their canonical texts. Raises ValueError or RecursionError."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        return _DECODER.decode(_BARE_POINT.sub(lambda found: found[1] or "0.", text))


def json_object(text: str) -> dict[str, object] | None:
    """The members of a text that is a JSON object, as `read_json` gives them; None for any other text."""
    if not _JSON_START.match(text):
        return None
    for readable in (str, _seen):
        try:
            read = read_json(readable(text))
        except (ValueError, RecursionError):
            continue
        if isinstance(read, str):
            return json_object(read)
        return read if isinstance(read, dict) else None
    return None


def list_tree(members: Iterable[Tree]) -> Tree:
    """A list of what says something."""
    return [member for member in members if member is not None] or None


def object_tree(members: Iterable[tuple[str, Tree]]) -> Tree:
    """What says something, by name."""
    return {name: member for name, member in members if member is not None} or None


def name_text(name: object) -> str:
    """The name of a member of an object, as DuckDB writes the key of a MAP in JSON."""
    if isinstance(name, str):
        return _in_utc(_seen(name))
    if isinstance(name, (float, np.floating)):
        return repr(float(name))
    return f"{name:f}" if isinstance(name, Decimal) else tree_text(python_tree(name)) or ""


def number_text(written: str) -> Bare | None:
    """The canonical text of a number, however it is written; None for what is no finite number."""
    if len(written) <= FLOAT_DIGITS and _SHORTEST.fullmatch(written):
        return Bare(written)
    scaled = _scaled(written)
    if scaled and scaled[2] < 0 and len(scaled[1]) > FLOAT_DIGITS:
        scaled = _as_double(float(written)) or scaled
    return Bare(_plain(*scaled)) if scaled else None


def blob_text(data: bytes) -> str:
    """Bytes as DuckDB casts a BLOB to VARCHAR."""
    return _ESCAPED.sub(lambda found: b"\\x%02X" % ord(found[0]), data).decode("ascii")


def clock_text(ticks: int, per_second: int) -> str:
    """A time of day, or a time span, with as many decimals as it needs."""
    seconds, rest = divmod(ticks, per_second)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{rest * NANOSECONDS // per_second:09}".rstrip("0") if rest else text


def interval_text(months: int, days: int, nanoseconds: int) -> str:
    """An interval as DuckDB casts it to VARCHAR: `1 year 2 months -3 days 04:00:05.5`."""
    years = int(months / 12)
    units = {"year": years, "month": months - 12 * years, "day": days}
    parts = [f"{n} {unit}{'' if abs(n) == 1 else 's'}" for unit, n in units.items() if n]
    if nanoseconds or not parts:
        parts.append(("-" if nanoseconds < 0 else "") + clock_text(abs(nanoseconds), NANOSECONDS))
    return " ".join(parts)


_ENCODER = json.JSONEncoder(ensure_ascii=False)
_DECODER = json.JSONDecoder(strict=False, parse_int=number_text, parse_float=number_text, parse_constant=lambda _: None)


def _is_settled(text: str) -> bool:
    """Whether reading would change nothing: a cheap look, for most values are as they should be."""
    return not text or (
        len(text) <= MAX_VALUE_CHARACTERS
        and text.isprintable()  # among white space, the space alone is printable
        and text[0] not in SPECIAL_STARTS
        and text[-1] != " "
        and "  " not in text
        and "\\x" not in text
        and text != "null"
        and not (len(text) >= 22 and text[10] == " " and text[4] == "-")
        and (text.isascii() or unicodedata.is_normalized("NFC", text))
    )


def _seen(text: str) -> str:
    """A text without what cannot be seen."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    return _NOT_PRINTABLE.sub(" ", text).strip()


def _in_utc(text: str) -> str:
    """A moment as DuckDB casts TIMESTAMPTZ to VARCHAR, in UTC instead of its time zone; others as they are."""
    match = _MOMENT.fullmatch(text)
    if not match:
        return text
    told, fraction, hours, minutes, seconds = match.groups(default="0")
    past = timedelta(hours=int(hours[1:]), minutes=int(minutes), seconds=int(seconds))
    try:
        moment = datetime.fromisoformat(told) - (-past if hours[0] == "-" else past)
    except (ValueError, OverflowError):
        return text
    return f"{moment.isoformat(sep=' ')}.{fraction}".rstrip("0").rstrip(".") + "+00"


def _of_blob(text: str) -> str:
    """The text that a BLOB holds, where this is how DuckDB casts one to VARCHAR; others as they are."""
    if "\\x" not in text or not text.isascii():
        return text
    try:
        return _ESCAPED_BYTE.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode()).decode("utf-8")
    except UnicodeDecodeError:
        return text


def _scaled(written: str) -> tuple[str, str, int] | None:
    """A number as its sign, its digits without zeros at either end, and the power of ten that they count."""
    match = _NUMBER.fullmatch(written)
    if not match or not (match[2] or match[3]):
        return None
    digits = (match[2] + match[3]).lstrip("0")
    short = digits.rstrip("0")
    if not short:
        return "", "0", 0
    return "-" if match[1] == "-" else "", short, int(match[4] or 0) - len(match[3]) + len(digits) - len(short)


def _as_double(number: float) -> tuple[str, str, int] | None:
    """The shortest digits of a DOUBLE, those of a FLOAT where it was one; None where a DOUBLE has no room for it."""
    scaled = _scaled(repr(number))
    if scaled and len(scaled[1]) > FLOAT_DIGITS and abs(number) <= _LARGEST_FLOAT:
        narrow = np.float32(number)
        return _scaled(str(narrow)) if float(narrow) == number else scaled
    return scaled


def _plain(sign: str, digits: str, exponent: int) -> str:
    """What `_scaled` took apart, with an exponent only where it needs many zeros."""
    point = len(digits) + exponent
    if 0 <= exponent <= MAX_ZEROS:
        return f"{sign}{digits}{'0' * exponent}"
    if exponent < 0 < point:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if exponent < 0 and -point <= MAX_ZEROS:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1}"


def _moment_text(value: date | time | timedelta) -> str | None:
    if value != value:  # pandas' NaT
        return None
    if isinstance(value, timedelta):
        micros = value // timedelta(microseconds=1)
        days, rest = divmod(abs(micros), 86_400_000_000)
        sign = -1 if micros < 0 else 1
        return interval_text(0, sign * days, sign * rest * 1000)
    if isinstance(value, datetime):
        zoned = value.tzinfo is not None
        text = (value.astimezone(timezone.utc).replace(tzinfo=None) if zoned else value).isoformat(sep=" ")
        return (text.rstrip("0").rstrip(".") if "." in text else text) + ("+00" if zoned else "")
    text = value.replace(tzinfo=None).isoformat() if isinstance(value, time) else value.isoformat()
    return text.rstrip("0") if "." in text else text


def _json(tree: Tree) -> str:
    if isinstance(tree, dict):
        return f"{{{','.join(f'{_ENCODER.encode(name)}:{_json(member)}' for name, member in tree.items())}}}"
    if isinstance(tree, list):
        return f"[{','.join(map(_json, tree))}]"
    return tree if isinstance(tree, Bare) else _ENCODER.encode(tree)


def _within(tree: Tree, room: int) -> tuple[Tree, int]:
    """The beginning of a tree, as much as so many characters have room for, and the room that is left."""
    if tree is None or room <= 0:
        return None, room
    if isinstance(tree, str):
        return tree if len(tree) <= room else tree[:room].rstrip() or None, room - len(tree)
    if isinstance(tree, list):
        kept = []
        for member in tree:
            part, room = _within(member, room)
            kept.append(part)
        return list_tree(kept), room
    named = []
    for name, member in tree.items():
        part, room = _within(member, room - len(name))
        named.append((name, part))
    return object_tree(named), room


def _leaves(tree: object) -> list[str]:
    if isinstance(tree, dict):
        return [leaf for name in sorted(tree) for leaf in _leaves(tree[name])]
    if isinstance(tree, list):
        return sorted(" ".join(_leaves(member)) for member in tree)
    if isinstance(tree, bool):
        return ["true" if tree else "false"]
    return [] if tree is None else [str(tree)]
