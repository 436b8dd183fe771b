"""Where converted GGUF files are kept, and what is written beside the weights of each.

    <cache>/gguf/<32 hex digits of the GGUF's sha256>/   config.json, model.safetensors, tokenizer, ..., lloco_gguf.json

Imports neither torch nor transformers: listing what is here must be quick. Converting is `gguf_conversion`'s business.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lloco.errors import CheckpointError
from lloco.files.durable import make_folder_durably, write_durably

ORIGIN_FILE = "lloco_gguf.json"
FORMAT = "lloco_gguf"
FORMAT_VERSION = 1
NUM_KEY_DIGITS = 32
WEIGHTS_SUFFIX = ".safetensors"
"""Files that are compared by size alone where a folder is used; `damage_of` reads them whole."""
_READ_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class GgufOrigin:
    """The GGUF file that a checkpoint folder was converted from."""

    file_name: str
    sha256: str
    quantization: str
    """As llama.cpp names it, such as Q4_1."""
    architecture: str
    model_name: str
    num_parameters: int
    weights_digest: str
    """Digest of the converted tensors, as a decoder of this folder has it."""
    files: Mapping[str, Mapping[str, int | str]]
    """Of each file of the folder `num_bytes` and `sha256`."""
    lloco_version: str

    def describe(self) -> str:
        """Say in a few words what the weights were before."""
        return f"{self.quantization}, converted to bfloat16 from {self.file_name} (sha256 {self.sha256[:12]})"


def cache_folder() -> Path:
    """$LLOCO_CACHE, or `lloco` in the platform's folder for what can be made again."""
    if os.environ.get("LLOCO_CACHE"):
        return Path(os.environ["LLOCO_CACHE"]).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lloco"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "lloco" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lloco"


def converted_folder(sha256: str) -> Path:
    """Return where the GGUF file of this digest is kept in converted form, whether it is there or not."""
    return cache_folder() / "gguf" / sha256[:NUM_KEY_DIGITS]


def converted_origins() -> dict[Path, GgufOrigin]:
    """Return every converted folder that can be used, with what it was made from."""
    folders = (cache_folder() / "gguf").glob(f"{'[0-9a-f]' * NUM_KEY_DIGITS}/")
    found = {folder: read_gguf_origin(folder) for folder in sorted(folders)}
    return {folder: origin for folder, origin in found.items() if origin is not None}


def read_gguf_origin(folder: Path) -> GgufOrigin | None:
    """Return what a folder was converted from; None where it does not say, or says it in another format version."""
    try:
        values = json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))
        if (values.pop("format"), values.pop("format_version")) != (FORMAT, FORMAT_VERSION):
            return None
        return GgufOrigin(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write_gguf_origin(folder: Path, origin: GgufOrigin) -> None:
    """Write `origin` into the folder."""
    values = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(origin)}
    (folder / ORIGIN_FILE).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def is_usable(folder: Path) -> bool:
    """Return whether a converted folder is there and none of its files has changed; of weights the size is compared."""
    origin = read_gguf_origin(folder)
    return origin is not None and not _changed_files(folder, origin, is_whole=False)


def damage_of(folder: Path) -> list[str]:
    """Return the names of the files of a converted folder that are missing or have changed; reads all of them."""
    origin = read_gguf_origin(folder)
    return [ORIGIN_FILE] if origin is None else _changed_files(folder, origin, is_whole=True)


def _changed_files(folder: Path, origin: GgufOrigin, *, is_whole: bool) -> list[str]:
    def is_same(name: str, record: Mapping[str, int | str]) -> bool:
        file = folder / name
        if not file.is_file() or file.stat().st_size != record["num_bytes"]:
            return False
        return (file.suffix == WEIGHTS_SUFFIX and not is_whole) or file_sha256(file) == record["sha256"]

    return [name for name, record in origin.files.items() if not is_same(name, record)]


def check_weights_digest(folder: Path, digest: str) -> None:
    """Raise `CheckpointError` where a converted folder of the cache has other weights than it was written with."""
    if folder.parent != cache_folder() / "gguf":
        return
    origin = read_gguf_origin(folder)
    if origin is not None and origin.weights_digest != digest:
        raise CheckpointError(
            f"{folder} must have weights of digest {origin.weights_digest[:12]}, as converted from {origin.file_name}, "
            f"got {digest[:12]}: remove that folder, then run the same again"
        )


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while data := opened.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest()


def remembered_sha256(file: Path) -> str:
    """Return the SHA-256 of a large file; it is kept in the cache until size or time of the file change."""
    state = file.stat()
    path = str(file.resolve())
    seen = {"path": path, "num_bytes": state.st_size, "mtime_ns": state.st_mtime_ns}
    key = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()
    record = cache_folder() / "digests" / f"{key}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):  # no record, or none that can be read
        known = json.loads(record.read_text(encoding="utf-8"))
        if {key: known[key] for key in seen} == seen:
            return str(known["sha256"])
    sha256 = file_sha256(file)
    with suppress(OSError):  # a cache that may only be read has what was converted before
        make_folder_durably(record.parent)
        write_durably(record, json.dumps({**seen, "sha256": sha256}).encode())
    return sha256
