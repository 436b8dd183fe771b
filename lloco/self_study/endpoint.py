"""A generator behind an OpenAI-compatible address: chat completions, several at once, tried again a bounded number of
times where the server is busy, slow or away.

Keys come from the environment alone. Does not know what is asked for.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from typing import Any
from urllib.parse import urlsplit

import httpx

from lloco.errors import LlocoError
from lloco.self_study.ask import Ask
from lloco.self_study.wording import ANSWER_INSTRUCTION

KEY_VARIABLES = ("LLOCO_GENERATOR_KEY", "OPENAI_API_KEY")
"""Variables of the environment that may hold the key, the first that is set."""
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
LONGEST_WAIT_SECONDS = 60.0
_BUSY = {408, 409, 425, 429}
_UNFIT = {400, 413, 422}
"""The request does not suit the model, mostly since it is too long; others may."""


class Endpoint:
    """Chat completions of one model at one address."""

    is_small = False

    def __init__(
        self,
        url: str,
        model: str,
        *,
        concurrency: int = 4,
        timeout_seconds: float = 120.0,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        on_wait: Callable[[str], None] = lambda message: None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Speak to the server at this address; nothing is sent yet.

        Args:
            url: address of the API, with or without its /v1.
            model: the id that the server knows the model by.
            concurrency: requests that run at once.
            timeout_seconds: how long one reply may take.
            retry_seconds: waits between tries; a server's own Retry-After goes before, up to a minute.
            on_wait: is told why and how long is waited, and what is left out.
            environment: holds the key.

        Raises:
            LlocoError: this is no address.
        """
        self._url = chat_address(url)
        self._model = model
        self._concurrency = concurrency
        self.num_spans_at_once = 2 * concurrency
        self._retry_seconds = retry_seconds
        self._on_wait = on_wait
        self._told = ""
        self._stopped = threading.Event()
        key = next((environment[name] for name in KEY_VARIABLES if environment.get(name)), None)
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        timeout = httpx.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds), pool=None)
        self._client = httpx.Client(headers=headers, timeout=timeout)

    @property
    def name(self) -> str:
        """The model's id."""
        return self._model

    @property
    def identity(self) -> str:
        """The model's id alone: the address may be another one when a run goes on."""
        return self._model

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def replies(self, asks: Sequence[Ask]) -> Iterator[tuple[int, str]]:
        """Yield replies as they come; an error ends the others after what they are at."""
        self._stopped.clear()
        with ThreadPoolExecutor(self._concurrency) as pool:
            running = {pool.submit(self._reply, ask): index for index, ask in enumerate(asks)}
            try:
                failed: BaseException | None = None
                for done in as_completed(running):
                    try:
                        reply = done.result()
                    except CancelledError:
                        continue
                    except LlocoError as error:
                        # What others are being answered is paid for: it is waited for and kept.
                        failed = failed or error
                        self._stop(running)
                        continue
                    yield running[done], reply
                if failed is not None:
                    raise failed
            finally:
                self._stop(running)

    def _stop(self, running: Mapping[Any, int]) -> None:
        self._stopped.set()
        for request in running:
            request.cancel()

    def _reply(self, ask: Ask) -> str:
        body = {"model": self._model, "messages": messages(ask), "max_tokens": ask.max_tokens, "temperature": 0}
        waits = iter(self._retry_seconds)
        while True:
            try:
                response = self._client.post(self._url, json=body)
                if response.status_code == 200:
                    return _text(response)
                reason = f"it answered {response.status_code}: {_complaint(response)}"
                if response.status_code in _UNFIT:
                    self._tell(f"generator {self._model} leaves a request out: {reason}")
                    return ""
                if response.status_code not in _BUSY and response.status_code < 500:
                    raise LlocoError(f"generator {self._model} at {self._url} refused a request; {reason}")
            except httpx.TimeoutException:
                response, reason = None, "it did not answer in time"
            except httpx.HTTPError as error:
                response, reason = None, f"it cannot be reached ({error})"
            seconds = next(waits, None)
            if seconds is None or self._stopped.is_set():
                num_tries = len(self._retry_seconds) + 1
                raise LlocoError(
                    f"generator {self._model} at {self._url} gave no reply in {num_tries} tries; at last {reason}: "
                    "what it wrote is kept, give the same command again when it is back"
                )
            self._wait(seconds if response is None else _asked_wait(response, seconds), reason)

    def _tell(self, message: str) -> None:
        """Say what is waited for or left out, once in a row."""
        if message != self._told:
            self._told = message
            self._on_wait(message)

    def _wait(self, seconds: float, reason: str) -> None:
        self._tell(f"waiting {seconds:.0f}s for generator {self._model}: {reason}")
        self._stopped.wait(seconds)


def chat_address(url: str) -> str:
    """Return the address of chat completions.

    Raises:
        LlocoError: this is no address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise LlocoError(f"--generator must be an address such as http://127.0.0.1:8000/v1, got {url!r}")
    base = url.rstrip("/").removesuffix("/chat/completions")
    return f"{base}/chat/completions" if urlsplit(base).path else f"{base}/v1/chat/completions"


def messages(ask: Ask) -> list[dict[str, str]]:
    """Lay a request out as a chat."""
    if ask.purpose == "answer":
        context = f"Text: {ask.before}\n\n" if ask.before else ""
        return [
            {"role": "system", "content": ANSWER_INSTRUCTION},
            {"role": "user", "content": f"{context}Question: {ask.text}"},
        ]
    shown = [
        {"role": role, "content": text}
        for example in ask.examples
        for role, text in zip(("user", "assistant"), example, strict=True)
    ]
    return [{"role": "system", "content": ask.before}, *shown, {"role": "user", "content": ask.text}]


def _text(response: httpx.Response) -> str:
    """Return the reply's text; empty where it has none, which the checks count."""
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return ""
    return content if isinstance(content, str) else ""


def _complaint(response: httpx.Response) -> str:
    try:
        said = response.json()["error"]["message"]
    except (ValueError, LookupError, TypeError):
        said = response.text
    return " ".join(str(said).split())[:200] or "no reason"


def _asked_wait(response: httpx.Response, seconds: float) -> float:
    """Return how long to wait: as the server asks, within bounds, or as planned."""
    try:
        asked = float(response.headers.get("retry-after", seconds))
    except ValueError:
        return seconds
    return min(max(asked, 0.0), LONGEST_WAIT_SECONDS)
