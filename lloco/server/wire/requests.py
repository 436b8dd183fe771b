"""What clients may send, as pydantic models. Every field of the OpenAI API is honoured here or refused by its name.

A field that is not honoured may come with a value that asks for nothing, such as n: 1. Those that say who asks, and for
what, change no answer and are taken. There is no field for vectors: nobody can hand the decoder embeddings.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from lloco.answer.mode import Mode
from lloco.answer.question import Unit
from lloco.engine.engine import SamplingParams
from lloco.prompts.prompt import NO_HISTORY, History
from lloco.server.errors import CHAT_FIELDS, ApiError, QuestionFields
from lloco.server.wire.body import Wire
from lloco.server.wire.messages import Message, named_document, read_conversation

DEFAULT_MAX_TOKENS = 64
ROUTED = "lloco/auto"
"""The model that stands for all corpora of the caller; no corpus can have such a name."""
CORPUS_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
MAX_STOPS = 4

_OTHERS: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
}
CHAT_OTHERS: Mapping[str, tuple[object, ...]] = {
    **_OTHERS,
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": (),
    "web_search_options": (),
    "store": (False,),
    "moderation": (),
    "service_tier": ("auto", "default"),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
}
"""Fields of chat completions that are not honoured, each with the values that ask for nothing; so is null."""
COMPLETION_OTHERS: Mapping[str, tuple[object, ...]] = {
    **_OTHERS,
    "logprobs": (),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
}
"""The same of completions."""


def check_others(
    value: object, others: Mapping[str, tuple[object, ...]], instead: Mapping[str, str] | None = None
) -> object:
    """Return the request without the fields that ask for nothing; `instead` says what to do in place of some.

    Raises `ApiError` 400 for a field that asks for something.
    """
    if not isinstance(value, dict):
        return value
    for name, neutral in others.items():
        sent = value.get(name)
        asks = not any(sent == allowed and isinstance(sent, bool) == isinstance(allowed, bool) for allowed in neutral)
        if sent is not None and asks:
            advice = f"leave it out, or send {' or '.join(map(str, neutral))}" if neutral else "leave it out"
            advice = (instead or {}).get(name, advice)
            raise ApiError(400, f"{name} is not supported here: {advice}", param=name, code="unsupported_parameter")
    return {name: sent for name, sent in value.items() if name not in others}


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class LlocoOptions(Wire):
    """The extension `lloco` of a question."""

    document: str | None = None
    top_k: int = Field(default=1, ge=1, le=100)
    unit: Unit = "document"
    mode: Mode | None = None
    """The server's own where none is named."""
    max_virtual_tokens: int | None = Field(default=None, ge=1)
    budget: int | None = Field(default=None, ge=1)
    strict: bool = False


class QuestionBody(Wire):
    """What every endpoint that takes a question has in common."""

    error_fields: ClassVar[QuestionFields] = CHAT_FIELDS

    model: str
    user: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stream: bool | None = None
    lloco: LlocoOptions = LlocoOptions()

    def conversation(self) -> tuple[str, History]:
        """Return the question and what was said before it. Raises `ApiError` 400 where there is no question."""
        raise NotImplementedError

    def sampling(self) -> SamplingParams:
        """Return how the answer is to be generated; greedy unless a temperature was sent."""
        raise NotImplementedError

    def options(self) -> LlocoOptions:
        """Return the extension's fields, whichever way they were sent."""
        return self.lloco

    def options_with(self, document: str | None) -> LlocoOptions:
        """Return the extension's fields with the document that a part names. Raises `ApiError` where two are named."""
        if document is None:
            return self.lloco
        if self.lloco.document not in (None, document):
            raise ApiError(400, "a document part and lloco.document differ: send one", param="lloco.document")
        return self.lloco.model_copy(update={"document": document})


class StreamOptions(Wire):
    """How a stream is sent."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class CompletionsBody(QuestionBody):
    """What chat completions and completions have in common."""

    max_tokens: int | None = Field(default=None, ge=1)
    stop: Annotated[list[str] | None, BeforeValidator(_as_list)] = None
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    stream_options: StreamOptions | None = None

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self) -> SamplingParams:
        """Return how the answer is to be generated; greedy unless a temperature was sent."""
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "stream_options needs stream: leave it out, or send stream", param="stream_options")
        stop = tuple(self.stop or ())
        if len(stop) > MAX_STOPS or "" in stop:
            raise ApiError(400, f"stop must be at most {MAX_STOPS} strings, none of them empty", param="stop")
        return SamplingParams(
            max_tokens=self.max_tokens or DEFAULT_MAX_TOKENS,
            temperature=self.temperature or 0.0,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=self.seed,
            stop=stop,
        )


class ChatRequest(CompletionsBody):
    """POST /v1/chat/completions."""

    messages: list[Message]
    max_completion_tokens: int | None = Field(default=None, ge=1)
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    def conversation(self) -> tuple[str, History]:
        """Return the user's last message, and what was said before."""
        return read_conversation(self.messages)

    def options(self) -> LlocoOptions:
        """Return the extension's fields, with the document that a part names. Raises `ApiError` where two are named."""
        return self.options_with(named_document(self.messages))

    def sampling(self) -> SamplingParams:
        """Return how the answer is to be generated. Raises `ApiError` where two lengths were sent."""
        if self.max_completion_tokens is not None:
            if self.max_tokens not in (None, self.max_completion_tokens):
                raise ApiError(400, "max_tokens and max_completion_tokens differ: send one", param="max_tokens")
            return self.model_copy(
                update={"max_tokens": self.max_completion_tokens, "max_completion_tokens": None}
            ).sampling()
        return super().sampling()


class CompletionRequest(CompletionsBody):
    """POST /v1/completions; the prompt is the question."""

    error_fields: ClassVar[QuestionFields] = QuestionFields(question="prompt")

    prompt: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1, max_length=1)]

    def conversation(self) -> tuple[str, History]:
        """Return the prompt; nothing was said before it."""
        if not self.prompt[0].strip():
            raise ApiError(400, "prompt is empty: write a question", param="prompt")
        return self.prompt[0], NO_HISTORY


class NewCorpus(Wire):
    """POST /v1/corpora."""

    name: str = Field(pattern=CORPUS_NAME)


class DocumentText(Wire):
    """PUT /v1/documents/{corpus}/{id}."""

    text: str
    title: str = ""


class NewDocument(DocumentText):
    """POST /v1/documents."""

    corpus: str
    id: str


def parse_id(id: str) -> str:
    """Return a new document's id. Raises `ApiError` 400 for one that could pass for a path out of a folder."""
    parts = id.split("/")
    if not id.isprintable() or len(id) > 512 or "\\" in id or any(part.strip() in ("", ".", "..") for part in parts):
        raise ApiError(
            400,
            "id must have at most 512 printable characters, and no part between slashes that is empty, . or ..",
            param="id",
        )
    return id
