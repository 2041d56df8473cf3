"""The teachers against a real vLLM: a server on loopback, and the same model in a process of its own.

The model has random weights, so that everything right about its replies is vLLM's doing and ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from real_servers import Server, free_port, serving, tuples_table
from tiny_model import CONTEXT, save_tiny_model

from distiller_udf.errors import TeacherRefused
from distiller_udf.labels import LabelStore, Run, Tuples, answer_questions
from distiller_udf.prompts import Asking, Question, messages, token_labels
from distiller_udf.records import record_text
from distiller_udf.teachers.openai_compatible import OpenAICompatible

pytestmark = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed here; make test-vllm runs these tests"
)

ENGINE = {"dtype": "float32", "enforce_eager": True}
# Without this a model of random weights may write blanks between the brackets for ever.
STRUCTURED = {"backend": "xgrammar", "disable_any_whitespace": True}
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
TALKATIVE = {"temperature": 1, "seed": 3, "max_tokens": 1500}
"""The likeliest letters of a random model go round in circles; drawn ones come to an end."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vllm") / "tiny"
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    port = free_port()
    options = {
        "--model": str(model),
        "--served-model-name": "tiny",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": "float32",
        "--structured-outputs-config": json.dumps(STRUCTURED),
    }
    given = [part for option in options.items() for part in option]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", *given]
    with serving(command, port, model.parent / "server.log", ENVIRONMENT) as running:
        yield running


def teacher(server: Server, model: str = "tiny", **options: Any) -> OpenAICompatible:
    return OpenAICompatible(model, base_url=server.base_url, timeout=300, concurrency=4, **options)


def label(folder: Path, *teachers: Any, tuples: pa.Table | None = None) -> list[dict[str, Any]]:
    with LabelStore(folder / "labels.sqlite") as store:
        labels = Run(teachers, store).label(tuples_table() if tuples is None else tuples)
    return list(labels.to_pylist())


def check_token_labels(labels: Sequence[dict[str, Any]]) -> None:
    """The probabilities of all candidates and none are a distribution, and the choice is its likeliest part."""
    for row in labels:
        assert row["error"] is None
        assert len(row["probabilities"]) == len(row["options"])
        none = 1 - sum(row["probabilities"])
        assert none > -1e-6
        assert row["confidence"] == pytest.approx(max(none, *row["probabilities"]), abs=1e-6)
        assert row["confidence"] == pytest.approx([none, *row["probabilities"]][row["choice"]], abs=1e-6)
        assert sum(p > 1e-6 for p in row["probabilities"]) > 1, "a random model is never quite sure"


def test_a_schema_holds_replies_to_their_form(server: Server, tmp_path: Path) -> None:
    asked = teacher(server, asking=Asking(reply="answer"))
    labels = label(tmp_path, asked)
    assert len(labels) == 6
    for row in labels:
        assert row["error"] is None
        assert row["choice"] in range(len(row["options"]) + 1)
        assert row["right_id"] == (row["options"][row["choice"] - 1]["id"] if row["choice"] else None)
        assert row["input_tokens"] > 100
        assert 0 < row["output_tokens"] <= 20
    assert asked._requests.shape == frozenset(), "vLLM takes every part of our requests"


def test_explanations_are_read_or_were_cut_off(server: Server, tmp_path: Path) -> None:
    asked = teacher(server, asking=Asking(reply="explanation"), parameters=TALKATIVE)
    labels = label(tmp_path, asked)
    answered = [row for row in labels if row["choice"] is not None]
    assert answered
    assert all(row["explanation"] and row["choice"] <= len(row["options"]) for row in answered)
    assert all("cut off at max_tokens" in row["error"] for row in labels if row["choice"] is None)


def test_one_token_gives_the_model_s_own_probabilities(server: Server, model: Path, tmp_path: Path) -> None:
    labels = label(tmp_path, teacher(server, asking=Asking(reply="token")))
    check_token_labels(labels)
    for row, expected in zip(labels, token_probabilities(model), strict=True):
        assert row["probabilities"] == pytest.approx(expected[1:], abs=0.01)
        assert row["choice"] == max(range(len(expected)), key=expected.__getitem__)


