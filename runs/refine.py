"""What refining a document's vectors buys, and what it takes: answers and copies by steps and ratio.

python runs/refine.py [--compressor NAME] [--documents N] [--steps 0,4,16,64] [--ratios 8,16] [--seed S]; a table of
docs/results.md. Documents are held-out ones (split test) of the domains that the bundled compressor knows, from
recipes/records. Copies are scored with the true tokens before each (teacher forcing). Seconds are of refining alone.
"""

import argparse
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes" / "records"))

from generate import TRAIN_DOMAINS, make_document

from lloco.compression.refine import refine, repeat_logits
from lloco.compressors.compressor import CompressOptions, compress_documents
from lloco.compressors.delta import TrainableCompressor
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.engine.transformers_engine import TransformersEngine
from lloco.evals.metrics import exact_match
from lloco.evals.predict import PredictOptions, predict
from lloco.models.tokenize import tokenize
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.tasks.sample import Sample


def main() -> None:
    options = parse()
    compressor = load_compressor(options.compressor, device="cpu")
    documents, samples = held_out(options.documents, options.questions, options.seed)
    print(f"{compressor.name}: {len(samples)} questions about {len(documents)} documents, "
          f"{torch.get_num_threads()} thread(s)")  # fmt: skip
    print("\n| ratio | steps | exact match | copied | seconds a document |\n|---:|---:|---:|---:|---:|")
    for ratio in options.ratios:
        segment_len = round(ratio * compressor.summary_length)
        for num_steps in options.steps:
            found = measure(compressor, documents, samples, segment_len, num_steps)
            print(f"| {ratio:g}x | {num_steps} | " + " | ".join(found) + " |", flush=True)


def parse() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(one) for one in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compressor", default="records")
    parser.add_argument("--documents", type=int, default=16)
    parser.add_argument("--questions", type=int, default=12, help="of each document, at most")
    parser.add_argument("--steps", type=numbers, default=[0, 4, 16, 64])
    parser.add_argument("--ratios", type=numbers, default=[8, 16])
    parser.add_argument("--seed", type=int, default=11)
    return parser.parse_args()


def held_out(num_documents: int, num_questions: int, seed: int) -> tuple[list[Document], list[Sample]]:
    """Make documents of three or four records, the domains in turn, with some of their questions."""
    chooser = random.Random(seed)
    documents: list[Document] = []
    samples: list[Sample] = []
    for number in range(num_documents):
        domain = list(TRAIN_DOMAINS)[number % len(TRAIN_DOMAINS)]
        record: dict[str, Any] = make_document(domain, "test", chooser, num_records=chooser.randint(3, 4))
        document = Document(f"{domain}-{number}", record["text"])
        documents.append(document)
        for place, one in enumerate(record["questions"][:num_questions]):
            samples.append(Sample(f"{document.id}-{place}", "jsonl", one["question"], document, tuple(one["answers"])))
    return documents, samples


def measure(
    compressor: TrainableCompressor,
    documents: list[Document],
    samples: list[Sample],
    segment_len: int,
    num_steps: int,
) -> tuple[str, str, str]:
    """Return exact match, copy accuracy and seconds a document, each with its standard error."""
    soft_prompts: dict[str, SoftPrompt] = {}
    copied: list[float] = []
    seconds: list[float] = []
    for document in documents:
        ids = tokenize(compressor.decoder, document).to(torch.int64)
        made = next(compress_documents(compressor, [document], CompressOptions(segment_len=segment_len)))
        started = time.perf_counter()
        soft_prompts[document.id] = made = refine(compressor, made, ids, num_steps)
        seconds.append(time.perf_counter() - started)
        with torch.no_grad():
            told = repeat_logits(compressor, made.embeds, ids)
        copied.append(100 * float((told.argmax(dim=-1) == ids).float().mean()))
    engine = TransformersEngine(compressor.decoder, batch_size=32)
    predicted = predict(
        samples,
        engine,
        None,
        PredictOptions(mode="compressed", max_tokens=16, batch_size=32),
        soft_prompt_of=lambda document: soft_prompts[document.id],
    )
    text = {one.id: one.text for one in predicted}
    right = [100 * exact_match(text[one.id], one.references) for one in samples]
    return with_error(right), with_error(copied), with_error(seconds, 2)


def with_error(values: list[float], digits: int = 1) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.{digits}f} ± {error:.{digits}f}"


if __name__ == "__main__":
    main()
