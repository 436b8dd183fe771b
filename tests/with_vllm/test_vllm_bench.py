"""`lloco bench serve --engine vllm`: adapters mixed in one vLLM, with its prefix cache and without."""

from pathlib import Path

import pytest

from lloco.bench.load.open_loop import OpenLoopOptions, measure_open_loop
from lloco.bench.load.served_corpora import ServedOptions
from lloco.compressors.load import load_compressor
from tests.corpora import save_compressor
from tests.with_vllm.tiny_for_vllm import WIDTH

# vLLM and its libraries warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")


def test_every_way_is_answered_and_only_what_is_to_be_cached_comes_from_the_cache(tmp_path: Path) -> None:
    compressor = load_compressor(save_compressor(tmp_path / "tiny", hidden_size=WIDTH, head_dim=32))
    # Documents long enough that their soft prompts, a sixth of that, fill blocks of 32 positions.
    served = ServedOptions(context_tokens=300, documents=2, corpora=2, new_tokens=4, engine="vllm", prefix_cache_mb=1)
    options = OpenLoopOptions(served, rates=(5.0,), p95_seconds=60.0, requests=6, repeats=1, load_bounds=0)
    rows = measure_open_loop(compressor, options).rows
    assert [row["mode"] for row in rows] == ["full", "compressed", "full, cached", "compressed, cached"]
    assert [row["skipped"] for row in rows] == [None] * 4
    assert [(row["n"], row["refused"], row["failed"], row["new_tokens"]) for row in rows] == [(6, 0, 0, 4)] * 4
    assert [row["cached_tokens"] > 0 for row in rows] == [False, False, True, True]
    assert [(row["ratio"], row["ratio_cached"]) for row in rows] == [(1.0, 1.0)] * 4
