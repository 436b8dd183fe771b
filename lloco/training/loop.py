"""The one training loop: steps, schedule, clipping, checkpoints, curves. Stages pass it micro-batches and a loss.

A step is a pure function of (seed, step): what a killed run redoes is what it would have done, and the gradient of a
step is the same on one process as on several, because each process takes every n-th micro-batch and sums are reduced.
Each process has the whole module, or under FSDP2 a share of it (`sharding`).
"""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from lloco.errors import LlocoError
from lloco.models.decoder import is_bfloat16_faster
from lloco.training.checkpoint import checkpoint_options, load_checkpoint, save_checkpoint
from lloco.training.sharding import Shares, is_sharding_wanted, release, share_out, whole

Batch_co = TypeVar("Batch_co", covariant=True)


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How a run optimises; defaults are the method's published recipe."""

    num_steps: int
    """Optimiser steps in all."""
    learning_rate: float = 2e-5
    """Peak learning rate."""
    warmup_ratio: float = 0.04
    """Share of the steps in which the learning rate rises from 0."""
    min_lr_ratio: float = 0.0
    """Learning rate at the end, as a share of the peak; the way there is a cosine."""
    weight_decay: float = 0.0
    """AdamW weight decay."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    beta2: float = 0.999
    """AdamW's second moment decay."""
    seed: int = 0
    """Seed of data order and dropout."""
    save_every: int = 200
    """Steps between checkpoints."""
    bf16: bool = False
    """Compute in bfloat16 (weights stay in their own dtype)."""


class Stage(Protocol[Batch_co]):
    """What a training stage gives to the loop."""

    def micro_batches(self, step: int) -> Sequence[Batch_co]:
        """Return all micro-batches of this step, the same on every process."""
        ...

    def num_targets(self, batch: Any) -> float:
        """Return the weight of the micro-batch: how many tokens its loss is summed over."""
        ...

    def loss_sum(self, batch: Any) -> Tensor:
        """Return the summed loss of the micro-batch."""
        ...

    def is_measured(self, step: int) -> bool:
        """Return whether figures are due at this step."""
        ...

    def evaluate(self, step: int) -> dict[str, float]:
        """Return figures to log at this step."""
        ...


@dataclass(frozen=True, slots=True)
class LogLine:
    """One optimiser step of the loss curve."""

    step: int
    loss: float
    learning_rate: float
    num_targets: float
    seconds: float
    figures: dict[str, float]


