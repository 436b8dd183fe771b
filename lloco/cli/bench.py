"""`lloco bench`: soft prompts beside what a user would pick instead, and beside what the machine can do at most."""

import shlex
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.bench.columns import skipped_rows
from lloco.cli import options
from lloco.cli.bench_tables import bench_table
from lloco.cli.output import Advance, Output
from lloco.cli.retrieval import EmbedderName
from lloco.cli.verb import verb
from lloco.cli.wording import named_template
from lloco.durable import make_folder_durably

if TYPE_CHECKING:
    from lloco.bench.results import BenchResults
    from lloco.compressors.compressor import Compressor
    from lloco.models.decoder import Decoder

bench_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Measure speed and memory, each way beside the other in one run.\n\n\b\nExamples:\n"
    "  lloco bench latency\n  lloco bench compress --out bench-compress",
)
NOTHING = "nothing was written"


def _number(flag: str, explanation: str, smallest: int = 1) -> Any:
    return typer.Option(flag, parser=options.at_least(smallest), metavar="N", help=explanation)


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise typer.BadParameter(f"context tokens per virtual token, at least 1, were wanted, {text} came")
    return value


Contexts = Annotated[
    str | None,
    typer.Option("--contexts", metavar="N,N,...", help="Tokens of the context [default: as far as the model reads]."),
]
Ratio = Annotated[float, typer.Option("--ratio", parser=_ratio, metavar="X", help="Context tokens per virtual token.")]
Repeats = Annotated[int, _number("--repeats", "Measurements of each row.")]
RandomWeights = Annotated[
    Path | None,
    typer.Option("--random-weights", metavar="CONFIG", help="Instead: random weights of this shape, a config.json or "
                 "its folder."),
]  # fmt: skip


Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for report.html, results.json, a CSV file and plots."),
]


@dataclass(frozen=True, slots=True)
class _Place:
    """The flags that say where it runs and where results go."""

    seed: options.Seed = 0
    device: options.Device = None
    dtype: options.DtypeName = None
    out: Out = None
    is_json: options.Json = False
    quiet: options.Quiet = False

    @property
    def output(self) -> Output:
        """Where words go."""
        return Output(self.is_json, self.quiet)

    def progress(self, what: str = "measuring", unit: str = "runs") -> "AbstractContextManager[Advance]":
        """Make the folder for results, which may be refused, before anything is measured; then show how far it is."""
        if self.out is not None:
            make_folder_durably(self.out)
        return self.output.progress(what, unit)


@bench_app.command("latency", no_args_is_help=False)
@verb(kept=NOTHING)
def latency(
    *,
    model: options.Model = None,
    random_weights: RandomWeights = None,
    contexts: Contexts = None,
    ratio: Ratio = 30.0,
    new_tokens: Annotated[int, _number("--new-tokens", "Tokens of an answer.", 2)] = 16,
    batch_size: options.BatchSize = 1,
    repeats: Repeats = 3,
    place: _Place,
) -> None:
    """Time and memory of an answer: a context as text, and as a soft prompt.

    \b
    Examples:
      lloco bench latency
      lloco bench latency --random-weights llama-2-7b.json --contexts 4096,32768,131072
      lloco bench latency --batch-size 16 --contexts 2048 --out bench-latency
    """
    chosen_contexts = None if contexts is None else numbers(contexts, "--contexts")
    from lloco.bench.latency import DEFAULT_CONTEXTS, LatencyOptions, measure_latency

    chosen = LatencyOptions(chosen_contexts, ratio, new_tokens, batch_size=batch_size, repeats=repeats, seed=place.seed)
    num_positions = chosen.num_positions(max(chosen_contexts or DEFAULT_CONTEXTS))
    decoder = _decoder(model, random_weights, place, num_positions)
    with place.progress() as advance:
        results = measure_latency(decoder, chosen, advance)
    _finish(results, place)


