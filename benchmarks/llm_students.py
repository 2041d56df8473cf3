"""Language models as students, on a CPU: `python -m benchmarks.llm_students [--json FILE]`.

No pretrained model is needed: a small Qwen2 of random weights is trained by the very commands that a user runs, on a
task that can be learned from nothing (see `typo_task`). It shows that the machinery works, not how good it is on real
records; on a GPU, or with pretrained weights, the same commands apply unchanged.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.typo_task import label_table, save_small_llm
from distiller_udf.metrics.figures import measures
from distiller_udf.records import Records
from distiller_udf.scoring import score_records
from distiller_udf.students import load_student
from distiller_udf.students.llm import LLMStudent
from distiller_udf.students.llm.causal import load_causal
from distiller_udf.students.llm.contests import log_odds
from distiller_udf.students.llm.engine import Engine, Serving
from distiller_udf.students.llm.prompting import Prompter, select
from distiller_udf.students.llm.student import UNREADABLE
from distiller_udf.students.llm.transformers_engine import TransformersEngine
from distiller_udf.training.llm.rewards import reward

UNSEEN = 1000
"""Tuples that no student was trained on, by which all of them are judged."""

EXPLAINED = 50
"""Unseen pairs of which reasons are asked."""

SAMPLES = 4
GENERATED, NEVER = 64, 1_000_000
"""Free text goes on to the limit, as that of the paper's students does: the token that would end it does not exist."""
BATCHES = (1, 8, 64)
"""Tuples that are asked at once where speed is measured; `decode_speedup` is that of one tuple by itself.

The more there are at once, the more of the work is reading the prompts, which both ways do.
"""

REPLY_TOKENS = 2
"""As many as GRPO draws."""

WHOLE = "--rank 0 --max-length 256 --batch 32 --micro-batch 32 --checkpoint-steps 500"
LESSONS = {
    "sft": (4_000, f"{WHOLE} --epochs 3 --learning-rate 1.5e-3 --warmup-steps 60"),
    "half": (8_000, f"{WHOLE} --steps 80 --learning-rate 1.5e-3 --warmup-steps 40"),
    "explained": (1_500, f"{WHOLE} --epochs 1 --learning-rate 1e-3 --explanations"),
    "dpo": (1_000, "--max-length 256 --batch 32 --micro-batch 32 --learning-rate 1e-3"),
    "grpo": (
        1_500,
        "--rank 0 --max-length 256 --batch 128 --micro-batch 128 --learning-rate 5e-4 --schedule constant --steps 40 "
        f"--generations 8 --reply-tokens {REPLY_TOKENS}",
    ),
}
"""For each student how many labels it sees, and the options of its command."""

DISTILLER = [sys.executable, "-c", "from distiller_udf.cli import main; main()"]

console = Console(stderr=True)


@dataclass(frozen=True)
class Task:
    """Unseen tuples: a row a pair, `tuples` numbers them, `choices` has the right candidate of each (0 = none)."""

    labels: pa.Table
    left: Records
    right: Records
    tuples: np.ndarray
    choices: np.ndarray

    @classmethod
    def of(cls, labels: pa.Table) -> Task:
        options = [[option["record"] for option in row] for row in labels["options"].to_pylist()]
        tuples = np.repeat(np.arange(len(options)), [len(each) for each in options])
        queries = labels["query"].to_pylist()
        return cls(
            labels,
            Records.from_texts([queries[i] for i in tuples]),
            Records.from_texts([text for each in options for text in each]),
            tuples,
            np.asarray(labels["choice"].to_pylist()),
        )

    def asked(self) -> list[tuple[str, list[str]]]:
        """The tuples as texts."""
        options = self.labels["options"].to_pylist()
        return [
            (query, [o["record"] for o in each])
            for query, each in zip(self.labels["query"].to_pylist(), options, strict=True)
        ]


def main() -> None:
    """Train every kind of LLM student, judge them on unseen tuples, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llm_students_") as folder:
        figures = measured(Path(folder))
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measured(folder: Path) -> dict[str, Any]:
    """All figures."""
    started = time.monotonic()
    save_small_llm(folder / "base")
    task = Task.of(label_table(UNSEEN, seed=10_000))
    figures: dict[str, Any] = {"chance": raw_accuracy(untrained(folder / "base"), task)}
    supervised = trained(folder, "sft", "sft", ["--model", str(folder / "base")])
    figures["sft_select_accuracy"] = accuracy(supervised, task)
    figures["sft_pair_f1"] = pair_f1(supervised, task)
    explained = trained(folder, "explained", "sft", ["--from", str(supervised.folder)])
    figures["explained_select_accuracy"] = accuracy(explained, task)
    reasons = explained.explain(
        task.left.take(np.arange(EXPLAINED)), task.right.take(np.arange(EXPLAINED)), [True] * EXPLAINED
    )
    figures["explained_share"] = sum(UNREADABLE not in reason for reason in reasons) / EXPLAINED
    figures["explanation"] = reasons[0]
    half = trained(folder, "half", "sft", ["--model", str(folder / "base")])
    preferred = trained(folder, "dpo", "dpo", ["--from", str(half.folder)])
    figures |= gains("dpo", [(raw_accuracy(s, task), margin(s, task)) for s in (half, preferred)])
    rewarded = trained(folder, "grpo", "grpo", ["--from", str(half.folder)])
    rewards = [mean_reward(student, task) for student in (half, rewarded)]
    figures |= {"grpo_reward_before": rewards[0], "grpo_reward_after": rewards[1], "grpo_gain": rewards[1] - rewards[0]}
    speedups = {size: decode_speedup(supervised, task, size) for size in BATCHES}
    figures["decode_speedup"] = speedups[1]
    figures["decode_speedup_by_batch"] = {str(size): round(speedup, 1) for size, speedup in speedups.items()}
    figures["seconds"] = time.monotonic() - started
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()} | {
        "machine": machine()
    }


def gains(name: str, measured: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Accuracy and margin before and after, and what was gained."""
    (accuracy_before, margin_before), (accuracy_after, margin_after) = measured
    return {
        f"{name}_accuracy_before": accuracy_before,
        f"{name}_accuracy_after": accuracy_after,
        f"{name}_gain": accuracy_after - accuracy_before,
        f"{name}_margin_gain": margin_after - margin_before,
    }


