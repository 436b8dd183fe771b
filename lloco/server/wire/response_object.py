"""What POST /v1/responses answers: the response, its message, and the events of its stream.

Extensions, which stock clients ignore: `citations` in the message, `lloco`, and counts in `usage`.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from lloco.server.wire.responses import CitedDocument, ReadBy, Sparse

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class FileCitation(BaseModel):
    """A document that was read."""

    type: Literal["file_citation"] = "file_citation"
    file_id: str
    """The document's id."""
    filename: str
    """Its title, or its id where it has none."""
    index: int
    """Which of the cited documents it is, from 0."""


class OutputText(BaseModel):
    """The answer's text, with what it was read from."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[FileCitation]
    logprobs: list[Any] = Field(default_factory=list)


class OutputMessage(BaseModel):
    """The one item of the output."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]
    citations: list[CitedDocument]
    """As in chat completions; extension."""


class IncompleteDetails(BaseModel):
    """Why a response ended before its answer did."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseError(BaseModel):
    """Why a response failed."""

    code: Literal["server_error"] = "server_error"
    message: str


class InputTokensDetails(BaseModel):
    """What the input's tokens were."""

    cached_tokens: int
    cache_write_tokens: int = 0
    """Not counted."""
    text_tokens: int
    """Without the vectors; extension."""


class OutputTokensDetails(BaseModel):
    """What the output's tokens were."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """What an answer cost; the last three are extensions, as in `Usage`."""

    input_tokens: int
    """Positions that the decoder read, virtual tokens included."""
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int
    virtual_tokens: int
    document_tokens: int
    context_tokens: int


class TextFormat(BaseModel):
    """What the text is."""

    type: Literal["text"] = "text"


class TextOptions(BaseModel):
    """How the text is laid out."""

    format: TextFormat = TextFormat()


class ResponseObject(BaseModel):
    """A response, at any time of its life."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None
    status: Status
    background: Literal[False] = False
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    model: str
    output: list[OutputMessage]
    parallel_tool_calls: bool = True
    previous_response_id: None
    store: Literal[False] = False
    temperature: float
    text: TextOptions = TextOptions()
    tool_choice: Literal["auto"] = "auto"
    tools: list[Any] = Field(default_factory=list)
    top_p: float
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None
    metadata: dict[str, str]
    user: str | None
    safety_identifier: str | None
    prompt_cache_key: str | None
    lloco: ReadBy


class StreamEvent(Sparse):
    """One event of a stream; which of the fields it has is said by its type."""

    type: str
    sequence_number: int
    response: ResponseObject | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    annotation_index: int | None = None
    item: OutputMessage | None = None
    part: OutputText | None = None
    annotation: FileCitation | None = None
    delta: str | None = None
    text: str | None = None
    logprobs: list[Any] | None = None
    code: str | None = None
    message: str | None = None
    param: str | None = None
