"""The embedded engine: Hugging Face `generate` over left-padded batches of embeddings, adapters mixed by row (PEFT).

Batched and one at a time give the same greedy tokens in float32. The checkpoint's own generation settings (many sample
by default) are not used. Does not stream and keeps no cache between calls.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from lloco.adapters.base_model import base_model
from lloco.engine.decoding import Decoding
from lloco.engine.engine import Generation, SamplingParams
from lloco.engine.named_adapters import NamedAdapters, inference
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.batch import collate
from lloco.prompts.prompt import Prompt


class TransformersEngine:
    """Generates with the decoder in this process; threads that run its model, to compress too, wait for one another."""

    name = "transformers"

    def __init__(self, decoder: Decoder, batch_size: int = 8) -> None:
        if batch_size < 1:
            raise LlocoError(f"batch_size is {batch_size}: it must be at least 1")
        self.batch_size = batch_size
        self._adapters = NamedAdapters(decoder)

    @property
    def decoder(self) -> Decoder:
        """The model that reads the prompts, with the adapters that were added."""
        return self._adapters.decoder

    def add_adapter(self, name: str, folder: Path) -> None:
        """Make the adapter of that folder available under a name, as `NamedAdapters.add`."""
        self._adapters.add(name, folder)

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        """Return one generation per prompt, in order; `adapters` names each prompt's adapter, None for none.

        Raises:
            LlocoError: a prompt and `max_tokens` do not fit the decoder, or an adapter's name is unknown.
            MismatchError: a soft prompt was made for a decoder of another width.
            CheckpointError: a stop string was given and the decoder has no tokenizer.
        """
        with self.decoder.lock:
            decodings = [Decoding(self.decoder, prompt, sampling, f"prompt {i}") for i, prompt in enumerate(prompts)]
            rows = self._adapters.peft_names(len(prompts), adapters)
            order = sorted(range(len(prompts)), key=lambda index: -prompts[index].length)
            # A seeded prompt runs alone: its random numbers must not depend on who shares the batch.
            is_seeded = not sampling.is_greedy and sampling.seed is not None
            size = 1 if is_seeded or self.decoder.scales_by_longest else self.batch_size
            for start in range(0, len(order), size):
                batch = order[start : start + size]
                ends = _RowEnds([decodings[i] for i in batch])
                self._generate_batch([prompts[i] for i in batch], sampling, [rows[i] for i in batch], ends)
            return [decoding.generation for decoding in decodings]

    def _generate_batch(
        self, prompts: list[Prompt], sampling: SamplingParams, rows: list[str], ends: "_RowEnds"
    ) -> None:
        decoder, model = self.decoder, self.decoder.model
        inputs = collate(prompts, decoder, padding_side="left")
        config = _generation_config(sampling)
        with inference(model, rows) as adapter_names, _seeded(sampling, decoder.device), _settings(model, config):
            model.generate(  # type: ignore[operator]
                inputs_embeds=inputs.inputs_embeds,
                attention_mask=inputs.attention_mask,
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([ends]),
                **adapter_names,
            )


class _RowEnds(StoppingCriteria):
    """Gives each row its tokens until it ends, so that no padding token has to tell it."""

    def __init__(self, decodings: Sequence[Decoding]) -> None:
        self._decodings = decodings

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        for decoding, token_id in zip(self._decodings, input_ids[:, -1].tolist(), strict=True):
            if decoding.finish_reason is None:
                decoding.add(token_id)
        has_ended = [decoding.finish_reason is not None for decoding in self._decodings]
        return torch.tensor(has_ended, device=input_ids.device)


def _generation_config(sampling: SamplingParams) -> GenerationConfig:
    """Leave EOS out: `_RowEnds` ends rows, and so a decoder needs no padding token."""
    choice: dict[str, Any] = {"do_sample": False}
    if not sampling.is_greedy:
        choice = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return GenerationConfig(max_new_tokens=sampling.max_tokens, **choice)  # type: ignore[no-untyped-call]


@contextmanager
def _settings(model: PreTrainedModel, config: GenerationConfig) -> Iterator[None]:
    """Generate with these settings alone: `generate` fills what they leave open from the model's own."""
    base = base_model(model)
    own = base.generation_config
    base.generation_config = config
    try:
        yield
    finally:
        base.generation_config = own


@contextmanager
def _seeded(sampling: SamplingParams, device: torch.device) -> Iterator[None]:
    """Sample from the seed inside the block and leave the process's random numbers as they were."""
    if sampling.is_greedy or sampling.seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(sampling.seed)
        yield
