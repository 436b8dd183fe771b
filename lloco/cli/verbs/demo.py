"""`lloco demo`: the whole job on bundled documents."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from lloco.cli import options
from lloco.cli.allocator import keep_freed_memory
from lloco.cli.eval_session import warn_of_cuts
from lloco.cli.output import Output
from lloco.cli.results_table import results_table
from lloco.cli.threads import fit_threads
from lloco.cli.verb import verb

TASKS = ("museum", "railway", "fairytaleqa")


@verb(kept="what was done so far is in the --out folder; the same command goes on from there")
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for everything that is made.")] = Path(
        "demo"
    ),
    task: Annotated[
        str | None, options.choice("--task", TASKS, "What is read [default: real stories; records by records].")
    ] = None,
    compressor: options.CompressorName = None,
    model: options.Model = None,
    store: options.StorePath = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    device: options.Device = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the whole job on bundled documents, offline, in minutes.

    Compresses, finetunes, answers and scores with the default model on a CPU; writes report.html. The corpus is in
    DIR/store of --out, unless --store names another.

    \b
    Examples:
      lloco demo
      lloco demo --model records
      lloco demo --task fairytaleqa --compressor princeton-nlp/AutoCompressor-Llama-2-7b-6k
    """
    output = Output(is_json, quiet)
    keep_freed_memory()
    fit_threads()
    from lloco.demo import run_demo

    results = run_demo(
        out,
        task,
        compressor=compressor,
        model=model,
        store=store,
        limit=limit,
        seed=seed,
        device=device,
        say=output.say,
        command=shlex.join(["lloco", *sys.argv[1:]]),
    )
    for row in results.rows:
        warn_of_cuts(output, row.mode, row.predictions)
    output.result(results.to_dict(), results_table(results))
