"""Adapters: LoRA weights that teach a decoder to read one corpus, in PEFT's own file format.

An adapter folder holds adapter_config.json and adapter_model.safetensors as PEFT writes them, template.json (the
wording it was trained with) and lloco.json (the model it was made for). Only plain LoRA on linear layers is read, never
a pickle that holds more than tensors. Does not know about prompts or training.
"""

import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from peft import LoraConfig, PeftModel, PeftModelForCausalLM, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel

from lloco.adapters.digest import CONFIG_FILE, WEIGHT_FILES, weight_file
from lloco.adapters.origin import ORIGIN_FILE, read_origin
from lloco.errors import CheckpointError, LlocoError, MismatchError
from lloco.files.durable import make_folder_durably, write_durably
from lloco.models.decoder import Decoder
from lloco.prompts.template import TEMPLATE_FILE, Template
from lloco.version import __version__

BASE_ADAPTER = "__base__"
# Options of PEFT that plain LoRA may set; every other one must be at its default.
_LORA_OPTIONS = (
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
)
_READS_HIDDEN_STATE = tuple(f"{name}_proj.lora_A.weight" for name in ("q", "k", "v", "gate", "up"))
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
    config = _lora_config(folder)
    modules = config.target_modules
    names = (modules,) if isinstance(modules, str) else tuple(sorted(modules or ()))
    return LoraOptions(config.r, config.lora_alpha, dropout, names)


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
        weights, config = check_adapter(start, decoder), _lora_config(start)
        config.lora_dropout, config.inference_mode = options.dropout, False
        model = _peft_model(decoder, config, "default")
        set_peft_model_state_dict(model, weights, adapter_name="default")
        return model
    names = sorted({name.rpartition(".")[2] for name in _linear_modules(decoder)})
    missing = sorted(set(options.target_modules) - set(names))
    if missing or not options.target_modules:
        raise LlocoError(
            f"an adapter on {', '.join(missing) or 'no module'} was wanted, {decoder.name} has the linear modules "
            f"{', '.join(names)}: set target_modules to some of these"
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
    config = _lora_config(folder)
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


def read_adapter(folder: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Return options and weights of an adapter folder, whatever model it was made for.

    Raises:
        CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
    """
    config = _lora_config(folder)
    weights = _read_weights(folder)
    patterns = config.rank_pattern or {}
    for key, tensor in weights.items():
        module = _module_of(key)
        wanted = patterns.get(get_pattern_key(patterns, module), config.r)
        rank = tensor.shape[0 if ".lora_A." in key else 1]
        if rank != wanted:
            raise CheckpointError(
                f"rank {wanted} was wanted for {module} as {folder / CONFIG_FILE} says, its weights have {rank}: fetch "
                "it again"
            )
    return config, weights


def check_adapter(folder: Path, decoder: Decoder) -> dict[str, Tensor]:
    """Return the adapter's weights if they were made for this decoder; touches no model.

    Raises:
        CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
        MismatchError: the adapter was made for another model.
    """
    config, weights = read_adapter(folder)
    origin = read_origin(folder)
    why = _shape_mismatch(config, weights, _linear_modules(decoder))
    if not why and origin is not None and origin.base_model_digest != decoder.digest:
        why = f"the weights of the two models differ (digest {origin.base_model_digest[:12]}, {decoder.digest[:12]})"
    if why:
        name = config.base_model_name_or_path if origin is None else origin.base_model
        width = _width(weights) or (origin and origin.hidden_size)
        made_for = f"{name or 'an unnamed model'}{f' ({width} wide)' if width else ''}"
        raise MismatchError(
            f"adapter {folder} was made for {made_for}, the decoder is {decoder.name} ({decoder.hidden_size} wide): "
            f"{why}; use the adapter's own model or finetune again"
        )
    return weights


def other_model_named(folder: Path, decoder: Decoder) -> str | None:
    """Return the model that an adapter's folder names, where only its name tells it from this decoder.

    None where the folder says which weights it was made for, names no model, or one whose name ends as the decoder's.

    Raises:
        CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
        MismatchError: its weights are another model's.
    """
    name = str(_read_json(folder / CONFIG_FILE).get("base_model_name_or_path") or "")
    last, own = (one.rstrip("/").rpartition("/")[2].lower() for one in (name, decoder.name))
    if last in ("", own) or read_origin(folder) is not None:
        return None
    check_adapter(folder, decoder)
    return name


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


def _check_has_no_adapter(decoder: Decoder) -> None:
    if any(isinstance(module, BaseTunerLayer) for module in decoder.model.modules()):
        raise LlocoError(
            f"a model without an adapter was wanted, {decoder.name} carries one: use the decoder that load_adapter "
            "returned, or load the decoder again"
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


def _linear_modules(decoder: Decoder) -> dict[str, tuple[int, int]]:
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


def _shape_mismatch(
    config: LoraConfig, weights: Mapping[str, Tensor], modules: Mapping[str, tuple[int, int]]
) -> str | None:
    """Say how the weights differ from what this model needs, or None."""
    wanted = {name for name in modules if check_target_module_exists(config, name)}
    found = set(map(_module_of, weights))
    if foreign := sorted(found - set(modules)):
        return f"it changes {foreign[0]}, which the decoder does not have"
    if missing := sorted(wanted - found):
        return f"it has no weights for {len(missing)} of the {len(wanted)} modules that it targets, first {missing[0]}"
    for name in sorted(found):
        in_features, out_features = modules[name]
        a = tuple(weights[f"base_model.model.{name}.lora_A.weight"].shape)
        b = tuple(weights[f"base_model.model.{name}.lora_B.weight"].shape)
        if a[1] != in_features or b[0] != out_features:
            return f"its {name} maps {a[1]} to {b[0]} features, the decoder's maps {in_features} to {out_features}"
    return None


def _module_of(key: str) -> str:
    """Return the base model's name of the module that a weight belongs to."""
    return key.removeprefix("base_model.model.").rpartition(".lora_")[0]


def _width(weights: Mapping[str, Tensor]) -> int | None:
    """Return the width of the model that the weights were made for; None where no matrix reads its hidden state."""
    return next((tensor.shape[1] for key, tensor in weights.items() if key.endswith(_READS_HIDDEN_STATE)), None)


def _lora_config(folder: Path) -> LoraConfig:
    """Read the LoRA options, refusing PEFT features that would change the base model or need code of their own."""
    values = _read_json(folder / CONFIG_FILE)
    if values.get("peft_type") != "LORA":
        raise CheckpointError(f"a LoRA adapter was wanted, {folder} is {values.get('peft_type')}: finetune again")
    defaults = LoraConfig()
    for key, value in values.items():
        is_plain = not value or key in _DESCRIPTIVE_OPTIONS or key in _LORA_OPTIONS
        if not is_plain and value != getattr(defaults, key, None) and (key, value) != ("init_lora_weights", "gaussian"):
            raise CheckpointError(
                f"plain LoRA was wanted, {folder / CONFIG_FILE} sets {key} to {value!r}: finetune again"
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
        raise CheckpointError(f"tensors by name were wanted, {file} holds other values: fetch or save it again")
    for key, tensor in weights.items():
        module, _, matrix = key.rpartition(".lora_")
        other = weights.get(f"{module}.lora_{'B' if matrix.startswith('A') else 'A'}.weight")
        is_pair = matrix in ("A.weight", "B.weight") and other is not None and tensor.ndim == other.ndim == 2
        if not is_pair or not key.startswith("base_model.model."):
            raise CheckpointError(f"pairs of LoRA matrices were wanted, {file} holds {key}: finetune again")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"finite weights were wanted, {key} in {file} holds NaN or infinity: finetune again")
    if not weights:
        raise CheckpointError(f"LoRA weights were wanted, {file} holds none: fetch or save it again")
    return weights


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"an adapter folder needs {file.name}, {file} cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"a JSON object was wanted, {file} holds a {type(values).__name__}: fetch it again")
    return values


def _json_bytes(values: Mapping[str, Any]) -> bytes:
    """Encode with sorted keys and sets, so that equal content has equal bytes."""
    return (json.dumps(values, indent=2, sort_keys=True, default=sorted) + "\n").encode("utf-8")
