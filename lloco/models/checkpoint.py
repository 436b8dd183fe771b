"""The tensors of a checkpoint folder, read one at a time without running code from the file.

Knows safetensors and PyTorch `.bin` (weights only, memory-mapped), single or sharded, and how a folder is replaced so
that a kill never mixes two checkpoints. Does not know what the tensors mean. A name, a GGUF file or a hub id becomes a
folder here and nowhere else.
"""

import hashlib
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lloco.errors import CheckpointError
from lloco.files.durable import TEMP_SUFFIX, flush_folder, fsync_folder, make_folder_durably
from lloco.models.gguf_conversion import gguf_folder, smollm2_folder
from lloco.models.named import SMOLLM2, bundled_folder, full_name

IsWanted: TypeAlias = Callable[[str], bool]
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
GGUF_SUFFIX = ".gguf"
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
HUB_PICKLES = ["pytorch_model*.bin", "adapter_model.bin"]
"""Weights in a folder that has no safetensors; a training's state and other formats are never fetched."""
MODULE_FOLDERS = "[0-9]*_*"
"""Folders of a sentence-transformers model that may have weights of their own."""


def checkpoint_folder(path_or_hub_id: str | Path) -> Path:
    """Return a local folder for a model's name, a path or a GGUF file, or download the hub id into its cache.

    A GGUF file is converted the first time, which takes its time; so is the one that `smollm2` names.

    Raises:
        CheckpointError: no such folder, and the hub has no such id or cannot be reached; or the conversion failed.
    """
    path, name = Path(path_or_hub_id).expanduser(), str(path_or_hub_id)
    if full_name(name) == SMOLLM2:
        return smollm2_folder(weights_digest)
    if (bundled := bundled_folder(name)) is not None:
        return bundled
    if path.is_dir():
        return path
    if path.suffix.lower() == GGUF_SUFFIX:
        if not path.is_file():
            raise CheckpointError(f"no GGUF file at {name}: check the path")
        return gguf_folder(path, weights_digest)
    if path.exists():
        raise CheckpointError(f"{name} is a file, not a checkpoint folder: name the folder that it is in")
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(
            f"no checkpoint at {name}: give an existing folder or a hub id such as owner/name, a .gguf file, or a name "
            "that `lloco model list` shows"
        )
    try:
        return _download(name)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"no folder {name} here, and the hub did not give {name}: {reason}; check the name or the connection"
        ) from error


def _download(hub_id: str) -> Path:
    """Fetch everything but pickles, then those weights that the repository has as pickles alone."""
    folder = Path(snapshot_download(hub_id, allow_patterns=HUB_FILES))
    modules = [path for path in folder.glob(MODULE_FOLDERS) if path.is_dir()]
    pickles = [
        pattern if module == folder else f"{module.name}/{pattern}"
        for module in (folder, *modules)
        if not any(module.glob("*.safetensors"))
        for pattern in HUB_PICKLES
    ]
    return Path(snapshot_download(hub_id, allow_patterns=pickles)) if pickles else folder


def weight_files(folder: Path) -> list[Path]:
    """List the files that hold the checkpoint's tensors, in a stable order, safetensors before `.bin`.

    Raises:
        CheckpointError: there are none, or a shard that the index names is missing.
    """
    for name in WEIGHT_FILES:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return [folder / name]
        if index.is_file():
            try:
                shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(f"{index} is not a weight index ({error}): fetch the checkpoint again") from error
            if not shards:
                raise CheckpointError(f"{index} names no file: fetch the checkpoint again")
            if any(Path(str(shard)).name != shard for shard in shards):
                raise CheckpointError(f"{index} names files outside its folder: do not use this checkpoint")
            if missing := [shard for shard in shards if not (folder / shard).is_file()]:
                raise CheckpointError(f"{folder} lacks {', '.join(missing)}, which its index names: fetch them again")
            return [folder / shard for shard in shards]
    raise CheckpointError(f"{folder} has no weights: none of {', '.join(WEIGHT_FILES)} (or their index) is there")


def iter_tensors(folder: Path, is_wanted: IsWanted = lambda name: True) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for every tensor whose name is wanted, and read no other; pickles are never executed.

    Raises:
        CheckpointError: a file is truncated, damaged, or a pickle that holds more than tensors.
    """
    for file in weight_files(folder):
        try:
            yield from (
                _iter_safetensors(file, is_wanted) if file.suffix == ".safetensors" else _iter_pickle(file, is_wanted)
            )
        except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError, LookupError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise CheckpointError(f"{file} cannot be read as weights ({reason}): fetch or save it again") from error


def _iter_safetensors(file: Path, is_wanted: IsWanted) -> Iterator[tuple[str, Tensor]]:
    with safe_open(file, framework="pt") as tensors:
        for name in sorted(tensors.keys()):
            if is_wanted(name):
                yield name, tensors.get_tensor(name)


def _iter_pickle(file: Path, is_wanted: IsWanted) -> Iterator[tuple[str, Tensor]]:
    # Files from before PyTorch 1.6 are no zip archives and cannot be mapped into memory.
    state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{file} must hold tensors by name, it holds other things: save the state dict alone")
    for name in sorted(state):
        if is_wanted(name):
            yield name, state[name]


def find_tensor(folder: Path, name: str) -> Tensor | None:
    """Return the tensor of that name, or None if the checkpoint has none."""
    return next((tensor for _, tensor in iter_tensors(folder, name.__eq__)), None)


def weights_digest(folder: Path) -> str:
    """Digest all tensors' names, shapes, dtypes and bytes: the same for `.bin` and safetensors of the same weights."""
    parts = []
    for name, tensor in iter_tensors(folder):
        data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
        head = f"{name} {tuple(tensor.shape)} {tensor.dtype} "
        parts.append(head + hashlib.sha256(data).hexdigest())
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def write_checkpoint(folder: Path, write: Callable[[Path], None]) -> str:
    """Let `write` fill a folder beside `folder`, then put its files into place; return the digest of the weights.

    Files of an existing folder that have other names are kept.

    Raises:
        CheckpointError: `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file, not a folder for the checkpoint: name another")
    make_folder_durably(folder.parent)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}{TEMP_SUFFIX}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        write(temporary)
        digest = weights_digest(temporary)
        _move_into_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return digest


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Give `folder` the files of `temporary`; killed midway it has no weights, never those of another config."""
    flush_folder(temporary)
    if not folder.exists():
        temporary.rename(folder)
    else:
        for name in WEIGHT_FILES:
            (folder / name).unlink(missing_ok=True)
            (folder / f"{name}.index.json").unlink(missing_ok=True)
        files = [file for file in temporary.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: file.name.startswith(WEIGHT_FILES)):
            target = folder / file.relative_to(temporary)
            target.parent.mkdir(exist_ok=True)
            file.replace(target)
        fsync_folder(folder)
    fsync_folder(folder.parent)


def moved_since(made: str, error: CheckpointError, flag: str) -> CheckpointError:
    """Say what remembers this place."""
    return CheckpointError(f"{error}; {made} was made with it: if it has moved, name it with {flag}")
