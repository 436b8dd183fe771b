"""Retrievers of corpora, kept open as long as the corpora hold what they held."""

import threading
from collections import defaultdict
from collections.abc import Callable

from lloco.retrieval.retriever import Retriever
from lloco.store.corpus import Corpus


class OpenRetrievers:
    """One retriever for each corpus, opened when it is first needed and again when documents have changed.

    Many threads may ask for one; many additions are indexed once.
    """

    def __init__(self, open_retriever: Callable[[Corpus], Retriever] = Retriever.of_corpus) -> None:
        self._open_retriever = open_retriever
        self._retrievers: dict[str, tuple[str, Retriever]] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        """Version of the store in which a corpus's retriever was seen to fit it."""
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        """Each held while a corpus's retriever is opened."""

    def of(self, corpus: Corpus) -> Retriever:
        """Return an index of the corpus as it is now."""
        # The digest is of every document's row: it is not read again while nobody has written anything.
        known, version = self._retrievers.get(corpus.name), corpus.store_version()
        if known is not None and (self._seen.get(corpus.name) == version or known[0] == corpus.contents_digest()):
            self._seen[corpus.name] = version
            return known[1]
        with self._locks[corpus.name]:
            digest = corpus.contents_digest()
            known = self._retrievers.get(corpus.name)
            if known is not None and known[0] == digest:
                return known[1]
            made = self._open_retriever(corpus)
            # What was written meanwhile may be in it: it is kept only for contents that it surely has.
            if corpus.contents_digest() == digest:
                self._retrievers[corpus.name] = (digest, made)
            return made

    def forget(self, name: str) -> None:
        """Let go of the retriever of a corpus that is removed."""
        self._retrievers.pop(name, None)
