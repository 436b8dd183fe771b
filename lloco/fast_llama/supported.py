"""Which models are plain Llama-shaped ones, whose forward is known to the last module.

Does not know how they are read.
"""

from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from lloco.adapters.base_model import base_model

_FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3")
_SOURCES = tuple(f"transformers.models.{name}.modeling_{name}" for name in map(str.lower, _FAMILIES))
_ACTIVATIONS = ("transformers.activations", "torch.nn.modules.activation")
_TORCH_MODULES = (nn.Linear, nn.Embedding, nn.Identity, nn.Dropout, nn.ModuleList, nn.ModuleDict, nn.ParameterDict)


def can_read(model: nn.Module) -> bool:
    """Return whether this is a plain Llama-shaped model: no window of attention, no module of another kind, no hook.

    The model may be a causal language model, with plain LoRA or not, or one without an output layer.
    """
    base, body = base_and_body(model)
    config = base.config
    if type(base).__module__ not in _SOURCES or type(body).__name__.removesuffix("Model") not in _FAMILIES:
        return False
    if isinstance(model, PeftModel) and any(type(lora) is not LoraConfig for lora in model.peft_config.values()):
        return False
    # Rotations of other types turn with the length.
    is_plain_attention = (
        not getattr(config, "sliding_window", None)
        and getattr(config, "is_causal", True)
        and config._attn_implementation in ("sdpa", "eager")
        and body.rotary_emb.rope_type in ("default", "linear", "llama3", "yarn")
    )
    return (
        is_plain_attention
        and len(body.layers) == config.num_hidden_layers
        and not torch.is_autocast_enabled(base.device.type)
        and len({weight.dtype for name, weight in base.named_parameters() if "lora_" not in name}) == 1
        and (base is body or type(base.lm_head) is nn.Linear)
        and all(_is_stock(module, type(base).__module__) for module in base.modules())
        and not any(_is_hooked(module) for module in model.modules())
        and all(_is_plain(module) for layer in body.layers for module in layer_linears(layer))
    )


def base_and_body(model: Any) -> tuple[Any, Any]:
    """Return the model without PEFT's, and that without its output layer; the same twice where it has none."""
    base: Any = base_model(model)
    is_causal = type(base).__name__.removesuffix("ForCausalLM") in _FAMILIES
    return base, base.model if is_causal else base


def _is_stock(module: nn.Module, source: str) -> bool:
    """Return whether this is a module of torch, PEFT's plain LoRA, or of transformers' file `source`."""
    kind = type(module)
    return kind in _TORCH_MODULES or kind is LoraLinear or kind.__module__ in (source, *_ACTIVATIONS)


def _is_hooked(module: nn.Module) -> bool:
    """Return whether someone wants to see or change what this module reads or returns."""
    return bool(module._forward_pre_hooks or module._forward_hooks or "forward" in vars(module))


def _is_plain(module: Any) -> bool:
    """Return whether this is a linear module, or one with plain LoRA; a subclass may keep its weights anyhow."""
    if type(module) is LoraLinear:
        is_changed = module.merged or module.disable_adapters or module.lora_variant or any(module.lora_bias.values())
        return not is_changed and _is_plain(module.base_layer)
    return type(module) is nn.Linear and type(module.weight) is nn.Parameter


def layer_linears(layer: Any) -> list[Any]:
    """Return a layer's modules for queries, keys, values, what was attended to, gate, up and down."""
    attention, mlp = layer.self_attn, layer.mlp
    return [
        *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    ]
