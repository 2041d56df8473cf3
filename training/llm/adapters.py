"""Two LoRA adapters on one base model as one: their updates add up, and the result is a standard adapter.

An update is scaling · B A. Two of them are [s₁B₁ s₂B₂] [A₁; A₂]: an adapter of both ranks together, exactly.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_A, _B = ".lora_A.weight", ".lora_B.weight"


def join_adapters(first: Path, second: Path) -> None:
    """Make `second`, trained with `first` merged into the base model, an adapter on the base model alone."""
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
