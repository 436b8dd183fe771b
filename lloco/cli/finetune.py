"""`lloco finetune`: an adapter that teaches the decoder to read one corpus."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.output import Output
from lloco.cli.verb import verb
from lloco.cli.wording import named_template
from lloco.errors import DataError

if TYPE_CHECKING:
    from accelerate import PartialState

    from lloco.compressors.compressor import Compressor
    from lloco.documents import Document
    from lloco.finetune_data import FinetuneData
    from lloco.store.corpus import Corpus
    from lloco.store.store import Store
    from lloco.template import Template
    from lloco.training.finetune import FinetuneOptions


@verb(kept="the run goes on from its last checkpoint in the --out folder when the same command is given again")
def finetune(
    data: Annotated[
        str, typer.Option("--data", metavar="FILE", help="Lines {question, answer, document}; or the task's data.")
    ],
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", metavar="NAME", help="Corpus in the store [default: one with the name of --task]."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="--data is this task's: its documents are compressed first.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", metavar="FILE", help="Held-out questions in the form of --data.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", metavar="NAME|FILE", help="Wording [default: the data's].")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the run [default: finetune-CORPUS].")
    ] = None,
    num_epochs: Annotated[float, typer.Option("--num-epochs", help="Passes over the examples.")] = 3.0,
    num_steps: Annotated[
        int | None, typer.Option("--num-steps", min=1, help="Optimiser steps in all, instead of passes.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Examples of one optimiser step, over all processes.")
    ] = 8,
    micro_batch_size: Annotated[
        int, typer.Option("--micro-batch-size", min=1, help="Examples that one process computes at once.")
    ] = 4,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Peak learning rate.")] = 2e-5,
    warmup_ratio: Annotated[
        float, typer.Option("--warmup-ratio", help="Share of the steps in which the learning rate rises.")
    ] = 0.04,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="AdamW weight decay.")] = 0.0,
    lora_r: Annotated[int, typer.Option("--lora-r", min=1, help="Rank of the adapter.")] = 8,
    lora_alpha: Annotated[int, typer.Option("--lora-alpha", min=1, help="Its scale is alpha / r.")] = 16,
    lora_dropout: Annotated[float, typer.Option("--lora-dropout", help="Dropout in front of it.")] = 0.05,
    target_modules: Annotated[
        str, typer.Option("--target-modules", metavar="A,B,...", help="Linear modules that get an adapter.")
    ] = "q_proj,k_proj,v_proj,o_proj",
    save_every: Annotated[int, typer.Option("--save-every", min=1, help="Steps between checkpoints.")] = 100,
    evaluate_every: Annotated[
        int, typer.Option("--evaluate-every", min=1, help="Steps between measurements on --validation.")
    ] = 100,
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute a float32 decoder in bfloat16 while training.")] = False,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time, the same gradients.")
    ] = False,
    limit: options.Limit = None,
    model: options.Model = None,
    compressor: options.CompressorName = None,
    store: options.StorePath = None,
    device: options.Device = None,
    dtype: options.DtypeName = None,
    seed: options.Seed = 0,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the LoRA adapter that reads a corpus.

    It becomes the corpus's own. A killed run goes on from its last checkpoint; torchrun shares the work.

    \b
    Examples:
      lloco finetune --corpus contracts --data questions.jsonl
      lloco finetune --task fairytaleqa --data train.jsonl --learning-rate 2e-4
      torchrun --nproc-per-node 2 -m lloco.cli.main finetune --corpus stories --data questions.jsonl
    """
    corpus = corpus or task
    if corpus is None:
        raise typer.BadParameter("the questions are about a corpus: name it with --corpus, or their --task")
    output = Output(is_json, quiet)
    from lloco.models.adapter import LoraOptions
    from lloco.models.decoder import resolve_device
    from lloco.store.store import Store
    from lloco.training.finetune import FinetuneOptions
    from lloco.training.loop import process_state

    chosen = FinetuneOptions(
        lora=LoraOptions(lora_r, lora_alpha, lora_dropout, tuple(name.strip() for name in target_modules.split(","))),
        num_epochs=num_epochs,
        num_steps=num_steps,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        learning_rate=learning_rate,
        warmup_ratio=warmup_ratio,
        weight_decay=weight_decay,
        seed=seed,
        save_every=save_every,
        evaluate_every=evaluate_every,
        bf16=bf16,
        gradient_checkpointing=gradient_checkpointing,
    )
    flags = _Flags(corpus, task, model, compressor, device, dtype, limit)
    state = process_state(resolve_device(device))
    with Store(store) as opened:
        examples = _read(opened, flags, data)
        held_out = _read(opened, flags, validation, split=None) if validation else None
        loaded = _compress_missing(opened, flags, [examples, held_out], state, output)
        found = opened.corpus(corpus, create=False)
        folder = out or Path(f"finetune-{found.name}")
        adapter = _train(found, flags, loaded, examples, held_out, _wording(template, examples), chosen, folder, output)
        values = _values(found.name, adapter, examples)
        if state.is_main_process:
            values["adapter_digest"] = found.set_adapter(adapter)
        state.wait_for_everyone()
    output.result(values, _text(values))
    output.say(f'next: lloco ask --corpus {found.name} "your question"')


