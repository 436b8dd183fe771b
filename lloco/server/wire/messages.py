"""The messages of a chat: the user's last one is the question, what stands before it is the question's history.

How a history is worded and where it stands is the template's and the prompt's business, not that of this file.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from lloco.prompts.prompt import History
from lloco.server.errors import ApiError
from lloco.server.wire.body import Wire

_MAY_BE_EMPTY = frozenset({"refusal", "audio", "function_call", "tool_calls", "annotations"})
"""Fields that clients send back with an answer although there is nothing in them."""


def _as_parts(value: object) -> object:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class Part(Wire):
    """A part of a message: text, or a document of the corpus, whose vectors are read."""

    type: Literal["text", "document"]
    text: str = ""
    document_id: str | None = None

    @model_validator(mode="after")
    def _has_its_own_field(self) -> "Part":
        own = {"text": "text", "document": "document_id"}[self.type]
        if self.model_fields_set != {"type", own} or (self.type == "document" and not self.document_id):
            raise ValueError(f"a part of type {self.type} has the field {own} and no other")
        return self


class Message(Wire):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[Part], BeforeValidator(_as_parts)]
    name: str | None = None
    """Who speaks; not read: no wording has a place for it, and no adapter was trained on any."""
    citations: list[Any] | None = None
    """What an answer was read from, which the client sends back with it; not read."""

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_empty(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {name: field for name, field in value.items() if name not in _MAY_BE_EMPTY or field not in (None, [])}

    @property
    def text(self) -> str:
        """Its parts of text, a line each."""
        return "\n".join(part.text for part in self.content if part.type == "text")

    @property
    def document_ids(self) -> list[str]:
        """Documents that it names."""
        return [part.document_id for part in self.content if part.document_id is not None]


def read_conversation(messages: Sequence[Message], field: str = "messages") -> tuple[str, History]:
    """Return the question and what was said before it; `field` is what the request calls the messages.

    Raises:
        ApiError: the last message is not the user's, there is no question in it, or the order is another.
    """
    num_first = 0
    while num_first < len(messages) and messages[num_first].role in ("system", "developer"):
        num_first += 1
    turns: list[tuple[str, str]] = []
    for index, message in enumerate(messages[num_first:], start=num_first):
        if message.role == "user":
            turns.append((message.text, ""))
        elif message.role == "assistant" and turns and not turns[-1][1]:
            turns[-1] = (turns[-1][0], message.text)
        else:
            order = "send system messages first, then the user's, each with its answer, and the question last"
            raise _refused(field, index, f"must not be {message.role!r} here: {order}")
    if not messages:
        raise ApiError(400, f"{field} is empty: send the user's question", param=field)
    if messages[-1].role != "user":
        raise _refused(field, len(messages) - 1, "must be 'user' in the last message: end with the question")
    question, _ = turns.pop()
    if not question.strip():
        param = f"{field}[{len(messages) - 1}].content"
        raise ApiError(400, f"{param} is empty: write a question", param=param)
    return question, History("\n".join(message.text for message in messages[:num_first]), tuple(turns))


def named_document(messages: Sequence[Message], field: str = "messages") -> str | None:
    """Return the document that the question names; None where it names none.

    Raises:
        ApiError: another message names one, or the question names several.
    """
    for index, message in enumerate(messages):
        ids = message.document_ids
        if ids and (index + 1 < len(messages) or len(ids) > 1):
            param = f"{field}[{index}].content"
            raise ApiError(
                400, f"{param} must not name this document: send one document part, in the last message", param=param
            )
    return next(iter(messages[-1].document_ids), None) if messages else None


def _refused(field: str, index: int, message: str) -> ApiError:
    param = f"{field}[{index}].role"
    return ApiError(400, f"{param} {message}", param=param)
