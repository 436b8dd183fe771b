"""The messages of a chat: the user's last one is the question, what stands before it is the question's history.

How a history is worded and where it stands is the template's and the prompt's business, not that of this file.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from lloco.prompt import History
from lloco.server.errors import ApiError
from lloco.server.request_body import Wire

_MAY_BE_EMPTY = frozenset({"name", "refusal", "audio", "function_call", "tool_calls", "annotations"})
"""Fields that clients send back with an answer although there is nothing in them."""


def _as_parts(value: object) -> object:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class Part(Wire):
    """A part of a message; only text is read."""

    type: Literal["text"]
    text: str


class Message(Wire):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[Part], BeforeValidator(_as_parts)]
    citations: list[Any] | None = None
    """What an answer was read from, which the client sends back with it; not read."""

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_empty(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {name: one for name, one in value.items() if name not in _MAY_BE_EMPTY or one not in (None, [])}

    @property
    def text(self) -> str:
        """Its parts, a line each."""
        return "\n".join(part.text for part in self.content)


def read_conversation(messages: Sequence[Message]) -> tuple[str, History]:
    """Return the question and what was said before it.

    Raises:
        ApiError: the last message is not the user's, there is no question in it, or an order that has no place.
    """
    num_first = 0
    while num_first < len(messages) and messages[num_first].role in ("system", "developer"):
        num_first += 1
    turns: list[tuple[str, str]] = []
    for place, message in enumerate(messages[num_first:], start=num_first):
        if message.role == "user":
            turns.append((message.text, ""))
        elif message.role == "assistant" and turns and not turns[-1][1]:
            turns[-1] = (turns[-1][0], message.text)
        else:
            order = "system messages, then the user's with an answer to each, the question last"
            raise _refused(place, f"{order} were wanted, here came {message.role!r}: leave it out")
    if not messages or messages[-1].role != "user":
        raise _refused(len(messages) - 1, "the user's question was wanted as the last message: add it")
    question, _ = turns.pop()
    if not question.strip():
        param = f"messages[{len(messages) - 1}].content"
        raise ApiError(400, f"{param}: a question was wanted, it is empty", param=param)
    return question, History("\n".join(one.text for one in messages[:num_first]), tuple(turns))


def _refused(place: int, message: str) -> ApiError:
    param = f"messages[{place}].role" if place >= 0 else "messages"
    return ApiError(400, f"{param}: {message}", param=param)
