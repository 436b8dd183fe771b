"""The search for the highest rate that passes a test: doubles, then halves the gap, on a grid that all searches share.

Does not know what is tested. No rate is tested twice: one that passes by luck is not found out.
"""

import math

STEPS_OF_DOUBLING = 4
"""Rates of the grid are a fourth root of two apart, 19 %, and 1 is one of them."""
MAX_HALVINGS = 6
"""A search that has gone down so far without a pass ends without a rate."""


class RateSearch:
    """Names the rate to be tested next and hears whether it passed."""

    def __init__(self, start: float) -> None:
        """Begin with the highest rate of the grid that is at most `start`."""
        self._start = math.floor(STEPS_OF_DOUBLING * math.log2(start))
        self._passed: int | None = None
        self._failed: int | None = None

    @property
    def rate(self) -> float | None:
        """The rate that is next, None when there is no more to know."""
        step = self._next()
        return None if step is None else _rate(step)

    @property
    def best(self) -> float | None:
        """The highest rate that has passed."""
        return None if self._passed is None else _rate(self._passed)

    def record(self, has_passed: bool) -> None:
        """Take the result of the rate that was next."""
        step = self._next()
        assert step is not None
        if has_passed:
            self._passed = step
        else:
            self._failed = step

    def _next(self) -> int | None:
        if self._failed is None:
            return self._start if self._passed is None else self._passed + STEPS_OF_DOUBLING
        if self._passed is None:
            below = self._failed - STEPS_OF_DOUBLING
            return below if below >= self._start - MAX_HALVINGS * STEPS_OF_DOUBLING else None
        return None if self._failed - self._passed == 1 else (self._passed + self._failed) // 2


def _rate(step: int) -> float:
    return float(2.0 ** (step / STEPS_OF_DOUBLING))
