"""The little English that messages need: numbers with what they count, and lists."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number with what it counts, as in `1 record` and `1,500 records`; `several` is an odd plural."""
    return f"{number:,} {one if number == 1 else several or _plural(one)}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as a sentence lists them, `a, b and c`; empty ones are left out."""
    some = [word for word in words if word]
    return f" {last} ".join(filter(None, (", ".join(some[:-1]), *some[-1:])))


def _plural(one: str) -> str:
    if one.endswith("y"):
        return f"{one[:-1]}ies"
    return f"{one}es" if one.endswith("ch") else f"{one}s"
