"""Reading a request's body: bounded in bytes, values and time, JSON or an uploaded form, and checked against a model.

A body that is too large is read to its end, up to a limit, and dropped, so that the client sees the answer instead of a
broken connection. One that comes too slowly is not waited for.
"""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import pydantic_core
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.types import Message

from lloco.server.errors import ApiError
from lloco.server.wire.json_values import num_values

Body = TypeVar("Body", bound=BaseModel)
MAX_DROPPED_BYTES = 256 << 20
DROP_SECONDS = 10.0
BODY_SECONDS = 60.0
BODY_BYTES_PER_SECOND = 64 << 10
"""A body may take `BODY_SECONDS`, and a second more for as many bytes as this."""
MAX_VALUES = 10_000
"""Values of a JSON body that is parsed by the server's own thread; it answers nobody meanwhile."""


class Wire(BaseModel):
    """A model of what clients send, which refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


async def read_json(request: Request, max_bytes: int) -> object:
    """Return the JSON value of the body. Raises `ApiError` 400, 408, 413 or 415."""
    check_is_json(request)
    return parse_json(await _bounded(request, max_bytes).body())


def check_is_json(request: Request) -> None:
    """Raise `ApiError` 415 for a body of another type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"the body must be of type application/json, got {kind or 'no type'}: send JSON")
    if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
        raise ApiError(415, f"the body must not be compressed, got {encoding}: send plain JSON")


def parse_json(data: bytes) -> object:
    """Return the JSON value. Raises `ApiError` 400, for too many values before any is made."""
    if num_values(data) > MAX_VALUES:
        raise ApiError(400, f"the body must have at most {MAX_VALUES:,} JSON values: send fewer")
    try:
        value: object = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON in UTF-8 ({error}): send a JSON object") from error
    return value


async def read_form(request: Request, max_bytes: int) -> FormData:
    """Return an uploaded form with at most one file. Raises `ApiError` 408 or 413."""
    return await _bounded(request, max_bytes).form(max_files=1, max_fields=8)


@asynccontextmanager
async def body_file(request: Request, max_bytes: int, max_kept: int) -> AsyncIterator[bytes | Path]:
    """Give the body, or where it is longer than `max_kept` a file with it, which lasts as long as the block.

    Raises `ApiError` 408 or 413.
    """
    kept = bytearray()
    stream = _bounded(request, max_bytes).stream()
    async for chunk in stream:
        kept += chunk
        if len(kept) > max_kept:
            break
    else:
        yield bytes(kept)
        return
    with tempfile.TemporaryDirectory(prefix="lloco-upload-") as folder:
        path = Path(folder, "body")
        with path.open("wb") as file:
            await run_in_threadpool(file.write, kept)
            kept = bytearray()
            async for chunk in stream:
                await run_in_threadpool(file.write, chunk)
        yield path


def parse(model: type[Body], value: object) -> Body:
    """Check a JSON value against the model. Raises `ApiError` 400 that names what is wrong."""
    if not isinstance(value, dict):
        raise ApiError(400, "the body is not a JSON object: send one")
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        param = _path(first["loc"]) or None
        if first["type"] == "extra_forbidden":
            message = f"there is no {param}: leave it out"
        else:
            message = f"{param or 'the body'}: {first['msg']}"
        raise ApiError(400, message, param=param) from error


def _path(steps: Sequence[int | str]) -> str:
    """Write the steps to a part of a JSON value as `messages[0].content`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _bounded(request: Request, max_bytes: int) -> Request:
    """Return the request with a body that raises `ApiError` 413 where it is longer than this."""
    num_bytes = 0
    until = anyio.current_time() + BODY_SECONDS + (_declared_bytes(request) or max_bytes) / BODY_BYTES_PER_SECOND

    async def receive() -> Message:
        nonlocal num_bytes
        with anyio.move_on_after(until - anyio.current_time()) as scope:
            message = await request.receive()
        if scope.cancelled_caught:
            raise ApiError(408, "the body arrived too slowly: send it again", headers={"connection": "close"})
        num_bytes += len(message.get("body", b""))
        if num_bytes > max_bytes or _declared_bytes(request) > max_bytes:
            await _drop(request, message)
            raise ApiError(413, f"the body must have at most {max_bytes:,} bytes, got more: send less")
        return message

    return Request(request.scope, receive)


def _declared_bytes(request: Request) -> int:
    declared = request.headers.get("content-length", "0")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


async def _drop(request: Request, message: Message) -> None:
    num_bytes = 0
    with anyio.move_on_after(DROP_SECONDS):
        while message.get("more_body") and num_bytes < MAX_DROPPED_BYTES:
            message = await request.receive()
            num_bytes += len(message.get("body", b""))
