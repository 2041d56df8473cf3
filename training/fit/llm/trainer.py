"""What all methods share of trl's trainers: their arguments, progress, and going on where a killed one stopped."""

from __future__ import annotations

import errno
import logging
import math
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from distiller_udf.encoding.loading import quiet
from distiller_udf.errors import SettingsError, TrainingError
from distiller_udf.settings.training import LLMSettings
from distiller_udf.students.llm.causal import modules

from ...material import Report

logger = logging.getLogger(__name__)

WHOLE_MARK = "whole"
"""A checkpoint without this file was being written when the training was killed."""

TORCH_WRITER = "PytorchStreamWriter"
"""Named in torch's errors of files that it could not write, which are RuntimeErrors."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
ROWS_AT_ONCE = 1_000

TOLD = {"reward": "mean reward", "rewards/accuracies": "preferred rightly", "loss": "loss"}
"""What says how a training goes, by its name in trl's logs: the first of these that is there."""


def arguments(settings: LLMSettings, work: Path, **own: Any) -> dict[str, Any]:
    """The arguments of every trainer. Raises SettingsError where `batch` is no multiple of `micro_batch`."""
    torch, _ = modules()
    micro = min(settings.micro_batch, settings.batch)
    if settings.batch % micro:
        raise SettingsError(f"batch is {settings.batch}; it must be a multiple of micro_batch, which is {micro}")
    on_gpu = torch.cuda.is_available()
    if on_gpu and torch.cuda.device_count() > 1:
        raise SettingsError("fine-tuning runs on one GPU; name it in the environment, as in CUDA_VISIBLE_DEVICES=0")
    return {
        "output_dir": str(work / "checkpoints"),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": settings.batch // micro,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "max_steps": settings.steps or -1,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "bf16": on_gpu and torch.cuda.is_bf16_supported(),
        **({"gradient_checkpointing": True} if on_gpu else {}),
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "save_strategy": "steps",
        "save_steps": settings.checkpoint_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number is not to be hidden
        "report_to": "none",
        "disable_tqdm": True,
        **own,
    }


def run(trainer: Any, work: Path, report: Report, begin: float = 0.1, end: float = 0.8) -> Any:
    """Train, from the last whole checkpoint in `work` if there is one, and return the trained model.

    Raises TrainingError where the training diverges, and where a checkpoint cannot be written.
    """
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_watch(report, begin, end))
    checkpoint = last_checkpoint(work / "checkpoints")
    if checkpoint is not None:
        report(f"going on from step {checkpoint.name.rpartition('-')[2]} of a training that was stopped", begin)
        logger.info("going on from step %s of a training that was stopped", checkpoint.name.rpartition("-")[2])
    with _clear_errors(work):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer.model


@contextmanager
def _clear_errors(work: Path) -> Iterator[None]:
    """Say what is to be done where a training cannot go on."""
    from safetensors import SafetensorError

    try:
        yield
    except TrainingError:
        shutil.rmtree(work, ignore_errors=True)  # it would go on from weights that are worth nothing
        raise
    except (OSError, SafetensorError, RuntimeError) as error:
        if not _is_about_writing(error):
            raise
        raise TrainingError(
            f"a checkpoint could not be written to {work} ({str(error).strip().splitlines()[0]}); free some space and "
            "start the same command again: it goes on from the checkpoint before"
        ) from error


def _is_about_writing(error: Exception) -> bool:
    if isinstance(error, RuntimeError):
        return TORCH_WRITER in str(error)
    return not isinstance(error, OSError) or error.errno in NO_ROOM


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; the others are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in found:
        if not (path / WHOLE_MARK).exists():
            shutil.rmtree(path)
    whole = [path for path in found if path.exists()]
    return whole[-1] if whole else None


def dataset(rows: Iterable[dict[str, Any]]) -> Any:
    """Rows as trl takes them: in memory as Arrow columns, a fraction of what they take as Python's lists."""
    from datasets import Dataset, concatenate_datasets

    left = iter(rows)
    parts = [Dataset.from_list(part) for part in iter(lambda: list(islice(left, ROWS_AT_ONCE)), [])]
    return concatenate_datasets(parts)


def _watch(report: Report, begin: float, end: float) -> Any:
    """A callback that tells how far a training is, and marks checkpoints that are whole."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        """Reports each step, and ends a training that has diverged."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs and state.max_steps:
                if not math.isfinite(float(logs["loss"])):
                    raise TrainingError(
                        f"the training has diverged: its loss is no number from step {state.global_step} on; take a "
                        "smaller learning rate"
                    )
                told = next(name for name in TOLD if name in logs)
                step = (
                    f"fine-tuning, step {state.global_step} of {state.max_steps}, {TOLD[told]} {float(logs[told]):.3f}"
                )
                report(step, begin + (end - begin) * state.global_step / state.max_steps)

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE_MARK).touch()

    return Watch()


@contextmanager
def quietly() -> Iterator[None]:
    """Without the bars and remarks of the libraries underneath."""
    import datasets

    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        with quiet():
            yield
    finally:
        if bars:
            datasets.enable_progress_bars()
