"""Documents into a corpus: compressed in batches, split into passages, stored batch by batch.

What is in the store already, unchanged, is found by its digest before anything is compressed; a killed run loses the
batch it was at. Nothing is left out in silence: whatever was not read, or not to its end, is in the report.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lloco.compressors.compressor import CompressOptions, Compressor, Progress, compress_documents, tokenize
from lloco.corpus_models import check_compressor
from lloco.documents import Document, Skipped
from lloco.errors import DocumentError
from lloco.retriever import split_passages
from lloco.soft_prompt import SoftPrompt
from lloco.store.corpus import Corpus

OnTokens = Callable[[int, int], None]
"""Called with the number of document tokens just read and the number there are to read in all."""


@dataclass(frozen=True, slots=True)
class CompressReport:
    """What became of the documents."""

    num_new: int
    """Documents compressed now, changed ones included."""
    num_unchanged: int
    skipped: tuple[Skipped, ...]
    """What was not compressed, or only in part."""
    num_document_tokens: int
    """Tokens of the documents compressed now."""
    num_virtual_tokens: int
    """Virtual tokens that they became."""
    seconds: float
    quantisation_error: float
    """Largest relative L2 error that storing a soft prompt cost."""

    @property
    def compression_ratio(self) -> float | None:
        """Document tokens per virtual token; None where nothing was compressed."""
        return self.num_document_tokens / self.num_virtual_tokens if self.num_virtual_tokens else None

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of compressing; None where nothing was compressed."""
        return self.num_document_tokens / self.seconds if self.num_document_tokens and self.seconds else None


def compress_into(
    corpus: Corpus,
    documents: Iterable[Document],
    compressor: Compressor,
    options: CompressOptions | None = None,
    *,
    storage_dtype: str | None = None,
    on_tokens: OnTokens | None = None,
) -> CompressReport:
    """Compress what is new or has changed and store it; `storage_dtype` None keeps the dtype it was computed in.

    A document that cannot be compressed is in the report, with the reason; the others are compressed all the same.

    Raises:
        MismatchError: the corpus holds soft prompts of another compressor.
        StoreError: the store cannot be written; batches stored before are kept.
    """
    options = options or CompressOptions()
    check_compressor(corpus, compressor)
    _check_options(compressor, options)
    waiting, num_unchanged, skipped = _plan(corpus, documents, compressor, options, storage_dtype)
    num_total = sum(num_tokens for _, num_tokens in waiting)
    num_new = num_document_tokens = num_virtual_tokens = 0
    quantisation_error = 0.0
    started = time.perf_counter()
    for start in range(0, len(waiting), options.batch_size):
        batch = [document for document, _ in waiting[start : start + options.batch_size]]
        made, refused = _compress_batch(compressor, batch, options, _counting(on_tokens, num_total))
        skipped += refused
        for document, soft_prompt in made:
            corpus.add(document, soft_prompt, split_passages(document.text), storage_dtype)
            num_new += 1
            num_document_tokens += soft_prompt.provenance.num_document_tokens
            num_virtual_tokens += soft_prompt.num_virtual_tokens
            if storage_dtype is not None and storage_dtype != soft_prompt.provenance.dtype:
                quantisation_error = max(quantisation_error, soft_prompt.quantisation_error(storage_dtype))
            skipped += _left_out(document, soft_prompt, compressor)
    seconds = time.perf_counter() - started
    return CompressReport(
        num_new, num_unchanged, tuple(skipped), num_document_tokens, num_virtual_tokens, seconds, quantisation_error
    )


def remove_absent(corpus: Corpus, documents: Iterable[Document], skipped: Sequence[Skipped]) -> list[str]:
    """Remove documents of the corpus that are not among these, but for those that could not be read now; return ids."""
    present = {document.id for document in documents}
    unreadable = {one.source for one in skipped}
    gone = [one.id for one in corpus.documents() if one.id not in present and one.source not in unreadable]
    for document_id in gone:
        corpus.remove_document(document_id)
    return gone


