"""Two records read at once by a pretrained encoder, and a line over what it makes of them: a cross-encoder."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distiller_udf.encoding.loading import (
    PretrainedEncoder,
    clean,
    length_batches,
    read_arrays,
    torch_module,
)
from distiller_udf.settings import DEFAULT_ENCODER

HEAD_FILE = "head.safetensors"
SETTINGS_FILE = "classifier.json"

_TOKENS_AT_ONCE = 4_096
_PAIRS_AT_ONCE = 8_192


@dataclass(frozen=True)
class PairTokens:
    """Two texts as a tokenizer puts them together: token `ids`, and which text each is of (`types`) if it says that."""

    ids: np.ndarray
    types: np.ndarray | None


class PairClassifier(PretrainedEncoder):
    """An encoder and a linear head, which give two texts the log odds of a match.

    The head sees the first token's vector and the mean of all tokens'
    vectors side by side, for encoders are pretrained to say what a text is about in the one or in the other. It starts
    from 0: what is random in it would only be carried into the encoder. Tokens after `max_length` are cut from the
    longer text.
    """

    def __init__(self, model: str = DEFAULT_ENCODER, *, max_length: int = 256, local_only: bool = False) -> None:
        super().__init__(model, max_length=max_length, local_only=local_only)
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # nothing reads it, so it would be neither trained nor worth its place
        self.head = self.new_head(2 * self.width)
        self._begin, self._between = _signs(self.tokenizer)
        self._typed = getattr(self.model.config, "type_vocab_size", 0) > 1
        self._lock = threading.Lock()

    def score(self, left: Sequence[str], right: Sequence[str]) -> np.ndarray:
        """Uncalibrated log odds that row i of both sides is the same entity: float64, shape (pairs,).

        Every pair is read in both orders and the mean is taken. It costs twice the time of a fixed order, but (a, b)
        scores as (b, a), and no change to a record turns the pair around, so that explanations tell of words and not of
        the order. On a CPU the same pair has the same score in any batch to about 1e-6.
        """
        result = np.zeros(len(left))
        with self._lock:
            for start in range(0, len(left), _PAIRS_AT_ONCE):
                rows = slice(start, start + _PAIRS_AT_ONCE)
                result[rows] = self._both_orders(list(zip(left[rows], right[rows], strict=True)))
        return result

    def tokenise(self, pairs: Sequence[tuple[str, str]]) -> list[PairTokens]:
        """Every two texts in the tokenizer's own format for a pair, cut fairly at `max_length`."""
        if not pairs:
            return []
        found = self.tokenizer(
            [self._begin + clean(first, self.max_length) for first, _ in pairs],
            [self._between + clean(second, self.max_length) for _, second in pairs],
            truncation="longest_first",
            max_length=self.max_length,
            return_attention_mask=False,
        )
        ids = [np.asarray(each, dtype=np.int32) for each in found["input_ids"]]
        if not self._typed or "token_type_ids" not in found:
            return [PairTokens(each, None) for each in ids]
        types = [np.asarray(each, dtype=np.int32) for each in found["token_type_ids"]]
        return [PairTokens(*each) for each in zip(ids, types, strict=True)]

    def raw(self, pairs: Sequence[PairTokens]) -> np.ndarray:
        """The head's log odds of tokenised pairs as they stand: float64, shape (pairs,)."""
        torch = torch_module()
        result = np.zeros(len(pairs))
        with torch.inference_mode():
            for rows, length in length_batches([len(pair.ids) for pair in pairs], self.max_length, _TOKENS_AT_ONCE):
                result[rows] = self.logits([pairs[row] for row in rows], length).double().cpu().numpy()
        return result

    def logits(self, pairs: Sequence[PairTokens], length: int) -> Any:
        """The log odds of tokenised pairs, padded to `length`, as a tensor that can be learnt from."""
        torch = torch_module()
        inputs = self._inputs(pairs, length)
        hidden = self.model(**inputs).last_hidden_state
        inside = inputs["attention_mask"][:, :, None].to(hidden.dtype)
        mean = (hidden * inside).sum(1) / inside.sum(1)
        return self.head(torch.cat([hidden[:, 0], mean], 1))[:, 0]

    def state(self) -> dict[str, dict[str, Any]]:
        """A copy of all weights."""
        parts = {"model": self.model, "head": self.head}
        return {n: {k: v.detach().cpu().clone() for k, v in p.state_dict().items()} for n, p in parts.items()}

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """The weights as `state` found them."""
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])

    def save(self, folder: Path) -> None:
        """Write all into `folder`, which transformers reads too, less the head: JSON and safetensors only."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        super().save(folder)
        arrays = {name: value.detach().cpu().numpy() for name, value in self.head.state_dict().items()}
        save_file(arrays, folder / HEAD_FILE)
        (folder / SETTINGS_FILE).write_text(json.dumps({"max_length": self.max_length}, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> PairClassifier:
        """Read what `save` wrote.

        Raises SettingsError when torch or transformers is missing or the weights cannot be read, OSError, ValueError or
        KeyError for the other files.
        """
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        classifier = cls(str(folder), max_length=settings["max_length"], local_only=True)
        arrays = read_arrays(folder / HEAD_FILE)
        try:
            classifier.head.load_state_dict({name: classifier.tensor(array) for name, array in arrays.items()})
        except RuntimeError as error:
            raise ValueError(f"{HEAD_FILE} is damaged: {error}") from error
        return classifier

    def _both_orders(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        wanted = list(dict.fromkeys([*pairs, *((second, first) for first, second in pairs)]))
        found = dict(zip(wanted, self.raw(self.tokenise(wanted)).tolist(), strict=True))
        return [(found[first, second] + found[second, first]) / 2 for first, second in pairs]

    def _inputs(self, pairs: Sequence[PairTokens], length: int) -> dict[str, Any]:
        inputs = self.padded([pair.ids for pair in pairs], length)
        if self._typed:
            types = np.zeros((len(pairs), length), dtype=np.int64)
            for row, pair in enumerate(pairs):
                if pair.types is not None:
                    types[row, : len(pair.types)] = pair.types
            inputs["token_type_ids"] = self.tensor(types)
        return inputs


def _signs(tokenizer: Any) -> tuple[str, str]:
    """What a pair begins with and what stands between its texts, where the tokenizer puts nothing there itself."""
    if tokenizer.num_special_tokens_to_add(pair=True):
        return "", ""
    begin, between = tokenizer.cls_token, tokenizer.sep_token or tokenizer.eos_token
    return f"{begin} " if begin else "", f" {between} " if between else "\n"
