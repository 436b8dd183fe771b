"""Compressor designs and objectives at equal training tokens: what each makes of the same start, by ratio.

python runs/ablation.py DATA.jsonl VALIDATION.jsonl [--out DIR] [--runs "NAME;NAME"] [--seed S]; the tables of
docs/results.md. DATA and VALIDATION are lines of recipes/records. Every run begins with the same language model (that
of the bundled autocompressor) and a new compressor, and learns ratios 4, 8, 16 and 32 at once. What is done is not
done again.
"""

import argparse
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from lloco.compression.refine import repeat_logits
from lloco.compressors.compressor import CompressOptions, compress_documents
from lloco.compressors.decoder_based import forget_settings
from lloco.compressors.delta import TrainableCompressor
from lloco.compressors.load import load_compressor, load_named_decoder
from lloco.documents.document import Document
from lloco.engine.transformers_engine import TransformersEngine
from lloco.evals.metrics import answer_f1, exact_match
from lloco.evals.predict import PredictOptions, predict
from lloco.models.control_tokens import text_ids
from lloco.prompts.batch import collate
from lloco.prompts.prompt import Prompt
from lloco.tasks.sample import Sample
from lloco.tasks.task import load_samples
from lloco.training.loop import LogLine
from lloco.training.pretrain.run import PretrainOptions, pretrain

RATIOS = (8.0, 4.0, 16.0, 32.0)
DESIGNS = ("pooling", "autocompressor", "interleaved", "bidirectional")
OBJECTIVES: dict[str, dict[str, Any]] = {
    "questions and texts": {},
    "questions alone": {"text_row_ratio": 0.0, "copy_ratio": 0.0},
    "half distilled": {"distillation_ratio": 0.5},
    "all texts repeated": {"reconstruction_ratio": 1.0},
    "a fifth of texts repeated": {"reconstruction_ratio": 0.2},
}
RUNS: dict[str, dict[str, Any]] = {
    f"{design}, {name}": {"design": design, **objective} for design in DESIGNS for name, objective in OBJECTIVES.items()
}
DATES = re.compile(r"\b(1[5-9]|20)\d\d\b|January|February|March|April|May|June|July|August|September|October|November|"
                   r"December|(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day$")  # fmt: skip


