"""`lloco questions`: question-answer pairs from a corpus's documents, without a label."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.output import Output, table_text
from lloco.cli.threads import fit_threads
from lloco.cli.verb import verb
from lloco.models.named import RECORDS, default_model

if TYPE_CHECKING:
    from lloco.self_study.ask import Generator
    from lloco.self_study.question_file import Counts
    from lloco.self_study.run import Study, StudyPlan
    from lloco.store.corpus import Corpus

TEMPLATES = "templates"
TOKENS_IN, TOKENS_OUT = 1_200, 80
"""Tokens that a question takes of a generator, about, its checks and those that are thrown away included."""


@dataclass(frozen=True, slots=True)
class GeneratorFlags:
    """The flags that say who writes the questions."""

    generator: Annotated[
        str | None,
        typer.Option("--generator", metavar="NAME|URL", help="Who writes questions: a name of `lloco model list`, a "
                     "folder, a hub id, the address of an OpenAI-compatible server, or `templates` [default: smollm2 "
                     "where it is installed, else templates]."),
    ] = None  # fmt: skip
    generator_model: Annotated[
        str | None, typer.Option("--generator-model", metavar="ID", help="Model of the server at --generator URL.")
    ] = None
    num: Annotated[
        int | None,
        typer.Option("--num", parser=options.at_least(1), metavar="N", help="Questions wanted in all, spread over the "
                     "documents [default: --per-span of each span]."),
    ] = None  # fmt: skip
    per_span: Annotated[
        int,
        typer.Option("--per-span", parser=options.at_least(1), metavar="N", help="Questions wanted of each span of "
                     "some hundred words."),
    ] = 2  # fmt: skip
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", parser=options.at_least(1), metavar="N", help="Requests to a server at once."),
    ] = 4
    timeout: Annotated[
        int,
        typer.Option("--timeout", parser=options.at_least(1), metavar="SECONDS", help="How long a server may take to a "
                     "reply."),
    ] = 120  # fmt: skip

    @property
    def name(self) -> str:
        """The generator that is named, else the best one that is here."""
        chosen = self.generator or default_model()
        return TEMPLATES if self.generator is None and chosen == RECORDS else chosen

    @property
    def is_address(self) -> bool:
        """Whether a server is named."""
        return self.name.startswith(("http://", "https://"))

    def check(self) -> None:
        """Raise where the flags do not fit one another."""
        if self.is_address and self.generator_model is None:
            raise typer.BadParameter("a server has many models: name one", param_hint="'--generator-model'")
        if not self.is_address and self.generator_model is not None:
            raise typer.BadParameter(
                "it names a model of a server: give --generator URL too", param_hint="'--generator-model'"
            )


@verb(kept="the questions made so far are in the file; the same command goes on from there")
def questions(
    *,
    corpus: options.CorpusName,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Lines of documents with their questions [default: "
                     "questions-CORPUS.jsonl]."),
    ] = None,
    flags: GeneratorFlags,
    is_estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it would take, and make nothing.")
    ] = False,
    store: options.StorePath = None,
    device: options.Device = None,
    dtype: options.DtypeName = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Make question-answer pairs from the documents of a corpus.

    Each pair is checked, and what is thrown away is counted. The file is what `finetune --data` and `evaluate --task
    jsonl --data` read. A run that was stopped goes on; documents that were added or edited are done when it is given
    again. A server's key is taken from LLOCO_GENERATOR_KEY, else OPENAI_API_KEY.

    \b
    Examples:
      lloco questions --corpus contracts
      lloco questions --corpus contracts --num 200 --out pairs.jsonl
      lloco questions --corpus contracts --generator http://127.0.0.1:8000/v1 --generator-model llama-3-8b
      lloco questions --corpus contracts --generator templates --per-span 4
    """
    flags.check()
    output = Output(is_json, quiet)
    output.say(f"questions for corpus {corpus}, written by {flags.generator_model or flags.name}")
    path = out or Path(f"questions-{corpus}.jsonl")
    from lloco.store.store import Store

    with Store(store) as opened:
        found = opened.corpus(corpus, create=False)
        plan = planned(found, flags, output)
        if is_estimate:
            output.result(_estimate(plan, flags))
            return
        study, counts = made_questions(found, plan, flags, path, output, device=device, dtype=dtype)
    values = {"corpus": corpus, "out": str(path), **counted(study, counts)}
    output.result(values, _text(values))
    if counts.num_pairs:
        output.say(f"next: lloco finetune --corpus {shlex.quote(corpus)} --data {shlex.quote(str(path))}")
    else:
        output.warn("no question was kept: name another --generator, or see above why they were thrown away")


