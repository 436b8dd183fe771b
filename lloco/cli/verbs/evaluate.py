"""`lloco evaluate`: the same questions in several modes of reading, each answered and scored."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloco.cli import options
from lloco.cli.eval_session import Reading, ReadingFlags, open_reading, warn_of_answers, warn_of_cuts
from lloco.cli.output import Output
from lloco.cli.results_table import results_table
from lloco.cli.task_flags import TaskFlags
from lloco.cli.templates import adapter_template, named_template
from lloco.cli.verb import verb
from lloco.evals.mode import ADAPTER_SUFFIX, DEFAULT_MODES, MODES

if TYPE_CHECKING:
    from lloco.evals.evaluate import EvaluateOptions
    from lloco.evals.results import Results
    from lloco.evals.run.settings import Settings


@verb(kept="the answers so far are in the --out folder; the same command goes on from there")
def evaluate(
    *,
    asking: TaskFlags,
    modes: Annotated[
        str, typer.Option("--modes", metavar="A,B,...", help="Modes of reading; MODE+adapter reads with the adapter.")
    ] = ",".join(DEFAULT_MODES),
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for results [default: evaluate-TASK, or "
                     "evaluate-TASK-2 and so on where that holds a run with other options].")
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", metavar="DIR", help="Show this earlier run of the same questions in plots and "
                     "report.html too; repeat it."),
    ] = None,
    flags: ReadingFlags,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Answer and score a task in several modes of reading.

    Writes results.json, predictions, plots and report.html.

    \b
    Examples:
      lloco evaluate --task fairytaleqa --data validation.jsonl --limit 100
      lloco evaluate --task ruler --subtasks niah_single_1,vt --length 2048 --limit 10
      lloco evaluate --task quality --data quality.dev --corpus quality --modes compressed,retrieval,none
      lloco evaluate --task jsonl --data qa.jsonl --segment-len 256 --out at-256 --beside at-128 --beside at-64
    """
    output = Output(is_json, quiet)
    command = shlex.join(["lloco", *sys.argv[1:]])
    results, folder = evaluate_task(
        asking, modes_of(modes), flags, output, out=out, beside=beside or (), command=command
    )
    _tell(results, folder, asking.task, command, output)


def evaluate_task(
    asking: TaskFlags,
    modes: tuple[str, ...],
    flags: ReadingFlags,
    output: Output,
    *,
    out: Path | None,
    beside: Sequence[Path],
    command: str,
) -> "tuple[Results, Path]":
    """Answer and score; returns the results and the folder that they are in."""
    folder = out or Path(f"evaluate-{asking.task}")
    if out is not None:
        _check_beside(beside, out)
    flags.check_corpus()
    # What is not there is said before anything slow is imported.
    asked = asking.asked(flags.limit, flags.seed)
    from lloco.evals.evaluate import evaluate as evaluate_samples
    from lloco.evals.run.earlier import read_earlier_run
    from lloco.evals.run.folder import QUESTIONS_FILE, fitting_folder, other_run

    if asked.known is not None:
        earlier = [read_earlier_run(run, asking.task, asked.known) for run in beside]
    template = None if flags.template is None else named_template(flags.template)
    with open_reading(flags, asked.samples_for(template, output), modes, output) as reading:
        if asked.known is None:
            earlier = [read_earlier_run(run, asking.task, reading.samples) for run in beside]
        chosen = _options(modes, flags, reading, output)
        num_answers = len(reading.samples) * len(chosen.rows)
        with output.progress("answering", "questions") as advance:

            def choose(settings: "Settings") -> Path:
                nonlocal folder
                other = other_run(folder, settings)
                folder = fitting_folder(folder, settings)
                _check_beside(beside, folder)
                if other:
                    output.warn(f"this run is in {folder}: {other}")
                return folder

            results = evaluate_samples(
                asking.task,
                reading.samples,
                reading.engine,
                chosen,
                soft_prompt_of=reading.soft_prompt_of,
                budget_of=reading.budget_of,
                template=template,
                out=out or choose,
                provenance={**reading.provenance, **asked.provenance, "command": command},
                beside=earlier,
                on_progress=lambda row, num_now: advance(num_now, num_answers),
            )
    asked.keep(reading.samples, folder / QUESTIONS_FILE)
    return results, folder


def _tell(results: "Results", folder: Path, task: str, command: str, output: Output) -> None:
    """Write the report and say what was found and what to doubt."""
    from lloco.evals.report import write_report
    from lloco.report.page import REPORT_FILE

    page = folder / REPORT_FILE
    for row in results.rows:
        warn_of_cuts(output, row.mode, row.predictions)
    warn_of_answers(output, {row.mode: row.predictions for row in results.rows})
    write_report([results], page, title=f"lloco evaluate: {task}", command=command)
    output.result(results.to_dict(), results_table(results))
    output.say(f"every question and its answers: open {page} in a browser; results.json and plots are beside it")


def modes_of(text: str) -> tuple[str, ...]:
    """Read `--modes`."""
    modes = tuple(mode.strip() for mode in text.split(","))
    for index, mode in enumerate(modes):
        if mode.removesuffix(ADAPTER_SUFFIX) not in MODES:
            some = f"choose some of {', '.join(MODES)}; each may be followed by {ADAPTER_SUFFIX}"
            raise typer.BadParameter(f"there is no mode {mode!r}, {some}", param_hint="'--modes'")
        if mode in modes[:index]:
            raise typer.BadParameter(f"mode {mode} is named twice, name each once", param_hint="'--modes'")
    return modes


def _check_beside(beside: Sequence[Path], out: Path) -> None:
    """Refuse a run beside itself: its points would be drawn twice, in a line with themselves."""
    for index, folder in enumerate(beside):
        same = [earlier for earlier in (out, *beside[:index]) if earlier.resolve() == folder.resolve()]
        if same:
            what = "this run's own folder" if same[0] is out else "named twice"
            raise typer.BadParameter(f"must name other runs, each once, {folder} is {what}", param_hint="'--beside'")


def _options(modes: tuple[str, ...], flags: ReadingFlags, reading: Reading, output: Output) -> "EvaluateOptions":
    """Return the options of the run; says so where the adapter does not bring its wording."""
    from lloco.evals.evaluate import EvaluateOptions

    chosen = EvaluateOptions(
        modes, flags.max_tokens, flags.batch_size, reading.adapter, reading.context_budget, flags.seed
    )
    if any(row.endswith(ADAPTER_SUFFIX) for row in chosen.rows):
        adapter_template(flags.template, reading.adapter, output)
    return chosen
