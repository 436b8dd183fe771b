"""The flags that benches share, and where their results go."""

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.bench.show.columns import machine_line, skipped_rows, table_of
from lloco.cli import options
from lloco.cli.output import Advance, Output, table_text

if TYPE_CHECKING:
    from lloco.bench.show.results import BenchResults
    from lloco.models.decoder import Decoder


NOTHING = "nothing was written"


def number(flag: str, explanation: str, smallest: int = 1) -> Any:
    """Return a flag that takes whole numbers from the smallest on."""
    return typer.Option(flag, parser=options.at_least(smallest), metavar="N", help=explanation)


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise typer.BadParameter(f"must be at least 1 context token per virtual token, got {text}")
    return value


Contexts = Annotated[
    str | None,
    typer.Option("--contexts", metavar="N,N,...", help="Tokens of the context [default: as far as the model reads]."),
]
Ratio = Annotated[float, typer.Option("--ratio", parser=_ratio, metavar="X", help="Context tokens per virtual token.")]
Repeats = Annotated[int, number("--repeats", "Measurements of each row.")]
RandomWeights = Annotated[
    Path | None,
    typer.Option("--random-weights", metavar="CONFIG", help="Instead: random weights of this shape, a config.json or "
                 "its folder."),
]  # fmt: skip


Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for results.json, a CSV file and plots.")
]


@dataclass(frozen=True, slots=True)
class RunFlags:
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

    @contextmanager
    def progress(
        self, bench: str, chosen: Any, what: str = "measuring", unit: str = "runs", **others: object
    ) -> Iterator[Advance]:
        """Show how far it is; the folder for results is made, or refused, before anything is measured.

        `chosen` is the dataclass of the bench's options, `others` are what else decides the results: a folder that
        holds those of a run with other ones is refused.
        """
        from lloco.bench.show.results import plain_options
        from lloco.evals.run.folder import claimed_folder

        settings = {**plain_options(chosen), **others, "bench": bench, "device": self.device, "dtype": self.dtype}
        plain = json.loads(json.dumps(settings, default=str))
        with (
            nullcontext() if self.out is None else claimed_folder(self.out, plain),
            self.output.progress(what, unit) as advance,
        ):
            yield advance


def numbers(text: str, flag: str) -> tuple[int, ...]:
    """Read a list of whole numbers from 1 on, each given once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise typer.BadParameter(f"must be whole numbers of at least 1, got {text}", param_hint=f"'{flag}'")
    found = tuple(map(int, parts))
    if len(set(found)) != len(found):
        raise typer.BadParameter(f"must have each number once, got {text}", param_hint=f"'{flag}'")
    return found


def chosen_decoder(model: str | None, random_weights: Path | None, flags: RunFlags, num_positions: int) -> "Decoder":
    """Load the decoder, or make one that reads so many positions."""
    from lloco.bench.measure.random_weights import random_decoder
    from lloco.compressors.load import load_named_decoder

    if random_weights is None:
        return load_named_decoder(model, device=flags.device, dtype=flags.dtype)
    if model is not None:
        raise typer.BadParameter(
            f"is for a shape without weights, got {model} too: leave one out", param_hint="'--random-weights'"
        )
    return random_decoder(
        random_weights, device=flags.device, dtype=flags.dtype, seed=flags.seed, num_positions=num_positions
    )


def finish(results: "BenchResults", flags: RunFlags, program: str = "lloco") -> None:
    """Say what was left out, write the files, print the result; `program` is how it was called."""
    from lloco.bench.show.report import write_bench_report
    from lloco.report.page import REPORT_FILE

    for line in skipped_rows(results.rows):
        flags.output.warn(line)
    page = None if flags.out is None else flags.out / REPORT_FILE
    if page is not None:
        results.save(page.parent)
        write_bench_report(results, page, command=shlex.join([*program.split(), *sys.argv[1:]]))
    flags.output.result(results.to_dict(), bench_table(results))
    if page is not None:
        flags.output.say(f"open {page} in a browser; results.json, {results.bench}.csv and plots are beside it")


def bench_table(results: "BenchResults") -> str:
    """Return the rows that were measured, under the machine they were measured on."""
    columns, rows = table_of(results.bench, results.rows)
    caption = f"{machine_line(results.machine)}; median (smallest-largest)"
    return table_text(f"bench {results.bench}", columns, rows, num_left=0, num_whole=len(columns), caption=caption)
