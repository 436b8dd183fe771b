"""The identity of an adapter: its weights, LoRA options and wording, which are what changes an answer.

The one digest of an adapter: the store, the engine and every result name it by this. Reads bytes and opens no weights,
so that the store need not load the libraries that do.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from lloco.errors import CheckpointError
from lloco.prompts.template import TEMPLATE_FILE

CONFIG_FILE = "adapter_config.json"
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
"""Names of the weights; the first that is there counts."""


def adapter_digest(folder: Path) -> str:
    """Digest what changes an answer: weights, LoRA options and wording, byte for byte.

    Raises:
        CheckpointError: the folder has no adapter.
    """
    files = [file for file in (folder / CONFIG_FILE, weight_file(folder), folder / TEMPLATE_FILE) if file.is_file()]
    states = [file.stat() for file in files]
    return _digest_of_files(tuple(files), tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in states))


@lru_cache(maxsize=256)
def _digest_of_files(files: tuple[Path, ...], states: tuple[tuple[int, int, int], ...]) -> str:
    """Read the files; once while their states stay the same, as a server asks for every question."""
    return adapter_files_digest({file.name: file.read_bytes() for file in files})


def adapter_files_digest(files: Mapping[str, bytes]) -> str:
    """Return `adapter_digest` of a folder with these files, its weights among them."""
    weights = next(name for name in WEIGHT_FILES if name in files)
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, weights, TEMPLATE_FILE):
        if name in files:
            digest.update(f"{name} {len(files[name])} ".encode() + files[name])
    return digest.hexdigest()


def weight_file(folder: Path) -> Path:
    """Return the file with the adapter's weights. Raises CheckpointError where there is none."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder} has no adapter, none of {', '.join(WEIGHT_FILES)} is in it: check the path")
