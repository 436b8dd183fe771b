"""A question answered whole or as a stream of server-sent events, in the layout of the endpoint that took it."""

from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lloco.answer.budget import NoRoomError
from lloco.retrieval.retriever import NothingFoundError
from lloco.server.access import Grant
from lloco.server.errors import ApiError, as_api_error
from lloco.server.questions import RunningAnswer
from lloco.server.service import Service
from lloco.server.wire.requests import QuestionBody
from lloco.server.wire.responses import respond

STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Layout(Protocol):
    """How an endpoint words one answer; the streamed parts are whole server-sent events."""

    def whole(self, answer: RunningAnswer, text: str) -> BaseModel:
        """Return the whole answer."""
        ...

    def first(self, answer: RunningAnswer) -> Iterable[bytes]:
        """Return the events before any text."""
        ...

    def piece(self, answer: RunningAnswer, text: str) -> Iterable[bytes]:
        """Return the events for more text."""
        ...

    def last(self, answer: RunningAnswer, text: str) -> Iterable[bytes]:
        """Return the events after the text, given all of it."""
        ...

    def failed(self, answer: RunningAnswer, error: ApiError) -> Iterable[bytes]:
        """Return the events that end a stream in place of the last ones."""
        ...


def sent_event(data: str, type: str | None = None) -> bytes:
    """Return a server-sent event of one line of data."""
    return (f"event: {type}\ndata: {data}\n\n" if type is not None else f"data: {data}\n\n").encode()


async def answer_question(
    request: Request, grant: Grant, service: Service, asked: QuestionBody, layout: Layout
) -> Response:
    """Answer a question. Raises `ApiError` or `LlocoError` where it cannot be answered."""
    try:
        answer = await service.questions.ask(grant, asked)
    except (NoRoomError, NothingFoundError) as error:
        raise as_api_error(error, asked.error_fields) from error
    if asked.stream:
        events = _events(request, answer, layout)
        return StreamingResponse(events, media_type="text/event-stream", headers=STREAM_HEADERS)
    text = "".join([piece async for piece in answer.pieces(request)])
    return respond(layout.whole(answer, text))


async def _events(request: Request, answer: RunningAnswer, layout: Layout) -> AsyncIterator[bytes]:
    """Yield server-sent events; an error after the beginning is an event, as the status is gone."""
    text = []
    try:
        for event in layout.first(answer):
            yield event
        async for piece in answer.pieces(request):
            text.append(piece)
            for event in layout.piece(answer, piece):
                yield event
        for event in layout.last(answer, "".join(text)):
            yield event
    except Exception as error:
        for event in layout.failed(answer, as_api_error(error)):
            yield event
    finally:
        answer.stop()
