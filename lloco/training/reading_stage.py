"""Batches and losses of the pretraining stages, for the one loop.

`lookup`: random tokens, then their chunks in another order, until what followed a token is found. `language_model`:
next-token prediction of documents followed by their questions. `compressor`: the same weights read segments through
summary tokens: questions, reconstruction and continuation from the soft prompt, beside full-text rows that keep the
first skill. Short documents come first (the lookup plateau). arXiv 2305.14788 section 3, 2404.07979.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lloco.compressors.autocompressor import AutoCompressor
from lloco.prompt import Prompt, collate
from lloco.training.reading_data import (
    REPEAT_INSTRUCTION,
    ReadingDocument,
    Row,
    as_tensor,
    lookup_row,
    questions_row,
    random_targets,
    text_row,
)

NUM_SPECIAL_TOKENS = 3
END_COPY_RATIO = 0.1

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
    """Share of the documents, the shortest, that the first step draws from."""
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
    min_segment_len: int = 16
    """Shortest segment that is drawn; the longest is the compressor's own."""


class ReadingBatch(NamedTuple):
    """One micro-batch: contexts and what follows each of them."""

    contexts: list[Tensor]
    is_compressed: bool
    segment_len: int
    rows: list[tuple[int, Row]]
    """(index into contexts, row)"""
    context_weights: list[Tensor]
    """Weight of each token of each context in the loss, where contexts are read as text."""


