"""What the server answers, as pydantic models in the layout of the OpenAI API.

Extensions, which stock clients ignore: `citations`, `lloco`, and two counts in `usage`.
"""

from typing import Any, Literal

from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer
from starlette.responses import Response

from lloco.answer.mode import Mode

FinishReason = Literal["stop", "length"]


class Sparse(BaseModel):
    """A model whose fields that were not given and have no value are not sent."""

    @model_serializer(mode="wrap")
    def _without_what_was_not_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        sent: dict[str, Any] = serialize(self)
        return {name: value for name, value in sent.items() if value is not None or name in self.model_fields_set}


class PromptTokensDetails(BaseModel):
    """What the prompt's tokens were."""

    cached_tokens: int = 0
    text_tokens: int


class Usage(BaseModel):
    """What an answer cost."""

    prompt_tokens: int
    """Positions that the decoder read, virtual tokens included."""
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    virtual_tokens: int
    """Vectors that were read instead of text; extension."""
    document_tokens: int
    """Tokens of the documents that were read; extension."""
    context_tokens: int
    """Tokens of the documents that were read as text; extension."""


class CitedDocument(BaseModel):
    """A document that was read, with the passage that fits the question best; extension."""

    document_id: str
    title: str
    start: int | None
    end: int | None
    text: str
    score: float | None
    page: int | None = None


class ReadBy(BaseModel):
    """What answered; extension `lloco`."""

    corpus: str
    votes: dict[str, float] | None
    """Each corpus's share of the votes, where the question was routed."""
    adapter: str | None
    """Digest of the adapter that read the vectors."""
    decoder: str
    """Digest of the decoder's weights."""
    mode: Mode
    """What was read: soft prompts, or the text."""
    is_whole: bool
    """Whether the documents were read whole, not only what holds the passages found."""


class ChatMessage(BaseModel):
    """A whole answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    citations: list[CitedDocument]


class ChatChoice(BaseModel):
    """The one answer."""

    index: int = 0
    message: ChatMessage
    logprobs: None = None
    finish_reason: FinishReason


class Delta(Sparse):
    """What a chunk adds to the answer; the first brings role and citations, the last nothing."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    citations: list[CitedDocument] | None = None


class ChunkChoice(BaseModel):
    """The one answer in a stream."""

    index: int = 0
    delta: Delta
    logprobs: None = None
    finish_reason: FinishReason | None = None


class TextChoice(Sparse):
    """The one answer of completions, or what a chunk adds to it."""

    index: int = 0
    text: str
    logprobs: None
    finish_reason: FinishReason | None
    citations: list[CitedDocument] | None = None


class Completion(Sparse):
    """A whole answer, or one chunk of a stream."""

    id: str
    object: Literal["chat.completion", "chat.completion.chunk", "text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice] | list[ChunkChoice] | list[TextChoice]
    usage: Usage | None = None
    lloco: ReadBy | None = None


class Model(BaseModel):
    """A corpus, as a model that can be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "lloco"


class AnsweringModel(BaseModel):
    """The decoder that answers for a corpus where a question names no mode."""

    name: str
    num_parameters: int | None
    """None where it is not known before the model is loaded."""
    good_for: str | None
    """What may be expected of it, where that is known."""
    is_loaded: bool
    mode: Mode
    """The mode of questions that name none."""


class CorpusInfo(BaseModel):
    """A corpus in numbers."""

    id: str
    object: Literal["corpus"] = "corpus"
    num_documents: int
    num_passages: int
    document_tokens: int
    virtual_tokens: int
    compressor_digest: str | None
    adapter: str | None
    model: AnsweringModel


class DocumentInfo(Sparse):
    """A document without its text, but where that was asked for."""

    id: str
    object: Literal["document"] = "document"
    corpus: str
    title: str
    document_tokens: int
    virtual_tokens: int
    text_digest: str
    text: str | None = None
    unread: str | None = None
    """What of an uploaded file was not read, where that is known."""


class QueuedDocument(BaseModel):
    """A document that is on its way into a corpus."""

    id: str
    object: Literal["queued_document"] = "queued_document"
    corpus: str
    stage: Literal["waiting", "reading", "compressing"]
    num_ahead: int
    """Documents that are added before it, about."""
    seconds_left: int | None
    """Until it is added, about; None before the first one is."""


class Deleted(BaseModel):
    """What is gone."""

    id: str
    object: str
    deleted: bool = True


class Page(BaseModel):
    """A list."""

    object: Literal["list"] = "list"
    data: list[Model] | list[CorpusInfo] | list[DocumentInfo] | list[QueuedDocument]
    has_more: bool = False


def respond(model: BaseModel, status: int = 200) -> Response:
    """Return the response that sends a model as JSON."""
    return Response(model.model_dump_json(), status_code=status, media_type="application/json")
