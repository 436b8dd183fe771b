"""What the allocator is told, in a process of its own: it holds for all that the process does afterwards."""

import os
import platform
import re
import subprocess
import sys

import pytest

ARENAS = """
import ctypes, threading
from lloco.cli.allocator import limit_arenas
assert limit_arenas()
barrier = threading.Barrier(17)
def work():
    kept = [bytearray(4000) for _ in range(100)]
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(16)]
[one.start() for one in threads]
barrier.wait()
[one.join() for one in threads]
ctypes.CDLL(None).malloc_stats()
"""


FREED_TENSORS = """
import ctypes, torch
from lloco.cli.allocator import keep_freed_memory
assert keep_freed_memory()
tensors = [torch.ones(24 << 18) for _ in range(8)]
del tensors
ctypes.CDLL(None).malloc_stats()
"""
FREED_BYTES = 8 * 24 << 20
ENV = {
    name: value
    for name, value in os.environ.items()
    if name not in ("LD_PRELOAD", "GLIBC_TUNABLES") and not name.startswith("MALLOC_")
}
"""Of a process whose allocator is glibc's, as it comes."""
only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")


@only_glibc
def test_threads_share_two_arenas() -> None:
    done = subprocess.run([sys.executable, "-c", ARENAS], capture_output=True, text=True, check=True, env=ENV)
    assert 1 <= done.stderr.count("Arena ") <= 2


@only_glibc
def test_freed_memory_of_large_tensors_is_kept() -> None:
    held = []
    for program in (FREED_TENSORS, FREED_TENSORS.replace("assert keep_freed_memory()\n", "")):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=ENV)
        held.append(max(int(size) for size in re.findall(r"system bytes +=\s+(\d+)", done.stderr)))
    kept, not_kept = held
    assert kept >= FREED_BYTES > not_kept
