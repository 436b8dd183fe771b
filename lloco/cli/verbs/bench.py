"""`lloco bench`: soft prompts beside what a user would pick instead, and beside what the machine can do at most."""

from typing import TYPE_CHECKING, Annotated

import typer

from lloco.cli import options
from lloco.cli.allocator import keep_freed_memory
from lloco.cli.bench_options import (
    NOTHING,
    Contexts,
    RandomWeights,
    Ratio,
    Repeats,
    RunFlags,
    chosen_decoder,
    finish,
    number,
    numbers,
)
from lloco.cli.panels import PanelCommand
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


@bench_app.command("latency", cls=PanelCommand, no_args_is_help=False)
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
    flags: RunFlags,
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

    chosen = LatencyOptions(chosen_contexts, ratio, new_tokens, batch_size=batch_size, repeats=repeats, seed=flags.seed)
    num_positions = chosen.num_positions(max(chosen_contexts or DEFAULT_CONTEXTS))
    decoder = chosen_decoder(model, random_weights, flags, num_positions)
    with flags.progress("latency", chosen, model=model, random_weights=random_weights) as advance:
        results = measure_latency(decoder, chosen, advance)
    finish(results, flags)


@bench_app.command("compress", cls=PanelCommand, no_args_is_help=False)
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
    flags: RunFlags,
) -> None:
    """Speed and memory of compressing: in batches, and in a naive one-at-a-time loop.

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

    chosen = CompressBenchOptions(chosen_lengths, chosen_sizes, documents, repeats, flags.seed)
    measured: Compressor
    if random_weights is None:
        found = load_compressor(compressor, device=flags.device, dtype=flags.dtype)
        if isinstance(found, IcaeCompressor):
            raise LlocoError(f"bench compress has no naive way of an ICAE to compare with, {found.name} is one")
        measured = found
    else:
        most = num_positions(max(chosen_lengths), segment_len, summary_length)
        decoder = chosen_decoder(compressor, random_weights, flags, most)
        measured = random_compressor(decoder, segment_len=segment_len, summary_length=summary_length, seed=flags.seed)
    with flags.progress(
        "compress",
        chosen,
        compressor=compressor,
        random_weights=random_weights,
        segment_len=segment_len,
        summary_length=summary_length,
    ) as advance:
        results = measure_compress(measured, chosen, advance)
    finish(results, flags)


@bench_app.command("finetune", cls=PanelCommand, no_args_is_help=False)
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
    flags: RunFlags,
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
        chosen_contexts, ratio, batch_size, micro_batch_size, num_steps, gradient_checkpointing, repeats, flags.seed
    )
    decoder = chosen_decoder(model, random_weights, flags, max(chosen_contexts or DEFAULT_CONTEXTS) + ROOM)
    with flags.progress("finetune", chosen, model=model, random_weights=random_weights) as advance:
        results = measure_finetune(decoder, chosen, advance)
    finish(results, flags)


bench_app.command("serve", cls=PanelCommand, no_args_is_help=False)(serve)