@bench_app.command("compress", no_args_is_help=False)
@verb(kept=NOTHING)
def compress(
    *,
    compressor: options.CompressorName = None,
    random_weights: RandomWeights = None,
    segment_len: Annotated[int, _number("--segment-len", "Tokens of a segment, with --random-weights.")] = 1536,
    summary_length: Annotated[
        int, _number("--summary-length", "Virtual tokens of a segment, with --random-weights.")
    ] = 50,
    lengths: Annotated[
        str, typer.Option("--lengths", metavar="N,N,...", help="Tokens of a document.")
    ] = "512,1024,2048",
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", metavar="N,N,...", help="Documents compressed together.")
    ] = "1,4",
    documents: Annotated[int, _number("--documents", "Documents of a measurement.")] = 4,
    repeats: Repeats = 2,
    place: _Place,
) -> None:
    """Speed and memory of compressing: in batches, and naively one by one with all that a pass makes.

    \b
    Examples:
      lloco bench compress
      lloco bench compress --random-weights llama-2-7b.json --lengths 6144,24576 --batch-sizes 1,4,16
    """
    chosen_lengths, chosen_sizes = numbers(lengths, "--lengths"), numbers(batch_sizes, "--batch-sizes")
    from lloco.bench.compress import CompressBenchOptions, measure_compress, num_positions, random_compressor
    from lloco.compressors.icae import IcaeCompressor
    from lloco.compressors.load import load_compressor
    from lloco.errors import LlocoError

    chosen = CompressBenchOptions(chosen_lengths, chosen_sizes, documents, repeats, place.seed)
    measured: Compressor
    if random_weights is None:
        found = load_compressor(compressor, device=place.device, dtype=place.dtype)
        if isinstance(found, IcaeCompressor):
            raise LlocoError(f"bench compress has no naive way of an ICAE to compare with, {found.name} is one")
        measured = found
    else:
        most = num_positions(max(chosen_lengths), segment_len, summary_length)
        decoder = _decoder(compressor, random_weights, place, most)
        measured = random_compressor(decoder, segment_len=segment_len, summary_length=summary_length, seed=place.seed)
    with place.progress() as advance:
        results = measure_compress(measured, chosen, advance)
    _finish(results, place)


@bench_app.command("finetune", no_args_is_help=False)
@verb(kept=NOTHING)
def finetune(
    *,
    model: options.Model = None,
    random_weights: RandomWeights = None,
    contexts: Contexts = None,
    ratio: Ratio = 30.0,
    batch_size: options.BatchSize = 4,
    micro_batch_size: Annotated[int, _number("--micro-batch-size", "Examples that are computed at once.")] = 1,
    num_steps: Annotated[int, _number("--num-steps", "Steps of a measurement, after one to warm up.")] = 2,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time, the same gradients.")
    ] = False,
    repeats: Repeats = 2,
    place: _Place,
) -> None:
    """Speed and memory of training an adapter: on contexts as text, and as soft prompts.

    \b
    Examples:
      lloco bench finetune
      lloco bench finetune --random-weights llama-2-7b.json --contexts 8192,32768 --gradient-checkpointing
    """
    chosen_contexts = None if contexts is None else numbers(contexts, "--contexts")
    from lloco.bench.finetune import DEFAULT_CONTEXTS, ROOM, FinetuneBenchOptions, measure_finetune

    chosen = FinetuneBenchOptions(
        chosen_contexts, ratio, batch_size, micro_batch_size, num_steps, gradient_checkpointing, repeats, place.seed
    )
    decoder = _decoder(model, random_weights, place, max(chosen_contexts or DEFAULT_CONTEXTS) + ROOM)
    with place.progress() as advance:
        results = measure_finetune(decoder, chosen, advance)
    _finish(results, place)


