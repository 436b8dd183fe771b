"""What the allocator is told, in a process of its own: it holds for all that the process does afterwards."""

import platform
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


MANY_TENSORS = """
import resource, torch
from lloco.cli.allocator import keep_freed_memory
assert keep_freed_memory()
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    states = torch.ones(1 << 20)
    for _ in range(200):
        states = states * 2 + states * 3
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")


@only_glibc
def test_threads_share_two_arenas() -> None:
    done = subprocess.run([sys.executable, "-c", ARENAS], capture_output=True, text=True, check=True)
    assert 1 <= done.stderr.count("Arena ") <= 2


@only_glibc
def test_freed_memory_of_large_tensors_is_used_again() -> None:
    faults = {}
    for program in (MANY_TENSORS, MANY_TENSORS.replace("assert keep_freed_memory()\n", "")):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        faults[program] = int(done.stdout)
    kept, not_kept = faults.values()
    assert kept < 0.1 * not_kept
