"""An answer in the layout of chat completions or of completions: whole, or as the chunks of a stream."""

from typing import Protocol

from lloco.answer.answer import Citation
from lloco.server.questions import RunningAnswer
from lloco.server.wire.responses import (
    ChatChoice,
    ChatMessage,
    ChunkChoice,
    CitedDocument,
    Completion,
    Delta,
    FinishReason,
    PromptTokensDetails,
    ReadBy,
    TextChoice,
    Usage,
)


class ChunkLayout(Protocol):
    """How one of the two endpoints words an answer."""

    def whole(self, answer: RunningAnswer, text: str) -> Completion:
        """Return the whole answer."""
        ...

    def first(self, answer: RunningAnswer) -> Completion:
        """Return the chunk that says who speaks and what was read."""
        ...

    def piece(self, answer: RunningAnswer, text: str) -> Completion:
        """Return a chunk with more text."""
        ...

    def last(self, answer: RunningAnswer) -> Completion:
        """Return the chunk that says why the answer ended."""
        ...

    def usage(self, answer: RunningAnswer) -> Completion:
        """Return the chunk that counts tokens."""
        ...


class ChatLayout:
    """Chat completions."""

    def whole(self, answer: RunningAnswer, text: str) -> Completion:
        """Return the whole answer."""
        message = ChatMessage(content=text, citations=citations_of(answer))
        choice = ChatChoice(message=message, finish_reason=_finish_reason(answer))
        made = _completion(answer, "chat.completion", [choice])
        return made.model_copy(update={"usage": usage_of(answer), "lloco": read_by(answer)})

    def first(self, answer: RunningAnswer) -> Completion:
        """Return the chunk that says who speaks and what was read."""
        delta = Delta(role="assistant", content="", citations=citations_of(answer))
        return self._chunk(answer, [ChunkChoice(delta=delta)]).model_copy(update={"lloco": read_by(answer)})

    def piece(self, answer: RunningAnswer, text: str) -> Completion:
        """Return a chunk with more text."""
        return self._chunk(answer, [ChunkChoice(delta=Delta(content=text))])

    def last(self, answer: RunningAnswer) -> Completion:
        """Return the chunk that says why the answer ended."""
        return self._chunk(answer, [ChunkChoice(delta=Delta(), finish_reason=_finish_reason(answer))])

    def usage(self, answer: RunningAnswer) -> Completion:
        """Return the chunk that counts tokens."""
        return self._chunk(answer, []).model_copy(update={"usage": usage_of(answer)})

    def _chunk(self, answer: RunningAnswer, choices: list[ChunkChoice]) -> Completion:
        return _completion(answer, "chat.completion.chunk", choices)


class TextLayout:
    """Completions, whose chunks look like whole answers."""

    def whole(self, answer: RunningAnswer, text: str) -> Completion:
        """Return the whole answer."""
        made = self._chunk(answer, text, _finish_reason(answer), citations_of(answer))
        return made.model_copy(update={"usage": usage_of(answer), "lloco": read_by(answer)})

    def first(self, answer: RunningAnswer) -> Completion:
        """Return the chunk that says what was read."""
        return self._chunk(answer, "", None, citations_of(answer)).model_copy(update={"lloco": read_by(answer)})

    def piece(self, answer: RunningAnswer, text: str) -> Completion:
        """Return a chunk with more text."""
        return self._chunk(answer, text, None)

    def last(self, answer: RunningAnswer) -> Completion:
        """Return the chunk that says why the answer ended."""
        return self._chunk(answer, "", _finish_reason(answer))

    def usage(self, answer: RunningAnswer) -> Completion:
        """Return the chunk that counts tokens."""
        return _completion(answer, "text_completion", []).model_copy(update={"usage": usage_of(answer)})

    def _chunk(
        self, answer: RunningAnswer, text: str, reason: FinishReason | None, cited: list[CitedDocument] | None = None
    ) -> Completion:
        choice = TextChoice(text=text, logprobs=None, finish_reason=reason, citations=cited)
        return _completion(answer, "text_completion", [choice])


def usage_of(answer: RunningAnswer) -> Usage:
    """Count an answer that has ended."""
    assert answer.generation is not None, "an answer is counted when it has ended"
    num_read, num_written = answer.generation.num_prompt_tokens, len(answer.generation.token_ids)
    num_virtual = answer.prepared.prompt.num_virtual_tokens
    details = PromptTokensDetails(cached_tokens=answer.generation.num_cached_tokens, text_tokens=num_read - num_virtual)
    return Usage(
        prompt_tokens=num_read,
        completion_tokens=num_written,
        total_tokens=num_read + num_written,
        prompt_tokens_details=details,
        virtual_tokens=num_virtual,
        document_tokens=answer.prepared.num_document_tokens,
        context_tokens=answer.prepared.prompt.num_context_tokens,
    )


def _completion(
    answer: RunningAnswer, kind: str, choices: "list[ChatChoice] | list[ChunkChoice] | list[TextChoice]"
) -> Completion:
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return Completion.model_validate(
        {
            "id": f"{prefix}-{answer.id}",
            "object": kind,
            "created": answer.created,
            "model": answer.corpus,
            "system_fingerprint": "-".join(
                ["lloco", answer.engine.decoder.digest[:12], (answer.prepared.adapter or "none")[:12]]
            ),
            "choices": choices,
        }
    )


def citations_of(answer: RunningAnswer) -> list[CitedDocument]:
    """Return what the answer was read from."""
    return [_cited(citation) for citation in answer.prepared.documents]


def _cited(citation: Citation) -> CitedDocument:
    """Leave out where the file was: folders of this machine are nobody's business."""
    return CitedDocument(
        document_id=citation.document_id,
        title=citation.title,
        start=citation.start,
        end=citation.end,
        text=citation.text,
        score=citation.score,
        page=citation.page,
    )


def read_by(answer: RunningAnswer) -> ReadBy:
    """Return what answers."""
    return ReadBy(
        corpus=answer.corpus,
        votes=None if answer.route is None else dict(answer.route.votes),
        adapter=answer.prepared.adapter,
        decoder=answer.engine.decoder.digest,
        mode=answer.prepared.mode,
        is_whole=answer.prepared.is_whole,
    )


def _finish_reason(answer: RunningAnswer) -> FinishReason:
    assert answer.generation is not None, "only an answer that has ended says why"
    return "length" if answer.generation.finish_reason == "length" else "stop"
