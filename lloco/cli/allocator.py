"""What this process's allocator does with memory that was freed: glibc is told, other C libraries do as they do."""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""From glibc's malloc.h."""
NUM_ARENAS = 2
KEPT_BYTES = 1 << 28
"""Freed memory that is kept for the next tensors."""
LARGEST_KEPT_BYTES = 1 << 25
"""The most that glibc lets one piece of it have."""


def limit_arenas() -> bool:
    """Let all threads share two arenas, for a server; returns whether that can be.

    glibc gives threads arenas of their own, 8 for each core, and returns little of them: after some thousand questions
    a server holds several hundred MB that nobody uses. Two are enough where Python's lock lets one thread run anyway.
    """
    return _set(_M_ARENA_MAX, NUM_ARENAS)


def keep_freed_memory() -> bool:
    """Give freed memory of large tensors to the next ones, for a job that reads batch after batch; as above.

    Otherwise it goes back to the system and comes anew, page by page, for every layer: a fifth of the time in which a
    small encoder reads a batch.
    """
    return _set(_M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES) and _set(_M_TRIM_THRESHOLD, KEPT_BYTES)


def _set(option: int, value: int) -> bool:
    return platform.libc_ver()[0] == "glibc" and bool(ctypes.CDLL(None).mallopt(option, value))
