"""What the trainings of encoders share: which weights decay, how fast they learn, and where chance comes from."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

from distiller_udf.encoding.loading import torch_module


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
