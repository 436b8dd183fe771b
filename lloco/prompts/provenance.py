"""Where a soft prompt came from, as the header of its file says: read without the vectors, and without torch."""

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass, fields
from pathlib import Path

from lloco.errors import StoreError

FORMAT = "lloco-soft-prompt"
FORMAT_VERSION = "1"
STORAGE_DTYPE_NAMES = ("float32", "bfloat16", "float16", "int8", "int4", "pq")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a soft prompt came from; the values of its file's header."""

    document_id: str
    text_digest: str
    num_document_tokens: int
    compressor: str
    compressor_digest: str
    base_model: str
    hidden_size: int
    segment_len: int
    summary_length: int
    dtype: str
    """What the values were last stored or computed in: float32, bfloat16, float16, int8, int4 or pq."""
    quantisation_error: float = 0.0
    """Relative L2 error that storing in `dtype` cost, measured when it was stored."""
    refine_steps: int = 0
    """Gradient steps that the vectors took after they were compressed."""
    codebook: str = ""
    """Digest of the codebook that spells out vectors stored as pq."""


OPTIONAL_KEYS = {"refine_steps", "codebook"}
"""Those that a header has only where they say something: files from before keep their bytes, hence their names."""


def read_provenance(path: Path) -> Provenance:
    """Read what a file's header says, without its vectors; raises `StoreError` naming the file where it cannot."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            (length,) = struct.unpack("<Q", start) if len(start) == 8 else (0,)
            data = start + file.read(min(length, path.stat().st_size))
    except OSError as error:
        raise StoreError(f"soft prompt {path} cannot be read: {error.strerror or error}: check the path") from error
    return parse_header(data, str(path))


def file_digest(data: bytes) -> str:
    """Name of a soft prompt file in a store: sha256 of its bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def parse_header(data: bytes, source: str) -> Provenance:
    """Read the provenance from a file's first bytes, its whole header among them; `source` names it in errors.

    Raises:
        StoreError: it is not a soft prompt's header.
    """
    length = struct.unpack_from("<Q", data)[0] if len(data) >= 8 else 0
    if not 2 <= length <= len(data) - 8 or data[8:9] != b"{":
        raise damaged(source, "it is not a safetensors file, or its beginning is missing")
    try:
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (ValueError, RecursionError) as error:
        raise damaged(source, f"its header is not JSON ({error})") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise damaged(source, f"it is a safetensors file without the header of {FORMAT}")
    if metadata.get("format_version") != FORMAT_VERSION:
        version = metadata.get("format_version")
        raise damaged(
            source, f"format version must be {FORMAT_VERSION}, got {version!r}; a newer lloco may have written it"
        )
    return _parse_provenance({key: value for key, value in metadata.items() if not key.startswith("format")}, source)


def _parse_provenance(metadata: dict[str, str], source: str) -> Provenance:
    names = {field.name for field in fields(Provenance)} - OPTIONAL_KEYS
    if set(metadata) - OPTIONAL_KEYS != names:
        raise damaged(
            source,
            f"header keys missing: {sorted(names - set(metadata))}, unknown: "
            f"{sorted(set(metadata) - names - OPTIONAL_KEYS)}",
        )
    values: dict[str, str | int | float] = dict(metadata)
    try:
        numbers = ["num_document_tokens", "hidden_size", "segment_len", "summary_length"]
        for key in [*numbers, *({"refine_steps"} & set(metadata))]:
            values[key] = int(metadata[key])
            if int(metadata[key]) < 1:
                raise ValueError(f"{key} is {metadata[key]}")
        values["quantisation_error"] = error_measured = float(metadata["quantisation_error"])
        if not math.isfinite(error_measured):
            raise ValueError("quantisation_error is not finite")
        if metadata["dtype"] not in STORAGE_DTYPE_NAMES:
            raise ValueError(f"dtype {metadata['dtype']!r} is unknown")
        is_named = re.fullmatch("[0-9a-f]{64}", metadata.get("codebook", "")) is not None
        if (metadata["dtype"] == "pq") != is_named or ("codebook" in metadata and not is_named):
            raise ValueError(f"dtype is {metadata['dtype']}, codebook {metadata.get('codebook')!r}")
    except (ValueError, TypeError) as error:
        raise damaged(source, f"its header is wrong: {error}") from error
    return Provenance(**values)  # type: ignore[arg-type]


def with_sorted_header(data: bytes) -> bytes:
    """Put the header's keys in order: the library writes metadata in a random one, and files are named by content."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.dumps(
        json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def damaged(source: str, reason: str) -> StoreError:
    """Return the error of a file that is no soft prompt, or a broken one."""
    return StoreError(f"{source} cannot be read as a soft prompt: {reason}; compress the document again")
