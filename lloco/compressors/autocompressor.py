"""The method's own compressor: causal summary tokens, read segment by segment with everything before them.

A segment's row is [soft prompt of earlier segments][segment tokens][summary tokens]; its soft prompt is the last
`summary_length` rows after the final norm. Checkpoint: a plain causal LM plus `embed_summary.weight`.
arXiv 2305.14788 section 3; LLoCO (arXiv 2404.07979) uses 1,536 tokens -> 50 vectors.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lloco.compressors.compressor import LongDocuments, windows_of
from lloco.compressors.decoder_based import (
    DecoderBased,
    declared,
    declared_lengths,
    read_summaries,
    reading_alone,
    save_with_decoder,
)
from lloco.errors import CheckpointError
from lloco.models.checkpoint import checkpoint_folder, find_tensor
from lloco.models.decoder import Decoder, load_decoder
from lloco.models.positions import PUBLISHED_MAX_SEGMENTS
from lloco.models.tokenize import Progress

SUMMARY_KEY = "embed_summary.weight"
PUBLISHED_SEGMENT_LEN = 1536
PLAIN_ATTENTION_LEN = 256
"""Rows up to this length cost about the same with plain attention, which rounds as the published code does."""


class AutoCompressor(DecoderBased):
    """Causal language model that learned summary tokens; `summaries` is (summary_length, hidden_size)."""

    def __init__(
        self,
        decoder: Decoder,
        summaries: Tensor,
        *,
        segment_len: int,
        segment_lens: Sequence[int] = (),
        max_segments: int | None = None,
    ):
        super().__init__(decoder)
        if summaries.ndim != 2 or summaries.shape[1] != decoder.hidden_size or not len(summaries):
            raise CheckpointError(
                f"{SUMMARY_KEY} in {decoder.name} must have shape (summary_length, {decoder.hidden_size}), got "
                f"{tuple(summaries.shape)}: the tensor belongs to another model"
            )
        self.embed_summary = nn.Embedding(*summaries.shape)
        self.embed_summary.weight = nn.Parameter(summaries.detach().to(decoder.device, decoder.dtype, copy=True))
        self.accumulate = bool(getattr(decoder.model.config, "accumulate_summary", True))
        self.segment_len = segment_len
        self.segment_lens = tuple(segment_lens) or (segment_len,)
        self.max_segments = PUBLISHED_MAX_SEGMENTS if max_segments is None else max_segments
        not_fitting = [length for length in (segment_len, *self.segment_lens) if not self.reach(length)]
        # Where the user says how many positions there are, other segments may be chosen too.
        if not_fitting and decoder.max_positions is None:
            raise CheckpointError(
                f"segments of {not_fitting[0]} tokens and {self.summary_length} summary tokens do not fit the "
                f"{decoder.max_len} positions of {decoder.name}: choose another segment_len"
            )

    @property
    def design(self) -> str:
        """Name of the way it compresses."""
        return "autocompressor"

    @property
    def summary_length(self) -> int:
        """Virtual tokens that a segment becomes."""
        return int(self.embed_summary.num_embeddings)

    @property
    def max_document_tokens(self) -> int:
        """Tokens that one recursion can reach, at the compressor's own segment length."""
        return self.reach(self.segment_len)

    @property
    def max_row_len(self) -> int:
        """Positions that a row may take.

        Rotary positions go on as long as the public code reads, whatever is declared, unless the user says otherwise.
        """
        if self.decoder.max_positions is not None or not self.decoder.is_endless:
            return self.decoder.max_len
        longest = PUBLISHED_MAX_SEGMENTS * (PUBLISHED_SEGMENT_LEN + self.summary_length)
        return max(longest, self.decoder.max_len)

    @property
    def max_segment_len(self) -> int:
        """Tokens of the longest segment that it can read."""
        return self.max_row_len - self.summary_length

    def longest_row(self, num_tokens: int, segment_len: int | None = None) -> int:
        """Return the positions of the last whole segment's row, which the vectors of all before it are read in."""
        segment_len = segment_len or self.segment_len
        num_tokens = min(num_tokens, self.reach(segment_len))
        num_before = (num_tokens - 1) // segment_len if self.accumulate else min((num_tokens - 1) // segment_len, 1)
        return num_before * self.summary_length + min(num_tokens, segment_len) + self.summary_length

    def reach(self, segment_len: int) -> int:
        """Return the tokens after which a row would be longer than the positions, or `max_segments` are read."""
        num_free = self.max_row_len - segment_len - self.summary_length
        if num_free < 0 or segment_len < 1:
            return 0
        num_earlier = num_free // self.summary_length
        num_segments = 1 + num_earlier if self.accumulate or not num_earlier else self.max_segments
        return min(num_segments, self.max_segments) * segment_len

    def num_virtual_tokens(self, num_tokens: int, segment_len: int | None = None) -> int:
        """Return the length of the soft prompt of a whole document of `num_tokens` tokens."""
        return -(-num_tokens // (segment_len or self.segment_len)) * self.summary_length

    def read_segment(self, soft_prompt: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        """Summarise one segment per row, given the soft prompt of the segments before it; see `read_summaries`."""
        return read_summaries(self.decoder, self.embed_summary.weight, soft_prompt, ids, lengths)

    def read_documents(
        self,
        documents: Sequence[Tensor],
        segment_len: int,
        *,
        reading: Callable[[int], AbstractContextManager[None]] = lambda row_len: nullcontext(),
        on_progress: Progress | None = None,
    ) -> list[Tensor]:
        """Read documents of ids, sorted from long to short, segment by segment; gradients flow through all of them.

        Those that still run are the first ones, and their soft prompts so far have one length. `reading` gives the
        context in which a segment is read, in rows of that length.

        Returns:
            One (num_virtual_tokens, hidden_size) tensor a document.
        """
        finished: list[list[Tensor]] = [[] for _ in documents]
        soft_prompt = self.embed_summary.weight.new_zeros(len(documents), 0, self.hidden_size)
        for start in range(0, len(documents[0]), segment_len):
            running = [ids[start : start + segment_len] for ids in documents if len(ids) > start]
            lengths = torch.tensor([len(ids) for ids in running], device=self.decoder.device)
            ids = nn.utils.rnn.pad_sequence(running, batch_first=True).to(self.decoder.device)
            soft_prompt = soft_prompt[: len(running)]
            row_len = soft_prompt.shape[1] + ids.shape[1] + self.summary_length
            self.decoder.note_len(row_len)
            with reading(soft_prompt.shape[1] + segment_len + self.summary_length):
                states = self.read_segment(soft_prompt, ids, lengths)
            for row, vectors in zip(finished, states, strict=False):
                row.append(vectors)
            soft_prompt = torch.cat([soft_prompt, states], dim=1) if self.accumulate else states
            if on_progress is not None:
                on_progress(sum(len(part) for part in running))
        return [torch.cat(row) for row in finished]

    def _compress_checked(
        self,
        documents: Sequence[Tensor],
        segment_len: int,
        batch_size: int,
        long_documents: LongDocuments,
        on_progress: Progress | None,
    ) -> list[Tensor]:
        """Read windows of all documents together, the longest first, a recursion for each."""
        made: list[Tensor] = []
        windows: list[tuple[Tensor, Tensor]] = []
        for ids in documents:
            parts = [ids[start:end] for start, end in windows_of(len(ids), self.reach(segment_len), long_documents)]
            num_rows = [self.num_virtual_tokens(len(part), segment_len) for part in parts]
            made.append(torch.empty(sum(num_rows), self.hidden_size, dtype=self.decoder.dtype))
            windows += zip(parts, torch.split(made[-1], num_rows), strict=True)
        windows.sort(key=lambda window: -len(window[0]))
        for start in range(0, len(windows), batch_size):
            group = windows[start : start + batch_size]
            read = self.read_documents(
                [part for part, _ in group], segment_len, reading=self._reading, on_progress=on_progress
            )
            for (_, rows), vectors in zip(group, read, strict=True):
                rows.copy_(vectors)
        return made

    @contextmanager
    def _reading(self, row_len: int) -> Iterator[None]:
        """Read a segment with the base model alone, with the attention that fits its length."""
        with reading_alone(self.decoder), self._attention(row_len):
            yield

    @contextmanager
    def _attention(self, row_len: int) -> Iterator[None]:
        """Use plain attention inside the block for short float32 rows on a CPU.

        The recursion magnifies the last bit of the fused kernel's rounding up to 2e-5 in a vector and 8e-5 in a logit.
        """
        config = self.model.config
        is_float32_on_cpu = self.decoder.device.type == "cpu" and self.decoder.dtype == torch.float32
        if not is_float32_on_cpu or row_len > PLAIN_ATTENTION_LEN or config._attn_implementation != "sdpa":
            yield
            return
        self.model.set_attn_implementation("eager")
        try:
            yield
        finally:
            self.model.set_attn_implementation("sdpa")

    def save(self, folder: str | Path) -> None:
        """Write a plain causal-LM folder plus `embed_summary.weight`; see `save_with_decoder`."""
        settings: dict[str, Any] = {
            "summary_length": self.summary_length,
            "segment_len": self.segment_len,
            "accumulate_summary": self.accumulate,
        }
        if self.segment_lens != (self.segment_len,):
            settings["segment_lens"] = list(self.segment_lens)
        self.decoder = save_with_decoder(self.decoder, folder, settings, {SUMMARY_KEY: self.embed_summary.weight})


def load_autocompressor(
    path_or_hub_id: str | Path,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    max_positions: int | None = None,
) -> AutoCompressor:
    """Load a checkpoint in the published AutoCompressor layout.

    Raises:
        CheckpointError: unreadable, without `embed_summary.weight` (a plain language model cannot compress), or on OPT.
    """
    folder = checkpoint_folder(path_or_hub_id)
    summaries = find_tensor(folder, SUMMARY_KEY)
    if summaries is None:
        raise CheckpointError(
            f"{path_or_hub_id} has no {SUMMARY_KEY}: it is a plain language model and no compressor; "
            "name an AutoCompressor checkpoint, or train one with `lloco pretrain`"
        )
    decoder = load_decoder(folder, device=device, dtype=dtype, max_positions=max_positions)
    decoder = replace(decoder, name=str(path_or_hub_id))
    if decoder.model.config.model_type == "opt":
        raise CheckpointError(
            f"an AutoCompressor must have rotary positions, {path_or_hub_id} is built on OPT, whose summary "
            "tokens were trained without positions and would come out wrong: name one on Llama"
        )
    segment_len = declared(decoder, "segment_len")
    if segment_len is None:
        room = decoder.max_len - summaries.shape[0] if summaries.ndim else 0
        segment_len = PUBLISHED_SEGMENT_LEN if room > PUBLISHED_SEGMENT_LEN else max(1, room // 2)
    compressor = AutoCompressor(
        decoder, summaries, segment_len=segment_len, segment_lens=declared_lengths(decoder, "segment_lens")
    )
    num_declared = declared(decoder, "summary_length")
    if num_declared not in (None, compressor.summary_length):
        raise CheckpointError(
            f"{folder} declares {num_declared} summary tokens and holds {compressor.summary_length}: the config is "
            "another model's; fetch the checkpoint again"
        )
    return compressor.eval()
