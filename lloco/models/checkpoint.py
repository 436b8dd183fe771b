"""The tensors of a checkpoint folder, read one at a time without running code from the file.

Knows safetensors and PyTorch `.bin` (weights only, memory-mapped), single or sharded. Does not know what the tensors
mean. A hub id becomes a folder here and nowhere else.
"""

import hashlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lloco.errors import CheckpointError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def checkpoint_folder(path_or_hub_id: str | Path) -> Path:
    """Return a local folder for a path, or download the hub id into the Hugging Face cache.

    Raises:
        CheckpointError: no such folder, and the hub has no such id or cannot be reached.
    """
    path = Path(path_or_hub_id).expanduser()
    if path.is_dir():
        return path
    name = str(path_or_hub_id)
    if path.exists():
        raise CheckpointError(
            f"a checkpoint folder was wanted, {name} is a file: name the folder that holds config.json"
        )
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(f"no checkpoint at {name}: give an existing folder or a hub id such as owner/name")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    patterns = ["*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"no folder {name} here, and the hub did not give {name}: {reason}; check the name or the connection"
        ) from error


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
            if any(Path(str(shard)).name != shard for shard in shards):
                raise CheckpointError(f"{index} names files outside its folder: do not use this checkpoint")
            if missing := [shard for shard in shards if not (folder / shard).is_file()]:
                raise CheckpointError(f"{folder} lacks {', '.join(missing)}, which its index names: fetch them again")
            return [folder / shard for shard in shards]
    raise CheckpointError(
        f"weights were wanted in {folder}, none of {', '.join(WEIGHT_FILES)} (or their index) is there"
    )


def iter_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for every tensor of the checkpoint, file by file; pickles are never executed.

    Raises:
        CheckpointError: a file is truncated, damaged, or a pickle that holds more than tensors.
    """
    for file in weight_files(folder):
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, framework="pt") as tensors:
                    for name in sorted(tensors.keys()):
                        yield name, tensors.get_tensor(name)
            else:
                state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
                yield from sorted((str(name), tensor) for name, tensor in state.items())
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
            reason = str(error).splitlines()[0][:200]
            raise CheckpointError(f"{file} cannot be read as weights ({reason}): fetch or save it again") from error


def find_tensor(folder: Path, name: str) -> Tensor | None:
    """Return the tensor of that name, or None if the checkpoint has none."""
    return next((tensor for key, tensor in iter_tensors(folder) if key == name), None)


def weights_digest(folder: Path) -> str:
    """Digest names, shapes, dtypes and bytes of all tensors: the same for `.bin` and safetensors of the same weights."""
    parts = []
    for name, tensor in iter_tensors(folder):
        data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        head = f"{name} {tuple(tensor.shape)} {tensor.dtype} "
        parts.append(head + hashlib.sha256(memoryview(data)).hexdigest())
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
