"""The corpora of a server as its callers see them: found by name within a grant, changed, searched.

Everything here blocks and is called from worker threads. Whatever belongs to another key is answered like what is not
there.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lloco.compression.batches import CompressedBatch
from lloco.compression.plan import CompressPlan, plan_documents
from lloco.compression.run import compress_batch, store_batches
from lloco.compressors.compressor import Compressor
from lloco.documents.document import Document
from lloco.errors import LlocoError, StoreError
from lloco.retrieval.open_retrievers import OpenRetrievers
from lloco.retrieval.retriever import Retriever
from lloco.server.access import Grant
from lloco.server.engines import Engines
from lloco.server.errors import ApiError, not_found
from lloco.server.writing import Job
from lloco.store.corpus import Corpus
from lloco.store.rows import StoredDocument
from lloco.store.store import Store

Result = TypeVar("Result")
MAX_TRIES = 4


class Library:
    """The store behind a server, with the indexes of its corpora kept open."""

    def __init__(
        self, store: Store, engines: Engines, open_retriever: Callable[[Corpus], Retriever] = Retriever.of_corpus
    ) -> None:
        self._store = store
        self._engines = engines
        self._no_removals = threading.RLock()
        self._retrievers = OpenRetrievers(open_retriever)

    def names(self, grant: Grant) -> list[str]:
        """Names of the corpora that the caller may use."""
        return [name for name in self._store.corpus_names() if grant.allows(name)]

    def retrievers(self, grant: Grant) -> dict[str, Retriever]:
        """Indexes of every corpus that the caller may use, by name."""
        return self.of_each(grant, self.retriever)

    def of_each(self, grant: Grant, make: Callable[[Corpus], Result]) -> dict[str, Result]:
        """Return what is made of every corpus that the caller may use, by name; not of those removed meanwhile."""
        found = {}
        for name in self.names(grant):
            try:
                found[name] = make(self._store.corpus(name, create=False))
            except StoreError:
                if name in self._store:
                    raise
        return found

    def corpus(self, grant: Grant, name: str, param: str = "model") -> Corpus:
        """Return a corpus. Raises `ApiError` 404 where the caller can use none of that name."""
        if not grant.allows(name) or name not in self._store:
            code = "model_not_found" if param == "model" else "corpus_not_found"
            advice = "models are corpora, GET /v1/models lists them"
            raise not_found(f"corpus {name[:80]!r}", advice, param=param, code=code)
        return self._store.corpus(name, create=False)

    def create(self, grant: Grant, name: str) -> Corpus:
        """Make an empty corpus.

        Raises:
            ApiError: 403 where the caller may not use that name, there or not; 409 where it is there.
        """
        if not grant.allows(name):
            raise ApiError(403, f"this key may not use a corpus named {name}: use one of its own", param="name")
        if name in self._store:
            raise ApiError(409, f"corpus {name} is there already: add documents to it", param="name", code="exists")
        return self._store.corpus(name)

    def remove(self, corpus: Corpus) -> None:
        """Remove a corpus with all it holds."""
        self._store.remove_corpus(corpus.name)
        self._retrievers.forget(corpus.name)

    def document(self, corpus: Corpus, id: str, param: str = "id") -> StoredDocument:
        """Return a document. Raises `ApiError` 404 where there is none of that id."""
        with self.gone_means_404(corpus, id, param):
            return corpus.document(id)

    def add(self, corpus: Corpus, document: Document, job: Job, *, replace: bool) -> tuple[StoredDocument, bool]:
        """Compress and store a document; returns it and whether it is new.

        The next question about its corpus finds it, and waits until it is indexed; many additions are indexed once.
        Nobody's turn is taken while another process writes to the store.

        Raises:
            ApiError: 400 where it cannot be compressed, 499 where nobody waits for it any more.
            ExistsError: an id that is there, unless it may be replaced, whichever server is adding it.
        """
        is_new = document.id not in corpus
        if not (is_new or replace):
            raise corpus.exists_already(document.id)
        compressor = self._engines.compressor(corpus)
        plan = plan_documents(corpus, [document], compressor, on_characters=lambda num, _: job.check(num))
        report = store_batches(corpus, plan, _compressed(compressor, plan, job), replace=replace)
        if report.num_unchanged and not replace:
            raise corpus.exists_already(document.id)
        if report.skipped and not (report.num_new or report.num_unchanged):
            raise ApiError(400, f"document {document.id!r} cannot be used: {report.skipped[0].reason}", param="text")
        return self.document(corpus, document.id), is_new

    def remove_document(self, corpus: Corpus, id: str) -> None:
        """Remove a document. Raises `ApiError` 404 where there is none of that id."""
        with self._no_removals:
            pass  # what needs the corpus at rest ends first; nothing of ours is held while others write to the store
        with self.gone_means_404(corpus, id, "id"):
            corpus.remove_document(id)

    def retriever(self, corpus: Corpus) -> Retriever:
        """Return an index of the corpus as it is now."""
        return self._retrievers.of(corpus)

    def at_rest(self, corpus: Corpus, work: Callable[[], Result]) -> Result:
        """Do work that failed because a corpus changed meanwhile; removals wait, additions have it done again."""
        with self._no_removals:
            for _ in range(MAX_TRIES - 1):
                # Not the digest of its contents: a document that was removed and added again has the same.
                version = corpus.store_version()
                try:
                    return work()
                except LlocoError:
                    if corpus.store_version() == version:
                        raise
            return work()

    @contextmanager
    def gone_means_404(self, corpus: Corpus, id: str | None, param: str) -> Iterator[None]:
        """Where work fails because its corpus or document is gone by now, raise `ApiError` 404 instead."""
        try:
            yield
        except (LlocoError, OSError):
            if corpus.name not in self._store:
                raise not_found(
                    f"corpus {corpus.name!r}", "it was removed meanwhile", param="model", code="model_not_found"
                ) from None
            if id is not None and id not in corpus:
                advice = "GET /v1/documents lists them"
                raise not_found(f"document {id[:80]!r}", advice, param=param, code="document_not_found") from None
            raise


def _compressed(compressor: Compressor, plan: CompressPlan, job: Job) -> Iterator[CompressedBatch]:
    """Compress in the job's turns."""
    for batch in plan.batches():
        with job.turns.turn():
            job.check()
            made = compress_batch(compressor, batch, plan.options, job.advance)
        yield made
