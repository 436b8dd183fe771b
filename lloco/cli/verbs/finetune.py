"""`lloco finetune`: an adapter that teaches the decoder to read one corpus."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.allocator import keep_freed_memory
from lloco.cli.eval_session import warn_of_other_model
from lloco.cli.finetune_flags import Learned, Recipe
from lloco.cli.output import Output
from lloco.cli.study_session import (
    STUDIED,
    StudyFlags,
    refresh_of,
    studied_digests,
    studied_questions,
)
from lloco.cli.templates import named_template
from lloco.cli.verb import verb
from lloco.cli.verbs.questions import GeneratorFlags
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
    from lloco.training.finetune.self_study import SelfStudyOptions

WAIT_SECONDS = 5.0


@verb(kept="the run goes on from its last checkpoint in the --out folder when the same command is given again")
def finetune(
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="Lines {question, answer, document}; or the task's data."),
    ] = None,
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
    questions: Learned,
    recipe: Recipe,
    study: StudyFlags,
    generator: GeneratorFlags,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the LoRA adapter that reads a corpus.

    It becomes the corpus's own. A killed run goes on from its last checkpoint; torchrun shares the work.

    \b
    Examples:
      lloco finetune --corpus contracts --data questions.jsonl
      lloco finetune --corpus contracts --self-study
      lloco finetune --corpus contracts --self-study --refresh
      lloco finetune --task fairytaleqa --data train.jsonl --learning-rate 2e-4
      lloco finetune --corpus contracts --data more.jsonl --adapter finetune-contracts/adapter --out finetune-more
      torchrun --nproc-per-node 2 -m lloco finetune --corpus stories --data questions.jsonl
    """
    name = corpus or questions.task
    if name is None:
        raise typer.BadParameter("the questions are about a corpus: name it with --corpus, or their --task")
    if data is None and not study.self_study:
        raise typer.BadParameter("give questions with --data, or let --self-study make them", param_hint="'--data'")
    study.check()
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
        learned = None if data is None else _read(opened, name, questions, data)
        held_out = _read(opened, name, questions, validation, split=None) if validation else None
        documents = _documents(learned, held_out)
        loaded = _compress_missing(opened, name, documents, questions, state, output)
        found = opened.corpus(name, create=False)
        folder = out or Path(f"finetune-{found.name}")
        start, notes = questions.adapter, {}
        if study.self_study:
            studied = studied_questions(found, study, generator, state, output, device=questions.device)
            notes = {STUDIED: studied_digests(found)}
            if study.refresh:
                start, studied, own_folder = refresh_of(found, studied, start, recipe.seed, output)
                recipe.check_start(start)
                folder = out or own_folder
            learned = _mixed(learned, studied)
        assert learned is not None
        is_own = questions.model is None and start is None and not is_shared_out
        decoder = loaded.decoder if loaded and is_own else _load_decoder(found, questions, start, state, is_shared_out)
        del loaded
        if start is not None:
            warn_of_other_model(output, start, decoder)
        wording = _wording(template, learned, start, decoder)
        adapter = _train(
            found,
            decoder,
            learned,
            held_out,
            wording,
            chosen,
            folder,
            start,
            output,
            study=study.study_options(),
            notes=notes,
        )
        values = _values(found.name, adapter, learned)
        if state.is_main_process:
            earlier = found.summary().adapter_digest
            values["adapter_digest"] = found.set_adapter(adapter)
            values["is_new"] = values["adapter_digest"] != earlier
        state.wait_for_everyone()
    output.result(values, _text(values))
    output.say(f'next: lloco ask --corpus {found.name} "your question"')


def _read(store: "Store", corpus: str, questions: Learned, data: str, split: str | None = "train") -> "FinetuneData":
    """Read a task's data, or lines about the corpus's documents."""
    from lloco.training.finetune.questions import read_question_lines, read_task_data

    if questions.task is not None:
        return read_task_data(questions.task, data, questions.limit, split)
    return read_question_lines(Path(data), lambda: store.corpus(corpus, create=False).document_ids(), questions.limit)


def _mixed(given: "FinetuneData | None", studied: "FinetuneData") -> "FinetuneData":
    """Return given questions and those of self-study together."""
    if given is None:
        return studied
    kind = given.kind if given.kind == studied.kind else None
    return replace(given, examples=(*given.examples, *studied.examples), kind=kind)


def _documents(learned: "FinetuneData | None", held_out: "FinetuneData | None") -> "dict[str, Document]":
    """Return all documents that came with questions by id; raises `DataError` where an id has two texts."""
    documents = {one.id: one for one in learned.documents} if learned else {}
    for one in held_out.documents if held_out else ():
        if documents.setdefault(one.id, one).digest != one.digest:
            raise DataError(
                f"each document id must have one text, {one.id!r} has one in --data and another in --validation: "
                "give the documents of one file other ids"
            )
    return documents


def _compress_missing(
    store: "Store",
    corpus: str,
    documents: "Mapping[str, Document]",
    questions: Learned,
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


def _compress(corpus: "Corpus", documents: "Sequence[Document]", questions: Learned, output: Output) -> "Compressor":
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
            f"{len(report.skipped)} documents of the questions cannot be compressed, first "
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


def _load_decoder(
    corpus: "Corpus", questions: Learned, start: Path | None, state: "PartialState", is_shared_out: bool
) -> "Decoder":
    from lloco.answer.corpus_decoder import load_corpus_decoder
    from lloco.models.decoder import resolve_dtype

    # The whole model may fit no device: each process takes its share from the memory of the machine.
    device = "cpu" if is_shared_out else questions.device
    dtype = resolve_dtype(questions.dtype, state.device) if is_shared_out else questions.dtype
    return load_corpus_decoder(
        corpus,
        questions.model,
        adapter=start,
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
    *,
    study: "SelfStudyOptions | None",
    notes: Mapping[str, Any],
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
            study=study,
            notes=notes,
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
