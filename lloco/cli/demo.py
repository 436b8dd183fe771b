"""`lloco demo`: the whole job on bundled documents."""

from pathlib import Path
from typing import Annotated

import typer

from lloco.cli import options
from lloco.cli.output import Output
from lloco.cli.results_table import results_table
from lloco.cli.verb import verb


@verb(kept="what was done so far is in the --out folder; the same command goes on from there")
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for everything that is made.")] = Path(
        "demo"
    ),
    task: Annotated[str, typer.Option("--task", help="museum, railway or fairytaleqa.")] = "museum",
    limit: options.Limit = None,
    seed: options.Seed = 0,
    device: options.Device = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the whole job on bundled documents, offline, in minutes.

    Compresses, finetunes, answers and scores with the bundled model on a CPU; writes report.html.

    \b
    Example:
      lloco demo
    """
    output = Output(is_json, quiet)
    from lloco.demo import run_demo

    results = run_demo(out, task, limit=limit, seed=seed, device=device, say=output.say)
    output.result(results.to_dict(), results_table(results))
