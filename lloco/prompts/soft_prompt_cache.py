"""Soft prompts in memory: those that were used last, in at most so many bytes.

Does not know where they come from: whoever misses one reads or makes it.
"""

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from cachetools import LRUCache

MAX_BYTES = 512 << 20


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept", bound=_Sized)


class SoftPromptCache(Generic[Key, Kept]):
    """Soft prompts, or their vectors alone, by what identifies them."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        # What alone is too large takes all the room: the last one is always kept.
        self._kept: LRUCache[Key, Kept] = LRUCache(max_bytes, getsizeof=lambda kept: min(kept.nbytes, max_bytes))

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def get(self, key: Key) -> Kept | None:
        """Return what is kept under this key, which is then the last one used."""
        return self._kept.get(key)

    def keep(self, key: Key, kept: Kept) -> None:
        """Keep it, and drop what was not used for longest until all fit."""
        self._kept[key] = kept
