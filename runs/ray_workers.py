"""`lloco compress --engine ray` with more and more workers: tokens a second of wall clock, and of processor time.

Workers' and the command's own processor time do not depend on how busy the machine is, and say what a worker costs and
how many one command can feed. The clock says how it scales where there are cores: take turns, and look at the spread.

    python runs/ray_workers.py --workers 1,2 --documents 32 --tokens 4000 --repeats 3
"""

import argparse
import itertools
import json
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil

from lloco.bench.measure.random_words import SHORT_WORDS
from lloco.compression.plan import plan_documents
from lloco.compression.ray_workers import compress_with_ray
from lloco.compressors.compressor import CompressOptions, Compressor
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.store.store import Store

SAMPLE_SECONDS = 0.1


class WorkerTime(threading.Thread):
    """Samples the processor time of this process's Ray workers, whose processes end with the run."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[int, float] = {}
        self.is_done = False

    def run(self) -> None:
        while not self.is_done:
            for one in psutil.Process().children(recursive=True):
                try:
                    if one.name().startswith("ray::"):
                        times = one.cpu_times()
                        self.seconds[one.pid] = times.user + times.system
                except psutil.Error:
                    continue
            time.sleep(SAMPLE_SECONDS)


def measure(compressor: Compressor, documents: list[Document], num_workers: int) -> dict[str, float]:
    """Compress the documents, each a batch, into a store of their own.

    Counting begins when a third of them is stored: starting Ray and loading weights is not counted.
    """
    marks: list[tuple[int, float, float, dict[int, float]]] = []
    sampler = WorkerTime()

    def mark(num_now: int, _: int) -> None:
        own, before = psutil.Process().cpu_times(), marks[-1][0] if marks else 0
        marks.append((before + num_now, time.perf_counter(), own.user + own.system, dict(sampler.seconds)))

    with tempfile.TemporaryDirectory(prefix="lloco-ray-") as folder, Store(Path(folder)) as store:
        corpus = store.corpus("ray")
        plan = plan_documents(corpus, documents, compressor, CompressOptions(batch_size=1))
        sampler.start()
        compress_with_ray(corpus, plan, compressor, num_workers=num_workers, device="cpu", on_tokens=mark)
        sampler.is_done = True
    (tokens_0, clock_0, own_0, workers_0), (tokens_1, clock_1, own_1, workers_1) = marks[len(marks) // 3], marks[-1]
    num_tokens = tokens_1 - tokens_0
    worked = sum(workers_1.values()) - sum(workers_0.get(pid, 0.0) for pid in workers_1)
    return {
        "tokens_per_second": num_tokens / (clock_1 - clock_0),
        "tokens_per_worker_cpu_second": num_tokens / worked,
        "tokens_per_command_cpu_second": num_tokens / (own_1 - own_0),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--documents", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compressor", default="records")
    options = parser.parse_args()
    compressor = load_compressor(options.compressor, device="cpu")
    words = random.Random(0)
    # A word of these takes about four tokens; what is counted are the plan's tokens.
    texts = [" ".join(words.choices(SHORT_WORDS, k=options.tokens // 4)) for _ in range(options.documents)]
    documents = [Document(f"{number}", text, "", f"{number}.txt") for number, text in enumerate(texts)]
    numbers = [int(one) for one in options.workers.split(",")]
    found: dict[int, list[dict[str, float]]] = {number: [] for number in numbers}
    for _, number in itertools.product(range(options.repeats), numbers):
        found[number].append(measure(compressor, documents, number))
        print(number, json.dumps(found[number][-1]), flush=True)
    for number, runs in found.items():
        for name in runs[0]:
            values = [run[name] for run in runs]
            print(f"{number} workers, {name}: {statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})")


if __name__ == "__main__":
    main()
