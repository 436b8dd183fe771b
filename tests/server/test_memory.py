"""The memory of a server's threads, in a process of its own: a limit holds for all that it does afterwards."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, threading
from lloco.server.memory import limit_arenas
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_threads_share_two_arenas() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert 1 <= done.stderr.count("Arena ") <= 2
