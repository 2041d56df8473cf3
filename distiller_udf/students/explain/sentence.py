"""An explanation: a pair's log odds by column and by word, and the sentence that says so."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

MINIMUM_CONTRIBUTION = 0.05
"""Log odds below which a column or a word is not worth a mention."""

MAX_NAMED = 5
"""Columns named on each side of a sentence."""

MAX_NAMED_WORDS = 4
"""Words named of each column."""

MAX_CHARACTERS = 40
"""A longer word or value is cut here."""

_NUMBER = re.compile(r"[-+]?\d[\d.,:/-]*")


@dataclass(frozen=True)
class WordShare:
    """What one clue adds to its column's contribution, in log odds; `kind` and `texts` are those of its `Clue`."""

    kind: str
    texts: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class ColumnShare:
    """What one column adds to a pair's log odds: the `words` add up to `value`, the last one being the remainder."""

    label: str
    value: float
    words: tuple[WordShare, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """A pair's log odds: `baseline`, which is what a pair without any value has, and what each column adds to it."""

    baseline: float
    columns: tuple[ColumnShare, ...]

    @property
    def log_odds(self) -> float:
        """The log odds that both are the same: the baseline and the columns added up."""
        return self.baseline + sum(column.value for column in self.columns)

    def sentence(self, is_match: bool) -> str:
        """The columns that spoke for and against a match, strongest first, and how they add up.

        `is_match` is what the reader has been told: what speaks for that comes first.
        """
        ranked = sorted(self.columns, key=lambda column: -abs(column.value))
        said = [column for column in ranked if abs(column.value) >= MINIMUM_CONTRIBUTION]
        pros = _side("for", [column for column in said if column.value > 0])
        cons = _side("against", [column for column in said if column.value < 0])
        first, second = (pros, cons) if is_match else (cons, pros)
        if not first:
            second = f"{second}, but not enough" if second else "no column speaks for or against a match"
        return (
            f"Evidence: {'; '.join(filter(None, (first, second)))}. "
            f"In log odds: baseline {_figure(self.baseline)}, columns {_figure(self.log_odds - self.baseline)}, "
            f"together {_figure(self.log_odds)}."
        )


def _side(word: str, columns: Sequence[ColumnShare]) -> str:
    if not columns:
        return ""
    named = ", ".join(_column(column) for column in columns[:MAX_NAMED])
    rest = columns[MAX_NAMED:]
    more = f" and {len(rest)} more ({_figure(sum(c.value for c in rest))})" if rest else ""
    return f"{named}{more} speak{'s' if len(columns) == 1 else ''} {word} a match"


def _column(column: ColumnShare) -> str:
    """`name (+3.1: both have "ezxs88w" +2.0, "linksys" +0.7; the rest +0.4)`."""
    said = _words(column)
    return f"{column.label} ({_figure(column.value)}{': ' if said else ''}{said})"


def _words(column: ColumnShare) -> str:
    """What is said of a column's words: the strongest by kind, and what is left."""
    last = column.words[-1]
    if last.kind not in ("rest", "empty"):
        return _told([last])
    named = _strongest(column)
    left = column.value - sum(word.value for word in named)
    if not named:
        return _told([last]) if last.kind == "empty" else ""
    if abs(left) < MINIMUM_CONTRIBUTION:
        return _told(named[:1]) if len(named) == 1 else _by_kind(named, column.value)
    remainder = WordShare(last.kind, (), left)
    if last.kind == "empty":
        return _by_kind([*named, remainder], column.value)
    return f"{_by_kind(named, column.value)}; {_told([remainder], figures=True)}"


def _by_kind(words: Sequence[WordShare], value: float) -> str:
    """Each kind with its figures, first what speaks most as the column does."""
    kinds = [[word for word in words if word.kind == kind] for kind in dict.fromkeys(word.kind for word in words)]
    kinds.sort(key=lambda group: -math.copysign(1, value) * sum(word.value for word in group))
    return "; ".join(_told(group, figures=True) for group in kinds)


def _told(words: Sequence[WordShare], figures: bool = False) -> str:
    """Words of one kind; the figures are left out where the column's own figure says it all."""
    listed = ", ".join(f"{_clue(word)} {_figure(word.value)}" if figures else _clue(word) for word in words)
    return _PHRASES[words[0].kind].format(listed.strip()).strip()


def _strongest(column: ColumnShare) -> list[WordShare]:
    """The words to name, strongest first: two that speak as the column does, if there are, and then any."""
    ranked = sorted(column.words[:-1], key=lambda word: -abs(word.value))
    ranked = [word for word in ranked if abs(word.value) >= MINIMUM_CONTRIBUTION]
    along = [word for word in ranked if (word.value > 0) == (column.value > 0)][: MAX_NAMED_WORDS // 2]
    named = [*along, *(word for word in ranked if word not in along)][:MAX_NAMED_WORDS]
    return sorted(named, key=lambda word: -abs(word.value))


_PHRASES = {
    "both": "both have {}",
    "like": "{}",
    "values": "{}",
    "elsewhere": "found in another column {}",
    "lacked": "only one has {}",
    "empty": "one side is empty {}",
    "rest": "the rest {}",
}


def _figure(value: float) -> str:
    """Log odds with their sign and one decimal; nothing is `+0.0`."""
    return f"{round(value, 1) + 0.0:+.1f}"


def _clue(word: WordShare) -> str:
    between = "against" if word.value < 0 else "like" if word.kind == "like" else "and"
    texts = [text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…" for text in word.texts]
    numbers = word.kind == "values" and all(map(_NUMBER.fullmatch, texts))  # `399.0 against 249.0`
    return f" {between} ".join(texts if numbers else map(_quoted, texts))


def _quoted(text: str) -> str:
    """The text in quotes, what cannot be printed escaped."""
    text = text.replace("\\", r"\\").replace('"', r"\"")
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) + '"'
