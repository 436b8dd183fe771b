"""The one training loop: steps, schedule, clipping, checkpoints, curves. Stages pass it micro-batches and a loss.

A step is a pure function of (seed, step): what a killed run redoes is what it would have done, and the gradient of a
step is the same on one process as on several, because each process takes every n-th micro-batch and sums are reduced.
"""

import math
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import PartialState
from torch import Tensor, nn

from lloco.durable import fsync_folder, make_folder_durably
from lloco.errors import LlocoError

CHECKPOINT = "checkpoint.pt"
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

    def evaluate(self, step: int) -> dict[str, float]:
        """Return figures to log at this step; empty when none are due."""
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


def train(
    module: nn.Module,
    stage: Stage[Any],
    options: LoopOptions,
    folder: Path,
    on_step: Callable[[LogLine], None] | None = None,
    *,
    run: Mapping[str, Any] | None = None,
) -> list[LogLine]:
    """Optimise the parameters of `module` that require gradients, in place; go on from `folder` if a run stopped there.

    `run` names what else makes this run what it is (digests of data and model, a stage's options), in plain values; a
    folder whose run differs in any of it is not gone on with. Under several processes only the first one writes.

    Returns:
        One line a step, those of an earlier part of the run included.

    Raises:
        LlocoError: the loss is not finite, or the folder holds another run or a damaged checkpoint.
    """
    parameters = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for _, p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
            {"params": [p for _, p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        betas=(0.9, options.beta2),
        fused=all(p.device.type in ("cpu", "cuda") for _, p in parameters),
    )
    state = process_state(parameters[0][1].device)
    identity = _run_identity(options, run or {})
    log = _resume(folder, parameters, optimizer, identity)
    for step in range(len(log), options.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, options)
        started = time.perf_counter()
        loss, num_targets = _accumulate(stage, step, [p for _, p in parameters], options, state)
        norm = float(torch.nn.utils.clip_grad_norm_([p for _, p in parameters], options.max_grad_norm))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise LlocoError(
                f"a finite loss and gradient were wanted, step {step} in {folder} gave {loss} and {norm}: lower the "
                "learning rate"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - started
        line = LogLine(step, loss, learning_rate_at(step, options), num_targets, seconds, stage.evaluate(step))
        log.append(line)
        if on_step is not None and state.is_main_process:
            on_step(line)
        if state.is_main_process and (len(log) % options.save_every == 0 or len(log) == options.num_steps):
            _save(folder, parameters, optimizer, identity, log)
    state.wait_for_everyone()
    return log


def _accumulate(
    stage: Stage[Any], step: int, parameters: list[nn.Parameter], options: LoopOptions, state: PartialState
) -> tuple[float, float]:
    """Leave the step's mean gradient on the parameters of every process; return the mean loss and its weight."""
    batches = stage.micro_batches(step)
    total = sum(stage.num_targets(batch) for batch in batches)
    if total <= 0:
        raise LlocoError(f"step {step} has no token to learn from: the answers are empty")
    loss_sum = torch.zeros((), device=parameters[0].device)
    for index in range(state.process_index, len(batches), state.num_processes):
        torch.manual_seed((options.seed * 1_000_003 + step) * 1_009 + index)
        with torch.autocast(parameters[0].device.type, dtype=torch.bfloat16, enabled=options.bf16):
            loss = stage.loss_sum(batches[index])
        (loss / total).backward()  # type: ignore[no-untyped-call]
        loss_sum += loss.detach()
    if state.num_processes > 1:
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)
        torch.distributed.all_reduce(loss_sum)
    return float(loss_sum) / total, total


def _run_identity(options: LoopOptions, run: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a resumed run must share with the run it goes on with."""
    return {key: value for key, value in asdict(options).items() if key != "save_every"} | dict(run)


def _resume(
    folder: Path,
    parameters: list[tuple[str, nn.Parameter]],
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
) -> list[LogLine]:
    """Load the folder's checkpoint into parameters and optimiser; return the steps that are done."""
    file = folder / CHECKPOINT
    if not file.is_file():
        return []
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        found = saved["options"]
        if found == identity:
            with torch.no_grad():
                for name, parameter in parameters:
                    parameter.copy_(saved["parameters"][name])
            optimizer.load_state_dict(saved["optimizer"])
            return [LogLine(**line) for line in saved["log"]]
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise LlocoError(
            f"a training checkpoint was wanted, {file} is none that can be read ({reason}): remove it to start afresh"
        ) from error
    changed = sorted(key for key in found.keys() | identity.keys() if found.get(key) != identity.get(key))
    raise LlocoError(
        f"{folder} holds another run (it differs in {', '.join(changed)}): give the same data and options to go on "
        "with it, or another --out folder to start afresh"
    )


def _save(
    folder: Path,
    parameters: list[tuple[str, nn.Parameter]],
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
    log: list[LogLine],
) -> None:
    """Replace the checkpoint in one rename: a kill at any moment leaves the old one or the new one."""
    make_folder_durably(folder)
    temporary = folder / f"{CHECKPOINT}.tmp"
    try:
        with temporary.open("wb") as file:
            torch.save(
                {
                    "options": identity,
                    "parameters": {name: parameter.detach() for name, parameter in parameters},
                    "optimizer": optimizer.state_dict(),
                    "log": [asdict(line) for line in log],
                },
                file,
            )
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / CHECKPOINT)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(folder)
