"""The in-context autoencoder: the decoder with a LoRA of its own reads a segment, then summary tokens, by itself.

Segments do not see each other, so a document of any length is read, several segments at a time. The decoder that reads
the vectors is the same model without that LoRA. arXiv 2307.06945; `code/icae_v2/modeling_icae_multi_span.py` of
getao/icae@5ed61ff. Checkpoint: a plain causal LM, the decoder, plus `compressor.summaries` and `compressor.lora_*`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lloco.compressors.compressor import LongDocuments, windows_of
from lloco.compressors.decoder_based import (
    TENSOR_PREFIX,
    DecoderBased,
    compressor_tensors,
    declared,
    read_summaries,
    reading_alone,
    save_with_decoder,
)
from lloco.compressors.local import ANY_LENGTH
from lloco.errors import CheckpointError
from lloco.models.checkpoint import checkpoint_folder
from lloco.models.decoder import Decoder, load_decoder
from lloco.models.tokenize import Progress

DESIGN = "icae"
SUMMARIES = "summaries"


class IcaeCompressor(DecoderBased):
    """Decoder with LoRA matrices that are on while it compresses, and off while it answers.

    `lora` maps a module to its matrices (r, in_features) and (out_features, r); what they add is scaled by alpha / r.
    """

    def __init__(
        self,
        decoder: Decoder,
        summaries: Tensor,
        lora: Mapping[str, tuple[Tensor, Tensor]],
        *,
        lora_alpha: int,
        segment_len: int,
    ):
        super().__init__(decoder)
        self._check(summaries, lora)
        self.summaries = summaries.detach().to(decoder.device, decoder.dtype)
        self.lora = {
            name: (a.detach().to(decoder.device, decoder.dtype), b.detach().to(decoder.device, decoder.dtype))
            for name, (a, b) in lora.items()
        }
        self.lora_alpha = lora_alpha
        self.segment_len = segment_len
        self.segment_lens = (segment_len,)
        if not self.reach(segment_len) and decoder.max_positions is None:
            raise CheckpointError(
                f"segments of {segment_len} tokens and {self.summary_length} summary tokens do not fit the "
                f"{decoder.max_len} positions of {decoder.name}: it is another decoder than these weights are for"
            )

    def _check(self, summaries: Tensor, lora: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        modules = dict(self.model.named_modules())
        if summaries.ndim != 2 or summaries.shape[1] != self.hidden_size or not len(summaries) or not lora:
            raise CheckpointError(
                f"{self.decoder.name} needs summary tokens {self.hidden_size} wide and LoRA matrices, got "
                f"{tuple(summaries.shape)} and {len(lora)}: they belong to another model"
            )
        for name, (a, b) in lora.items():
            layer = modules.get(name)
            wanted = None if layer is None else (layer.in_features, layer.out_features)
            if wanted != (a.shape[-1], b.shape[0]) or a.shape[0] != b.shape[-1]:
                raise CheckpointError(
                    f"LoRA matrices must fit the modules of {self.decoder.name}, those of {name} are "
                    f"{tuple(a.shape)} and {tuple(b.shape)}, the module {wanted or 'is not there'}: they belong to "
                    "another model"
                )

    @property
    def design(self) -> str:
        """Name of the way it compresses."""
        return DESIGN

    @property
    def summary_length(self) -> int:
        """Virtual tokens that a segment becomes."""
        return len(self.summaries)

    @property
    def max_document_tokens(self) -> int:
        """Tokens that it reads: no document is too long."""
        return self.reach(self.segment_len)

    def reach(self, segment_len: int) -> int:
        """Return the same at this segment length; 0 where such segments do not fit."""
        fits = segment_len >= 1 and segment_len + self.summary_length <= self.decoder.max_len
        return ANY_LENGTH if fits else 0

    def num_virtual_tokens(self, num_tokens: int, segment_len: int | None = None) -> int:
        """Return the length of the soft prompt of a whole document: the last segment has as many as the others."""
        return -(-num_tokens // (segment_len or self.segment_len)) * self.summary_length

    def _compress_checked(
        self,
        documents: Sequence[Tensor],
        segment_len: int,
        batch_size: int,
        long_documents: LongDocuments,
        on_progress: Progress | None,
    ) -> list[Tensor]:
        """Read segments of all documents together, the longest first; no document is too long."""
        segments: list[tuple[int, Tensor]] = []
        for index, ids in enumerate(documents):
            windows_of(len(ids), ANY_LENGTH, long_documents)
            segments += ((index, part) for part in torch.split(ids, segment_len))
        order = sorted(range(len(segments)), key=lambda number: -len(segments[number][1]))
        vectors: dict[int, Tensor] = {}
        for start in range(0, len(order), batch_size):
            group = order[start : start + batch_size]
            parts = [segments[number][1] for number in group]
            vectors |= zip(group, self._read(parts), strict=True)
            if on_progress is not None:
                on_progress(sum(map(len, parts)))
        of_documents: list[list[Tensor]] = [[] for _ in documents]
        for number, (index, _) in enumerate(segments):
            of_documents[index].append(vectors[number])
        return [torch.cat(rows) for rows in of_documents]

    def _read(self, segments: Sequence[Tensor]) -> Tensor:
        """Return (num_segments, summary_length, hidden_size), on the CPU."""
        lengths = torch.tensor([len(ids) for ids in segments], device=self.decoder.device)
        ids = nn.utils.rnn.pad_sequence(list(segments), batch_first=True).to(self.decoder.device)
        self.decoder.note_len(ids.shape[1] + self.summary_length)
        nothing = self.summaries.new_zeros(len(segments), 0, self.hidden_size)
        with reading_alone(self.decoder), self._lora_on():
            return read_summaries(self.decoder, self.summaries, nothing, ids, lengths).cpu()

    @contextmanager
    def _lora_on(self) -> Iterator[None]:
        """Add the LoRA's delta to its modules; the decoder's lock must be held, since all who use it see that."""
        with ExitStack() as stack:
            for name, (a, b) in self.lora.items():
                scale = self.lora_alpha / len(a)

                def add(
                    _: nn.Module, inputs: Any, output: Tensor, a: Tensor = a, b: Tensor = b, s: float = scale
                ) -> Tensor:
                    return output + nn.functional.linear(nn.functional.linear(inputs[0], a), b) * s

                stack.callback(self.model.get_submodule(name).register_forward_hook(add).remove)
            yield

    def save(self, folder: str | Path) -> None:
        """Write a plain causal-LM folder plus the encoder's tensors; see `save_with_decoder`."""
        settings = {
            "compressor_design": DESIGN,
            "summary_length": self.summary_length,
            "segment_len": self.segment_len,
            "encoder_lora_alpha": self.lora_alpha,
        }
        tensors = {TENSOR_PREFIX + SUMMARIES: self.summaries}
        for name, pair in self.lora.items():
            tensors |= {f"{TENSOR_PREFIX}lora_{side}.{name}": matrix for side, matrix in zip("AB", pair, strict=True)}
        self.decoder = save_with_decoder(self.decoder, folder, settings, tensors)


def load_icae(
    path_or_hub_id: str | Path,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    max_positions: int | None = None,
) -> IcaeCompressor:
    """Load a checkpoint that `IcaeCompressor.save` wrote.

    Raises:
        CheckpointError: unreadable, or not all of the encoder's tensors are there and of its shapes.
    """
    folder = checkpoint_folder(path_or_hub_id)
    decoder = load_decoder(folder, device=device, dtype=dtype, max_positions=max_positions)
    decoder = replace(decoder, name=str(path_or_hub_id))
    own = compressor_tensors(folder)
    summaries = own.pop(SUMMARIES, None)
    segment_len, lora_alpha = declared(decoder, "segment_len"), declared(decoder, "encoder_lora_alpha")
    names = sorted({name.partition(".")[2] for name in own})
    if summaries is None or segment_len is None or lora_alpha is None or len(own) != 2 * len(names):
        raise CheckpointError(f"{decoder.name} lacks some of an ICAE's settings or tensors: import it again")
    lora = {name: (own[f"lora_A.{name}"], own[f"lora_B.{name}"]) for name in names}
    return IcaeCompressor(decoder, summaries, lora, lora_alpha=lora_alpha, segment_len=segment_len).eval()
