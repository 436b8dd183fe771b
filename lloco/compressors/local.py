"""Compressors that read a document in windows, each by itself, and turn every small group of tokens into a vector.

Nothing is carried from window to window: a document of any length is read, several windows at a time. The designs are
`local_encoder`'s. Checkpoint: a plain causal LM, the decoder, plus the encoder's tensors, named `compressor.*`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from lloco.compressors.compressor import LongDocuments, windows_of
from lloco.compressors.decoder_based import (
    TENSOR_PREFIX,
    DecoderBased,
    compressor_tensors,
    config_design,
    declared,
    declared_lengths,
    in_autocast_dtype,
    reading_alone,
    save_with_decoder,
)
from lloco.compressors.dynamic_pooling import DynamicPoolingEncoder
from lloco.compressors.local_encoder import LocalDesign, LocalEncoder, encoder_body
from lloco.errors import CheckpointError
from lloco.models.checkpoint import checkpoint_folder
from lloco.models.decoder import Decoder, load_decoder
from lloco.models.tokenize import Progress

AnyModule = TypeVar("AnyModule", bound=nn.Module)
ANY_LENGTH = 1 << 40
"""More tokens than any document has."""


class LocalCompressor(DecoderBased):
    """Decoder with an encoder that summarises segments of `segment_len` tokens, one of the `segment_lens` it learned.

    A window of `window_len` tokens is read at once; segments in it see each other, those of other windows do not.
    """

    def __init__(
        self,
        decoder: Decoder,
        encoder: LocalEncoder | DynamicPoolingEncoder,
        *,
        segment_lens: Sequence[int],
        window_len: int,
        keep_dtypes: bool = False,
    ) -> None:
        """Take the encoder in the decoder's dtype, unless it is to keep that of each of its weights."""
        super().__init__(decoder)
        self.encoder = (encoder if keep_dtypes else in_dtype(encoder, decoder.dtype)).to(decoder.device)
        self.window_len = window_len
        self.segment_lens = tuple(segment_lens)
        if not self.segment_lens or min(self.segment_lens) < encoder.summary_length:
            raise CheckpointError(
                f"segments must have at least {encoder.summary_length} tokens, a vector for each, in "
                f"{decoder.name}, got {self.segment_lens}: choose longer ones, or fetch the checkpoint again"
            )
        not_fitting = [length for length in self.segment_lens if not self.reach(length)]
        if not_fitting and decoder.max_positions is None:
            raise CheckpointError(
                f"segments of {not_fitting[0]} tokens, with their summary tokens, do not fit the {decoder.max_len} "
                f"positions of {decoder.name}: choose shorter ones"
            )

    @property
    def design(self) -> str:
        """Name of the way it compresses."""
        return self.encoder.design

    @property
    def summary_length(self) -> int:
        """Virtual tokens that a segment becomes."""
        return self.encoder.summary_length

    @property
    def segment_len(self) -> int:
        """Tokens a segment unless told otherwise: the first that it names."""
        return self.segment_lens[0]

    @property
    def max_document_tokens(self) -> int:
        """Tokens that it reads: no document is too long."""
        return self.reach(self.segment_len)

    @property
    def max_segment_len(self) -> int:
        """Tokens of the longest segment that fits the positions with its summary tokens."""
        return self.decoder.max_len - self._num_summaries

    def longest_row(self, num_tokens: int, segment_len: int | None = None) -> int:
        """Return the positions that the longest window takes with its summary tokens."""
        segment_len = segment_len or self.segment_len
        num_segments = min(-(-num_tokens // segment_len), self.segments_at_once(segment_len))
        return min(num_tokens, num_segments * segment_len) + num_segments * self._num_summaries

    def reach(self, segment_len: int) -> int:
        """Return the same at this segment length; 0 where it is too short, or a window does not fit the positions."""
        # At a ratio that it did not learn, dynamic pooling makes vectors that nobody can read.
        is_unlearned = self.design == DynamicPoolingEncoder.design and segment_len not in self.segment_lens
        if is_unlearned or not self.encoder.can_make(segment_len):
            return 0
        return ANY_LENGTH if segment_len + self._num_summaries <= self.decoder.max_len else 0

    def segments_at_once(self, segment_len: int) -> int:
        """Return the segments of a window: one at least, as many as `window_len` and the positions allow."""
        room = self.decoder.max_len // (segment_len + self._num_summaries)
        return max(min(self.window_len // segment_len, room), 1)

    @property
    def _num_summaries(self) -> int:
        """Places that summary tokens take beside a segment's tokens."""
        return 0 if self.design in ("pooling", DynamicPoolingEncoder.design) else self.summary_length

    def num_virtual_tokens(self, num_tokens: int, segment_len: int | None = None) -> int:
        """Return the length of the soft prompt of a document: of its last segment only groups that have a token."""
        segment_len = segment_len or self.segment_len
        num_whole, rest = divmod(num_tokens, segment_len)
        num_groups = (rest - 1) * self.summary_length // segment_len + 1 if rest else 0
        return num_whole * self.summary_length + num_groups

    def read_documents(
        self,
        documents: Sequence[Tensor],
        segment_len: int,
        *,
        windows_at_once: int | None = None,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
        on_progress: Progress | None = None,
    ) -> list[Tensor]:
        """Read documents of ids, sorted from long to short; gradients flow through all of them.

        `reading` gives the context in which windows are read, `windows_at_once` of them, all when not given.

        Returns:
            One (num_virtual_tokens, hidden_size) tensor a document.
        """
        window_len = self.segments_at_once(segment_len) * segment_len
        windows = [
            (index, number, part)
            for index, ids in enumerate(documents)
            for number, part in enumerate(torch.split(ids, window_len))
        ]
        windows.sort(key=lambda window: -len(window[2]))
        vectors: dict[tuple[int, int], Tensor] = {}
        for start in range(0, len(windows), windows_at_once or len(windows)):
            group = windows[start : start + (windows_at_once or len(windows))]
            with reading():
                made = self._read_windows([part for _, _, part in group], segment_len)
            if not torch.is_grad_enabled():
                # Copies, off the device: what is kept of a long document is its vectors and nothing else.
                made = [rows.to("cpu", copy=True) for rows in made]
            vectors |= {window[:2]: rows for window, rows in zip(group, made, strict=True)}
            if on_progress is not None:
                on_progress(sum(len(part) for _, _, part in group))
        of_documents: list[list[Tensor]] = [[] for _ in documents]
        for (index, _), rows in sorted(vectors.items(), key=lambda item: item[0]):
            of_documents[index].append(rows)
        return [torch.cat(rows) for rows in of_documents]

    def _read_windows(self, windows: Sequence[Tensor], segment_len: int) -> list[Tensor]:
        ids = nn.utils.rnn.pad_sequence(list(windows), batch_first=True).to(self.decoder.device)
        lengths = torch.tensor([len(window) for window in windows], device=self.decoder.device)
        self.decoder.note_len(ids.shape[1] + ids.shape[1] // segment_len * self._num_summaries)
        vectors: Tensor = self.encoder(in_autocast_dtype(self.decoder.embed(ids)), lengths, segment_len)
        return [
            row[: self.num_virtual_tokens(len(window), segment_len)]
            for row, window in zip(vectors, windows, strict=True)
        ]

    @property
    def min_segment_len(self) -> int:
        """Tokens of the shortest segment: one for each vector."""
        return self.summary_length

    @property
    def segment_advice(self) -> str:
        """What to do where a segment length cannot be used."""
        return f"choose one of those it learned, {', '.join(map(str, self.segment_lens))}"

    def _compress_checked(
        self,
        ids: Sequence[Tensor],
        segment_len: int,
        batch_size: int,
        long_documents: LongDocuments,
        on_progress: Progress | None,
    ) -> list[Tensor]:
        for document in ids:
            windows_of(len(document), ANY_LENGTH, long_documents)
        return self.read_documents(
            ids,
            segment_len,
            windows_at_once=batch_size,
            reading=lambda: reading_alone(self.decoder, self.encoder),
            on_progress=on_progress,
        )

    def save(self, folder: str | Path) -> None:
        """Write a plain causal-LM folder plus the encoder's tensors; see `save_with_decoder`."""
        settings: dict[str, Any] = {
            "compressor_design": self.design,
            "summary_length": self.summary_length,
            "segment_lens": list(self.segment_lens),
            "window_len": self.window_len,
            "encoder_layers": int(self.encoder.body.config.num_hidden_layers),
        }
        if isinstance(self.encoder, DynamicPoolingEncoder):
            settings["pooling_hidden_size"] = self.encoder.hidden_size
        tensors = {TENSOR_PREFIX + name: tensor for name, tensor in self.encoder.state_dict().items()}
        self.decoder = save_with_decoder(self.decoder, folder, settings, tensors)


def in_dtype(encoder: AnyModule, dtype: torch.dtype) -> AnyModule:
    """Change the weights alone: positions are rotated by buffers that stay float32, as the decoder's do."""
    for parameter in encoder.parameters():
        parameter.data = parameter.data.to(dtype)
    return encoder


def local_design(folder: Path) -> LocalDesign | Literal["dynamic_pooling"] | None:
    """Return the design that the folder's config names, or None where it names none.

    Raises:
        CheckpointError: it names one that there is not.
    """
    design: LocalDesign | Literal["dynamic_pooling"] | None = config_design(folder)
    known = (*get_args(LocalDesign), DynamicPoolingEncoder.design)
    if design is not None and design not in known:
        raise CheckpointError(
            f"compressor_design in the config of {folder} must be one of {', '.join(known)}, got {design!r}: a newer "
            "lloco may have written it"
        )
    return design


def load_local_compressor(
    path_or_hub_id: str | Path,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    max_positions: int | None = None,
) -> LocalCompressor:
    """Load a checkpoint that `LocalCompressor.save` wrote.

    Raises:
        CheckpointError: unreadable, or not all of the encoder's tensors are there and of its shapes.
    """
    folder = checkpoint_folder(path_or_hub_id)
    decoder = load_decoder(folder, device=device, dtype=dtype, max_positions=max_positions)
    decoder = replace(decoder, name=str(path_or_hub_id))
    summary_length, window_len = declared(decoder, "summary_length"), declared(decoder, "window_len")
    if summary_length is None or window_len is None:
        raise CheckpointError(
            f"the config of {decoder.name} must have summary_length and window_len: fetch the checkpoint again"
        )
    encoder = _untrained_encoder(decoder, summary_length)
    tensors = compressor_tensors(folder)
    try:
        encoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"the encoder's tensors in {decoder.name} are not those that its config declares "
            f"({str(error).splitlines()[-1].strip()}): fetch the checkpoint again"
        ) from error
    segment_lens = declared_lengths(decoder, "segment_lens")
    return LocalCompressor(decoder, encoder, segment_lens=segment_lens, window_len=window_len).eval()


def _untrained_encoder(decoder: Decoder, summary_length: int) -> LocalEncoder | DynamicPoolingEncoder:
    """Return an encoder of the shape that the decoder's config declares."""
    body, design = encoder_body(decoder, declared(decoder, "encoder_layers")), decoder.model.config.compressor_design
    if design != DynamicPoolingEncoder.design:
        return LocalEncoder(body, design, summary_length, embed_scale=1.0)
    hidden_size = declared(decoder, "pooling_hidden_size")
    if hidden_size is None:
        raise CheckpointError(f"the config of {decoder.name} must have pooling_hidden_size: fetch it again")
    return DynamicPoolingEncoder(body, hidden_size=hidden_size, embed_scale=1.0)
