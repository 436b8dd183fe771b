"""From a name to a compressor: a folder, a hub id, or one of those that come with lloco."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from lloco.compressors.autocompressor import SUMMARY_KEY, AutoCompressor, load_autocompressor
from lloco.compressors.decoder_based import config_design
from lloco.compressors.icae import DESIGN as ICAE
from lloco.compressors.icae import IcaeCompressor, load_icae
from lloco.compressors.local import LocalCompressor, load_local_compressor, local_design
from lloco.errors import CheckpointError
from lloco.models.checkpoint import checkpoint_folder, find_tensor
from lloco.models.decoder import Decoder, load_decoder
from lloco.models.shell import load_shell

Design = Literal["autocompressor", "pooling", "interleaved", "bidirectional"]
"""The designs that training makes."""
TrainableCompressor: TypeAlias = AutoCompressor | LocalCompressor
"""The compressors that training can reach through: torch modules whose `read_documents` keeps gradients."""
AnyCompressor: TypeAlias = TrainableCompressor | IcaeCompressor
BUNDLED = "bundled"
"""Name of the compressor that comes with lloco; a folder of this name is written ./bundled."""
BUNDLED_FOLDER = Path(__file__).parent.parent / "bundled" / "model"
BUNDLED_AUTOCOMPRESSOR = "bundled-autocompressor"
"""Name of the other one, of the method's own design."""
BUNDLED_AUTOCOMPRESSOR_FOLDER = Path(__file__).parent.parent / "bundled" / "autocompressor"


def bundled_names() -> dict[str, Path]:
    """Return the folders of the compressors that come with lloco, by name."""
    return {BUNDLED: BUNDLED_FOLDER, BUNDLED_AUTOCOMPRESSOR: BUNDLED_AUTOCOMPRESSOR_FOLDER}


def named_folder(name: str | Path) -> Path:
    """Return the local folder of a bundled name, a folder or a hub id, which is downloaded.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    return bundled_names().get(str(name)) or checkpoint_folder(name)


def design_of(folder: Path) -> Design | Literal["icae"] | None:
    """Return the design of the folder's compressor, or None where it is a plain language model.

    Raises:
        CheckpointError: the folder's weights cannot be read, or its config names no design that there is.
    """
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
    """Load a compressor with its decoder; None and "bundled" are the one that comes with lloco.

    "bundled-autocompressor" is the other one that does. `max_positions` is how many a row may take, fewer or more than
    the decoder declares.

    Raises:
        CheckpointError: no such checkpoint, or it cannot be read as a compressor.
    """
    name, place = _locate(path_or_hub_id)
    folder = checkpoint_folder(place)
    compressor: AnyCompressor
    if config_design(folder) == ICAE:
        compressor = load_icae(place, device=device, dtype=dtype, max_positions=max_positions)
    elif local_design(folder) is None:
        compressor = load_autocompressor(place, device=device, dtype=dtype, max_positions=max_positions)
    else:
        compressor = load_local_compressor(place, device=device, dtype=dtype, max_positions=max_positions)
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
    """Load a decoder, or its shell alone, by the names that compressors have: their folder is also their decoder's.

    Raises:
        CheckpointError: no such checkpoint, or it cannot be read as a causal language model.
    """
    name, place = _locate(path_or_hub_id)
    if is_shell:
        decoder = load_shell(place, dtype=dtype, max_positions=max_positions)
    else:
        decoder = load_decoder(place, device=device, dtype=dtype, max_positions=max_positions)
    return replace(decoder, name=name)


def _locate(path_or_hub_id: str | Path | None) -> tuple[str, str | Path]:
    """Return the name to remember, which means the same from any working directory, and where to load from."""
    name = BUNDLED if path_or_hub_id is None else str(path_or_hub_id)
    if (bundled := bundled_names().get(name)) is not None:
        if not (bundled / "config.json").is_file():
            raise CheckpointError(
                f"compressor {name} was wanted, {bundled} holds none: name another with --compressor, or install lloco "
                "again"
            )
        return name, bundled
    assert path_or_hub_id is not None
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        return str(folder.resolve()), folder.resolve()
    return str(path_or_hub_id), path_or_hub_id
