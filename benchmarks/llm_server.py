"""A chat server to measure labelling against: python -m benchmarks.llm_server SETTINGS, a JSON object.

It has so many slots, takes so long for a reply, and has faults; it answers as OpenAI's API does. Every question has one
right answer, known to whoever reads its number; the explanation names the call, so that two replies to one question can
be told apart. The port is the first line on stdout; the file `log` gets a line for every request that arrived (`<`) and
every right reply that was sent (`>`): question, call, time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import struct
import sys
import time
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

FAULTS = (
    "429 with Retry-After",
    "429 without Retry-After",
    "500",
    "503",
    "reset mid-body",
    "body cut short",
    "trickle",
    "no reply",
    "invalid JSON",
    "answer out of range",
    "answer of 1 MB",
    "wrong content type",
    "empty choice list",
    "401",
    "unknown model (404)",
)

RETRY_AFTER_SECONDS = 0.1
TRICKLE_SECONDS = 0.05
CANDIDATES = 5

_NUMBER = re.compile(r"left record (\d+)")


def right_choice(number: int) -> int:
    """The right answer to the question about left record `number`."""
    return number * 7 % (CANDIDATES + 1)


@dataclass(frozen=True)
class Reply:
    """One response: `cut` leaves out its end, `reset` breaks the connection there, `trickle` is seconds a byte."""

    body: bytes
    status: str = "200 OK"
    headers: str = ""
    kind: str = "application/json"
    cut: bool = False
    reset: bool = False
    trickle: float = 0.0

    def head(self) -> bytes:
        return (
            f"HTTP/1.1 {self.status}\r\nContent-Type: {self.kind}\r\nContent-Length: {len(self.body)}\r\n"
            f"{self.headers}\r\n"
        ).encode()


class ChatServer:
    """`slots` calls at once, `latency` seconds each; a share `rate` of calls meets the fault."""

    def __init__(
        self, slots: int, latency: float, fault: str | None, rate: float, seed: int, log: TextIOWrapper | None
    ) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._latency = latency
        self._fault, self._rate, self._random = fault, rate, random.Random(seed)
        self._log = log
        self._calls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All requests of one connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                found = _NUMBER.search(body.decode())
                await self._answer(int(found[1]) if found else -1, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()

    async def _answer(self, number: int, writer: asyncio.StreamWriter) -> None:
        self._calls += 1
        call = self._calls
        faulty = self._fault is not None and self._random.random() < self._rate
        self._note("<", number, call)
        if faulty and self._fault == "no reply":
            await asyncio.sleep(3600)  # outside the slots: those are for calls that come to an end
        due = asyncio.get_running_loop().time() + self._latency
        async with self._slots:
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            reply = fault_reply(str(self._fault), number, call) if faulty else completion(number, call)
            await self._send(reply, writer)
        if not faulty:
            self._note(">", number, call)

    async def _send(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        body = reply.body[: len(reply.body) // 2] if reply.cut or reply.reset else reply.body
        if reply.trickle:
            writer.write(reply.head())
            for byte in body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(reply.trickle)
            return
        writer.write(reply.head() + body)
        if reply.reset:
            await writer.drain()
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reply.cut or reply.reset:
            writer.close()
            raise ConnectionAbortedError

    def _note(self, mark: str, number: int, call: int) -> None:
        if self._log is not None:
            self._log.write(f"{mark} {number} {call} {time.monotonic_ns()}\n")


def completion(number: int, call: int, choice: int | None = None, padding: str = "") -> Reply:
    """A chat completion with the right answer, or with another choice; `padding` goes before it."""
    chosen = right_choice(number) if choice is None else choice
    content = json.dumps({"explanation": f"call {call}", "choice": chosen, "confidence": 0.9})
    message = {"role": "assistant", "content": padding + content}
    usage = {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320}
    body = {
        "id": f"chatcmpl-{call}",
        "object": "chat.completion",
        "created": 0,
        "model": "benchmark",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": usage,
    }
    return Reply(json.dumps(body).encode())


def fault_reply(fault: str, number: int, call: int) -> Reply:
    """What a call that meets the fault is sent."""

    def error(status: str, message: str, headers: str = "") -> Reply:
        return Reply(json.dumps({"error": {"message": message, "code": None}}).encode(), status, headers)

    good = completion(number, call).body
    return {
        "429 with Retry-After": error("429 Too Many Requests", "slow down", f"Retry-After: {RETRY_AFTER_SECONDS}\r\n"),
        "429 without Retry-After": error("429 Too Many Requests", "slow down"),
        "500": error("500 Internal Server Error", "oops"),
        "503": error("503 Service Unavailable", "overloaded"),
        "reset mid-body": Reply(good, reset=True),
        "body cut short": Reply(good, cut=True),
        "trickle": Reply(good, trickle=TRICKLE_SECONDS),
        "no reply": Reply(good),
        "invalid JSON": Reply(good[:-20]),
        "answer out of range": completion(number, call, choice=CANDIDATES + 4),
        "answer of 1 MB": completion(number, call, padding="word " * 200_000),
        "wrong content type": Reply(b"<html><body>Welcome</body></html>", kind="text/html"),
        "empty choice list": Reply(json.dumps({**json.loads(good), "choices": []}).encode()),
        "401": error("401 Unauthorized", "Incorrect API key provided"),
        "unknown model (404)": error("404 Not Found", "The model does not exist"),
    }[fault]


async def main(slots: int, latency: float, fault: str | None, rate: float, seed: int, log: Path | None) -> None:
    """Serve on a free port of loopback until the process ends."""
    with log.open("a", buffering=1, encoding="utf-8") if log else contextlib.nullcontext() as stream:
        chat = ChatServer(slots, latency, fault, rate, seed, stream)
        server = await asyncio.start_server(chat.serve, "127.0.0.1", 0, backlog=1024)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            main(
                settings["slots"],
                settings["latency"],
                settings.get("fault"),
                settings.get("rate", 0.0),
                settings.get("seed", 0),
                Path(settings["log"]) if settings.get("log") else None,
            )
        )
