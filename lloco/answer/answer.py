"""An answer, and the passages of documents that it cites."""

from dataclasses import dataclass

from lloco.answer.evidence import Evidence
from lloco.answer.mode import Mode
from lloco.documents.extracted import page_of
from lloco.retrieval.retriever import Hit


@dataclass(frozen=True, slots=True)
class Citation:
    """A document that was read, with its passage that fits the question best; or one of the passages alone."""

    document_id: str
    title: str
    source: str
    start: int | None
    """First character of the passage; None where no word of the question is in the document."""
    end: int | None
    text: str
    score: float | None
    page: int | None = None
    """Page or slide on which the passage begins; None where the document has none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, with what was read to give it."""

    text: str
    documents: tuple[Citation, ...]
    num_context_tokens: int
    """Document tokens that were read as text."""
    num_virtual_tokens: int
    """Vectors that were read instead of text."""
    num_document_tokens: int
    """Tokens of the documents that were read."""
    is_whole: bool
    """Whether the documents were read whole, not only what holds the passages found."""
    is_cut: bool
    """Whether the answer ended because it was as long as it may be."""
    adapter: str | None
    """Digest of the adapter that read them."""
    mode: Mode = "compressed"
    """What of the documents was read."""


def citations(evidence: Evidence) -> list[Citation]:
    """Cite a document by its best passage, or each of the passages that alone were read."""
    hits = evidence.hits if evidence.is_for_passages else evidence.hits[:1]
    return [_citation(evidence, hit) for hit in hits] or [_citation(evidence, None)]


def _citation(evidence: Evidence, hit: Hit | None) -> Citation:
    document = evidence.document
    return Citation(
        document_id=document.id,
        title=document.title,
        source=document.source,
        start=None if hit is None else hit.start,
        end=None if hit is None else hit.end,
        text="" if hit is None else hit.text,
        score=None if hit is None else hit.score,
        page=None if hit is None else page_of(document.text, hit.start),
    )
