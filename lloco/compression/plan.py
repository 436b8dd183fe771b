"""What compressing documents into a corpus comes to: which are new or have changed, and the tokens of those.

A document that is too long is left as soon as so many of its tokens are there, whatever its size. Nothing is
compressed here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lloco.compression.corpus_compressor import check_compressor
from lloco.compressors.compressor import LONG_DOCUMENTS_ADVICE, CompressOptions, Compressor
from lloco.documents.document import Document, Skipped
from lloco.errors import DocumentError
from lloco.models.tokenize import Progress, tokenize
from lloco.store.corpus import Corpus

OnCharacters = Callable[[int, int], None]
"""Called with the number of characters just tokenised and the number there are in all."""
MAX_SOFT_PROMPT_BYTES = 512 << 20
"""A document whose soft prompt would be larger is refused: it is held in memory to be made, stored and read."""


@dataclass(frozen=True, slots=True)
class CompressPlan:
    """What is to be compressed and how, and what is not."""

    waiting: tuple[tuple[Document, Tensor], ...]
    """Documents with their token ids."""
    num_unchanged: int
    skipped: tuple[Skipped, ...]
    options: CompressOptions
    """With the segment length and the number of refining steps that were chosen."""
    storage_dtype: str | None
    """None stores vectors in the type that they were computed in."""
    max_batch_tokens: int
    """Tokens that are compressed together at most: as many as one document may have."""

    @property
    def num_tokens(self) -> int:
        """Tokens to compress in all."""
        return sum(len(ids) for _, ids in self.waiting)

    @property
    def num_tokens_to_read(self) -> int:
        """The same, read again in every refining step."""
        return self.num_tokens * (1 + (self.options.refine_steps or 0))

    def batches(self) -> Iterator[list[tuple[Document, Tensor]]]:
        """Yield the documents that are compressed together."""
        batch: list[tuple[Document, Tensor]] = []
        for document, ids in self.waiting:
            num_tokens = len(ids) + sum(len(other) for _, other in batch)
            if batch and (len(batch) == self.options.batch_size or num_tokens > self.max_batch_tokens):
                yield batch
                batch = []
            batch.append((document, ids))
        if batch:
            yield batch


def plan_documents(
    corpus: Corpus,
    documents: Iterable[Document],
    compressor: Compressor,
    options: CompressOptions | None = None,
    *,
    storage_dtype: str | None = None,
    on_characters: OnCharacters | None = None,
) -> CompressPlan:
    """Find what is new or has changed, and tokenise it.

    Without a segment_len in the options it is that of the document stored last, else the compressor's own; without
    refine_steps they are that document's, else 0; without a storage_dtype it is that document's, else the one that
    vectors are computed in.

    Raises:
        MismatchError: the corpus holds soft prompts of another compressor.
        DocumentError: the options cannot be met.
    """
    options = options or CompressOptions()
    check_compressor(corpus, compressor)
    _check_options(compressor, options)
    options, last_dtype = as_in_corpus(corpus, compressor, options)
    segment_len = options.segment_len or compressor.segment_len
    _check_segment_len(compressor, segment_len)
    new: list[Document] = []
    num_unchanged = 0
    for document in documents:
        if corpus.is_current(document, compressor.digest, segment_len, storage_dtype, options.refine_steps) and (
            options.long_documents == "truncate" or _is_whole(corpus, document, compressor)
        ):
            corpus.refresh(document)
            num_unchanged += 1
        else:
            new.append(document)
    on_progress = counting(on_characters, sum(len(document.text) for document in new))
    waiting: list[tuple[Document, Tensor]] = []
    skipped: list[Skipped] = []
    for document in new:
        ids, reason = _tokenize_within(compressor, document, segment_len, options, on_progress)
        if reason:
            skipped.append(Skipped(document.source or document.id, reason))
        else:
            waiting.append((document, ids))
    # Said before the work begins, and by this process where others do it.
    longest = max((compressor.longest_row(len(ids), segment_len) for _, ids in waiting), default=0)
    compressor.decoder.note_len(longest)
    stored_as, max_tokens = storage_dtype or last_dtype, _max_tokens(compressor, segment_len)
    return CompressPlan(tuple(waiting), num_unchanged, tuple(skipped), options, stored_as, max_tokens)


def as_in_corpus(
    corpus: Corpus, compressor: Compressor, options: CompressOptions
) -> tuple[CompressOptions, str | None]:
    """Complete the options as the document that was stored last was made; with it comes the dtype it is stored as."""
    last_segment_len, last_dtype = corpus.last_stored()
    segment_len = options.segment_len or last_segment_len or compressor.segment_len
    refine_steps = corpus.refine_steps() if options.refine_steps is None else options.refine_steps
    return replace(options, segment_len=segment_len, refine_steps=refine_steps), last_dtype


def counting(on_count: Callable[[int, int], None] | None, num_total: int) -> Progress | None:
    """Return what adds the total to every count."""
    return None if on_count is None else lambda num_now: on_count(num_now, num_total)


def _check_options(compressor: Compressor, options: CompressOptions) -> None:
    if options.segment_len is not None:
        _check_segment_len(compressor, options.segment_len)
    if options.batch_size < 1:
        raise DocumentError(f"batch_size must be at least 1, got {options.batch_size}: give a higher one")
    if options.refine_steps is not None and options.refine_steps < 0:
        raise DocumentError(f"refine_steps must be at least 0, got {options.refine_steps}: 0 refines nothing")


def _check_segment_len(compressor: Compressor, segment_len: int) -> None:
    if not compressor.reach(segment_len):
        learned = ", ".join(map(str, compressor.segment_lens))
        raise DocumentError(
            f"segment_len must be one that {compressor.name} can read, of {compressor.max_segment_len:,} tokens at "
            f"most, got {segment_len:,}: choose one that it learned ({learned}), or one near it"
        )


def _max_tokens(compressor: Compressor, segment_len: int) -> int:
    """Return the tokens that a soft prompt of `MAX_SOFT_PROMPT_BYTES` stands for."""
    num_bytes = compressor.summary_length * compressor.hidden_size * compressor.decoder.dtype.itemsize
    return max(MAX_SOFT_PROMPT_BYTES // num_bytes, 1) * segment_len


def _tokenize_within(
    compressor: Compressor,
    document: Document,
    segment_len: int,
    options: CompressOptions,
    on_progress: Progress | None,
) -> tuple[Tensor, str]:
    """Return the document's ids, and the reason why they cannot be compressed, or "": found before all are there."""
    max_tokens, advice = _max_tokens(compressor, segment_len), "split it into several documents"
    if options.long_documents == "refuse" and compressor.reach(segment_len) < max_tokens:
        max_tokens, advice = compressor.reach(segment_len), LONG_DOCUMENTS_ADVICE
    try:
        ids = tokenize(compressor.decoder, document, max_tokens, on_progress)
    except DocumentError:
        return torch.empty(0), "it has no text"
    is_too_long = len(ids) > max_tokens
    return ids, f"a document must have at most {max_tokens:,} tokens, it has more: {advice}" if is_too_long else ""


