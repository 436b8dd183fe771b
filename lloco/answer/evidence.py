"""The evidence for an answer: which documents, or which passages alone, a question is about.

How much of it fits a decoder is the business of `vectors` and `text`. Knows nothing of wording, engines or
answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lloco.errors import LlocoError
from lloco.retrieval.retriever import Hit, NothingFoundError, Retriever
from lloco.store.corpus import Corpus
from lloco.store.rows import StoredDocument

Unit: TypeAlias = Literal["document", "passage"]
"""What is found and read: whole documents where they fit, or no more than the best passages."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A document to read and its passages, best first; no passage where no word of the question is in it."""

    document: StoredDocument
    hits: tuple[Hit, ...]
    unit: Unit = "document"

    @property
    def is_for_passages(self) -> bool:
        """Whether only what holds the passages is to be read, though the whole document may fit."""
        return self.unit == "passage" and bool(self.hits)


def find_evidence(
    corpus: Corpus,
    question: str,
    *,
    document_id: str | None = None,
    top_k: int = 1,
    unit: Unit = "document",
    retriever: Retriever | None = None,
    earlier: Sequence[str] = (),
) -> list[Evidence]:
    """Return the documents to read: the one that is named, the only one there is, or the best ones.

    With the unit "passage" these are the documents of the `top_k` best passages, of the named document if there is one.
    Where no document has a word of the question, the questions asked earlier are searched for with it.

    Raises:
        NothingFoundError: there are several documents, and none has a word of the question.
        LlocoError: an empty question, no such document, or none at all.
    """
    if not question.strip():
        raise LlocoError("a question was wanted, it is empty: type one")
    if top_k < 1:
        raise LlocoError(f"at least 1 {unit} to read was wanted, top_k is {top_k}: give a higher one")
    named = [document_id] if document_id is not None else corpus.document_ids(limit=2)
    if not named:
        raise LlocoError(f"a document to read was wanted, corpus {corpus.name!r} has none: add one first")
    if len(named) > 1:
        retriever = retriever or Retriever.of_corpus(corpus)
        find = _best_passages if unit == "passage" else _best_documents
        for asked in (question, "\n".join([*earlier, question])) if earlier else (question,):
            if found := find(corpus, retriever, asked, top_k):
                return found
        raise NothingFoundError(
            f"a document about {question.strip()[:60]!r} was wanted, no document of corpus {corpus.name!r} has a "
            "word of it: ask in the documents' words, or name one with --document"
        )
    within = retriever or Retriever.build([])
    limit = top_k if unit == "passage" else None
    return [Evidence(corpus.document(one), _hits_within(corpus, within, one, question)[:limit], unit) for one in named]


def _best_documents(corpus: Corpus, retriever: Retriever, question: str, top_k: int) -> list[Evidence]:
    return [
        Evidence(corpus.document(hit.document_id), _hits_within(corpus, retriever, hit.document_id, question))
        for hit in retriever.search_documents(question, top_k)
    ]


def _best_passages(corpus: Corpus, retriever: Retriever, question: str, top_k: int) -> list[Evidence]:
    of_document: dict[str, list[Hit]] = {}
    for hit in retriever.search(question, top_k):
        of_document.setdefault(hit.document_id, []).append(hit)
    return [Evidence(corpus.document(id), tuple(hits), "passage") for id, hits in of_document.items()]


def _hits_within(corpus: Corpus, retriever: Retriever, id: str, question: str) -> tuple[Hit, ...]:
    return tuple(retriever.search_within(id, corpus.document_passages(id), question))
