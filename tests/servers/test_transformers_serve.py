"""The teacher against a real `transformers serve`, which knows neither JSON schemas nor log-probabilities.

It takes a JSON schema and asked-for log-probabilities without a word and ignores them, and refuses what vLLM calls
`structured_outputs`. The model has learned a few replies by heart; to other questions it says anything at all.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from real_servers import Server, free_port, serving, tuples_table
from tiny_model import save_tiny_model

from distiller_udf.labels import LabelStore, Run, Tuples
from distiller_udf.prompts import Asking, messages
from distiller_udf.teachers.openai_compatible import OpenAICompatible

MISSING = [name for name in ("transformers", "fastapi", "uvicorn", "accelerate") if find_spec(name) is None]
COMMAND = shutil.which("transformers", path=str(Path(sys.executable).parent))

pytestmark = pytest.mark.skipif(
    bool(MISSING) or COMMAND is None, reason="transformers serve is not installed here; make test-vllm runs these tests"
)

REPLIES = {"explanation": '{"explanation": "same model", "choice": 1, "confidence": 0.9}', "token": "A"}
LEARNED = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transformers") / "tiny"
    questions = Tuples.from_table(tuples_table(LEARNED)).questions
    lessons = [(messages(replace(q, reply=kind)), said) for q in questions for kind, said in REPLIES.items()]
    save_tiny_model(folder, lessons)
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--log-level", "info"]
    log, environment = model.parent / "server.log", {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    with serving([str(COMMAND), "serve", *options], port, log, environment) as running:
        yield running


def label(server: Server, model: str | Path, folder: Path, tuples: pa.Table, **options: Any) -> list[dict[str, Any]]:
    """Label with a model, which this server calls by its folder."""
    asked = OpenAICompatible(
        str(model), name="tiny", base_url=server.base_url, timeout=300, concurrency=2, first_wait=0.05, **options
    )
    with LabelStore(folder / "labels.sqlite") as store:
        return list(Run([asked], store).label(tuples).to_pylist())


def test_json_is_read_without_a_schema(server: Server, model: Path, tmp_path: Path) -> None:
    labels = label(server, model, tmp_path, tuples_table(LEARNED))
    assert [row["choice"] for row in labels] == [1] * LEARNED
    assert [row["explanation"] for row in labels] == ["same model"] * LEARNED
    assert [row["confidence"] for row in labels] == [0.9] * LEARNED
    assert all(row["input_tokens"] > 100 and row["output_tokens"] > 5 for row in labels)


def test_one_token_is_read_without_log_probabilities(server: Server, model: Path, tmp_path: Path) -> None:
    labels = label(server, model, tmp_path, tuples_table(LEARNED), asking=Asking(reply="token"))
    assert [row["choice"] for row in labels] == [1] * LEARNED
    assert [row["right_id"] for row in labels] == [row["options"][0]["id"] for row in labels]
    assert [row["probabilities"] for row in labels] == [None] * LEARNED
    assert "422" in server.log.read_text(encoding="utf-8"), "this server has learned what structured_outputs are"


def test_half_a_reply_abstains_with_its_reason(server: Server, model: Path, tmp_path: Path) -> None:
    labels = label(server, model, tmp_path, tuples_table(LEARNED), parameters={"max_tokens": 1})
    assert [row["choice"] for row in labels] == [None] * LEARNED
    assert all("cut off at max_tokens" in row["error"] for row in labels)
    assert all(row["output_tokens"] >= 5 for row in labels), "an abstention has been paid for"


def test_a_second_run_asks_nothing(server: Server, model: Path, tmp_path: Path) -> None:
    first = label(server, model, tmp_path, tuples_table(LEARNED))
    before = server.asked()
    assert label(server, model, tmp_path, tuples_table(LEARNED)) == first
    assert server.asked() == before > 0


def test_an_unknown_model_answers_nothing_and_says_why(
    server: Server, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # This server says no more than "Internal Server Error", which might be about the question.
    rows = label(server, model.parent / "no-such-model", tmp_path, tuples_table(1))
    assert rows == []
    assert "no answer: the server said 500" in caplog.text
