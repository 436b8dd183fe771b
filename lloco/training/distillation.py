"""What the same model says that reads the text, as the teacher of what it says that reads vectors.

Only where the teacher is right (arXiv 2609.05152); elsewhere the targets teach alone.
"""

import torch
from torch import Tensor

from lloco.training.pretrain.stage import divergence


def pulls_to_teacher(
    teacher: Tensor, student: Tensor, losses: Tensor, targets: Tensor, *, ratio: float, top_k: int
) -> Tensor:
    """Return (num_targets,): what to add to the targets' own losses, so that `ratio` of them is the teacher's.

    Logits are (num_targets, vocab_size), the teacher's without gradient; the divergence is forward KL over its `top_k`
    likeliest tokens.
    """
    is_right = teacher.argmax(dim=-1) == targets
    pulls = divergence(teacher, student, top_k, reduction="none")
    return torch.where(is_right, ratio * (pulls - losses), torch.zeros_like(losses))
