"""One call to a chat endpoint: limited in time and size, its faults sorted into those that may pass and the rest."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
import re
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

from distiller_udf.errors import SettingsError, TeacherRefused
from distiller_udf.privacy import require_local
from distiller_udf.settings.declared import ADDRESS
from distiller_udf.settings.rules import text_of

OPENAI_URL = "https://api.openai.com/v1"
MAX_BODY_BYTES = 2_000_000
PLACEHOLDERS = {"dummy", "empty", "fake", "key", "lm-studio", "no-key", "none", "not-needed", "null", "ollama", "test"}
"""What local servers are given for a key: no secrets, and ordinary words."""

_CONNECTIONS_A_CLIENT = 8
_SHORTEST_KEY = 4

_PASSING_STATUS = {408, 409, 425, 429}
_OF_ANY_STATUS = {429, 502, 503}


@dataclass(eq=False)
class Passing(Exception):
    """A fault that may pass: worth another attempt, after `wait` seconds where the server says so.

    `free`: the server made no reply, so there is nothing to pay for; `nobody_there`: it was not even reached.
    `of_any`: any other question would have met it too, for no server is there that answers: nobody, one without the
    time, or something else in its place.
    """

    reason: str
    wait: float | None = None
    free: bool = False
    nobody_there: bool = False
    of_any: bool = False

    def __str__(self) -> str:
        return self.reason


class Rejected(Exception):
    """The server does not take this request as it is; `said` is its reason."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the server refused the request ({status}): {said}")
        self.said = said