def trained(folder: Path, name: str, method: str, options: Sequence[str]) -> LLMStudent:
    """The student that the real command trains from labels of its own."""
    count, own = LESSONS[name]
    labels = folder / f"{name}.parquet"
    pq.write_table(label_table(count, seed=list(LESSONS).index(name)), labels)
    command = ["train", method, "--labels", str(labels), "--students", str(folder / "students"), "--name", name]
    with console.status(f"distiller train {method} ({name})"), timed(name):
        done = subprocess.run(
            [*DISTILLER, *command, *own.split(), *options, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    student = load_student(json.loads(done.stdout)["path"])
    assert isinstance(student, LLMStudent)
    return student


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Say how long something took."""
    started = time.monotonic()
    yield
    console.print(f"{name}: {time.monotonic() - started:.0f} s")


def untrained(base: Path) -> tuple[Engine, Prompter]:
    """The model as it is before all training."""
    from distiller_udf.students.llm.causal import load_tokenizer

    tokenizer = load_tokenizer(str(base))
    return TransformersEngine.of_loaded(load_causal(str(base)).eval(), tokenizer, Serving()), Prompter(tokenizer, 256)


def accuracy(student: LLMStudent, task: Task) -> float:
    """The share of tuples that are decided rightly, as `er_select` decides them."""
    _, choice = score_records(student, task.left, task.right, task.tuples)
    return right(choice, student.info.choice_threshold, task)


def pair_f1(student: LLMStudent, task: Task) -> float:
    """F1 over all pairs, each decided by itself, as `er_match` decides it."""
    matched = student.score(task.left, task.right) >= student.info.threshold
    first = np.searchsorted(task.tuples, np.arange(len(task.choices)))
    truth = np.zeros(len(matched), dtype=bool)
    truth[(first + task.choices - 1)[task.choices > 0]] = True
    return float(measures((matched & truth).sum(), matched.sum(), truth.sum())["f1"])


def raw_accuracy(student: LLMStudent | tuple[Engine, Prompter], task: Task) -> float:
    """The same by the model's own likeliest answer, without calibration and threshold."""
    return right(np.concatenate(asked(student, task)), 0.0, task)


def right(scores: np.ndarray, threshold: float, task: Task) -> float:
    """The share of tuples whose best candidate, if it reaches the threshold, is the right one."""
    found = []
    for number in range(len(task.choices)):
        own = scores[task.tuples == number]
        found.append(int(own.argmax()) + 1 if own.max() >= threshold else 0)
    return float((np.asarray(found) == task.choices).mean())


def asked(student: LLMStudent | tuple[Engine, Prompter], task: Task) -> list[np.ndarray]:
    """The log odds of every tuple's candidates."""
    from distiller_udf.prompts import Asking

    engine, prompter = student if isinstance(student, tuple) else (student.engine, student.prompter)
    return log_odds(task.asked(), engine, prompter, Asking("select", "token"))


def margin(student: LLMStudent, task: Task) -> float:
    """By how much the log odds of the right answer are above those of the best other one, on average."""
    margins = []
    for odds, choice in zip(asked(student, task), task.choices, strict=True):
        answers = np.concatenate([[0.0], odds])
        margins.append(answers[choice] - np.delete(answers, choice).max())
    return float(np.mean(margins))


def mean_reward(student: LLMStudent, task: Task) -> float:
    """The mean reward of replies that are drawn as freely as GRPO draws them."""
    import torch

    engine, prompter = student.engine, student.prompter
    assert isinstance(engine, TransformersEngine)
    torch.manual_seed(0)
    rewards = []
    for (query, candidates), choice in zip(task.asked(), task.choices, strict=True):
        tokens = torch.tensor([prompter.tokens(select(query, candidates))], device=engine.loaded.device)
        written = engine.loaded.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=True,
            top_k=0,
            num_return_sequences=SAMPLES,
            max_new_tokens=REPLY_TOKENS,
            pad_token_id=prompter.tokenizer.pad_token_id,
            eos_token_id=prompter.end,
        )
        texts = prompter.tokenizer.batch_decode(written[:, tokens.shape[1] :], skip_special_tokens=True)
        rewards += [reward(text, int(choice), len(candidates)) for text in texts]
    return math.fsum(rewards) / len(rewards)


def decode_speedup(student: LLMStudent, task: Task, size: int) -> float:
    """How many times longer `size` tuples take when 64 tokens of free text are generated: the best of five runs."""
    engine, prompter = student.engine, student.prompter
    assert isinstance(engine, TransformersEngine)
    prompts = [prompter.prompt(select(*each)) for each in task.asked()[:size]]
    times: dict[str, list[float]] = {"constrained": [], "generated": []}
    for _ in range(5):
        for name in times:
            started = time.perf_counter()
            if name == "constrained":
                engine.label_log_probabilities(prompts)
            else:
                engine.write(prompts, GENERATED, NEVER)
            times[name].append(time.perf_counter() - started)
    return min(times["generated"]) / min(times["constrained"])


def machine() -> str:
    """What the figures were measured on."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{device}, {torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
