"""What fine-tunings start from: a language model that knows nothing, and labels that it could learn."""

from __future__ import annotations

import pyarrow as pa
import pytest

from benchmarks.typo_task import label_table, save_small_llm


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the language model."""
    folder = tmp_path_factory.mktemp("base") / "model"
    save_small_llm(folder, width=64, layers=2)
    return str(folder)


@pytest.fixture(scope="session")
def taught() -> pa.Table:
    """Two dozen labelled tuples."""
    return label_table(24, seed=1)
