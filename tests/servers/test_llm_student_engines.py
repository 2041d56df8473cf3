"""An LLM student says the same in transformers, in vLLM in this process, and behind a vLLM server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from real_servers import Server, free_port, serving

from benchmarks.typo_task import save_small_llm
from distiller_udf.errors import StudentError
from distiller_udf.prompts import why
from distiller_udf.records import Records, record_text
from distiller_udf.students import load_student
from distiller_udf.students.base import StudentInfo
from distiller_udf.students.llm import LLMStudent, Serving, Weights

pytestmark = pytest.mark.skipif(
    find_spec("vllm") is None or find_spec("peft") is None,
    reason="vLLM and peft are not installed here; make test-vllm runs these tests",
)

ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
NAMES = [f"badofagu{i}" for i in range(24)]
CLOSE = 5e-3
"""Log odds: engines add up in other orders."""

IN_PROCESS = """
import json, sys
from pathlib import Path
from test_llm_student_engines import answers, explained
from distiller_udf.students import load_student
from distiller_udf.students.llm import Serving
if __name__ == "__main__":
    student = load_student(sys.argv[1], Serving(engine="vllm", arguments={"dtype": "float32", "enforce_eager": True}))
    Path(sys.argv[2]).write_text(json.dumps([answers(student), explained(student)]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student whose base model and adapter are random, with opinions."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    home = tmp_path_factory.mktemp("llm")
    save_small_llm(home / "base", width=128, layers=2, head=64)
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(home / "base")
    base.lm_head.weight.data.normal_(std=0.3)
    base.save_pretrained(home / "base")
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    weights = home / "weights"
    get_peft_model(base, config).save_pretrained(weights / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (weights / "tokenizer").mkdir(exist_ok=True)
        (weights / "tokenizer" / name).write_bytes((home / "base" / name).read_bytes())
    info = StudentInfo("llm", "tiny-llm", ("name",), ("name",), 0.5, 0.5)
    told = Weights(str(home / "base"), "", 4, 512, "select", 19, 1.0, 0.0, 1.0, 0.0, True)
    (home / "student").mkdir()
    LLMStudent(info, weights, told, Serving()).save(home / "student")
    info.write(home / "student")
    return home / "student"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    base = json.loads((folder / "model.json").read_text())["base_model"]
    port = free_port()
    options = {
        "--model": base,
        "--tokenizer": str(folder / "tokenizer"),
        "--served-model-name": "base",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": "float32",
        "--max-model-len": "512",
        "--max-lora-rank": "8",
        "--lora-modules": f"tiny-llm={folder / 'adapter'}",
    }
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", "--enable-lora"]
    command += [part for option in options.items() for part in option]
    with serving(command, port, folder.parent / "server.log", ENVIRONMENT) as running:
        yield running


def answers(student: LLMStudent) -> list[float]:
    """Log odds of a tuple of 24, which takes heats and a final, of one of 3, and of lone pairs."""
    left = Records.from_dicts([{"name": name} for name in ["badofagu"] * 24 + ["kokunupe"] * 3 + NAMES[:4]])
    right = Records.from_dicts([{"name": name} for name in NAMES + NAMES[:3] + NAMES[4:8]])
    tuples = np.concatenate([np.zeros(24, int), np.ones(3, int), np.arange(2, 6)])
    return student.raw_log_odds(left, right, tuples).tolist()


def explained(student: LLMStudent) -> list[str]:
    """What the model writes about a pair: its likeliest tokens."""
    prompter = student.prompter
    prompt = prompter.prompt(why(record_text({"name": NAMES[0]}), [record_text({"name": NAMES[1]})], 1))
    return student.engine.write([prompt], 12, prompter.end)


@pytest.fixture(scope="module")
def expected(folder: Path) -> tuple[list[float], list[str]]:
    student = load_student(folder)
    assert isinstance(student, LLMStudent)
    found = answers(student)
    assert np.std(found) > 0.1  # opinions
    return found, explained(student)


def test_a_vllm_server_says_the_same(folder: Path, server: Server, expected: tuple[list[float], list[str]]) -> None:
    student = load_student(folder, Serving(engine="server", base_url=server.base_url))
    assert isinstance(student, LLMStudent)
    np.testing.assert_allclose(answers(student), expected[0], atol=CLOSE)
    assert explained(student) == expected[1]


def test_vllm_in_process_says_the_same(folder: Path, expected: tuple[list[float], list[str]], tmp_path: Path) -> None:
    script = tmp_path / "in_process.py"
    script.write_text(IN_PROCESS)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    done = subprocess.run(
        [sys.executable, script, folder, tmp_path / "said.json"],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    odds, sentences = json.loads((tmp_path / "said.json").read_text())
    np.testing.assert_allclose(odds, expected[0], atol=CLOSE)
    assert sentences == expected[1]


def test_a_server_without_the_student_says_what_it_needs(folder: Path, server: Server) -> None:
    student = load_student(folder, Serving(engine="server", base_url=server.base_url, served_as="another"))
    with pytest.raises(StudentError, match="must be a vLLM server that knows the model 'another'"):
        student.score(*(Records.from_dicts([{"name": name}]) for name in NAMES[:2]))
