"""Learn a codebook from a corpus's own vectors: main directions, groups of them, and k-means in each.

Directions get bits by their variance, as the theory of coding Gaussian values has it (Cover and Thomas, 10.3.3): those
below the level that the bits reach are left out. Equal vectors and seed give an equal codebook on a machine.
"""

from itertools import pairwise

import torch
from torch import Tensor

from lloco.prompts.codebook import NUM_CODEWORDS, Codebook, nearest, normalised

VALUES_PER_BYTE = 32
NUM_LEVELS = 6
"""Bytes that spell out a group, each what the ones before left over; more lose little less and cost more."""
NUM_TRAINING_VECTORS = 8192
"""Vectors that are learned from at most, the corpus's first."""
NUM_STEPS = 10
"""Lloyd's steps of one k-means."""


def learn_codebook(embeds: Tensor, compressor_digest: str, *, seed: int = 0) -> Codebook:
    """Learn a codebook from vectors (num_vectors, hidden_size), finite and not zero.

    Of fewer than `NUM_CODEWORDS` vectors each one becomes a codeword.
    """
    vectors = normalised(embeds[:NUM_TRAINING_VECTORS].detach().cpu().float())
    num_bytes = max(round(vectors.shape[1] / VALUES_PER_BYTE), 1)
    num_levels = min(NUM_LEVELS, num_bytes)
    mean = vectors.mean(dim=0).half()
    centred = vectors - mean.float()
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    variances, directions = variances.flip(0).clamp_min(0), directions.flip(1)
    bits = _bits_by_variance(variances, 8 * num_bytes)
    starts = _group_starts(bits, num_bytes // num_levels)
    kept = directions[:, : len(bits)].half().contiguous()
    bounds = [*starts, len(bits)]
    generator = torch.Generator().manual_seed(seed)
    rest = centred @ kept.float()
    spelled = [
        _residual_levels(rest[:, start:end].contiguous(), num_levels, generator) for start, end in pairwise(bounds)
    ]
    codewords = torch.cat(spelled, dim=2).contiguous()
    return Codebook(mean, kept, codewords, torch.tensor(starts, dtype=torch.int32), compressor_digest)


def _bits_by_variance(variances: Tensor, num_bits: int) -> Tensor:
    """Share bits out to directions, largest variance first; those that get none are left out, the first never is."""
    logs = 0.5 * torch.log2(variances.double().clamp_min(1e-9))
    for num_kept in range(len(logs), 1, -1):
        level = (logs[:num_kept].sum() - num_bits) / num_kept
        if logs[num_kept - 1] > level and variances[num_kept - 1] > 1e-6:
            return logs[:num_kept] - level
    return torch.ones(1)


def _group_starts(bits: Tensor, num_groups: int) -> list[int]:
    """Split the directions into groups of about equal bits, none of them empty."""
    reached = (bits.cumsum(0) - bits / 2) / bits.sum() * num_groups
    groups = reached.long().clamp(0, num_groups - 1).tolist()
    return [index for index, group in enumerate(groups) if index == 0 or group != groups[index - 1]]


def _residual_levels(vectors: Tensor, num_levels: int, generator: torch.Generator) -> Tensor:
    """Return codewords (num_levels, num_codewords, group_size) of one group, in float16."""
    levels = []
    for _ in range(num_levels):
        # What is subtracted is what will be stored.
        codewords = _k_means(vectors, generator).half()
        vectors = vectors - codewords.float()[nearest(vectors, codewords.float())]
        levels.append(codewords)
    return torch.stack(levels)


def _k_means(vectors: Tensor, generator: torch.Generator) -> Tensor:
    """Return codewords: Lloyd's steps from vectors drawn at random."""
    codewords = vectors[torch.randperm(len(vectors), generator=generator)[:NUM_CODEWORDS]].clone()
    if len(vectors) <= NUM_CODEWORDS:
        return codewords
    for _ in range(NUM_STEPS):
        chosen = nearest(vectors, codewords)
        counts = torch.bincount(chosen, minlength=len(codewords))
        is_used = counts > 0
        sums = torch.zeros_like(codewords).index_add_(0, chosen, vectors)
        errors = (vectors - codewords[chosen]).square().sum(dim=1)
        codewords[is_used] = sums[is_used] / counts[is_used, None]
        if not bool(is_used.all()):  # a codeword that nothing uses goes to what is spelled worst
            codewords[~is_used] = vectors[errors.topk(int((~is_used).sum())).indices]
    return codewords
