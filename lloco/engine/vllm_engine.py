"""vLLM in this process behind the engine protocol: paged keys and values, prefixes read once, adapters mixed by row.

It gets the decoder's own weights as a plain checkpoint and every prompt as embeddings in our one layout; answers end
and are cut where `Decoding` says, as in every engine. What vLLM 0.32 answers wrongly or dies of is kept from it here.
vLLM is an extra and is imported when the first engine is made.
"""

import itertools
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from lloco.engine.decoding import Decoding
from lloco.engine.engine import Generation, SamplingParams
from lloco.errors import CheckpointError, LlocoError, MismatchError
from lloco.models.adapter import check_adapter, read_adapter
from lloco.models.adapter_digest import adapter_digest
from lloco.models.decoder import Decoder, quiet_transformers
from lloco.prompt import Prompt, collate

BLOCK_LEN = 32
"""Positions whose keys and values are cached together: what vLLM's kernels for CPUs ask for."""
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for."""


class VllmEngine:
    """Generates with vLLM; threads wait for one another."""

    def __init__(
        self,
        decoder: Decoder,
        batch_size: int = 8,
        *,
        max_adapters: int = 1,
        max_lora_rank: int = 64,
        kv_cache_bytes: int | None = None,
        max_read_len: int | None = None,
    ) -> None:
        """Start vLLM on the decoder's weights.

        Args:
            decoder: without an adapter; it embeds prompts and keeps the weights that it has.
            batch_size: prompts that are answered at once.
            max_adapters: adapters that can be added.
            max_lora_rank: rank that an adapter may have.
            kv_cache_bytes: memory for keys and values; vLLM's choice when not given.
            max_read_len: positions that are read in one step; vLLM's choice when not given.

        Raises:
            LlocoError: vLLM is not installed or cannot run the model, or a number is below 1.
        """
        for name, value in (("batch_size", batch_size), ("max_adapters", max_adapters)):
            if value < 1:
                raise LlocoError(f"{name} is {value}: it must be at least 1")
        self.decoder = decoder
        self._max_adapters, self._max_lora_rank = max_adapters, max_lora_rank
        self._lora: dict[str, Any] = {}
        self._digests: dict[str, str] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        options: dict[str, Any] = {
            "max_num_seqs": batch_size,
            # One slot stays empty: on a CPU, rows without an adapter would get the last slot's.
            "max_loras": max_adapters + 1,
            "max_cpu_loras": max_adapters + 1,
            "max_lora_rank": next((rank for rank in LORA_RANKS if rank >= max_lora_rank), LORA_RANKS[-1]),
        }
        if kv_cache_bytes is not None:
            options["kv_cache_memory_bytes"] = kv_cache_bytes
        if decoder.device.type == "cpu":
            max_read_len = max_read_len or max(decoder.max_len, 2048)
        if max_read_len is not None:
            options["max_num_batched_tokens"] = max_read_len
        self._max_read_len = max_read_len
        self._vllm = _start(decoder, options)

    def add_adapter(self, name: str, folder: Path) -> None:
        """Load the adapter of that folder under a name; the same adapter again is not loaded twice.

        Raises:
            LlocoError: the name stands for another adapter, there is no room, or vLLM cannot apply it.
            CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
            MismatchError: the adapter was made for another model.
        """
        from vllm.lora.request import LoRARequest

        with self._lock:
            digest = adapter_digest(folder)
            if name in self._digests:
                if self._digests[name] == digest:
                    return
                raise LlocoError(
                    f"adapter name {name!r} stands for another adapter than {folder}: use a name of its own"
                )
            if digest not in self._lora:
                self._check_adapter(folder)
                # vLLM knows cached prefixes by this name, which therefore must never stand for other weights.
                request = LoRARequest(f"lloco-{digest}", len(self._lora) + 1, str(folder.resolve()))
                self._vllm.add_lora(request)
                self._lora[digest] = request
            self._digests[name] = digest

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        """Return one generation per prompt, in order; `adapters` names each prompt's adapter, None for none.

        Raises:
            LlocoError: a prompt and `max_tokens` do not fit the decoder, or an adapter's name is unknown.
            MismatchError: a soft prompt was made for a decoder of another width, or holds NaN, infinity or zero rows.
            CheckpointError: a stop string was given and the decoder has no tokenizer.
        """
        decodings = [Decoding(self.decoder, prompt, sampling, f"prompt {i}") for i, prompt in enumerate(prompts)]
        requests = self._lora_requests(len(prompts), adapters)
        embeds = [prompt_embeds(prompt, self.decoder) for prompt in prompts]
        work = list(zip(decodings, embeds, requests, strict=True))
        size = max(len(work), 1)
        if sampling.seed is not None and not sampling.is_greedy and self.decoder.device.type == "cpu":
            # vLLM rewinds the random numbers of a prompt read in part, which it cannot do on a CPU.
            self._check_read_at_once(prompts)
            size = 1
        with self._lock:
            for start in range(0, len(work), size):
                self._run(work[start : start + size], sampling)
        return [decoding.generation for decoding in decodings]

    def _run(self, work: Sequence[tuple[Decoding, Tensor, Any]], sampling: SamplingParams) -> None:
        running: dict[str, Decoding] = {}
        try:
            for decoding, embeds, lora_request in work:
                request_id = str(next(self._numbers))
                params = _vllm_params(sampling, self.decoder)
                self._vllm.add_request(request_id, {"prompt_embeds": embeds}, params, lora_request=lora_request)
                running[request_id] = decoding
            while running:
                self._step(running)
        finally:
            self._vllm.abort_request(list(running))

    def _check_read_at_once(self, prompts: Sequence[Prompt]) -> None:
        longest = max((prompt.length for prompt in prompts), default=0)
        if self._max_read_len is not None and longest > self._max_read_len:
            raise LlocoError(
                f"sampling with a seed reads a prompt in one step on a CPU, one of {longest} positions came for steps "
                f"of {self._max_read_len}: leave the seed out, or raise max_read_len"
            )

    def _step(self, running: dict[str, Decoding]) -> None:
        """Give each prompt the token that was chosen for it; those that end with it leave."""
        for output in self._vllm.step():
            decoding = running.get(output.request_id)
            if decoding is None:
                continue
            for token_id in output.outputs[0].token_ids:
                if decoding.finish_reason is None:
                    decoding.add(token_id)
            if decoding.finish_reason is not None:
                del running[output.request_id]
                if not output.finished:
                    self._vllm.abort_request([output.request_id])
            elif output.finished:
                raise LlocoError(
                    f"an answer was wanted, vLLM ended it early ({output.outputs[0].finish_reason}) on "
                    f"{self.decoder.name}: give it more memory for keys and values, or ask fewer at once"
                )

    def _lora_requests(self, num_prompts: int, names: Sequence[str | None] | None) -> list[Any]:
        names = [None] * num_prompts if names is None else list(names)
        if len(names) != num_prompts:
            raise LlocoError(f"one adapter name (or None) per prompt was wanted, {len(names)} came for {num_prompts}")
        if unknown := sorted({name for name in names if name is not None} - set(self._digests)):
            known = ", ".join(sorted(self._digests)) or "none"
            raise LlocoError(f"no adapter is named {unknown[0]!r} (there are: {known}): add it to the engine first")
        return [None if name is None else self._lora[self._digests[name]] for name in names]

    def _check_adapter(self, folder: Path) -> None:
        """Refuse what vLLM would apply wrongly without a word."""
        check_adapter(folder, self.decoder)
        config, _ = read_adapter(folder)
        if config.rank_pattern or config.alpha_pattern:
            raise CheckpointError(
                f"one rank and scale for all modules was wanted, {folder} has patterns, which vLLM ignores: use the "
                "transformers engine"
            )
        if config.r > self._max_lora_rank:
            raise LlocoError(
                f"adapter {folder} has rank {config.r}, this engine takes {self._max_lora_rank}: raise max_lora_rank"
            )
        if len(self._lora) == self._max_adapters:
            raise LlocoError(
                f"adapter {folder} came, this engine holds {len(self._lora)}, the most it was made for: raise "
                "max_adapters"
            )


def prompt_embeds(prompt: Prompt, decoder: Decoder) -> Tensor:
    """Return what vLLM is to read, (length, hidden_size) on the CPU in the decoder's dtype.

    Raises:
        MismatchError: a soft prompt is of another width, or holds NaN, infinity or a row of zeros.
    """
    for piece in prompt.pieces:
        if piece.is_floating_point() and not bool(piece.any(dim=1).all()):
            raise MismatchError(
                f"a soft prompt of {len(piece)} virtual tokens holds a row of zeros, which vLLM takes for padding: "
                "compress the document again"
            )
    with torch.no_grad(), decoder.lock:
        return collate([prompt], decoder, padding_side="left").inputs_embeds[0].cpu()


def _start(decoder: Decoder, options: dict[str, Any]) -> Any:
    """Hand the decoder's weights over and return vLLM's engine, which runs in this process."""
    linear = [
        name.rpartition(".")[2]
        for name, module in decoder.model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not decoder.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    ]
    if any(isinstance(module, BaseTunerLayer) for module in decoder.model.modules()):
        raise LlocoError(
            f"a model without an adapter was wanted, {decoder.name} carries one: load the decoder again and add the "
            "adapter to the engine"
        )
    if decoder.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(decoder.device)
        options["gpu_memory_utilization"] = 0.9 * free / total
    _import_vllm()
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine
    from vllm.v1.executor import Executor

    with tempfile.TemporaryDirectory(prefix="lloco-vllm-") as folder:
        with decoder.lock, quiet_transformers():
            decoder.model.save_pretrained(folder)
        try:
            config = EngineArgs(
                model=folder,
                skip_tokenizer_init=True,
                use_tqdm_on_load=False,
                dtype=str(decoder.dtype).removeprefix("torch."),
                max_model_len=decoder.max_len,
                block_size=BLOCK_LEN,
                enable_prompt_embeds=True,
                enable_prefix_caching=True,
                enforce_eager=decoder.device.type == "cpu",
                distributed_executor_backend="uni",
                generation_config="vllm",
                enable_lora=True,
                # Without these vLLM wraps the embedding too, and dies of prompts that are embeddings already.
                lora_target_modules=sorted(set(linear)),
                **options,
            ).create_engine_config()
            return LLMEngine(config, Executor.get_class(config), log_stats=False)
        except (ValueError, RuntimeError, NotImplementedError, AssertionError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise LlocoError(
                f"{decoder.name} was to be run by vLLM, which refused: {reason}; use the transformers engine, or "
                "change what it names"
            ) from error


def _import_vllm() -> None:
    """Import vLLM: in one process, with its messages on standard error, where results are not, and no reports of use.

    Only variables of the environment can say so, and the user's own go before.
    """
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        raise LlocoError(
            f"the vLLM engine needs vLLM, which cannot be imported here ({error}): `pip install 'lloco[vllm]'` on "
            "Linux with a GPU, or use the transformers engine"
        ) from error


def _vllm_params(sampling: SamplingParams, decoder: Decoder) -> Any:
    """Translate the settings; text is none of vLLM's business, so that all engines cut it alike."""
    from vllm.sampling_params import RequestOutputKind
    from vllm.sampling_params import SamplingParams as VllmSamplingParams

    return VllmSamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop_token_ids=list(decoder.eos_token_ids),
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
