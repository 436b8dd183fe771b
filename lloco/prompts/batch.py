"""Prompts as one padded batch: embedded, padded left for generation and right for training, with labels.

Does not know about models, beyond that they embed token ids.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from lloco.errors import LlocoError, MismatchError
from lloco.prompts.prompt import Prompt

IGNORED_LABEL = -100


@dataclass(frozen=True, slots=True, eq=False)
class ModelInput:
    """A padded batch, named as Hugging Face models name their arguments."""

    inputs_embeds: Tensor
    """(batch, seq_len, hidden_size), zeros where padded."""
    attention_mask: Tensor
    """(batch, seq_len) int64, 1 where real."""
    position_ids: Tensor
    """(batch, seq_len) int64, consecutive from 0 at the first real token."""
    labels: Tensor | None = None
    """(batch, seq_len) int64, -100 everywhere but on the targets."""


class TokenEmbedder(Protocol):
    """What a batch is made for: a decoder, of which only the embeddings matter here."""

    @property
    def hidden_size(self) -> int:
        """Width of the embeddings."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the embeddings."""

    @property
    def device(self) -> torch.device:
        """Where the embeddings are."""

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings (..., hidden_size) of token ids (...)."""


def collate(
    prompts: Sequence[Prompt],
    decoder: TokenEmbedder,
    *,
    padding_side: Literal["left", "right"],
    targets: Sequence[Tensor] | None = None,
) -> ModelInput:
    """Embed and pad a batch: left for generation, right for training, where each row ends with its target ids.

    Raises:
        MismatchError: a soft prompt is not as wide as the decoder, or holds NaN or infinity.
        LlocoError: there are no prompts, or not one target per prompt.
    """
    if not prompts or (targets is not None and len(targets) != len(prompts)):
        num_targets = "no" if targets is None else len(targets)
        raise LlocoError(
            f"there must be at least one prompt and one target for each, got {len(prompts)} prompts and {num_targets} "
            "targets"
        )
    rows = [prompt.pieces for prompt in prompts]
    for piece in (piece for row in rows for piece in row if piece.is_floating_point()):
        _check_embeds(piece, decoder.hidden_size)
    if targets is not None:
        rows = [(*row, target) for row, target in zip(rows, targets, strict=True)]
    embeds = list(embed_rows(rows, decoder))
    seq_len = max(len(row) for row in embeds)
    gaps = [(seq_len - len(row), 0) if padding_side == "left" else (0, seq_len - len(row)) for row in embeds]
    attention_mask = torch.stack(
        [pad(torch.ones(len(row), dtype=torch.int64), gap) for row, gap in zip(embeds, gaps, strict=True)]
    ).to(decoder.device)
    return ModelInput(
        inputs_embeds=torch.stack([pad(row, (0, 0, *gap)) for row, gap in zip(embeds, gaps, strict=True)]),
        attention_mask=attention_mask,
        position_ids=(attention_mask.cumsum(dim=1) - 1).clamp(min=0),
        labels=None if targets is None else _labels(prompts, targets, gaps).to(decoder.device),
    )


def embed_rows(rows: Sequence[tuple[Tensor, ...]], decoder: TokenEmbedder) -> Iterator[Tensor]:
    """Yield (length, hidden_size) per row; the token ids of the whole batch are embedded in one call."""
    token_pieces = [piece.to(decoder.device) for row in rows for piece in row if not piece.is_floating_point()]
    embedded: Iterator[Tensor] = iter(())
    if token_pieces:
        embedded = iter(torch.split(decoder.embed(torch.cat(token_pieces)), [len(piece) for piece in token_pieces]))
    for row in rows:
        pieces = [piece if piece.is_floating_point() else next(embedded) for piece in row]
        yield torch.cat([piece.to(device=decoder.device, dtype=decoder.dtype) for piece in pieces])


def _labels(prompts: Sequence[Prompt], targets: Sequence[Tensor], gaps: Sequence[tuple[int, int]]) -> Tensor:
    rows = []
    for prompt, target, (left, right) in zip(prompts, targets, gaps, strict=True):
        rows.append(pad(target.cpu(), (left + prompt.length, right), value=IGNORED_LABEL))
    return torch.stack(rows)


def _check_embeds(embeds: Tensor, hidden_size: int) -> None:
    if embeds.shape[1] != hidden_size:
        raise MismatchError(
            f"the soft prompt is {embeds.shape[1]} wide, the decoder reads embeddings {hidden_size} wide: compress "
            "the document with this decoder's compressor"
        )
    if not bool(torch.isfinite(embeds).all()):
        raise MismatchError(
            f"a soft prompt of {len(embeds)} virtual tokens holds NaN or infinity: compress the document again"
        )
