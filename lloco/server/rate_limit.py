"""A limit of requests a minute for every key: a bucket that fills evenly and holds a minute's worth."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from lloco.server.errors import ApiError

MAX_BUCKETS = 10_000


class RateLimit:
    """Counts requests; used by one thread, the event loop's."""

    def __init__(self, requests_per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = requests_per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Count one request. Raises `ApiError` 429 where there were too many of this name."""
        if self._per_minute is None:
            return
        now = self._clock()
        left, since = self._buckets.pop(name, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - since) * self._per_minute / 60)
        self._buckets[name] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if left < 1:
            seconds = math.ceil((1 - left) * 60 / self._per_minute)
            raise ApiError(
                429,
                f"more than {self._per_minute} requests a minute from this key: wait {seconds} s",
                code="rate_limit_exceeded",
                headers={"retry-after": str(seconds)},
            )
