"""`lloco finetune`: an adapter that teaches the decoder to read one corpus."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.allocator import keep_freed_memory
from lloco.cli.eval_session import warn_of_other_model
from lloco.cli.finetune_flags import Learned, Recipe
from lloco.cli.finetune_session import (
    compress_missing,
    documents_of,
    load_trained_decoder,
    mixed,
    read_questions,
    wording_of,
)
from lloco.cli.output import Output
from lloco.cli.study_session import STUDIED, StudyFlags, refresh_of, studied_digests, studied_questions
from lloco.cli.verb import verb
from lloco.cli.verbs.questions import GeneratorFlags
from lloco.files.strict_json import check_are_files

if TYPE_CHECKING:
    from accelerate import PartialState

    from lloco.models.decoder import Decoder
    from lloco.prompts.template import Template
    from lloco.store.corpus import Corpus
    from lloco.store.store import Store
    from lloco.training.finetune.questions import FinetuneData


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
    from lloco.store.store import Store

    with Store(store) as opened:
        run = FinetuneRun(opened, name, questions, recipe, study, generator, output)
        values = run.finetune(data, validation, template, out)
    output.result(values, _text(values))
    output.say(f'next: lloco ask --corpus {name} "your question"')


@dataclass(frozen=True, slots=True)
class FinetuneRun:
    """A run with all its flags, on an open store."""

    store: "Store"
    corpus_name: str
    questions: Learned
    recipe: Recipe
    study: StudyFlags
    generator: GeneratorFlags
    output: Output

    def finetune(
        self, data: str | None, validation: str | None, template: str | None, out: Path | None
    ) -> dict[str, Any]:
        """Train, make the adapter the corpus's own, and say what was learned."""
        questions = self.questions
        # What is not there is said before anything slow is imported.
        learned = None if data is None else read_questions(self.store, self.corpus_name, questions, data)
        held_out = (
            read_questions(self.store, self.corpus_name, questions, validation, split=None) if validation else None
        )
        from lloco.models.decoder import resolve_device
        from lloco.training.loop import process_state
        from lloco.training.sharding import is_sharding_wanted

        state = process_state(resolve_device(questions.device))
        self._check_processes(state)
        documents = documents_of(learned, held_out)
        loaded = compress_missing(self.store, self.corpus_name, documents, questions, state, self.output)
        corpus = self.store.corpus(self.corpus_name, create=False)
        folder, start = out or Path(f"finetune-{corpus.name}"), questions.adapter
        if self.study.self_study:
            studied = studied_questions(corpus, self.study, self.generator, state, self.output, device=questions.device)
            if self.study.refresh:
                start, studied, own_folder = refresh_of(corpus, studied, start, self.recipe.seed, self.output)
                self.recipe.check_start(start)
                folder = out or own_folder
            learned = mixed(learned, studied)
        assert learned is not None
        is_shared_out = is_sharding_wanted(state)
        is_own = questions.model is None and start is None and not is_shared_out
        if loaded and is_own:
            decoder = loaded.decoder
        else:
            decoder = load_trained_decoder(corpus, questions, start, state, is_shared_out)
        del loaded
        if start is not None:
            warn_of_other_model(self.output, start, decoder)
        wording = wording_of(template, learned, start, decoder)
        adapter = self._train(corpus, decoder, learned, held_out, wording, folder, start)
        values = _values(corpus.name, adapter, learned)
        if state.is_main_process:
            earlier = corpus.summary().adapter_digest
            values["adapter_digest"] = corpus.set_adapter(adapter)
            values["is_new"] = values["adapter_digest"] != earlier
        state.wait_for_everyone()
        return values

    def _check_processes(self, state: "PartialState") -> None:
        """Warn where a step has fewer parts than there are processes."""
        chosen = self.recipe.finetune_options()
        num_parts = math.ceil(chosen.batch_size / chosen.micro_batch_size)
        if state.num_processes > num_parts:
            self.output.warn(
                f"a step has {num_parts} micro-batches for {state.num_processes} processes, so that some have nothing "
                "to do: give a smaller --micro-batch-size or a larger --batch-size"
            )

    def _train(
        self,
        corpus: "Corpus",
        decoder: "Decoder",
        data: "FinetuneData",
        held_out: "FinetuneData | None",
        template: "Template",
        folder: Path,
        start: Path | None,
    ) -> Path:
        from lloco.training.finetune.run import finetune as train_adapter
        from lloco.training.loop import LogLine

        chosen = self.recipe.finetune_options()
        num_steps = chosen.num_steps_for(len(data.examples))
        with self.output.progress("finetuning", "steps") as advance:
            num_done = 0

            def on_step(line: LogLine) -> None:
                nonlocal num_done
                advance(line.step + 1 - num_done, num_steps)
                num_done = line.step + 1

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
                study=self.study.study_options(),
                notes={STUDIED: studied_digests(corpus)} if self.study.self_study else {},
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
