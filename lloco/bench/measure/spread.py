"""Repeated measurements of one quantity, and a clock that waits for the device. Does not know what is measured."""

import math
import statistics
import time
from collections.abc import Callable, Sequence

import torch


def spread_fields(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Return the median of repeated measurements under this name, with the smallest and largest beside it."""
    if not values:
        return dict.fromkeys((name, f"{name}_min", f"{name}_max"))
    return {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Return the smallest value that so many percent are at most; None where it is infinite, or there are none."""
    if not values:
        return None
    found = sorted(values)[-(-percent * len(values) // 100) - 1]
    return None if math.isinf(found) else found


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Return how long `run` takes, the device's work included."""
    synchronize(device)
    started = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - started
