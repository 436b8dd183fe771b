"""Keys and values of what stands before the question, kept between requests: documents are asked about often.

A prefix is its tenant's alone: what one has read must not make another's answer faster, which would tell that both have
the same document. Where memory ends, the tenant that takes most of it loses what it has not used for longest. Does not
know about models and batches.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lloco.prompts.prompt import Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """Keys and values of each layer, (num_key_value_heads, length, head_dim), without padding."""

    keys: Sequence[Tensor]
    values: Sequence[Tensor]

    @property
    def length(self) -> int:
        """Positions that it takes."""
        return self.keys[0].shape[1]

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        return sum(key.nbytes for key in (*self.keys, *self.values))

    def first(self, length: int) -> "Prefix":
        """Return the first so many positions, in the same memory."""
        return Prefix([key[:, :length] for key in self.keys], [value[:, :length] for value in self.values])


class PrefixCache:
    """Prefixes in at most so many bytes; for one thread."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._prefixes: OrderedDict[tuple[str, bytes], Prefix] = OrderedDict()
        self._tenants: Counter[str] = Counter()

    @property
    def num_bytes(self) -> int:
        """Memory that all prefixes take."""
        return self._tenants.total()

    def find(self, tenant: str, prompt: Prompt, adapter: str) -> Prefix | None:
        """Return the prefix of this prompt, if this adapter has read it for this tenant."""
        if not self.max_bytes or not prefix_length(prompt):
            return None
        key = (tenant, _digest(prompt, adapter))
        if (found := self._prefixes.get(key)) is not None:
            self._prefixes.move_to_end(key)
        return found

    def keep(self, tenant: str, prompt: Prompt, adapter: str, prefix: Prefix) -> None:
        """Keep a prefix, and drop others until all fit."""
        if prefix.num_bytes > self.max_bytes or (key := (tenant, _digest(prompt, adapter))) in self._prefixes:
            return
        self._prefixes[key] = prefix
        self._tenants[tenant] += prefix.num_bytes
        while self.num_bytes > self.max_bytes:
            [(largest, _)] = self._tenants.most_common(1)
            oldest = next(prefix for prefix in self._prefixes if prefix[0] == largest)
            self._tenants[largest] -= self._prefixes.pop(oldest).num_bytes


def prefix_length(prompt: Prompt) -> int:
    """Return how many positions stand before the prompt's last piece, which is the question."""
    return sum(len(piece) for piece in prompt.pieces[:-1])


def _digest(prompt: Prompt, adapter: str) -> bytes:
    digest = hashlib.blake2b(adapter.encode(), digest_size=32)
    for piece in prompt.pieces[:-1]:
        digest.update(f"\0{piece.dtype} {tuple(piece.shape)}\0".encode())
        digest.update(piece.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.digest()
