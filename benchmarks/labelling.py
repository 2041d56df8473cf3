"""Labelling: python -m benchmarks.labelling [--json FILE] [--data DIR] [--quick].

How well labelling uses a server's slots, what a kill costs it, what faults do to it, and whether its parser reads the
replies that others gave up on. The server is one of our own (`benchmarks.llm_server`), in a process of its own.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.faults import FIRST_WAIT, RATE, TIMEOUT, label_under
from benchmarks.kills import LATENCY as KILL_LATENCY
from benchmarks.kills import SLOTS as KILL_SLOTS
from benchmarks.kills import Log, kill_again_and_again
from benchmarks.label_worker import MODEL, tuples
from benchmarks.llm_server import FAULTS, RETRY_AFTER_SECONDS
from benchmarks.servers import running
from distiller_udf.labels import LabelStore, Progress, Run
from distiller_udf.prompts import Question, read_reply
from distiller_udf.teachers.openai_compatible import OpenAICompatible

SLOTS, LATENCY = 64, 0.2
WARM_UP = 2 * SLOTS


def slot_use(seconds: float, folder: Path) -> dict[str, float]:
    """Answers a second over what the slots allow, through `Run.label` and a store on disk.

    Counted from the moment the first request arrives at the server to the moment the last answer is stored. A short run
    before it loads what is loaded once.
    """
    questions = round(seconds * SLOTS / LATENCY)
    table = tuples(WARM_UP + questions)
    stored_at = 0

    def progress(state: Progress, /) -> None:
        nonlocal stored_at
        stored_at = time.monotonic_ns()

    log = folder / "log"
    with running(slots=SLOTS, latency=LATENCY, log=log) as url, LabelStore(folder / "labels.sqlite") as store:
        teacher = OpenAICompatible(MODEL, base_url=url, api_key_env="NO_KEY", concurrency=SLOTS, timeout=10.0)
        Run([teacher], store).label(table.slice(0, WARM_UP))
        cpu = time.process_time()
        labels = Run([teacher], store).label(table.slice(WARM_UP), progress=progress)
        cpu = time.process_time() - cpu
    times = Log.read(log)
    first = min(moment for number, moments in times.arrived.items() for moment in moments if number >= WARM_UP)
    late = [
        (sent[0] - times.arrived[number][0]) / 1e6 - LATENCY * 1e3
        for number, sent in times.sent.items()
        if number >= WARM_UP
    ]
    rate = labels.num_rows / ((stored_at - first) / 1e9)
    return {
        "slot_use": rate / (SLOTS / LATENCY),
        "answers_per_second": rate,
        "ideal_per_second": SLOTS / LATENCY,
        "answers": labels.num_rows,
        "cpu_ms_an_answer": cpu / labels.num_rows * 1e3,
        "server_late_ms": sum(late) / len(late),
        "load_average": os.getloadavg()[0],
    }


def read_broken_replies(data: Path) -> dict[str, Any]:
    """How far the parser agrees with the answers that the recorded teachers' broken replies were read as."""
    outcomes: Counter[str] = Counter()
    for file in sorted(data.rglob("teacher_labels.parquet")):
        for row in pq.read_table(file, columns=["options", "answer", "unparsed"]).to_pylist():
            if row["unparsed"] is not None:
                answer = read_reply(row["unparsed"], Question("{}", ("{}",) * len(row["options"])))
                kind = (
                    "abstained" if answer.choice is None else "agreed" if answer.choice == row["answer"] else "differ"
                )
                outcomes[kind] += 1
    if not outcomes:
        return {"skipped": f"{data} has no broken replies of a teacher (teacher_labels.parquet, column unparsed)"}
    read = outcomes["agreed"] + outcomes["differ"]
    return {
        "replies": outcomes.total(),
        "agreement": outcomes["agreed"] / read if read else 0.0,
        "differing": outcomes["differ"],
        "abstained": outcomes["abstained"] / outcomes.total(),
    }


def measure(data: Path, quick: bool, seed: int, say: Console) -> dict[str, Any]:
    """All figures, each part in a folder of its own."""
    with tempfile.TemporaryDirectory() as base:

        def folder(name: str) -> Path:
            path = Path(base) / name
            path.mkdir()
            return path

        say.print(f"{SLOTS} slots, {LATENCY:g} s an answer")
        figures: dict[str, Any] = slot_use(5.0 if quick else 20.0, folder("slots"))
        kills, questions = (8, 600) if quick else (50, 2_800)
        say.print(f"{kills} kills of a run with {questions:,} questions")
        figures |= kill_again_and_again(kills, questions, seed, folder("kills"), say.print)
        figures["faults"] = {}
        for number, fault in enumerate(FAULTS):
            say.print(f"a fifth of all calls: {fault}")
            figures["faults"][fault] = label_under(fault, 60 if quick else 300, seed + number, folder(f"fault{number}"))
        figures["unexplained"] = sum(result["unexplained"] for result in figures["faults"].values())
        figures["parser"] = read_broken_replies(data)
        return figures


def show(figures: dict[str, Any], console: Console) -> None:
    """Print the figures, and how they were made."""
    table = Table(title="Labelling")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        if not isinstance(value, dict):
            table.add_row(name, f"{value:,.3f}" if isinstance(value, float) else str(value))
    for name, value in figures["parser"].items():
        table.add_row(f"parser: {name}", f"{value:,.4f}" if isinstance(value, float) else str(value))
    console.print(table)
    faults = Table(
        title=f"Faults at {RATE:.0%} of calls, {next(iter(figures['faults'].values()))['questions']} questions each"
    )
    faults.add_column("fault")
    names = ("calls", "answered", "abstained", "failed", "wrong", "unexplained")
    for name in names:
        faults.add_column(name, justify="right")
    for fault, result in figures["faults"].items():
        faults.add_row(fault, *(str(result[name]) for name in names))
    console.print(faults)
    for fault, result in figures["faults"].items():
        if "message" in result:
            console.print(f"{fault}: stopped after {result['stopped_after_calls']} calls: {result['message']}")
    console.print(
        f"slot_use: {SLOTS} slots, {LATENCY:g} s an answer, from the first request's arrival at the server to the last "
        f"answer stored. Kills: {KILL_SLOTS} slots, {KILL_LATENCY:g} s. Faults: timeout {TIMEOUT:g} s and first_wait "
        f"{FIRST_WAIT:g} s instead of 120 s and 0.5 s; Retry-After: {RETRY_AFTER_SECONDS:g} s."
    )


@click.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default="../shared/benchmarks")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--quick", is_flag=True, help="Shorter runs, fewer kills and questions.")
@click.option("--seed", default=0, show_default=True, help="Decides when processes are killed and which calls fail.")
def main(data: Path, json_file: Path | None, quick: bool, seed: int) -> None:
    """Measure labelling against a server of our own; broken replies are read from DATA."""
    figures = measure(data, quick, seed, Console(stderr=True))
    show(figures, Console())
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
