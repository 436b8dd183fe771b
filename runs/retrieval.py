"""Recall by words, by meaning and by both, with an embedder that a wheel of PyPI holds: for docs/bench.md.

pip download --no-deps wordllama==0.4.0.post1; python runs/retrieval.py WHEEL DATA (the folder of the files below).
WordLlama's 256 columns (MIT) are written as a model2vec folder beside the results.
"""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save_file
from tokenizers import Tokenizer

from benchmarks.retrieval import RetrievalBenchOptions, measure_retrieval
from lloco.cli.bench_options import bench_table
from lloco.retrieval.embedder import load_embedder
from lloco.tasks.task import load_samples

FILES = {
    "squad_articles": "squad_articles/validation.jsonl.gz",
    "hotpotqa": "hotpot_qa/hotpot_dev_distractor_v1.json",
}
OUT = Path("work-retrieval")


def make_embedder(wheel: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as files:
        [vectors] = load(files.read("wordllama/weights/l2_supercat_256.safetensors")).values()
        tokenizer = Tokenizer.from_buffer(files.read("wordllama/tokenizers/l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"embeddings": vectors.astype(np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    return folder


def main() -> None:
    wheel, data = map(Path, sys.argv[1:])
    embedder = load_embedder(make_embedder(wheel, OUT / "embedder"))
    for task, file in FILES.items():
        options = RetrievalBenchOptions(task, file, embedder="WordLlama l2_supercat, 256 columns")
        results = measure_retrieval(load_samples(task, data / file), options, embedder)
        results.save(OUT / task)
        print(bench_table(results))


if __name__ == "__main__":
    main()
