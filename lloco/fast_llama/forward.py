"""A forward of Llama-shaped models, every row with its own adapter and little around the arithmetic.

What transformers and PEFT do around each module takes several times as long as a small model's products, and keys and
values of grouped queries are copied for every query where rows are padded; here they are read once for each group. The
weights are the model's own, nothing is copied but the small matrices of adapters that share a batch. Computes what the
model computes, up to rounding. Inference only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache

from lloco.adapters.base_model import BASE_ADAPTER
from lloco.fast_llama.supported import base_and_body, can_read, layer_linears


def forward_for(model: nn.Module, peft_names: Sequence[str] = ()) -> "LlamaForward | None":
    """Return a forward of this model for rows with these adapters, or None where the model's own has to be used.

    Args:
        model: any model; its adapters must not change while the forward is used.
        peft_names: names each row's adapter as PEFT does; without names no row has one, and a model that carries LoRA
            is left to its own forward.
    """
    has_unnamed = not peft_names and any(isinstance(module, BaseTunerLayer) for module in model.modules())
    return None if has_unnamed or not can_read(model) else LlamaForward(model, peft_names)


class LlamaForward:
    """Reads positions of a batch whose rows have these adapters; `forward_for` makes it where it can read the model."""

    def __init__(self, model: nn.Module, peft_names: Sequence[str] = ()) -> None:
        """Gather the weights, which are the model's own."""
        base, body = base_and_body(model)
        rows = _RowAdapters(peft_names, base.device)
        self._embed_rotations = body.rotary_emb
        self._layers = [_Layer.of(layer, rows) for layer in body.layers]
        self._group_size = body.config.num_attention_heads // body.config.num_key_value_heads
        self._kv_width = body.config.num_key_value_heads * self._layers[0].head_dim
        self._norm = _RmsNorm.of(body.norm)
        self._output = None if base is body else base.lm_head

    def encode(self, inputs_embeds: Tensor, is_token: Tensor | None, *, is_causal: bool) -> Tensor:
        """Read rows from their beginning and keep nothing.

        Args:
            inputs_embeds: (batch, seq_len, hidden_size).
            is_token: (batch, seq_len), False where nobody looks; None where all is to be seen.
            is_causal: whether a position sees those up to itself, else all of its row.

        Returns:
            The states (batch, seq_len, hidden_size) behind the final norm.
        """
        seq_len, device = inputs_embeds.shape[1], inputs_embeds.device
        if is_causal:
            view = self._view(is_token, 0, seq_len, device)
        else:
            view = _View(None if is_token is None else is_token[:, None, None].bool(), True)
        return self._norm(self._read(inputs_embeds, torch.arange(seq_len, device=device)[None], view, None))

    def next_logits(
        self, inputs_embeds: Tensor, position_ids: Tensor, attention_mask: Tensor | None, cache: Cache
    ) -> Tensor:
        """Read new positions behind those in the cache, which grows by them.

        Args:
            inputs_embeds: (batch, num_new, hidden_size).
            position_ids: (batch, num_new).
            attention_mask: (batch, num_before + num_new), 0 where a row is padded on its left; None where none is.
            cache: keys and values of the `num_before` positions.

        Returns:
            The logits (batch, vocab_size) behind the last position.
        """
        assert self._output is not None
        num_new, num_before = inputs_embeds.shape[1], cache.get_seq_length()
        view = self._view(attention_mask, num_before, num_new, inputs_embeds.device)
        last = self._read(inputs_embeds, position_ids, view, cache)[:, -1]
        return functional.linear(self._norm(last), self._output.weight, self._output.bias)

    def _view(self, mask: Tensor | None, num_before: int, num_new: int, device: torch.device) -> "_View":
        return _View.of(mask, num_before, num_new, self._group_size, self._kv_width, device)

    def _read(self, inputs_embeds: Tensor, position_ids: Tensor, view: "_View", cache: Cache | None) -> Tensor:
        """Return the states (batch, num_new, hidden_size) behind the last layer."""
        batch_size, num_new, hidden_size = inputs_embeds.shape
        cos, sin = self._embed_rotations(inputs_embeds, position_ids)
        half = cos.shape[-1] // 2
        # The rotated half is subtracted where it comes from behind: the sign goes into the sine, once for all layers.
        rotation = (cos[:, :, None], torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)[:, :, None])
        hidden = inputs_embeds.clone(memory_format=torch.contiguous_format).view(batch_size * num_new, hidden_size)
        for index, layer in enumerate(self._layers):
            hidden = layer(hidden, (batch_size, num_new), rotation, view, cache, index)
        return hidden.view(batch_size, num_new, hidden_size)


