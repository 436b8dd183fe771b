"""`python -m benchmarks`: lloco beside other methods, and parts of it alone, with the flags of `lloco bench`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.retrieval import RetrievalBenchOptions, measure_retrieval
from benchmarks.rivals.run import RivalsOptions, measure_rivals
from benchmarks.store import StoreBenchOptions, measure_store
from lloco.cli import options
from lloco.cli.bench_options import NOTHING, Out, RunFlags, finish, number, numbers
from lloco.cli.main import run
from lloco.cli.retrieval_flags import EmbedderName
from lloco.cli.templates import named_template
from lloco.cli.verb import verb
from lloco.compressors.load import load_compressor
from lloco.prompts.provenance import STORAGE_DTYPE_NAMES
from lloco.retrieval.embedder import load_embedder
from lloco.tasks.task import load_samples

PROGRAM = "python -m benchmarks"
app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Benches for research: each way beside the other in one run.\n\n\b\nExample:\n"
    "  python -m benchmarks store --max-documents 300",
)


@app.command("retrieval", no_args_is_help=True)
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
      python -m benchmarks retrieval --task squad_articles --data rajpurkar/squad
      python -m benchmarks retrieval --task hotpotqa --data hotpot_dev.json --embedder minishlab/potion-base-8M
    """
    top_ks = numbers(top_k, "--top-k")
    chosen = RetrievalBenchOptions(task, data, top_ks, embedder, limit)
    flags = RunFlags(device=device, out=out, is_json=is_json, quiet=quiet)
    loaded = None if embedder is None else load_embedder(embedder, device)
    samples = load_samples(task, data)
    with flags.progress("retrieval", chosen, "searching", "methods") as advance:
        results = measure_retrieval(samples, chosen, loaded, advance)
    finish(results, flags, PROGRAM)


@app.command("rivals", no_args_is_help=True)
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
    flags: RunFlags,
) -> None:  # fmt: skip
    """Quality, time and bytes stored of a task's answers, from soft prompts and from what else reads so few positions.

    \b
    Examples:
      python -m benchmarks rivals --task jsonl --data questions.jsonl --max-tokens 16
      python -m benchmarks rivals --task squad_articles --data rajpurkar/squad --limit 200 --ratios 4,8,16 --out rivals
    """
    chosen_ratios = None if ratios is None else numbers(ratios, "--ratios")
    chosen = RivalsOptions(task, data, chosen_ratios, max_tokens, embedder, adapter, template, flags.seed)
    samples = load_samples(task, data, limit=limit)
    wording = None if template is None else named_template(template)
    searched_with = None if embedder is None else load_embedder(embedder, flags.device)
    answering = load_compressor(compressor, device=flags.device, dtype=flags.dtype)
    with flags.progress("rivals", chosen, compressor=compressor, limit=limit) as advance:
        results = measure_rivals(samples, answering, chosen, searched_with, wording, advance)
    finish(results, flags, PROGRAM)


@app.command("store", no_args_is_help=False)
@verb(kept="its documents were removed again")
def store(
    *,
    max_documents: Annotated[int, number("--max-documents", "Documents at the end.", 100)] = 3000,
    storage_dtypes: Annotated[
        str, typer.Option("--storage-dtypes", metavar="A,B,...", help="Types to store vectors in, each a corpus.")
    ] = "float32,bfloat16,int8",
    virtual_tokens: Annotated[int, number("--virtual-tokens", "Vectors of a soft prompt.")] = 50,
    hidden_size: Annotated[int, number("--hidden-size", "Width of a vector.")] = 192,
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
      python -m benchmarks store
      python -m benchmarks store --max-documents 100000 --storage-dtypes int8 --work /data --out bench-store
    """

    dtypes = tuple(map(options.one_of(STORAGE_DTYPE_NAMES), storage_dtypes.split(",")))
    if len(set(dtypes)) != len(dtypes):
        raise typer.BadParameter(f"must have each type once, got {storage_dtypes}", param_hint="'--storage-dtypes'")
    chosen = StoreBenchOptions(max_documents, dtypes, virtual_tokens, hidden_size, seed)
    flags = RunFlags(seed, out=out, is_json=is_json, quiet=quiet)
    with flags.progress("store", chosen, "adding", "documents", work=work) as advance:
        results = measure_store(chosen, work, advance)
    finish(results, flags, PROGRAM)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run(app, argv, PROGRAM)
