"""From a name to a compressor: a folder, a hub id, or one of those that come with lloco."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from lloco.compressors.autocompressor import SUMMARY_KEY, load_autocompressor
from lloco.compressors.choices import Design
from lloco.compressors.decoder_based import config_design
from lloco.compressors.delta import TrainableCompressor, is_delta, load_delta, read_delta_settings
from lloco.compressors.icae import DESIGN as ICAE
from lloco.compressors.icae import IcaeCompressor, load_icae
from lloco.compressors.local import load_local_compressor, local_design
from lloco.errors import CheckpointError
from lloco.models.checkpoint import GGUF_SUFFIX, checkpoint_folder, find_tensor
from lloco.models.decoder import Decoder, load_decoder
from lloco.models.named import (
    SMOLLM2,
    default_model,
    full_name,
    has_smollm2_compressor,
    named_compressor_folder,
)
from lloco.models.shell import load_shell

AnyCompressor: TypeAlias = TrainableCompressor | IcaeCompressor


def named_folder(name: str | Path) -> Path:
    """Return the local folder of a model: its name, a folder, a GGUF file, or a hub id, which is downloaded.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    return checkpoint_folder(name)


def lasting_name(name: str | Path) -> str:
    """Return a model's name as it is remembered, which means the same from any working directory."""
    return _locate(name, is_decoder=True)[0]


def decoder_folder(name: str | Path) -> Path:
    """Return the local folder that `load_named_decoder` loads for this name.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    return checkpoint_folder(_locate(name, is_decoder=True)[1])


def compressor_folder(name: str | Path) -> Path:
    """Return the local folder of a compressor, which for `smollm2` is another one than the model's.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    return checkpoint_folder(_locate(name)[1])


def design_of(folder: Path) -> Design | Literal["dynamic_pooling", "icae"] | None:
    """Return the design of the folder's compressor, or None where it is a plain language model.

    Raises:
        CheckpointError: the folder's weights cannot be read, or its config names no design that there is.
    """
    if is_delta(folder):
        return read_delta_settings(folder).design
    if config_design(folder) == ICAE:
        return "icae"
    design = local_design(folder)
    if design is None:
        return "autocompressor" if find_tensor(folder, SUMMARY_KEY) is not None else None
    return design


def load_compressor(
    path_or_hub_id: str | Path | None = None,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    max_positions: int | None = None,
) -> AnyCompressor:
    """Load a compressor with its decoder: a folder, a hub id or a name of `lloco.models.named`; None is the default.

    `max_positions` is how many a row may take, fewer or more than the decoder declares.

    Raises:
        CheckpointError: no such checkpoint, or it cannot be read as a compressor.
    """
    name, location = _locate(path_or_hub_id)
    folder = checkpoint_folder(location)
    compressor: AnyCompressor
    if is_delta(folder):
        compressor = load_delta(folder, device=device, dtype=dtype, max_positions=max_positions)
    elif config_design(folder) == ICAE:
        compressor = load_icae(location, device=device, dtype=dtype, max_positions=max_positions)
    elif local_design(folder) is None:
        compressor = load_autocompressor(location, device=device, dtype=dtype, max_positions=max_positions)
    else:
        compressor = load_local_compressor(location, device=device, dtype=dtype, max_positions=max_positions)
    compressor.decoder = replace(compressor.decoder, name=name)
    return compressor


def load_named_decoder(
    path_or_hub_id: str | Path | None,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    max_positions: int | None = None,
    is_shell: bool = False,
) -> Decoder:
    """Load a decoder, or its shell alone, by the names that compressors have; None is the default.

    A compressor's decoder is the one that reads its vectors: `smollm2` has the reader's LoRA merged into it, as long as
    its compressor is here; `load_decoder` loads the pretrained model as it is.

    Raises:
        CheckpointError: no such checkpoint, or it cannot be read as a causal language model.
    """
    name, location = _locate(path_or_hub_id, is_decoder=True)
    if is_delta(checkpoint_folder(location)):
        if is_shell:
            raise CheckpointError(
                f"{name} is a delta, whose merged weights a vLLM server elsewhere does not have: use --engine vllm or "
                "transformers without --vllm-url"
            )
        decoder = load_delta(
            checkpoint_folder(location), device=device, dtype=dtype, max_positions=max_positions
        ).decoder
        return replace(decoder, name=name)
    if is_shell:
        decoder = load_shell(location, dtype=dtype, max_positions=max_positions)
    else:
        decoder = load_decoder(location, device=device, dtype=dtype, max_positions=max_positions)
    return replace(decoder, name=name)


def _locate(path_or_hub_id: str | Path | None, *, is_decoder: bool = False) -> tuple[str, str | Path]:
    """Return the name to remember, which means the same from any working directory, and where to load from."""
    name = default_model() if path_or_hub_id is None else full_name(str(path_or_hub_id))
    if is_decoder and name == SMOLLM2 and not has_smollm2_compressor():
        return name, name
    if (folder := named_compressor_folder(name)) is not None:
        return name, folder
    path = Path(name).expanduser()
    if path.is_dir() or path.suffix.lower() == GGUF_SUFFIX:
        return str(path.resolve()), path.resolve()
    return name, name
