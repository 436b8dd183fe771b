"""Soft prompts of a task's documents: from a corpus that holds them made the same way, else compressed on the spot.

The next documents in line are compressed together with the one asked for. The last ones stay in memory up to a limit.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from lloco.compressors.compressor import CompressOptions, Compressor, compress_documents
from lloco.documents import Document
from lloco.soft_prompt import SoftPrompt
from lloco.store.corpus import Corpus
from lloco.store.rows import StoredDocument

MAX_KEPT_BYTES = 512 << 20


class SoftPromptSource:
    """Gives a document's soft prompt; the documents are those that will be asked for, in about that order."""

    def __init__(
        self,
        documents: Sequence[Document],
        compressor: Compressor,
        options: CompressOptions | None = None,
        *,
        corpus: Corpus | None = None,
        on_compressed: Callable[[int], None] | None = None,
    ) -> None:
        self._documents = list({document.digest: document for document in documents}.values())
        self._place = {document.digest: place for place, document in enumerate(self._documents)}
        self._compressor = compressor
        self._options = options or CompressOptions()
        self._corpus = corpus
        self._stored = {} if corpus is None else {one.digest: one for one in corpus.documents() if self._is_usable(one)}
        self._on_compressed = on_compressed
        self._kept: OrderedDict[str, SoftPrompt] = OrderedDict()
        self._num_bytes = 0

    @property
    def num_documents(self) -> int:
        """How many different texts there are."""
        return len(self._documents)

    @property
    def num_stored(self) -> int:
        """How many of the documents the corpus holds."""
        return sum(digest in self._stored for digest in self._place)

    @property
    def segment_lens(self) -> list[int]:
        """The different segment lengths of the documents' soft prompts: the options', and the corpus's without one."""
        made = self._options.segment_len or self._compressor.segment_len
        return sorted({self._stored[one].segment_len if one in self._stored else made for one in self._place})

    def soft_prompt(self, document: Document) -> SoftPrompt:
        """Return the document's soft prompt.

        Raises:
            DocumentError: it has no text, or is too long for the options.
        """
        digest = document.digest
        if self._corpus is not None and digest in self._stored:
            stored = self._corpus.soft_prompt(self._stored[digest].id)
            return replace(stored, provenance=replace(stored.provenance, document_id=document.id))
        if digest not in self._kept:
            self._compress_from(document)
        self._kept.move_to_end(digest)
        return self._kept[digest]

    def _is_usable(self, stored: StoredDocument) -> bool:
        """Whether a stored soft prompt has the segment length that was asked for and stands for the whole document."""
        wanted = self._options.segment_len
        whole = self._compressor.num_virtual_tokens(stored.num_tokens, stored.segment_len)
        return (
            stored.compressor_digest == self._compressor.digest
            and wanted in (None, stored.segment_len)
            and stored.num_virtual_tokens == whole
        )

    def _compress_from(self, document: Document) -> None:
        """Compress this document and those after it that are not known yet, a batch in all."""
        start = self._place.get(document.digest, len(self._documents))
        later = [
            one
            for one in self._documents[start + 1 :]
            if one.digest not in self._stored and one.digest not in self._kept
        ]
        batch = [document, *later[: self._options.batch_size - 1]]
        made = compress_documents(self._compressor, batch, self._options, self._on_compressed)
        for one, soft_prompt in zip(batch, made, strict=True):
            self._kept[one.digest] = soft_prompt
            self._num_bytes += soft_prompt.embeds.nbytes
        while self._num_bytes > MAX_KEPT_BYTES and len(self._kept) > len(batch):
            self._num_bytes -= self._kept.popitem(last=False)[1].embeds.nbytes