class _RowAdapters:
    """Which adapter each row has."""

    def __init__(self, peft_names: Sequence[str], device: torch.device) -> None:
        self._peft_names = list(peft_names)
        self._names = sorted(set(peft_names) - {BASE_ADAPTER})
        self._device = device
        self._factors: dict[tuple[tuple[str, float], ...], Tensor] = {}

    def low_rank(self, module: LoraLinear) -> "_LowRank | None":
        """Return what these rows' adapters add to a linear module: one product of stacked matrices for all of them."""
        names = [name for name in self._names if name in module.lora_A]
        if not names:
            return None
        down = [module.lora_A[name].weight for name in names]
        up = [module.lora_B[name].weight for name in names]
        scales = [float(module.scaling[name]) for name in names]
        if len(set(self._peft_names)) == 1:
            return _LowRank(down[0], up[0], scales[0])
        columns = tuple(
            (name, scale) for name, matrix, scale in zip(names, down, scales, strict=True) for _ in range(len(matrix))
        )
        return _LowRank(torch.cat(down), torch.cat(up, dim=1), self._row_factors(columns))

    def _row_factors(self, columns: tuple[tuple[str, float], ...]) -> Tensor:
        """Return (batch, total rank): each row's scale in the columns of its own adapter, 0 in those of others."""
        if columns not in self._factors:
            rows = [[scale if name == row else 0.0 for name, scale in columns] for row in self._peft_names]
            self._factors[columns] = torch.tensor(rows, device=self._device)
        return self._factors[columns]


@dataclass(frozen=True, slots=True)
class _LowRank:
    """What adapters add to a linear module."""

    down: Tensor
    """(total rank, in_features)."""
    up: Tensor
    """(out_features, total rank)."""
    factors: float | Tensor
    """One scale, or (batch, total rank)."""

    def add(self, outputs: Tensor, inputs: Tensor, num_new: int) -> Tensor:
        """Return the outputs (batch * num_new, out_features) with the adapters' part, computed in their type."""
        factors = self.factors
        if isinstance(factors, Tensor) and num_new > 1:
            factors = factors.repeat_interleave(num_new, dim=0)
        low = functional.linear(inputs.to(self.down.dtype), self.down) * factors
        if isinstance(factors, Tensor):
            low = low.masked_fill(factors == 0, 0)  # what is infinite by another row's adapter stays with that row
        return torch.addmm(outputs.to(self.up.dtype), low.to(self.up.dtype), self.up.t()).to(outputs.dtype)


@dataclass(frozen=True, slots=True)
class _Linear:
    """A linear module with the adapters of the rows."""

    weight: Tensor
    bias: Tensor | None
    low_rank: _LowRank | None

    @classmethod
    def of(cls, module: Any, rows: _RowAdapters) -> "_Linear":
        if isinstance(module, LoraLinear):
            base: Any = module.base_layer
            return cls(base.weight, base.bias, rows.low_rank(module))
        return cls(module.weight, module.bias, None)

    def __call__(self, inputs: Tensor, num_new: int) -> Tensor:
        outputs = functional.linear(inputs, self.weight, self.bias)
        return outputs if self.low_rank is None else self.low_rank.add(outputs, inputs, num_new)

    def add(self, outputs: Tensor, inputs: Tensor, num_new: int) -> Tensor:
        """Add what `inputs` become to `outputs`, in place where that can be, and return the sum."""
        outputs.addmm_(inputs, self.weight.t())
        if self.bias is not None:
            outputs += self.bias
        return outputs if self.low_rank is None else self.low_rank.add(outputs, inputs, num_new)


