"""Prompts that are decoded together: one cache of keys and values, left-padded, that rows join and leave.

A model with sliding-window attention gets whole keys and values and masks them itself, which is exact. Does not know
about sampling, answers or threads.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lloco.adapters.base_model import base_model
from lloco.engine.growing_cache import GrowingCache
from lloco.engine.named_adapters import inference
from lloco.engine.prefix_cache import Prefix
from lloco.errors import LlocoError
from lloco.fast_llama.forward import LlamaForward, forward_for
from lloco.models.decoder import Decoder
from lloco.prompts.batch import collate
from lloco.prompts.prompt import Prompt

_PIECE_LEN = 2048
"""Positions, padding included, of one forward over prompts: memory beside keys and values does not grow with them."""


class DecodeBatch:
    """The rows between two tokens, in the order in which they came."""

    def __init__(self, cache: GrowingCache, attention_mask: Tensor, peft_names: Sequence[str]) -> None:
        self._cache = cache
        self._attention_mask = attention_mask
        self._peft_names = list(peft_names)
        self._is_padded = not bool(attention_mask.all())
        self._fast_forward: LlamaForward | None = None
        self._is_chosen = False
        """Whether it is known which forward reads these rows."""

    @classmethod
    def read(
        cls,
        decoder: Decoder,
        prompts: Sequence[Prompt],
        peft_names: Sequence[str],
        prefixes: Sequence[Prefix] = (),
    ) -> tuple["DecodeBatch", Tensor]:
        """Read the prompts, each with its adapter; returns the logits (batch, vocab_size) of the first answer token.

        `prefixes`, one for each prompt where any are given, are the beginnings that need not be read again.

        Raises:
            MismatchError: a soft prompt was made for a decoder of another width, or holds NaN or infinity.
        """
        num_new = num_read(prompts, prefixes)
        with torch.no_grad(), decoder.lock:
            embeds = collate([_last(prompt, num_new) for prompt in prompts], decoder, padding_side="left").inputs_embeds
        cache = _filled_cache(prefixes, [max(prompt.length - num_new, 0) for prompt in prompts])
        mask = _left_padded([prompt.length for prompt in prompts], decoder.device)
        batch = cls(cache, mask, peft_names)
        position_ids = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -num_new:]
        num_before = mask.shape[1] - num_new
        piece_len = max(_PIECE_LEN // len(prompts), 1)
        for start in range(0, num_new, piece_len):
            piece = slice(start, start + piece_len)
            batch._attention_mask = mask[:, : num_before + start + piece_len]
            logits = batch._forward(decoder, position_ids[:, piece], inputs_embeds=embeds[:, piece])
        return batch, logits

    def step(self, decoder: Decoder, token_ids: Sequence[int]) -> Tensor:
        """Read one more token per row; returns the logits (batch, vocab_size) of the next."""
        position_ids = self._attention_mask.sum(dim=1, keepdim=True)
        self._attention_mask = pad(self._attention_mask, (0, 1), value=1)
        input_ids = torch.tensor(token_ids, device=decoder.device)[:, None]
        return self._forward(decoder, position_ids, input_ids=input_ids)

    def prefix(self, row: int, length: int) -> Prefix:
        """Copy the keys and values of a row's first positions."""
        gap = int(self._attention_mask[row].argmax())
        return Prefix(
            [layer.keys[row, :, gap : gap + length].clone() for layer in self._layers],
            [layer.values[row, :, gap : gap + length].clone() for layer in self._layers],
        )

    def join(self, other: "DecodeBatch") -> None:
        """Append the other batch's rows, of the same decoder; both are left-padded to the longer one's length.

        The other batch is empty afterwards: its memory is freed layer by layer, or all rows would be held twice.
        """
        own_len, other_len = self._attention_mask.shape[1], other._attention_mask.shape[1]
        own_gap, other_gap = max(other_len - own_len, 0), max(own_len - other_len, 0)
        self._attention_mask = torch.cat(
            [pad(self._attention_mask, (own_gap, 0)), pad(other._attention_mask, (other_gap, 0))]
        )
        for layer, arrived in zip(self._layers, other._layers, strict=True):
            layer.replace(
                torch.cat([_pad_left(layer.keys, own_gap), _pad_left(arrived.keys, other_gap)]),
                torch.cat([_pad_left(layer.values, own_gap), _pad_left(arrived.values, other_gap)]),
            )
            nothing = layer.keys.new_empty(0)
            arrived.replace(nothing, nothing)
        self._rows_changed([*self._peft_names, *other._peft_names])

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, at least one, and the padding that no row needs any more."""
        mask = self._attention_mask[list(rows)]
        gap = int(mask.argmax(dim=1).min())
        self._attention_mask = mask[:, gap:]
        for layer in self._layers:
            layer.replace(layer.keys[list(rows), :, gap:], layer.values[list(rows), :, gap:])
        self._rows_changed([self._peft_names[row] for row in rows])

    @property
    def _layers(self) -> Sequence[Any]:
        """Holders of `keys` and `values` (batch, num_key_value_heads, seq_len, head_dim)."""
        return self._cache.layers

    def _rows_changed(self, peft_names: Sequence[str]) -> None:
        self._is_padded = not bool(self._attention_mask.all())
        if len({*self._peft_names, *peft_names}) > 1:
            self._is_chosen = False  # the forward was made for the adapters of the rows before
        self._peft_names = list(peft_names)

    def _forward(self, decoder: Decoder, position_ids: Tensor, **inputs: Tensor) -> Tensor:
        """Read new positions, given as `input_ids` or `inputs_embeds`; returns the logits behind the last."""
        with decoder.lock, torch.no_grad():
            if not self._is_chosen:
                self._fast_forward, self._is_chosen = forward_for(decoder.model, self._peft_names), True
            if self._fast_forward is not None:
                embeds = inputs["inputs_embeds"] if "inputs_embeds" in inputs else decoder.embed(inputs["input_ids"])
                mask = self._attention_mask if self._is_padded else None
                return self._fast_forward.next_logits(embeds, position_ids, mask, self._cache)
            with inference(decoder.model, self._peft_names) as adapter_names:
                output = decoder.model(
                    attention_mask=self._attention_mask,
                    position_ids=position_ids,
                    past_key_values=self._cache,
                    use_cache=True,
                    **_last_logits_only(decoder),
                    **inputs,
                    **adapter_names,
                )
        logits: Tensor = output.logits[:, -1]
        return logits


def num_read(prompts: Sequence[Prompt], prefixes: Sequence[Prefix]) -> int:
    """Return how many positions are read of every prompt: as many as the row with most behind its prefix needs.

    So all rows end together with no padding but on the left, and shorter rows read some of their prefix again.
    """
    behind = [prompt.length - (prefixes[index].length if prefixes else 0) for index, prompt in enumerate(prompts)]
    return max(behind)


def _last(prompt: Prompt, length: int) -> Prompt:
    """Return the prompt without what comes before its last so many positions."""
    pieces: list[Tensor] = []
    for piece in reversed(prompt.pieces):
        if length > 0:
            pieces.insert(0, piece[-length:])
        length -= len(piece)
    return Prompt(tuple(pieces))


def _left_padded(lengths: Sequence[int], device: torch.device) -> Tensor:
    """Return the attention mask (batch, seq_len) int64 of rows of these lengths."""
    gaps = max(lengths) - torch.tensor(lengths, device=device)
    return (torch.arange(max(lengths), device=device) >= gaps[:, None]).to(torch.int64)


def _filled_cache(prefixes: Sequence[Prefix], lengths: Sequence[int]) -> GrowingCache:
    """Return a cache with the first so many positions of each prefix, left-padded."""
    cache = GrowingCache()
    longest = max(lengths)
    if not prefixes or not longest:
        return cache
    for layer in range(len(prefixes[0].keys)):
        keys, values = (
            torch.stack(
                [
                    _pad_left(states[layer][:, :length], longest - length)
                    for states, length in zip(kind, lengths, strict=True)
                ]
            )
            for kind in ([prefix.keys for prefix in prefixes], [prefix.values for prefix in prefixes])
        )
        cache.update(keys, values, layer)
    return cache


def check_cache(decoder: Decoder) -> None:
    """Refuse a model whose state is not keys and values per token, so that rows cannot be padded to one length.

    Raises:
        LlocoError: it has recurrent, convolutional or compressed state, shares keys between layers, or encodes a row's
            positions otherwise beside a long one.
    """
    if decoder.scales_by_longest:
        raise LlocoError(
            "rows that join and leave a batch need positions that are encoded for each row alone, "
            f"{decoder.name} encodes them for the longest (longrope): use TransformersEngine"
        )
    # By type, not by isinstance: layers with a state of another kind inherit from the plain one.
    kinds = {type(layer) for layer in DynamicCache(config=decoder.model.config).layers}
    foreign = sorted(kind.__name__ for kind in kinds - {DynamicLayer, DynamicSlidingWindowLayer})
    if foreign or getattr(decoder.model, "_is_stateful", False):
        raise LlocoError(
            "rows that join and leave a batch need a model that keeps keys and values per token, "
            f"{decoder.name} keeps {', '.join(foreign) or 'a state of another kind'}: use TransformersEngine"
        )


def _last_logits_only(decoder: Decoder) -> dict[str, int]:
    """Logits of a whole prompt would take more memory than its keys and values."""
    forward = base_model(decoder.model).forward
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(forward).parameters else {}


def _pad_left(states: Tensor, gap: int) -> Tensor:
    """Pad keys or values (..., num_key_value_heads, seq_len, head_dim)."""
    return pad(states, (0, 0, gap, 0)) if gap else states
