"""The streaming engine: answers many requests at once; rows join and leave the running batch between two tokens.

One thread, alive while there is work, owns the batch: it reads what has arrived, then takes one step of the model for
all rows, over and over. The decoder's lock is held for a step, not for an answer, so that compressing gets its turn.
Greedy tokens are `TransformersEngine`'s. A model without keys and values per token is refused.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, TypeAlias

from torch import Tensor

from lloco.engine.decode_batch import DecodeBatch, check_cache
from lloco.engine.decoding import Decoding, next_token_ids
from lloco.engine.engine import Generation, SamplingParams
from lloco.engine.named_adapters import NamedAdapters
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompt import Prompt

Event: TypeAlias = str | Generation | LlocoError
"""Pieces of text as they become certain; at last the generation, or what went wrong."""

_log = logging.getLogger(__name__)

_READ_LEN = 8192
"""Positions, padding included, that are read at once: a longer read would hold up the rows that run."""


class QueueFullError(LlocoError):
    """Too many requests are waiting."""


class Ticket(Protocol):
    """What `submit` returns."""

    def cancel(self) -> None:
        """End it soon: its last event is a generation with finish_reason "cancelled", unless it has ended."""
        ...


@dataclass(slots=True, eq=False)
class _Request:
    prompt: Prompt
    peft_name: str
    decoding: Decoding
    on_event: Callable[[Event], None]
    is_cancelled: bool = False
    has_ended: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True

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


class StreamingEngine:
    """Answers many requests at once with the decoder in this process."""

    def __init__(self, decoder: Decoder, *, max_batch_size: int = 16, max_waiting: int = 256) -> None:
        for name, value in (("max_batch_size", max_batch_size), ("max_waiting", max_waiting)):
            if value < 1:
                raise LlocoError(f"{name} is {value}: it must be at least 1")
        check_cache(decoder)
        self._adapters = NamedAdapters(decoder)
        self._max_batch_size = max_batch_size
        self._max_waiting = max_waiting
        # Guards what other threads touch: _waiting, _thread and the two flags.
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._cancels_all = False
        self._arrivals: list[_Request] = []
        self._running: list[_Request] = []
        self._batch: DecodeBatch | None = None

    @property
    def decoder(self) -> Decoder:
        """The model that reads the prompts, with the adapters that were added."""
        return self._adapters.decoder

    @property
    def num_running(self) -> int:
        """Requests that are being answered."""
        return len(self._running) + len(self._arrivals)

    @property
    def num_waiting(self) -> int:
        """Requests that no token has been read of yet."""
        return len(self._waiting)

    def add_adapter(self, name: str, folder: Path) -> None:
        """Make the adapter of that folder available under a name, as `NamedAdapters.add`; rows wait meanwhile."""
        self._adapters.add(name, folder)

    def submit(
        self,
        prompt: Prompt,
        sampling: SamplingParams,
        on_event: Callable[[Event], None],
        *,
        adapter: str | None = None,
    ) -> Ticket:
        """Queue one prompt; `on_event` is called from the engine's thread and holds all rows up while it runs.

        Raises:
            QueueFullError: too many requests are waiting.
            LlocoError: prompt and `max_tokens` do not fit the decoder, no such adapter, or the engine was closed.
            CheckpointError: a stop string was given and the decoder has no tokenizer.
        """
        (peft_name,) = self._adapters.peft_names(1, [adapter])
        request = _Request(prompt, peft_name, Decoding(self.decoder, prompt, sampling), on_event)
        self._enqueue([request], self._max_waiting)
        return request

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        """Return one generation per prompt, in order; as many as are given may wait.

        Raises:
            LlocoError: as `submit`, or what went wrong with one of them; the others are then cancelled.
            MismatchError: a soft prompt was made for a decoder of another width.
        """
        ended: SimpleQueue[tuple[int, Generation | LlocoError]] = SimpleQueue()

        def listener(index: int) -> Callable[[Event], None]:
            return lambda event: None if isinstance(event, str) else ended.put((index, event))

        peft_names = self._adapters.peft_names(len(prompts), adapters)
        requests = [
            _Request(prompt, peft_names[i], Decoding(self.decoder, prompt, sampling, f"prompt {i}"), listener(i))
            for i, prompt in enumerate(prompts)
        ]
        self._enqueue(requests, None)
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

    def close(self, *, finish: bool = True) -> None:
        """Take no more requests and return when the last has ended: answered, or else cancelled."""
        with self._lock:
            self._is_closed = True
            self._cancels_all |= not finish
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _enqueue(self, requests: Sequence[_Request], max_waiting: int | None) -> None:
        with self._lock:
            if self._is_closed:
                raise LlocoError("a request came after the engine was closed: make a new engine")
            if max_waiting is not None and len(self._waiting) >= max_waiting:
                raise QueueFullError(f"{len(self._waiting)} requests are waiting, the most there may be: try later")
            if self._thread is None and requests:
                thread = threading.Thread(target=self._run, name="lloco-engine")
                thread.start()
                self._thread = thread
            self._waiting.extend(requests)

    def _run(self) -> None:
        while self._admit():
            try:
                self._cancel()
                self._read(self._arrivals)
                self._arrivals = []
                self._drop_ended()
                if self._batch is not None:
                    last = [request.decoding.token_ids[-1] for request in self._running]
                    self._advance(self._running, self._batch.step(self.decoder, last))
                    self._drop_ended()
            except Exception as error:
                self._fail([*self._running, *self._arrivals], error)
                self._arrivals, self._running, self._batch = [], [], None

    def _admit(self) -> bool:
        """Move what is next from the queue to the arrivals; False, and the thread's end, if there is nothing to do."""
        with self._lock:
            if not self._waiting and not self._running:
                self._thread = None
                return False
            # The cancelled leave the queue at once, and through the arrivals, so that they get their last event.
            self._arrivals = [request for request in self._waiting if request.is_cancelled or self._cancels_all]
            for request in self._arrivals:
                self._waiting.remove(request)
            room, longest, num_admitted = self._max_batch_size - len(self._running), 0, 0
            while self._waiting and num_admitted < room:
                longest, num_admitted = max(longest, self._waiting[0].prompt.length), num_admitted + 1
                if num_admitted > 1 and longest * num_admitted > _READ_LEN:
                    break
                self._arrivals.append(self._waiting.popleft())
            return True

    def _cancel(self) -> None:
        for request in (*self._running, *self._arrivals):
            if request.is_cancelled or self._cancels_all:
                request.advance(request.decoding.cancel())
        self._arrivals = [request for request in self._arrivals if not request.has_ended]

    def _read(self, arrivals: list[_Request]) -> None:
        """Read prompts and let their rows join; where that fails, each by itself, so that only the culprit fails."""
        if not arrivals:
            return
        prompts, peft_names = [one.prompt for one in arrivals], [one.peft_name for one in arrivals]
        batch = None
        try:
            batch, logits = DecodeBatch.read(self.decoder, prompts, peft_names)
        except Exception as error:
            if len(arrivals) == 1:
                self._fail(arrivals, error)
                return
        # Out of the handler, whose error keeps the failed read's memory alive.
        if batch is None:
            for request in arrivals:
                self._read([request])
            return
        self._advance(arrivals, logits)
        if self._batch is None:
            self._batch = batch
        else:
            self._batch.join(batch)
        self._running += arrivals

    def _advance(self, requests: Sequence[_Request], logits: Tensor) -> None:
        token_ids = next_token_ids([request.decoding for request in requests], logits)
        for request, token_id in zip(requests, token_ids, strict=True):
            if not request.has_ended:
                request.advance(request.decoding.add(token_id))

    def _drop_ended(self) -> None:
        rows = [row for row, request in enumerate(self._running) if not request.has_ended]
        if self._batch is not None and len(rows) < len(self._running):
            self._running = [self._running[row] for row in rows]
            if rows:
                self._batch.keep(rows)
            else:
                self._batch = None

    def _fail(self, requests: Sequence[_Request], error: Exception) -> None:
        """End the requests with an error that holds no tensors of the frames it went through."""
        if not isinstance(error, LlocoError):
            _log.error("the decoder failed on %d requests", len(requests), exc_info=error)
            error = LlocoError(
                f"an answer was wanted, {self.decoder.name} failed on it ({type(error).__name__}: {error}): try again, "
                "with a shorter prompt if memory ran out"
            )
        for request in requests:
            request.emit(error.with_traceback(None))