class ReadingStage:
    """Micro-batches and losses of either pretraining stage, for `loop.train`."""

    def __init__(
        self,
        compressor: AutoCompressor,
        documents: Sequence[ReadingDocument],
        options: ReadingOptions,
        *,
        num_steps: int,
        seed: int,
        validation: Sequence[ReadingDocument] = (),
        evaluate_every: int = 200,
    ) -> None:
        self.compressor = compressor
        self.documents = sorted(documents, key=lambda document: len(document.ids))
        self.options = options
        self.num_steps = num_steps
        self.seed = seed
        self.validation = validation
        self.evaluate_every = evaluate_every
        tokenizer = compressor.decoder.require_tokenizer()
        self.vocab_size = int(compressor.model.config.vocab_size)
        self.repeat = torch.tensor(tokenizer(REPEAT_INSTRUCTION, add_special_tokens=False)["input_ids"])

    def micro_batches(self, step: int) -> list[ReadingBatch]:
        """Draw documents of about `batch_tokens` tokens in all, the same ones whenever the step is done."""
        options = self.options
        chooser = random.Random(self.seed * 1_000_003 + step)
        if options.stage == "lookup":
            has_long_chunks = step < options.long_chunks_ratio * self.num_steps
            return [self._lookups(options.max_chunk_len // 2 if has_long_chunks else 2, chooser)]
        progress = min(1.0, step / max(1, options.curriculum_ratio * self.num_steps))
        drawn = self._draw(progress, chooser)
        if options.stage == "language_model":
            return [self._batch(group, False, 0, chooser) for group in self._similar(drawn)]
        num_full = round(options.full_text_ratio * len(drawn))
        longest = self.compressor.segment_len
        shortest = min(options.min_segment_len, longest)
        top = round(shortest + (longest - shortest) * progress)
        segment_len = chooser.choice([top, chooser.randint(shortest, top)])
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

    def _lookups(self, min_chunk_len: int, chooser: random.Random) -> ReadingBatch:
        """Draw sequences of one length, cut into chunks of one length, so that nothing is padded."""
        options = self.options
        chunk_len = chooser.randint(min_chunk_len, options.max_chunk_len)
        num_tokens = (
            max(2, chooser.randint(options.max_lookup_len // 3, options.max_lookup_len) // chunk_len) * chunk_len
        )
        batch = ReadingBatch([], False, 0, [], [])
        for place in range(max(1, options.batch_tokens // (2 * num_tokens))):
            ids = as_tensor(self._random_document(num_tokens, chooser).ids)
            batch.contexts.append(ids)
            batch.rows.append((place, lookup_row(ids, chunk_len, chooser)))
            batch.context_weights.append(torch.zeros(num_tokens))
        return batch

    def _random_document(self, num_tokens: int, chooser: random.Random) -> ReadingDocument:
        ids = chooser.sample(range(NUM_SPECIAL_TOKENS, self.vocab_size), num_tokens)
        return ReadingDocument(np.asarray(ids, dtype=np.int32), (), is_random=True)

    def _batch(
        self, documents: Sequence[ReadingDocument], is_compressed: bool, segment_len: int, chooser: random.Random
    ) -> ReadingBatch:
        batch = ReadingBatch([], is_compressed, segment_len, [], [])
        for document in documents:
            for context, row in self._rows(document, is_compressed, segment_len, chooser):
                ratio = 0.0 if is_compressed or document.is_random else self.options.text_target_ratio
                batch.rows.append((len(batch.contexts), row))
                batch.contexts.append(context)
                batch.context_weights.append(random_targets(len(context), ratio, chooser))
        return batch

    def _rows(
        self, document: ReadingDocument, is_compressed: bool, segment_len: int, chooser: random.Random
    ) -> Iterator[tuple[Tensor, Row]]:
        """Yield contexts of the document, each with what is to be said of it."""
        options = self.options
        ids = as_tensor(document.ids)
        pairs = chooser.sample(document.pairs, min(options.max_questions, len(document.pairs)))
        if document.is_random and not is_compressed:
            longest = max(2, min(options.max_chunk_len, len(ids) // 2))
            yield ids, lookup_row(ids, chooser.randint(2, longest), chooser)
        elif document.is_random:
            yield ids, text_row(ids, 1.0, chooser, self.repeat)
        elif not is_compressed:
            is_repeat = not pairs or chooser.random() < options.repeat_ratio
            yield ids, self._repeat_row(ids, chooser) if is_repeat else questions_row(pairs)
        else:
            if pairs:
                yield ids, questions_row(pairs)
            if not pairs or chooser.random() < options.text_row_ratio:
                yield self._text_row(ids, segment_len, chooser)

    def _text_row(self, ids: Tensor, segment_len: int, chooser: random.Random) -> tuple[Tensor, Row]:
        """Return what is compressed and what is to be said of it: the text again, or how it goes on."""
        num_segments = -(-len(ids) // segment_len)
        if num_segments == 1 or chooser.random() < self.options.reconstruction_ratio:
            return ids, self._repeat_row(ids, chooser)
        cut = chooser.randrange(1, num_segments) * segment_len
        return ids[:cut], text_row(ids[cut:], self.options.text_target_ratio, chooser)

    def _repeat_row(self, ids: Tensor, chooser: random.Random) -> Row:
        return text_row(ids, self.options.repeat_target_ratio, chooser, self.repeat)

    def num_targets(self, batch: ReadingBatch) -> float:
        """Count the tokens whose loss is computed."""
        return sum(float(weights.sum()) for weights in self._weights(batch))

    def _weights(self, batch: ReadingBatch) -> list[Tensor]:
        """Return the weight of every place after the first of each row: virtual tokens are never targets."""
        weights = []
        for index, row in batch.rows:
            if batch.is_compressed:
                num_virtual_tokens = self._num_virtual_tokens(len(batch.contexts[index]), batch.segment_len)
                context = torch.zeros(num_virtual_tokens)
            else:
                context = batch.context_weights[index]
            weights.append(torch.cat([context[1:], row.weights]))
        return weights

    def _num_virtual_tokens(self, num_tokens: int, segment_len: int) -> int:
        return -(-num_tokens // segment_len) * self.compressor.summary_length

    def loss_sum(self, batch: ReadingBatch) -> Tensor:
        """Return the sum of the targets' cross-entropies."""
        contexts = self._contexts(batch)
        hidden = self._hidden(batch, contexts)[:, :-1]
        ids = [torch.cat([_ids_of(contexts[index]), row.ids])[1:] for index, row in batch.rows]
        is_target = pad_sequence(self._weights(batch), batch_first=True) > 0
        labels = pad_sequence(ids, batch_first=True)[is_target].to(hidden.device)
        logits = self.compressor.model.lm_head(hidden[is_target.to(hidden.device)])
        return nn.functional.cross_entropy(logits.float(), labels, reduction="sum")

    def _hidden(self, batch: ReadingBatch, contexts: Sequence[Tensor]) -> Tensor:
        """Run the decoder over contexts and rows; returns states (num_rows, seq_len, hidden_size), padded right."""
        model = self.compressor.model
        inputs = collate(
            [Prompt((contexts[index], row.ids) if len(row.ids) else (contexts[index],)) for index, row in batch.rows],
            self.compressor.decoder,
            padding_side="right",
        )
        # Padding stands on the right, where a causal model never looks, so that the fast path without a mask is exact.
        decoder = model.get_decoder()  # type: ignore[no-untyped-call]
        hidden: Tensor = decoder(inputs_embeds=inputs.inputs_embeds, use_cache=False).last_hidden_state
        return hidden

    def _contexts(self, batch: ReadingBatch) -> list[Tensor]:
        """Return each context as the decoder reads it: token ids, or its soft prompt (with gradient)."""
        if not batch.is_compressed:
            return batch.contexts
        order = sorted(range(len(batch.contexts)), key=lambda place: -len(batch.contexts[place]))
        ordered = [batch.contexts[place] for place in order]
        soft_prompts = self._soft_prompts(ordered, batch.segment_len)
        return [soft_prompts[order.index(place)] for place in range(len(order))]

    def _soft_prompts(self, ordered: Sequence[Tensor], segment_len: int) -> list[Tensor]:
        """Compress contexts sorted from long to short, keeping the gradient through all segments."""
        return self.compressor.read_documents(ordered, segment_len)

    @torch.no_grad()
    def evaluate(self, step: int) -> dict[str, float]:
        """Exact match of held-out answers, full text and compressed, every `evaluate_every` steps.

        Under greedy decoding an answer is right exactly when every one of its tokens is the most likely next one.
        """
        if not self.validation or (step + 1) % self.evaluate_every:
            return {}
        self.compressor.eval()
        modes = {"full": False, "compressed": True} if self.options.stage == "compressor" else {"full": False}
        figures = {f"{mode}_exact_match": self._exact_match(is_compressed) for mode, is_compressed in modes.items()}
        self.compressor.train()
        return figures

    def _exact_match(self, is_compressed: bool, batch_size: int = 16) -> float:
        right: list[bool] = []
        for start in range(0, len(self.validation), batch_size):
            documents = self.validation[start : start + batch_size]
            rows = [(place, questions_row([pair])) for place, doc in enumerate(documents) for pair in doc.pairs[:2]]
            contexts = [as_tensor(document.ids) for document in documents]
            right += self._are_right(ReadingBatch(contexts, is_compressed, self.compressor.segment_len, rows, []))
        return 100 * sum(right) / max(1, len(right))

    def _are_right(self, batch: ReadingBatch) -> list[bool]:
        contexts = self._contexts(batch)
        right = []
        for (index, row), states in zip(batch.rows, self._hidden(batch, contexts), strict=True):
            start = len(contexts[index])
            is_target = row.weights > 0
            states = states[start - 1 : start - 1 + len(row.ids)][is_target.to(states.device)]
            right.append(torch.equal(self.compressor.model.lm_head(states).argmax(dim=-1).cpu(), row.ids[is_target]))
        return right


def _ids_of(context: Tensor) -> Tensor:
    """Return placeholder ids for virtual tokens, which are never targets."""
    return torch.zeros(len(context), dtype=torch.int64) if context.is_floating_point() else context
