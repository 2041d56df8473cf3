"""The model that a fine-tuning starts from, and the weights that it leaves behind."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distiller_udf.errors import SettingsError, TrainingError
from distiller_udf.settings.training import LLMSettings
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.llm import LLMStudent, Serving
from distiller_udf.students.llm.causal import (
    INSTALL,
    context_length,
    load_causal,
    load_config,
    load_tokenizer,
    merged,
    modules,
)
from distiller_udf.students.llm.student import ADAPTER_FOLDER, TOKENIZER_FOLDER, WHOLE_FOLDER

from ...material import model_name

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_A, _B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class Base:
    """Where a fine-tuning starts.

    `model` is the base model's folder or hub id; `whole` the folder of a student that has all weights, `adapter` that
    of one on the base model. `origin` is the name of the pretrained model that all of them go back to.
    """

    model: str
    settings: LLMSettings
    tokenizer_place: str
    origin: str
    whole: Path | None = None
    adapter: Path | None = None

    @classmethod
    def of(cls, settings: LLMSettings) -> Base:
        """From the settings `model` and `start`. Raises SettingsError, StudentError."""
        check_installed()
        if settings.start is None:
            if settings.model is None:
                raise SettingsError("name the base model (--model): a folder, or the id of a model on the hub")
            model = _findable(settings.model)
            return cls(model, settings, model, model_name(model))
        folder = Path(settings.start)
        info = StudentInfo.read(folder)
        if info.kind != LLMStudent.kind:
            raise SettingsError(f"{info.version} is a student of kind {info.kind}; a fine-tuning goes on from an llm")
        info.check_constraint(settings.constraint)
        student = LLMStudent.load(folder, info, Serving(base_model=settings.model and _findable(settings.model)))
        found = student.model()
        whole = folder / WHOLE_FOLDER
        return cls(
            found.base,
            settings,
            str(folder / TOKENIZER_FOLDER),
            str(info.trained_from.get("base_model", "")),
            whole if whole.is_dir() else None,
            found.adapter,
        )

    @property
    def shown(self) -> str:
        """The base model's name in an adapter's files; empty where the student will have all weights itself."""
        return "" if self.keeps_all else self.model

    @property
    def keeps_all(self) -> bool:
        """Whether the student will have all weights itself: they were all trained, now or before."""
        return self.whole is not None or self.settings.rank == 0

    @property
    def _place(self) -> str:
        """Where the weights are that an adapter goes on."""
        return str(self.whole) if self.whole else self.model

    def check(self) -> None:
        """Raise SettingsError, before anything large is loaded, where the model cannot read `max_length` tokens."""
        most = context_length(load_config(self._place, self.settings.local_only))
        if self.settings.max_length > most:
            raise SettingsError(f"max_length is {self.settings.max_length}, and the model reads {most} tokens")

    def tokenizer(self) -> Any:
        """The tokenizer, its padding to the left as generation needs it."""
        tokenizer = load_tokenizer(self.tokenizer_place, self.settings.local_only)
        tokenizer.padding_side = "left"
        return tokenizer

    def load(self) -> Any:
        """The model to fine-tune, what was learned before merged into it."""
        torch, _ = modules()
        on_gpu = torch.cuda.is_available()
        # What a step adds is too little for bfloat16 to hold. So float32 where it is added to the weights themselves:
        # where all of them are trained, and where an adapter of before is merged into them.
        fresh = self.settings.rank > 0 and self.adapter is None and self.whole is None
        halved = on_gpu and torch.cuda.is_bf16_supported() and fresh
        precision = torch.bfloat16 if halved else torch.float32
        more = self._in_four_bits(precision, on_gpu)
        loaded = load_causal(self._place, self.settings.local_only, dtype=precision, **more)
        return loaded if self.adapter is None else merged(loaded, self.adapter)

    def lora(self) -> Any:
        """The adapter that is trained, on all linear layers; None where all weights are."""
        from peft import LoraConfig

        if self.settings.rank == 0:
            return None
        return LoraConfig(
            r=self.settings.rank,
            lora_alpha=self.settings.alpha,
            lora_dropout=self.settings.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )

    def save(self, trained: Any, tokenizer: Any, folder: Path) -> int:
        """Write what was trained into `folder`, as a student has it; the adapter's rank, 0 where there is none."""
        tokenizer.save_pretrained(folder / TOKENIZER_FOLDER)
        if self.keeps_all:
            model = trained.merge_and_unload() if self.settings.rank else trained
            model.save_pretrained(folder / WHOLE_FOLDER)
            return 0
        trained.save_pretrained(folder / ADAPTER_FOLDER)
        (folder / ADAPTER_FOLDER / "README.md").unlink(missing_ok=True)  # the student has a card of its own
        if self.adapter is not None:
            join_adapters(self.adapter, folder / ADAPTER_FOLDER)
        return name_base(folder / ADAPTER_FOLDER, self.model)

    def _in_four_bits(self, precision: Any, on_gpu: bool) -> dict[str, Any]:
        """The arguments that load the base model in 4 bits (QLoRA: Dettmers et al. 2023, arXiv 2305.14314)."""
        fresh = self.settings.rank > 0 and self.adapter is None and self.whole is None
        possible = on_gpu and find_spec("bitsandbytes") is not None and fresh
        if self.settings.four_bit and not possible:
            raise SettingsError("four_bit needs a GPU, bitsandbytes, a rank above 0, and no student to go on from")
        if self.settings.four_bit is False or not possible:
            return {}
        from transformers import BitsAndBytesConfig

        return {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=precision
            )
        }