@dataclass(frozen=True, slots=True)
class _Flags:
    """The flags that say what is read and with which models."""

    corpus: str
    task: str | None
    model: str | None
    compressor: str | None
    device: str | None
    dtype: str | None
    limit: int | None


def _read(store: "Store", flags: _Flags, data: str, split: str | None = "train") -> "FinetuneData":
    """Read a task's data, or lines about the corpus's documents."""
    from lloco.finetune_data import read_question_lines, read_task_data

    if flags.task is not None:
        return read_task_data(flags.task, data, flags.limit, split)
    is_there = any(one.name.lower() == flags.corpus.lower() for one in store.corpora())
    document_ids = store.corpus(flags.corpus).document_ids() if is_there else []
    return read_question_lines(Path(data), document_ids, flags.limit)


def _compress_missing(
    store: "Store", flags: _Flags, parts: "Sequence[FinetuneData | None]", state: "PartialState", output: Output
) -> "Compressor | None":
    """Compress documents that came with the questions and are not in the corpus; the first process does it."""
    documents = {one.id: one for part in parts if part is not None for one in part.documents}
    compressor: Compressor | None = None
    if documents and state.is_main_process:
        corpus = store.corpus(flags.corpus)
        digests = {one.id: one.digest for one in corpus.documents()}
        missing = [one for one in documents.values() if digests.get(one.id) != one.digest]
        if missing:
            compressor = _compress(corpus, missing, flags, output)
    state.wait_for_everyone()
    return compressor


def _compress(corpus: "Corpus", documents: "Sequence[Document]", flags: _Flags, output: Output) -> "Compressor":
    from lloco.compress import compress_into
    from lloco.corpus_models import load_corpus_compressor

    output.say(f"compressing {len(documents):,} documents that corpus {corpus.name} does not hold yet")
    compressor = load_corpus_compressor(corpus, flags.compressor, device=flags.device, dtype=flags.dtype)
    with output.progress("compressing", "tokens") as advance:
        report = compress_into(corpus, documents, compressor, on_tokens=advance)
    if report.skipped:
        first = report.skipped[0]
        raise DataError(
            f"every document of the questions was wanted, {len(report.skipped)} cannot be compressed, first "
            f"{first.source}: {first.reason}; remove their questions"
        )
    return compressor


def _wording(template: str | None, data: "FinetuneData") -> "Template":
    """Return the template that was named, by file or by name, else the one that suits the data."""
    if template is None:
        if data.template is None:
            raise DataError(
                "one adapter learns one wording, these questions are of several kinds: give one kind, or a wording "
                "for all with --template"
            )
        return data.template
    return named_template(template)


def _train(
    corpus: "Corpus",
    flags: _Flags,
    compressor: "Compressor | None",
    data: "FinetuneData",
    held_out: "FinetuneData | None",
    template: "Template",
    chosen: "FinetuneOptions",
    folder: Path,
    output: Output,
) -> Path:
    from lloco.corpus_models import load_corpus_decoder
    from lloco.training.finetune import finetune as train_adapter
    from lloco.training.loop import LogLine

    if compressor is not None and flags.model is None:
        decoder = compressor.decoder
    else:
        decoder = load_corpus_decoder(corpus, flags.model, device=flags.device, dtype=flags.dtype)
    num_steps = chosen.num_steps or math.ceil(max(1, round(chosen.num_epochs * len(data.examples))) / chosen.batch_size)
    with output.progress("finetuning", "steps") as advance:
        place = 0

        def on_step(line: LogLine) -> None:
            nonlocal place
            advance(line.step + 1 - place, num_steps)
            place = line.step + 1

        return train_adapter(
            decoder,
            data.examples,
            lambda document_id: corpus.soft_prompt(document_id).embeds,
            template,
            chosen,
            folder,
            on_step,
            () if held_out is None else held_out.examples,
            compressor_digest=corpus.compressor_digest,
        )


def _values(corpus: str, adapter: Path, data: "FinetuneData") -> dict[str, Any]:
    """Say what was trained, with the first and the last loss of the curve beside the adapter."""
    values: dict[str, Any] = {"corpus": corpus, "adapter": str(adapter), "n": len(data.examples)}
    curve_file = adapter.parent / "curve.json"
    if curve_file.is_file():
        curve = json.loads(curve_file.read_text(encoding="utf-8"))
        values |= {"num_steps": len(curve), "first_loss": curve[0]["loss"], "last_loss": curve[-1]["loss"]}
        values["seconds"] = sum(line["seconds"] for line in curve)
    return values


def _text(values: Mapping[str, Any]) -> str:
    learned = ""
    if "num_steps" in values:
        learned = f", {values['num_steps']:,} steps, loss {values['first_loss']:.3f} -> {values['last_loss']:.3f}"
    return f"corpus {values['corpus']} has a new adapter: {values['n']:,} questions{learned} ({values['adapter']})"