def planned(corpus: "Corpus", flags: GeneratorFlags, output: Output) -> "StudyPlan":
    """Count the spans of the corpus and say what their questions will take."""
    from lloco.self_study.run import StudyOptions, plan_questions

    plan = plan_questions(corpus, StudyOptions(flags.num, flags.per_span))
    values = _estimate(plan, flags)
    cost = ""
    if flags.name != TEMPLATES:
        cost = (
            f"; about {values['num_requests']:,} requests, {values['num_tokens_in']:,} tokens in and "
            f"{values['num_tokens_out']:,} out"
        )
    output.say(f"{len(plan.digests):,} documents, {plan.num_spans:,} spans, {plan.num_pairs:,} questions wanted{cost}")
    return plan


def made_questions(
    corpus: "Corpus",
    plan: "StudyPlan",
    flags: GeneratorFlags,
    out: Path,
    output: Output,
    *,
    device: str | None,
    dtype: str | None,
) -> "tuple[Study, Counts]":
    """Make the questions that the file does not hold yet."""
    from lloco.files.durable import make_folder_durably
    from lloco.retrieval.retriever import Retriever
    from lloco.self_study.run import Study

    make_folder_durably(out.resolve().parent)
    with _generator(flags, output, device=device, dtype=dtype) as generator:
        search = Retriever.of_corpus(corpus).search
        unit = "questions" if generator is None else "requests"
        with output.progress("making questions", unit) as advance:
            study = Study(corpus, generator, search, plan, out, advance)
            return study, study.run()


@contextmanager
def _generator(
    flags: GeneratorFlags, output: Output, *, device: str | None, dtype: str | None
) -> "Iterator[Generator | None]":
    if flags.name == TEMPLATES:
        yield None
    elif flags.is_address:
        from lloco.self_study.endpoint import Endpoint

        endpoint = Endpoint(
            flags.name,
            str(flags.generator_model),
            concurrency=flags.concurrency,
            timeout_seconds=flags.timeout,
            on_wait=output.say,
        )
        try:
            yield endpoint
        finally:
            endpoint.close()
    else:
        from lloco.self_study.local import load_generator

        fit_threads()
        yield load_generator(flags.name, device=device, dtype=dtype)


def counted(study: "Study", counts: "Counts") -> dict[str, Any]:
    """Return what was made, kept and thrown away."""
    from lloco.self_study.checks import CHECKS

    return {
        "num_documents": counts.num_documents,
        "num_documents_without": counts.num_without,
        "num_unchanged": study.num_unchanged,
        "num_dropped": study.num_dropped,
        "num_edited_meanwhile": study.num_edited,
        "num_spans": counts.num_spans,
        "num_wanted": counts.num_wanted,
        "num_questions": counts.num_pairs,
        "made_by": dict(counts.made_by.most_common()),
        "kinds": dict(counts.kinds.most_common()),
        "discarded": {name: counts.discarded[name] for name in CHECKS if counts.discarded[name]},
        "num_requests": study.num_asked,
    }


def _estimate(plan: "StudyPlan", flags: GeneratorFlags) -> dict[str, Any]:
    from lloco.self_study.run import REQUESTS_A_QUESTION

    num_asking = 0 if flags.name == TEMPLATES else plan.num_pairs
    return {
        "num_documents": len(plan.digests),
        "num_spans": plan.num_spans,
        "num_wanted": plan.num_pairs,
        "num_requests": REQUESTS_A_QUESTION * num_asking,
        "num_tokens_in": TOKENS_IN * num_asking,
        "num_tokens_out": TOKENS_OUT * num_asking,
    }


def _text(values: dict[str, Any]) -> str:
    rows = [["questions kept", f"{values['num_questions']:,} of {values['num_wanted']:,} wanted"]]
    rows += [[f"  written by {name}", f"{num:,}"] for name, num in values["made_by"].items()]
    rows += [["documents", f"{values['num_documents']:,}"]]
    for name, what in (
        ("num_documents_without", "  without a question"),
        ("num_unchanged", "  done before"),
        ("num_dropped", "  gone or edited since, their questions dropped"),
        ("num_edited_meanwhile", "  edited meanwhile: give the command again"),
    ):
        rows += [[what, f"{values[name]:,}"]] if values[name] else []
    rows += [["thrown away, failing", f"{sum(values['discarded'].values()):,}"]]
    rows += [[f"  {name}", f"{num:,}"] for name, num in values["discarded"].items()]
    return table_text(f"{values['out']}, corpus {values['corpus']}", ["", ""], rows)
