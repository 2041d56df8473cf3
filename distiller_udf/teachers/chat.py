"""One call to a chat endpoint: limited in time and size, its faults sorted into those that may pass and the rest."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from distiller_udf.errors import SettingsError, TeacherRefused

OPENAI_URL = "https://api.openai.com/v1"
MAX_BODY_BYTES = 2_000_000
SECRET_CHARACTERS = 12
"""A key that is shorter than this is a placeholder, no secret."""

_PASSING_STATUS = {408, 409, 425, 429}


class Passing(Exception):
    """A fault that may pass: worth another attempt, after `wait` seconds where the server says so."""

    def __init__(self, reason: str, wait: float | None = None, *, nobody_there: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.nobody_there = nobody_there


class Rejected(Exception):
    """The server does not take this request as it is; `said` is its reason."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the server refused the request ({status}): {said}")
        self.said = said


class ChatEndpoint:
    """The chat endpoint of the server at `base_url` (None: `OPENAI_BASE_URL` or OpenAI).

    `api_key_env` names the environment variable with the key, which appears in no error and no repr. `timeout` is
    in seconds for a whole call. Raises SettingsError for an impossible address.
    """

    def __init__(self, base_url: str | None, api_key_env: str, timeout: float, http_client: Any = None) -> None:
        self.base_url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL)
        self.api_key_env = api_key_env
        self.timeout = timeout
        self._http_client = http_client
        self._key = os.environ.get(api_key_env, "").strip()
        self._client: Any = None

    def __repr__(self) -> str:
        return f"ChatEndpoint({self.base_url!r}, api_key_env={self.api_key_env!r})"

    def open(self) -> None:
        """Make the client, once. Raises TeacherRefused when OpenAI is to be asked without a key."""
        import openai

        if not self._key and self.base_url == OPENAI_URL:
            raise TeacherRefused(f"OpenAI needs a key; set the environment variable {self.api_key_env}")
        if self._client is None:
            # Local servers want no key, but the client does. Retrying is done above, where it can be counted.
            self._client = openai.OpenAI(
                api_key=self._key or "none",
                base_url=self.base_url,
                timeout=self.timeout,
                max_retries=0,
                http_client=self._http_client,
            )

    def post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return the response body.

        Raises Passing, Rejected, or TeacherRefused when no request can succeed here.
        """
        import openai

        create = self._client.chat.completions.with_streaming_response.create
        try:
            # All goes through extra_body: it takes settings that the client does not know (of vLLM, say), and spares
            # the client's walk through typed messages, which costs more than all the rest of a call.
            with create(model=body["model"], messages=[], extra_body=dict(body), timeout=self.timeout) as response:
                data = self._read(response)
        except openai.APIStatusError as error:
            self._sort(error, str(body.get("model")))
        except openai.APITimeoutError:
            raise Passing(f"no reply within {self.timeout:g} s") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            nobody = "Connect" in type(cause).__name__
            raise Passing(f"the connection failed: {self._clean(str(cause))}", nobody_there=nobody) from None
        except Exception as error:
            if not type(error).__module__.startswith("http"):  # httpx or its successor, whichever openai uses
                raise
            raise Passing(f"the reply broke off: {self._clean(str(error))}") from None
        return _json_object(data)

    def without_key(self, text: str) -> str:
        """A text from outside, without the key should it repeat it.

        A short key ("none", "x", "1", as local servers are given) is no secret, and its letters are everywhere.
        """
        return text.replace(self._key, "***") if len(self._key) >= SECRET_CHARACTERS else text

    def _read(self, response: Any) -> bytes:
        """The body, under a limit of time and size: a trickle of bytes outlasts any read timeout."""
        deadline = time.monotonic() + self.timeout
        data = bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if time.monotonic() > deadline:
                raise Passing(f"the reply took longer than {self.timeout:g} s")
            if len(data) > MAX_BODY_BYTES:
                raise Passing(f"the reply is larger than {MAX_BODY_BYTES:,} bytes")
        return bytes(data)

    def _sort(self, error: Any, model: str) -> NoReturn:
        """Turn an error status into what it means. Never `from error`: its text may repeat the key."""
        status, said = int(error.status_code), self._clean(_said(error))
        if status in (401, 403):
            check = "check the key in" if self._key else "put a key into"
            raise TeacherRefused(
                f"{self.base_url} refused access ({status}); {check} the environment variable {self.api_key_env}"
            ) from None
        if status == 404:
            raise TeacherRefused(
                f"{self.base_url} knows no model {model!r} or no such path (404: {said}); check the model's name, and "
                "that the base URL is complete (it usually ends in /v1)"
            ) from None
        if status == 402 or error.code in ("insufficient_quota", "billing_hard_limit_reached"):
            raise TeacherRefused(f"the account at {self.base_url} has no credit left ({status}: {said})") from None
        if status in _PASSING_STATUS or status >= 500:
            raise Passing(f"the server said {status}: {said}", _retry_after(error.response.headers)) from None
        raise Rejected(status, said) from None

    def _clean(self, text: str) -> str:
        """A text from outside as one short line, without the key should it repeat it."""
        return " ".join(self.without_key(text).split())[:300]


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"the teacher's base URL is {url!r}; it must look like http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise SettingsError("the teacher's base URL must not hold a user or password; put the key into the environment")
    return url.rstrip("/")


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(data)
    except (ValueError, RecursionError):
        raise Passing("the reply is no JSON") from None
    if not isinstance(payload, dict):
        raise Passing("the reply is no JSON object")
    return payload


def _said(error: Any) -> str:
    """The server's own words, where its error has the usual shape."""
    body = error.body
    if isinstance(body, dict):
        message = body.get("message") or body.get("detail") or body.get("error")
        return str(message or body)
    return str(body or error.message)


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