def _findable(model: str) -> str:
    """A model's name as it is found from anywhere: a folder's path in full."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def name_base(adapter: Path, model: str) -> int:
    """Write the base model's name into an adapter's configuration, and return the adapter's rank."""
    file = adapter / CONFIG
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = model
    file.write_text(json.dumps(_ordered(config), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return int(config["r"])


def _ordered(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same whatever the order of the sets in it, which differs between processes."""
    return {
        k: sorted(v) if isinstance(v, list) and all(isinstance(x, str) for x in v) else v for k, v in config.items()
    }


def check_installed() -> None:
    """Raise SettingsError where something that fine-tuning needs is missing."""
    missing = [name for name in ("torch", "transformers", "trl", "peft", "datasets") if find_spec(name) is None]
    if missing:
        raise SettingsError(f"fine-tuning a language model needs {', '.join(missing)}; {INSTALL}")


def empty_folder(folder: Path) -> Path:
    """The folder, new and empty. Raises TrainingError where it cannot be made."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise TrainingError(f"{folder} could not be made: {error.strerror or error}") from error
    return folder


def join_adapters(first: Path, second: Path) -> None:
    """Make `second`, trained with `first` merged into the base model, an adapter on the base model alone.

    An update is scaling · B A. Two of them are [s₁B₁ s₂B₂] [A₁; A₂]: an adapter of both ranks together, exactly.
    """
    from safetensors.torch import load_file, save_file

    configs = [json.loads((folder / CONFIG).read_text(encoding="utf-8")) for folder in (first, second)]
    sides = [
        _scaled(load_file(folder / WEIGHTS), _scaling(c)) for folder, c in zip((first, second), configs, strict=True)
    ]
    ranks = [int(config["r"]) for config in configs]
    joined: dict[str, Any] = {}
    for layer in sorted({name for side in sides for name in side}):
        joined |= _joined(layer, [side.get(layer) for side in sides], ranks)
    save_file(joined, second / WEIGHTS, metadata={"format": "pt"})
    rank = sum(ranks)
    modules = sorted({name for config in configs for name in config["target_modules"]})
    config = {**configs[1], "r": rank, "lora_alpha": rank, "use_rslora": False, "target_modules": modules}
    (second / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _scaling(config: dict[str, Any]) -> float:
    rank = config["r"]
    return float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _scaled(weights: dict[str, Any], scaling: float) -> dict[str, tuple[Any, Any]]:
    """For each layer A and scaling · B."""
    layers = [name.removesuffix(_A) for name in weights if name.endswith(_A)]
    return {layer: (weights[layer + _A], scaling * weights[layer + _B]) for layer in layers}


def _joined(layer: str, sides: list[tuple[Any, Any] | None], ranks: list[int]) -> dict[str, Any]:
    """The layer's two matrices; an adapter that leaves the layer alone counts as zeros."""
    import torch

    known = next(side for side in sides if side is not None)
    full = [
        side or (known[0].new_zeros(rank, known[0].shape[1]), known[1].new_zeros(known[1].shape[0], rank))
        for side, rank in zip(sides, ranks, strict=True)
    ]
    down, up = torch.cat([a for a, _ in full], 0), torch.cat([b for _, b in full], 1)
    return {layer + _A: down.contiguous(), layer + _B: up.contiguous()}
