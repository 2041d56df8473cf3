"""Starting and ending the chat server that the labelling benchmark asks, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(
    *, slots: int, latency: float, fault: str | None = None, rate: float = 0.0, seed: int = 0, log: Path | None = None
) -> Iterator[str]:
    """A server of `benchmarks.llm_server` until the block ends: its base URL."""
    settings = {"slots": slots, "latency": latency, "fault": fault, "rate": rate, "seed": seed}
    command = [sys.executable, "-m", "benchmarks.llm_server", json.dumps({**settings, "log": log and str(log)})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()
