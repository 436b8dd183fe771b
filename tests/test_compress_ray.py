"""Compressing with Ray on this machine: the vectors of a local run, nothing lost or doubled when something dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import psutil
import pytest
import torch

from lloco.compression.plan import plan_documents
from lloco.compression.ray_workers import compress_with_ray
from lloco.compression.run import compress_into
from lloco.compressors.compressor import CompressOptions
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.errors import LlocoError
from lloco.store.corpus import Corpus
from lloco.store.store import Store
from tests.command import Run, write_lines
from tests.corpora import save_compressor

ray = pytest.importorskip("ray", reason="Ray is an extra: make setup")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning")]
TEXTS = {f"d{number:02}": f"The brig number {number} left Leith. " * (1 + number % 5) for number in range(24)}
TWO = CompressOptions(batch_size=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


def documents() -> list[Document]:
    return [Document(id, text) for id, text in TEXTS.items()]


def vectors(corpus: Corpus) -> dict[str, torch.Tensor]:
    return {id: corpus.soft_prompt(id).embeds for id in sorted(corpus.document_ids())}


def check_same(first: dict[str, torch.Tensor], other: dict[str, torch.Tensor], rtol: float = 1e-4) -> None:
    """A worker may compute with another number of threads, which some processors round otherwise for."""
    assert first.keys() == other.keys()
    for id, embeds in first.items():
        torch.testing.assert_close(embeds, other[id], atol=1e-4, rtol=rtol)


def test_workers_make_the_vectors_of_a_local_run_though_they_die(store: Store, compressor: Path) -> None:
    loaded = load_compressor(compressor)
    compress_into(store.corpus("local"), documents(), loaded, TWO)
    target = store.corpus("ray")
    told: list[tuple[int, int]] = []

    def kill_the_workers(num_now: int, total: int) -> None:
        if not told:
            processes = psutil.Process().children(recursive=True)
            workers = [process for process in processes if any("ray::Worker" in word for word in process.cmdline())]
            assert workers
            for worker in workers:
                worker.kill()
        told.append((num_now, total))

    plan = plan_documents(target, documents(), loaded, TWO)
    report = compress_with_ray(target, plan, loaded, num_workers=2, on_tokens=kill_the_workers)
    assert report.num_new == len(TEXTS)
    assert sum(now for now, _ in told) == told[0][1] == plan.num_tokens
    check_same(vectors(store.corpus("local")), vectors(target))
    assert not ray.is_initialized()
    again = compress_with_ray(target, plan_documents(target, documents(), loaded, TWO), loaded)
    assert (again.num_new, again.num_unchanged) == (0, len(TEXTS))


def test_workers_refine_to_the_vectors_of_a_local_run(store: Store, compressor: Path) -> None:
    loaded, options = load_compressor(compressor), CompressOptions(batch_size=2, refine_steps=2)
    compress_into(store.corpus("local"), documents()[:6], loaded, options)
    target = store.corpus("ray")
    plan = plan_documents(target, documents()[:6], loaded, options)
    told: list[tuple[int, int]] = []
    compress_with_ray(target, plan, loaded, num_workers=1, on_tokens=lambda now, total: told.append((now, total)))
    assert sum(now for now, _ in told) == told[0][1] == 3 * plan.num_tokens
    assert target.refine_steps() == 2
    check_same(vectors(target), vectors(store.corpus("local")), rtol=1e-3)


def test_more_workers_than_processors_end_all_the_same(store: Store, compressor: Path) -> None:
    loaded, target = load_compressor(compressor), store.corpus("ray")
    plan = plan_documents(target, documents(), loaded, TWO)
    report = compress_with_ray(target, plan, loaded, num_workers=(os.cpu_count() or 1) + 2)
    assert report.num_new == len(TEXTS)


def test_a_killed_run_goes_on_and_doubles_nothing(filled: Run, tmp_path: Path, compressor: Path, home: Path) -> None:
    texts = {f"d{number:03}": f"The brig number {number} left Leith. " * 4 for number in range(60)}
    lines = write_lines(tmp_path / "all.jsonl", *({"id": id, "text": text} for id, text in texts.items()))
    flags = ["--compressor", compressor, "--batch-size", "1"]
    argv = ["compress", lines, "--corpus", "r", *flags, "--engine", "ray", "--workers", "1"]
    running = subprocess.Popen([sys.executable, "-m", "lloco.cli.main", *map(str, argv)], start_new_session=True)

    def num_stored() -> int:
        return sum(item["num_documents"] for item in filled.json("corpus", "list")["corpora"] if item["name"] == "r")

    deadline = time.monotonic() + 120
    while num_stored() < 2:
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    before = num_stored()
    assert 2 <= before < len(texts)
    done = filled.json(*argv)
    assert (done["num_new"], done["num_unchanged"]) == (len(texts) - before, before)
    filled.json("compress", lines, "--corpus", "local", *flags)
    with Store(home) as store:
        check_same(vectors(store.corpus("local")), vectors(store.corpus("r")))


def test_a_worker_that_finds_other_weights_and_a_cluster_that_is_not_there_are_told_of(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_compressor(tmp_path / "weights")
    loaded = load_compressor(folder)
    plan = plan_documents(store.corpus("c"), documents(), loaded)
    save_compressor(folder, seed=3)
    with pytest.raises(LlocoError, match="a worker finds"):
        compress_with_ray(store.corpus("c"), plan, loaded, num_workers=1)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(LlocoError, match=r"RAY_ADDRESS=127\.0\.0\.1:1"):
        compress_with_ray(store.corpus("c"), plan, loaded)
    assert store.corpus("c").document_ids() == []


@pytest.mark.parametrize(("device", "of_workers"), [("cuda:1", "cuda"), ("cuda", "cuda"), ("cpu", "cpu"), (None, None)])
def test_a_worker_counts_the_gpu_that_ray_gives_it_from_zero(
    store: Store, compressor: Path, monkeypatch: pytest.MonkeyPatch, device: str | None, of_workers: str | None
) -> None:
    cluster = MagicMock()
    cluster.cluster_resources.return_value = {"CPU": 4.0, "GPU": 2.0}
    cluster.wait.side_effect = lambda running, num_returns: (running, [])
    cluster.get.return_value = ([], [])
    monkeypatch.setitem(sys.modules, "ray", cluster)
    loaded = load_compressor(compressor)
    plan = plan_documents(store.corpus("c"), documents()[:1], loaded)
    compress_with_ray(store.corpus("c"), plan, loaded, device=device)
    [made] = cluster.remote.return_value.return_value.options.return_value.remote.call_args_list
    assert made.args[2] == of_workers


def test_workers_without_ray_are_a_wrong_command_line(filled: Run, docs: Path) -> None:
    assert "--engine ray" in filled.fails("compress", docs, "--corpus", "c", "--workers", "2", code=2)
