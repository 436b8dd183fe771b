"""Prompts that begin alike, as those about one document do: the keys and values of their beginning are read once.

Beginnings are compared position by position, so that a document that had to be cut, to another length for every
question, is shared too. Does not know about models and batches.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lloco.engine.prefix_cache import Prefix, prefix_length
from lloco.engine.request_queue import Request
from lloco.prompts.prompt import Prompt


class LastPrefix:
    """Keeps the prefix that was read last: questions about a document come one after the other."""

    def __init__(self) -> None:
        self._kept: tuple[str, Prompt, str, Prefix] | None = None

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        return 0 if self._kept is None else self._kept[-1].num_bytes

    def find(self, tenant: str, prompt: Prompt, adapter: str) -> Prefix | None:
        """Return what this prompt shares with the one that is kept, if this adapter has read it for this tenant."""
        if self._kept is None:
            return None
        owner, earlier, reader, prefix = self._kept
        length = num_shared(prompt, earlier) if (owner, reader) == (tenant, adapter) else 0
        return prefix.first(length) if length else None

    def keep(self, tenant: str, prompt: Prompt, adapter: str, prefix: Prefix) -> None:
        """Keep a prefix, and drop the one before."""
        self._kept = tenant, prompt, adapter, prefix


def num_shared(prompt: Prompt, earlier: Prompt) -> int:
    """Return how many positions before its question a prompt need not read again after the earlier one.

    0 unless one's beginning is all of the other's, so that a document is never taken for one that opens alike, and at
    least half of this prompt's, so that it pays.
    """
    length, earlier_length = prefix_length(prompt), prefix_length(earlier)
    shorter = min(length, earlier_length)
    if 2 * shorter < length:
        return 0
    num_equal = 0
    for piece, other in zip(prompt.pieces[:-1], earlier.pieces[:-1], strict=False):
        num_equal += (num_now := _num_equal(piece, other))
        if num_now < max(len(piece), len(other)):
            break
    return shorter if num_equal == shorter else 0


def find_earlier(request: Request, earlier: Sequence[Request]) -> tuple[Request, int] | None:
    """Return the request whose beginning this one shares most of, and how many positions; None where none shares."""
    same = [other for other in earlier if (other.tenant, other.adapter) == (request.tenant, request.adapter)]
    best = max(
        ((num_shared(request.prompt, other.prompt), other) for other in same), key=lambda pair: pair[0], default=None
    )
    return (best[1], best[0]) if best is not None and best[0] else None


def _num_equal(piece: Tensor, other: Tensor) -> int:
    """Return how many token ids, or vectors, two pieces have in common from their first."""
    if piece.dtype != other.dtype or piece.shape[1:] != other.shape[1:] or piece.device != other.device:
        return 0
    length = min(len(piece), len(other))
    is_same = piece[:length] == other[:length]
    if bool(is_same.all()):
        return length
    return int(is_same.reshape(length, -1).all(dim=1).to(torch.uint8).argmin())
