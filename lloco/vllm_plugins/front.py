"""What stands in front of vLLM's routes: who calls, whether for a corpus, and that no embeddings come from outside.

Plain ASGI, and any route's body is looked through, so that it does not depend on the routes that a version of vLLM has.
"""

import hmac
import json
from collections.abc import Iterator
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lloco.engine.vllm.http_connection import GATEWAY_HEADER
from lloco.server.access import Access, Grant
from lloco.server.errors import ApiError, error_response
from lloco.vllm_plugins.resolver import is_adapter_name

OPEN_PATHS = frozenset({"/health", "/ping"})
"""Answered without a key: they tell nothing."""
QUESTION_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
ADAPTER_PATHS = ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters")
"""Read any folder of the machine and change what a name means: for the gateway alone."""
MAX_BODY_BYTES = 64 << 20


class Gate:
    """What the front asks; closed until vLLM is ready."""

    def __init__(self) -> None:
        self.corpora: ASGIApp | None = None
        """The routes of `lloco serve`."""
        self._access = Access()
        self._gateway_key = ""
        self._models: Any = None

    def open(self, corpora: ASGIApp, access: Access, gateway_key: str | None, models: Any) -> None:
        """Let callers in; `models` is vLLM's `OpenAIServingModels`."""
        self._access, self._gateway_key, self._models = access, gateway_key or "", models
        self.corpora = corpora

    def is_gateway(self, headers: Headers) -> bool:
        """Whether a gateway that knows the secret calls."""
        header = headers.get(GATEWAY_HEADER, "")
        return bool(self._gateway_key) and hmac.compare_digest(header.encode(), self._gateway_key.encode())

    def grant(self, scope: Scope, headers: Headers) -> Grant:
        """Return what the caller may use. Raises `ApiError` 401 or 403."""
        self._access.check_origin(headers.get("host", ""), headers.get("origin"))
        client = scope.get("client")
        return self._access.grant(headers.get("authorization"), client[0] if client else "")

    def is_vllms(self, model: object) -> bool:
        """Whether vLLM itself serves a model of that name, or would find it by name."""
        if not isinstance(model, str):
            return True
        return self._models.is_base_model(model) or model in self._models.lora_requests or is_adapter_name(model)


class Front:
    """The middleware."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to whom it is for, or refuse it."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
        if scope["type"] == "http" and (path in OPEN_PATHS or self._gate.is_gateway(headers)):
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        try:
            app, receive = await self._choose(scope, receive, headers, path)
        except ApiError as error:
            return await error_response(error)(scope, receive, send)
        # The other application writes its own routes into what it is given.
        await app(scope if app is self._app else dict(scope), receive, send)

    async def _choose(self, scope: Scope, receive: Receive, headers: Headers, path: str) -> tuple[ASGIApp, Receive]:
        """Return who answers, and the body to be read again. Raises `ApiError` for what nobody answers."""
        corpora = self._gate.corpora
        if corpora is None:
            raise ApiError(503, "the server is starting: try again later", headers={"retry-after": "5"})
        grant = self._gate.grant(scope, headers)
        if path == "/v1/models" or path.startswith("/v1/models/"):
            return corpora, receive
        body = await _read(receive)
        value = _json(body, is_said=_is_json(headers))
        model = value.get("model") if isinstance(value, dict) else None
        if path in QUESTION_PATHS and not self._gate.is_vllms(model):
            return corpora, _again(body, receive)
        if grant.corpora is not None:
            raise ApiError(404, "this key may ask its corpora and no more: GET /v1/models lists them", param="model")
        if path.startswith(ADAPTER_PATHS):
            raise ApiError(
                403, "adapters are loaded from the store by name: only a gateway with its key may load others"
            )
        if any(_is_embeddings(item) for item in _objects(value)):
            message = 'embeddings are not taken from clients: name a document, {"type": "document", "document_id": ID}'
            raise ApiError(400, message, param="prompt_embeds", code="unsupported_parameter")
        return self._app, _again(body, receive)


async def _read(receive: Receive) -> bytes:
    """Read the whole body. Raises `ApiError` 413 where it is too long."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise ApiError(413, f"the body must have at most {MAX_BODY_BYTES:,} bytes, got more: send less")
        if not message.get("more_body"):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body that was read once more, then whatever else the client does."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def _is_json(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower().endswith("json")


def _json(body: bytes, *, is_said: bool) -> Any:
    """Return the value; None where there is none and the headers promise none.

    Raises:
        ApiError: it cannot be looked through, though another parser might read embeddings in it.
    """
    try:
        return json.loads(body) if body else None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply: send flatter JSON") from None
    except ValueError as error:
        if not is_said:
            return None
        raise ApiError(400, f"the body is not valid JSON ({error}): correct it") from None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object, however deep."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _is_embeddings(value: dict[str, Any]) -> bool:
    return value.get("prompt_embeds") is not None or value.get("type") == "prompt_embeds"
