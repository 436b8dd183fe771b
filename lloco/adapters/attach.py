"""Adapters on a model: a trainable one put into it, or trained ones added by name.

LoRA as PEFT does it. What a folder holds is `folder`'s, whether it fits the model is `check`'s. Does not know about
prompts or training.
"""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, PeftModel, PeftModelForCausalLM, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel

from lloco.adapters.base_model import BASE_ADAPTER, base_model, linear_modules
from lloco.adapters.check import check_adapter
from lloco.adapters.folder import LoraOptions, lora_config
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder


def attach_adapter(decoder: Decoder, options: LoraOptions, start: Path | None = None) -> PeftModel:
    """Put a trainable adapter named "default" into the decoder's model (mutated) and freeze everything else.

    It is a fresh one, or has the weights, rank, scale and places of the folder `start`; the dropout is the options'.

    Raises:
        LlocoError: the model already carries an adapter, or has no module of a target's name.
        CheckpointError: `start` is incomplete, damaged, or not plain LoRA.
        MismatchError: `start` was made for another model.
    """
    _check_has_no_adapter(decoder)
    if start is not None:
        weights, config = check_adapter(start, decoder), lora_config(start)
        config.lora_dropout, config.inference_mode = options.dropout, False
        model = _peft_model(decoder, config, "default")
        set_peft_model_state_dict(model, weights, adapter_name="default")
        return model
    names = sorted({name.rpartition(".")[2] for name in linear_modules(decoder)})
    missing = sorted(set(options.target_modules) - set(names))
    if missing or not options.target_modules:
        raise LlocoError(
            f"{decoder.name} has no linear module named {', '.join(missing) or 'as asked for'}: set target_modules to "
            f"some of {', '.join(names)}"
        )
    config = LoraConfig(
        r=options.r,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=list(options.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    return _peft_model(decoder, config, "default")


def load_adapter(decoder: Decoder, folder: Path, adapter_name: str) -> Decoder:
    """Add a frozen adapter to the decoder's model, which is mutated; the decoder that is returned can name it.

    The first adapter of a model is its active one. Later ones are used by name only, as PEFT's `adapter_names`.

    Raises:
        LlocoError: the name is taken, or cannot name an adapter.
        CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
        MismatchError: the adapter was made for another model.
    """
    taken = set(decoder.model.peft_config) if isinstance(decoder.model, PeftModel) else set()
    if adapter_name in {*taken, "", BASE_ADAPTER} or "." in adapter_name or "lora_" in adapter_name:
        raise LlocoError(
            f"adapter {folder} cannot be named {adapter_name!r}: it is taken or reserved, choose another name"
        )
    weights = check_adapter(folder, decoder)
    config = lora_config(folder)
    if not isinstance(decoder.model, PeftModel):
        _check_has_no_adapter(decoder)
    try:
        if isinstance(decoder.model, PeftModel):
            model = decoder.model
            model.add_adapter(adapter_name, config)
        else:
            model = _peft_model(decoder, config, adapter_name)
        set_peft_model_state_dict(model, weights, adapter_name=adapter_name)
    except Exception:  # such as too little memory for a layer in the middle
        _take_out(decoder.model, adapter_name)
        raise
    model.eval()
    return replace(decoder, model=cast(PreTrainedModel, model))


def _check_has_no_adapter(decoder: Decoder) -> None:
    if any(isinstance(module, BaseTunerLayer) for module in decoder.model.modules()):
        raise LlocoError(
            f"{decoder.name} carries an adapter already: use the decoder that load_adapter returned, or load the "
            "decoder again"
        )


def _peft_model(decoder: Decoder, config: LoraConfig, adapter_name: str) -> PeftModel:
    with warnings.catch_warnings():
        # PEFT asks transformers 5 under an old name, and nobody who reads the warning can change that.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        return PeftModelForCausalLM(decoder.model, config, adapter_name=adapter_name)


def _take_out(model: torch.nn.Module, adapter_name: str) -> None:
    """Leave a model as it was before an adapter of this name was put into it and that failed midway."""
    if isinstance(model, PeftModel):
        model.peft_config.pop(adapter_name, None)
    elif hasattr(model, "peft_config"):  # PEFT would take over what it says
        del model.peft_config
    base = base_model(model)
    # Not PEFT's own way: where its layers were not all made it has forgotten the name, and keeps those that were.
    for name, layer in list(base.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.delete_adapter(adapter_name)
            if not layer.lora_A:
                base.set_submodule(name, layer.get_base_layer())
