"""`lloco bench`: soft prompts beside what a user would pick instead, and beside what the machine can do at most."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloco.cli import options
from lloco.cli.allocator import keep_freed_memory
from lloco.cli.bench_options import (
    NOTHING,
    Contexts,
    Out,
    Place,
    RandomWeights,
    Ratio,
    Repeats,
    chosen_decoder,
    finish,
    number,
    numbers,
)
from lloco.cli.retrieval_flags import EmbedderName
from lloco.cli.templates import named_template
from lloco.cli.verb import verb
from lloco.cli.verbs.bench_serve import serve

if TYPE_CHECKING:
    from lloco.compressors.compressor import Compressor

bench_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Measure speed and memory, each way beside the other in one run.\n\n\b\nExamples:\n"
    "  lloco bench latency\n  lloco bench compress --out bench-compress",
)


@bench_app.command("latency", no_args_is_help=False)
@verb(kept=NOTHING)
def latency(
    *,
    model: options.Model = None,
    random_weights: RandomWeights = None,
    contexts: Contexts = None,
    ratio: Ratio = 30.0,
    new_tokens: Annotated[int, number("--new-tokens", "Tokens of an answer.", 2)] = 16,
    batch_size: options.BatchSize = 1,
    repeats: Repeats = 3,
    place: Place,
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
    decoder = chosen_decoder(model, random_weights, place, num_positions)
    with place.progress("latency", chosen, model=model, random_weights=random_weights) as advance:
        results = measure_latency(decoder, chosen, advance)
    finish(results, place)


@bench_app.command("compress", no_args_is_help=False)
@verb(kept=NOTHING)
def compress(
    *,
    compressor: options.CompressorName = None,
    random_weights: RandomWeights = None,
    segment_len: Annotated[int, number("--segment-len", "Tokens of a segment, with --random-weights.")] = 1536,
    summary_length: Annotated[
        int, number("--summary-length", "Virtual tokens of a segment, with --random-weights.")
    ] = 50,
    lengths: Annotated[
        str, typer.Option("--lengths", metavar="N,N,...", help="Tokens of a document.")
    ] = "512,1024,2048",
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", metavar="N,N,...", help="Documents compressed together.")
    ] = "1,4",
    documents: Annotated[int, number("--documents", "Documents of a measurement, at least the largest batch.")] = 4,
    repeats: Repeats = 2,
    place: Place,
) -> None:
    """Speed and memory of compressing: in batches, and naively one by one with all that a pass makes.

    \b
    Examples:
      lloco bench compress
      lloco bench compress --random-weights llama-2-7b.json --lengths 6144,24576 --batch-sizes 1,4,16
    """
    chosen_lengths, chosen_sizes = numbers(lengths, "--lengths"), numbers(batch_sizes, "--batch-sizes")
    keep_freed_memory()  # as `lloco compress` does
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
        decoder = chosen_decoder(compressor, random_weights, place, most)
        measured = random_compressor(decoder, segment_len=segment_len, summary_length=summary_length, seed=place.seed)
    with place.progress(
        "compress",
        chosen,
        compressor=compressor,
        random_weights=random_weights,
        segment_len=segment_len,
        summary_length=summary_length,
    ) as advance:
        results = measure_compress(measured, chosen, advance)
    finish(results, place)


@bench_app.command("finetune", no_args_is_help=False)
@verb(kept=NOTHING)
def finetune(
    *,
    model: options.Model = None,
    random_weights: RandomWeights = None,
    contexts: Contexts = None,
    ratio: Ratio = 30.0,
    batch_size: options.BatchSize = 4,
    micro_batch_size: Annotated[int, number("--micro-batch-size", "Examples that are computed at once.")] = 1,
    num_steps: Annotated[int, number("--num-steps", "Steps of a measurement, after one to warm up.")] = 2,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time, the same gradients.")
    ] = False,
    repeats: Repeats = 2,
    place: Place,
) -> None:
    """Speed and memory of training an adapter: on contexts as text, and as soft prompts.

    \b
    Examples:
      lloco bench finetune
      lloco bench finetune --random-weights llama-2-7b.json --contexts 8192,32768 --gradient-checkpointing
    """
    chosen_contexts = None if contexts is None else numbers(contexts, "--contexts")
    keep_freed_memory()  # as `lloco finetune` does
    from lloco.bench.finetune import DEFAULT_CONTEXTS, ROOM, FinetuneBenchOptions, measure_finetune

    chosen = FinetuneBenchOptions(
        chosen_contexts, ratio, batch_size, micro_batch_size, num_steps, gradient_checkpointing, repeats, place.seed
    )
    decoder = chosen_decoder(model, random_weights, place, max(chosen_contexts or DEFAULT_CONTEXTS) + ROOM)
    with place.progress("finetune", chosen, model=model, random_weights=random_weights) as advance:
        results = measure_finetune(decoder, chosen, advance)
    finish(results, place)


bench_app.command("serve", no_args_is_help=False)(serve)


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
    from lloco.retrieval.embedder import load_embedder
    from lloco.tasks.task import load_samples

    chosen = RetrievalBenchOptions(task, data, top_ks, embedder, limit)
    place = Place(device=device, out=out, is_json=is_json, quiet=quiet)
    loaded = None if embedder is None else load_embedder(embedder, device)
    samples = load_samples(task, data)
    with place.progress("retrieval", chosen, "searching", "methods") as advance:
        results = measure_retrieval(samples, chosen, loaded, advance)
    finish(results, place)


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
    place: Place,
) -> None:  # fmt: skip
    """Quality, time and bytes stored of a task's answers, from soft prompts and from what else reads so few positions.

    \b
    Examples:
      lloco bench rivals --task jsonl --data questions.jsonl --max-tokens 16
      lloco bench rivals --task squad_articles --data rajpurkar/squad --limit 200 --ratios 4,8,16 --out bench-rivals
    """
    chosen_ratios = None if ratios is None else numbers(ratios, "--ratios")
    from lloco.bench.rivals.run import RivalsOptions, measure_rivals
    from lloco.compressors.load import load_compressor
    from lloco.retrieval.embedder import load_embedder
    from lloco.tasks.task import load_samples

    chosen = RivalsOptions(task, data, chosen_ratios, max_tokens, embedder, adapter, template, place.seed)
    samples = load_samples(task, data, limit=limit)
    wording = None if template is None else named_template(template)
    searched_with = None if embedder is None else load_embedder(embedder, place.device)
    answering = load_compressor(compressor, device=place.device, dtype=place.dtype)
    with place.progress("rivals", chosen, compressor=compressor, limit=limit) as advance:
        results = measure_rivals(samples, answering, chosen, searched_with, wording, advance)
    finish(results, place)


@bench_app.command("store", no_args_is_help=False)
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
      lloco bench store
      lloco bench store --max-documents 100000 --storage-dtypes int8 --work /data --out bench-store
    """
    from lloco.bench.store import StoreBenchOptions, measure_store
    from lloco.prompts.soft_prompt import STORAGE_DTYPES

    dtypes = tuple(map(options.one_of(tuple(STORAGE_DTYPES)), storage_dtypes.split(",")))
    if len(set(dtypes)) != len(dtypes):
        raise typer.BadParameter(f"must have each type once, got {storage_dtypes}", param_hint="'--storage-dtypes'")
    chosen = StoreBenchOptions(max_documents, dtypes, virtual_tokens, hidden_size, seed)
    place = Place(seed, out=out, is_json=is_json, quiet=quiet)
    with place.progress("store", chosen, "adding", "documents", work=work) as advance:
        results = measure_store(chosen, work, advance)
    finish(results, place)
