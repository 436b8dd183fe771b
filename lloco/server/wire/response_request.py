"""What clients may send to POST /v1/responses. Every field of it is honoured here or refused by its name.

The input is read as the messages of a chat are. Nothing is stored, so the caller sends what was said before.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from lloco.engine.engine import SamplingParams
from lloco.prompts.prompt import History
from lloco.server.errors import ApiError, QuestionFields
from lloco.server.wire.body import Wire
from lloco.server.wire.messages import Message, Part, named_document, read_conversation
from lloco.server.wire.requests import DEFAULT_MAX_TOKENS, LlocoOptions, QuestionBody

RESPONSE_OTHERS: Mapping[str, tuple[object, ...]] = {
    "access_programs": (),
    "background": (False,),
    "background_options": (),
    "context_management": ([],),
    "conversation": (),
    "image": (),
    "include": ([], ["reasoning.encrypted_content"]),
    "max_tool_calls": (),
    "moderation": (),
    "parallel_tool_calls": (True, False),
    "previous_response_id": (),
    "prompt": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning": ({}, {"effort": "none"}),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "text": ({"format": {"type": "text"}}, {}),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
"""Fields of responses that are not honoured, each with the values that ask for nothing; so is null."""
_SEND_IT = "responses are not stored: send what was said before in input"
INSTEAD: Mapping[str, str] = {
    "previous_response_id": _SEND_IT,
    "conversation": _SEND_IT,
    "store": "responses are not stored: leave it out, or send False",
}
"""What to do in place of some of these."""


def _as_parts(value: object) -> object:
    return [{"type": "input_text", "text": value}] if isinstance(value, str) else value


def _as_items(value: object) -> object:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


class InputPart(Wire):
    """A part of a message: text, or a document of the corpus, whose vectors are read."""

    type: Literal["input_text", "output_text", "document"]
    text: str | None = None
    document_id: str | None = None
    annotations: list[Any] | None = None
    """What an answer cites, which the client sends back with it; not read."""
    logprobs: list[Any] | None = None

    @model_validator(mode="after")
    def _has_its_own_field(self) -> "InputPart":
        own, other = ("document_id", "text") if self.type == "document" else ("text", "document_id")
        if getattr(self, own) in (None, "" if self.type == "document" else None) or getattr(self, other) is not None:
            raise ValueError(f"a part of type {self.type} must have the field {own}, and not {other}")
        return self

    def part(self) -> Part:
        """Return it as a part of a chat's message."""
        if self.type == "document":
            return Part(type="document", document_id=self.document_id)
        return Part(type="text", text=self.text or "")


class InputItem(Wire):
    """One item of the input, a message."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[InputPart], BeforeValidator(_as_parts)]
    id: str | None = None
    status: str | None = None
    phase: str | None = None
    citations: list[Any] | None = None
    """These four come with an answer that is sent back; not read."""

    def message(self) -> Message:
        """Return it as a message of a chat."""
        return Message(role=self.role, content=[part.part() for part in self.content])


class ResponseStreamOptions(Wire):
    """How a stream of responses is sent."""

    include_obfuscation: Literal[False] | None = None


class ResponseRequest(QuestionBody):
    """POST /v1/responses."""

    error_fields: ClassVar[QuestionFields] = QuestionFields("input", "max_output_tokens")

    input: Annotated[list[InputItem], BeforeValidator(_as_items)]
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    stream_options: ResponseStreamOptions | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    def conversation(self) -> tuple[str, History]:
        """Return the user's last message, and what was said before; instructions are the first of it."""
        question, history = read_conversation(self._messages, "input")
        if self.instructions:
            given = [self.instructions, *([history.instructions] if history.instructions else [])]
            history = replace(history, instructions="\n".join(given))
        return question, history

    def options(self) -> LlocoOptions:
        """Return the extension's fields, with the document that a part names. Raises `ApiError` where two are named."""
        return self.options_with(named_document(self._messages, "input"))

    def sampling(self) -> SamplingParams:
        """Return how the answer is to be generated; greedy unless a temperature was sent."""
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "stream_options needs stream: leave it out, or send stream", param="stream_options")
        return SamplingParams(
            max_tokens=self.max_output_tokens or DEFAULT_MAX_TOKENS,
            temperature=self.temperature or 0.0,
            top_p=1.0 if self.top_p is None else self.top_p,
        )

    @property
    def _messages(self) -> list[Message]:
        return [item.message() for item in self.input]
