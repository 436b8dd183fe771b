"""A document as vectors: the soft prompt, where it came from, and its file.

One safetensors file per soft prompt; everything about its origin is in the file's own header (`docs/storage.md` has the
layout to the byte). Knows nothing of the models that make or read soft prompts: it only compares what they say.
"""

import json
import struct
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lloco.errors import MismatchError, StoreError, VectorsError
from lloco.files.durable import write_durably
from lloco.prompts.provenance import (
    FORMAT,
    FORMAT_VERSION,
    STORAGE_DTYPE_NAMES,
    Provenance,
    damaged,
    parse_header,
)

STORAGE_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in STORAGE_DTYPE_NAMES}


@dataclass(frozen=True, slots=True, eq=False)
class SoftPrompt:
    """Vectors (num_virtual_tokens, hidden_size) that stand for one document."""

    embeds: Tensor
    provenance: Provenance

    def __post_init__(self) -> None:
        if self.embeds.ndim != 2 or not self.embeds.is_floating_point():
            shape, dtype = tuple(self.embeds.shape), self.embeds.dtype
            raise MismatchError(
                f"soft prompt of document {self.provenance.document_id!r}: must be floating point vectors "
                f"(num_virtual_tokens, hidden_size), got {dtype} of shape {shape}: pass the compressor's output on"
            )
        if self.embeds.shape[0] == 0 or self.embeds.shape[1] != self.provenance.hidden_size:
            raise MismatchError(
                f"soft prompt of document {self.provenance.document_id!r}: must have at least one vector "
                f"{self.provenance.hidden_size} wide, got shape {tuple(self.embeds.shape)}: compress the document "
                "again"
            )
        if self.provenance.dtype not in STORAGE_DTYPES:
            raise _unknown_dtype(self.provenance.dtype)

    @property
    def num_virtual_tokens(self) -> int:
        """Rows of `embeds`."""
        return int(self.embeds.shape[0])

    @property
    def hidden_size(self) -> int:
        """Columns of `embeds`: the width of the decoder that reads them."""
        return int(self.embeds.shape[1])

    @property
    def nbytes(self) -> int:
        """Memory that `embeds` takes."""
        return self.embeds.nbytes

    @property
    def compression_ratio(self) -> float:
        """Document tokens that were read per virtual token (30.0 means thirty times fewer)."""
        made = self.provenance
        num_read = -(-self.num_virtual_tokens // made.summary_length) * made.segment_len
        return min(made.num_document_tokens, num_read) / self.num_virtual_tokens

    def check_readable_by(self, name: str, digest: str, hidden_size: int) -> None:
        """Raise `MismatchError` unless this was made by the compressor `name` with these weights and this width."""
        made_by = self.provenance
        if made_by.compressor_digest == digest and made_by.hidden_size == hidden_size:
            return
        raise MismatchError(
            f"soft prompt of document {made_by.document_id!r} was made for {made_by.compressor} "
            f"({made_by.hidden_size} wide, digest {made_by.compressor_digest[:12]}), but {name} is to read it "
            f"({hidden_size} wide, digest {digest[:12]}): compress the document again with {name}"
        )

    def quantisation_error(self, storage_dtype: str) -> float:
        """Relative L2 error that storing these values as `storage_dtype` would add."""
        return self._relative_error(_decode(_encode(self.embeds.detach().cpu().float(), storage_dtype)))

    def save(self, path: str | Path, storage_dtype: str | None = None) -> None:
        """Write one safetensors file, atomically; `storage_dtype` None keeps `provenance.dtype`, "int8" quantises.

        Raises `StoreError` where a value is not finite, a row is zero, or the file cannot be written.
        """
        data = self.to_bytes(storage_dtype)
        try:
            write_durably(Path(path), data)
        except OSError as error:
            raise StoreError(
                f"soft prompt of document {self.provenance.document_id!r} could not be written to {path} "
                f"({len(data)} bytes): {error.strerror or error}; an earlier file there was kept: free space or choose "
                "another place"
            ) from error

    def to_bytes(self, storage_dtype: str | None = None) -> bytes:
        """Return the file's content; equal soft prompts give equal bytes."""
        storage_dtype = storage_dtype or self.provenance.dtype
        name = f"soft prompt of document {self.provenance.document_id!r}"
        _check_values(self.embeds, name)
        tensors = _encode(self.embeds.detach().cpu().float(), storage_dtype)
        stored = _decode(tensors)
        _check_values(stored, f"{name} stored as {storage_dtype}")
        provenance = self.provenance
        if storage_dtype != provenance.dtype:
            provenance = replace(provenance, dtype=storage_dtype, quantisation_error=self._relative_error(stored))
        metadata = {"format": FORMAT, "format_version": FORMAT_VERSION}
        metadata |= {key: value if isinstance(value, str) else repr(value) for key, value in asdict(provenance).items()}
        if not provenance.refine_steps:  # files from before there was refinement keep their bytes, hence their names
            del metadata["refine_steps"]
        try:
            data = _with_sorted_header(safetensors.torch.save(tensors, metadata))
        except UnicodeEncodeError as error:
            raise StoreError(
                f"{name}: its id or names hold {error.object[error.start]!r}, which is not text: rename it"
            ) from error
        parse_header(data, name)
        return data

    def _relative_error(self, stored: Tensor) -> float:
        exact = self.embeds.detach().cpu().double()
        error = (stored.double() - exact).norm() / exact.norm().clamp_min(torch.finfo(torch.float64).tiny)
        return float(error)

    @classmethod
    def load(cls, path: str | Path) -> "SoftPrompt":
        """Read a file that `save` wrote; raises `StoreError` naming the file for anything else."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise StoreError(f"soft prompt {path} cannot be read: {error.strerror or error}: check the path") from error
        return cls.from_bytes(data, str(path))

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> "SoftPrompt":
        """Read a file's content; `source` names it in errors. int8 comes back as float32."""
        provenance = parse_header(data, source)
        try:
            tensors = safetensors.torch.load(data)
        except (safetensors.SafetensorError, ValueError, RuntimeError) as error:
            raise damaged(source, f"its tensors cannot be read ({error})") from error
        names = {"embeds", "scales"} if provenance.dtype == "int8" else {"embeds"}
        if set(tensors) != names or tensors["embeds"].dtype != STORAGE_DTYPES[provenance.dtype]:
            found = ", ".join(
                f"{key} {str(tensor.dtype).removeprefix('torch.')}" for key, tensor in sorted(tensors.items())
            )
            raise damaged(
                source, f"it must hold {provenance.dtype} vectors ({', '.join(sorted(names))}), got {found or 'none'}"
            )
        shape = tuple(tensors["embeds"].shape)
        if len(shape) != 2 or shape[0] == 0 or shape[1] != provenance.hidden_size:
            raise damaged(source, f"its header says {provenance.hidden_size} wide, its vectors have shape {shape}")
        if "scales" in tensors and (tensors["scales"].dtype, tuple(tensors["scales"].shape)) != (
            torch.float32,
            shape[:1],
        ):
            raise damaged(source, "its int8 rows and their scales do not belong together")
        embeds = _decode(tensors)
        _check_values(embeds, f"soft prompt {source}")
        return cls(embeds, provenance)


def _encode(embeds: Tensor, storage_dtype: str) -> dict[str, Tensor]:
    """Turn float32 (num_virtual_tokens, hidden_size) into the tensors of a file."""
    if storage_dtype not in STORAGE_DTYPES:
        raise _unknown_dtype(storage_dtype)
    if storage_dtype != "int8":
        return {"embeds": embeds.to(STORAGE_DTYPES[storage_dtype]).contiguous()}
    scales = embeds.abs().amax(dim=1) / 127
    # Sixteen bits of mantissa (rounded up) make int8 x scale exact in float32, so that saving a loaded file
    # gives the same bytes.
    scales = ((scales.view(torch.int32) + 0xFF) & ~0xFF).view(torch.float32)
    rows = (embeds / scales.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round().clamp(-127, 127)
    return {"embeds": rows.to(torch.int8).contiguous(), "scales": scales.contiguous()}


def _decode(tensors: dict[str, Tensor]) -> Tensor:
    if "scales" in tensors:
        return tensors["embeds"].float() * tensors["scales"][:, None]
    return tensors["embeds"]


def _check_values(embeds: Tensor, name: str) -> None:
    for is_wrong, what in ((~embeds.isfinite().all(dim=1), "NaN or infinite"), ((embeds == 0).all(dim=1), "all zero")):
        if is_wrong.any():
            row = int(is_wrong.nonzero()[0, 0])
            raise VectorsError(
                f"{name}: vectors must be finite and not zero, {int(is_wrong.sum())} of {len(is_wrong)} are {what} "
                f"(first: row {row}): compress the document again, in a wider dtype if it is float16"
            )


def _with_sorted_header(data: bytes) -> bytes:
    """Put the header's keys in order: the library writes metadata in a random one, and files are named by content."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.dumps(
        json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _unknown_dtype(dtype: str) -> MismatchError:
    return MismatchError(f"storage dtype must be one of {', '.join(STORAGE_DTYPES)}, got {dtype!r}")
