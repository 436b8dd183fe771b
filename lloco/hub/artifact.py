"""What travels: the files of a compressor, an adapter or a corpus, and the list of them with their digests.

    lloco_artifact.json   format, kind, summary, and every file's size and sha256
    README.md             the card; not in the list, so that it may be edited
    ...                   the files by their usual names, so that other programs read them too

Only names that a kind is known to have are pushed or pulled: no pickle, no code, no path out of the folder.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lloco.errors import CheckpointError

MANIFEST = "lloco_artifact.json"
SOFT_PROMPTS = "soft_prompts/"
CODEBOOKS = "codebooks/"
CARD = "README.md"
FORMAT = "lloco-artifact"
FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 64 << 20

_TOKENIZER = r"tokenizer\.(json|model)|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json"
_LEGAL = r"(LICENSE|NOTICE)(\.txt|\.md)?"
_ADAPTER = r"adapter_config\.json|adapter_model\.safetensors|template\.json|lloco\.json"
KINDS: Mapping[str, re.Pattern[str]] = {
    "compressor": re.compile(
        rf"(generation_)?config\.json|model(-\d{{5}}-of-\d{{5}})?\.safetensors|model\.safetensors\.index\.json|{_TOKENIZER}"
        rf"|lloco_delta\.json|template\.json|vocab\.json|merges\.txt|spiece\.model|chat_template\.jinja|{_LEGAL}"
    ),
    "adapter": re.compile(rf"{_ADAPTER}|{_LEGAL}"),
    "corpus": re.compile(
        rf"corpus\.json|documents\.jsonl|({SOFT_PROMPTS}|{CODEBOOKS})[0-9a-f]{{64}}\.safetensors|adapter/({_ADAPTER})"
    ),
}
"""Every file name that a kind may have."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and digest of one file."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A kind, what is told about it, and its files."""

    kind: str
    summary: Mapping[str, Any]
    files: Mapping[str, FileRecord]

    @property
    def num_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.num_bytes for file in self.files.values())

    def to_json(self) -> bytes:
        """Return the manifest's bytes; the same artifact gives the same bytes."""
        files = {
            name: {"num_bytes": record.num_bytes, "sha256": record.sha256}
            for name, record in sorted(self.files.items())
        }
        values = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": self.kind}
        text = json.dumps({**values, "summary": dict(self.summary), "files": files}, indent=2, ensure_ascii=False)
        return (text + "\n").encode()

    def check_files(self, folder: Path, source: str) -> None:
        """Raise `CheckpointError` unless every file is in the folder, whole."""
        for name, record in self.files.items():
            file = folder / name
            if not file.is_file():
                raise CheckpointError(f"{source} lists {name} and does not have it: push it again")
            found = record_of(file)
            if found != record:
                raise CheckpointError(
                    f"{name} of {source} must have {record.num_bytes:,} bytes and digest {record.sha256[:12]}, got "
                    f"{found.num_bytes:,} bytes and {found.sha256[:12]}: it is damaged or changed, push it again"
                )


def describe(kind: str, folder: Path, names: list[str], summary: Mapping[str, Any]) -> Artifact:
    """Return the artifact of these files of a folder."""
    assert all(KINDS[kind].fullmatch(name) for name in names)
    return Artifact(kind, summary, {name: record_of(folder / name) for name in names})


def known_files(kind: str, folder: Path) -> list[str]:
    """List the folder's files that this kind has; others stay where they are."""
    names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in names if KINDS[kind].fullmatch(name))


def record_of(file: Path) -> FileRecord:
    """Measure a file."""
    with file.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(data)
        return FileRecord(data.tell(), digest)


def _digest(data: Any) -> str:
    # Python 3.10 has no file_digest.
    digest = hashlib.sha256()
    while block := data.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def read_artifact(file: Path, source: str) -> Artifact:
    """Read a manifest that came from anywhere.

    Raises:
        CheckpointError: none, of another format or kind, or naming files that its kind does not have.
    """
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise ValueError(f"it has more than {MAX_MANIFEST_BYTES:,} bytes")
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"{MANIFEST} of {source} cannot be read ({reason}): check the name, or push it again"
        ) from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise CheckpointError(f"{source} was not written by `lloco push`: check the name")
    if values.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"format version must be {FORMAT_VERSION}, {source} has {values.get('format_version')!r}: a newer lloco "
            "may have written it, upgrade this one"
        )
    kind, summary, files = (values.get(key) for key in ("kind", "summary", "files"))
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(
            f"kind must be one of {', '.join(KINDS)}, {source} is a {kind!r}: a newer lloco may know it"
        )
    if not isinstance(summary, dict) or not isinstance(files, dict) or not files:
        raise CheckpointError(f"{MANIFEST} of {source} has no list of files: push it again")
    return Artifact(kind, summary, {name: _record(kind, name, record, source) for name, record in files.items()})


def _record(kind: str, name: str, value: object, source: str) -> FileRecord:
    if not KINDS[kind].fullmatch(name):
        raise CheckpointError(
            f"{source} lists {name[:200]!r}, which is no file of a {kind} (pickles, code and paths out of the folder "
            "are never fetched): do not use it"
        )
    match value:
        case {"num_bytes": int(num_bytes), "sha256": str(digest)} if num_bytes >= 0 and len(digest) == 64:
            return FileRecord(num_bytes, digest)
    raise CheckpointError(f"{MANIFEST} of {source} lacks size or digest of {name}: push it again")
