"""The retriever: which passages, and which documents, a question is about.

By words (BM25), by meaning (an embedder's vectors), or by both. English question words ("who", "did", "the") are not
searched for. Indexes are made in memory, or kept beside a store's corpus. Knows nothing of decoders.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from lloco.errors import LlocoError
from lloco.retrieval.bm25 import INDEX_VERSION, Bm25Index, Fts5Index, default_index
from lloco.retrieval.dense import INDEX_VERSION as DENSE_VERSION
from lloco.retrieval.dense import DenseIndex
from lloco.retrieval.embedder import Embedder
from lloco.retrieval.kept_index import kept_index
from lloco.retrieval.search_words import search_words
from lloco.store.corpus import Corpus
from lloco.store.passage import PassageText

Method: TypeAlias = Literal["bm25", "dense", "hybrid"]
"""Search by words, by meaning, or by both."""
_STOP_WORDS = (
    "a about after all also am an and any are as at be because been before being but by can could did do does doing "
    "during each for from had has have having he her hers him his how i if in into is it its just me much many my no "
    "not of on one or our out over s she should so some such t than that the their them then there these they this "
    "those through to under up us was we were what when where which while who whom whose why will with would you "
    "your"
)
QUESTION_STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words of English questions that say nothing about the answer's place."""
MAX_WORDS = 1_000
"""Words that are searched for; more would take seconds, and no decoder's question has so many."""
FUSION_DEPTH = 100
"""Passages of each ranking that are merged, at least."""
MEANING_WEIGHT = 0.3
"""Weight of scores by meaning beside those by words; chosen on 1,500 questions of SQuAD's training articles."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found; a higher score is better, scores of different questions do not compare."""

    document_id: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class DocumentHit:
    """A document that was found, with the score of its best passage."""

    document_id: str
    score: float


class Retriever:
    """Finds passages by the words of a question, by its meaning, or by both."""

    def __init__(self, bm25: Bm25Index | None = None, dense: DenseIndex | None = None) -> None:
        self._bm25 = bm25
        self._dense = dense

    @classmethod
    def build(
        cls, passages: Iterable[PassageText], method: Method = "bm25", embedder: Embedder | None = None
    ) -> "Retriever":
        """Index the passages in memory; the embedder is for methods other than "bm25"."""
        rows = list(passages)
        dense = _used(method, embedder)
        return cls(
            None if method == "dense" else default_index().build(rows, None),
            None if dense is None else DenseIndex.build(rows, dense, None),
        )

    @classmethod
    def of_corpus(cls, corpus: Corpus, method: Method = "bm25", embedder: Embedder | None = None) -> "Retriever":
        """Indexes of a store's corpus: those on the disk, made first where they are missing, stale or damaged."""
        dense = _used(method, embedder)
        return cls(
            None if method == "dense" else _kept_bm25(corpus), None if dense is None else _kept_dense(corpus, dense)
        )

    @property
    def embedder(self) -> Embedder | None:
        """What passages are searched by meaning with, if they are."""
        return None if self._dense is None else self._dense.embedder

    def search(self, question: str, top_k: int) -> list[Hit]:
        """Best passages first, at most `top_k`; by words alone none where no word of the question occurs."""
        if top_k < 1:
            return []
        if self._dense is None:
            return self._by_words(question, top_k)
        if self._bm25 is None:
            return self._by_meaning(question, top_k)
        depth = max(top_k, FUSION_DEPTH)
        return fuse(self._by_words(question, depth), self._by_meaning(question, depth))[:top_k]

    def search_documents(self, question: str, top_k: int) -> list[DocumentHit]:
        """Best documents first, at most `top_k`, each by its best passage."""
        num_passages = max(top_k, 1) * 8
        while True:
            hits = self.search(question, num_passages)
            best: dict[str, float] = {}
            for hit in hits:
                best.setdefault(hit.document_id, hit.score)
            if len(best) >= top_k or len(hits) < num_passages:
                return [DocumentHit(id, score) for id, score in list(best.items())[:top_k]]
            num_passages *= 4

    def search_within(self, document_id: str, passages: Sequence[PassageText], question: str) -> list[Hit]:
        """All passages of one document that fit, best first; words are weighed as they occur in it."""
        # An index for one question: SQLite makes a small one many times faster than tantivy.
        within = Retriever(Fts5Index.build(passages, None)) if self._bm25 is not None else Retriever()
        by_words = within.search(question, len(passages))
        if self._dense is None:
            return by_words
        by_meaning = self._by_meaning(question, len(passages), document_id)
        return by_meaning if self._bm25 is None else fuse(by_words, by_meaning)

    def _by_words(self, question: str, top_k: int) -> list[Hit]:
        words = question_words(question)
        if not words or self._bm25 is None:
            return []
        return [_hit(passage, score) for passage, score in self._bm25.search(words, top_k)]

    def _by_meaning(self, question: str, top_k: int, document_id: str | None = None) -> list[Hit]:
        assert self._dense is not None
        return [_hit(passage, score) for passage, score in self._dense.search(question, top_k, document_id)]


def fuse(by_words: Sequence[Hit], by_meaning: Sequence[Hit]) -> list[Hit]:
    """Merge two rankings: scores between the best and the worst of each, those by meaning with less weight.

    It loses less with a weak embedder than reciprocal ranks do (Bruch et al., arXiv 2210.11934, compare the two).
    """
    found = {(hit.document_id, hit.start): hit for hit in (*by_meaning, *by_words)}
    scores = dict.fromkeys(found, 0.0)
    for hits, weight in ((by_words, 1.0), (by_meaning, MEANING_WEIGHT)):
        worst = min((hit.score for hit in hits), default=0.0)
        if len(hits) < FUSION_DEPTH:  # what was not found at all scores 0; cosines can be below
            worst = min(worst, 0.0)
        best = max((hit.score for hit in hits), default=0.0)
        for hit in hits:
            scores[hit.document_id, hit.start] += weight * (hit.score - worst) / ((best - worst) or 1.0)
    ordered = sorted(scores, key=lambda index: -scores[index])
    return [replace(found[index], score=scores[index]) for index in ordered]


def _hit(passage: PassageText, score: float) -> Hit:
    return Hit(passage.document_id, passage.start, passage.end, passage.text, score)


def _used(method: Method, embedder: Embedder | None) -> Embedder | None:
    """Return the embedder where the method has a use for it. Raises `LlocoError` where it needs one."""
    if method == "bm25":
        return None
    if embedder is None:
        raise LlocoError(f"retrieval by {method} needs an embedder, none was given: name one with --embedder")
    return embedder


def _kept_bm25(corpus: Corpus) -> Bm25Index:
    index = default_index()
    return kept_index(
        corpus,
        f"{index.__name__}{INDEX_VERSION}",
        index.open,
        lambda passages, folder, older: index.build(passages, folder),
    )


def _kept_dense(corpus: Corpus, embedder: Embedder) -> DenseIndex:
    return kept_index(
        corpus,
        f"dense{DENSE_VERSION}-{embedder.digest[:16]}",
        lambda folder: DenseIndex.open(folder, embedder),
        lambda passages, folder, older: DenseIndex.build(passages, embedder, folder, older),
    )


def question_words(question: str) -> list[str]:
    """Lower-case words to search for, each once, without question stop words unless there are no others.

    Of more than `MAX_WORDS` the last are taken, where a long text that was pasted has its question.
    """
    words = search_words(question)
    return ([word for word in words if word not in QUESTION_STOP_WORDS] or words)[-MAX_WORDS:]


class NothingFoundError(LlocoError):
    """No document has a word of the question."""
