"""The evidence for an answer: which documents, or which passages alone, a question is about.

How much of it fits a decoder is the business of `vectors` and `text`. Knows nothing of wording, engines or
answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lloco.answer.question import Question, Unit
from lloco.errors import LlocoError
from lloco.retrieval.retriever import DocumentHit, Hit, NothingFoundError, Retriever
from lloco.store.corpus import Corpus
from lloco.store.rows import StoredDocument

_Found = TypeVar("_Found")


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


def find_evidence(corpus: Corpus, question: Question, retriever: Retriever | None = None) -> list[Evidence]:
    """Return the documents to read: the one that is named, the only one there is, or the best ones.

    With the unit "passage" these are the documents of the `top_k` best passages, of the named document if there is one.
    Where no document has a word of the question, the questions asked earlier are searched for with it.

    Raises:
        NothingFoundError: there are several documents, and none has a word of the question.
        LlocoError: no such document, or none at all.
    """
    asked, top_k = question.text, question.top_k
    ids = [question.document_id] if question.document_id is not None else corpus.document_ids(limit=2)
    if not ids:
        raise LlocoError(f"corpus {corpus.name!r} has no documents: add one first")
    if len(ids) == 1:
        document = corpus.document(ids[0])
        hits = _hits_within(corpus, retriever or Retriever.build([]), document.id, asked)
        return [Evidence(document, hits[:top_k] if question.unit == "passage" else hits, question.unit)]
    retriever = retriever or Retriever.of_corpus(corpus)
    find = _best_passages if question.unit == "passage" else _best_documents
    found = find(corpus, retriever, asked, top_k)
    if not found and question.earlier:
        found = find(corpus, retriever, "\n".join([*question.earlier, asked]), top_k)
    if not found:
        raise NothingFoundError(
            f"no document of corpus {corpus.name!r} has a word of {asked.strip()[:60]!r}: ask in the documents' words, "
            "or name one with --document"
        )
    return found


def _best_documents(corpus: Corpus, retriever: Retriever, question: str, top_k: int) -> list[Evidence]:
    documents = {}

    def digest_of(hit: DocumentHit) -> str:
        documents[hit.document_id] = document = corpus.document(hit.document_id)
        return document.digest

    return [
        Evidence(documents[hit.document_id], _hits_within(corpus, retriever, hit.document_id, question))
        for hit in _without_copies(lambda limit: retriever.search_documents(question, limit), digest_of, top_k)
    ]


def _best_passages(corpus: Corpus, retriever: Retriever, question: str, top_k: int) -> list[Evidence]:
    of_document: dict[str, list[Hit]] = {}
    for hit in _without_copies(lambda limit: retriever.search(question, limit), lambda hit: hit.text, top_k):
        of_document.setdefault(hit.document_id, []).append(hit)
    return [Evidence(corpus.document(id), tuple(hits), "passage") for id, hits in of_document.items()]


def _without_copies(
    search: Callable[[int], Sequence[_Found]], text_of: Callable[[_Found], str], top_k: int
) -> list[_Found]:
    """Return the first hits of `top_k` different texts: a second copy has nothing more to say, and takes room."""
    limit = top_k
    while True:
        hits = search(limit)
        firsts: dict[str, _Found] = {}
        for hit in hits:
            firsts.setdefault(text_of(hit), hit)
        if len(firsts) >= top_k or len(hits) < limit:
            return [*firsts.values()][:top_k]
        limit *= 2


def _hits_within(corpus: Corpus, retriever: Retriever, id: str, question: str) -> tuple[Hit, ...]:
    return tuple(retriever.search_within(id, corpus.document_passages(id), question))
