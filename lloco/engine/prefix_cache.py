"""Keys and values of what stands before the question, kept between requests: documents are asked about often.

The least recently used go first. A prefix is known by its contents and its adapter, so only who can read the same
vectors again has a use for it. Does not know about models and batches.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lloco.prompt import Prompt


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
        return sum(one.nbytes for one in (*self.keys, *self.values))


class PrefixCache:
    """Prefixes in at most so many bytes; for one thread."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._prefixes: OrderedDict[bytes, Prefix] = OrderedDict()

    def find(self, prompt: Prompt, adapter: str) -> Prefix | None:
        """Return the prefix of this prompt, if this adapter has read it."""
        if not self.max_bytes or not prefix_length(prompt):
            return None
        key = _key(prompt, adapter)
        if (found := self._prefixes.get(key)) is not None:
            self._prefixes.move_to_end(key)
        return found

    def keep(self, prompt: Prompt, adapter: str, prefix: Prefix) -> None:
        """Keep a prefix, and drop those that were not used for longest until all fit."""
        if prefix.num_bytes > self.max_bytes or (key := _key(prompt, adapter)) in self._prefixes:
            return
        self._prefixes[key] = prefix
        self.num_bytes += prefix.num_bytes
        while self.num_bytes > self.max_bytes:
            _, dropped = self._prefixes.popitem(last=False)
            self.num_bytes -= dropped.num_bytes


def prefix_length(prompt: Prompt) -> int:
    """Return how many positions stand before the prompt's last piece, which is the question."""
    return sum(len(piece) for piece in prompt.pieces[:-1])


def _key(prompt: Prompt, adapter: str) -> bytes:
    digest = hashlib.blake2b(adapter.encode(), digest_size=32)
    for piece in prompt.pieces[:-1]:
        digest.update(f"\0{piece.dtype} {tuple(piece.shape)}\0".encode())
        digest.update(piece.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.digest()
