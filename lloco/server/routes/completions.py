"""POST /v1/chat/completions and /v1/completions: a question to a corpus, answered whole or as a stream of chunks."""

import json
from collections.abc import Iterator

from fastapi import APIRouter, Request
from starlette.responses import Response

from lloco.server.errors import ApiError
from lloco.server.questions import RunningAnswer
from lloco.server.routes.answering import answer_question, sent_event
from lloco.server.routes.completion_layout import ChatLayout, ChunkLayout, TextLayout
from lloco.server.service import Caller, Served
from lloco.server.wire.body import parse, read_json
from lloco.server.wire.requests import (
    CHAT_OTHERS,
    COMPLETION_OTHERS,
    ChatRequest,
    CompletionRequest,
    check_others,
)
from lloco.server.wire.responses import Completion

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request, grant: Caller, service: Served) -> Response:
    """Answer the user's message."""
    body = check_others(await read_json(request, service.limits.question_bytes), CHAT_OTHERS)
    asked = parse(ChatRequest, body)
    return await answer_question(request, grant, service, asked, Chunks(ChatLayout(), asked.includes_usage))


@router.post("/v1/completions")
async def completions(request: Request, grant: Caller, service: Served) -> Response:
    """Answer the prompt, which is a question."""
    body = check_others(await read_json(request, service.limits.question_bytes), COMPLETION_OTHERS)
    asked = parse(CompletionRequest, body)
    return await answer_question(request, grant, service, asked, Chunks(TextLayout(), asked.includes_usage))


class Chunks:
    """An answer whole or in chunks, which end with [DONE]."""

    def __init__(self, layout: ChunkLayout, includes_usage: bool) -> None:
        self._layout, self._includes_usage = layout, includes_usage

    def whole(self, answer: RunningAnswer, text: str) -> Completion:
        """Return the whole answer."""
        return self._layout.whole(answer, text)

    def first(self, answer: RunningAnswer) -> Iterator[bytes]:
        """Yield the chunk that says what was read."""
        yield self._event(self._layout.first(answer))

    def piece(self, answer: RunningAnswer, text: str) -> Iterator[bytes]:
        """Yield a chunk with more text."""
        yield self._event(self._layout.piece(answer, text))

    def last(self, answer: RunningAnswer, text: str) -> Iterator[bytes]:
        """Yield the chunk that says why the answer ended, the usage where it is asked for, and the end."""
        yield self._event(self._layout.last(answer))
        if self._includes_usage:
            yield self._event(self._layout.usage(answer))
        yield sent_event("[DONE]")

    def failed(self, answer: RunningAnswer, error: ApiError) -> Iterator[bytes]:
        """Yield the error."""
        yield sent_event(json.dumps(error.body))

    def _event(self, chunk: Completion) -> bytes:
        if self._includes_usage and chunk.usage is None:
            chunk = chunk.model_copy(update={"usage": None})
        return sent_event(chunk.model_dump_json())
