"""How many threads compute: as many as multiply fastest right now, and threads that wait for work let others run.

Threads that other programs take turns with wait for one another: on a busy machine one of them can be faster than two.
What the user says with `OMP_NUM_THREADS` or `OMP_WAIT_POLICY` stands. `pretrain` and `finetune` do not ask here: a
resumed run must round as it began.
"""

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

NUM_PRODUCTS = 4
MARGIN = 1.15
"""More threads must be this much faster than fewer."""


def wait_passively() -> None:
    """Let waiting threads sleep instead of spinning; must be called before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def fit_threads() -> int:
    """Time matrix products with each number of threads and keep the fastest; returns it."""
    import torch

    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    most = torch.get_num_threads()
    left, right = torch.ones(256, 512), torch.ones(512, 1024)
    best, best_seconds = 1, float("inf")
    for num_threads in sorted({1, *(2**power for power in range(1, most.bit_length())), most}):
        torch.set_num_threads(num_threads)
        seconds = min(_seconds(left, right) for _ in range(3))
        if seconds * MARGIN < best_seconds or num_threads == 1:
            best, best_seconds = num_threads, seconds
    torch.set_num_threads(best)
    return best


def _seconds(left: "torch.Tensor", right: "torch.Tensor") -> float:
    started = time.perf_counter()
    for _ in range(NUM_PRODUCTS):
        left @ right
    return time.perf_counter() - started
