"""How many values JSON has, told before any is made: millions of them take gigabytes and a minute."""

import re

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def num_values(data: bytes) -> int:
    """Return about how many values, and no fewer than there are lists, objects and items after the first in one."""
    bare = _STRING.sub(b"", data)
    return bare.count(b",") + bare.count(b"[") + bare.count(b"{")
