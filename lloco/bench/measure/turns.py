"""Ways to do the same thing that take turns, so that a machine that slows down slows all of them.

Each way runs once for its memory, which warms it up, and then in turn with the others for the time. A way that the
memory cannot hold is left out with the reason. Does not know what is measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from lloco.bench.measure.memory import NoMemoryError, check_fits, peak_bytes, run_or_refuse

Measured = TypeVar("Measured")
OnRun = Callable[[int, int], None]
"""Called with how many runs have just been done and how many there are in all."""


@dataclass(slots=True)
class Way(Generic[Measured]):
    """One way, and what was measured of it."""

    name: str
    run: Callable[[], Measured]
    expected_bytes: int
    """Memory that it is expected to take above what is there already."""
    skipped: str | None = None
    """Why it was not measured."""
    measured: list[Measured] = field(default_factory=list)
    working_memory_bytes: int | None = None
    """Peak above what was there before."""


def take_turns(ways: Sequence[Way[Measured]], repeats: int, device: torch.device, on_run: Callable[[], None]) -> None:
    """Measure every way `repeats` times; `on_run` is called after every run, those left out included."""
    for way in ways:
        if way.skipped is None:
            _measure_memory(way, device)
        on_run()
    for _ in range(repeats):
        for way in ways:
            if way.skipped is None:
                _measure(way)
            on_run()


def count_runs(on_run: OnRun | None, num_ways: int, repeats: int) -> Callable[[], None]:
    """Return what `take_turns` calls after every run."""
    total = num_ways * (1 + repeats)
    return lambda: None if on_run is None else on_run(1, total)


def _measure(way: Way[Measured]) -> None:
    try:
        run_or_refuse(lambda: way.measured.append(way.run()))
    except NoMemoryError as error:  # another run of it may read something longer
        way.skipped = str(error)
        way.measured.clear()


def _measure_memory(way: Way[Measured], device: torch.device) -> None:
    try:
        check_fits(way.expected_bytes, device, "this row")
        way.working_memory_bytes = peak_bytes(way.run, device)
    except NoMemoryError as error:
        way.skipped = str(error)
