"""Documents on their way into the store: which is next, how long that takes, and that the work ends with its client.

Of every caller one document is read and compressed at a time. Those of different callers take turns, from one batch of
segments to the next, so that a long document delays another caller's by no more than its fair share.
"""

import asyncio
import itertools
import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeVar

import anyio
from starlette.requests import Request

from lloco.documents.bounded_process import BoundedProcess, ProcessLimits
from lloco.server.errors import ApiError

Found = TypeVar("Found")
Result = TypeVar("Result")
Stage = Literal["waiting", "reading", "compressing"]
MAX_WAITING_OF_CALLER = 32
"""Documents of one caller that are received, read, compressed or wait for that; more are refused."""
MAX_WAITING = 64
NUM_READERS = 2
"""Files of different callers that are read at once."""
MAX_SECONDS = 600
"""The longest estimate."""
UNKNOWN_SECONDS = 5
"""When a document that is refused may come again, before it is known how long documents take."""


class Turns:
    """One thread works at a time; the others have their turn in the order in which they asked for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_taken = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, which lasts as long as the block, but for `pass_on`."""
        self._take()
        try:
            yield
        finally:
            self._leave()

    def pass_on(self) -> None:
        """Let all others that wait have a turn first; to be called in a turn."""
        if self._waiting:
            self._leave()
            self._take()

    def _take(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # it stays taken: by that one
            else:
                self._is_taken = False


@dataclass(eq=False, slots=True)
class Job:
    """One document that a client sends and waits for."""

    caller: str
    size: int
    """Bytes of its body; characters of its text, once it is read."""
    turns: Turns
    corpus: str = ""
    id: str = ""
    is_file: bool = False
    """Whether a process reads it."""
    stage: Stage = "waiting"
    is_cancelled: bool = False
    _reader: BoundedProcess | None = None

    def cancel(self) -> None:
        """End the work soon: a file's reader at once, compressing after this batch of segments."""
        self.is_cancelled = True
        if self._reader is not None:
            self._reader.kill()

    def check(self, _: int = 0) -> None:
        """Raise `ApiError` where nobody waits for it any more."""
        if self.is_cancelled:
            raise gone()

    def advance(self, _: int) -> None:
        """Raise as `check`, and let others have their turn; to be called in a turn."""
        self.check()
        self.turns.pass_on()

    def read_apart(self, function: str, path: Path, *arguments: int | str, limits: ProcessLimits) -> tuple[Any, str]:
        """Return what a function makes of a file, in a process that ends with the job."""
        self._reader = reader = BoundedProcess(function, path, *arguments, limits=limits)
        if self.is_cancelled:
            reader.kill()
        return reader.run()


def gone() -> ApiError:
    """Return the error for a client that has gone."""
    return ApiError(499, "the client went away before its document was added")


@dataclass(slots=True)
class Writing:
    """The documents that are being added to a server's store; used by the event loop alone."""

    jobs: list[Job] = field(default_factory=list)
    _turns: Turns = field(default_factory=Turns)
    _seconds_per_size: float | None = None
    """How long a document took lately, for each character of it."""
    _readers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(NUM_READERS))
    _threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(2 * MAX_WAITING))
    _own_turn: dict[str, anyio.Lock] = field(default_factory=dict)

    @asynccontextmanager
    async def job(self, caller: str, request: Request) -> AsyncIterator[Job]:
        """Queue what a request brings, before its body is read.

        Raises:
            ApiError: 429 where too many are there, of this caller or of all.
        """
        num_own, num_all = sum(job.caller == caller for job in self.jobs), len(self.jobs)
        # A caller that has none there finds room beside one that sends very many.
        if num_own >= MAX_WAITING_OF_CALLER or num_all >= (MAX_WAITING if num_own else 2 * MAX_WAITING):
            raise self._full(caller, num_own)
        declared = request.headers.get("content-length", "")
        job = Job(caller, int(declared) if declared.isascii() and declared.isdigit() else 1, self._turns)
        self.jobs.append(job)
        try:
            yield job
        finally:
            job.cancel()  # of a job that is done nothing is left to end
            self.jobs.remove(job)
            if all(other.caller != caller for other in self.jobs):
                self._own_turn.pop(caller, None)

    async def run(
        self, job: Job, request: Request, read: Callable[[], Found], add: Callable[[Found], Result]
    ) -> Result:
        """Read and add in worker threads when it is this job's time; ends, soon, with the client.

        The request's body must have been read. Raises `ApiError` 499 where the client has gone.
        """
        with anyio.CancelScope() as scope:
            watch = asyncio.create_task(_cancel_when_gone(job, request, scope))
            try:
                async with self._own_turn.setdefault(job.caller, anyio.Lock()):
                    found = await self._read(job, read)
                    job.check()
                    job.stage = "compressing"
                    started, num_callers = monotonic(), len({other.caller for other in self.jobs})
                    result = await anyio.to_thread.run_sync(add, found, limiter=self._threads)
                    self._note_pace(job.size, (monotonic() - started) / num_callers)
                    return result
            finally:
                watch.cancel()
        raise gone()

    async def _read(self, job: Job, read: Callable[[], Found]) -> Found:
        if not job.is_file:
            return await anyio.to_thread.run_sync(read, limiter=self._threads)
        async with self._readers:
            job.stage = "reading"
            return await anyio.to_thread.run_sync(read, limiter=self._threads)

    def num_ahead(self, job: Job) -> int:
        """Return about how many documents are added before this one."""
        return self._through(job, lambda _: 1) - 1

    def seconds_left(self, job: Job) -> int | None:
        """Return about how long it takes until this one is added; None before the first one is."""
        if self._seconds_per_size is None:
            return None
        return min(math.ceil(self._seconds_per_size * self._through(job, lambda other: other.size)), MAX_SECONDS)

    def _through(self, job: Job, weight: Callable[[Job], int]) -> int:
        """Add up the caller's jobs up to this one, and of every other caller's as much as that."""
        sums: dict[str, int] = {}
        for other in self.jobs:
            if other.caller != job.caller:
                sums[other.caller] = sums.get(other.caller, 0) + weight(other)
        before = itertools.takewhile(lambda other: other is not job, self.jobs)
        own = weight(job) + sum(weight(other) for other in before if other.caller == job.caller)
        return own + sum(min(own, size) for size in sums.values())

    def _note_pace(self, size: int, seconds: float) -> None:
        new, old = seconds / max(size, 1), self._seconds_per_size
        self._seconds_per_size = new if old is None else 0.7 * old + 0.3 * new

    def _full(self, caller: str, num_own: int) -> ApiError:
        first = next((job for job in self.jobs if job.caller == caller), None)
        seconds = (first and self.seconds_left(first)) or UNKNOWN_SECONDS
        return ApiError(
            429,
            f"{num_own} documents of this key wait to be added: send this one again in {seconds} s",
            code="queue_full",
            headers={"retry-after": str(seconds)},
        )


async def _cancel_when_gone(job: Job, request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.cancel()
    scope.cancel()
