"""A cache of keys and values with room at its end, so that a token does not copy all that came before it.

Whole keys and values are kept for every layer, also of models with sliding windows. Does not know about rows or models.
"""

from typing import Any

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_MIN_ROOM = 64
"""Positions that new memory has beyond those that are needed, where an eighth of them is not more."""


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values (batch, num_key_value_heads, seq_len, head_dim) of one layer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._keys, self._values = _Buffer(), _Buffer()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the states of new positions; returns those of all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._keys.append(self.keys, key_states)
        self.values = self._values.append(self.values, value_states)
        return self.keys, self.values

    def replace(self, keys: Tensor, values: Tensor) -> None:
        """Hold these in place of what is held, whose memory is freed at once."""
        self.keys, self.values = keys, values
        self._keys, self._values = _Buffer(), _Buffer()


class GrowingCache(Cache):
    """One `GrowingLayer` for every layer of a model, made when the layer is first read."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=GrowingLayer)


class _Buffer:
    """Memory of which the front is in use."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None
        self._in_use: Tensor | None = None

    def append(self, before: Tensor | None, new: Tensor) -> Tensor:
        """Return `before` and `new` one after the other; only what was returned last is not copied."""
        # A prompt gets memory with room as well: the first token after it would wait for all of it to be copied.
        before = new[..., :0, :] if before is None or not before.numel() else before
        length = before.shape[-2]
        needed = length + new.shape[-2]
        memory = self._memory
        if memory is None or before is not self._in_use or needed > memory.shape[-2]:
            room = max(_MIN_ROOM, needed // 8)
            memory = self._memory = new.new_empty(*new.shape[:-2], needed + room, new.shape[-1])
            memory[..., :length, :] = before
        memory[..., length:needed, :] = new
        self._in_use = memory[..., :needed, :]
        return self._in_use
