"""LoRA that belongs to a compressor: put into a model in place while it is trained, merged into it where it is used.

Unlike a corpus's adapter it is never switched off or exchanged. The layers are PEFT's.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from lloco.errors import CheckpointError

LORA_NAME = "compressor"
"""Name of the LoRA inside PEFT's layers; weights are saved without it."""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def inject_lora(model: nn.Module, rank: int) -> None:
    """Freeze the model and give its linear layers LoRA of this rank, alpha twice the rank.

    Raises:
        CheckpointError: the model has none of the layers that are named as Llama's are.
    """
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    targets = [name for name in TARGETS if name in names]
    if not targets:
        raise CheckpointError(f"LoRA needs linear layers named {', '.join(TARGETS)}, the model has none of them")
    model.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), model, LORA_NAME)


def lora_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the LoRA weights by name, `layers.0.self_attn.q_proj.lora_A.weight` and so on."""
    return {
        name.replace(f".{LORA_NAME}.", "."): weight.detach()
        for name, weight in model.named_parameters()
        if f".{LORA_NAME}." in name
    }


@torch.no_grad()
def load_lora(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill the LoRA that `inject_lora` put in.

    Raises:
        CheckpointError: the tensors are not exactly those of this model and rank.
    """
    own = lora_tensors(model)
    if wrong := sorted(own.keys() ^ tensors.keys()):
        raise CheckpointError(f"LoRA weights do not fit the model: {wrong[0]} is missing or unknown")
    for name, weight in own.items():
        if weight.shape != tensors[name].shape:
            raise CheckpointError(
                f"LoRA weight {name} must have shape {tuple(weight.shape)}, got {tuple(tensors[name].shape)}"
            )
        weight.copy_(tensors[name])


@contextmanager
def lora_off(model: nn.Module) -> Iterator[None]:
    """Read with the model's own weights alone inside the block."""
    layers: list[Any] = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merge_lora(model: nn.Module) -> None:
    """Add the LoRA to the weights, in float32, and leave the model without PEFT's layers and without gradients."""
    for name, module in list(model.named_modules()):
        if not isinstance(module, BaseTunerLayer):
            continue
        layer: Any = module
        base = layer.get_base_layer()
        update = layer.scaling[LORA_NAME] * (
            layer.lora_B[LORA_NAME].weight.float() @ layer.lora_A[LORA_NAME].weight.float()
        )
        base.weight.data = (base.weight.float() + update).to(base.weight.dtype)
        parent, _, own_name = name.rpartition(".")
        setattr(model.get_submodule(parent), own_name, base)
    if hasattr(model, "peft_config"):
        del model.peft_config
    model.requires_grad_(False)
