"""The embedded engine: Hugging Face `generate` over left-padded batches of embeddings, adapters mixed by row (PEFT).

Batched and one at a time give the same greedy tokens in float32. The checkpoint's own generation settings (many sample
by default) are not used. Does not stream and keeps no cache between calls.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from lloco.engine.engine import Generation, SamplingParams
from lloco.errors import LlocoError
from lloco.models.adapter import BASE_ADAPTER, adapter_disabled, load_adapter
from lloco.models.adapter_digest import adapter_digest
from lloco.models.decoder import Decoder
from lloco.prompt import Prompt, collate


class TransformersEngine:
    """Generates with the decoder in this process; calls from several threads wait for one another."""

    def __init__(self, decoder: Decoder, batch_size: int = 8) -> None:
        if batch_size < 1:
            raise LlocoError(f"batch_size is {batch_size}: it must be at least 1")
        self.decoder = decoder
        self.batch_size = batch_size
        present = decoder.model.peft_config if isinstance(decoder.model, PeftModel) else ()
        self._peft_names: dict[str, str] = {name: name for name in present}
        self._digests: dict[str, str] = {}
        self._lock = threading.Lock()

    def add_adapter(self, name: str, folder: Path) -> None:
        """Make the adapter of that folder available under a name; the same adapter again is not loaded twice.

        Raises:
            LlocoError: the name stands for another adapter.
            CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
            MismatchError: the adapter was made for another model.
        """
        with self._lock:
            digest = adapter_digest(folder)
            if name in self._peft_names:
                if self._digests.get(name) == digest:
                    return
                raise LlocoError(
                    f"adapter name {name!r} stands for another adapter than {folder}: use a name of its own"
                )
            loaded = next((other for other in self._digests if self._digests[other] == digest), None)
            if loaded is None:
                # PEFT puts names into module paths, where dots and some prefixes are not allowed.
                model = self.decoder.model
                peft_name = f"adapter-{len(model.peft_config) if isinstance(model, PeftModel) else 0}"
                self.decoder = load_adapter(self.decoder, folder, peft_name)
            else:
                peft_name = self._peft_names[loaded]
            self._peft_names[name], self._digests[name] = peft_name, digest

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        """Return one generation per prompt, in order; `adapters` names each prompt's adapter, None for none.

        Raises:
            LlocoError: a prompt and `max_tokens` do not fit the decoder, or an adapter's name is unknown.
            MismatchError: a soft prompt was made for a decoder of another width.
            CheckpointError: a stop string was given and the decoder has no tokenizer.
        """
        with self._lock:
            self._check_lengths(prompts, sampling)
            rows = self._adapter_rows(len(prompts), adapters)
            order = sorted(range(len(prompts)), key=lambda index: -prompts[index].length)
            # A seeded prompt runs alone: its random numbers must not depend on who shares the batch.
            size = self.batch_size if sampling.is_greedy or sampling.seed is None else 1
            generations: dict[int, Generation] = {}
            for start in range(0, len(order), size):
                batch = order[start : start + size]
                results = self._generate_batch([prompts[i] for i in batch], sampling, [rows[i] for i in batch])
                generations |= zip(batch, results, strict=True)
            return [generations[index] for index in range(len(prompts))]

    def _check_lengths(self, prompts: Sequence[Prompt], sampling: SamplingParams) -> None:
        for index, prompt in enumerate(prompts):
            if prompt.length + sampling.max_tokens > self.decoder.max_len:
                raise LlocoError(
                    f"prompt {index} has {prompt.length} tokens and the answer may take {sampling.max_tokens}, "
                    f"{self.decoder.name} reads {self.decoder.max_len}: shorten or compress the context, or lower "
                    "max_tokens"
                )

    def _adapter_rows(self, num_prompts: int, adapters: Sequence[str | None] | None) -> list[str]:
        names = [None] * num_prompts if adapters is None else list(adapters)
        if len(names) != num_prompts:
            raise LlocoError(f"one adapter name (or None) per prompt was wanted, {len(names)} came for {num_prompts}")
        if unknown := sorted({name for name in names if name is not None} - set(self._peft_names)):
            known = ", ".join(sorted(self._peft_names)) or "none"
            raise LlocoError(f"no adapter is named {unknown[0]!r} (there are: {known}): add it to the engine first")
        return [BASE_ADAPTER if name is None else self._peft_names[name] for name in names]

    def _generate_batch(self, prompts: list[Prompt], sampling: SamplingParams, rows: list[str]) -> list[Generation]:
        decoder, model = self.decoder, self.decoder.model
        inputs = collate(
            prompts,
            decoder.embed,
            hidden_size=decoder.hidden_size,
            dtype=decoder.dtype,
            device=decoder.device,
            padding_side="left",
        )
        ends = _RowEnds(len(prompts), decoder, sampling.stop)
        config = _generation_config(sampling)
        mixed: dict[str, Any] = {"adapter_names": rows} if isinstance(model, PeftModel) else {}
        # Another engine may have put its adapter into this model in place; without names it would be on for all rows.
        base_alone = nullcontext() if mixed else adapter_disabled(model)
        with torch.no_grad(), base_alone, _seeded(sampling, decoder.device), _settings(model, config):
            generated: Tensor = model.generate(  # type: ignore[operator]
                inputs_embeds=inputs.inputs_embeds,
                attention_mask=inputs.attention_mask,
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([ends]),
                **mixed,
            )
        return [
            self._generation(prompt, token_ids[:end], end is not None, sampling.stop)
            for prompt, token_ids, end in zip(prompts, generated.tolist(), ends.lengths, strict=True)
        ]

    def _generation(self, prompt: Prompt, token_ids: list[int], is_ended: bool, stop: tuple[str, ...]) -> Generation:
        text = "" if self.decoder.tokenizer is None else _decode(self.decoder.tokenizer, token_ids)
        cut = min((text.index(string) for string in stop if string in text), default=None)
        return Generation(
            text=text[:cut],
            token_ids=tuple(token_ids),
            num_prompt_tokens=prompt.length,
            finish_reason="stop" if is_ended or cut is not None else "length",
        )


class _RowEnds(StoppingCriteria):
    """Notes the length at which each row met EOS or a stop string, so that no padding token has to tell it."""

    def __init__(self, num_rows: int, decoder: Decoder, stop: tuple[str, ...]) -> None:
        self.lengths: list[int | None] = [None] * num_rows
        self._eos_token_ids = decoder.eos_token_ids
        self._stop = stop
        self._tokenizer = decoder.require_tokenizer() if stop else None
        # Every token but a special one writes a byte or more, so a stop string lies within this many last tokens.
        self._window = max((len(string.encode()) for string in stop), default=0) + 8

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        for row, token_id in enumerate(input_ids[:, -1].tolist()):
            if self.lengths[row] is None and (token_id in self._eos_token_ids or self._has_stop(input_ids[row])):
                self.lengths[row] = input_ids.shape[1]
        return torch.tensor([length is not None for length in self.lengths], device=input_ids.device)

    def _has_stop(self, token_ids: Tensor) -> bool:
        if self._tokenizer is None:
            return False
        text = _decode(self._tokenizer, token_ids[-self._window :].tolist())
        return any(string in text for string in self._stop)


def _decode(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> str:
    return str(tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _generation_config(sampling: SamplingParams) -> GenerationConfig:
    """Leave EOS out: `_RowEnds` ends rows, and so a decoder needs no padding token."""
    choice: dict[str, Any] = {"do_sample": False}
    if not sampling.is_greedy:
        choice = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return GenerationConfig(max_new_tokens=sampling.max_tokens, **choice)  # type: ignore[no-untyped-call]


@contextmanager
def _settings(model: PreTrainedModel, config: GenerationConfig) -> Iterator[None]:
    """Generate in eval mode with these settings alone: `generate` fills what they leave open from the model's own."""
    base: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model
    own, was_training = base.generation_config, model.training
    base.generation_config = config
    model.train(False)
    try:
        yield
    finally:
        base.generation_config = own
        model.train(was_training)


@contextmanager
def _seeded(sampling: SamplingParams, device: torch.device) -> Iterator[None]:
    """Sample from the seed inside the block and leave the process's random numbers as they were."""
    if sampling.is_greedy or sampling.seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(sampling.seed)
        yield
