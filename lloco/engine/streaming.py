"""The streaming engine: answers many requests at once; rows join and leave the running batch between two tokens.

One thread, alive while there is work, owns the batch: it reads what has arrived, then takes one step of the model for
all rows, over and over. The decoder's lock is held for a step, not for an answer, so that compressing gets its turn.
Greedy tokens are `TransformersEngine`'s. A model without keys and values per token is refused.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from torch import Tensor

from lloco.engine.decode_batch import DecodeBatch, check_cache, num_read
from lloco.engine.decoding import Decoding, next_token_ids
from lloco.engine.engine import Generation, SamplingParams
from lloco.engine.last_prefix import LastPrefix, find_earlier
from lloco.engine.named_adapters import NamedAdapters
from lloco.engine.prefix_cache import Prefix, PrefixCache, prefix_length
from lloco.engine.request_queue import OnEvent, Request, RequestQueue, Ticket, fail_all
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt

_READ_LEN = 8192
"""Positions, padding included, that are read at once: a longer read would hold up the rows that run."""


def embedded_engine(decoder: Decoder, batch_size: int = 8) -> "StreamingEngine | TransformersEngine":
    """Return the engine that answers so many prompts together in this process, and reads a document that questions in
    a row are about once: streaming, unless the model has a state of another kind than keys and values per token."""
    try:
        return StreamingEngine(decoder, max_batch_size=batch_size, prefix_cache_bytes=None)
    except LlocoError:
        return TransformersEngine(decoder, batch_size=batch_size)


class StreamingEngine:
    """Answers many requests at once with the decoder in this process."""

    name = "transformers"

    def __init__(
        self, decoder: Decoder, *, max_batch_size: int = 16, max_waiting: int = 256, prefix_cache_bytes: int | None = 0
    ) -> None:
        """Make an engine of this decoder.

        Args:
            decoder: its weights and adapters must not change while prefixes are kept.
            max_batch_size: requests that are answered at once.
            max_waiting: requests that may wait.
            prefix_cache_bytes: memory for keys and values of documents, so that they are not read again; 0 keeps none,
                and None those of the document that was read last, whatever they take.
        """
        if max_batch_size < 1:
            raise LlocoError(f"max_batch_size is {max_batch_size}: it must be at least 1")
        check_cache(decoder)
        self._adapters = NamedAdapters(decoder)
        self._max_batch_size = max_batch_size
        self._queue = RequestQueue(self._run, max_waiting)
        self._arrivals: list[Request] = []
        self._running: list[Request] = []
        self._batch: DecodeBatch | None = None
        self._prefixes = LastPrefix() if prefix_cache_bytes is None else PrefixCache(prefix_cache_bytes)
        self._keeps_prefixes, self._keeps_last = prefix_cache_bytes != 0, prefix_cache_bytes is None
        self._uses_prefixes = True

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
        return len(self._queue)

    def add_adapter(self, name: str, folder: Path) -> None:
        """Make the adapter of that folder available under a name, as `NamedAdapters.add`; rows wait meanwhile."""
        self._adapters.add(name, folder)

    def use_prefix_cache(self, is_used: bool) -> None:
        """Answer from the keys and values that are kept, as from the beginning, or leave them be and read all anew."""
        self._uses_prefixes = is_used

    def submit(
        self,
        prompt: Prompt,
        sampling: SamplingParams,
        on_event: OnEvent,
        *,
        adapter: str | None = None,
        tenant: str = "",
    ) -> Ticket:
        """Queue one prompt, as `AsyncEngine.submit`."""
        (peft_name,) = self._adapters.peft_names(1, [adapter])
        return self._queue.put(Request(prompt, peft_name, Decoding(self.decoder, prompt, sampling), on_event, tenant))

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        """Return one generation per prompt, in order; as many as are given may wait.

        Raises:
            LlocoError: as `submit`, or what went wrong with one of them; the others are then cancelled.
            MismatchError: a soft prompt was made for a decoder of another width.
        """
        peft_names = self._adapters.peft_names(len(prompts), adapters)
        return self._queue.answer_all(
            [
                Request(prompt, peft_names[i], Decoding(self.decoder, prompt, sampling, f"prompt {i}"))
                for i, prompt in enumerate(prompts)
            ]
        )

    def close(self, *, finish: bool = True) -> None:
        """Take no more requests and return when the last has ended: answered, or else cancelled."""
        self._queue.close(finish=finish)

    def _run(self) -> None:
        while (arrivals := self._queue.take(not self._running, self._num_admitted)) is not None:
            self._arrivals = arrivals
            try:
                self._cancel()
                self._read(self._arrivals)
                self._arrivals = []
                self._cancel()  # reading may have taken long
                self._drop_ended()
                if self._batch is not None:
                    last = [request.decoding.token_ids[-1] for request in self._running]
                    self._advance(self._running, self._batch.step(self.decoder, last))
                    self._drop_ended()
            except Exception as error:
                fail_all([*self._running, *self._arrivals], error, self.decoder)
                self._arrivals, self._running, self._batch = [], [], None

    def _num_admitted(self, waiting: Sequence[Request]) -> int:
        """Return how many may join: as many as there are places, and as can be read together."""
        room, firsts, longest, longest_rest = self._max_batch_size - len(self._running), list[Request](), 0, 0
        for num_admitted, request in enumerate(waiting):
            if num_admitted == room:
                return room
            if earlier := self._earlier(request, firsts):
                longest_rest = max(longest_rest, request.prompt.length - earlier[1])
            else:
                firsts.append(request)
                longest = max(longest, request.prompt.length)
            num_rest = num_admitted + 1 - len(firsts)
            if _is_much(len(firsts), longest) or _is_much(num_rest, longest_rest):
                return num_admitted
        return len(waiting)

    def _cancel(self) -> None:
        for request in (*self._running, *self._arrivals):
            if not request.has_ended and self._queue.is_to_end(request):
                request.advance(request.decoding.cancel())
        self._arrivals = [request for request in self._arrivals if not request.has_ended]

    def _read(self, arrivals: list[Request]) -> None:
        """Read prompts and let their rows join: first those that begin anew, then those whose beginning is known."""
        known: dict[Request, Prefix] = {}
        firsts: list[Request] = []
        shared: dict[Request, tuple[Request, int]] = {}
        for request in arrivals:
            if (prefix := self._find_prefix(request)) is not None:
                known[request] = prefix
            elif (earlier := self._earlier(request, firsts)) is not None:
                shared[request] = earlier
            else:
                firsts.append(request)
        read = self._read_together(firsts, [], {earlier for earlier, _ in shared.values()})
        known |= {later: read[earlier].first(length) for later, (earlier, length) in shared.items() if earlier in read}
        self._read_together([request for request in shared if request not in known], [])  # the first one failed
        self._read_together(list(known), list(known.values()))

    def _read_together(
        self, arrivals: list[Request], prefixes: list[Prefix], lenders: Collection[Request] = ()
    ) -> dict[Request, Prefix]:
        """Read prompts, and return the prefixes of the lenders; where that fails, each by itself, so that only the
        culprit fails."""
        if not arrivals:
            return {}
        prompts, peft_names = [arrival.prompt for arrival in arrivals], [arrival.adapter for arrival in arrivals]
        batch = None
        try:
            batch, logits = DecodeBatch.read(self.decoder, prompts, peft_names, prefixes)
        except Exception as error:
            if len(arrivals) == 1:
                fail_all(arrivals, error, self.decoder)
                return {}
        # Out of the handler, whose error keeps the failed read's memory alive.
        read: dict[Request, Prefix] = {}
        if batch is None:
            for row, request in enumerate(arrivals):
                read |= self._read_together([request], prefixes[row : row + 1], lenders)
            return read
        if not prefixes:
            read = self._keep_prefixes(batch, arrivals, lenders)
        num_new = num_read(prompts, prefixes)
        for request in arrivals:
            request.decoding.num_cached_tokens = max(request.prompt.length - num_new, 0)
        self._advance(arrivals, logits)
        if self._batch is None:
            self._batch = batch
        else:
            self._batch.join(batch)
        self._running += arrivals
        return read

    @property
    def _shares_prefixes(self) -> bool:
        return self._keeps_prefixes and self._uses_prefixes

    def _find_prefix(self, request: Request) -> Prefix | None:
        if not self._shares_prefixes:
            return None
        return self._prefixes.find(request.tenant, request.prompt, request.adapter)

    def _earlier(self, request: Request, earlier: Sequence[Request]) -> tuple[Request, int] | None:
        """Return which of the earlier requests begins as this one does, and for how long."""
        return find_earlier(request, earlier) if self._shares_prefixes else None

    def _keep_prefixes(
        self, batch: DecodeBatch, arrivals: list[Request], lenders: Collection[Request]
    ) -> dict[Request, Prefix]:
        """Keep what stands before the questions, and return that of the lenders."""
        if not self._shares_prefixes:
            return {}
        kept = arrivals[-1:] if self._keeps_last else arrivals
        read: dict[Request, Prefix] = {}
        for row, request in enumerate(arrivals):
            length = prefix_length(request.prompt)
            if not length or not (request in kept or request in lenders):
                continue
            read[request] = batch.prefix(row, length)
            if request in kept:
                self._prefixes.keep(request.tenant, request.prompt, request.adapter, read[request])
        return read

    def _advance(self, requests: Sequence[Request], logits: Tensor) -> None:
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


def _is_much(num_rows: int, longest: int) -> bool:
    """Return whether so many rows are more than may be read at once, padded to the longest."""
    return num_rows > 1 and num_rows * longest > _READ_LEN
