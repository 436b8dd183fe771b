"""Keys and values of a document, all of them or those that a method of kvpress keeps, read in place of its text.

The document is read before any question is known, as a store of documents needs it; what is left of its cache stands
before every question, which keeps the position that it would have after the whole text. kvpress (NVIDIA) is an extra
to install; importing it wraps transformers' attention functions. Does not know how answers are scored.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from benchmarks.rivals.timed_engine import Step
from lloco.adapters.base_model import BASE_ADAPTER
from lloco.engine.growing_cache import GrowingCache
from lloco.engine.named_adapters import inference
from lloco.engine.prefix_cache import Prefix, prefix_length
from lloco.errors import LlocoError
from lloco.fast_llama.forward import forward_for
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt

Fitted = Callable[[int], dict[str, int]]
"""Options of a method that may keep so many positions."""
_SINKS = 4
_WINDOW = 64


def _no_options(num_kept: int) -> dict[str, int]:
    return {}


def _sinks(num_kept: int) -> dict[str, int]:
    """The first positions, which are always kept, take half of what is kept at most."""
    return {"n_sink": min(_SINKS, num_kept // 2)}


def _window(num_kept: int) -> dict[str, int]:
    """The last positions, which are always kept, take half of what is kept at most."""
    return {"window_size": max(1, min(_WINDOW, num_kept // 2))}


PRESSES: Mapping[str, tuple[str, Fitted]] = {
    "snapkv": ("SnapKVPress", _window),
    "expected-attention": ("ExpectedAttentionPress", _sinks),
    "streaming-llm": ("StreamingLLMPress", _sinks),
    "knorm": ("KnormPress", _no_options),
}
"""Methods by the name of their row: kvpress's class, and options that suit few kept positions.

SnapKV: arXiv 2404.14469. Expected attention: arXiv 2510.00636. StreamingLLM: arXiv 2309.17453. Key norms: arXiv
2406.11430.
"""


def why_no_press(decoder: Decoder) -> str | None:
    """Say why kvpress cannot be used with this decoder; None where it can."""
    try:
        from kvpress.presses.base_press import SUPPORTED_MODELS
    except ImportError as error:
        return f"kvpress is not there ({error}): make an environment of its own with pip install 'lloco[rivals]'"
    if not isinstance(decoder.model, SUPPORTED_MODELS):
        return f"kvpress knows no {type(decoder.model).__name__}: name a compressor of another decoder"
    return None


class KeptKeys:
    """Reads prompts from the keys and values of what stands before the question."""

    def __init__(self, method: str | None = None, num_kept: int | None = None) -> None:
        """Keep so many positions of a document by a method of `PRESSES`; without a method all of them."""
        self._method, self._num_kept = method, num_kept
        self._length = 0
        self._text: Tensor | None = None
        self._prefix: Prefix | None = None

    @property
    def num_bytes(self) -> int:
        """Size of the keys and values that are kept of the last prompt's document."""
        return 0 if self._prefix is None else self._prefix.num_bytes

    def prepare(self, decoder: Decoder, prompt: Prompt) -> None:
        """Read what stands before the question, unless the last prompt began with it, and keep what is to be kept."""
        pieces = prompt.pieces[:-1]
        if any(piece.is_floating_point() for piece in pieces) or not pieces:
            raise LlocoError(
                "the prompt has no text before the question whose keys and values could be kept: read it in full"
            )
        text = torch.cat(pieces)
        if self._text is None or not torch.equal(text, self._text):
            self._prefix = self._read(decoder, text, prompt)
            self._text, self._length = text, len(text)

    def begin(self, decoder: Decoder, prompt: Prompt, peft_name: str) -> tuple[Tensor, Step, int]:
        """Read the question after the keys and values that were kept."""
        assert self._prefix is not None, "prepare comes first"
        cache, question = GrowingCache(), prompt.pieces[-1]
        for layer, (keys, values) in enumerate(zip(self._prefix.keys, self._prefix.values, strict=True)):
            cache.update(keys[None], values[None], layer)
        num_dropped = self._length - self._prefix.length
        # What reads whole prompts reads these too, so that times compare.
        forward = forward_for(decoder.model, [BASE_ADAPTER])

        def read(ids: Tensor) -> Tensor:
            if forward is None:
                return _forward(decoder, cache, ids, num_dropped)
            with decoder.lock, torch.no_grad():
                first = cache.get_seq_length() + num_dropped
                places = torch.arange(first, first + len(ids), device=decoder.device)
                return forward.next_logits(decoder.embed(ids.to(decoder.device)[None]), places[None], None, cache)

        return read(question), lambda token_id: read(torch.tensor([token_id])), num_dropped

    def _read(self, decoder: Decoder, text: Tensor, prompt: Prompt) -> Prefix:
        cache = DynamicCache()
        around = prefix_length(prompt) - prompt.num_context_tokens
        with self._press(decoder, len(text), around):
            _forward(decoder, cache, text)
        layers: Any = cache.layers
        return Prefix([layer.keys[0].clone() for layer in layers], [layer.values[0].clone() for layer in layers])

    def _press(self, decoder: Decoder, length: int, around: int) -> AbstractContextManager[object]:
        """Return what makes the cache smaller while it is filled; words around the document do not count as its own."""
        if self._method is None or self._num_kept is None or self._num_kept + around >= length:
            return nullcontext()
        import kvpress

        name, options_for = PRESSES[self._method]
        num_kept = self._num_kept + around
        # Its ratio is the share that is removed, and what is left is rounded down.
        press = getattr(kvpress, name)(compression_ratio=1 - (num_kept + 0.5) / length, **options_for(num_kept))
        inside: AbstractContextManager[object] = press(decoder.model)
        return inside


def _forward(decoder: Decoder, cache: Cache, ids: Tensor, num_dropped: int = 0) -> Tensor:
    """Read ids after what the cache holds and what it held once; returns the logits (1, vocab_size) of the next."""
    num_before = cache.get_seq_length()
    with decoder.lock, inference(decoder.model, [BASE_ADAPTER]) as adapter_names:
        ids = ids.to(decoder.device)
        places = torch.arange(num_before, num_before + len(ids), device=decoder.device)
        output = decoder.model(
            input_ids=ids[None].long(),
            attention_mask=torch.ones(1, num_before + len(ids), dtype=torch.int64, device=decoder.device),
            position_ids=places[None] + num_dropped,
            # For kvpress, which asks whether this is the first read; newer transformers do not count for it.
            cache_position=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **adapter_names,
        )
    logits: Tensor = output.logits[:, -1]
    return logits
