"""The model under its adapters: found where PEFT has wrapped it, run alone, its linear modules listed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel

from lloco.models.decoder import Decoder

BASE_ADAPTER = "__base__"


@contextmanager
def adapter_disabled(model: torch.nn.Module) -> Iterator[None]:
    """Run the base model alone inside the block; what was on and what was trainable is as before afterwards.

    Works on a PEFT model and on the base model that PEFT changed in place; does nothing where there is no adapter.
    """
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    enabled = [layer for layer in layers if not layer.disable_adapters]
    trainable = [parameter for layer in enabled for parameter in layer.parameters() if parameter.requires_grad]
    frozen = [parameter for layer in enabled for parameter in layer.parameters() if not parameter.requires_grad]
    for layer in enabled:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in enabled:
            layer.enable_adapters(True)
        for parameter in trainable:
            parameter.requires_grad_(True)
        for parameter in frozen:
            parameter.requires_grad_(False)


def base_model(model: Any) -> PreTrainedModel:
    """Return the model that PEFT wraps, its linear modules as PEFT changed them, or the model itself."""
    base: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model
    return base


def linear_modules(decoder: Decoder) -> dict[str, tuple[int, int]]:
    """Map the base model's linear modules, bar the output layer, to (in_features, out_features)."""
    base = base_model(decoder.model)
    output = base.get_output_embeddings()  # type: ignore[no-untyped-call]
    adapted = tuple(f"{name}." for name, module in base.named_modules() if isinstance(module, BaseTunerLayer))
    return {
        name: (int(module.in_features), int(module.out_features))
        for name, module in base.named_modules()
        if isinstance(module, (torch.nn.Linear, BaseTunerLayer))
        and module is not output
        and not name.startswith(adapted)
    }
