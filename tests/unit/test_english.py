"""Sentences of messages: one of a thing and several, and no message that counts without asking how many there are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from distiller_udf.english import counted, listed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (1, ("record",), "1 record"),
        (0, ("record",), "0 records"),
        (1500, ("record",), "1,500 records"),
        (2, ("match",), "2 matches"),
        (2, ("reply",), "2 replies"),
        (1, ("label is", "labels are"), "1 label is"),
        (2, ("label is", "labels are"), "2 labels are"),
    ],
)
def test_one_and_several(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said


def test_lists() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


COUNTABLE = {"answers", "calls", "candidates", "labels", "matches", "options", "pairs", "questions", "records", "rows"}
COUNTABLE |= {"prompts", "replies", "tuples", "values"}
WORDS = {"side", "there", "faults", "self._failures"}
"""What stands before such a word and is no number, or always several."""


def test_no_message_has_a_number_before_a_bare_plural() -> None:
    """`{n} labels` says `1 labels`; `counted(n, "label")` does not. A constant is several."""
    found = []
    for file in [*(ROOT / "distiller_udf").rglob("*.py"), *(ROOT / "training").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.JoinedStr):
                continue
            for before, after in zip(node.values, node.values[1:], strict=False):
                if isinstance(before, ast.FormattedValue) and isinstance(after, ast.Constant):
                    word = str(after.value).removeprefix(" ").split(" ")[0].strip(",.;:)")
                    shows = ast.unparse(before.value)
                    is_number = not shows.isupper() and shows not in WORDS
                    if str(after.value).startswith(" ") and word in COUNTABLE and is_number:
                        found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {{{shows}}} {word}")
    assert not found, "\n".join(found)
