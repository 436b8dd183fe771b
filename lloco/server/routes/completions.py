"""POST /v1/chat/completions and /v1/completions: a question to a corpus, answered whole or as a stream."""

import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from lloco.server.access import Grant
from lloco.server.errors import as_api_error
from lloco.server.questions import RunningAnswer
from lloco.server.routes.completion_layout import ChatLayout, Layout, TextLayout
from lloco.server.service import Caller, Served, Service
from lloco.server.wire.body import parse, read_json
from lloco.server.wire.requests import (
    CHAT_OTHERS,
    COMPLETION_OTHERS,
    ChatRequest,
    CompletionRequest,
    Question,
    check_others,
)
from lloco.server.wire.responses import Completion, respond

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request, grant: Caller, service: Served) -> Response:
    """Answer the user's message."""
    body = check_others(await read_json(request, service.limits.question_bytes), CHAT_OTHERS)
    return await _answer(request, grant, service, parse(ChatRequest, body), ChatLayout())


@router.post("/v1/completions")
async def completions(request: Request, grant: Caller, service: Served) -> Response:
    """Answer the prompt, which is a question."""
    body = check_others(await read_json(request, service.limits.question_bytes), COMPLETION_OTHERS)
    return await _answer(request, grant, service, parse(CompletionRequest, body), TextLayout())


async def _answer(request: Request, grant: Grant, service: Service, asked: Question, layout: Layout) -> Response:
    answer = await service.questions.ask(grant, asked)
    if asked.stream:
        events = _events(request, answer, layout, asked.includes_usage)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    text = "".join([piece async for piece in answer.pieces(request)])
    return respond(layout.whole(answer, text))


async def _events(
    request: Request, answer: RunningAnswer, layout: Layout, includes_usage: bool
) -> AsyncIterator[bytes]:
    """Yield server-sent events; an error after the beginning is an event, as the status is gone."""

    def event(chunk: Completion) -> bytes:
        if includes_usage and chunk.usage is None:
            chunk = chunk.model_copy(update={"usage": None})
        return f"data: {chunk.model_dump_json()}\n\n".encode()

    try:
        yield event(layout.first(answer))
        async for piece in answer.pieces(request):
            yield event(layout.piece(answer, piece))
        yield event(layout.last(answer))
        if includes_usage:
            yield event(layout.usage(answer))
        yield b"data: [DONE]\n\n"
    except Exception as error:
        yield f"data: {json.dumps(as_api_error(error).body)}\n\n".encode()
    finally:
        answer.stop()
