"""What the same model says that reads the text, or has no LoRA, as the teacher of what it says now.

The reader of the text teaches only where it is right (arXiv 2609.05152); elsewhere the targets teach alone. Logits are
(num_targets, vocab_size).
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from lloco.training.pretrain.stage import divergence


def taught(
    losses: Tensor, student: Tensor, learns: Tensor, teacher: Tensor, targets: Tensor, *, ratio: float, top_k: int
) -> Tensor:
    """Return the targets' losses (num_targets,), of which those with a teacher are its in this share where it is right.

    Args:
        losses: the targets' own.
        student: logits of all targets.
        learns: (num_taught,) which of them have a teacher.
        teacher: logits (num_taught, vocab_size) of these, which get no gradient from here.
        targets: (num_taught,) their ids.
        ratio: the teacher's share; 0 leaves the losses as they are.
        top_k: its likeliest tokens, whose forward KL is taken.
    """
    if not ratio:
        return losses
    learns, targets, teacher = learns.to(losses.device), targets.to(losses.device), teacher.detach()
    own = losses[learns]
    pulls = ratio * (divergence(teacher, student[learns], top_k, reduction="none") - own)
    is_right = teacher.argmax(dim=-1) == targets
    return losses.index_add(0, learns, torch.where(is_right, pulls, torch.zeros_like(own)))


def targets_of(counts: Sequence[int], chosen: Sequence[int]) -> Tensor:
    """Return the indices, among the targets of all rows, of the chosen rows' own; `counts` says how many each has."""
    starts = [0, *accumulate(counts)]
    return torch.cat([torch.arange(starts[index], starts[index + 1]) for index in chosen])


def divergences(now: Tensor, before: Tensor) -> Tensor:
    """Return (num_targets,) the forward KL of what is said now from what was said before, over the whole vocabulary."""
    logs, wanted = now.log_softmax(dim=-1), before.log_softmax(dim=-1)
    return nn.functional.kl_div(logs, wanted, reduction="none", log_target=True).sum(dim=-1)


def state_distances(student: Tensor, teacher: Tensor) -> Tensor:
    """Return (num_positions,) how far states are from the teacher's, squared, averaged over layers and dimensions.

    Every dimension of a layer counts alike: it is measured in the teacher's standard deviations over the positions.

    Args:
        student: (num_layers, num_positions, hidden_size).
        teacher: the same shape, which gets no gradient.
    """
    teacher = teacher.detach().float()
    spread = teacher.std(dim=1, keepdim=True, correction=0).clamp_min(1e-3)
    return ((student.float() - teacher) / spread).square().mean(dim=(0, 2))
