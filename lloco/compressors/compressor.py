"""What every compressor offers, and what all designs share: windows for long documents, text to soft prompts.

A compressor turns token ids into virtual tokens of its decoder's width. It does not know about stores, prompts or
questions, and it never sees an adapter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

import torch
from torch import Tensor

from lloco.compressors.choices import LongDocuments as LongDocuments
from lloco.documents.document import Document
from lloco.errors import DocumentError, LlocoError
from lloco.models.decoder import Decoder, dtype_name
from lloco.models.tokenize import Progress, tokenize
from lloco.prompts.provenance import Provenance
from lloco.prompts.soft_prompt import SoftPrompt

LONG_DOCUMENTS_ADVICE = "choose --long-documents windows (nothing is lost) or truncate (the rest is not read)"


class Compressor(Protocol):
    """Reads token ids, returns soft prompts."""

    decoder: Decoder

    @property
    def design(self) -> str:
        """Name of the way it compresses."""
        ...

    @property
    def name(self) -> str:
        """Where it was loaded from."""
        ...

    @property
    def digest(self) -> str:
        """Digest of its weights."""
        ...

    @property
    def hidden_size(self) -> int:
        """Width of one virtual token."""
        ...

    @property
    def summary_length(self) -> int:
        """Virtual tokens that a segment becomes."""
        ...

    @property
    def segment_len(self) -> int:
        """Tokens that it reads at once unless told otherwise."""
        ...

    @property
    def segment_lens(self) -> tuple[int, ...]:
        """Segment lengths that it learned."""
        ...

    @property
    def max_document_tokens(self) -> int:
        """Tokens that it reads without starting a new window, at its own segment length."""
        ...

    @property
    def max_segment_len(self) -> int:
        """Tokens of the longest segment that it can read."""
        ...

    def longest_row(self, num_tokens: int, segment_len: int | None = None) -> int:
        """Return the positions that the longest row takes when a document of `num_tokens` tokens is read."""
        ...

    def reach(self, segment_len: int) -> int:
        """Return the same at this segment length; 0 where such segments do not fit."""
        ...

    def num_virtual_tokens(self, num_tokens: int, segment_len: int | None = None) -> int:
        """Return the length of the soft prompt of a whole document of `num_tokens` tokens."""
        ...

    def compress_ids(
        self,
        documents: Sequence[Sequence[int] | Tensor],
        *,
        segment_len: int | None = None,
        batch_size: int = 8,
        long_documents: LongDocuments = "refuse",
        on_progress: Progress | None = None,
    ) -> list[Tensor]:
        """Compress documents of any mix of lengths; the result does not depend on what shares a batch.

        Args:
            documents: token ids, one sequence a document.
            segment_len: tokens a segment; the checkpoint's own when not given.
            batch_size: documents (windows or segments, for long ones) read together.
            long_documents: what to do beyond the reach of one recursion; a design without a reach has no use for it.
            on_progress: called with the number of document tokens just read.

        Returns:
            One (num_virtual_tokens, hidden_size) tensor a document, in the model's dtype, on the CPU.

        Raises:
            DocumentError: an empty or overlong document, ids outside the vocabulary, or segments that do not fit.
        """
        ...

    def compress(self, document: Document) -> SoftPrompt:
        """Compress one document's text."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write the checkpoint folder that `load_compressor` reads."""
        ...


@dataclass(frozen=True, slots=True)
class CompressOptions:
    """How documents are compressed."""

    segment_len: int | None = None
    """Tokens that the compressor reads at once; the compressor's own when not given."""
    batch_size: int = 8
    """Documents that are compressed together."""
    long_documents: LongDocuments = "windows"
    """Document over the compressor's reach: refuse it, truncate it (said aloud), or start a new window."""
    refine_steps: int | None = None
    """Gradient steps that a document's vectors take after it is compressed into a corpus; the corpus's own, at first 0,
    when not given."""


def check_batch_size(batch_size: int) -> None:
    """Raise `LlocoError` unless it is at least 1."""
    if batch_size < 1:
        raise LlocoError(f"batch_size must be at least 1, got {batch_size}")


