"""Keeping the memory of a server flat: its many threads must not each keep what they have freed.

glibc gives threads arenas of their own, 8 for each core, and returns little of them: after some thousand questions a
server holds several hundred MB that nobody uses. Two arenas are enough where Python's lock lets one thread run anyway.
"""

import ctypes

_M_ARENA_MAX = -8
"""From glibc's malloc.h."""
NUM_ARENAS = 2


def limit_arenas() -> bool:
    """Let all threads of this process share two arenas; returns whether its C library can be told so (glibc)."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(libc.mallopt(_M_ARENA_MAX, NUM_ARENAS))
