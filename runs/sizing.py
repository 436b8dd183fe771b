"""The tables of docs/deploy.md#sizing: arithmetic from a model's shape and from GPUs' data sheets, and one measurement.

Requests a second are the floor of `lloco bench` (lloco/bench/measure/floor.py) at a data sheet's rates: nothing ran on
these GPUs. `--measure N` adds N documents of this size to a store and says what they take on the disk, vectors being
random.

    python runs/sizing.py
    python runs/sizing.py --measure 100 --work /data
"""

import argparse
import gzip
import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

import lloco
from benchmarks.store import disk_bytes
from lloco.bench.measure.floor import ModelCost, Work
from lloco.documents.document import Document
from lloco.prompts.soft_prompt import STORAGE_DTYPES, Provenance, SoftPrompt
from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Retriever
from lloco.store.store import Store

DOCUMENT_TOKENS, RATIO, WIDTH = 10_000, 32, 4096
NUM_VECTORS = -(-DOCUMENT_TOKENS // RATIO)
CHARACTERS = 43_000
"""Of a document: about 4.3 a token, English with Llama's tokenizer."""
QUESTION_TOKENS, ANSWER_TOKENS = 100, 64
BATCH_SIZES = (1, 16, 64)
FAIRY_TALES = Path(lloco.__file__).parent / "bundled" / "documents" / "fairytaleqa_train.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a data sheet says."""

    name: str
    flops_per_second: float
    """Dense, bfloat16."""
    bytes_per_second: float
    memory_gb: int

    def seconds(self, work: Work) -> float:
        return max(work.flops / self.flops_per_second, work.num_bytes / self.bytes_per_second)


GPUS = (
    Gpu("L4", 121e12, 300e9, 24),
    Gpu("A100 80 GB SXM", 312e12, 2039e9, 80),
    Gpu("H100 SXM", 989e12, 3350e9, 80),
    Gpu("H200", 989e12, 4800e9, 141),
)
LLAMA_2 = LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
                      num_attention_heads=32, num_key_value_heads=32)  # fmt: skip
LLAMA_3 = LlamaConfig(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                      num_attention_heads=32, num_key_value_heads=8)  # fmt: skip


def cost_of(config: LlamaConfig) -> ModelCost:
    """Count a model of this shape in bfloat16, without memory for it."""
    with torch.device("meta"):
        return ModelCost.of(AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16))


def requests_per_second(cost: ModelCost, gpu: Gpu, context: int, batch_size: int) -> float | None:
    """Answers at the floor, or None where their keys and values do not fit beside the weights."""
    positions = context + QUESTION_TOKENS + ANSWER_TOKENS
    if cost.weight_bytes + batch_size * cost.kv_cache_bytes(positions) > 0.9e9 * gpu.memory_gb:
        return None
    read = gpu.seconds(cost.prefill(context + QUESTION_TOKENS, batch_size))
    step = gpu.seconds(cost.decode(positions - ANSWER_TOKENS // 2, batch_size))
    return batch_size / (read + ANSWER_TOKENS * step)


def print_arithmetic() -> None:
    print(f"{NUM_VECTORS} vectors, {WIDTH} wide\n\n| stored as | bytes | GB per million documents |\n|---|---:|---:|")
    for name in ("float32", "bfloat16", "int8"):
        size = vector_bytes(name)
        print(f"| {name} | {size:,} | {size / 1e3:,.0f} |")
    for title, config in (("Llama 2 7B", LLAMA_2), ("Llama 3.1 8B", LLAMA_3)):
        cost = cost_of(config)
        kv = cost.kv_cache_bytes(1)
        compressed, full = (
            cost.kv_cache_bytes(n + QUESTION_TOKENS + ANSWER_TOKENS) for n in (NUM_VECTORS, DOCUMENT_TOKENS)
        )
        print(f"\n{title}: weights {cost.weight_bytes / 1e9:.1f} GB, {kv / 1e6:.3f} MB a position, a request "
              f"{compressed / 1e6:.0f} MB compressed, {full / 1e6:,.0f} MB full")  # fmt: skip
        print(f"| GPU | {' | '.join(f'{way}, {n} at once' for way in ('compressed', 'full') for n in BATCH_SIZES)} |")
        for gpu in GPUS:
            rates = [
                requests_per_second(cost, gpu, context, n)
                for context in (NUM_VECTORS, DOCUMENT_TOKENS)
                for n in BATCH_SIZES
            ]
            print(f"| {gpu.name} | {' | '.join('no room' if rate is None else f'{rate:.1f}' for rate in rates)} |")


def vector_bytes(dtype: str) -> int:
    return NUM_VECTORS * (WIDTH * STORAGE_DTYPES[dtype].itemsize + (4 if dtype == "int8" else 0))


def measure(num_documents: int, work: Path | None) -> None:
    with gzip.open(FAIRY_TALES, "rt", encoding="utf-8") as lines:
        tales = [json.loads(line)["text"] for line in lines]
    paragraphs = [one for tale in tales for one in tale.split("\n") if one.strip()]
    for dtype in ("float32", "bfloat16", "int8"):
        with tempfile.TemporaryDirectory(prefix="lloco-sizing-", dir=work) as folder:
            with Store(Path(folder)) as store:
                corpus = store.corpus("sizing")
                for number in range(num_documents):
                    document, soft_prompt = document_of(number, paragraphs)
                    corpus.add(document, soft_prompt, split_passages(document.text), dtype)
                Retriever.of_corpus(corpus)
                vectors = corpus.summary().num_bytes / num_documents
            sizes = {name: size / num_documents for name, size in disk_bytes(Path(folder)).items()}
            off = vectors / vector_bytes(dtype) - 1
            print(f"{dtype}: vectors {vectors:,.0f} bytes a document ({off:+.2%} of the arithmetic), on the disk "
                  + ", ".join(f"{name} {size:,.0f}" for name, size in sizes.items()))  # fmt: skip


def document_of(number: int, paragraphs: list[str]) -> tuple[Document, SoftPrompt]:
    """Return a text of shuffled paragraphs of this length, and as many random vectors as it would become."""
    drawn, text = random.Random(number), f"Number {number}."
    while len(text) < CHARACTERS:
        text += "\n" + drawn.choice(paragraphs)
    document = Document(f"document-{number}", text[:CHARACTERS], f"Document {number}", f"{number}.txt")
    embeds = torch.randn(NUM_VECTORS, WIDTH, generator=torch.Generator().manual_seed(number))
    provenance = Provenance(
        document_id=document.id,
        text_digest=document.digest,
        num_document_tokens=DOCUMENT_TOKENS,
        compressor="random",
        compressor_digest="random",
        base_model="random",
        hidden_size=WIDTH,
        segment_len=DOCUMENT_TOKENS,
        summary_length=NUM_VECTORS,
        dtype="float32",
    )
    return document, SoftPrompt(embeds, provenance)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", type=int, default=0, metavar="N")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    print_arithmetic()
    if options.measure:
        measure(options.measure, options.work)