def windows_of(num_tokens: int, max_tokens: int, long_documents: LongDocuments) -> list[tuple[int, int]]:
    """Return the (start, end) token windows that are compressed independently of one another.

    Raises:
        DocumentError: the document is empty, or longer than the reach and `long_documents` is "refuse".
    """
    if long_documents not in get_args(LongDocuments):
        raise LlocoError(f"long_documents is {long_documents!r}: use one of {', '.join(get_args(LongDocuments))}")
    if num_tokens == 0:
        raise DocumentError("a document must have at least 1 token, got none: leave it out")
    if num_tokens <= max_tokens or long_documents == "truncate":
        return [(0, min(num_tokens, max_tokens))]
    if long_documents == "refuse":
        raise DocumentError(
            f"a document must have at most {max_tokens:,} tokens, got {num_tokens:,}: {LONG_DOCUMENTS_ADVICE}"
        )
    return [(start, min(start + max_tokens, num_tokens)) for start in range(0, num_tokens, max_tokens)]


def compress_documents(
    compressor: Compressor,
    documents: Sequence[Document],
    options: CompressOptions | None = None,
    on_progress: Progress | None = None,
) -> Iterator[SoftPrompt]:
    """Yield a soft prompt per document, in order, `batch_size` documents at a time.

    Raises:
        DocumentError: a document is empty, or too long and `long_documents` is "refuse".
        LlocoError: the options ask for refinement, which `refine` does.
    """
    options = options or CompressOptions()
    if options.refine_steps:
        raise LlocoError(
            f"refine_steps must be 0 here, got {options.refine_steps}: compress "
            "into a corpus, or pass the result on to `refine`"
        )
    for start in range(0, len(documents), options.batch_size):
        group = documents[start : start + options.batch_size]
        ids = [tokenize(compressor.decoder, document) for document in group]
        yield from compress_tokenized(compressor, group, ids, options, on_progress)


def compress_tokenized(
    compressor: Compressor,
    documents: Sequence[Document],
    ids: Sequence[Sequence[int] | Tensor],
    options: CompressOptions,
    on_progress: Progress | None = None,
) -> list[SoftPrompt]:
    """Return a soft prompt per document, given the ids of its whole text; raises as `compress_documents` does."""
    embeds = compressor.compress_ids(
        ids,
        segment_len=options.segment_len,
        batch_size=options.batch_size,
        long_documents=options.long_documents,
        on_progress=on_progress,
    )
    return [
        SoftPrompt(vectors, provenance_of(compressor, document, len(document_ids), options.segment_len))
        for document, document_ids, vectors in zip(documents, ids, embeds, strict=True)
    ]


def provenance_of(
    compressor: Compressor, document: Document, num_document_tokens: int, segment_len: int | None = None
) -> Provenance:
    """Say what the soft prompt of this document is made of and by whom."""
    return Provenance(
        document_id=document.id,
        text_digest=document.digest,
        num_document_tokens=num_document_tokens,
        compressor=compressor.name,
        compressor_digest=compressor.digest,
        base_model=compressor.decoder.name,
        hidden_size=compressor.hidden_size,
        segment_len=segment_len or compressor.segment_len,
        summary_length=compressor.summary_length,
        dtype=dtype_name(compressor.decoder.dtype),
    )


def as_ids(document: Sequence[int] | Tensor, vocab_size: int) -> Tensor:
    """Return the ids as a 1-D int64 tensor.

    Raises:
        DocumentError: not 1-D, not integers, or ids that the vocabulary does not have.
    """
    ids = torch.as_tensor(document)
    if ids.numel() and (ids.ndim != 1 or ids.is_floating_point() or ids.dtype == torch.bool):
        raise DocumentError(
            f"token ids must be 1-D integers, got {tuple(ids.shape)} {ids.dtype}: pass one list a document"
        )
    ids = ids.reshape(-1).to(torch.int64)
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= vocab_size):
        raise DocumentError(
            f"token ids must be from 0 to {vocab_size - 1}, got {int(ids.min())} to {int(ids.max())}: "
            "tokenise with this compressor's tokenizer"
        )
    return ids
