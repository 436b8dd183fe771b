"""Documents into a corpus: compressed in batches, split into passages, stored batch by batch.

What is in the store already, unchanged, is found by its digest before anything is compressed; a killed run loses the
batch it was at. Nothing is left out in silence: whatever was not read, or not to its end, is in the report.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lloco.compression.batches import CompressedBatch, with_codebook
from lloco.compression.plan import CompressPlan, counting, plan_documents
from lloco.compression.refine import refine
from lloco.compressors.compressor import CompressOptions, Compressor, compress_tokenized
from lloco.documents.document import Document, Skipped
from lloco.errors import DocumentError, VectorsError
from lloco.models.tokenize import Progress
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.retrieval.passages import split_passages
from lloco.store.corpus import Corpus
from lloco.store.rows import num_read_tokens

OnTokens = Callable[[int, int], None]
"""Called with the number of document tokens just read and the number to read in all, again in each refining step."""


@dataclass(frozen=True, slots=True)
class CompressReport:
    """What became of the documents."""

    num_new: int
    """Documents compressed now, changed ones included."""
    num_unchanged: int
    skipped: tuple[Skipped, ...]
    """What was not compressed, or only in part."""
    num_document_tokens: int
    """Tokens read now: of a truncated document those that its soft prompt stands for."""
    num_virtual_tokens: int
    """Virtual tokens that they became."""
    seconds: float
    quantisation_error: float
    """Largest relative L2 error that storing a soft prompt cost."""
    num_codewords: int | None = None
    """Of the codebook where vectors were stored as pq; fewer than 256 where it was learned from as few vectors."""

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
    """Compress what is new or has changed and store it: `plan_documents`, then `compress_planned`.

    Raises:
        MismatchError: the corpus holds soft prompts of another compressor.
        DocumentError: the options cannot be met.
        StoreError: the store cannot be written; batches stored before are kept.
    """
    plan = plan_documents(corpus, documents, compressor, options, storage_dtype=storage_dtype)
    return compress_planned(corpus, plan, compressor, on_tokens=on_tokens)


def compress_planned(
    corpus: Corpus, plan: CompressPlan, compressor: Compressor, *, on_tokens: OnTokens | None = None
) -> CompressReport:
    """Compress and store what was planned.

    A document that cannot be compressed is in the report, with the reason; the others are compressed all the same.

    Raises:
        StoreError: the store cannot be written; batches stored before are kept.
    """
    on_progress = counting(on_tokens, plan.num_tokens_to_read)
    return store_batches(
        corpus, plan, (compress_batch(compressor, batch, plan.options, on_progress) for batch in plan.batches())
    )


def store_batches(
    corpus: Corpus, plan: CompressPlan, batches: Iterable[CompressedBatch], *, replace: bool = True
) -> CompressReport:
    """Store what comes, whoever compressed it and in whatever order; the time until it comes is in the report.

    Raises:
        ExistsError: a document's id is there, and it is not to `replace` what is.
        StoreError: the store cannot be written; batches stored before are kept.
    """
    storage_dtype, skipped = plan.storage_dtype, list(plan.skipped)
    num_new = num_document_tokens = num_virtual_tokens = 0
    quantisation_error = 0.0
    started = time.perf_counter()
    num_codewords = None
    for (made, refused), codebook in with_codebook(corpus, storage_dtype, batches):
        skipped += refused
        num_codewords = None if codebook is None else codebook.num_codewords
        for document, soft_prompt in made:
            try:
                stored = soft_prompt.as_stored(storage_dtype, codebook)
                corpus.add(document, stored, split_passages(document.text), replace=replace)
            except VectorsError as error:
                skipped.append(Skipped(document.source or document.id, str(error)))
                continue
            num_new += 1
            num_document_tokens += num_read_tokens(soft_prompt)
            num_virtual_tokens += soft_prompt.num_virtual_tokens
            if stored.provenance.dtype != soft_prompt.provenance.dtype:
                quantisation_error = max(quantisation_error, stored.provenance.quantisation_error)
            skipped += _left_out(document, soft_prompt)
    seconds = time.perf_counter() - started
    return CompressReport(
        num_new,
        plan.num_unchanged,
        tuple(skipped),
        num_document_tokens,
        num_virtual_tokens,
        seconds,
        quantisation_error,
        num_codewords,
    )


def compress_batch(
    compressor: Compressor,
    batch: Sequence[tuple[Document, Tensor]],
    options: CompressOptions,
    on_progress: Progress | None,
) -> CompressedBatch:
    """Compress the batch together, then refine each document.

    Where a document of it is refused they are compressed one by one, so that only that one is left out.
    """
    documents = [document for document, _ in batch]
    try:
        made = compress_and_refine(compressor, documents, [ids for _, ids in batch], options, on_progress)
        return list(zip(documents, made, strict=True)), []
    except DocumentError as error:
        if len(batch) == 1:
            return [], [Skipped(documents[0].source or documents[0].id, str(error))]
    parts = [compress_batch(compressor, [document], options, on_progress) for document in batch]
    return [pair for made, _ in parts for pair in made], [skipped for _, refused in parts for skipped in refused]


def compress_and_refine(
    compressor: Compressor,
    documents: Sequence[Document],
    ids: Sequence[Tensor],
    options: CompressOptions,
    on_progress: Progress | None = None,
) -> list[SoftPrompt]:
    """Return a soft prompt per document, given the ids of its whole text; raises as `compress_documents` does."""
    made = compress_tokenized(compressor, documents, ids, options, on_progress)
    return [
        refine(compressor, soft_prompt, tokens, options.refine_steps or 0, on_progress=on_progress)
        for soft_prompt, tokens in zip(made, ids, strict=True)
    ]


def _left_out(document: Document, soft_prompt: SoftPrompt) -> list[Skipped]:
    """Say how much of a truncated document was read."""
    num_read, num_tokens = num_read_tokens(soft_prompt), soft_prompt.provenance.num_document_tokens
    if num_read == num_tokens:
        return []
    reason = f"read in part: the first {num_read:,} of {num_tokens:,} tokens (--long-documents truncate)"
    return [Skipped(document.source or document.id, reason)]
