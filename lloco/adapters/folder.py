"""An adapter folder: read and written in PEFT's own file format.

It holds adapter_config.json and adapter_model.safetensors as PEFT writes them, template.json (the wording it was
trained with) and lloco.json (the model it was made for). Only plain LoRA on linear layers is read, never a pickle that
holds more than tensors. Whether it fits a decoder is `check`'s.
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from torch import Tensor

from lloco.adapters.digest import CONFIG_FILE, WEIGHT_FILES, weight_file
from lloco.adapters.origin import ORIGIN_FILE
from lloco.errors import CheckpointError
from lloco.files.durable import make_folder_durably, write_durably
from lloco.models.decoder import Decoder
from lloco.prompts.template import TEMPLATE_FILE, Template
from lloco.version import __version__

# Options of PEFT that plain LoRA may set; every other one must be at its default.
_LORA_OPTIONS = (
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
)
_DESCRIPTIVE_OPTIONS = (
    *("peft_type", "task_type", "inference_mode", "base_model_name_or_path"),
    *("revision", "peft_version", "auto_mapping"),
)


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """Size and place of a LoRA adapter; defaults are the published recipe (arXiv 2404.07979)."""

    r: int = 8
    """Rank of the adapter."""
    alpha: int = 16
    """Scale of the adapter is alpha / r."""
    dropout: float = 0.05
    """Dropout in front of the adapter while training."""
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear modules that get an adapter, by the last part of their name."""


def lora_options(folder: Path, dropout: float) -> LoraOptions:
    """Return size and place of the adapter in a folder, with the dropout to train it with.

    Raises:
        CheckpointError: its options cannot be read, or are not plain LoRA's.
    """
    config = lora_config(folder)
    modules = config.target_modules
    names = (modules,) if isinstance(modules, str) else tuple(sorted(modules or ()))
    return LoraOptions(config.r, config.lora_alpha, dropout, names)


def save_adapter(
    model: PeftModel,
    folder: Path,
    *,
    decoder: Decoder,
    template: Template,
    adapter_name: str = "default",
    state_dict: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the adapter folder; the same weights give the same bytes. Pass a gathered `state_dict` under FSDP.

    The decoder is the one that the adapter was attached to.
    """
    tensors = get_peft_model_state_dict(
        model, state_dict=state_dict, adapter_name=adapter_name, save_embedding_layers=False
    )
    config = model.peft_config[adapter_name].to_dict()
    config |= {"base_model_name_or_path": decoder.name, "inference_mode": True}
    origin = {
        "base_model": decoder.name,
        "base_model_digest": decoder.digest,
        "hidden_size": decoder.hidden_size,
        "lloco_version": __version__,
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    make_folder_durably(folder)
    write_durably(folder / WEIGHT_FILES[0], safetensors.torch.save(weights, metadata={"format": "pt"}))
    write_durably(folder / CONFIG_FILE, _json_bytes(config))
    write_durably(folder / TEMPLATE_FILE, template.to_json().encode("utf-8"))
    write_durably(folder / ORIGIN_FILE, _json_bytes(origin))


def read_adapter(folder: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Return options and weights of an adapter folder, whatever model it was made for.

    Raises:
        CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
    """
    config = lora_config(folder)
    weights = _read_weights(folder)
    patterns = config.rank_pattern or {}
    for key, tensor in weights.items():
        module = module_of(key)
        wanted = patterns.get(get_pattern_key(patterns, module), config.r)
        rank = tensor.shape[0 if ".lora_A." in key else 1]
        if rank != wanted:
            raise CheckpointError(
                f"the weights of {module} must have rank {wanted}, as {folder / CONFIG_FILE} says, got {rank}: fetch "
                "it again"
            )
    return config, weights


def module_of(key: str) -> str:
    """Return the base model's name of the module that a weight belongs to."""
    return key.removeprefix("base_model.model.").rpartition(".lora_")[0]


def lora_config(folder: Path) -> LoraConfig:
    """Read the LoRA options, refusing PEFT features that would change the base model or need code of their own."""
    values = read_json(folder / CONFIG_FILE)
    if values.get("peft_type") != "LORA":
        raise CheckpointError(f"the adapter must be LoRA, {folder} is {values.get('peft_type')}: finetune again")
    defaults = LoraConfig()
    for key, value in values.items():
        is_plain = not value or key in _DESCRIPTIVE_OPTIONS or key in _LORA_OPTIONS
        if not is_plain and value != getattr(defaults, key, None) and (key, value) != ("init_lora_weights", "gaussian"):
            raise CheckpointError(
                f"the adapter must be plain LoRA, {folder / CONFIG_FILE} sets {key} to {value!r}: finetune again"
            )
    options = {key: values[key] for key in _LORA_OPTIONS if key in values}
    name = values.get("base_model_name_or_path")
    try:
        return LoraConfig(**options, task_type="CAUSAL_LM", base_model_name_or_path=name, inference_mode=True)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG_FILE} holds LoRA options that PEFT refuses: {error}") from error


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """Read pairs of (r, in_features) and (out_features, r) matrices by PEFT's names."""
    file = weight_file(folder)
    try:
        if file.suffix == ".safetensors":
            weights = safetensors.torch.load_file(file)
        else:
            weights = dict(torch.load(file, map_location="cpu", weights_only=True))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(f"{file} cannot be read as adapter weights ({reason}): fetch or save it again") from error
    if not all(isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in weights.items()):
        raise CheckpointError(f"{file} must hold tensors by name, it holds other values: fetch or save it again")
    for key, tensor in weights.items():
        module, _, matrix = key.rpartition(".lora_")
        other = weights.get(f"{module}.lora_{'B' if matrix.startswith('A') else 'A'}.weight")
        is_pair = matrix in ("A.weight", "B.weight") and other is not None and tensor.ndim == other.ndim == 2
        if not is_pair or not key.startswith("base_model.model."):
            raise CheckpointError(f"{file} must hold pairs of LoRA matrices, got {key}: finetune again")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{key} in {file} holds NaN or infinity: finetune again")
    if not weights:
        raise CheckpointError(f"{file} holds no LoRA weights: fetch or save it again")
    return weights


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; a file that holds none raises `CheckpointError`."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"an adapter folder needs {file.name}, {file} cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file} must hold a JSON object, got a {type(values).__name__}: fetch it again")
    return values


def _json_bytes(values: Mapping[str, Any]) -> bytes:
    """Encode with sorted keys and sets, so that equal content has equal bytes."""
    return (json.dumps(values, indent=2, sort_keys=True, default=sorted) + "\n").encode("utf-8")
