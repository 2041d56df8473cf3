"""What tokens cost: a small JSON file that users edit, because prices change and we cannot know them.

    {"gpt-4.1-mini": {"input": 0.40, "output": 1.60}, "qwen2.5:32b": {"input": 0, "output": 0}}

US dollars for a million tokens. A model that is not in the file has an unknown price, which is never taken as zero.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distiller_udf.budget import Cost, estimated_tokens
from distiller_udf.errors import SettingsError

_TOKENS_A_MESSAGE = 8
_MOST_AROUND_A_TEXT = 64


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens that go in and that come out."""

    input: float
    output: float

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars for one call."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


def call_cost(price: Price | None, input_tokens: int, output_tokens: int) -> Cost:
    """What a call with so many tokens costs; without a price its dollars are unknown."""
    usd = None if price is None else price.cost(input_tokens, output_tokens)
    return Cost(1, input_tokens, output_tokens, usd)


def prompt_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """About how many tokens the messages have, rather too many."""
    return sum(estimated_tokens(message["content"]) + _TOKENS_A_MESSAGE for message in messages)


def most_prompt_tokens(texts: Iterable[str]) -> int:
    """The most tokens that these texts of a prompt can be: no tokenizer makes two of one byte.

    Some do make one of every digit, and of scripts that they hardly know. With each text comes what a chat template
    puts around it.
    """
    return sum(len(text.encode("utf-8")) + _MOST_AROUND_A_TEXT for text in texts)


def read_prices(path: str | Path) -> dict[str, Price]:
    """The prices in a file, by model. Raises SettingsError when the file is missing or not of this shape."""
    file = Path(path)
    try:
        entries = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=_no_model_twice)
        prices = {str(model): Price(_dollars(e["input"]), _dollars(e["output"])) for model, e in entries.items()}
    except FileNotFoundError:
        raise SettingsError(f"there is no price file {file}; write one or leave the setting out") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"the price file {file} cannot be read ({type(error).__name__}: {error}); it looks like "
            '{"model": {"input": 0.4, "output": 1.6}}, in US dollars for a million tokens'
        ) from error
    if any(not (0 <= p.input < 1e6 and 0 <= p.output < 1e6) for p in prices.values()):
        raise SettingsError(f"the price file {file} has a negative or impossible price")
    return prices


def _no_model_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return dict(pairs)


def _dollars(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(f"{value} is no price")
    return float(value)
