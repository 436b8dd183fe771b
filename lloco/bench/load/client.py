"""One question to a server over HTTP, and its answer with the times at which its client saw it.

Knows neither when questions are asked nor what the server is made of.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from lloco.errors import LlocoError

TIMEOUT_SECONDS = 600
"""How long a client waits for the next piece of an answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about one document."""

    corpus: str
    document: str
    text: str


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """One answer as its client saw it."""

    first_token_seconds: float
    """From when it was due to the first piece of text."""
    answer_seconds: float
    """From when it was due to the end."""
    new_tokens: int
    prompt_tokens: int
    cached_tokens: int


class RefusedError(LlocoError):
    """The server has no room for the question now."""


def open_client(url: str) -> httpx.Client:
    """Return a client that threads may share, with as many connections as they need."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False, limits=limits)


def ask(http: httpx.Client, mode: str, asked: Asked, new_tokens: int, due: float | None = None) -> ServedAnswer:
    """Ask a question and read its answer as it is written; times count from `due`, on `time.perf_counter`'s clock.

    Raises:
        RefusedError: too many questions wait.
        LlocoError: the server refused it for another reason, in the server's words, or did not answer.
    """
    body = {
        "model": asked.corpus,
        "messages": [{"role": "user", "content": asked.text}],
        "max_tokens": new_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "lloco": {"document": asked.document, "mode": mode},
    }
    started = time.perf_counter() if due is None else due
    first: float | None = None
    usage: dict[str, Any] = {}
    with _request_errors(), http.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.is_error:
            refused = RefusedError if response.status_code in (429, 503) else LlocoError
            raise refused(f"the server refused it: {_message(response)}")
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise LlocoError(f"the server failed: {event['error']['message']}")
            if first is None and any(choice["delta"].get("content") for choice in event["choices"]):
                first = time.perf_counter() - started
            usage = event.get("usage") or usage
    seconds = time.perf_counter() - started
    return ServedAnswer(
        seconds if first is None else first,
        seconds,
        usage["completion_tokens"],
        usage["prompt_tokens"],
        usage["prompt_tokens_details"]["cached_tokens"],
    )


@contextmanager
def _request_errors() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise LlocoError(f"the server was asked, it did not answer ({type(error).__name__}: {error})") from error


def _message(response: httpx.Response) -> str:
    response.read()
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
