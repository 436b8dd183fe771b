"""Soft prompts of a task's documents: from a corpus that holds them made the same way, else compressed on the spot.

The next documents in line are compressed together with the one asked for. The last ones stay in memory up to a limit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from lloco.compression.plan import as_in_corpus
from lloco.compression.run import compress_and_refine
from lloco.compressors.compressor import CompressOptions, Compressor
from lloco.documents.document import Document
from lloco.models.tokenize import tokenize
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.prompts.soft_prompt_cache import SoftPromptCache
from lloco.store.corpus import Corpus
from lloco.store.rows import StoredDocument


class SoftPromptSource:
    """Gives a document's soft prompt; the documents are those that will be asked for, in about that order.

    Without a segment_len in the options it is the stored document's own. Documents that the corpus does not hold are
    made as the one stored last, in what the options leave open, where this compressor made it: what is measured on
    them is what the corpus would serve.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        compressor: Compressor,
        options: CompressOptions | None = None,
        *,
        corpus: Corpus | None = None,
        on_compressed: Callable[[int], None] | None = None,
    ) -> None:
        self._documents = {document.digest: document for document in documents}
        self._order = list(self._documents)
        self._index = {digest: index for index, digest in enumerate(self._order)}
        self._compressor = compressor
        options = options or CompressOptions()
        self._corpus, self._wanted_len = corpus, options.segment_len
        self._stored = (
            {}
            if corpus is None
            else {document.digest: document for document in corpus.documents() if self._is_usable(document)}
        )
        self._storage_dtype: str | None = None
        if corpus is not None and corpus.compressor_digest == compressor.digest:
            options, self._storage_dtype = as_in_corpus(corpus, compressor, options)
        self._segment_len = options.segment_len or compressor.segment_len
        self._options = replace(options, segment_len=self._segment_len)
        self._on_compressed = on_compressed
        self._cache: SoftPromptCache[str, SoftPrompt] = SoftPromptCache()

    @property
    def num_documents(self) -> int:
        """How many different texts there are."""
        return len(self._documents)

    @property
    def num_stored(self) -> int:
        """How many of the documents the corpus holds."""
        return sum(digest in self._stored for digest in self._order)

    @property
    def segment_lens(self) -> list[int]:
        """The different segment lengths of the documents' soft prompts."""
        stored = self._stored
        return sorted({stored[digest].segment_len if digest in stored else self._segment_len for digest in self._order})

    @property
    def made_as(self) -> str:
        """How documents that the corpus does not hold are made, in words."""
        refined = f", refined in {self._options.refine_steps} steps" if self._options.refine_steps else ""
        stored = "" if self._storage_dtype is None else f", as {self._storage_dtype}"
        return f"in segments of {self._segment_len} tokens{refined}{stored}"

    def soft_prompt(self, document: Document) -> SoftPrompt:
        """Return the document's soft prompt.

        Raises:
            DocumentError: it has no text, or is too long for the options.
        """
        digest = document.digest
        if self._corpus is not None and digest in self._stored:
            stored = self._corpus.soft_prompt(self._stored[digest].id)
            return replace(stored, provenance=replace(stored.provenance, document_id=document.id))
        return self._cache.get(digest) or self._compress_from(document, digest)

    def _is_usable(self, stored: StoredDocument) -> bool:
        """Whether a stored soft prompt has the segment length that was asked for and stands for the whole document."""
        whole = self._compressor.num_virtual_tokens(stored.num_tokens, stored.segment_len)
        return (
            stored.compressor_digest == self._compressor.digest
            and self._wanted_len in (None, stored.segment_len)
            and stored.num_virtual_tokens == whole
        )

    def _compress_from(self, document: Document, digest: str) -> SoftPrompt:
        """Compress this document, and in the same batch the next ones that are not known yet; returns its own."""
        after = slice(self._index.get(digest, len(self._order)) + 1, None)
        known = (self._stored, self._cache)
        later = (other for other in self._order[after] if not any(other in kept for kept in known))
        digests = [digest, *islice(later, self._options.batch_size - 1)]
        batch = [document, *(self._documents[other] for other in digests[1:])]
        ids = [tokenize(self._compressor.decoder, other) for other in batch]
        made = compress_and_refine(self._compressor, batch, ids, self._options, self._on_compressed)
        soft_prompts = [self._as_stored(soft_prompt) for soft_prompt in made]
        for other, soft_prompt in zip(digests, soft_prompts, strict=True):
            self._cache.keep(other, soft_prompt)
        return soft_prompts[0]

    def _as_stored(self, soft_prompt: SoftPrompt) -> SoftPrompt:
        """Return what would come back from the corpus."""
        if self._storage_dtype is None:
            return soft_prompt
        codebook = self._corpus.codebook() if self._corpus is not None and self._storage_dtype == "pq" else None
        return soft_prompt.as_stored(self._storage_dtype, codebook)
