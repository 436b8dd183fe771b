"""A running `vllm serve`, spoken to over its OpenAI API: prompts go there as embeddings, token ids come back.

Whoever cannot be connected to, or says that it is not ready (503), is tried again a few times before the first token;
no other prompt is sent twice, as it may be what stopped the server: behind a proxy that shows as 502 or 504. Keys for
it come from the environment: VLLM_API_KEY as vLLM itself knows it, LLOCO_GATEWAY_KEY where our plugin there wants one.
"""

import asyncio
import json
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, NoReturn

import httpx

from lloco.engine.request_queue import EngineUnavailableError
from lloco.engine.vllm.connection import VllmAdapter, VllmRequest
from lloco.engine.vllm.wire import chunk_token_ids, completion_body, refusal_reason, server_address
from lloco.errors import LlocoError, MismatchError

GATEWAY_KEY = "LLOCO_GATEWAY_KEY"
"""Variable of the environment with the secret that a gateway shows to our plugin in vLLM."""
GATEWAY_HEADER = "x-lloco-gateway-key"
RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Waits between tries to reach a server that is down or not ready."""
_NOT_READY = HTTPStatus.SERVICE_UNAVAILABLE
_FROM_PROXIES = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
"""The server is down, or what it was sent stopped it: what only asks may be sent again."""


class _NotReadyError(Exception):
    """Nobody answered, or somebody said that it is too early."""


class _NoModelError(Exception):
    """There is no model of that name."""


class HttpVllm:
    """A `VllmConnection` to an address."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 120.0,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Speak to the server at this address; nothing is sent yet.

        Args:
            url: where it listens, with or without the API's /v1.
            timeout_seconds: how long it may take to the next token, or to load an adapter.
            retry_seconds: waits between tries to reach it.
            environment: holds the keys that it wants.

        Raises:
            LlocoError: this is no address.
        """
        self._url = server_address(url)
        self.name = f"vLLM at {self._url}"
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self._base: str | None = None
        self._checks: list[Callable[[], Awaitable[None]]] = []
        self._checking: asyncio.Task[None] | None = None
        self._was_away = False
        headers = {}
        if key := environment.get("VLLM_API_KEY"):
            headers["authorization"] = f"Bearer {key}"
        if key := environment.get(GATEWAY_KEY):
            headers[GATEWAY_HEADER] = key
        self._client = httpx.AsyncClient(
            base_url=self._url,
            headers=headers,
            timeout=httpx.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds), pool=None),
            # A connection that is kept may belong to a server that has ended since.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="lloco-vllm-http", daemon=True)
        self._thread.start()

    async def max_len(self) -> int:
        """Return the positions that its model was given."""
        base = await self._base_model()
        max_len = base.get("max_model_len")
        if not isinstance(max_len, int):
            raise EngineUnavailableError(
                f"{self.name} does not say what its model reads: is it vLLM? Where our plugin is on, set {GATEWAY_KEY} "
                "here as there"
            )
        return max_len

    async def load_adapter(self, adapter: VllmAdapter) -> None:
        """Have the adapter there: loaded already, loaded from our folder, or found by our resolver in its store."""
        if adapter.name in [model.get("id") for model in await self._models()]:
            return
        wish = {"lora_name": adapter.name, "lora_path": str(adapter.folder)}
        response = await self._request("POST", "/v1/load_lora_adapter", json.dumps(wish).encode())
        if response.status_code == HTTPStatus.OK or "already been loaded" in response.text:
            return
        probe = {"model": adapter.name, "prompt": [1], "max_tokens": 1}
        found = await self._request("POST", "/v1/completions", json.dumps(probe).encode())
        if found.status_code != HTTPStatus.OK:
            raise EngineUnavailableError(
                f"{self.name} has no adapter {adapter.name} and cannot load it ({refusal_reason(response)}; "
                f"{refusal_reason(found)}): start it with --enable-lora, room for it (--max-lora-rank), "
                f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, and {adapter.folder} or our resolver's store in its sight"
            )

    async def generate(self, asked: VllmRequest) -> AsyncGenerator[Sequence[int], None]:
        """Yield token ids as they come."""
        body = await asyncio.to_thread(completion_body, asked)
        model = asked.adapter.name if asked.adapter else await self._base_name()
        request = json.dumps({"model": model}).encode()[:-1] + b", " + body[1:]
        waits = iter(self._retry_seconds)
        has_begun = has_reloaded = False
        while True:
            try:
                if not asked.is_probe:
                    await self._check_again()
                async with aclosing(self._stream(request)) as pieces:
                    async for token_ids in pieces:
                        has_begun = True
                        yield token_ids
                return
            except EngineUnavailableError:
                self._was_away = True
                raise
            except _NotReadyError as error:
                self._was_away = True
                seconds = next(waits, None)
                if has_begun or seconds is None:
                    self._give_up(error)
                await asyncio.sleep(seconds)
            except _NoModelError as error:
                self._base = None
                if asked.adapter is None or has_reloaded:
                    raise EngineUnavailableError(f"{self.name} has no model {model} any more ({error})") from None
                # It has begun anew since the adapter was loaded, unnoticed.
                self._was_away = has_reloaded = True
                await self.load_adapter(asked.adapter)

    def on_return(self, check: Callable[[], Awaitable[None]]) -> None:
        """Have this checked before anything else is generated by a server that was away."""
        self._checks.append(check)

    def close(self) -> None:
        """End the loop and its thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._client.aclose(), self.loop).result()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _check_again(self) -> None:
        """Look at a server that was away, once for all who wait for it."""
        if self._was_away:
            if self._checking is None or self._checking.done():
                self._checking = asyncio.create_task(self._run_checks())
            await asyncio.shield(self._checking)

    async def _run_checks(self) -> None:
        self._base = None
        try:
            for check in self._checks:
                await check()
        except MismatchError as error:
            raise EngineUnavailableError(str(error)) from error
        self._was_away = False

    async def _base_model(self) -> dict[str, Any]:
        """Return what it says of the model that it was started on."""
        base = next((model for model in await self._models() if model.get("parent") is None), None)
        if base is None:
            raise EngineUnavailableError(f"{self.name} lists no model: is it vLLM? see docs/vllm.md")
        return base

    async def _base_name(self) -> str:
        self._base = self._base or str((await self._base_model())["id"])
        return self._base

    async def _models(self) -> list[dict[str, Any]]:
        response = await self._request("GET", "/v1/models")
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            self._refuse(response)
        try:
            models = response.json()["data"]
            if isinstance(models, list) and all(
                isinstance(model, dict) and isinstance(model["id"], str) for model in models
            ):
                return models
        except (ValueError, LookupError, TypeError):
            pass
        raise EngineUnavailableError(f"{self.name} does not speak the OpenAI API: check the address")

    async def _request(self, method: str, path: str, body: bytes | None = None) -> httpx.Response:
        """Send what may be sent again; waits for a server that is down or not ready."""
        for seconds in (*self._retry_seconds, None):
            try:
                return await self._once(method, path, body)
            except _NotReadyError as error:
                if seconds is None:
                    self._give_up(error)
                await asyncio.sleep(seconds)
        raise AssertionError("the last try returns or raises")

    async def _once(self, method: str, path: str, body: bytes | None) -> httpx.Response:
        headers = {"content-type": "application/json"} if body else {}
        with _Failures(self.name, self._timeout_seconds):
            response = await self._client.request(method, path, content=body, headers=headers)
        if response.status_code in _FROM_PROXIES and method == "GET":
            raise _NotReadyError(refusal_reason(response))
        if response.status_code in (_NOT_READY, *_FROM_PROXIES):
            self._refuse(response)
        return response

    async def _stream(self, body: bytes) -> AsyncGenerator[Sequence[int], None]:
        """Yield the token ids of one completion's chunks."""
        headers = {"content-type": "application/json"}
        with _Failures(self.name, self._timeout_seconds):
            async with self._client.stream("POST", "/v1/completions", content=body, headers=headers) as response:
                if response.status_code != HTTPStatus.OK:
                    await response.aread()
                    self._refuse(response)
                async for line in response.aiter_lines():
                    if line.startswith("data: {"):
                        yield chunk_token_ids(line.removeprefix("data: "), self.name)

    def _refuse(self, response: httpx.Response) -> NoReturn:
        """Raise what a refusal means."""
        status, reason = response.status_code, refusal_reason(response)
        if status == _NOT_READY:
            raise _NotReadyError(reason)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise EngineUnavailableError(
                f"{self.name} refuses us ({reason}): set VLLM_API_KEY here as there, or {GATEWAY_KEY} for our plugin"
            )
        if status == HTTPStatus.NOT_FOUND:
            raise _NoModelError(reason)
        if "--enable-prompt-embeds" in reason:
            raise EngineUnavailableError(
                f"{self.name} takes no prompt_embeds: start it with --enable-prompt-embeds, see docs/vllm.md"
            )
        if "hidden_size" in reason or "out of vocabulary" in reason:
            raise MismatchError(f"{self.name} runs a model of another size: {reason}")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise EngineUnavailableError(f"{self.name} failed ({reason}): see its log; it may be starting anew")
        raise LlocoError(f"{self.name} refused the prompt ({reason}): send a shorter prompt, or see its log")

    def _give_up(self, error: Exception) -> NoReturn:
        raise EngineUnavailableError(
            f"{self.name} does not answer ({error}), {len(self._retry_seconds) + 1} tries were made: start it, or wait "
            "until it has loaded its model"
        ) from None


class _Failures:
    """Turns what httpx raises into what it means here."""

    def __init__(self, name: str, timeout_seconds: float) -> None:
        self._name, self._timeout_seconds = name, timeout_seconds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            raise _NotReadyError(str(error) or type(error).__name__) from None
        if isinstance(error, httpx.TimeoutException):
            raise EngineUnavailableError(
                f"{self._name} was silent for {self._timeout_seconds:g} seconds: it has too much to do, or hangs; ask "
                "fewer at once, or raise --vllm-timeout"
            ) from None
        if isinstance(error, httpx.HTTPError):
            raise EngineUnavailableError(
                f"{self._name} broke the connection ({str(error) or type(error).__name__}): it may have ended, see its "
                "log, then ask again"
            ) from None
