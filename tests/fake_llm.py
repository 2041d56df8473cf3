"""A server on loopback that speaks OpenAI's protocol: the one thing that tests put in the place of an LLM."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = Mapping[str, Any]


@dataclass
class FakeLLM:
    """What the server is asked, and how it replies: `reply` makes the content of a message, or an HTTP status.

    It is given the request's body, with the `number` of the request, from 1.
    """

    reply: Callable[[Body], str | int]
    address: str = ""
    asked: list[Body] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"

    @property
    def text(self) -> str:
        """All that it was ever sent."""
        return json.dumps(self.asked, ensure_ascii=False)


def shown_records(body: Body) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The query and the candidates that a request shows."""
    text = body["messages"][-1]["content"]
    query = re.search(r"<query>\n(.*)\n</query>", text)
    assert query, text
    return json.loads(query[1]), [json.loads(line) for line in re.findall(r"^\[\w+\] (.*)$", text, re.MULTILINE)]


def same_born(body: Body) -> str:
    """The reply of a model that goes by the date of birth."""
    query, candidates = shown_records(body)
    dates = [candidate.get("born") for candidate in candidates]
    choice = dates.index(query.get("born")) + 1 if query.get("born") in dates else 0
    return json.dumps({"explanation": "the date of birth", "choice": choice, "confidence": 0.9})


@contextmanager
def fake_llm(reply: Callable[[Body], str | int] = same_born, tokens: tuple[int, int] = (100, 10)) -> Iterator[FakeLLM]:
    """Serve a `FakeLLM` as long as the block lasts; every reply is billed with so many tokens in and out."""
    llm = FakeLLM(reply)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # who asked may be gone
                self.respond()

        def respond(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
            with lock:
                llm.asked.append(body)
                llm.keys.append(self.headers.get("authorization", ""))
                number = len(llm.asked)
            said = llm.reply({**body, "number": number})
            if isinstance(said, int):
                self.answer(said, {"error": {"message": f"status {said}", "code": None}})
                return
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
            usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
            self.answer(200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})

        def answer(self, status: int, value: dict[str, Any]) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    llm.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield llm
    finally:
        server.shutdown()
        server.server_close()
