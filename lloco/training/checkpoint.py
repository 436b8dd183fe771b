"""The checkpoint of a training run: one file that any number of processes can go on from.

It holds whole tensors, whoever had which share of them, the steps that are done and what the run is. It is replaced in
one rename: a kill at any moment leaves the old one or the new one.
"""

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn

from lloco.errors import LlocoError
from lloco.files.durable import LOCK_FILE, fsync_folder, locked, make_folder_durably
from lloco.training.sharding import share_of, whole

CHECKPOINT = "checkpoint.pt"
UNREADABLE = (pickle.UnpicklingError, OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError)
"""What a file that is damaged, or no checkpoint, raises."""


def load_checkpoint(
    folder: Path,
    parameters: Sequence[tuple[str, nn.Parameter]],
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Load the folder's checkpoint into parameters and optimiser; return the lines of the steps that are done.

    Raises:
        LlocoError: it is damaged, or another run's.
    """
    file = folder / CHECKPOINT
    if not file.is_file():
        return []
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        found = saved["options"]
        if found == identity:
            with torch.no_grad():
                for name, parameter in parameters:
                    parameter.copy_(share_of(saved["parameters"][name], parameter))
            optimizer.load_state_dict(_map_state(saved["optimizer"], optimizer, share_of))
            return list(saved["log"])
    except UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise LlocoError(
            f"{file} cannot be read as a training checkpoint ({reason}): remove it to start afresh"
        ) from error
    changed = sorted(key for key in found.keys() | identity.keys() if found.get(key) != identity.get(key))
    raise LlocoError(
        f"{folder} holds another run (it differs in {', '.join(changed)}): give the same data and options to go on "
        "with it, or another --out folder to start afresh"
    )


def checkpoint_options(folder: Path) -> dict[str, Any]:
    """Return what the folder's checkpoint says of its run; nothing where there is none that can be read."""
    try:
        return dict(torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True, mmap=True)["options"])
    except UNREADABLE:
        return {}


def save_checkpoint(
    folder: Path,
    parameters: Sequence[tuple[str, nn.Parameter]],
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    *,
    is_writer: bool,
) -> None:
    """Replace the folder's checkpoint; every process has to call it, one of them writes."""

    def gathered(tensor: Tensor, _: Tensor) -> Tensor:
        full = whole(tensor.detach())
        # Nobody but the writer has room for all of them at once.
        return full.cpu() if is_writer else torch.empty(0)

    content = {
        "options": dict(identity),
        "parameters": {name: gathered(parameter, parameter) for name, parameter in parameters},
        "optimizer": _map_state(optimizer.state_dict(), optimizer, gathered),
        "log": [dict(line) for line in log],
    }
    if is_writer:
        _replace(folder, content)


def _map_state(
    state_dict: dict[str, Any], optimizer: torch.optim.Optimizer, change: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Any]:
    """Return an optimiser's state with `change(tensor, parameter)` for every tensor that is cut as its parameter is."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        index: {key: value if key == "step" else change(value, parameters[index]) for key, value in of_one.items()}
        for index, of_one in state_dict["state"].items()
    }
    return {**state_dict, "state": state}


def _replace(folder: Path, content: Mapping[str, Any]) -> None:
    make_folder_durably(folder)
    temporary = folder / f"{CHECKPOINT}.tmp"
    try:
        with temporary.open("wb") as file:
            torch.save(dict(content), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / CHECKPOINT)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(folder)


@contextmanager
def claimed_run(folder: Path, state: PartialState) -> Iterator[None]:
    """Keep the folder for this run while the block runs; its first process holds the lock.

    Raises:
        DataError: another run trains there.
    """
    if not state.is_main_process:
        yield
        return
    make_folder_durably(folder)
    taken = f"another process is training in {folder}: wait for it, or give another --out"
    with locked(folder / LOCK_FILE, taken):
        yield
