"""A chat server on loopback whose replies a test decides, one by one, faults included."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "some-model"


@dataclass
class Reply:
    """What the server sends: a JSON body by default; `trickle` sends a byte at a time, `cut` drops the end."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    trickle: float = 0.0
    cut: bool = False
    reset: bool = False


def said(choice: object, **more: object) -> Reply:
    content = json.dumps({"explanation": "same", "choice": choice, "confidence": 0.9})
    return completion(content, **more)


def completion(content: str | None, finish: str = "stop") -> Reply:
    return Reply(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050},
        }
    )


def error(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": message, "type": "x", "code": code, "param": None}}, status, names)


@dataclass
class Server:
    """A chat server whose `behave(body, n)` gives the reply to its n-th request (from 1)."""

    behave: Callable[[dict[str, Any], int], Reply] = lambda body, n: said(1)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.requests.append(body)
            self.keys.add(handler.headers.get("Authorization"))
            n = len(self.requests)
        reply = self.behave(body, n)
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        if reply.reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            socket.close(handler.connection.detach())
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        handler.send_header("Content-Type", reply.kind)
        handler.send_header("Content-Length", str(len(data)))
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if reply.cut:
            data = data[: len(data) // 2]
            handler.close_connection = True
        for start in range(0, len(data), 1 if reply.trickle else len(data)):
            handler.wfile.write(data[start : start + 1] if reply.trickle else data)
            time.sleep(reply.trickle)


@contextmanager
def serving() -> Iterator[Server]:
    """A server that answers until the block ends."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                state.handle(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.request_queue_size = 128
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{httpd.server_port}/v1"
    try:
        yield state
    finally:
        httpd.shutdown()
        httpd.server_close()
