"""A passage: a span of a document's text that the retriever finds as one piece."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """Characters `start` to `end` (exclusive) of a document's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PassageText:
    """A passage with the document it is of and its text."""

    document_id: str
    start: int
    end: int
    text: str
