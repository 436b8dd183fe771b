"""A codebook: what spells out the bytes of a vector that is stored as pq.

A vector is stored as its norm and as codes, a byte for 32 values. The codes name codewords in the space of the corpus's
main directions. These are split into groups; in each group every level spells out what the levels before it left over
(product and residual quantisation: Jegou et al. 2011, Chen et al. 2010). Knows nothing of stores.
"""

import json
import struct
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lloco.errors import MismatchError, StoreError
from lloco.prompts.provenance import file_digest, with_sorted_header

FORMAT = "lloco-codebook"
FORMAT_VERSION = "1"
NUM_CODEWORDS = 256
"""Codewords of a group and level: as many as a byte can name."""
_ADVICE = "compress its documents again, or copy the file again"


@dataclass(frozen=True, eq=False)
class Codebook:
    """Codewords of vectors of one width; what is kept in a file, in float16."""

    mean: Tensor
    """(hidden_size)."""
    directions: Tensor
    """(hidden_size, num_directions), orthonormal."""
    codewords: Tensor
    """(num_levels, num_codewords, num_directions)."""
    starts: Tensor
    """First direction of every group (num_groups), int32."""
    compressor_digest: str
    """Of the compressor whose vectors it was learned from."""

    @property
    def hidden_size(self) -> int:
        """Width of the vectors."""
        return int(self.mean.shape[0])

    @property
    def num_codewords(self) -> int:
        """Codewords of a group and level; fewer than `NUM_CODEWORDS` where there were not as many vectors."""
        return int(self.codewords.shape[1])

    @property
    def num_codes(self) -> int:
        """Bytes of a vector's codes."""
        return int(self.codewords.shape[0]) * len(self.starts)

    @cached_property
    def data(self) -> bytes:
        """Content of its file."""
        values = {
            "compressor_digest": self.compressor_digest,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
        }
        return with_sorted_header(safetensors.torch.save({name: getattr(self, name) for name in _SHAPES}, values))

    @cached_property
    def digest(self) -> str:
        """sha256 of its file, hence its name in a store."""
        return file_digest(self.data)

    @classmethod
    def from_bytes(cls, data: bytes, digest: str, source: str) -> "Codebook":
        """Read a codebook's file, which must have this digest; `source` names it in errors.

        Raises:
            StoreError: it is truncated, changed, or no codebook.
        """
        found = file_digest(data)
        if found != digest:
            raise StoreError(
                f"codebook {source} must have digest {digest[:12]}, got {found[:12]}, it is damaged: {_ADVICE}"
            )
        try:
            (length,) = struct.unpack_from("<Q", data)
            values = json.loads(data[8 : 8 + length])["__metadata__"]
            if (values["format"], values["format_version"]) != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"format is {values['format']!r}, version {values['format_version']!r}")
            tensors = safetensors.torch.load(data)
            _check_tensors(tensors)
            return cls(**tensors, compressor_digest=str(values["compressor_digest"]))
        except (struct.error, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
            raise StoreError(f"{source} cannot be read as a codebook ({error}): {_ADVICE}") from error

    def groups(self) -> list[slice]:
        """Return the directions of every group."""
        starts = [*self.starts.tolist(), self.directions.shape[1]]
        return [slice(start, end) for start, end in pairwise(starts)]

    def encode(self, embeds: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes, uint8 (num_vectors, num_codes), and the factor of each row, which gives it its norm again.

        Raises:
            MismatchError: the vectors have another width.
        """
        if embeds.shape[1] != self.hidden_size:
            raise MismatchError(
                f"codebook {self.digest[:12]} is for vectors {self.hidden_size} wide, got {embeds.shape[1]}: compress "
                "with the compressor that it was learned from"
            )
        rest = (normalised(embeds) - self.mean.float()) @ self.directions.float()
        codes = []
        for group in self.groups():
            left = rest[:, group]
            for codewords in self.codewords[:, :, group].float():
                chosen = nearest(left, codewords)
                left = left - codewords[chosen]
                codes.append(chosen)
        packed = torch.stack(codes, dim=1).to(torch.uint8)
        tiny = torch.finfo(torch.float32).tiny
        return packed, embeds.norm(dim=1) / self._spell(packed).norm(dim=1).clamp_min(tiny)

    def decode(self, codes: Tensor, factors: Tensor) -> Tensor:
        """Return the float32 vectors (num_vectors, hidden_size) that these codes stand for."""
        return self._spell(codes) * factors[:, None]

    def _spell(self, codes: Tensor) -> Tensor:
        num_levels, (chosen, column) = len(self.codewords), (codes.long(), 0)
        rows = torch.zeros(len(codes), self.directions.shape[1])
        for group in self.groups():
            for level in range(num_levels):
                rows[:, group] += self.codewords[level, chosen[:, column], group].float()
                column += 1
        spelled: Tensor = rows @ self.directions.float().T + self.mean.float()
        return spelled


_SHAPES = {"mean": 1, "directions": 2, "codewords": 3, "starts": 1}
"""Tensors of a file and how many dimensions they have."""


def _check_tensors(tensors: dict[str, Tensor]) -> None:
    """Raise `ValueError` unless these are a codebook's."""
    if {name: tensor.ndim for name, tensor in tensors.items()} != _SHAPES:
        raise ValueError(f"it must hold {', '.join(_SHAPES)}, got {', '.join(sorted(tensors)) or 'nothing'}")
    starts = tensors.pop("starts")
    if starts.dtype != torch.int32 or any(
        tensor.dtype != torch.float16 or not bool(tensor.isfinite().all()) for tensor in tensors.values()
    ):
        raise ValueError("its values must be finite and float16")
    (hidden_size,), (width, num_directions) = tensors["mean"].shape, tensors["directions"].shape
    num_levels, num_codewords, num_spelled = tensors["codewords"].shape
    bounds = [*starts.tolist(), num_directions]
    if (
        (width, num_spelled, bounds[0]) != (hidden_size, num_directions, 0)
        or bounds != sorted(set(bounds))
        or not 1 <= num_codewords <= NUM_CODEWORDS
        or num_levels < 1
    ):
        raise ValueError("its tensors do not belong together")
    tensors["starts"] = starts


def normalised(embeds: Tensor) -> Tensor:
    """Return the rows with a root mean square of 1, which float16 can hold whatever their size was."""
    norms = embeds.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    rows: Tensor = embeds / norms * embeds.shape[1] ** 0.5
    return rows


def nearest(vectors: Tensor, codewords: Tensor) -> Tensor:
    """Return the index of the codeword that is nearest to each vector."""
    # |v - c|^2 without |v|^2, which is the same for every codeword.
    distances = torch.addmm(codewords.square().sum(dim=1), vectors, codewords.T, alpha=-2)
    return distances.argmin(dim=1)