def main() -> None:
    options = parse()
    start = options.out / "language_model"
    if not start.is_dir():
        decoder = load_named_decoder(options.init)
        forget_settings(decoder.model.config)
        decoder.model.save_pretrained(start)
        decoder.require_tokenizer().save_pretrained(start)
    rows = []
    for name in options.runs.split(";"):
        folder = options.out / f"{name.replace(', ', '-').replace(' ', '_')}-{options.seed}"
        done = folder / "measured.json"
        asked = {name: str(value) for name, value in vars(options).items() if name not in ("out", "runs")}
        if not done.is_file():
            measured = measure(train(name, folder, options), options.validation, options.limit)
            done.write_text(json.dumps({"options": asked, "measured": measured}, indent=2))
        found = json.loads(done.read_text())
        if found["options"] != asked:
            raise SystemExit(f"{done} was made with {found['options']}, wanted {asked}: name another folder with --out")
        rows.append((name, found["measured"]))
        show(rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--init", default="bundled-autocompressor", help="whose language model all runs begin with")
    parser.add_argument("--out", type=Path, default=Path("work-ablation"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--limit", type=int, default=400, help="questions, and 60 documents for copies")
    parser.add_argument("--runs", default=";".join(RUNS), help="names with a semicolon between them")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def train(name: str, folder: Path, options: argparse.Namespace) -> TrainableCompressor:
    chosen = PretrainOptions(
        data=(options.data,),
        init=options.out / "language_model",
        language_model_steps=0,
        compressor_steps=options.steps,
        compressor_learning_rate=1.5e-3,
        batch_tokens=options.batch_tokens,
        copy_ratio=0.2,
        ratios=RATIOS,
        bf16=False,
        seed=options.seed,
    )

    def tell(stage: str, line: LogLine) -> None:
        if (line.step + 1) % 50 == 0:
            print(f"{name}: step {line.step + 1}, loss {line.loss:.3f}", flush=True)

    return pretrain(replace(chosen, **RUNS[name]), folder, tell)


def measure(compressor: TrainableCompressor, validation: Path, limit: int) -> dict[str, Any]:
    """Measure on held-out documents, at every ratio and from the full text, in float32."""
    compressor = load_compressor(compressor.name, device="cpu")
    samples = load_samples("jsonl", validation, limit=limit)
    documents = list({one.document.id: one.document for one in samples}.values())
    parameters = sum(one.numel() for one in compressor.parameters())
    found: dict[str, Any] = {"parameters": parameters, "full": answers(compressor, samples, None)}
    for ratio in sorted(RATIOS):
        segment_len = round(ratio * compressor.summary_length)
        found[f"{ratio:g}x"] = answers(compressor, samples, segment_len) | texts(
            compressor, documents[:60], segment_len
        )
    return found


def answers(compressor: TrainableCompressor, samples: list[Sample], segment_len: int | None) -> dict[str, Any]:
    """Exact match and F1 of answers, and exact match by kind of answer, each with its standard error and n."""
    engine = TransformersEngine(compressor.decoder, batch_size=32)
    chosen = CompressOptions(segment_len=segment_len)
    made = predict(
        samples,
        engine,
        None,
        PredictOptions(mode="full" if segment_len is None else "compressed", max_tokens=16, batch_size=32),
        soft_prompt_of=lambda document: next(compress_documents(compressor, [document], chosen)),
    )
    text = {one.id: one.text for one in made}
    right = [(kind_of(one.references[0]), exact_match(text[one.id], one.references)) for one in samples]
    figures = {"exact_match": with_error([value for _, value in right])}
    figures["answer_f1"] = with_error([answer_f1(text[one.id], one.references) for one in samples])
    for kind in ("name", "number", "date", "word"):
        figures[kind] = with_error([value for own, value in right if own == kind])
    return figures


def kind_of(answer: str) -> str:
    if DATES.search(answer):
        return "date"
    if re.search(r"\d", answer):
        return "number"
    return "name" if answer[:1].isupper() else "word"


@torch.no_grad()
def texts(compressor: TrainableCompressor, documents: list[Document], segment_len: int) -> dict[str, Any]:
    """Share of tokens that are copied right, and perplexity of the second half after the first one's vectors.

    Both with the true tokens before each (teacher forcing); perplexity also with nothing before the second half.
    """
    tokenizer = compressor.decoder.require_tokenizer()
    copied: list[float] = []
    losses: dict[str, list[float]] = {"after": [], "alone": []}
    for document in documents:
        ids = torch.tensor(text_ids(tokenizer, document.text))
        (vectors,) = compressor.compress_ids([ids], segment_len=segment_len)
        copied.append(float((repeat_logits(compressor, vectors, ids).argmax(dim=-1) == ids).float().mean()))
        first, second = ids[: len(ids) // 2], ids[len(ids) // 2 :]
        (vectors,) = compressor.compress_ids([first], segment_len=segment_len)
        for name, before in (("after", (vectors,)), ("alone", (first[-1:],))):
            scores = logits(compressor, before, second).log_softmax(dim=-1)
            losses[name].append(-float(scores.gather(1, second[:, None]).mean()))
    return {
        "copy_accuracy": with_error(copied),
        "perplexity": math.exp(mean(losses["after"])),
        "perplexity_alone": math.exp(mean(losses["alone"])),
    }


def logits(compressor: TrainableCompressor, before: tuple[torch.Tensor, ...], ids: torch.Tensor) -> torch.Tensor:
    inputs = collate([Prompt((*before, ids))], compressor.decoder, padding_side="right")
    found: torch.Tensor = compressor.model(inputs_embeds=inputs.inputs_embeds, use_cache=False).logits[0]
    return found[-len(ids) - 1 : -1]


def with_error(values: list[float]) -> dict[str, float]:
    """Return mean and standard error in points of 100, and n."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return {"mean": 100 * mean(values) if values else float("nan"), "stderr": 100 * error, "n": len(values)}


def show(rows: list[tuple[str, dict[str, Any]]]) -> None:
    print("\n| run | full text |" + "".join(f" {ratio:g}x |" for ratio in sorted(RATIOS)) + " copied at 8x |"
          " names / numbers / dates at 8x | perplexity at 8x (nothing before) |")  # fmt: skip
    print("|---|" + "---:|" * (len(RATIOS) + 4))
    for name, found in rows:
        cells = [found["full"], *(found[f"{ratio:g}x"] for ratio in sorted(RATIOS))]
        at = found["8x"]
        line = [f"{cell['exact_match']['mean']:.1f} ± {cell['exact_match']['stderr']:.1f}" for cell in cells]
        line.append(f"{at['copy_accuracy']['mean']:.1f}")
        line.append(" / ".join(f"{at[kind]['mean']:.0f}" for kind in ("name", "number", "date")))
        line.append(f"{at['perplexity']:.2f} ({at['perplexity_alone']:.2f})")
        print(f"| {name} | " + " | ".join(line) + " |", flush=True)


if __name__ == "__main__":
    main()
