"""`lloco finetune`: an adapter that teaches the decoder to read one corpus."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.allocator import keep_freed_memory
from lloco.cli.eval_session import warn_of_other_model
from lloco.cli.output import Output
from lloco.cli.templates import named_template
from lloco.cli.verb import verb
from lloco.errors import DataError
from lloco.files.strict_json import check_are_files

if TYPE_CHECKING:
    from accelerate import PartialState

    from lloco.compressors.compressor import Compressor
    from lloco.documents.document import Document
    from lloco.models.decoder import Decoder
    from lloco.prompts.template import Template
    from lloco.store.corpus import Corpus
    from lloco.store.store import Store
    from lloco.training.finetune.questions import FinetuneData
    from lloco.training.finetune.run import FinetuneOptions

WAIT_SECONDS = 5.0


def _number(flag: str, explanation: str) -> Any:
    return typer.Option(flag, parser=options.at_least(1), metavar="N", help=explanation)


@dataclass(frozen=True, slots=True)
class _Questions:
    """The flags that say what is learned, about which corpus, with which models."""

    task: Annotated[
        str | None,
        typer.Option("--task", parser=options.task_name, metavar="NAME", help="--data is this task's: its documents "
                     "are compressed first."),
    ] = None  # fmt: skip
    limit: options.Limit = None
    model: options.Model = None
    compressor: options.CompressorName = None
    adapter: options.StartAdapter = None
    device: options.Device = None
    dtype: options.DtypeName = None
    max_positions: options.MaxPositions = None


@dataclass(frozen=True, slots=True)
class _Recipe:
    """The flags that say how the adapter is trained."""

    num_epochs: Annotated[float, typer.Option("--num-epochs", metavar="X", help="Passes over the examples.")] = 3.0
    num_steps: Annotated[int | None, _number("--num-steps", "Optimiser steps in all, instead of passes.")] = None
    batch_size: Annotated[int, _number("--batch-size", "Examples of one optimiser step, over all processes.")] = 8
    micro_batch_size: Annotated[int, _number("--micro-batch-size", "Examples that one process computes at once.")] = 4
    questions_a_row: Annotated[
        int, _number("--questions-a-row", "Questions about one document that share a reading of it.")
    ] = 4
    learning_rate: Annotated[float, typer.Option("--learning-rate", metavar="X", help="Peak learning rate.")] = 2e-5
    warmup_ratio: Annotated[
        float,
        typer.Option(
            "--warmup-ratio", metavar="X", min=0, max=1, help="Share of the steps in which the learning rate rises."
        ),
    ] = 0.04
    weight_decay: Annotated[float, typer.Option("--weight-decay", metavar="X", min=0, help="AdamW weight decay.")] = 0.0
    lora_r: Annotated[int, _number("--lora-r", "Rank of the adapter.")] = 8
    lora_alpha: Annotated[int, _number("--lora-alpha", "Its scale is alpha / r.")] = 16
    lora_dropout: Annotated[
        float, typer.Option("--lora-dropout", metavar="X", min=0, max=1, help="Dropout in front of it.")
    ] = 0.05
    target_modules: Annotated[
        str, typer.Option("--target-modules", metavar="A,B,...", help="Linear modules that get an adapter.")
    ] = "q_proj,k_proj,v_proj,o_proj"
    save_every: Annotated[int, _number("--save-every", "Steps between checkpoints.")] = 100
    evaluate_every: Annotated[int, _number("--evaluate-every", "Steps between measurements on --validation.")] = 100
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute a float32 decoder in bfloat16 while training.")] = False
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time, the same gradients.")
    ] = False
    seed: options.Seed = 0

    def check_start(self, adapter: Path) -> None:
        """Raise where a new adapter's size or place is named and there is one to start from."""
        for field in fields(self):
            if field.name in ("lora_r", "lora_alpha", "target_modules") and getattr(self, field.name) != field.default:
                flag = f"--{field.name.replace('_', '-')}"
                raise typer.BadParameter(f"adapter {adapter} keeps its own rank, scale and modules: leave {flag} out")

    def finetune_options(self) -> "FinetuneOptions":
        """Return them as the library takes them."""
        from lloco.adapters.folder import LoraOptions
        from lloco.training.finetune.run import FinetuneOptions

        flags = asdict(self)
        modules = tuple(name.strip() for name in flags.pop("target_modules").split(","))
        lora = LoraOptions(flags.pop("lora_r"), flags.pop("lora_alpha"), flags.pop("lora_dropout"), modules)
        return FinetuneOptions(lora=lora, **flags)


