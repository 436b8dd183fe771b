"""A document as vectors: the soft prompt, where it came from, and its file.

One safetensors file per soft prompt; everything about its origin is in the file's own header (`docs/storage.md` has the
layout to the byte). Knows nothing of the models that make or read soft prompts: it only compares what they say.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lloco.errors import MismatchError, StoreError, VectorsError
from lloco.files.durable import write_durably
from lloco.prompts.codebook import Codebook
from lloco.prompts.packed import Packed, pack, unknown_dtype
from lloco.prompts.provenance import (
    FORMAT,
    FORMAT_VERSION,
    OPTIONAL_KEYS,
    STORAGE_DTYPE_NAMES,
    Provenance,
    damaged,
    parse_header,
    with_sorted_header,
)


@dataclass(frozen=True, slots=True, eq=False)
class SoftPrompt:
    """Vectors (num_virtual_tokens, hidden_size) that stand for one document."""

    embeds: Tensor
    provenance: Provenance
    packed: Packed | None = None
    """The same as it is stored; kept of what was read, where packing it again need not give the same."""

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
        if self.provenance.dtype not in STORAGE_DTYPE_NAMES:
            raise unknown_dtype(self.provenance.dtype)

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

    def quantisation_error(self, storage_dtype: str, codebook: Codebook | None = None) -> float:
        """Relative L2 error that storing these values as `storage_dtype` would add."""
        return self._relative_error(pack(self.embeds.detach().cpu().float(), storage_dtype, codebook).unpack())

    def as_stored(self, storage_dtype: str | None = None, codebook: Codebook | None = None) -> "SoftPrompt":
        """Return what comes back once it is stored as `storage_dtype` (None: its own); pq needs the codebook.

        Raises `StoreError` where a value is not finite or a row is zero, `MismatchError` for an unknown type.
        """
        storage_dtype = storage_dtype or self.provenance.dtype
        if self.packed is not None and storage_dtype == self.provenance.dtype:
            return self
        name = f"soft prompt of document {self.provenance.document_id!r}"
        _check_values(self.embeds, name)
        packed = pack(self.embeds.detach().cpu().float(), storage_dtype, codebook)
        stored = packed.unpack()
        _check_values(stored, f"{name} stored as {storage_dtype}")
        provenance = self.provenance
        if storage_dtype != provenance.dtype:
            provenance = replace(provenance, dtype=storage_dtype, quantisation_error=self._relative_error(stored))
        provenance = replace(provenance, codebook="" if packed.codebook is None else packed.codebook.digest)
        return SoftPrompt(stored, provenance, packed)

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

    def to_bytes(self, storage_dtype: str | None = None, codebook: Codebook | None = None) -> bytes:
        """Return the file's content; equal soft prompts give equal bytes."""
        name = f"soft prompt of document {self.provenance.document_id!r}"
        stored = self.as_stored(storage_dtype, codebook)
        assert stored.packed is not None
        metadata = {"format": FORMAT, "format_version": FORMAT_VERSION}
        values = {key: value for key, value in asdict(stored.provenance).items() if value or key not in OPTIONAL_KEYS}
        metadata |= {key: value if isinstance(value, str) else repr(value) for key, value in values.items()}
        try:
            data = with_sorted_header(safetensors.torch.save(dict(stored.packed.tensors), metadata))
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
    def from_bytes(
        cls,
        data: bytes,
        source: str,
        read_codebook: Callable[[str], Codebook] | None = None,
        dtype: torch.dtype | None = None,
    ) -> "SoftPrompt":
        """Read a file's content; `source` names it in errors.

        `read_codebook` gives the codebook of a digest, which pq needs. The vectors come in `dtype`; without it in that
        of the file, or in float32 where they are packed.
        """
        provenance = parse_header(data, source)
        try:
            tensors = safetensors.torch.load(data)
        except (safetensors.SafetensorError, ValueError, RuntimeError) as error:
            raise damaged(source, f"its tensors cannot be read ({error})") from error
        codebook = None
        if provenance.codebook:
            if read_codebook is None:
                raise StoreError(
                    f"{source} is stored as pq, with codebook {provenance.codebook[:12]} of its store: read it through "
                    "its corpus"
                )
            codebook = read_codebook(provenance.codebook)
            if codebook.hidden_size != provenance.hidden_size:
                raise damaged(source, f"its codebook is {codebook.hidden_size} wide, not {provenance.hidden_size}")
        packed = Packed(tensors, provenance.dtype, provenance.hidden_size, codebook)
        if fault := packed.fault():
            raise damaged(source, fault)
        embeds = packed.unpack(dtype)
        _check_values(embeds, f"soft prompt {source}")
        return cls(embeds, provenance, packed if provenance.dtype in ("int4", "pq") else None)


def _check_values(embeds: Tensor, name: str) -> None:
    for is_wrong, what in ((~embeds.isfinite().all(dim=1), "NaN or infinite"), ((embeds == 0).all(dim=1), "all zero")):
        if is_wrong.any():
            row = int(is_wrong.nonzero()[0, 0])
            raise VectorsError(
                f"{name}: vectors must be finite and not zero, {int(is_wrong.sum())} of {len(is_wrong)} are {what} "
                f"(first: row {row}): compress the document again, in a wider dtype if it is float16"
            )
