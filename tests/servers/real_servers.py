"""Real servers on loopback, started for a test and ended after it, and tuples to ask them about."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

START_SECONDS = 300.0
_END_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """A running server; its log shows what it was asked."""

    address: str
    log: Path

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"

    def asked(self) -> int:
        """How many chat requests the server has had so far."""
        return self.log.read_text(encoding="utf-8", errors="replace").count("POST /v1/chat/completions")


def free_port() -> int:
    """A port on loopback where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], port: int, log: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Run `command` until the block ends, once its /health answers; fails with the log's end when it never does."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(command),
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # so that its own children end with it
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_healthy(f"{address}/health", process, log)
        yield Server(address, log)
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
                process.wait(_END_SECONDS)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    said = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-60:])
    pytest.fail(f"the server never became healthy (exit status {process.poll()}); its log ends with:\n{said}")


def tuples_table(count: int = 6) -> pa.Table:
    """Rows of `er_tuples`: products, the one at row i with i % 3 + 2 candidates."""
    makers = "Sony Canon Nikon Bosch Philips Garmin Linksys Toshiba".split()

    def product(i: int) -> dict[str, str]:
        return {"name": f"{makers[i % 8]} model {chr(65 + i % 26)}{100 + 7 * i}", "price": f"{20 + 13 * i}.00"}

    return pa.Table.from_pylist(
        [
            {
                "left_source": "shop",
                "left_id": i,
                "query": product(i),
                "candidates": [
                    {"source": "maker", "id": 10 * i + j, "record": product(i + 3 * j)} for j in range(i % 3 + 2)
                ],
            }
            for i in range(count)
        ]
    )