def _is_whole(corpus: Corpus, document: Document, compressor: Compressor) -> bool:
    """Whether the soft prompt in the store has read the document to its end, and was not truncated."""
    stored = corpus.document(document.id)
    return stored.num_virtual_tokens >= compressor.num_virtual_tokens(stored.num_tokens, stored.segment_len)


def segment_len_for(ratio: float, compressor: Compressor) -> int:
    """Return the segment length whose compression ratio is nearest to the one that is wanted.

    Raises:
        DocumentError: the ratio would not compress, or its segments do not fit the compressor's positions.
    """
    if compressor.design == "dynamic_pooling":
        return _learned_segment_len(ratio, compressor)
    longest = compressor.max_segment_len
    segment_len = round(ratio * compressor.summary_length) if 1 < ratio <= longest else 0
    if not segment_len or not compressor.reach(segment_len):
        raise DocumentError(
            f"ratio must be above 1 and at most {longest / compressor.summary_length:g} for {compressor.name} "
            f"({compressor.summary_length} virtual tokens a segment), got {ratio:g}: choose one in this range"
        )
    return segment_len


def _learned_segment_len(ratio: float, compressor: Compressor) -> int:
    """Return the learned segment length of this ratio, where only those that were learned can be read."""
    ratios = {length / compressor.summary_length: length for length in compressor.segment_lens}
    if ratio not in ratios:
        listed = ", ".join(f"{ratio:g}" for ratio in sorted(ratios))
        raise DocumentError(f"--ratio must be one that {compressor.name} learned, {listed}, got {ratio:g}")
    return ratios[ratio]
