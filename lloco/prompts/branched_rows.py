"""Several continuations of one context in one row: each attends to the context and to itself, to no other.

Positions of every branch begin where the context ends, so that losses and gradients are those of separate rows, while
the context is read once. `prompt` makes the pieces; this lays them out. Does not know about models, beyond that they
embed token ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedTokenizerBase

from lloco.prompts.batch import TokenEmbedder, embed_rows
from lloco.prompts.prompt import build_prompt, question_ids
from lloco.prompts.template import Template


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One continuation of a context: a question with its answer, or text."""

    ids: Tensor
    """(length,) int64 token ids."""
    weights: Tensor
    """(length,) weight of each token in the loss, 0 where it is not a target, as the first always is."""

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.weights), "one weight for each token"
        assert not len(self.weights) or float(self.weights[0]) == 0.0, "the first token of a branch is no target"


def question_branch(
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    target_ids: Tensor,
    options: Sequence[str] = (),
    *,
    has_context: bool = True,
) -> tuple[Tensor, Branch]:
    """Return the tokens before the context, and the question with its answer as a branch whose targets are these.

    Without a context all stands in the branch.
    """
    if has_context:
        before, after = question_ids(template, tokenizer, question, options)
    else:
        (after,) = build_prompt(template, tokenizer, question, options=options).pieces
        before = after[:0]
    weights = torch.cat([torch.zeros(len(after)), torch.ones(len(target_ids))])
    return before, Branch(torch.cat([after, target_ids]), weights)


@dataclass(frozen=True, slots=True, eq=False)
class BranchedRow:
    """A context, as 1-D token ids and 2-D embeds in order, and its branches."""

    context: tuple[Tensor, ...]
    branches: tuple[Branch, ...]

    @property
    def context_len(self) -> int:
        """Positions of the context."""
        return sum(len(piece) for piece in self.context)

    @property
    def length(self) -> int:
        """Positions of the row."""
        return self.context_len + sum(len(branch.ids) for branch in self.branches)


@dataclass(frozen=True, slots=True, eq=False)
class BranchedInput:
    """A batch of branched rows, padded on the right, named as Hugging Face models name their arguments."""

    inputs_embeds: Tensor
    """(batch, seq_len, hidden_size)"""
    attention_mask: Tensor
    """(batch, 1, seq_len, seq_len), 0 where a position is seen and the dtype's smallest number where not."""
    position_ids: Tensor
    """(batch, seq_len) int64"""
    in_branches: Tensor
    """(batch, seq_len) bool: the positions of branches."""
    before_targets: Tensor
    """(batch, seq_len) bool: the positions whose next token is a target."""
    target_ids: Tensor
    """(num_targets,) int64, row by row."""
    target_weights: Tensor
    """(num_targets,)"""
    target_branches: Tensor
    """(num_targets,) int64: which branch of the whole batch each target belongs to."""


def can_branch(decoder: Any) -> bool:
    """Return whether the model reads rows with branches: every layer sees all that the mask shows, by position ids."""
    config = decoder.model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    is_windowed = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    has_rotary_positions = getattr(config, "rope_parameters", None) is not None
    is_plain = config._attn_implementation in ("eager", "sdpa")
    return kinds == {"full_attention"} and not is_windowed and has_rotary_positions and is_plain


def collate_branches(rows: Sequence[BranchedRow], decoder: TokenEmbedder) -> BranchedInput:
    """Embed and pad branched rows."""
    seq_len = max(row.length for row in rows)
    groups, positions, targets = zip(*(_layout(row, seq_len) for row in rows), strict=True)
    mask = torch.stack([_sight(group, decoder.dtype) for group in groups])[:, None]
    embeds = embed_rows([(*row.context, *(branch.ids for branch in row.branches)) for row in rows], decoder)
    branches = [branch for row in rows for branch in row.branches]
    weights = [branch.weights for branch in branches]
    is_target = [weight > 0 for weight in weights]
    return BranchedInput(
        inputs_embeds=torch.stack([pad(row, (0, 0, 0, seq_len - len(row))) for row in embeds]),
        attention_mask=mask.to(decoder.device),
        position_ids=torch.stack(positions).to(decoder.device),
        in_branches=(torch.stack(groups) > 0).to(decoder.device),
        before_targets=torch.stack(targets).to(decoder.device),
        target_ids=torch.cat([branch.ids[own] for branch, own in zip(branches, is_target, strict=True)]),
        target_weights=torch.cat([weight[own] for weight, own in zip(weights, is_target, strict=True)]),
        target_branches=torch.cat(
            [torch.full((int(own.sum()),), index, dtype=torch.int64) for index, own in enumerate(is_target)]
        ),
    )


def _layout(row: BranchedRow, seq_len: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return of each position its group (0 the context, -1 padding), its position id, and whether a target follows."""
    start = row.context_len
    groups, positions = [torch.zeros(start, dtype=torch.int64)], [torch.arange(start)]
    targets = [torch.zeros(start, dtype=torch.bool)]
    for number, branch in enumerate(row.branches, start=1):
        length = len(branch.ids)
        groups.append(torch.full((length,), number))
        positions.append(torch.arange(start, start + length))
        # The last token of a branch is followed by nothing of its own.
        targets.append(pad(branch.weights[1:] > 0, (0, 1 if length else 0)))
    gap = (0, seq_len - row.length)
    return (
        pad(torch.cat(groups), gap, value=-1),
        pad(torch.cat(positions), gap),
        pad(torch.cat(targets), gap),
    )


def _sight(groups: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (seq_len, seq_len): a position sees what is before it in its own group and in the context."""
    is_before = torch.ones(len(groups), len(groups), dtype=torch.bool).tril()
    is_seen = is_before & ((groups[None, :] == 0) | (groups[None, :] == groups[:, None]))
    return torch.zeros(is_seen.shape, dtype=dtype).masked_fill(~is_seen, torch.finfo(dtype).min)
