"""Vectors in the types that they are stored in: the tensors of a soft prompt's file, and back.

`docs/storage.md` has each type to the byte. Knows nothing of headers and of where codebooks are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lloco.errors import MismatchError
from lloco.prompts.codebook import Codebook
from lloco.prompts.learn_codebook import VALUES_PER_BYTE
from lloco.prompts.provenance import STORAGE_DTYPE_NAMES

STORAGE_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in STORAGE_DTYPE_NAMES[:4]}
"""Those that torch has; int4 and pq are packed into bytes."""
INT4_GROUP_SIZE = 16
"""Values that share a scale: vectors of documents lost 7, 9, 10 and 12 % with 8, 16, 32 and 64 of them."""
INT4_MAX = 7
GROUP_SCALE_MAX = 255


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Tensors of a file by name, and the codebook that spells them out where they are pq."""

    tensors: Mapping[str, Tensor]
    storage_dtype: str
    hidden_size: int
    codebook: Codebook | None = None

    def unpack(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return the vectors (num_virtual_tokens, hidden_size); without a dtype in that of the file, or float32."""
        embeds = self._unpack()
        return embeds if dtype is None else embeds.to(dtype)

    def _unpack(self) -> Tensor:
        values, scales = self.tensors["embeds"], self.tensors.get("scales")
        if scales is None:
            return values
        if self.codebook is not None:
            return self.codebook.decode(values, scales)
        if self.storage_dtype == "int8":
            return values.float() * scales[:, None]
        steps = torch.stack([values & 15, values >> 4], dim=2).flatten(1).float() - 8
        groups = steps.view(len(values), -1, INT4_GROUP_SIZE) * self.tensors["group_scales"].float()[:, :, None]
        return groups.flatten(1)[:, : self.hidden_size] * scales[:, None]

    def fault(self) -> str:
        """Say what is wrong with the tensors of a file; "" where nothing is."""
        expected = self._expected(self.tensors["embeds"].shape[0] if "embeds" in self.tensors else 0)
        if set(self.tensors) != set(expected) or self.tensors["embeds"].dtype != expected["embeds"][0]:
            found = ", ".join(
                f"{key} {str(tensor.dtype).removeprefix('torch.')}" for key, tensor in sorted(self.tensors.items())
            )
            return f"it must hold {self.storage_dtype} vectors ({', '.join(sorted(expected))}), got {found or 'none'}"
        shape = tuple(self.tensors["embeds"].shape)
        if len(shape) != 2 or shape[0] == 0 or shape != expected["embeds"][1]:
            return f"its header says {self.hidden_size} wide, its vectors have shape {shape}"
        if any((self.tensors[name].dtype, tuple(self.tensors[name].shape)) != expected[name] for name in expected):
            return f"its {self.storage_dtype} rows and their scales do not belong together"
        if self.codebook is not None and int(self.tensors["embeds"].max()) >= self.codebook.num_codewords:
            return f"it names codewords that codebook {self.codebook.digest[:12]} does not have"
        return ""

    def _expected(self, num_rows: int) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Return dtype and shape of every tensor."""
        scales = {"scales": (torch.float32, (num_rows,))}
        if self.codebook is not None:
            return {"embeds": (torch.uint8, (num_rows, self.codebook.num_codes)), **scales}
        if self.storage_dtype == "int4":
            num_groups = -(-self.hidden_size // INT4_GROUP_SIZE)
            group_scales = (torch.uint8, (num_rows, num_groups))
            width = num_groups * INT4_GROUP_SIZE // 2
            return {"embeds": (torch.uint8, (num_rows, width)), "group_scales": group_scales, **scales}
        embeds = {"embeds": (STORAGE_DTYPES[self.storage_dtype], (num_rows, self.hidden_size))}
        return {**embeds, **scales} if self.storage_dtype == "int8" else dict(embeds)


def pack(embeds: Tensor, storage_dtype: str, codebook: Codebook | None = None) -> Packed:
    """Pack float32 vectors (num_virtual_tokens, hidden_size).

    Raises:
        MismatchError: the type is unknown, or pq without its codebook.
    """
    width = int(embeds.shape[1])
    if storage_dtype in ("int8", "int4"):
        return Packed(_int8(embeds) if storage_dtype == "int8" else _int4(embeds), storage_dtype, width)
    if storage_dtype == "pq":
        if codebook is None:
            raise MismatchError(
                "storage dtype pq needs the corpus's codebook, there is none: compress documents with --storage-dtype "
                "pq first, or choose int4"
            )
        codes, factors = codebook.encode(embeds)
        return Packed({"embeds": codes, "scales": factors}, storage_dtype, width, codebook)
    if storage_dtype not in STORAGE_DTYPES:
        raise unknown_dtype(storage_dtype)
    return Packed({"embeds": embeds.to(STORAGE_DTYPES[storage_dtype]).contiguous()}, storage_dtype, width)


def bytes_per_vector(storage_dtype: str, hidden_size: int) -> int:
    """Return what a vector of this width takes in a file, without the header and without a codebook."""
    if storage_dtype == "pq":
        return max(round(hidden_size / VALUES_PER_BYTE), 1) + 4
    return sum(tensor.nbytes for tensor in pack(torch.ones(1, hidden_size), storage_dtype).tensors.values())


def _int8(embeds: Tensor) -> dict[str, Tensor]:
    scales = _rounded_up(embeds.abs().amax(dim=1) / 127)
    rows = (embeds / scales.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round().clamp(-127, 127)
    return {"embeds": rows.to(torch.int8).contiguous(), "scales": scales.contiguous()}


def _int4(embeds: Tensor) -> dict[str, Tensor]:
    """Scale every group of a row so that its largest value is seven steps: the row's scale times the group's."""
    tiny = torch.finfo(torch.float32).tiny
    groups = torch.nn.functional.pad(embeds, (0, -embeds.shape[1] % INT4_GROUP_SIZE))
    groups = groups.view(len(embeds), -1, INT4_GROUP_SIZE)
    largest = groups.abs().amax(dim=2) / INT4_MAX
    scales = _rounded_up(largest.amax(dim=1) / GROUP_SCALE_MAX)
    # Rounded up, so that no value is clipped.
    group_scales = (largest / scales.clamp_min(tiny)[:, None]).ceil().clamp(0, GROUP_SCALE_MAX)
    steps = groups / (group_scales * scales[:, None]).clamp_min(tiny)[:, :, None]
    values = steps.round().clamp(-INT4_MAX, INT4_MAX).to(torch.int16).flatten(1) + 8
    packed = (values[:, 0::2] | (values[:, 1::2] << 4)).to(torch.uint8)
    return {
        "embeds": packed.contiguous(),
        "group_scales": group_scales.to(torch.uint8).contiguous(),
        "scales": scales.contiguous(),
    }


def _rounded_up(scales: Tensor) -> Tensor:
    # Sixteen bits of mantissa (rounded up) make int8 x scale exact in float32, so that saving a loaded file
    # gives the same bytes.
    return ((scales.contiguous().view(torch.int32) + 0xFF) & ~0xFF).view(torch.float32)


def unknown_dtype(dtype: str) -> MismatchError:
    """Return the error of a storage dtype that does not exist."""
    return MismatchError(f"storage dtype must be one of {', '.join(STORAGE_DTYPE_NAMES)}, got {dtype!r}")
