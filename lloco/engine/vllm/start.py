"""Starting vLLM on a decoder's weights, and the words it is spoken to in: embeddings and its own sampling settings.

vLLM is an extra and is imported when the first engine is made.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from lloco.engine.decoding import Decoding
from lloco.engine.engine import SamplingParams
from lloco.engine.named_adapters import known_names
from lloco.engine.request_queue import Request
from lloco.errors import LlocoError, MismatchError
from lloco.models.decoder import Decoder, dtype_name
from lloco.models.quiet import quiet_transformers
from lloco.prompts.batch import collate
from lloco.prompts.prompt import Prompt

BLOCK_LEN = 32
"""Positions whose keys and values are cached together: what vLLM's kernels for CPUs ask for."""


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


def embedded_requests(
    decoder: Decoder,
    prompts: Mapping[str, Prompt],
    sampling: SamplingParams,
    adapters: Sequence[str | None] | None,
    digests: Mapping[str, str],
) -> list[Request]:
    """Check everything that can be refused; prompts, by what to call them, become the embeddings that vLLM reads.

    Args:
        decoder: embeds.
        prompts: by what messages call them.
        sampling: of all.
        adapters: a name or None for each prompt.
        digests: of the adapters that there are, by name; a request knows its adapter by it.

    Raises:
        LlocoError: a prompt does not fit, or an adapter's name is unknown.
        MismatchError: as `prompt_embeds`.
    """
    decodings = [Decoding(decoder, prompt, sampling, name) for name, prompt in prompts.items()]
    names = known_names(len(prompts), adapters, digests)
    chosen = [None if name is None else digests[name] for name in names]
    embedded = [replace(prompt, pieces=(prompt_embeds(prompt, decoder),)) for prompt in prompts.values()]
    return [Request(*parts) for parts in zip(embedded, chosen, decodings, strict=True)]


def cpu_kv_cache_bytes(decoder: Decoder, batch_size: int) -> int:
    """Return the bytes of keys and values of so many prompts as long as the decoder reads, 4 GiB at most."""
    config = decoder.model.config.get_text_config()
    num_heads: int = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_position: int = 2 * config.num_hidden_layers * num_heads * head_dim * decoder.dtype.itemsize
    return min(max(per_position * (decoder.max_len + BLOCK_LEN) * batch_size, 64 << 20), 4 << 30)


def start_vllm(decoder: Decoder, options: dict[str, Any]) -> Any:
    """Hand the decoder's weights over and return vLLM's engine, which runs in this process."""
    linear = [
        name.rpartition(".")[2]
        for name, module in decoder.model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not decoder.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    ]
    if any(isinstance(module, BaseTunerLayer) for module in decoder.model.modules()):
        raise LlocoError(f"{decoder.name} carries an adapter: load the decoder again and add the adapter to the engine")
    if decoder.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(decoder.device)
        options["gpu_memory_utilization"] = 0.9 * free / total
    if decoder.max_len > decoder.declared_len:
        raise LlocoError(
            f"vLLM reads no more positions than {decoder.name} declares, {decoder.declared_len:,}, got "
            f"{decoder.max_len:,}: leave --max-positions out, or use the transformers engine"
        )
    import_vllm()
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
                dtype=dtype_name(decoder.dtype),
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
                f"vLLM cannot run {decoder.name}: {reason}; use the transformers engine, or change what it names"
            ) from error


def import_vllm() -> None:
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


def vllm_params(sampling: SamplingParams, eos_token_ids: Sequence[int]) -> Any:
    """Translate the settings; text is none of vLLM's business, so that all engines cut it alike."""
    from vllm.sampling_params import RequestOutputKind
    from vllm.sampling_params import SamplingParams as VllmSamplingParams

    return VllmSamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop_token_ids=list(eos_token_ids),
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
