"""The whole job on bundled documents with the default model: compress, finetune, answer, score, report.

Documents of the test part are in neither the pretraining nor the finetuning data: `fairytaleqa` are real stories,
`museum` and `railway` invented records of domains that the records model never saw. Offline, on a CPU. What was done in
the out folder is not done again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lloco.adapters.folder import LoraOptions
from lloco.answer.corpus_decoder import load_corpus_decoder
from lloco.compression.run import compress_into
from lloco.compressors.compressor import Compressor
from lloco.compressors.delta import checkpoint_width
from lloco.compressors.load import decoder_folder, load_compressor
from lloco.documents.document import Document
from lloco.engine.streaming import embedded_engine
from lloco.errors import DataError, MismatchError
from lloco.evals.evaluate import EvaluateOptions, evaluate
from lloco.evals.report import write_report
from lloco.evals.results import Results
from lloco.models.decoder import Decoder
from lloco.models.named import bundled_folder, default_model, is_compressor_name
from lloco.prompts.template import default_template
from lloco.store.corpus import Corpus
from lloco.store.store import Store
from lloco.tasks.sample import Sample
from lloco.tasks.task import load_samples
from lloco.training.finetune.example import Example
from lloco.training.finetune.run import FinetuneOptions, finetune

DOCUMENTS = Path(__file__).parent / "bundled" / "documents"
MODES = ("none", "truncated", "retrieval", "compressed", "hybrid", "full")
LINE_SECONDS = 10.0
ROWS = tuple(row for mode in MODES for row in (mode, f"{mode}+adapter"))
"""Every mode, without and with the adapter."""


@dataclass(frozen=True, slots=True)
class DemoTask:
    """Bundled documents with questions, and how many of each the demo uses."""

    name: str
    description: str
    scored_as: str
    """Task whose metrics are used."""
    num_test_questions: int
    num_steps: int
    """Steps of finetuning."""
    batch_size: int
    """Questions of a step; few where documents are long."""
    minutes: int
    """About how long it takes on two quiet processor cores, with the model that it is for."""


TASKS = {
    task.name: task
    for task in (
        DemoTask("museum", "records of museum objects (invented)", "jsonl", 200, 600, 32, 3),
        DemoTask("railway", "notes on trains (invented)", "jsonl", 200, 600, 32, 3),
        DemoTask(
            "fairytaleqa",
            "fairy tales (FairytaleQA, Apache-2.0; the stories are in the public domain)",
            "fairytaleqa",
            60,
            24,
            8,
            8,
        ),
    )
}

# Smaller models need larger steps than the published recipe's 2e-5 for 7B parameters.
RECIPES = (
    (10_000_000, FinetuneOptions(lora=LoraOptions(r=16, alpha=32, dropout=0.0), learning_rate=3e-3, bf16=None)),
    (1_000_000_000, FinetuneOptions(lora=LoraOptions(r=16, alpha=32, dropout=0.0), learning_rate=5e-4, bf16=None)),
)
"""How models of up to this many parameters are finetuned."""


def default_task(model: str | Path | None = None) -> str:
    """Return the task that suits a model: real stories, but records for the one that reads nothing else."""
    is_records = bundled_folder(str(model or default_model())) is not None
    return "museum" if is_records else "fairytaleqa"


def run_demo(
    out: Path,
    task: str | None = None,
    *,
    compressor: str | Path | None = None,
    model: str | Path | None = None,
    store: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str | None = None,
    say: Callable[[str], None] = print,
    command: str = "",
) -> Results:
    """Run every step in `out` and write `report.html` there.

    Args:
        out: everything that is made.
        task: one of `TASKS`, whose name its corpus gets; by default the one that suits the model.
        compressor: folder, hub id or name; the default one when not given.
        model: decoder that reads; the compressor's own when not given.
        store: folder of the store; `out`/store when not given.
        limit: number of test questions at most.
        seed: of finetuning.
        device: as `load_decoder` takes it.
        say: told of every step.
        command: what the report says made it.

    Raises:
        DataError: there is no such bundled task.
        MismatchError: the model is of another width than the compressor, or the store's corpus is another's.
    """
    task = task or default_task(compressor or model)
    if task not in TASKS:
        raise DataError(f"there is no bundled task {task!r}: choose one of {', '.join(TASKS)}")
    chosen = TASKS[task]
    train = load_samples(chosen.scored_as, DOCUMENTS / f"{task}_train.jsonl.gz")
    test = load_samples(chosen.scored_as, DOCUMENTS / f"{task}_test.jsonl.gz", limit=limit or chosen.num_test_questions)
    if compressor is None and model is not None and is_compressor_name(str(model)):
        compressor = model
    name = compressor or default_model()
    say(f"lloco demo: {chosen.description} with {name}; some {chosen.minutes} minutes on two quiet processor cores")
    loaded = load_compressor(compressor, device=device)
    if model is not None:
        _check_width(model, loaded)
    say(f"1/4 compress: model of {_num_parameters(loaded.decoder):,} parameters")
    store_folder = out / "store" if store is None else store
    with Store(store_folder) as opened:
        corpus = opened.corpus(task)
        _compress(corpus, _documents([*train, *test]), loaded, say)
        decoder = loaded.decoder if model is None else load_corpus_decoder(corpus, model, device=device)
        run = _Demo(chosen, corpus, loaded, decoder, out, seed, say)
        say(f"2/4 finetune: {len(train)} questions about {len(_documents(train))} documents, none in the test set")
        adapter = run.finetune(train)
        say(f"3/4 answer: {len(test)} unseen questions of {len(_documents(test))} unseen documents, {len(ROWS)} ways")
        results = run.evaluate(test, adapter)
    say("4/4 report")
    write_report([results], out / "report.html", title=f"lloco demo: {task}", command=command)
    say(f"    open {out / 'report.html'}")
    say(f'    next: lloco ask --store {store_folder} --corpus {task} "{test[0].question}"')
    return results


@dataclass(frozen=True, slots=True, eq=False)
class _Demo:
    """One task's corpus and the model, on their way through the steps."""

    task: DemoTask
    corpus: Corpus
    compressor: Compressor
    decoder: Decoder
    out: Path
    seed: int
    say: Callable[[str], None]

    def finetune(self, samples: list[Sample]) -> Path:
        steps = _Steps(self.say, "step")
        adapter = finetune(
            self.decoder,
            [Example(sample.document.id, sample.question, sample.references[0], sample.options) for sample in samples],
            lambda document_id: self.corpus.soft_prompt(document_id).embeds,
            default_template(self.decoder.require_tokenizer(), "short answer"),
            self._finetune_options(),
            self.out / f"finetune-{self.task.name}",
            lambda line: steps.advance(1, self.task.num_steps, f", loss {line.loss:.3f}"),
            compressor_digest=self.compressor.digest,
        )
        self.corpus.set_adapter(adapter)
        return adapter

    def evaluate(self, samples: list[Sample], adapter: Path) -> Results:
        batch_size = self.task.batch_size
        answers = _Steps(self.say, "answer")
        return evaluate(
            self.task.scored_as,
            samples,
            embedded_engine(self.decoder, batch_size),
            EvaluateOptions(ROWS, batch_size=batch_size, adapter=adapter, seed=self.seed, max_tokens=24),
            soft_prompt_of=lambda document: self.corpus.soft_prompt(document.id),
            out=self.out / f"evaluate-{self.task.name}",
            on_progress=lambda _, num_now: answers.advance(num_now, len(ROWS) * len(samples)),
            provenance={
                "data": f"bundled {self.task.name}_test.jsonl.gz",
                "compressor": self.compressor.name,
                "finetune": str(self._finetune_options()),
            },
        )

    def _finetune_options(self) -> FinetuneOptions:
        size = _num_parameters(self.decoder)
        return replace(
            next((recipe for largest, recipe in RECIPES if size <= largest), FinetuneOptions()),
            num_steps=self.task.num_steps,
            batch_size=self.task.batch_size,
            micro_batch_size=self.task.batch_size,
            seed=self.seed,
        )