def token_probabilities(model: Path) -> list[list[float]]:
    """What the weights say of none and of every candidate, without vLLM."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, weights = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    found = []
    for question in Tuples.from_table(tuples_table()).questions:
        question = replace(question, reply="token")
        prompt = tokenizer.apply_chat_template(messages(question), tokenize=False, add_generation_prompt=True)
        with torch.inference_mode():
            logits = weights(torch.tensor([tokenizer.encode(prompt)])).logits[0, -1]
        names = [tokenizer.encode(name)[0] for name in token_labels(question)]
        found.append(torch.softmax(logits[names], 0).tolist())
    return found


def test_pairs_are_asked_about_by_themselves(server: Server, tmp_path: Path) -> None:
    labels = label(tmp_path, teacher(server, asking=Asking(ask="match", reply="token", orders=2)))
    assert {row["ask"] for row in labels} == {"match"}
    for row in labels:
        assert all(0 < p < 1 for p in row["probabilities"])
        best = max(row["probabilities"])
        assert row["choice"] == (1 + row["probabilities"].index(best) if best > 0.5 else 0)
    assert server.asked() >= 2 * sum(len(row["options"]) for row in labels)


def test_the_reason_is_asked_for_afterwards(server: Server, tmp_path: Path) -> None:
    before = server.asked()
    # Limits the talk: a reason that is cut off is no reason, and the answer stands without it.
    asked = teacher(server, asking=Asking(reply="answer", justify=True), parameters=TALKATIVE)
    labels = label(tmp_path, asked)
    assert all(row["choice"] is not None for row in labels)
    assert any(row["explanation"] for row in labels)
    assert server.asked() - before >= 2 * len(labels)


def test_a_second_run_asks_nothing(server: Server, tmp_path: Path) -> None:
    asking = Asking(reply="token", orders=2)
    first = label(tmp_path, teacher(server, asking=asking))
    before = server.asked()
    assert label(tmp_path, teacher(server, asking=asking)) == first
    assert server.asked() == before > 0


def test_an_unknown_model_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(TeacherRefused, match="no-such-model"):
        label(tmp_path, teacher(server, "no-such-model"))


def test_a_question_that_is_too_long_fails_alone(server: Server, tmp_path: Path) -> None:
    endless = record_text({"name": "x1 " * CONTEXT})
    short = record_text({"name": "x"})
    questions = [Question(short, (text,), reply="answer") for text in (endless, short, record_text({"name": "y"}))]
    asked = teacher(server)
    with LabelStore(tmp_path / "labels.sqlite") as store:
        answers = answer_questions(questions, teacher=asked, store=store)
    assert [answer.failed for answer in answers] == [True, False, False]
    assert "refused" in str(answers[0].error)
    assert asked._requests.shape == frozenset(), "what is wrong with one question is not taken for the server's doing"


IN_PROCESS = """
import json, sys
from pathlib import Path

from real_servers import tuples_table
from distiller_udf.labels import Run
from distiller_udf.labels import LabelStore
from distiller_udf.prompts import Asking
from distiller_udf.teachers.vllm import VLLMTeacher


def main(folder: Path, engine: dict) -> None:
    result = {}
    llm = None
    for reply in ("token", "answer"):
        teacher = VLLMTeacher(str(folder), asking=Asking(reply=reply), engine=engine, max_model_len=4096)
        teacher._llm = llm  # loaded once
        with LabelStore(folder.parent / "in_process.sqlite") as store:
            table = Run([teacher], store).label(tuples_table())
            unloaded = VLLMTeacher(str(folder), asking=Asking(reply=reply))
            again = Run([unloaded], store).label(tuples_table())
        llm = teacher._llm
        result[reply] = table.to_pylist()
        assert again.to_pylist() == result[reply]
        assert unloaded._llm is None  # all of it came from the store
    (folder.parent / "in_process.json").write_text(json.dumps(result, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
"""


def test_in_process_and_server_agree(server: Server, model: Path, tmp_path: Path) -> None:
    engine = {**ENGINE, "structured_outputs_config": STRUCTURED}
    script = tmp_path / "in_process.py"
    script.write_text(IN_PROCESS)
    found = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    ran = subprocess.run(
        [sys.executable, str(script), str(model), json.dumps(engine)],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(part for part in found if part)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    result = json.loads((model.parent / "in_process.json").read_text())
    check_token_labels(result["token"])
    for reply in ("token", "answer"):
        served = label(tmp_path, teacher(server, asking=Asking(reply=reply)))
        assert [row["choice"] for row in result[reply]] == [row["choice"] for row in served]
    for mine, theirs in zip(
        result["token"], label(tmp_path, teacher(server, asking=Asking(reply="token"))), strict=True
    ):
        assert mine["probabilities"] == pytest.approx(theirs["probabilities"], abs=0.01)
