"""Compressing by many processes or machines with Ray: workers compress batches, this process alone writes the store.

A worker that dies is started again and its batch is compressed again; nothing is stored twice or lost. Batches are
those of a local run, so vectors are too. Ray is an extra to install.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lloco.compression.batches import CompressedBatch
from lloco.compression.plan import CompressPlan, counting
from lloco.compression.run import CompressReport, OnTokens, compress_batch, store_batches
from lloco.compressors.compressor import CompressOptions, Compressor
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.errors import LlocoError, MismatchError
from lloco.models.decoder import dtype_name
from lloco.store.corpus import Corpus

MAX_RETRIES = 3
"""How often a batch is compressed again whose worker has died."""


class Worker:
    """Compresses batches; lives in a process of its own."""

    def __init__(
        self,
        name: str,
        digest: str,
        device: str | None,
        dtype: str,
        num_threads: int,
        max_positions: int | None = None,
    ) -> None:
        torch.set_num_threads(num_threads)
        self._load = partial(load_compressor, name, device=device, dtype=dtype, max_positions=max_positions)
        self._digest = digest
        self._compressor: Compressor | None = None

    def compress(self, batch: list[tuple[Document, Tensor]], options: CompressOptions) -> CompressedBatch:
        """Compress one batch; the first one loads the weights, so that what is wrong with them is told as an error."""
        self._compressor = self._compressor or self._load()
        if self._compressor.digest != self._digest:
            raise MismatchError(
                f"{self._compressor.name} must have digest {self._digest[:12]} on every machine, a worker finds "
                f"{self._compressor.digest[:12]}: put the same weights in the same place on every machine"
            )
        return compress_batch(self._compressor, batch, options, None)


def compress_with_ray(
    corpus: Corpus,
    plan: CompressPlan,
    compressor: Compressor,
    *,
    num_workers: int | None = None,
    device: str | None = None,
    on_tokens: OnTokens | None = None,
) -> CompressReport:
    """Compress and store what was planned, with the cluster at RAY_ADDRESS or one that is started on this machine.

    Args:
        corpus: where it goes.
        plan: what is compressed.
        compressor: the one of the plan; workers load it by its name, which every machine must find.
        num_workers: processes that compress; one for each GPU, or two CPUs, of the cluster when not given.
        device: where workers compute.
        on_tokens: told of every batch that is stored.

    Raises:
        LlocoError: Ray is not installed, there is no such cluster, or a worker cannot go on.
        StoreError: the store cannot be written; batches stored before are kept.
    """
    batches = list(plan.batches())
    if not batches:
        return store_batches(corpus, plan, ())
    with _cluster() as ray:
        resources = ray.cluster_resources()
        num_gpus = int(resources.get("GPU", 0)) if device is None or device.startswith("cuda") else 0
        num_workers = min(num_workers or num_gpus or max(1, int(resources.get("CPU", 1)) // 2), len(batches))
        num_threads = 1 if num_gpus else max(1, int(resources.get("CPU", 1)) // num_workers)
        # Shares of a processor where there are fewer than workers: one that Ray has no place for would be waited for.
        num_cpus = 0.0 if num_gpus else min(1.0, resources.get("CPU", 1.0) / num_workers)
        actor = ray.remote(num_cpus=num_cpus, num_gpus=min(1.0, num_gpus / num_workers))(Worker)
        made = actor.options(max_restarts=-1, max_task_retries=MAX_RETRIES)
        dtype = dtype_name(compressor.decoder.dtype)
        name = str(Path(compressor.name).resolve()) if Path(compressor.name).is_dir() else compressor.name
        # A worker sees the GPUs that Ray gives it, and counts them from 0.
        device = "cuda" if num_gpus and device is not None else device
        made_with = (name, compressor.digest, device, dtype, num_threads, compressor.decoder.max_positions)
        workers = [made.remote(*made_with) for _ in range(num_workers)]
        compressed = _compressed(ray, workers, batches, plan)
        on_progress = counting(on_tokens, plan.num_tokens_to_read)

        def told() -> Iterator[CompressedBatch]:
            for number, result in compressed:
                yield result
                if on_progress is not None:
                    num_times = 1 + (plan.options.refine_steps or 0)
                    on_progress(num_times * sum(len(ids) for _, ids in batches[number]))

        return store_batches(corpus, plan, told())


def _compressed(
    ray: Any, workers: list[Any], batches: list[list[tuple[Document, Tensor]]], plan: CompressPlan
) -> Iterator[tuple[int, CompressedBatch]]:
    """Yield batches by number as workers end them; each worker has one at hand and one waiting."""
    waiting = iter(range(len(batches)))
    running: dict[Any, tuple[int, Any]] = {}

    def give(worker: Any) -> None:
        if (number := next(waiting, None)) is not None:
            running[worker.compress.remote(batches[number], plan.options)] = number, worker

    for worker in [*workers, *workers]:
        give(worker)
    while running:
        [done], _ = ray.wait(list(running), num_returns=1)
        number, worker = running.pop(done)
        try:
            result = ray.get(done)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, LlocoError) else LlocoError(f"a worker failed: {cause}") from None
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise LlocoError(
                f"workers die again and again ({reason}): look for what Ray says of their memory; the batches stored "
                "so far are kept"
            ) from error
        give(worker)
        yield number, result


@contextmanager
def _cluster() -> Iterator[Any]:
    """Join the cluster at RAY_ADDRESS, or start one on this machine and end it after the block."""
    try:
        import ray
    except ImportError as error:
        raise LlocoError(f"Ray is not installed ({error}): pip install 'lloco[ray]'") from error
    is_joined = ray.is_initialized()
    if not is_joined:
        address = os.environ.get("RAY_ADDRESS")
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address not in (None, "auto", "local"):
                _check_reachable(address)  # Ray itself waits for minutes
            ray.init(address=address, **quiet, **({} if address else {"include_dashboard": False}))
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            where = f"RAY_ADDRESS={address}" if address else "this machine"
            raise LlocoError(f"the Ray cluster at {where} cannot be reached ({reason})") from error
    try:
        yield ray
    finally:
        if not is_joined:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise OSError, or ValueError, where nothing listens at host:port or ray://host:port."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
        pass
