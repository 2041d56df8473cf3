"""Loading language models and tokenizers with transformers: safetensors alone, and no code of the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distiller_udf.encoding.loading import first_line, quiet
from distiller_udf.errors import SettingsError

INSTALL = "install the extra train, in a checkout `pip install -c constraints.txt '.[train]'`"


def modules() -> tuple[Any, Any]:
    """torch and transformers; raises SettingsError where one of them is missing."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise SettingsError(f"an LLM student needs torch and transformers; {INSTALL}") from error
    return torch, transformers


def load_tokenizer(model: str, local_only: bool = False) -> Any:
    """The tokenizer of a folder or a hub id. Raises SettingsError where there is none."""
    # Mistral's own format has no chat template and no tokens by name.
    tokenizer = _pretrained("AutoTokenizer", model, local_only, mistral_format=False)
    if tokenizer.eos_token_id is None:
        raise SettingsError(f"the tokenizer of {model!r} has no token that ends a text; take another base model")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(model: str, local_only: bool = False) -> Any:
    """The configuration of a folder's or a hub id's model, without its weights. Raises SettingsError."""
    return _pretrained("AutoConfig", model, local_only)


def load_causal(model: str, local_only: bool = False, **settings: Any) -> Any:
    """The language model of a folder or a hub id; `settings` go to `from_pretrained`. Raises SettingsError."""
    return _pretrained("AutoModelForCausalLM", model, local_only, use_safetensors=True, **settings)


def adapted(loaded: Any, adapter: Path) -> Any:
    """A base model with an adapter: one matrix product where its own weights can hold the sum, otherwise beside them.

    In 16 bits most of what a light fine-tuning adds would be rounded away. Raises SettingsError where the adapter
    cannot be read.
    """
    torch, _ = modules()
    found = _with_adapter(loaded, adapter)
    return found.merge_and_unload() if loaded.dtype == torch.float32 else found


def merged(loaded: Any, adapter: Path) -> Any:
    """A base model with an adapter's weights added to its own. Raises SettingsError where it cannot be read."""
    return _with_adapter(loaded, adapter).merge_and_unload()


def _with_adapter(loaded: Any, adapter: Path) -> Any:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise SettingsError(f"this LLM student is an adapter, which needs peft; {INSTALL}") from error
    try:
        with quiet():
            return PeftModel.from_pretrained(loaded, str(adapter))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SettingsError(f"the adapter {adapter} does not fit its base model: {first_line(error)}") from error


def context_length(config: Any) -> int:
    """How many tokens a model can read."""
    known = getattr(config, "get_text_config", lambda: config)()
    return int(getattr(known, "max_position_embeddings", None) or 10**9)


def _pretrained(kind: str, model: str, local_only: bool, **settings: Any) -> Any:
    """What transformers' class `kind` loads from a folder or a hub id."""
    _, transformers = modules()
    from safetensors import SafetensorError

    try:
        with quiet():
            return getattr(transformers, kind).from_pretrained(
                model, local_files_only=local_only, trust_remote_code=False, **settings
            )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        where = "a folder on this machine" if local_only else "a folder or the id of a model on the hub"
        missing = "" if Path(model).is_dir() else " (there is no such folder here)"
        raise SettingsError(
            f"the language model {model!r} cannot be loaded{missing}; give {where} with safetensors: "
            f"{first_line(error)}"
        ) from error


def looks_like_a_path(model: str) -> bool:
    """Whether a name can only be a folder's: a hub id is one word, or two with a slash between them."""
    return model.startswith((".", "~", "/")) or model.count("/") > 1 or "\\" in model