@bench_app.command("serve", no_args_is_help=False)
@verb(kept=NOTHING)
def serve(
    *,
    compressor: options.CompressorName = None,
    clients: Annotated[
        str, typer.Option("--clients", metavar="N,N,...", help="How many ask at the same time.")
    ] = "1,4,16",
    context_tokens: Annotated[int, _number("--context-tokens", "Tokens of a document.")] = 1024,
    questions: Annotated[int, _number("--questions", "Questions of a client in a measurement.")] = 2,
    new_tokens: Annotated[int, _number("--new-tokens", "Tokens of an answer.")] = 16,
    max_batch_size: Annotated[int, _number("--max-batch-size", "Questions that the server answers at once.")] = 16,
    prefix_cache_mb: Annotated[
        int, _number("--prefix-cache-mb", "Memory for documents that were read: each mode without and with it.", 0)
    ] = 0,
    repeats: Repeats = 2,
    place: _Place,
) -> None:
    """Load on the server: answers a second and waiting times, documents read as text and as soft prompts.

    \b
    Examples:
      lloco bench serve
      lloco bench serve --clients 1,8,64 --context-tokens 3000 --out bench-serve
    """
    chosen_clients = numbers(clients, "--clients")
    from lloco.bench.serve import ServeBenchOptions, measure_serve
    from lloco.compressors.load import load_compressor

    chosen = ServeBenchOptions(
        chosen_clients,
        context_tokens,
        questions=questions,
        new_tokens=new_tokens,
        max_batch_size=max_batch_size,
        prefix_cache_mb=prefix_cache_mb,
        repeats=repeats,
        seed=place.seed,
    )
    served = load_compressor(compressor, device=place.device, dtype=place.dtype)
    with place.progress() as advance:
        results = measure_serve(served, chosen, place.device, advance)
    _finish(results, place)