class ChatEndpoint:
    """The chat endpoint of the server at `base_url` (None: `OPENAI_BASE_URL` or OpenAI).

    `api_key_env` names the environment variable with the key, which appears in no error and no repr. `timeout` is in
    seconds: for the beginning of a reply, and for all of its body. `connections` is how many calls are under way at
    most. With `local_only` the address must be on this machine, and no proxy is used. Redirects are never followed.
    Raises SettingsError for an impossible address.
    """

    def __init__(
        self,
        base_url: str | None,
        api_key_env: str,
        timeout: float,
        *,
        connections: int = 8,
        local_only: bool = False,
    ) -> None:
        self.base_url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL)
        if local_only:
            require_local(self.base_url)
        self.api_key_env = api_key_env
        self.timeout = timeout
        self._connections = connections
        self._local_only = local_only
        self._key = os.environ.get(api_key_env, "").strip()
        self._http: Any = None
        self._headers: dict[str, str] = {}
        self._clients: list[Any] = []
        self._turn = itertools.count()
        self._own = threading.local()

    def __repr__(self) -> str:
        return f"ChatEndpoint({self.base_url!r}, api_key_env={self.api_key_env!r})"

    def open(self) -> None:
        """Make the clients, once. Raises TeacherRefused when OpenAI is asked without a key, or the key is none."""
        import openai

        if not self._key and self.base_url == OPENAI_URL:
            raise TeacherRefused(f"OpenAI needs a key; set the environment variable {self.api_key_env}")
        if not all(33 <= ord(character) <= 126 for character in self._key):
            # In a header it would be an error that quotes it.
            raise TeacherRefused(
                f"the environment variable {self.api_key_env} holds something that is no key: it has white space, a "
                "line break or characters beyond ASCII in it"
            )
        if self._clients:
            return
        # httpx or its successor, whichever this openai uses.
        self._http = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
        most = self._connections
        # Several, each for some of the threads: a pool looks through all its connections before and after every call.
        self._clients = [
            openai.DefaultHttpxClient(
                timeout=self.timeout,
                follow_redirects=False,
                trust_env=not self._local_only,
                limits=self._http.Limits(max_connections=most, max_keepalive_connections=most),
            )
            for _ in range(math.ceil(most / _CONNECTIONS_A_CLIENT))
        ]
        # Local servers want no key, but openai does. Of it we take the headers alone: its walk through typed messages
        # costs more than all the rest of a call, it knows none of the settings that other servers have, and retrying is
        # done above, where it can be counted.
        key = self._key or "none"
        given = openai.OpenAI(api_key=key, base_url=self.base_url, http_client=self._clients[0]).default_headers
        named = {name: value for name, value in given.items() if isinstance(value, str)}
        self._headers = {"Authorization": f"Bearer {key}", **named}

    def post(
        self,
        body: Mapping[str, Any],
        slot: AbstractContextManager[Any] | None = None,
        path: str = "/chat/completions",
    ) -> dict[str, Any]:
        """Send one request and return the response body.

        `slot` is entered when all is ready to go out, and left when all has come back. Raises Passing, Rejected, or
        TeacherRefused when no request can succeed here; and what `slot` raises.
        """
        if not hasattr(self._own, "client"):  # each thread has always the same one
            self._own.client = self._clients[next(self._turn) % len(self._clients)]
        request = self._own.client.build_request("POST", self.base_url + path, json=dict(body), headers=self._headers)
        with slot or nullcontext(), closing(self._sent(request)) as response:
            data = self._read(response)
            if response.status_code >= 300:
                self._sort(response.status_code, response.headers, data, str(body.get("model")))
        return _json_object(data)

    def without_key(self, text: str) -> str:
        """A text from outside, without the key should it repeat it.

        A placeholder ("none", "x", "1", as local servers are given) is no secret, and its letters are everywhere.
        """
        secret = len(self._key) >= _SHORTEST_KEY and self._key.lower() not in PLACEHOLDERS
        return text.replace(self._key, "***") if secret else text

    def _sent(self, request: Any) -> Any:
        """The beginning of a response. Raises Passing, never `from` an error: its text may repeat the key."""
        try:
            return self._own.client.send(request, stream=True)
        except Exception as error:
            nobody = isinstance(error, (self._http.ConnectError, self._http.ConnectTimeout))
            reason = f"the connection failed: {self._clean(str(error))}"
            if isinstance(error, self._http.TimeoutException):
                reason = f"no reply within {self.timeout:g} s"
            raise Passing(reason, free=nobody, nobody_there=nobody, of_any=nobody) from None

    def _read(self, response: Any) -> bytes:
        """The body, under a limit of time and size: a trickle of bytes outlasts any read timeout."""
        deadline = time.monotonic() + self.timeout
        data = bytearray()
        try:
            for chunk in response.iter_bytes():
                data += chunk
                if time.monotonic() > deadline:
                    raise Passing(f"the reply took longer than {self.timeout:g} s")
                if len(data) > MAX_BODY_BYTES:
                    raise Passing(f"the reply is larger than {MAX_BODY_BYTES:,} bytes")
        except self._http.HTTPError as error:
            raise Passing(f"the reply broke off: {self._clean(str(error))}") from None
        return bytes(data)

    def _sort(self, status: int, headers: Mapping[str, str], data: bytes, model: str) -> NoReturn:
        """Turn an error status, and the body that came with it, into what it means."""
        code, said = _code_and_words(data)
        said = self._clean(said or f"status {status}")
        if status < 400:
            where = urlsplit(urljoin(f"{self.base_url}/", headers.get("location", ""))).hostname
            raise TeacherRefused(
                f"{self.base_url} sends its callers on to {self._clean(str(where))} ({status}), and neither keys nor "
                "records follow; set the base URL to the final address"
            )
        if status in (401, 403):
            check = "check the key in" if self._key else "put a key into"
            raise TeacherRefused(
                f"{self.base_url} refused access ({status}); {check} the environment variable {self.api_key_env}"
            )
        if status == 404:
            raise TeacherRefused(
                f"{self.base_url} knows no model {model!r} or no such path (404: {said}); check the model's name, and "
                "that the base URL is complete (it usually ends in /v1)"
            )
        if status == 402 or code in ("insufficient_quota", "billing_hard_limit_reached"):
            raise TeacherRefused(f"the account at {self.base_url} has no credit left ({status}: {said})")
        if status in _PASSING_STATUS or status >= 500:
            wait, of_any = _retry_after(headers), status in _OF_ANY_STATUS
            raise Passing(f"the server said {status}: {said}", wait, free=True, of_any=of_any)
        raise Rejected(status, said)

    def _clean(self, text: str) -> str:
        """A text from outside as one short line, without the key should it repeat it."""
        return " ".join(self.without_key(text).split())[:300]


def _code_and_words(data: bytes) -> tuple[object, str]:
    """The code and the server's own words in the body of an error, where it has the usual shape."""
    body: Any = data[:10_000].decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        body = json.loads(data)
    error = body.get("error") or body if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return None, str(error or "")
    return error.get("code"), str(error.get("message") or error.get("detail") or error or "")


def _checked_url(url: str) -> str:
    """The address as it is used. Raises SettingsError that does not repeat it: it may hold a key."""
    try:
        usable = re.fullmatch(ADDRESS, url) and urlsplit(url).port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"the base URL is something else than is allowed. Allowed: {text_of(ADDRESS)}")
    return url.rstrip("/")


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(data)
    except (ValueError, RecursionError):
        raise Passing("the reply is no JSON", of_any=True) from None
    if not isinstance(payload, dict):
        raise Passing("the reply is no JSON object", of_any=True)
    return payload


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from the headers Retry-After-Ms or Retry-After (seconds or a date); None when absent or senseless."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            seconds = float(headers["retry-after"])
    except KeyError:
        return None
    except ValueError:
        try:
            moment = parsedate_to_datetime(headers["retry-after"])
        except (KeyError, ValueError):
            return None
        seconds = (moment - datetime.now(timezone.utc if moment.tzinfo else None)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
