"""An answer in the layout of responses: whole, or as the events of a stream, numbered in the order of the API."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from lloco.server.errors import ApiError
from lloco.server.questions import RunningAnswer
from lloco.server.routes.answering import sent_event
from lloco.server.routes.completion_layout import citations_of, read_by, usage_of
from lloco.server.wire.response_object import (
    FileCitation,
    IncompleteDetails,
    InputTokensDetails,
    OutputMessage,
    OutputText,
    ResponseError,
    ResponseObject,
    ResponseUsage,
    Status,
    StreamEvent,
)
from lloco.server.wire.response_request import ResponseRequest


class ResponseLayout:
    """One response to one request."""

    def __init__(self, asked: ResponseRequest) -> None:
        self._asked = asked
        self._num_events = 0

    def whole(self, answer: RunningAnswer, text: str) -> ResponseObject:
        """Return the whole answer."""
        status = _status(answer)
        return self._response(answer, status, [_message(answer, status, [_text(answer, text)])])

    def first(self, answer: RunningAnswer) -> Iterator[bytes]:
        """Yield the events that begin the response, its message and its text."""
        begun = self._response(answer, "in_progress", [])
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)
        item = _message(answer, "in_progress", [])
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._in_text(answer, "response.content_part.added", part=OutputText(text="", annotations=[]))

    def piece(self, answer: RunningAnswer, text: str) -> Iterator[bytes]:
        """Yield the event with more text."""
        yield self._in_text(answer, "response.output_text.delta", delta=text, logprobs=[])

    def last(self, answer: RunningAnswer, text: str) -> Iterator[bytes]:
        """Yield the citations, and the events that end the text, its message and the response."""
        part, status = _text(answer, text), _status(answer)
        for index, cited in enumerate(part.annotations):
            yield self._in_text(
                answer, "response.output_text.annotation.added", annotation_index=index, annotation=cited
            )
        yield self._in_text(answer, "response.output_text.done", text=text, logprobs=[])
        yield self._in_text(answer, "response.content_part.done", part=part)
        item = _message(answer, status, [part])
        yield self._event("response.output_item.done", output_index=0, item=item)
        yield self._event(f"response.{status}", response=self._response(answer, status, [item]))

    def failed(self, answer: RunningAnswer, error: ApiError) -> Iterator[bytes]:
        """Yield the error, and the response that failed by it."""
        yield self._event("error", code=error.code, message=error.message, param=error.param)
        failed = self._response(answer, "failed", [], ResponseError(message=error.message))
        yield self._event("response.failed", response=failed)

    def _event(self, type: str, **fields: Any) -> bytes:
        event = StreamEvent(type=type, sequence_number=self._num_events, **fields)
        self._num_events += 1
        return sent_event(event.model_dump_json(), type)

    def _in_text(self, answer: RunningAnswer, type: str, **fields: Any) -> bytes:
        return self._event(type, item_id=_message_id(answer), output_index=0, content_index=0, **fields)

    def _response(
        self,
        answer: RunningAnswer,
        status: Status,
        output: list[OutputMessage],
        error: ResponseError | None = None,
    ) -> ResponseObject:
        asked, sampling = self._asked, answer.prepared.sampling
        return ResponseObject(
            id=f"resp_{answer.id}",
            created_at=answer.created,
            completed_at=int(time.time()) if status == "completed" else None,
            status=status,
            error=error,
            incomplete_details=IncompleteDetails() if status == "incomplete" else None,
            instructions=asked.instructions,
            max_output_tokens=asked.max_output_tokens,
            model=answer.corpus,
            output=output,
            previous_response_id=None,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            usage=_usage(answer) if status in ("completed", "incomplete") else None,
            metadata=asked.metadata or {},
            user=asked.user,
            safety_identifier=asked.safety_identifier,
            prompt_cache_key=asked.prompt_cache_key,
            lloco=read_by(answer),
        )


def _status(answer: RunningAnswer) -> Status:
    assert answer.generation is not None, "only an answer that has ended says why"
    return "incomplete" if answer.generation.finish_reason == "length" else "completed"


def _message_id(answer: RunningAnswer) -> str:
    return f"msg_{answer.id}"


def _message(answer: RunningAnswer, status: Status, content: Sequence[OutputText]) -> OutputMessage:
    assert status != "failed", "a failed response has no message"
    return OutputMessage(id=_message_id(answer), status=status, content=list(content), citations=citations_of(answer))


def _text(answer: RunningAnswer, text: str) -> OutputText:
    annotations = [
        FileCitation(file_id=cited.document_id, filename=cited.title or cited.document_id, index=index)
        for index, cited in enumerate(answer.prepared.documents)
    ]
    return OutputText(text=text, annotations=annotations)


def _usage(answer: RunningAnswer) -> ResponseUsage:
    usage = usage_of(answer)
    details = usage.prompt_tokens_details
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=details.cached_tokens, text_tokens=details.text_tokens),
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        virtual_tokens=usage.virtual_tokens,
        document_tokens=usage.document_tokens,
        context_tokens=usage.context_tokens,
    )