@verb(kept="the run goes on from its last checkpoint in the --out folder when the same command is given again")
def finetune(
    *,
    data: Annotated[
        str, typer.Option("--data", metavar="FILE", help="Lines {question, answer, document}; or the task's data.")
    ],
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", metavar="NAME", help="Corpus in the store [default: one with the name of --task]."),
    ] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", metavar="FILE", help="Held-out questions in the form of --data.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option("--template", metavar="NAME|FILE", help="Wording [default: --adapter's, else the data's]."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the run [default: finetune-CORPUS].")
    ] = None,
    questions: _Questions,
    recipe: _Recipe,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the LoRA adapter that reads a corpus.

    It becomes the corpus's own. A killed run goes on from its last checkpoint; torchrun shares the work.

    \b
    Examples:
      lloco finetune --corpus contracts --data questions.jsonl
      lloco finetune --task fairytaleqa --data train.jsonl --learning-rate 2e-4
      lloco finetune --corpus contracts --data more.jsonl --adapter finetune-contracts/adapter --out finetune-more
      torchrun --nproc-per-node 2 -m lloco finetune --corpus stories --data questions.jsonl
    """
    name = corpus or questions.task
    if name is None:
        raise typer.BadParameter("the questions are about a corpus: name it with --corpus, or their --task")
    if questions.adapter is not None:
        recipe.check_start(questions.adapter)
    output = Output(is_json, quiet)
    # What is not there is said before anything slow is imported.
    if questions.task is None:
        check_are_files([Path(file) for file in (data, validation) if file is not None])
    keep_freed_memory()
    from lloco.models.decoder import resolve_device
    from lloco.store.store import Store
    from lloco.training.loop import process_state
    from lloco.training.sharding import is_sharding_wanted

    chosen = recipe.finetune_options()
    state = process_state(resolve_device(questions.device))
    is_shared_out = is_sharding_wanted(state)
    num_parts = math.ceil(chosen.batch_size / chosen.micro_batch_size)
    if state.num_processes > num_parts:
        output.warn(
            f"a step has {num_parts} micro-batches for {state.num_processes} processes, so that some have nothing to "
            "do: give a smaller --micro-batch-size or a larger --batch-size"
        )
    with Store(store) as opened:
        learned = _read(opened, name, questions, data)
        held_out = _read(opened, name, questions, validation, split=None) if validation else None
        documents = _documents(learned, held_out)
        loaded = _compress_missing(opened, name, documents, questions, state, output)
        found = opened.corpus(name, create=False)
        is_own = questions.model is None and questions.adapter is None and not is_shared_out
        decoder = loaded.decoder if loaded and is_own else _load_decoder(found, questions, state, is_shared_out)
        del loaded
        if questions.adapter is not None:
            warn_of_other_model(output, questions.adapter, decoder)
        folder = out or Path(f"finetune-{found.name}")
        wording = _wording(template, learned, questions.adapter, decoder)
        adapter = _train(found, decoder, learned, held_out, wording, chosen, folder, questions.adapter, output)
        values = _values(found.name, adapter, learned)
        if state.is_main_process:
            earlier = found.summary().adapter_digest
            values["adapter_digest"] = found.set_adapter(adapter)
            values["is_new"] = values["adapter_digest"] != earlier
        state.wait_for_everyone()
    output.result(values, _text(values))
    output.say(f'next: lloco ask --corpus {found.name} "your question"')


def _read(store: "Store", corpus: str, questions: _Questions, data: str, split: str | None = "train") -> "FinetuneData":
    """Read a task's data, or lines about the corpus's documents."""
    from lloco.training.finetune.questions import read_question_lines, read_task_data

    if questions.task is not None:
        return read_task_data(questions.task, data, questions.limit, split)
    return read_question_lines(Path(data), lambda: store.corpus(corpus, create=False).document_ids(), questions.limit)


def _documents(learned: "FinetuneData", held_out: "FinetuneData | None") -> "dict[str, Document]":
    """Return all documents that came with questions by id; raises `DataError` where an id has two texts."""
    documents = {one.id: one for one in learned.documents}
    for one in held_out.documents if held_out else ():
        if documents.setdefault(one.id, one).digest != one.digest:
            raise DataError(
                f"one text for each document id was wanted, {one.id!r} has one in --data and another in --validation: "
                "give the documents of one file other ids"
            )
    return documents


def _compress_missing(
    store: "Store",
    corpus: str,
    documents: "Mapping[str, Document]",
    questions: _Questions,
    state: "PartialState",
    output: Output,
) -> "Compressor | None":
    """Compress documents that came with the questions and are not in the corpus; the first process does it."""
    compressor: Compressor | None = None
    if not state.is_main_process:
        # Compressing may take hours and a barrier gives up after minutes; the launcher ends us if the first one fails.
        while _missing(store, corpus, documents):
            time.sleep(WAIT_SECONDS)
    elif missing := _missing(store, corpus, documents):
        compressor = _compress(store.corpus(corpus), missing, questions, output)
    state.wait_for_everyone()
    return compressor


def _missing(store: "Store", corpus: str, documents: "Mapping[str, Document]") -> "list[Document]":
    stored = store.corpus(corpus, create=False).documents() if documents and corpus in store else ()
    digests = {one.id: one.digest for one in stored}
    return [one for one in documents.values() if digests.get(one.id) != one.digest]


def _compress(corpus: "Corpus", documents: "Sequence[Document]", questions: _Questions, output: Output) -> "Compressor":
    from lloco.compress.corpus_compressor import load_corpus_compressor
    from lloco.compress.run import compress_into

    if changed := [one.id for one in documents if one.id in corpus]:
        output.warn(
            f"corpus {corpus.name} has other texts for {len(changed):,} of the ids, first {changed[0]!r}: they are "
            "replaced by those of the questions"
        )
    output.say(f"compressing {len(documents):,} documents that corpus {corpus.name} does not hold yet")
    compressor = load_corpus_compressor(
        corpus,
        questions.compressor,
        device=questions.device,
        dtype=questions.dtype,
        max_positions=questions.max_positions,
    )
    with output.progress("compressing", "tokens") as advance:
        report = compress_into(corpus, documents, compressor, on_tokens=advance)
    if report.skipped:
        first = report.skipped[0]
        raise DataError(
            f"every document of the questions was wanted, {len(report.skipped)} cannot be compressed, first "
            f"{first.source}: {first.reason}; remove their questions"
        )
    return compressor


def _wording(template: str | None, data: "FinetuneData", start: Path | None, decoder: "Decoder") -> "Template":
    """Return the template that was named, else that of the adapter to start from, else the one that suits the data."""
    from lloco.prompts.template import Template, default_template

    learned = Template.of_adapter(start)
    if template is None and learned is not None:
        return learned
    if template is None:
        if data.kind is None:
            raise DataError(
                "one adapter learns one wording, these questions are of several kinds: give one kind, or a wording "
                "for all with --template"
            )
        return default_template(decoder.require_tokenizer(), data.kind)
    return named_template(template)


def _load_decoder(corpus: "Corpus", questions: _Questions, state: "PartialState", is_shared_out: bool) -> "Decoder":
    from lloco.answer.corpus_decoder import load_corpus_decoder
    from lloco.models.decoder import resolve_dtype

    # The whole model may fit no device: each process takes its share from the memory of the machine.
    device = "cpu" if is_shared_out else questions.device
    dtype = resolve_dtype(questions.dtype, state.device) if is_shared_out else questions.dtype
    return load_corpus_decoder(
        corpus,
        questions.model,
        adapter=questions.adapter,
        compressor=questions.compressor,
        device=device,
        dtype=dtype,
        max_positions=questions.max_positions,
    )


def _train(
    corpus: "Corpus",
    decoder: "Decoder",
    data: "FinetuneData",
    held_out: "FinetuneData | None",
    template: "Template",
    chosen: "FinetuneOptions",
    folder: Path,
    start: Path | None,
    output: Output,
) -> Path:
    from lloco.training.finetune.run import finetune as train_adapter
    from lloco.training.loop import LogLine

    num_steps = chosen.num_steps_for(len(data.examples))
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
            adapter=start,
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
    what = "has a new adapter" if values.get("is_new") else "keeps its adapter"
    return f"corpus {values['corpus']} {what}: {values['n']:,} questions{learned} ({values['adapter']})"
