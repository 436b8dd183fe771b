"""Whether an adapter was made for a decoder: by the digest of its weights, else by the shapes of its matrices."""

from collections.abc import Mapping
from pathlib import Path

from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import Tensor

from lloco.adapters.base_model import linear_modules
from lloco.adapters.digest import CONFIG_FILE
from lloco.adapters.folder import module_of, read_adapter, read_json
from lloco.adapters.origin import read_origin
from lloco.errors import MismatchError
from lloco.models.decoder import Decoder

_READS_HIDDEN_STATE = tuple(f"{name}_proj.lora_A.weight" for name in ("q", "k", "v", "gate", "up"))


def check_adapter(folder: Path, decoder: Decoder) -> dict[str, Tensor]:
    """Return the adapter's weights if they were made for this decoder; touches no model.

    Raises:
        CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
        MismatchError: the adapter was made for another model.
    """
    config, weights = read_adapter(folder)
    origin = read_origin(folder)
    why = _shape_mismatch(config, weights, linear_modules(decoder))
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
    name = str(read_json(folder / CONFIG_FILE).get("base_model_name_or_path") or "")
    last, own = (name_or_path.rstrip("/").rpartition("/")[2].lower() for name_or_path in (name, decoder.name))
    if last in ("", own) or read_origin(folder) is not None:
        return None
    check_adapter(folder, decoder)
    return name


def _shape_mismatch(
    config: LoraConfig, weights: Mapping[str, Tensor], modules: Mapping[str, tuple[int, int]]
) -> str | None:
    """Say how the weights differ from what this model needs, or None."""
    wanted = {name for name in modules if check_target_module_exists(config, name)}
    found = set(map(module_of, weights))
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


def _width(weights: Mapping[str, Tensor]) -> int | None:
    """Return the width of the model that the weights were made for; None where no matrix reads its hidden state."""
    return next((tensor.shape[1] for key, tensor in weights.items() if key.endswith(_READS_HIDDEN_STATE)), None)
