"""Where the time of one pass of an encoder goes, and what torch.compile makes of it.

python runs/pass_profile.py CONFIG.json BATCH LENGTH [--threads N]: random weights of that shape read embeddings of
shape (BATCH, LENGTH, hidden_size), no cache and no output layer. Needs a C++ compiler for the second part.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaModel

RUNS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("batch", type=int)
    parser.add_argument("length", type=int)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = LlamaModel(LlamaConfig(**json.loads(options.config.read_text()))).eval()
    embeds = torch.randn(options.batch, options.length, model.config.hidden_size)
    weights = sum(parameter.numel() for parameter in model.layers.parameters())
    flops = 2 * weights * options.batch * options.length
    with torch.inference_mode():
        eager = seconds(lambda: model(inputs_embeds=embeds, use_cache=False))
        print(f"eager: {eager * 1e3:.1f} ms, {flops / eager / 1e9:.0f} GFLOP/s in the weights")
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            model(inputs_embeds=embeds, use_cache=False)
        print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))
        started = time.perf_counter()
        compiled = torch.compile(model, dynamic=False)
        compiled(inputs_embeds=embeds, use_cache=False)
        print(f"compiled in {time.perf_counter() - started:.1f} s")
        faster = seconds(lambda: compiled(inputs_embeds=embeds, use_cache=False))
        print(f"compiled: {faster * 1e3:.1f} ms, {eager / faster:.2f} times as fast")


def seconds(run: Callable[[], object]) -> float:
    """Return the median time of a few runs after one that is not counted."""
    run()
    measured = []
    for _ in range(RUNS):
        started = time.perf_counter()
        run()
        measured.append(time.perf_counter() - started)
    return statistics.median(measured)


if __name__ == "__main__":
    main()
