"""`lloco evaluate`: the same questions in several modes of reading, each answered and scored."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from lloco.cli import options
from lloco.cli.output import Output
from lloco.cli.reading import ModelFlags, open_reading
from lloco.cli.verb import verb
from lloco.cli.wording import adapter_template, named_template

MODES = ",".join(get_args(options.Mode))


@verb(kept="the answers so far are in the --out folder; the same command goes on from there")
def evaluate(
    task: options.Task,
    data: options.Data,
    modes: Annotated[
        str, typer.Option("--modes", metavar="A,B,...", help="Modes of reading; MODE+adapter reads with the adapter.")
    ] = MODES,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for results [default: evaluate-TASK].")
    ] = None,
    model: options.Model = None,
    compressor: options.CompressorName = None,
    adapter: options.Adapter = None,
    template: options.TemplateName = None,
    corpus: options.OptionalCorpus = None,
    store: options.StorePath = None,
    segment_len: options.SegmentLen = None,
    max_tokens: options.MaxTokens = None,
    context_budget: options.ContextBudget = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    device: options.Device = None,
    dtype: options.DtypeName = None,
    batch_size: options.BatchSize = 8,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Answer and score a task in several modes of reading.

    Writes results.json, predictions, plots and report.html.

    \b
    Examples:
      lloco evaluate --task fairytaleqa --data validation.jsonl --limit 100
      lloco evaluate --task quality --data quality.dev --corpus quality --modes compressed,retrieval,none
    """
    output = Output(is_json, quiet)
    chosen_modes = tuple(mode.strip() for mode in modes.split(","))
    unknown = [mode for mode in chosen_modes if mode.removesuffix("+adapter") not in get_args(options.Mode)]
    if unknown:
        raise typer.BadParameter(f"--modes: there is no mode {unknown[0]!r}, choose among {MODES}")
    from lloco.evals.evaluate import EvaluateOptions
    from lloco.evals.evaluate import evaluate as evaluate_samples
    from lloco.evals.report import write_report
    from lloco.evals.results import table_text
    from lloco.evals.tasks import load_samples

    samples = load_samples(task, data, limit=limit)
    folder = out or Path(f"evaluate-{task}")
    flags = ModelFlags(
        model, compressor, adapter, corpus, store, device, dtype, batch_size, segment_len, context_budget
    )
    with open_reading(flags, samples, chosen_modes, output) as reading:
        chosen = EvaluateOptions(chosen_modes, max_tokens, batch_size, reading.adapter, context_budget, seed)
        if any(row.endswith("+adapter") for row in chosen.rows):
            adapter_template(template, reading.adapter, output)
        command = shlex.join(["lloco", *sys.argv[1:]])
        with output.progress("answering", "questions") as advance:
            results = evaluate_samples(
                task,
                samples,
                reading.engine,
                chosen,
                soft_prompt_of=reading.soft_prompt_of,
                template=None if template is None else named_template(template),
                out=folder,
                provenance={**reading.provenance, "data": data, "command": command},
                on_progress=lambda row, num_now: advance(num_now, len(samples) * len(chosen.rows)),
            )
    write_report([results], folder / "report.html", command=command)
    output.result(results.to_dict(), table_text(results))
    output.say(f"results.json, plots and report.html are in {folder}")
