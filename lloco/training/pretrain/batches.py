"""Which documents a step of pretraining reads, how, and what is to be said of them.

`lookup`: random tokens, then their chunks in another order, until what followed a token is found. `language_model`:
documents followed by their questions, as text. `compressor`: documents as soft prompts, at one of several ratios:
questions, reconstruction and continuation, other documents among them and questions that none of them answers, beside
full-text rows that keep the first skill. Short documents and low ratios come first. arXiv 2305.14788 section 3,
2404.07979. Knows nothing about losses.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.models.control_tokens import text_ids
from lloco.prompts.prompt import answer_ids
from lloco.prompts.template import DEFAULT_TEMPLATE, REPEAT_INSTRUCTION
from lloco.training.pretrain.text import (
    ReadingDocument,
    Row,
    as_tensor,
    lookup_row,
    questions_row,
    random_targets,
    text_row,
)

END_COPY_RATIO = 0.1
NOT_ANSWERABLE = "not answerable"

StageName = Literal["lookup", "language_model", "compressor"]


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How a stage draws its batches."""

    stage: StageName = "language_model"
    """What is learned."""
    batch_tokens: int = 4096
    """Document tokens of one optimiser step."""
    micro_batch_tokens: int = 768
    """Document tokens, padded, that are computed at once."""
    max_questions: int = 8
    """Questions asked of one document in one row."""
    copy_ratio: float = 0.5
    """Share of the first step's tokens that are random and to be copied: lookup grows out of copying."""
    end_copy_ratio: float = END_COPY_RATIO
    """That share from the end of the curriculum on."""
    max_copy_len: int = 32
    """Longest sequence of random tokens that is to be copied."""
    max_lookup_len: int = 48
    """Longest sequence of random tokens that is looked up in."""
    max_chunk_len: int = 16
    """Longest run of tokens that keeps its order there."""
    long_chunks_ratio: float = 0.85
    """Share of the lookup stage's steps with chunks of half that length at least: short ones alone teach nothing."""
    curriculum_ratio: float = 0.35
    """Share of the steps until the longest documents are in; short ones come first."""
    start_fraction: float = 0.1
    """Share of the documents, the shortest, that the first step draws from; at 1 there is no curriculum at all."""
    text_target_ratio: float = 0.25
    """Share of a text's tokens, drawn anew each time, whose loss is computed; answer tokens always count."""
    repeat_ratio: float = 0.25
    """Share of documents read as text that are to be repeated instead of asked about: copying comes before lookup."""
    repeat_target_ratio: float = 0.5
    """Share of a repeated text's tokens whose loss is computed."""
    reconstruction_ratio: float = 0.5
    """Share of compressed text rows that repeat the document; the rest continue it."""
    text_row_ratio: float = 0.5
    """Share of compressed documents that also get a text row."""
    full_text_ratio: float = 0.35
    """Share of documents read as text in the compressor stage, so that the skill stays."""
    segment_lens: tuple[int, ...] = (64,)
    """Lengths of which a step of the compressor stage has one: the ratios that are learned; the shortest come first."""
    distractor_ratio: float = 0.0
    """Share of the contexts that hold one or two other documents as well."""
    not_answerable_ratio: float = 0.0
    """Share of the contexts that are also asked a question about a document that is not in them."""
    distillation_ratio: float = 0.0
    """Weight, in rows with soft prompts, of what the same model says that reads the text; the rest is the targets'."""
    distillation_top_k: int = 20
    """Tokens, the likeliest at each place, whose probabilities are matched."""


class ReadingBatch(NamedTuple):
    """One micro-batch: contexts and what follows one of them, or several."""

    contexts: list[Tensor]
    """Token ids of documents, or of the first part of one."""
    is_compressed: bool
    segment_len: int
    rows: list[tuple[tuple[int, ...], Row]]
    """(indices into contexts, row)"""
    context_weights: list[Tensor]
    """Weight of each token of each context in the loss, where contexts are read as text."""


