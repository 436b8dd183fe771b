"""vLLM in this process behind the engine protocol: paged keys and values, prefixes read once, adapters mixed by row.

It gets the decoder's own weights as a plain checkpoint and every prompt as embeddings in our one layout; answers end
and are cut where `Decoding` says, as in every engine. What vLLM 0.32 answers wrongly or dies of is kept from it here.
One thread, alive while there is work, takes its steps.
"""

import itertools
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lloco.adapters.digest import adapter_digest
from lloco.engine.engine import Generation, SamplingParams
from lloco.engine.named_adapters import check_same_adapter
from lloco.engine.request_queue import EngineUnavailableError, OnEvent, Request, RequestQueue, Ticket, fail_all
from lloco.engine.vllm.adapter import check_vllm_adapter, vllm_adapter_name
from lloco.engine.vllm.start import cpu_kv_cache_bytes, embedded_requests, start_vllm, vllm_params
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for."""


class VllmEngine:
    """Answers many requests at once with vLLM; threads may share it."""

    name = "vllm"

    def __init__(
        self,
        decoder: Decoder,
        batch_size: int = 8,
        *,
        max_adapters: int = 1,
        max_lora_rank: int = 64,
        kv_cache_bytes: int | None = None,
        max_read_len: int | None = None,
        max_waiting: int = 256,
    ) -> None:
        """Start vLLM on the decoder's weights.

        Args:
            decoder: without an adapter; it embeds prompts and keeps the weights that it has.
            batch_size: prompts that are answered at once.
            max_adapters: adapters that can be added.
            max_lora_rank: rank that an adapter may have.
            kv_cache_bytes: memory for keys and values; when not given, vLLM's choice on a GPU, else what a full batch
                of the longest prompts takes, 4 GiB at most.
            max_read_len: positions that are read in one step; vLLM's choice when not given.
            max_waiting: requests that `submit` lets wait.

        Raises:
            LlocoError: vLLM is not installed or cannot run the model, or a number is below 1.
        """
        for name, value in (("batch_size", batch_size), ("max_adapters", max_adapters)):
            if value < 1:
                raise LlocoError(f"{name} is {value}: it must be at least 1")
        # vLLM reads no row that is longer than what it is started for.
        self.decoder = decoder = replace(decoder, max_positions=decoder.max_len)
        self._max_adapters, self._max_lora_rank = max_adapters, max_lora_rank
        self._lora: dict[str, Any] = {}
        self._digests: dict[str, str] = {}
        self._numbers = itertools.count()
        # Guards vLLM and the adapters.
        self._lock = threading.Lock()
        self._queue = RequestQueue(self._answer, max_waiting)
        self._batch_size = batch_size
        self._running: dict[str, Request] = {}
        self._uses_cache = True
        options: dict[str, Any] = {
            "max_num_seqs": batch_size,
            # One slot stays empty: on a CPU, rows without an adapter would get the last slot's.
            "max_loras": max_adapters + 1,
            "max_cpu_loras": max_adapters + 1,
            "max_lora_rank": next((rank for rank in LORA_RANKS if rank >= max_lora_rank), LORA_RANKS[-1]),
        }
        if decoder.device.type == "cpu":
            # vLLM would want nearly all of the machine's memory.
            kv_cache_bytes = kv_cache_bytes or cpu_kv_cache_bytes(decoder, batch_size)
            max_read_len = max_read_len or max(decoder.max_len, 2048)
        if kv_cache_bytes is not None:
            options["kv_cache_memory_bytes"] = kv_cache_bytes
        if max_read_len is not None:
            options["max_num_batched_tokens"] = max_read_len
        self._max_read_len = max_read_len
        self._vllm = start_vllm(decoder, options)

    @property
    def num_running(self) -> int:
        """Requests that are being answered."""
        return sum(not request.has_ended for request in list(self._running.values()))

    @property
    def num_waiting(self) -> int:
        """Requests that no token has been read of yet."""
        return len(self._queue)

    def add_adapter(self, name: str, folder: Path) -> None:
        """Load the adapter of that folder under a name; the same adapter again is not loaded twice.

        Raises:
            LlocoError: the name stands for another adapter, there is no room, or vLLM cannot apply it.
            CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
            MismatchError: the adapter was made for another model.
        """
        from vllm.lora.request import LoRARequest

        digest = adapter_digest(folder)
        if self._digests.get(name) == digest:
            return  # without the lock, which is held while vLLM takes a step
        with self._lock:
            if name in self._digests:
                check_same_adapter(name, folder, self._digests[name], digest)
                return
            if digest not in self._lora:
                self._check_adapter(folder)
                request = LoRARequest(vllm_adapter_name(digest), len(self._lora) + 1, str(folder.resolve()))
                self._vllm.add_lora(request)
                self._lora[digest] = request
            self._digests[name] = digest

    def use_prefix_cache(self, is_used: bool) -> None:
        """Answer from what vLLM keeps of earlier prompts, as from the beginning, or read all anew."""
        self._uses_cache = is_used

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        """Return one generation per prompt, in order; `adapters` names each prompt's adapter, None for none.

        Raises:
            LlocoError: a prompt and `max_tokens` do not fit the decoder, or an adapter's name is unknown.
            MismatchError: a soft prompt was made for a decoder of another width, or holds NaN, infinity or zero rows.
            CheckpointError: a stop string was given and the decoder has no tokenizer.
        """
        requests = self._requests({f"prompt {i}": prompt for i, prompt in enumerate(prompts)}, sampling, adapters)
        return self._queue.answer_all(requests)

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
        (request,) = self._requests({"the prompt": prompt}, sampling, [adapter])
        request.on_event, request.tenant = on_event, tenant
        return self._queue.put(request)

    def close(self, *, finish: bool = True) -> None:
        """Take no more requests and return when the last has ended: answered, or else cancelled."""
        self._queue.close(finish=finish)

    def _requests(
        self, prompts: Mapping[str, Prompt], sampling: SamplingParams, adapters: Sequence[str | None] | None
    ) -> list[Request]:
        requests = embedded_requests(self.decoder, prompts, sampling, adapters, self._digests)
        if self._is_rewound(sampling):
            self._check_read_at_once([*prompts.values()])
        return requests

    def _is_rewound(self, sampling: SamplingParams) -> bool:
        """Whether vLLM would rewind random numbers for a prompt read in part, which it cannot do on a CPU."""
        return sampling.seed is not None and not sampling.is_greedy and self.decoder.device.type == "cpu"

    def _check_read_at_once(self, prompts: Sequence[Prompt]) -> None:
        longest = max((prompt.length for prompt in prompts), default=0)
        if self._max_read_len is not None and longest > self._max_read_len:
            raise LlocoError(
                f"a seeded prompt must be read in one step on a CPU, got {longest} positions for steps of "
                f"{self._max_read_len}: leave the seed out, or raise max_read_len"
            )

    def _answer(self) -> None:
        """Answer what waits until there is nothing; the thread's own."""
        if self.decoder.device.type == "cuda":
            torch.cuda.set_device(self.decoder.device)
        while (arrivals := self._queue.take(not self._running, self._num_admitted)) is not None:
            with self._lock:
                try:
                    self._add(arrivals)
                    self._cancel()
                    if self._running:
                        self._step()
                except Exception as error:
                    fail_all([*self._running.values(), *arrivals], error, self.decoder)
                    with suppress(Exception):  # vLLM may be beyond that too, and the next request is to be told so
                        self._abort(list(self._running))

    def _num_admitted(self, waiting: Sequence[Request]) -> int:
        """Return how many may join; one whose random numbers would be rewound is answered alone."""
        running = [*self._running.values()]
        for num_admitted, request in enumerate(waiting):
            is_alone = any(self._is_rewound(other.decoding.sampling) for other in (request, *running[:1]))
            if len(running) == self._batch_size or (is_alone and running):
                return num_admitted
            running.append(request)
        return len(waiting)

    def _add(self, arrivals: Sequence[Request]) -> None:
        for request in arrivals:
            request_id = str(next(self._numbers))
            self._running[request_id] = request
            (embeds,) = request.prompt.pieces
            params = vllm_params(request.decoding.sampling, self.decoder.eos_token_ids)
            params.skip_reading_prefix_cache = not self._uses_cache
            # vLLM's own prefix cache answers only prompts of the same salt.
            salt = {"cache_salt": request.tenant} if request.tenant else {}
            adapter = self._lora.get(request.adapter)
            self._vllm.add_request(request_id, {"prompt_embeds": embeds, **salt}, params, lora_request=adapter)

    def _cancel(self) -> None:
        ended = [request_id for request_id, request in self._running.items() if self._queue.is_to_end(request)]
        for request_id in ended:
            request = self._running[request_id]
            request.advance(request.decoding.cancel())
        self._abort(ended)

    def _abort(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            del self._running[request_id]
        self._vllm.abort_request(request_ids)

    def _step(self) -> None:
        """Give each prompt the token that was chosen for it; those that end with it leave."""
        for output in self._vllm.step():
            request = self._running.get(output.request_id)
            if request is None:
                continue
            request.decoding.num_cached_tokens = output.num_cached_tokens or 0
            for token_id in output.outputs[0].token_ids:
                if not request.has_ended:
                    request.advance(request.decoding.add(token_id))
            if output.finished and not request.has_ended:
                error = LlocoError(
                    f"vLLM ended the answer early ({output.outputs[0].finish_reason}) on {self.decoder.name}: give it "
                    "more memory for keys and values, or ask fewer at once"
                )
                request.emit(error)
            if request.has_ended:
                del self._running[output.request_id]
                if not output.finished:
                    self._vllm.abort_request([output.request_id])

    def _check_adapter(self, folder: Path) -> None:
        """Refuse what vLLM would apply wrongly, or has no room for."""
        rank = check_vllm_adapter(folder, self.decoder)
        if rank > self._max_lora_rank:
            raise LlocoError(
                f"adapter {folder} has rank {rank}, this engine takes {self._max_lora_rank}: raise max_lora_rank"
            )
        if len(self._lora) == self._max_adapters:
            raise EngineUnavailableError(
                f"there is no room for adapter {folder}: this vLLM has had {len(self._lora)}, replaced ones too; "
                "start it anew (max_adapters sets how many)"
            )
