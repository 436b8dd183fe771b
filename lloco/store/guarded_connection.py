"""One connection to a SQLite database that threads share. It does not know what is in the database."""

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class GuardedConnection:
    """A connection that threads use one at a time, opened when it is first needed, and again in a forked process."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._lock = threading.RLock()
        self._process: int | None = None
        self._is_closed = False

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to this thread alone."""
        with self._lock:
            if self._is_closed:
                raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
            if self._process != os.getpid():
                self._connection, self._process = self._connect(), os.getpid()
                self._close = weakref.finalize(self, _close_in, self._process, self._connection)
            yield self._connection

    def close(self) -> None:
        """Close it; using it afterwards is an error."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                self._close()


def _close_in(process: int, connection: sqlite3.Connection) -> None:
    # A forked child must not touch the connection of its parent.
    if process == os.getpid():
        connection.close()