class ReadingBatches:
    """Draws the micro-batches of a step: a pure function of the seed and the step."""

    def __init__(
        self,
        documents: Sequence[ReadingDocument],
        options: ReadingOptions,
        tokenizer: PreTrainedTokenizerBase,
        *,
        num_embeddings: int,
        num_steps: int,
        seed: int,
        num_processes: int = 1,
    ) -> None:
        self.documents = sorted(documents, key=lambda document: len(document.ids))
        self.options = options
        self.num_steps = num_steps
        self.seed = seed
        self.num_processes = num_processes
        """What would be one micro-batch is as many: each process gets a part of it."""
        special = set(tokenizer.all_special_ids)
        self.random_ids = [index for index in range(min(len(tokenizer), num_embeddings)) if index not in special]
        self.repeat = torch.tensor(text_ids(tokenizer, REPEAT_INSTRUCTION))
        self.not_answerable = answer_ids(DEFAULT_TEMPLATE, tokenizer, NOT_ANSWERABLE).numpy().astype(np.int32)

    def micro_batches(self, step: int) -> list[ReadingBatch]:
        """Draw documents of about `batch_tokens` tokens in all, the same ones whenever the step is done."""
        options = self.options
        chooser = random.Random(self.seed * 1_000_003 + step)
        if options.stage == "lookup":
            has_long_chunks = step < options.long_chunks_ratio * self.num_steps
            return self._lookups(options.max_chunk_len // 2 if has_long_chunks else 2, chooser)
        is_easy_first = options.start_fraction < 1
        progress = min(1.0, step / max(1, options.curriculum_ratio * self.num_steps)) if is_easy_first else 1.0
        drawn = self._draw(progress, chooser)
        if options.stage == "language_model":
            return [self._batch(group, False, 0, chooser) for group in self._similar(drawn)]
        num_full = round(options.full_text_ratio * len(drawn))
        num_lens = 1 + int(progress * (len(options.segment_lens) - 1))
        segment_len = chooser.choice(sorted(options.segment_lens)[:num_lens])
        batches = [self._batch(group, True, segment_len, chooser) for group in self._similar(drawn[num_full:])]
        return batches + [self._batch(group, False, 0, chooser) for group in self._similar(drawn[:num_full])]

    def _similar(self, documents: Sequence[ReadingDocument]) -> Iterator[list[ReadingDocument]]:
        """Group documents of similar length, so that little is padded and a micro-batch stays in the cache."""
        group: list[ReadingDocument] = []
        for document in sorted(documents, key=lambda document: -len(document.ids)):
            if group and (len(group) + 1) * len(group[0].ids) > self.options.micro_batch_tokens:
                yield group
                group = []
            group.append(document)
        if group:
            yield group

    def _draw(self, progress: float, chooser: random.Random) -> list[ReadingDocument]:
        """Draw random tokens to copy and documents, short ones first as long as `progress` is below 1."""
        options = self.options
        copy_ratio = options.copy_ratio + (options.end_copy_ratio - options.copy_ratio) * progress
        max_copy_len = round(8 + (options.max_copy_len - 8) * progress)
        reach = options.start_fraction + (1 - options.start_fraction) * progress
        limit = max(1, int(reach * len(self.documents)))
        drawn: list[ReadingDocument] = []
        num_tokens = 0
        while num_tokens < copy_ratio * options.batch_tokens:
            drawn.append(self._random_document(chooser.randint(4, max_copy_len), chooser))
            num_tokens += 2 * len(drawn[-1].ids)
        while num_tokens < options.batch_tokens:
            drawn.append(self.documents[chooser.randrange(limit)])
            num_tokens += len(drawn[-1].ids)
            num_tokens += sum(len(q) + len(a) for q, a in drawn[-1].pairs[: options.max_questions])
        chooser.shuffle(drawn)
        return drawn

    def _lookups(self, min_chunk_len: int, chooser: random.Random) -> list[ReadingBatch]:
        """Draw sequences of one length, cut into chunks of one length, so that nothing is padded."""
        options = self.options
        chunk_len = chooser.randint(min_chunk_len, options.max_chunk_len)
        num_tokens = (
            max(2, chooser.randint(options.max_lookup_len // 3, options.max_lookup_len) // chunk_len) * chunk_len
        )
        num_rows = max(1, options.batch_tokens // (2 * num_tokens))
        batches = [ReadingBatch([], False, 0, [], []) for _ in range(min(num_rows, self.num_processes))]
        for number in range(num_rows):
            batch = batches[number % len(batches)]
            ids = as_tensor(self._random_document(num_tokens, chooser).ids)
            added = self._add_context(batch, ids, True, chooser)
            batch.rows.append(((added,), lookup_row(ids, chunk_len, chooser)))
        return batches

    def _random_document(self, num_tokens: int, chooser: random.Random) -> ReadingDocument:
        ids = chooser.sample(self.random_ids, num_tokens)
        return ReadingDocument(np.asarray(ids, dtype=np.int32), (), is_random=True)

    def _batch(
        self, documents: Sequence[ReadingDocument], is_compressed: bool, segment_len: int, chooser: random.Random
    ) -> ReadingBatch:
        options = self.options
        batch = ReadingBatch([], is_compressed, segment_len, [], [])
        for document in documents:
            self._add_context(batch, as_tensor(document.ids), document.is_random, chooser)
        for index, document in enumerate(documents):
            ids = batch.contexts[index]
            if document.is_random:
                batch.rows.append(((index,), self._random_row(ids, is_compressed, chooser)))
                continue
            text_ratio = options.text_row_ratio if is_compressed else options.repeat_ratio
            has_text_row = not document.pairs or chooser.random() < text_ratio
            if document.pairs and (is_compressed or not has_text_row):
                batch.rows.append(self._questions(index, documents, chooser))
            if has_text_row:
                cut = self._cut(len(ids), segment_len, chooser) if is_compressed else None
                if cut is None:
                    batch.rows.append(((index,), text_row(ids, options.repeat_target_ratio, chooser, self.repeat)))
                else:
                    index = self._add_context(batch, ids[:cut], False, chooser)
                    batch.rows.append(((index,), text_row(ids[cut:], options.text_target_ratio, chooser)))
        return batch

    def _add_context(self, batch: ReadingBatch, ids: Tensor, is_random: bool, chooser: random.Random) -> int:
        """Add token ids to read and return their place among the contexts."""
        ratio = 0.0 if batch.is_compressed or is_random else self.options.text_target_ratio
        batch.contexts.append(ids)
        batch.context_weights.append(random_targets(len(ids), ratio, chooser))
        return len(batch.contexts) - 1

    def _random_row(self, ids: Tensor, is_compressed: bool, chooser: random.Random) -> Row:
        if is_compressed:
            return text_row(ids, 1.0, chooser, self.repeat)
        longest = max(2, min(self.options.max_chunk_len, len(ids) // 2))
        return lookup_row(ids, chooser.randint(2, longest), chooser)

    def _questions(
        self, own_index: int, documents: Sequence[ReadingDocument], chooser: random.Random
    ) -> tuple[tuple[int, ...], Row]:
        """Ask about one document, perhaps among others, and perhaps about one that is not there."""
        options = self.options
        places, own = [own_index], documents[own_index].pairs
        others = [index for index, document in enumerate(documents) if index != own_index and not document.is_random]
        if others and chooser.random() < options.distractor_ratio:
            places += chooser.sample(others, min(len(others), chooser.randint(1, 2)))
            chooser.shuffle(places)
        pairs = chooser.sample(own, min(options.max_questions, len(own)))
        if chooser.random() < options.not_answerable_ratio:
            stranger = self.documents[chooser.randrange(len(self.documents))]
            question, _ = chooser.choice(stranger.pairs) if stranger.pairs else own[0]
            asked_here = [asked for index in places for asked, _ in documents[index].pairs]
            if not any(np.array_equal(question, asked) for asked in asked_here):
                pairs.insert(chooser.randint(0, len(pairs)), (question, self.not_answerable))
        return tuple(places), questions_row(pairs)

    def _cut(self, num_tokens: int, segment_len: int, chooser: random.Random) -> int | None:
        """Return where the document ends that is to be continued, or None where it is to be repeated."""
        num_segments = -(-num_tokens // segment_len)
        if num_segments == 1 or chooser.random() < self.options.reconstruction_ratio:
            return None
        return chooser.randrange(1, num_segments) * segment_len
