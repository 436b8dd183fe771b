"""`lloco bench serve`: clients that wait for their answers, or questions that come at a rate, against a real server."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloco.cli import options
from lloco.cli.bench_options import NOTHING, RandomWeights, Repeats, RunFlags, chosen_decoder, finish, number, numbers
from lloco.cli.verb import verb

if TYPE_CHECKING:
    from lloco.bench.load.served_corpora import ServedOptions
    from lloco.compressors.compressor import Compressor

ROOM = 256
"""Positions for the wording, the question and a document's last word."""


@dataclass(frozen=True, slots=True)
class _Served:
    """The flags that say what is served."""

    engine: options.EngineName = "transformers"
    context_tokens: Annotated[int, number("--context-tokens", "Tokens of a document.")] = 1024
    documents: Annotated[int, number("--documents", "Documents of each corpus.")] = 4
    corpora: Annotated[
        int, typer.Option("--corpora", parser=options.at_least(1, 8), metavar="N", help="Corpora, asked in random "
                          "order, each with an adapter of its own; 8 at most.")
    ] = 1  # fmt: skip
    lora_rank: Annotated[int, number("--lora-rank", "Rank of the adapters, of random weights; 0: none.", 0)] = 8
    new_tokens: Annotated[int, number("--new-tokens", "Tokens of an answer.")] = 16
    max_batch_size: Annotated[int, number("--max-batch-size", "Questions that the server answers at once.")] = 16
    max_waiting: Annotated[int, number("--max-waiting", "Questions that may wait; more are refused.")] = 256
    prefix_cache_mb: Annotated[
        int,
        number("--prefix-cache-mb", "Memory for documents that were read: each mode without and with it. vLLM's cache "
               "is as large as vLLM makes it.", 0),
    ] = 0  # fmt: skip

    def options(self, seed: int) -> "ServedOptions":
        """Return what the bench takes."""
        from lloco.bench.load.served_corpora import ServedOptions

        return ServedOptions(**asdict(self), seed=seed)


@dataclass(frozen=True, slots=True)
class _OpenLoop:
    """The flags of questions that come at a rate."""

    rates: Annotated[
        str | None,
        typer.Option("--rates", metavar="X,X,...", help="Questions a second that come, whether or not others wait."),
    ] = None
    p95_seconds: Annotated[
        float | None,
        typer.Option("--p95-seconds", metavar="X", help="What 95 of 100 answers may take: without --rates, the highest "
                     "rate that keeps this is searched for."),
    ] = None  # fmt: skip
    requests: Annotated[int, number("--requests", "Questions of a measurement at a rate, at least.")] = 40


@verb(kept=NOTHING)
def serve(
    *,
    compressor: options.CompressorName = None,
    random_weights: RandomWeights = None,
    served: _Served,
    clients: Annotated[
        str | None,
        typer.Option("--clients", metavar="N,N,...", help="How many ask at the same time, each waiting for its answer "
                     "[default: 1,4,16]."),
    ] = None,
    questions: Annotated[int, number("--questions", "Questions of a client in a measurement.")] = 2,
    open_loop: _OpenLoop,
    repeats: Repeats = 2,
    run_flags: RunFlags,
) -> None:  # fmt: skip
    """Load on the server: answers a second and waiting times, documents read as text and as soft prompts.

    \b
    Examples:
      lloco bench serve
      lloco bench serve --clients 1,8,64 --context-tokens 3000 --out bench-serve
      lloco bench serve --p95-seconds 2 --corpora 4 --prefix-cache-mb 256
      lloco bench serve --engine vllm --rates 1,2,4,8 --p95-seconds 2 --prefix-cache-mb 256
    """
    is_open = open_loop.rates is not None or open_loop.p95_seconds is not None
    if is_open and clients is not None:
        raise typer.BadParameter(
            "either clients that wait or questions that come at a rate are measured: leave one out",
            param_hint="'--clients'",
        )
    chosen_clients = numbers(clients or "1,4,16", "--clients")
    rates = None if open_loop.rates is None else _rates(open_loop.rates)
    if open_loop.p95_seconds is not None and not 0 < open_loop.p95_seconds < float("inf"):
        raise typer.BadParameter(f"must be above 0 seconds, got {open_loop.p95_seconds}", param_hint="'--p95-seconds'")
    if served.engine == "vllm":
        from lloco.engine.vllm.start import import_vllm

        import_vllm()
    from lloco.bench.load.closed_loop import ServeBenchOptions, measure_serve
    from lloco.bench.load.open_loop import OpenLoopOptions, measure_open_loop

    chosen = served.options(run_flags.seed)
    loading = _compressor(compressor, random_weights, served.context_tokens + served.new_tokens, run_flags)
    at_rates = OpenLoopOptions(chosen, rates, open_loop.p95_seconds, open_loop.requests, repeats)
    waiting = ServeBenchOptions(chosen, chosen_clients, questions, repeats)
    bench, asked = ("open_loop", at_rates) if is_open else ("serve", waiting)
    progress = run_flags.progress(bench, asked, compressor=compressor, random_weights=random_weights)
    with loading as loaded, progress as advance:
        if is_open:
            results = measure_open_loop(loaded, at_rates, run_flags.device, advance)
        else:
            results = measure_serve(loaded, waiting, run_flags.device, advance)
    finish(results, run_flags)


def _compressor(
    name: str | None, random_weights: Path | None, num_tokens: int, run_flags: RunFlags
) -> "AbstractContextManager[Compressor]":
    from lloco.bench.load.served_corpora import SEGMENT_LEN, SUMMARY_LENGTH, random_served_compressor
    from lloco.compressors.load import load_compressor

    if random_weights is None:
        return nullcontext(load_compressor(name, device=run_flags.device, dtype=run_flags.dtype))
    num_positions = max(num_tokens + ROOM, SEGMENT_LEN + SUMMARY_LENGTH * (2 + num_tokens // SEGMENT_LEN))
    return random_served_compressor(chosen_decoder(name, random_weights, run_flags, num_positions), run_flags.seed)


def _rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(map(float, text.split(",")))
    except ValueError:
        rates = ()
    if not rates or len(set(rates)) != len(rates) or not all(0 < rate < float("inf") for rate in rates):
        raise typer.BadParameter(f"must be numbers above 0, each once, got {text}", param_hint="'--rates'")
    return rates
