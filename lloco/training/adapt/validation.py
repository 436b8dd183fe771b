"""Held-out questions and texts, measured from the text and from vectors with the right tokens before each target.

Under greedy decoding an answer is right exactly when every one of its tokens is the most likely next one. Repeated
spans say how much of the text the vectors hold.
"""

import math
import random
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lloco.compressors.delta import TrainableCompressor
from lloco.prompts.branched_rows import BranchedInput, BranchedRow
from lloco.training.adapt.rows import text_row, vector_row
from lloco.training.adapt.samples import Sample, SampleOptions, Samples
from lloco.training.pretrain.text import Line

SPAN_LEN = 48
BATCH_SIZE = 8


class Reader(Protocol):
    """Reads rows; a training stage does."""

    compressor: TrainableCompressor

    def logits(self, rows: Sequence[BranchedRow]) -> tuple[Tensor, BranchedInput]:
        """Return logits (num_targets, vocab_size) of the rows' targets, and the rows as they were read."""
        ...

    def logits_before(self, rows: Sequence[BranchedRow]) -> Tensor:
        """Return the same as the pretrained model reads the rows."""
        ...


class Measured:
    """Samples that are the same at every measurement."""

    def __init__(self, lines: Sequence[Line], learned: Samples, limit: int) -> None:
        options = SampleOptions(
            mix={"questions": 1.0}, window_tokens=learned.options.window_tokens, max_questions=2, text_ratio=0.0
        )
        plain = SampleOptions(mix={"plain": 1.0}, window_tokens=learned.options.window_tokens, text_weight=1.0)
        repeats = SampleOptions(mix={"repeat": 1.0}, span_lens=(SPAN_LEN, SPAN_LEN), text_weight=1.0)
        asked = [line for line in lines if line[1]][:limit]
        self._questions = [_one_of(line, learned, options, index) for index, line in enumerate(asked)]
        self._repeats = [_one_of(line, learned, repeats, index) for index, line in enumerate(asked[: limit // 2])]
        self._plain = [_one_of(line, learned, plain, index) for index, line in enumerate(asked[: limit // 2])]

    def figures(self, reader: Reader, segment_lens: Sequence[int]) -> dict[str, float]:
        """Return exact match and token accuracy of answers, token accuracy of repeated spans, and the change of plain
        text's perplexity, all in percent."""
        figures = {"plain_text_change": self._plain_change(reader)}
        figures["text_exact_match"], figures["text_token_accuracy"] = _score(
            reader, [text_row(sample) for sample in self._questions]
        )
        for segment_len in sorted(segment_lens):
            for name, samples in (("questions", self._questions), ("repeat", self._repeats)):
                documents = [ids for sample in samples for ids in sample.documents]
                vectors = reader.compressor.read_in_order(documents, segment_len)
                rows = [vector_row(sample, [own]) for sample, own in zip(samples, vectors, strict=True)]
                exact, accuracy = _score(reader, rows)
                if name == "repeat":
                    figures[f"repeat_token_accuracy_{segment_len}x"] = accuracy
                else:
                    figures[f"exact_match_{segment_len}x"] = exact
                    figures[f"token_accuracy_{segment_len}x"] = accuracy
        return figures

    def _plain_change(self, reader: Reader) -> float:
        """Return by how many percent the perplexity of plain text has risen over the pretrained model's."""
        risen, num_tokens = 0.0, 0
        for start in range(0, len(self._plain), BATCH_SIZE):
            rows = [text_row(sample) for sample in self._plain[start : start + BATCH_SIZE]]
            logits, inputs = reader.logits(rows)
            targets = inputs.target_ids.to(logits.device)
            now, before = (
                cross_entropy(read, targets, reduction="sum") for read in (logits, reader.logits_before(rows))
            )
            risen += float(now - before)
            num_tokens += len(targets)
        return 100 * (math.exp(risen / num_tokens) - 1)


def _one_of(line: Line, learned: Samples, options: SampleOptions, seed: int) -> Sample:
    return Samples([line], options, learned.template, learned.tokenizer).draw(random.Random(seed))


def _score(reader: Reader, rows: Sequence[BranchedRow]) -> tuple[float, float]:
    right, whole = list[Tensor](), list[bool]()
    for start in range(0, len(rows), BATCH_SIZE):
        logits, inputs = reader.logits(rows[start : start + BATCH_SIZE])
        is_right = logits.argmax(dim=-1).cpu() == inputs.target_ids
        right.append(is_right)
        for branch in set(inputs.target_branches.tolist()):
            whole.append(bool(is_right[inputs.target_branches == branch].all()))
    return 100 * sum(whole) / len(whole), 100 * float(torch.cat(right).float().mean())