def segment_len_for(ratio: float, compressor: Compressor) -> int:
    """Return the segment length whose compression ratio is nearest to the one that is wanted.

    Raises:
        DocumentError: the ratio would not compress, or its segments do not fit the compressor's positions.
    """
    longest = compressor.decoder.max_len - compressor.summary_length
    segment_len = round(ratio * compressor.summary_length)
    if ratio <= 1 or segment_len > longest:
        raise DocumentError(
            f"a ratio above 1 and up to {longest / compressor.summary_length:g} was wanted for {compressor.name} "
            f"({compressor.summary_length} virtual tokens a segment), {ratio:g} came: choose one in this range"
        )
    return segment_len


def _check_options(compressor: Compressor, options: CompressOptions) -> None:
    longest = compressor.decoder.max_len - compressor.summary_length
    if options.segment_len is not None and not 1 <= options.segment_len <= longest:
        raise DocumentError(
            f"a segment_len from 1 to {longest} was wanted for {compressor.name}, {options.segment_len} came: choose "
            "one in this range"
        )
    if options.batch_size < 1:
        raise DocumentError(f"a batch_size of at least 1 was wanted, {options.batch_size} came")


def _plan(
    corpus: Corpus,
    documents: Iterable[Document],
    compressor: Compressor,
    options: CompressOptions,
    storage_dtype: str | None,
) -> tuple[list[tuple[Document, int]], int, list[Skipped]]:
    """Return the documents to compress with their numbers of tokens, how many are unchanged, and what has no text."""
    segment_len = options.segment_len or compressor.segment_len
    waiting: list[tuple[Document, int]] = []
    skipped: list[Skipped] = []
    num_unchanged = 0
    for document in documents:
        if corpus.is_current(document, compressor.digest, segment_len, storage_dtype) and (
            options.long_documents == "truncate" or _is_whole(corpus, document, compressor)
        ):
            num_unchanged += 1
            continue
        try:
            waiting.append((document, len(tokenize(compressor.decoder, document))))
        except DocumentError:
            skipped.append(Skipped(document.source or document.id, "it has no text"))
    return waiting, num_unchanged, skipped


def _is_whole(corpus: Corpus, document: Document, compressor: Compressor) -> bool:
    """Whether the soft prompt in the store has read the document to its end, and was not truncated."""
    stored = corpus.document(document.id)
    return stored.num_virtual_tokens >= compressor.num_virtual_tokens(stored.num_tokens, stored.segment_len)


def _counting(on_tokens: OnTokens | None, num_total: int) -> Progress | None:
    return None if on_tokens is None else lambda num_tokens: on_tokens(num_tokens, num_total)


def _compress_batch(
    compressor: Compressor,
    batch: Sequence[Document],
    options: CompressOptions,
    on_progress: Progress | None,
) -> tuple[list[tuple[Document, SoftPrompt]], list[Skipped]]:
    """Compress the batch together; where a document of it is refused, one by one, so that only that one is left out."""
    try:
        made = list(compress_documents(compressor, batch, options, on_progress))
        return list(zip(batch, made, strict=True)), []
    except DocumentError as error:
        if len(batch) == 1:
            return [], [Skipped(batch[0].source or batch[0].id, str(error))]
    parts = [_compress_batch(compressor, [document], options, on_progress) for document in batch]
    return [pair for made, _ in parts for pair in made], [one for _, refused in parts for one in refused]


def _left_out(document: Document, soft_prompt: SoftPrompt, compressor: Compressor) -> list[Skipped]:
    """Say how much of a truncated document was read."""
    made = soft_prompt.provenance
    if soft_prompt.num_virtual_tokens >= compressor.num_virtual_tokens(made.num_document_tokens, made.segment_len):
        return []
    num_read = soft_prompt.num_virtual_tokens // made.summary_length * made.segment_len
    reason = f"read in part: the first {num_read:,} of {made.num_document_tokens:,} tokens (--long-documents truncate)"
    return [Skipped(document.source or document.id, reason)]
