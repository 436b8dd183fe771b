"""The machine that a bench runs on, and what it can do at most: a matrix product's rate and a copy's.

The rates are the best of several runs in the same process, with the threads and the dtype of the bench. A copy counts
the bytes read and the bytes written, in a buffer as large as the weights: small models live in the processor's cache.
"""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lloco.bench.measure.spread import seconds_of
from lloco.models.decoder import dtype_name

MIN_COPY_BYTES, MAX_COPY_BYTES = 4 << 20, 256 << 20
RATE_SECONDS = 0.3
"""How long each rate is measured at least."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware, settings and measured rates."""

    cpu: str
    cores: int
    memory_bytes: int | None
    device: str
    """The processor that computed: "cpu", or the GPU's name."""
    dtype: str
    threads: int
    torch: str
    matmul_flops_per_second: float
    copy_bytes_per_second: float
    copy_buffer_bytes: int

    def best(self, later: "Machine") -> "Machine":
        """Return the better rates of two measurements: what else runs on the machine can only slow one down."""
        matmul = max(self.matmul_flops_per_second, later.matmul_flops_per_second)
        copy = max(self.copy_bytes_per_second, later.copy_bytes_per_second)
        return replace(self, matmul_flops_per_second=matmul, copy_bytes_per_second=copy)


def measure_machine(device: torch.device, dtype: torch.dtype, weight_bytes: int) -> Machine:
    """Describe the machine and measure its rates for a model of this size; takes about a second."""
    copy_bytes = min(max(weight_bytes, MIN_COPY_BYTES), MAX_COPY_BYTES)
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=total_memory_bytes(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        dtype=dtype_name(dtype),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        matmul_flops_per_second=_matmul_rate(device, dtype),
        copy_bytes_per_second=_copy_rate(device, copy_bytes),
        copy_buffer_bytes=copy_bytes,
    )


def total_memory_bytes() -> int | None:
    """Return the machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _best_seconds(lambda: left @ right, device)


def _copy_rate(device: torch.device, num_bytes: int) -> float:
    source = torch.ones(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * num_bytes / _best_seconds(lambda: target.copy_(source), device)


def _best_seconds(run: Callable[[], object], device: torch.device) -> float:
    run()
    give_up = time.perf_counter() + RATE_SECONDS
    best = seconds_of(run, device)
    while time.perf_counter() < give_up:
        best = min(best, seconds_of(run, device))
    return best
