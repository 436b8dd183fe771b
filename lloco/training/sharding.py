"""FSDP2: parameters, gradients and optimiser state in equal shares, one a process, as accelerate's configuration asks.

A layer that every micro-batch runs once is gathered when its turn comes; all else is gathered for the whole of a
micro-batch, so that what runs there, and how often, may differ from process to process. Files never hold shares: a
tensor is gathered before it is written and cut again when it is read. arXiv 2304.11277; torch's `fully_shard`.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from accelerate import PartialState
from accelerate.utils import FullyShardedDataParallelPlugin, is_torch_version
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate
from transformers import PreTrainedModel

from lloco.errors import LlocoError

T = TypeVar("T")


def is_sharding_wanted(state: PartialState) -> bool:
    """Return whether the configuration of `accelerate launch` asks for FSDP2 and there are processes to share among.

    Raises:
        LlocoError: the configuration asks for something that training here does not do.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise LlocoError(
            "accelerate's configuration asks for DeepSpeed, training here shares by FSDP2, which keeps the same "
            "shares as ZeRO stage 3: set distributed_type to FSDP and fsdp_version to 2"
        )
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return False
    if is_torch_version("<", "2.9"):
        raise LlocoError(f"FSDP2 here wants torch 2.9 or newer, this is {torch.__version__}: install a newer torch")
    plugin = _plugin()
    if plugin.fsdp_version != 2:
        raise LlocoError(
            f"fsdp_version must be 2 in accelerate's configuration, got {plugin.fsdp_version}: set it to 2"
        )
    instead = {
        "fsdp_offload_params": (isinstance(plugin.cpu_offload, CPUOffloadPolicy), "share among more processes"),
        "fsdp_activation_checkpointing": (plugin.activation_checkpointing, "give --gradient-checkpointing"),
        "fsdp_cpu_ram_efficient_loading": (
            plugin.cpu_ram_efficient_loading,
            "weights are mapped from their files, one copy for all processes of a machine",
        ),
        "mixed_precision": (os.environ.get("ACCELERATE_MIXED_PRECISION", "no") != "no", "give --bf16 or --dtype"),
    }
    for key, (is_on, why) in instead.items():
        if is_on:
            raise LlocoError(f"{key} of accelerate's configuration is not followed here: switch it off ({why})")
    return bool(state.num_processes > 1)


def _plugin() -> FullyShardedDataParallelPlugin:
    try:
        return FullyShardedDataParallelPlugin()
    except ValueError as error:
        raise LlocoError(f"accelerate's FSDP configuration cannot be used: {error}") from error


class Shares(nn.Module):
    """A module in shares; computing goes through `forward`, which has whole parameters."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, compute: Callable[[], T]) -> T:
        """Return what `compute` does, every parameter outside the separate layers being whole meanwhile."""
        value: Any = compute()
        if not isinstance(value, Tensor) or not value.requires_grad:
            return cast(T, value)
        # Gradients are summed over processes by position: what a micro-batch does not use has to have one as well.
        for parameter in self.parameters():
            if parameter.requires_grad and not isinstance(parameter, DTensor):
                value = value + 0 * parameter.flatten()[:1].sum()
        return cast(T, value)


def share_out(module: nn.Module, layers: Sequence[nn.Module], state: PartialState) -> Shares:
    """Cut the module's parameters (mutated) into shares on the device of each process.

    `layers` are parts of it that every micro-batch runs once, in one order, on every process.
    """
    mesh = init_device_mesh(state.device.type, (state.num_processes,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=_plugin().reshard_after_forward)
    shares = Shares(module)
    fully_shard(shares, mesh=mesh)
    return shares


def decoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """Return the layers of a decoder, which transformers names by their classes; none where it names none."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def release(shares: Shares) -> None:
    """Free what was gathered to compute without gradients: only a backward pass frees it by itself."""
    cast(FSDPModule, shares).reshard()


def whole(tensor: Tensor) -> Tensor:
    """Return the whole tensor of which each process has a share; every process has to call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut a whole tensor, which every process has, as `like` is cut; on its device."""
    if not isinstance(like, DTensor):
        return tensor
    mesh = like.device_mesh
    replicated = DTensor.from_local(tensor.to(like.device), mesh, [Replicate()] * mesh.ndim, run_check=False)
    return replicated.redistribute(placements=like.placements)


@torch.no_grad()
def make_whole(module: nn.Module) -> None:
    """Give the module (mutated) whole parameters again, after training without separate layers."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False, remove_duplicate=False):
            if isinstance(parameter, DTensor):
                if parameter not in made:
                    made[parameter] = nn.Parameter(whole(parameter).detach(), parameter.requires_grad)
                setattr(part, name, made[parameter])
