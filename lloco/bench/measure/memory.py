"""Memory of one run: its peak above what was there before, and how much the system can still give.

On CUDA the peak is the allocator's. On Linux it is that of the process's resident memory, which the kernel counts and
lets us set back. Elsewhere it is not measured. Does not know what runs.
"""

import contextlib
import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

import torch

from lloco.errors import LlocoError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CGROUP = Path("/sys/fs/cgroup")
SAFE_SHARE = 0.9
"""Share of the free memory that a run may be expected to take."""


class NoMemoryError(LlocoError):
    """A run needs more memory than there is."""


def memory_method(device: torch.device) -> str | None:
    """Say how peaks are measured on this device; None where they are not."""
    if device.type == "cuda":
        return "peak of the CUDA allocator"
    if device.type == "cpu" and _CLEAR.exists():
        return "peak resident memory of the process (VmHWM)"
    return None


def peak_bytes(run: Callable[[], object], device: torch.device) -> int | None:
    """Run once; returns the peak above the start, None where it cannot be measured.

    Raises:
        NoMemoryError: the allocator refused.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run_or_refuse(run)
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    before_resident = _reset_resident_peak() if device.type == "cpu" else None
    run_or_refuse(run)
    peak = _status_bytes("VmHWM")
    return None if before_resident is None or peak is None else max(peak - before_resident, 0)


def run_or_refuse(run: Callable[[], object]) -> None:
    """Run; an allocator that gives no memory is an error of its own, after which other runs may still fit.

    Raises:
        NoMemoryError: it was refused.
    """
    try:
        run()
    except (MemoryError, RuntimeError) as error:
        is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
        if not is_memory:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0][:160]
        raise NoMemoryError(f"out of memory while it ran ({reason}): choose a smaller one") from None


def check_fits(num_bytes: int, device: torch.device, what: str) -> None:
    """Refuse before it runs what would be killed.

    Raises:
        NoMemoryError: less than `num_bytes` is free; passes where the system does not say.
    """
    free = available_bytes(device)
    if free is not None and num_bytes > SAFE_SHARE * free:
        raise NoMemoryError(
            f"{what} needs about {num_bytes / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free on {device}: choose a "
            "smaller one, or --dtype bfloat16"
        )


def available_bytes(device: torch.device) -> int | None:
    """Return the memory that can still be had; None where the system does not say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    known = [num_bytes for num_bytes in (_meminfo_available(), _cgroup_available()) if num_bytes is not None]
    return min(known, default=None)


def _reset_resident_peak() -> int | None:
    """Give free memory back, set the peak to what is resident now, and return that."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status_bytes("VmRSS")


def _status_bytes(key: str) -> int | None:
    return _kilobytes(_STATUS, key)


def _meminfo_available() -> int | None:
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable")


def _kilobytes(file: Path, key: str) -> int | None:
    try:
        found = re.search(rf"^{key}:\s+(\d+) kB", file.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _cgroup_available() -> int | None:
    """Return what a container's limit leaves; None where there is no limit."""
    try:
        limit, used = ((_CGROUP / name).read_text(encoding="ascii") for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return None if limit.strip() == "max" else max(int(limit) - int(used), 0)