@dataclass(frozen=True, slots=True)
class _RmsNorm:
    """A norm over the last dimension, computed in float32 as the models do."""

    weight: Tensor
    eps: Tensor

    @classmethod
    def of(cls, module: Any) -> "_RmsNorm":
        return cls(module.weight, torch.tensor(module.variance_epsilon, device=module.weight.device))

    def __call__(self, hidden: Tensor) -> Tensor:
        # torch.nn.functional.rms_norm takes three times as long on a CPU, where it is made of twice as many operations.
        wide = hidden.float()
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = torch.addcmul(self.eps, norm, norm, value=1 / wide.shape[-1]).rsqrt_()
        return (wide * scale).to(hidden.dtype).mul_(self.weight)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's modules."""

    attention_norm: _RmsNorm
    query: _Linear
    key: _Linear
    value: _Linear
    query_norm: _RmsNorm | None
    key_norm: _RmsNorm | None
    head_dim: int
    scale: float
    output: _Linear
    mlp_norm: _RmsNorm
    gate: _Linear
    up: _Linear
    down: _Linear
    activation: nn.Module

    @classmethod
    def of(cls, layer: Any, rows: _RowAdapters) -> "_Layer":
        attention = layer.self_attn
        has_norms = hasattr(attention, "q_norm")
        query, key, value, output, gate, up, down = (_Linear.of(module, rows) for module in layer_linears(layer))
        return cls(
            attention_norm=_RmsNorm.of(layer.input_layernorm),
            query=query,
            key=key,
            value=value,
            query_norm=_RmsNorm.of(attention.q_norm) if has_norms else None,
            key_norm=_RmsNorm.of(attention.k_norm) if has_norms else None,
            head_dim=attention.head_dim,
            scale=attention.scaling,
            output=output,
            mlp_norm=_RmsNorm.of(layer.post_attention_layernorm),
            gate=gate,
            up=up,
            down=down,
            activation=layer.mlp.act_fn,
        )

    def __call__(
        self,
        hidden: Tensor,
        shape: tuple[int, int],
        rotation: tuple[Tensor, Tensor],
        view: "_View",
        cache: Cache | None,
        index: int,
    ) -> Tensor:
        """Map hidden states (batch * num_new, hidden_size), which are lost, to those behind this layer.

        New keys and values go to the `place`th layer of the cache.
        """
        num_new = shape[1]
        inputs = self.attention_norm(hidden)
        query, key, value = (
            linear(inputs, num_new).view(*shape, -1, self.head_dim) for linear in (self.query, self.key, self.value)
        )
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        query, key = _rotate(query, rotation), _rotate(key, rotation)
        keys, values = key.transpose(1, 2), value.transpose(1, 2)
        if cache is not None:
            keys, values = cache.update(keys, values, index)
        attended = view.attend(query.transpose(1, 2), keys, values, self.scale)
        hidden = self.output.add(hidden, attended.transpose(1, 2).reshape(hidden.shape[0], -1), num_new)
        inputs = self.mlp_norm(hidden)
        gated = self.activation(self.gate(inputs, num_new)).mul_(self.up(inputs, num_new))
        return self.down.add(hidden, gated, num_new)


@dataclass(frozen=True, slots=True)
class _View:
    """What new positions see of those before them."""

    mask: Tensor | None
    """(batch or 1, 1, queries or 1, num_before + num_new), True where seen.

    None where queries that are grouped see everything, and others all up to themselves.
    """
    is_grouped: bool
    """Queries that share keys stand one behind the other, so that the keys are read once and not repeated."""

    @classmethod
    def of(
        cls,
        attention_mask: Tensor | None,
        num_before: int,
        num_new: int,
        group_size: int,
        kv_width: int,
        device: torch.device,
    ) -> "_View":
        """Make the view of `num_new` positions; `group_size` queries share keys, `kv_width` wide in all heads."""
        seen = None if attention_mask is None else attention_mask[:, None, None].bool()
        if num_new == 1:
            return cls(seen, True)
        if seen is None and not num_before:
            return cls(None, False)
        positions = torch.arange(num_before + num_new, device=device)
        new = positions[num_before:, None]
        mask = (positions <= new)[None, None]
        if seen is not None:
            # Padding sees itself, since the mean over nothing is no number and would spread.
            mask = (seen & mask) | (positions == new)
        # Few queries on many keys: a mask for each query takes less memory than the keys and values repeated.
        is_grouped = num_new <= min(num_before // group_size, 2 * kv_width)
        return cls(mask.repeat(1, 1, group_size, 1) if is_grouped else mask, is_grouped)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Return (batch, num_attention_heads, num_new, head_dim) for a query of that shape."""
        attend = functional.scaled_dot_product_attention
        if self.is_grouped:
            grouped = query.reshape(query.shape[0], keys.shape[1], -1, query.shape[3])
            return attend(grouped, keys, values, self.mask, scale=scale).reshape(query.shape)
        group_size = query.shape[1] // keys.shape[1]
        if self.mask is None:
            return attend(query, keys, values, is_causal=True, scale=scale, enable_gqa=group_size > 1)
        # Repeated: with a mask, torch knows no fast way on a GPU for keys that are shared.
        keys, values = (states.repeat_interleave(group_size, dim=1) for states in (keys, values))
        return attend(query, keys, values, self.mask, scale=scale)


def _rotate(states: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn states (batch, num_new, heads, head_dim) by their positions."""
    cos, sin = rotation
    return torch.addcmul(states * cos, states.roll(states.shape[-1] // 2, dims=-1), sin)