@bench_app.command("retrieval", no_args_is_help=True)
@verb(kept=NOTHING)
def retrieval(
    *,
    task: options.Task,
    data: options.Data,
    embedder: EmbedderName = None,
    top_k: Annotated[
        str, typer.Option("--top-k", metavar="N,N,...", help="How many of the first are looked at.")
    ] = "1,5,10",
    limit: options.Limit = None,
    device: options.Device = None,
    out: Out = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Recall and speed of finding a task's documents and passages, by words and by meaning.

    \b
    Examples:
      lloco bench retrieval --task squad_articles --data rajpurkar/squad
      lloco bench retrieval --task hotpotqa --data hotpot_dev_distractor_v1.json --embedder minishlab/potion-base-8M
    """
    top_ks = numbers(top_k, "--top-k")
    from lloco.bench.retrieval import RetrievalBenchOptions, measure_retrieval
    from lloco.embedder import load_embedder
    from lloco.evals.tasks import load_samples

    chosen = RetrievalBenchOptions(task, data, top_ks, embedder, limit)
    place = _Place(out=out, is_json=is_json, quiet=quiet)
    loaded = None if embedder is None else load_embedder(embedder, device)
    samples = load_samples(task, data)
    with place.progress("searching", "methods") as advance:
        results = measure_retrieval(samples, chosen, loaded, advance)
    _finish(results, place)


@bench_app.command("rivals", no_args_is_help=True)
@verb(kept=NOTHING)
def rivals(
    *,
    task: options.Task,
    data: options.Data,
    compressor: options.CompressorName = None,
    adapter: options.Adapter = None,
    embedder: EmbedderName = None,
    template: options.TemplateName = None,
    ratios: Annotated[
        str | None,
        typer.Option("--ratios", metavar="N,N,...", help="Document tokens per position that is read [default: the "
                     "compressor's own]."),
    ] = None,
    max_tokens: options.MaxTokens = None,
    limit: options.Limit = None,
    place: _Place,
) -> None:  # fmt: skip
    """Quality, time and bytes stored of a task's answers, from soft prompts and from what else reads so few positions.

    \b
    Examples:
      lloco bench rivals --task jsonl --data questions.jsonl --max-tokens 16
      lloco bench rivals --task squad_articles --data rajpurkar/squad --limit 200 --ratios 4,8,16 --out bench-rivals
    """
    chosen_ratios = None if ratios is None else numbers(ratios, "--ratios")
    from lloco.bench.rivals import RivalsOptions, measure_rivals
    from lloco.compressors.load import load_compressor
    from lloco.embedder import load_embedder
    from lloco.evals.tasks import load_samples

    chosen = RivalsOptions(task, data, chosen_ratios, max_tokens, embedder, adapter, template, place.seed)
    samples = load_samples(task, data, limit=limit)
    wording = None if template is None else named_template(template)
    searched_with = None if embedder is None else load_embedder(embedder, place.device)
    answering = load_compressor(compressor, device=place.device, dtype=place.dtype)
    with place.progress() as advance:
        results = measure_rivals(samples, answering, chosen, searched_with, wording, advance)
    _finish(results, place)


@bench_app.command("store", no_args_is_help=False)
@verb(kept="its documents were removed again")
def store(
    *,
    max_documents: Annotated[int, _number("--max-documents", "Documents at the end.", 100)] = 3000,
    storage_dtypes: Annotated[
        str, typer.Option("--storage-dtypes", metavar="A,B,...", help="Types to store vectors in, each a corpus.")
    ] = "float32,bfloat16,int8",
    virtual_tokens: Annotated[int, _number("--virtual-tokens", "Vectors of a soft prompt.")] = 50,
    hidden_size: Annotated[int, _number("--hidden-size", "Width of a vector.")] = 192,
    work: Annotated[
        Path | None, typer.Option("--work", metavar="DIR", help="Disk to measure [default: the system's for "
                                  "temporary files]."),
    ] = None,
    seed: options.Seed = 0,
    out: Out = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Adding, looking up and retrieving as a store grows, and its disk by storage dtype.

    \b
    Examples:
      lloco bench store
      lloco bench store --max-documents 100000 --storage-dtypes int8 --work /data --out bench-store
    """
    from lloco.bench.store import StoreBenchOptions, measure_store
    from lloco.soft_prompt import STORAGE_DTYPES

    dtypes = tuple(map(options.one_of(tuple(STORAGE_DTYPES)), storage_dtypes.split(",")))
    if len(set(dtypes)) != len(dtypes):
        raise typer.BadParameter(f"each once was wanted, {storage_dtypes} came", param_hint="'--storage-dtypes'")
    chosen = StoreBenchOptions(max_documents, dtypes, virtual_tokens, hidden_size, seed)
    place = _Place(seed, out=out, is_json=is_json, quiet=quiet)
    with place.progress("adding", "documents") as advance:
        results = measure_store(chosen, work, advance)
    _finish(results, place)


def numbers(text: str, flag: str) -> tuple[int, ...]:
    """Read a list of whole numbers from 1 on, each given once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise typer.BadParameter(f"whole numbers of at least 1 were wanted, {text} came", param_hint=f"'{flag}'")
    found = tuple(map(int, parts))
    if len(set(found)) != len(found):
        raise typer.BadParameter(f"each number once was wanted, {text} came", param_hint=f"'{flag}'")
    return found


def _decoder(model: str | None, random_weights: Path | None, place: _Place, num_positions: int) -> "Decoder":
    """Load the decoder, or make one that reads so many positions."""
    from lloco.bench.random_weights import random_decoder
    from lloco.compressors.load import load_named_decoder

    if random_weights is None:
        return load_named_decoder(model, device=place.device, dtype=place.dtype)
    if model is not None:
        raise typer.BadParameter(f"a shape or weights were wanted, {model} came too", param_hint="'--random-weights'")
    return random_decoder(
        random_weights, device=place.device, dtype=place.dtype, seed=place.seed, num_positions=num_positions
    )


def _finish(results: "BenchResults", place: _Place) -> None:
    """Say what was left out, write the files, print the result."""
    from lloco.bench.report import write_bench_report
    from lloco.report.page import REPORT_FILE

    for line in skipped_rows(results.rows):
        place.output.warn(line)
    page = None if place.out is None else place.out / REPORT_FILE
    if page is not None:
        results.save(page.parent)
        write_bench_report(results, page, command=shlex.join(["lloco", *sys.argv[1:]]))
    place.output.result(results.to_dict(), bench_table(results))
    if page is not None:
        place.output.say(f"open {page} in a browser; results.json, {results.bench}.csv and plots are beside it")
