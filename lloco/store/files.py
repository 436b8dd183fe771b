"""The store's files: soft prompts and codebooks named by their content, and adapter folders.

Everything that writes or removes here is called while the catalogue's write lock is held, so a temporary file that is
seen under that lock belongs to nobody alive. Knows nothing of rows: the caller says which files are still wanted.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lloco.adapters.digest import CONFIG_FILE, WEIGHT_FILES, adapter_files_digest
from lloco.errors import StoreError
from lloco.files.durable import TEMP_SUFFIX, fsync_folder, make_folder_durably, write_durably
from lloco.prompts.provenance import file_digest

if TYPE_CHECKING:
    from lloco.prompts.codebook import Codebook

ADAPTER_SUFFIXES = {".json", ".jinja", ".md", ".model", ".safetensors", ".txt"}
"""What is copied of an adapter's folder: optimizer states stay out of the store."""


class SoftPromptFiles:
    """soft_prompts/<first two digits>/<sha256 of the file>.safetensors."""

    def __init__(self, store_folder: Path) -> None:
        self.folder = store_folder / "soft_prompts"

    def path(self, digest: str) -> Path:
        """Where the file with this content is or would be."""
        return self.folder / digest[:2] / f"{digest}.safetensors"

    def write(self, data: bytes) -> str:
        """Put the content on the disk, flushed; returns its digest. A damaged file of that name is replaced."""
        digest = file_digest(data)
        path = self.path(digest)
        make_folder_durably(path.parent)
        write_durably(path, data)
        return digest

    def remove(self, digest: str) -> None:
        """Remove the file if it is there."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Digests of all files there, wanted or not."""
        for path in sorted(self.folder.glob("??/*.safetensors")):
            if path == self.path(path.stem) and len(path.stem) == 64:
                yield path.stem


class CodebookFiles:
    """codebooks/<sha256 of the file>.safetensors, in a store or an exported corpus; those that were read are kept."""

    def __init__(self, parent: Path) -> None:
        self.folder = parent / "codebooks"
        self._known: dict[str, Codebook] = {}

    def path(self, digest: str) -> Path:
        """Where the codebook with this digest is or would be."""
        return self.folder / f"{digest}.safetensors"

    def read(self, digest: str) -> "Codebook":
        """Read a codebook, checked against its digest.

        Raises:
            StoreError: it is missing or damaged.
        """
        path = self.path(digest)
        known = self._known.get(digest)
        if known is not None and path.is_file():
            return known
        from lloco.prompts.codebook import Codebook

        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"codebook {digest[:12]} cannot be read: {error.strerror or error} ({path}): compress the documents "
                "that are stored as pq again"
            ) from error
        self._known[digest] = codebook = Codebook.from_bytes(data, digest, str(path))
        return codebook

    def write(self, codebook: "Codebook") -> None:
        """Put a codebook on the disk, flushed, unless it is there and whole."""
        try:
            self.read(codebook.digest)
        except StoreError:
            make_folder_durably(self.folder)
            write_durably(self.path(codebook.digest), codebook.data)

    def digests(self) -> Iterator[str]:
        """Digests of all files there, wanted or not."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if len(path.stem) == 64:
                yield path.stem

    def remove_all_but(self, named: set[str]) -> None:
        """Remove those that nothing names."""
        for digest in set(self.digests()) - named:
            self.path(digest).unlink(missing_ok=True)


class AdapterFiles:
    """adapters/<corpus>/<first 12 digits of the digest>/, PEFT's own files."""

    def __init__(self, store_folder: Path) -> None:
        self.folder = store_folder / "adapters"

    def path(self, corpus: str, digest: str) -> Path:
        """Where this adapter of this corpus is or would be."""
        return self.folder / corpus / digest[:12]

    def write(self, corpus: str, files: dict[str, bytes]) -> None:
        """Put an adapter on the disk, flushed; the folder appears whole or not at all.

        Of one that is there, which has the same weights, the files that differ are replaced one by one.
        """
        path = self.path(corpus, adapter_files_digest(files))
        if path.is_dir():
            for name, data in files.items():
                if not (path / name).is_file() or (path / name).read_bytes() != data:
                    write_durably(path / name, data)
            for other in [file for file in path.iterdir() if file.name not in files]:
                other.unlink()
            return
        make_folder_durably(path.parent)
        temp = path.with_name(f".{path.name}.{os.getpid()}{TEMP_SUFFIX}")
        try:
            temp.mkdir()
            for name, data in files.items():
                write_durably(temp / name, data)
            temp.replace(path)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)  # the first error is the one to report
            raise
        fsync_folder(path.parent)

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Corpus name and folder of every adapter there, wanted or not."""
        for path in sorted(self.folder.glob("*/*")):
            if path.is_dir() and path.suffix != TEMP_SUFFIX:
                yield path.parent.name, path

    def remove_all_but(self, corpus: str, digest: str | None) -> None:
        """Remove the adapters of a corpus except the one with this digest."""
        for name, path in self.folders():
            if name == corpus and (digest is None or path != self.path(corpus, digest)):
                shutil.rmtree(path)


def read_adapter_folder(folder: Path) -> dict[str, bytes]:
    """Contents by name of a PEFT adapter folder's files; raises `StoreError` where it is none."""
    weights = next((name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None or not (folder / CONFIG_FILE).is_file():
        raise StoreError(
            f"an adapter folder must hold {CONFIG_FILE} and {WEIGHT_FILES[0]}, {folder} does not: pass the folder "
            "that finetuning or PEFT's save_pretrained wrote"
        )
    paths = sorted(path for path in folder.iterdir() if path.suffix in ADAPTER_SUFFIXES or path.name == weights)
    return {path.name: path.read_bytes() for path in paths if path.is_file() and not path.name.startswith(".")}


def adapter_base_digest(files: dict[str, bytes]) -> str | None:
    """Digest of the model the adapter was trained on, where its lloco.json names one."""
    try:
        record = json.loads(files.get("lloco.json", b"{}"))
    except ValueError as error:
        raise StoreError(f"adapter: lloco.json is not JSON ({error}): finetune again") from error
    digest = record.get("base_model_digest") if isinstance(record, dict) else None
    return digest if isinstance(digest, str) else None


def orphan_temps(store_folder: Path) -> Iterator[Path]:
    """Temporary files and folders that a crash left; call it under the write lock."""
    for pattern in ("soft_prompts/*/.*", "codebooks/.*", "adapters/*/.*", "index/*/.*"):
        for path in sorted(store_folder.glob(pattern)):
            # Indexes alone are built without the lock: one that was touched lately may still be being built.
            is_in_use = pattern.startswith("index") and _changed_seconds_ago(path) < 3600
            if path.suffix == TEMP_SUFFIX and not is_in_use:
                yield path


def _changed_seconds_ago(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # whoever built it is done with it