def learning_rate_at(step: int, options: LoopOptions) -> float:
    """Return the learning rate of a step (from 0): linear warm-up, then cosine."""
    warmup = max(1, round(options.warmup_ratio * options.num_steps))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, options.num_steps - warmup)
    share = options.min_lr_ratio + (1 - options.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
    return options.learning_rate * share


def process_state(device: torch.device) -> PartialState:
    """Join the other processes that torchrun or accelerate started, over the backend of the device that trains.

    Raises:
        LlocoError: the launcher started several, and this process was made to run alone before it came here.
    """
    state = PartialState(cpu=device.type == "cpu")
    num_launched = int(os.environ.get("WORLD_SIZE", "1"))
    if state.num_processes != num_launched:
        raise LlocoError(
            f"the launcher started {num_launched} processes, {state.num_processes} trains on {device}: make no other "
            f"accelerate state before training, or PartialState(cpu={device.type == 'cpu'})"
        )
    return state


def chosen_bf16(wanted: bool | None, folders: Sequence[Path], state: PartialState) -> bool:
    """Return whether the run in these folders computes in bfloat16, the same on every process.

    Where nobody said so it goes on as it began, and a new one does what the first process finds faster.
    """
    if wanted is not None:
        return wanted
    chosen = [False]
    if state.is_main_process:
        begun = (checkpoint_options(folder).get("bf16") for folder in folders)
        found = next((step for step in begun if step is not None), None)
        chosen = [is_bfloat16_faster(state.device) if found is None else found]
    return bool(broadcast_object_list(chosen)[0])


def train(
    module: nn.Module,
    stage: Stage[Any],
    options: LoopOptions,
    folder: Path,
    on_step: Callable[[LogLine], None] | None = None,
    *,
    run: Mapping[str, Any] | None = None,
    layers: Sequence[nn.Module] = (),
    rate_factor: Callable[[str], float] = lambda name: 1.0,
) -> list[LogLine]:
    """Optimise the parameters of `module` that require gradients, in place; go on from `folder` if a run stopped there.

    `run` names what else makes this run what it is (digests of data and model, a stage's options), in plain values; a
    folder whose run differs in any of it is not gone on with. Under several processes only the first one writes. Under
    FSDP2 the module is left in shares, and `layers`, which every micro-batch runs once, are gathered one by one.
    `rate_factor` says by a parameter's name how many times the learning rate it has.

    Returns:
        One line a step, those of an earlier part of the run included.

    Raises:
        LlocoError: the loss is not finite, or the folder holds another run or a damaged checkpoint.
    """
    state = process_state(next(value.device for value in module.parameters() if value.requires_grad))
    shares = share_out(module, layers, state) if is_sharding_wanted(state) else None
    parameters = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(
        _parameter_groups(parameters, options.weight_decay, rate_factor),
        betas=(0.9, options.beta2),
        fused=all(p.device.type in ("cpu", "cuda") for _, p in parameters),
    )
    identity = _run_identity(options, run or {})
    log = [LogLine(**line) for line in load_checkpoint(folder, parameters, optimizer, identity)]
    _check_same_start(len(log), folder, state)
    for step in range(len(log), options.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, options) * group.get("rate_factor", 1.0)
        started = time.perf_counter()
        loss, num_targets = _accumulate(stage, step, [p for _, p in parameters], options, state, shares)
        norm = float(whole(torch.nn.utils.clip_grad_norm_([p for _, p in parameters], options.max_grad_norm)))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise LlocoError(
                f"loss and gradient must be finite, step {step} in {folder} gave {loss} and {norm}: lower the "
                "learning rate"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - started
        figures = _figures(stage, step, shares) if stage.is_measured(step) else {}
        line = LogLine(step, loss, learning_rate_at(step, options), num_targets, seconds, figures)
        log.append(line)
        if on_step is not None and state.is_main_process:
            on_step(line)
        if len(log) % options.save_every == 0 or len(log) == options.num_steps:
            lines = [asdict(line) for line in log]
            save_checkpoint(folder, parameters, optimizer, identity, lines, is_writer=state.is_main_process)
    state.wait_for_everyone()
    return log


def _parameter_groups(
    parameters: Sequence[tuple[str, nn.Parameter]], weight_decay: float, rate_factor: Callable[[str], float]
) -> list[dict[str, Any]]:
    """Group matrices, which decay, and the rest, which does not, by their learning rates."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        groups.setdefault((rate_factor(name), parameter.ndim > 1), []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], not item[0][1]))
    return [
        {"params": own, "weight_decay": weight_decay if decays else 0.0, "rate_factor": factor}
        for (factor, decays), own in ordered
    ]


def _check_same_start(num_done: int, folder: Path, state: PartialState) -> None:
    """Raise where processes found different checkpoints, which machines that share no disk do."""
    found = [num_done] * state.num_processes
    if state.num_processes > 1:
        torch.distributed.all_gather_object(found, num_done)
    if len(set(found)) > 1:
        raise LlocoError(
            f"{folder} must have one checkpoint for all processes, theirs are after steps {found}: name an --out "
            "folder on a disk that all machines see"
        )


def _accumulate(
    stage: Stage[Any],
    step: int,
    parameters: list[nn.Parameter],
    options: LoopOptions,
    state: PartialState,
    shares: Shares | None,
) -> tuple[float, float]:
    """Leave the step's mean gradient on the parameters of every process; return the mean loss and its weight."""
    batches = stage.micro_batches(step)
    total = sum(stage.num_targets(batch) for batch in batches)
    if total <= 0:
        raise LlocoError(f"step {step} has no token to learn from: the answers are empty")
    loss_sum = torch.zeros((), device=parameters[0].device)
    # Shares are gathered by all processes at once: one that has no batch left computes another's again, for nothing.
    num_places = len(batches) if shares is None else math.ceil(len(batches) / state.num_processes) * state.num_processes
    for number in range(state.process_index, num_places, state.num_processes):
        index = number % len(batches)
        torch.manual_seed(((options.seed * 1_000_003 + step) * 1_009 + index) % 2**63)
        compute = partial(stage.loss_sum, batches[index])
        with torch.autocast(parameters[0].device.type, dtype=torch.bfloat16, enabled=options.bf16):
            loss = compute() if shares is None else shares(compute)
        if shares is not None:
            # FSDP2 makes the mean over processes where their sum is wanted.
            loss = loss * (state.num_processes if number == index else 0)
        (loss / total).backward()
        loss_sum += loss.detach()
    if state.num_processes > 1:
        torch.distributed.all_reduce(loss_sum)
    if shares is not None:
        loss_sum /= state.num_processes
    elif state.num_processes > 1:
        _sum_over_processes(parameters)
    return float(loss_sum) / total, total


def _sum_over_processes(parameters: Sequence[nn.Parameter]) -> None:
    """Add up the gradients of all processes, all at once."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for work in [torch.distributed.all_reduce(parameter.grad, async_op=True) for parameter in parameters]:
        work.wait()


def _figures(stage: Stage[Any], step: int, shares: Shares | None) -> dict[str, float]:
    if shares is None:
        return stage.evaluate(step)
    with torch.no_grad():
        figures: dict[str, float] = shares(partial(stage.evaluate, step))
    release(shares)
    return figures


def _run_identity(options: LoopOptions, run: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a resumed run must share with the run it goes on with."""
    return {key: value for key, value in asdict(options).items() if key != "save_every"} | dict(run)
