"""Batches of compressed documents on their way into a corpus, each with the codebook that it is stored with."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from lloco.documents.document import Document, Skipped
from lloco.prompts.codebook import NUM_CODEWORDS, Codebook
from lloco.prompts.learn_codebook import NUM_TRAINING_VECTORS, learn_codebook
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.store.corpus import Corpus

CompressedBatch: TypeAlias = tuple[list[tuple[Document, SoftPrompt]], list[Skipped]]
"""Documents with their soft prompts, and those that were refused."""


def with_codebook(
    corpus: Corpus, storage_dtype: str | None, batches: Iterable[CompressedBatch]
) -> Iterator[tuple[CompressedBatch, Codebook | None]]:
    """Give every batch the corpus's codebook; None unless they are to be stored as pq.

    Without a codebook the first batches wait in memory until there are enough vectors to learn it from. One that was
    learned from fewer vectors than a byte can name is learned again where more come.
    """
    if storage_dtype != "pq":
        yield from ((batch, None) for batch in batches)
        return
    codebook = corpus.codebook()
    waiting: list[CompressedBatch] = []
    is_settled = codebook is not None and codebook.num_codewords == NUM_CODEWORDS
    for batch in batches:
        if is_settled:
            yield batch, codebook
            continue
        waiting.append(batch)
        if sum(map(_num_vectors, waiting)) >= NUM_TRAINING_VECTORS:
            codebook, is_settled = _learned(waiting, codebook), True
            yield from ((earlier, codebook) for earlier in waiting)
            waiting = []
    codebook = _learned(waiting, codebook) if waiting else codebook
    yield from ((batch, codebook) for batch in waiting)


def _num_vectors(batch: CompressedBatch) -> int:
    return sum(soft_prompt.num_virtual_tokens for _, soft_prompt in batch[0])


def _learned(batches: list[CompressedBatch], known: Codebook | None) -> Codebook | None:
    """Learn a codebook from the sound vectors of these documents; `known` where they are no more than it has."""
    soft_prompts = [soft_prompt for made, _ in batches for _, soft_prompt in made]
    vectors = [_sound(soft_prompt.embeds) for soft_prompt in soft_prompts]
    if sum(map(len, vectors)) <= (0 if known is None else known.num_codewords):
        return known
    return learn_codebook(torch.cat(vectors), soft_prompts[0].provenance.compressor_digest)


def _sound(embeds: Tensor) -> Tensor:
    """Leave out rows that storing refuses."""
    return embeds[embeds.isfinite().all(dim=1) & (embeds != 0).any(dim=1)].cpu().float()
