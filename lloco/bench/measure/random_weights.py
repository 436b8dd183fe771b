"""A decoder of any shape with random weights: speed and memory depend on a model's shape, not on what it learned.

The shape is a config.json or the folder it is in; weights are made in the wanted dtype on the wanted device. What such
a decoder writes means nothing.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from lloco.bench.measure.memory import check_fits
from lloco.errors import CheckpointError
from lloco.files.strict_json import read_value
from lloco.models.decoder import Decoder, load_tokenizer, resolve_device, resolve_dtype
from lloco.models.quiet import quiet_transformers


def random_decoder(
    path: str | Path, *, device: str | None = None, dtype: str | None = None, seed: int = 0, num_positions: int = 0
) -> Decoder:
    """Make a decoder of the config's shape that reads at least `num_positions` positions.

    Raises:
        CheckpointError: no such config, or not that of a causal language model.
        NoMemoryError: its weights are larger than the free memory.
    """
    file = Path(path).expanduser()
    file = file / "config.json" if file.is_dir() else file
    config = read_config(file)
    text = config.get_text_config()
    text.max_position_embeddings = max(getattr(text, "max_position_embeddings", None) or 0, num_positions)
    target = resolve_device(device)
    chosen = resolve_dtype(dtype, target)
    with torch.device("meta"):
        num_bytes = sum(weight.nbytes for weight in _make(config, chosen, file).parameters())
    check_fits(num_bytes, target, f"a model of the shape of {file}")
    with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []), target:
        torch.manual_seed(seed)
        model = _make(config, chosen, file)
    return Decoder(model, load_tokenizer(file.parent), f"random weights of {file}", "")


def read_config(file: Path) -> PreTrainedConfig:
    """Read a config that names its model type.

    Raises:
        CheckpointError: it cannot be read, or transformers has no such model.
    """
    try:
        values: Any = read_value(file)
        values = dict(values)
        config: PreTrainedConfig = AutoConfig.for_model(values.pop("model_type"), **values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{file} is not a model's config.json ({reason}): name one, or its folder") from error
    return config


def _make(config: PreTrainedConfig, dtype: torch.dtype, file: Path) -> PreTrainedModel:
    try:
        with quiet_transformers():
            model_class: Any = AutoModelForCausalLM
            model: PreTrainedModel = model_class.from_config(config, dtype=dtype).eval()
    except (ValueError, KeyError, TypeError, ImportError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{file} is not the config of a causal language model ({reason}): name the config of one"
        ) from error
    return model
