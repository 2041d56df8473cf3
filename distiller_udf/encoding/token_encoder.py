"""Texts as vectors of their tokens, by a pretrained encoder that is left as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller_udf.encoding.loading import PretrainedEncoder, clean, length_batches, torch_module
from distiller_udf.errors import SettingsError, one_of

PRECISIONS = ("auto", "float32", "bfloat16")
"""Dynamic int8 is not among them: its scales come from the batch, so a text's vectors would too."""

_TOKENS_AT_ONCE = 4_096
_LEAST_TOKENS = 512


@dataclass(frozen=True)
class Tokens:
    """What a tokenizer makes of one text: `ids` with the special tokens, and where each lies in the text.

    `starts` and `ends` are character positions, int32 like `ids`; a special token has none: it starts where it ends.
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class TokenEncoder(PretrainedEncoder):
    """A frozen encoder. Tokens after `max_length` are cut, special tokens included.

    `precision` is `float32`, `bfloat16`, or `auto`:
    bfloat16 where the processor computes in it. A text's vectors do not depend on the texts beside it: every text is
    padded to a multiple of 8 tokens and every batch to 512, because matrices of fewer rows may be multiplied in
    another order, which bfloat16 shows. Raises SettingsError for impossible values, when torch or transformers is
    missing, or when there is no such model.
    """

    def __init__(self, model: str, *, max_length: int = 64, precision: str = "auto", local_only: bool = False) -> None:
        one_of("precision", precision, PRECISIONS)
        if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 3:
            raise SettingsError(f"max_length is {max_length!r}; it must be a whole number of tokens from 3")
        super().__init__(model, max_length=max_length, local_only=local_only)
        if not self.tokenizer.is_fast:
            raise SettingsError(
                f"the tokenizer of {model!r} cannot tell where its tokens lie in the text; "
                "give an encoder with a tokenizer.json"
            )
        self.precision = _precision(precision, self.device)
        self.model.to(getattr(torch_module(), self.precision))

    @property
    def vocabulary(self) -> int:
        """How many token ids there are."""
        return max(int(self.model.config.vocab_size), len(self.tokenizer))

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Every text as tokens, cut at `max_length`."""
        if not texts:
            return []
        shortened = [clean(text, self.max_length) for text in texts]
        found = self.tokenizer(
            shortened,
            truncation=True,
            max_length=self.max_length,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        result = []
        for ids, offsets in zip(found["input_ids"], found["offset_mapping"], strict=True):
            spans = np.asarray(offsets, dtype=np.int32).reshape(-1, 2)
            result.append(Tokens(np.asarray(ids, dtype=np.int32), spans[:, 0], spans[:, 1]))
        return result

    def encode(self, texts: Sequence[Tokens], projection: Any = None) -> Iterator[tuple[int, np.ndarray]]:
        """Each text's position and its tokens' vectors, float32 (tokens, width), in any order.

        The vectors have length 1. `projection`, a (width, dimensions) array, is multiplied with them first.
        """
        torch = torch_module()
        matrix = None if projection is None else self.tensor(projection)
        for positions, length in length_batches([len(text.ids) for text in texts], self.max_length, _TOKENS_AT_ONCE):
            inputs = self.padded([texts[i].ids for i in positions], length, rows=-(-_LEAST_TOKENS // length))
            with torch.inference_mode():
                hidden = self.model(**inputs).last_hidden_state.float()
                vectors = torch.nn.functional.normalize(hidden, dim=2)
                if matrix is not None:
                    vectors = torch.nn.functional.normalize(vectors @ matrix, dim=2)
                found = vectors.cpu().numpy()
            for row, position in enumerate(positions):
                yield position, found[row, : len(texts[position].ids)]


def _precision(wanted: str, device: str) -> str:
    """`auto` is bfloat16 where the hardware multiplies in it, else float32."""
    if wanted != "auto":
        return wanted
    torch = torch_module()
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return "bfloat16" if any(getattr(torch.cpu, name, bool)() for name in names) else "float32"
