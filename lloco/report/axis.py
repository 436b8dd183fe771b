"""An axis of a plot: where a value stands on it, and which values are named. Does not know what is drawn."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["linear", "log", "symlog"]
LINEAR_UNTIL = 10.0
"""A symlog axis, which has room for 0, is linear up to here."""
LOG_SPAN = 30.0
"""Values whose largest is so many times the smallest are drawn on a log axis."""
_MAX_TICKS = 6


@dataclass(frozen=True, slots=True)
class Axis:
    """Its label, ends and named values."""

    label: str
    kind: Kind
    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Return where a value stands, in percent of the axis's length; what is outside stands at the end."""
        low, high = _length(self.kind, self.low), _length(self.kind, self.high)
        inside = min(max(value, self.low), self.high)
        return round(100 * (_length(self.kind, inside) - low) / (high - low), 2)


def linear_axis(label: str, values: Iterable[float]) -> Axis:
    """Return an axis from 0 to a round number above all values."""
    top = max([0.0, *values]) or 1.0
    power = 10.0 ** math.floor(math.log10(top / 4))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if top <= step * (_MAX_TICKS - 1) * 1.0001)
    num_steps = math.ceil(top / step - 1e-4)
    return Axis(label, "linear", 0.0, num_steps * step, tuple(number * step for number in range(num_steps + 1)))


def log_axis(label: str, values: Iterable[float]) -> Axis:
    """Return an axis around positive values: it names them where they are few, else round numbers between them."""
    found = sorted({value for value in values if value > 0}) or [1.0]
    margin = max((found[-1] / found[0]) ** 0.05, 1.1)
    low, high = found[0] / margin, found[-1] * margin
    ticks = found if len(found) < _MAX_TICKS else _round_numbers(low, high)
    return Axis(label, "log", low, high, tuple(ticks))


def symlog_axis(label: str, values: Iterable[float]) -> Axis:
    """Return a log axis with room for 0."""
    top = max([LINEAR_UNTIL, *values])
    num_decades = math.ceil(math.log10(top / LINEAR_UNTIL))
    ticks = (0.0, *(LINEAR_UNTIL * 10**decade for decade in range(num_decades + 1)))
    return Axis(label, "symlog", 0.0, top * 1.25, tuple(tick for tick in ticks if tick <= top * 1.25))


def suitable_axis(label: str, values: Sequence[float]) -> Axis:
    """Return a log axis where values of very different size stand on it, else one from 0."""
    is_log = bool(values) and min(values) > 0 and max(values) >= LOG_SPAN * min(values)
    return log_axis(label, values) if is_log else linear_axis(label, values)


def number_text(value: float) -> str:
    """Return a number with thousands apart, and no more digits after the point than it needs."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _length(kind: Kind, value: float) -> float:
    """Return the distance of a value from an axis's 0, or from 1 on a log axis."""
    if kind == "linear":
        return value
    if kind == "log":
        return math.log10(value)
    return value / LINEAR_UNTIL if value < LINEAR_UNTIL else 1 + math.log10(value / LINEAR_UNTIL)


def _round_numbers(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two values, or fewer where they would be too many."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        inside = [tick for tick in found if low <= tick <= high] or [low, high]
        if len(inside) <= _MAX_TICKS:
            break
    return inside[:: -(-len(inside) // _MAX_TICKS)]
