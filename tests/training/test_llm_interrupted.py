"""Fine-tunings that end before their time: killed, diverged, or out of disk."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distiller_udf.errors import TrainingError
from distiller_udf.registry import Registry
from distiller_udf.training.fit.llm.trainer import WHOLE_MARK, last_checkpoint
from distiller_udf.training.versions import Recipe, publish_student
from tests.small_llm import QUICK, needs_llm

pytestmark = [needs_llm, pytest.mark.usefixtures("one_thread")]

OWN: dict[str, dict[str, Any]] = {
    "sft": {"epochs": 4},
    "dpo": {"steps": 12},
    "grpo": {"steps": 12, "generations": 4, "reply_tokens": 4},
}
TRAIN = """
import json, sys, torch
from pathlib import Path
import pyarrow.parquet as pq
from distiller_udf.registry import Registry
from distiller_udf.training.versions import publish_student
from distiller_udf.training.versions import Recipe
torch.set_num_threads(1)
labels, students, settings = sys.argv[1:]
publish_student(pq.read_table(labels), Registry(Path(students)), Recipe("llm", json.loads(settings)))
"""


def killed(labels: pa.Table, registry: Registry, settings: dict[str, Any]) -> Path:
    """The checkpoints of a training in another process that was killed as soon as one of them was whole."""
    registry.root.mkdir()
    pq.write_table(labels, registry.root / "labels.parquet")
    arguments = [str(registry.root / "labels.parquet"), str(registry.root), json.dumps(settings)]
    process = subprocess.Popen([sys.executable, "-c", TRAIN, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (found := list(registry.folder.glob(f".work-*/checkpoints/checkpoint-*/{WHOLE_MARK}"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert registry.names() == []
    return found[0].parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", OWN)
def test_a_killed_training_goes_on_to_the_same_weights(
    method: str, base: str, taught: pa.Table, tmp_path: Path
) -> None:
    settings = {**QUICK, "model": base, "method": method, "rank": 4, "checkpoint_steps": 2, **OWN[method]}
    whole = publish_student(taught, Registry(tmp_path / "whole"), Recipe("llm", settings))
    registry = Registry(tmp_path / "killed")
    killed(taught, registry, settings)
    steps: list[str] = []
    resumed = publish_student(
        taught, registry, Recipe("llm", settings), progress=lambda step, share: steps.append(step)
    )
    assert not any(step.startswith("fine-tuning, step 1 of") for step in steps)
    assert any(step.startswith("fine-tuning, step") for step in steps)
    assert resumed.info == whole.info  # the manifest holds a digest of every file


@pytest.mark.slow
def test_a_checkpoint_that_was_being_written_is_not_gone_on_from(base: str, taught: pa.Table, tmp_path: Path) -> None:
    settings = {**QUICK, "model": base, "rank": 4, "checkpoint_steps": 2, "epochs": 4}
    registry = Registry(tmp_path / "killed")
    checkpoints = killed(taught, registry, settings)
    newest = max(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    half = checkpoints / "checkpoint-999"
    newest.rename(half)
    (half / WHOLE_MARK).unlink(missing_ok=True)
    (half / "adapter_model.safetensors").write_bytes(b"half")
    left = last_checkpoint(checkpoints)
    assert left is None or left.name != half.name
    assert not half.exists()
    assert publish_student(taught, registry, Recipe("llm", settings)).trained


def test_a_training_that_diverges_is_no_student(base: str, taught: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    settings = {**QUICK, "model": base, "rank": 0, "checkpoint_steps": 1, "learning_rate": 1e30, "warmup_steps": 0}
    with pytest.raises(TrainingError, match=r"has diverged: its loss is no number.*smaller learning rate"):
        publish_student(taught, registry, Recipe("llm", settings))
    assert registry.names() == []
    assert not list(registry.folder.glob(".work-*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:668] . PytorchStreamWriter failed writing file data/3"),
    ],
)
def test_a_full_disk_keeps_the_checkpoint_before(
    error: Exception, base: str, taught: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import SFTTrainer

    written = SFTTrainer._save_checkpoint
    registry = Registry(tmp_path)
    settings = {**QUICK, "model": base, "rank": 4, "checkpoint_steps": 1}

    def full(trainer: Any, *args: Any, **given: Any) -> None:
        if trainer.state.global_step > 1:
            raise error
        written(trainer, *args, **given)

    with monkeypatch.context() as patch:
        patch.setattr(SFTTrainer, "_save_checkpoint", full)
        with pytest.raises(TrainingError, match=r"checkpoint could not be written to .*free some space"):
            publish_student(taught, registry, Recipe("llm", settings))
    steps: list[str] = []
    publish_student(taught, registry, Recipe("llm", settings), progress=lambda step, _: steps.append(step))
    assert next(step for step in steps if step.startswith("fine-tuning")).startswith("fine-tuning, step 2 of")
