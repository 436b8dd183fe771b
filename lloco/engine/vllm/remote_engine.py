"""A vLLM that runs in another process, or beside this code in its own server, behind the engine protocol.

Prompts are laid out and embedded here, by a decoder that needs no layers (`models.shell`), and refused here where vLLM
would misread them or die; answers end and are cut where `Decoding` says. Each request is a task on the server's event
loop. How vLLM is spoken to is the connection's business.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, wait
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from lloco.adapters.digest import adapter_digest
from lloco.engine.engine import Generation, SamplingParams
from lloco.engine.named_adapters import check_same_adapter
from lloco.engine.request_queue import EngineUnavailableError, OnEvent, QueueFullError, Request, Ticket, answer_all
from lloco.engine.vllm.adapter import check_vllm_adapter, vllm_adapter_name
from lloco.engine.vllm.connection import VllmAdapter, VllmConnection, VllmRequest
from lloco.engine.vllm.start import embedded_requests
from lloco.errors import LlocoError, MismatchError
from lloco.models.decoder import Decoder
from lloco.models.shell import limited
from lloco.prompts.prompt import Prompt

Result = TypeVar("Result")
_log = logging.getLogger(__name__)
_NUM_PROBES = 3


class VllmServerEngine:
    """Answers many requests at once with a vLLM that others may use too; threads may share it."""

    name = "vllm"

    def __init__(
        self, decoder: Decoder, server: VllmConnection, *, max_batch_size: int = 16, max_waiting: int = 256
    ) -> None:
        """Join a server that runs the decoder's model.

        Args:
            decoder: embeds prompts; where the server reads fewer positions than it, so does it from now on.
            server: must run the same weights.
            max_batch_size: requests that are sent at once.
            max_waiting: requests that `submit` lets wait.

        Raises:
            EngineUnavailableError: the server cannot be reached or used.
            MismatchError: it runs another model.
        """
        for name, value in (("max_batch_size", max_batch_size), ("max_waiting", max_waiting)):
            if value < 1:
                raise LlocoError(f"{name} is {value}: it must be at least 1")
        self.decoder = decoder
        self._server = server
        self._max_batch_size, self._max_waiting = max_batch_size, max_waiting
        self._places = asyncio.Semaphore(max_batch_size)
        self._digests: dict[str, str] = {}
        self._adapters: dict[str, VllmAdapter] = {}
        # Guards what is asked and whether more may be.
        self._lock = threading.Lock()
        self._futures: dict[Future[None], Request] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._is_closed = False
        self._run(self._check_server())
        server.on_return(self._check_server)

    @property
    def num_running(self) -> int:
        """Requests that are being answered."""
        return min(self._num_asked, self._max_batch_size)

    @property
    def num_waiting(self) -> int:
        """Requests that no token has been read of yet."""
        return max(self._num_asked - self._max_batch_size, 0)

    def add_adapter(self, name: str, folder: Path) -> None:
        """Have the adapter of that folder at the server, under a name of its content; it is not sent twice.

        Raises:
            LlocoError: the name stands for another adapter.
            CheckpointError: the folder is incomplete, damaged, or not LoRA that vLLM applies rightly.
            MismatchError: the adapter was made for another model.
            EngineUnavailableError: the server cannot load it.
        """
        digest = adapter_digest(folder)
        if name in self._digests:
            check_same_adapter(name, folder, self._digests[name], digest)
        # The folder may have moved, and the server may have to be told again where it is.
        adapter = VllmAdapter(vllm_adapter_name(digest), folder.resolve())
        if self._adapters.get(digest) != adapter:
            check_vllm_adapter(folder, self.decoder)
            self._run(self._server.load_adapter(adapter))
            self._adapters[digest] = adapter
        self._digests[name] = digest

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        """Return one generation per prompt, in order; `adapters` names each prompt's adapter, None for none.

        Raises:
            LlocoError: a prompt and `max_tokens` do not fit the decoder, or an adapter's name is unknown.
            MismatchError: a soft prompt was made for a decoder of another width, or holds NaN, infinity or zero rows.
            CheckpointError: a stop string was given and the decoder has no tokenizer.
            EngineUnavailableError: the server cannot be reached, or ended an answer early.
        """
        named = {f"prompt {i}": prompt for i, prompt in enumerate(prompts)}
        requests = embedded_requests(self.decoder, named, sampling, adapters, self._digests)
        return answer_all(requests, partial(self._start, max_waiting=None))

    def submit(
        self,
        prompt: Prompt,
        sampling: SamplingParams,
        on_event: OnEvent,
        *,
        adapter: str | None = None,
        tenant: str = "",
    ) -> Ticket:
        """Queue one prompt, as `AsyncEngine.submit`. Raises `MismatchError` too, as `generate`."""
        named = {"the prompt": prompt}
        (request,) = embedded_requests(self.decoder, named, sampling, [adapter], self._digests)
        request.on_event, request.tenant = on_event, tenant
        self._start([request], self._max_waiting)
        return request

    def close(self, *, finish: bool = True) -> None:
        """Take no more requests and return when the last has ended: answered, or else cancelled."""
        with self._lock:
            self._is_closed = True
        if not finish:
            for request in list(self._futures.values()):
                request.cancel()
        wait(list(self._futures))

    @property
    def _num_asked(self) -> int:
        """Requests that have not got their last event."""
        return sum(not request.has_ended for request in list(self._futures.values()))

    def _start(self, requests: Sequence[Request], max_waiting: int | None) -> None:
        with self._lock:
            if self._is_closed:
                raise LlocoError("the engine is closed: make a new engine")
            if max_waiting is not None and self.num_waiting >= max_waiting:
                raise QueueFullError(f"{self.num_waiting} requests are waiting, the most there may be: try later")
            for request in requests:
                request.on_cancel = partial(self._wake, request)
                future = asyncio.run_coroutine_threadsafe(self._answer(request), self._server.loop)
                self._futures[future] = request
                future.add_done_callback(self._futures.pop)

    def _wake(self, request: Request) -> None:
        if not request.has_ended:
            # Once the server is closed its loop runs nothing more.
            with suppress(RuntimeError):
                self._server.loop.call_soon_threadsafe(self._cancel, request)

    async def _answer(self, request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[id(request)] = task
        try:
            if request.is_cancelled:
                raise asyncio.CancelledError
            async with self._places:
                await self._stream(request)
        except asyncio.CancelledError:
            request.advance(request.decoding.cancel())
        except Exception as error:
            if not isinstance(error, LlocoError):
                _log.error("%s failed on a request", self._server.name, exc_info=error)
                what = f"{type(error).__name__}: {error}"
                error = EngineUnavailableError(f"{self._server.name} failed on this prompt ({what})")
            request.emit(error.with_traceback(None))
        finally:
            del self._tasks[id(request)]

    async def _stream(self, request: Request) -> None:
        """Give the prompt the tokens that come, until its answer ends."""
        sampling, (embeds,) = request.decoding.sampling, request.prompt.pieces
        adapter = self._adapters.get(request.adapter)
        asked = VllmRequest(embeds, sampling, self.decoder.eos_token_ids, adapter, request.tenant)
        async with aclosing(self._server.generate(asked)) as pieces:
            async for token_ids in pieces:
                for token_id in token_ids:
                    if not request.has_ended:
                        request.advance(request.decoding.add(token_id))
                if request.has_ended:
                    return
        raise EngineUnavailableError(
            f"{self._server.name} ended the answer early, after {len(request.decoding.token_ids)} tokens: give it "
            "more memory for keys and values (--gpu-memory-utilization), or ask fewer at once"
        )

    def _cancel(self, request: Request) -> None:
        """End a request; one whose task has not begun sees by itself that it is cancelled."""
        task = self._tasks.get(id(request))
        if task is not None and not request.has_ended:
            task.cancel()

    async def _check_server(self) -> None:
        """Refuse a server that runs another model: it must go on alike from token ids and from our embeddings."""
        self.decoder = limited(self.decoder, await self._server.max_len())
        num_alike = 0
        for number in range(_NUM_PROBES):
            token_ids = self._probe(number)
            with torch.no_grad():
                embeds = self.decoder.embed(token_ids).cpu()
            try:
                num_alike += await self._first_tokens(embeds) == await self._first_tokens(token_ids)
            except MismatchError as error:
                raise self._is_other_model(str(error)) from error
        if num_alike <= _NUM_PROBES // 2:
            raise self._is_other_model(
                f"it went on differently from tokens and from their embeddings in {_NUM_PROBES - num_alike} of "
                f"{_NUM_PROBES} trials"
            )

    def _probe(self, number: int) -> Tensor:
        """Return token ids (8,) from all over the vocabulary."""
        table = self.decoder.model.get_input_embeddings().weight
        assert isinstance(table, Tensor)
        return (torch.arange(1, 9) * 7919 + number * 104729) % len(table)

    async def _first_tokens(self, prompt: Tensor) -> list[int]:
        token_ids: list[int] = []
        asked = VllmRequest(prompt, SamplingParams(max_tokens=4), (), is_probe=True)
        async with aclosing(self._server.generate(asked)) as pieces:
            async for piece in pieces:
                token_ids += piece
        return token_ids

    def _is_other_model(self, why: str) -> MismatchError:
        return MismatchError(
            f"{self._server.name} was to run {self.decoder.name} ({self.decoder.hidden_size} wide), it runs another "
            f"model: {why}; start vLLM on that decoder's weights, see docs/vllm.md"
        )

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait, in a thread that is not the loop's, for what the loop does."""
        return asyncio.run_coroutine_threadsafe(work, self._server.loop).result()
