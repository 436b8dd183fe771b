"""`lloco score`: predictions against a benchmark's own metrics; no model is loaded."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloco.cli import options
from lloco.cli.output import Output, table_text
from lloco.cli.verb import verb

if TYPE_CHECKING:
    from lloco.evals.scorer import Scores


@verb(kept="nothing was changed")
def score(
    task: options.Task,
    data: options.Data,
    predictions: Annotated[
        Path, typer.Option("--predictions", metavar="FILE", help="{id: text}, or HotpotQA's official form (.gz too).")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Also write what --json prints to DIR/scores.json.")
    ] = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a predictions file with the task's official metrics.

    Values are on the scale 0 to 100; no model is loaded.

    \b
    Examples:
      lloco score --task qasper --data validation.jsonl --predictions qasper.json
      lloco score --task jsonl --data questions.jsonl --predictions answers.json --out scores
    """
    from lloco.evals.run.predictions import read_predictions
    from lloco.evals.scorer import score as score_predictions
    from lloco.files.durable import make_folder_durably, write_durably
    from lloco.tasks.task import load_samples

    samples = load_samples(task, data, limit=limit)
    scores = score_predictions(task, samples, read_predictions(predictions), seed=seed)
    values = {
        "task": scores.task,
        "n": scores.n,
        "metrics": scores.metrics,
        "stderr": scores.stderr,
        "num_samples": scores.num_samples,
    }
    if out is not None:
        make_folder_durably(out)
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
        write_durably(out / "scores.json", f"{text}\n".encode())
    output = Output(is_json, quiet)
    if num_missing := sum(sample_score.prediction is None for sample_score in scores.per_sample):
        output.warn(f"{num_missing:,} of {scores.n:,} questions have no prediction: 0 each by the benchmark's rules")
    output.result(values, _text(scores))


def _text(scores: "Scores") -> str:
    rows = []
    for name, value in scores.metrics.items():
        stderr = scores.stderr[name]
        error = "-" if stderr is None else f"{stderr:.2f}"
        rows.append([name, f"{value:.2f}", error, f"{scores.num_samples[name]:,}"])
    return table_text(f"{scores.task}, {scores.n:,} samples", ["metric", "value", "standard error", "n"], rows)