def _check_width(model: str | Path, compressor: Compressor) -> None:
    """Raise `MismatchError` before anything is made where the model cannot read the compressor's vectors."""
    width = checkpoint_width(decoder_folder(model))
    if width != compressor.hidden_size:
        raise MismatchError(
            f"{compressor.name} makes soft prompts {compressor.hidden_size} wide, {model} reads embeddings {width} "
            "wide: name the compressor that was made for it with --compressor"
        )


def _compress(corpus: Corpus, documents: list[Document], compressor: Compressor, say: Callable[[str], None]) -> None:
    report = compress_into(corpus, documents, compressor)
    if report.num_new:
        say(
            f"    {report.num_new} documents, {report.num_document_tokens:,} tokens -> "
            f"{report.num_virtual_tokens:,} virtual tokens ({report.compression_ratio:.1f}x), "
            f"{report.tokens_per_second:,.0f} tokens/s"
        )


def _documents(samples: list[Sample]) -> list[Document]:
    return list({sample.document.id: sample.document for sample in samples}.values())


def _num_parameters(decoder: Decoder) -> int:
    return sum(parameter.numel() for parameter in decoder.model.parameters())


class _Steps:
    """Says now and then how far work has come and how long the rest will take."""

    def __init__(self, say: Callable[[str], None], unit: str) -> None:
        self._say, self._unit = say, unit
        self._num_done = 0
        self._started = self._said = time.monotonic()

    def advance(self, num_now: int, total: int, more: str = "") -> None:
        """Count; say it every ten seconds and at the end."""
        self._num_done += num_now
        now = time.monotonic()
        is_last = self._num_done >= total
        if now - self._said < LINE_SECONDS and not is_last:
            return
        left = (now - self._started) / max(self._num_done, 1) * (total - self._num_done)
        self._say(
            f"    {self._unit} {self._num_done:,} of {total:,}{more}" + ("" if is_last else f", {_time(left)} left")
        )
        self._said = now


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
