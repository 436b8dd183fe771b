"""uvicorn's HTTP connections with two more bounds: how many there are, and how long a request's head takes.

uvicorn itself bounds the head's size and closes idle connections; `lloco.server.wire.body` bounds the body.
"""

import asyncio
import logging
import sys
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform != "win32":
    import resource

LOG = logging.getLogger("lloco.server")
HEAD_SECONDS = 10.0
"""From the first byte of a request, or from a new connection, to the end of its head."""
MAX_CONNECTIONS = 1024
_LOG_SECONDS = 60.0


def max_connections() -> int:
    """Return how many connections are held: half of the files that this process may open, the rest is for documents."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS // 2
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, soft // 2))


class BoundedConnection(H11Protocol):
    """One connection. Where there are too many, the one that has sent no whole request for longest is closed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._max = max_connections()
        self._head_timer: asyncio.TimerHandle | None = None
        self._quiet_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, and close another one where there are too many."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self._max:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Pass data on; the time for a head runs until it is whole."""
        super().data_received(data)
        if self.is_busy:
            self._stop_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._await_head()

    def on_response_complete(self) -> None:
        """Note since when nothing is asked."""
        super().on_response_complete()
        self._quiet_since = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._stop_timer()
        super().connection_lost(exc)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._quiet_since = time.monotonic()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _make_room(self) -> None:
        others = [other for other in self.connections if isinstance(other, BoundedConnection) and not other.is_busy]
        closed = min(others, key=lambda other: other._quiet_since, default=self)
        self.connections.discard(closed)  # its end is told later
        closed.transport.abort()
        _tell_of_bound(self._max)


_told_at = -_LOG_SECONDS


def _tell_of_bound(bound: int) -> None:
    """Log, once a minute at most, that connections were closed."""
    global _told_at
    if time.monotonic() - _told_at >= _LOG_SECONDS:
        _told_at = time.monotonic()
        LOG.warning("more than %d connections at once: those that have sent no request for longest are closed", bound)
