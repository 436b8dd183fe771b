"""Requests that wait for an engine's one thread, and the events that its answers are passed on as.

The thread is alive while there is work. Which requests are next, and how they are answered, is the engine's.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol, TypeAlias

from lloco.engine.decoding import Decoding
from lloco.engine.engine import Engine, Generation, SamplingParams
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt

Event: TypeAlias = str | Generation | LlocoError
"""Pieces of text as they become certain; at last the generation, or what went wrong."""
OnEvent: TypeAlias = Callable[[Event], None]

_log = logging.getLogger(__name__)


class QueueFullError(LlocoError):
    """Too many requests are waiting."""


class EngineUnavailableError(LlocoError):
    """The remote engine is unavailable; retry later."""


class Ticket(Protocol):
    """What `submit` returns."""

    def cancel(self) -> None:
        """End it soon: its last event is a generation with finish_reason "cancelled", unless it has ended."""
        ...


class AsyncEngine(Engine, Protocol):
    """An engine that answers whoever asks, while others are being answered."""

    @property
    def num_running(self) -> int:
        """Requests that are being answered."""
        ...

    @property
    def num_waiting(self) -> int:
        """Requests that no token has been read of yet."""
        ...

    def submit(
        self,
        prompt: Prompt,
        sampling: SamplingParams,
        on_event: OnEvent,
        *,
        adapter: str | None = None,
        tenant: str = "",
    ) -> Ticket:
        """Queue one prompt; `on_event` is called from the engine's thread and holds all rows up while it runs.

        What was read for one tenant is never used, or counted, for another.

        Raises:
            QueueFullError: too many requests are waiting.
            LlocoError: prompt and `max_tokens` do not fit the decoder, no such adapter, or the engine was closed.
            CheckpointError: a stop string was given and the decoder has no tokenizer.
        """
        ...

    def close(self, *, finish: bool = True) -> None:
        """Take no more requests and return when the last has ended: answered, or else cancelled."""
        ...


def _ignore(_: Event) -> None:
    pass


def _nothing() -> None:
    pass


@dataclass(slots=True, eq=False)
class Request:
    """A prompt on its way to its answer."""

    prompt: Prompt
    adapter: Any
    """What the engine knows the adapter by."""
    decoding: Decoding
    on_event: OnEvent = _ignore
    tenant: str = ""
    """Whose it is: what was read for others is not used for it."""
    on_cancel: Callable[[], None] = _nothing
    """Wakes an engine that does not look by itself."""
    is_cancelled: bool = False
    has_ended: bool = False

    def cancel(self) -> None:
        """End it soon."""
        self.is_cancelled = True
        self.on_cancel()

    def emit(self, event: Event) -> None:
        """Pass an event on, nothing after the last; a listener that raises is not called again."""
        if self.has_ended:
            return
        self.has_ended = not isinstance(event, str)
        try:
            self.on_event(event)
        except Exception:
            self.has_ended = True
            _log.exception("a listener failed: its request ends here, the others go on")

    def advance(self, piece: str) -> None:
        """Pass on the text that became certain, and the generation if that was all."""
        if piece:
            self.emit(piece)
        if self.decoding.finish_reason is not None:
            self.emit(self.decoding.generation)


def fail_all(requests: Sequence[Request], error: Exception, decoder: Decoder) -> None:
    """End the requests with an error that holds no tensors of the frames it went through."""
    if not isinstance(error, LlocoError):
        _log.error("the decoder failed on %d requests", len(requests), exc_info=error)
        error = LlocoError(
            f"{decoder.name} failed on this prompt ({type(error).__name__}: {error}): try again, with a shorter "
            "prompt if memory ran out"
        )
    for request in requests:
        request.emit(error.with_traceback(None))


def answer_all(requests: Sequence[Request], enqueue: Callable[[Sequence[Request]], None]) -> list[Generation]:
    """Have requests answered and wait for their generations, in order.

    Raises:
        LlocoError: what went wrong with one of them; the others are then cancelled.
    """
    ended: SimpleQueue[tuple[int, Generation | LlocoError]] = SimpleQueue()

    def listener(index: int) -> OnEvent:
        return lambda event: None if isinstance(event, str) else ended.put((index, event))

    for index, request in enumerate(requests):
        request.on_event = listener(index)
    enqueue(requests)
    generations: dict[int, Generation] = {}
    try:
        while len(generations) < len(requests):
            index, event = ended.get()
            if isinstance(event, LlocoError):
                raise event
            generations[index] = event
    finally:
        for request in requests:
            request.cancel()
    return [generations[index] for index in range(len(requests))]


class RequestQueue:
    """What waits, the tenants in turn; starts the thread when something comes."""

    def __init__(self, answer: Callable[[], None], max_waiting: int) -> None:
        """Args: what the thread runs until `take` returns None; how many `put` lets wait."""
        if max_waiting < 1:
            raise LlocoError(f"max_waiting is {max_waiting}: it must be at least 1")
        self._answer = answer
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._waiting: deque[Request] = deque()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._cancels_all = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: Request) -> Ticket:
        """Queue one behind as many of every other tenant as wait of its own.

        A tenant that has less than its share finds room beside one that fills the queue.

        Raises:
            QueueFullError: there is no room.
            LlocoError: after `close`.
        """
        with self._lock:
            self._check_is_open()
            tenants = [other.tenant for other in self._waiting]
            num_own, num_tenants = tenants.count(request.tenant), len({*tenants, request.tenant})
            is_below_share = num_own < self._max_waiting // num_tenants and len(tenants) < 2 * self._max_waiting
            if len(tenants) >= self._max_waiting and not is_below_share:
                raise QueueFullError(f"{len(tenants)} requests are waiting, the most there may be: try later")
            self._start()
            self._waiting.insert(_place_in_turn(tenants, num_own), request)
        return request

    def answer_all(self, requests: Sequence[Request]) -> list[Generation]:
        """Queue as many as are given and wait for their generations, in order.

        Raises:
            LlocoError: what went wrong with one of them; the others are then cancelled.
        """
        return answer_all(requests, self._enqueue)

    def take(self, is_idle: bool, choose: Callable[[Sequence[Request]], int]) -> list[Request] | None:
        """Return the requests that are next: `choose` says how many of those that wait.

        The cancelled leave at once, before the others, so that they get their last event. None ends the thread: nothing
        waits and, where `is_idle`, nothing runs.
        """
        with self._lock:
            if not self._waiting and is_idle:
                self._thread = None
                return None
            taken = [request for request in self._waiting if self.is_to_end(request)]
            for request in taken:
                self._waiting.remove(request)
            return taken + [self._waiting.popleft() for _ in range(choose(self._waiting))]

    def is_to_end(self, request: Request) -> bool:
        """Whether the request was cancelled, by itself or with all others."""
        return request.is_cancelled or self._cancels_all

    def close(self, *, finish: bool) -> None:
        """Take no more and return when the last has ended: answered, or else cancelled."""
        with self._lock:
            self._is_closed = True
            self._cancels_all |= not finish
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _enqueue(self, requests: Sequence[Request]) -> None:
        with self._lock:
            self._check_is_open()
            if requests:
                self._start()
            self._waiting.extend(requests)

    def _check_is_open(self) -> None:
        if self._is_closed:
            raise LlocoError("the engine is closed: make a new engine")

    def _start(self) -> None:
        """Have a thread take what waits; it waits itself, for the lock that is held."""
        if self._thread is None:
            thread = threading.Thread(target=self._answer, name="lloco-engine")
            thread.start()
            self._thread = thread


def _place_in_turn(tenants: Sequence[str], num_own: int) -> int:
    """Return the place in front of the first request that has more of its own tenant before it than this one."""
    before: Counter[str] = Counter()
    for position, tenant in enumerate(tenants):
        if before[tenant] > num_own:
            return position
        before[tenant] += 1
    return len(tenants)
