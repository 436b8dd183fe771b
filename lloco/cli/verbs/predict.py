"""`lloco predict`: answers to a task's questions, as the file that benchmarks score."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.eval_session import ReadingFlags, open_reading, warn_of_answers, warn_of_cuts
from lloco.cli.output import Output
from lloco.cli.task_flags import TaskFlags
from lloco.cli.templates import adapter_template, named_template
from lloco.cli.verb import verb
from lloco.evals.mode import MODES, VECTOR_MODES, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lloco.evals.run.log import Prediction
    from lloco.prompts.template import Template


@verb(kept="the answers so far are kept beside the predictions file; the same command goes on from there")
def predict(
    *,
    asking: TaskFlags,
    mode: Annotated[Mode, options.choice("--mode", MODES, "What of the document is read.")] = "compressed",
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FILE", help="File to write [default: TASK-MODE.json in --out]."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the file.")] = Path(),
    flags: ReadingFlags,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a predictions file for a task, in one mode of reading.

    The file is {id: text}, as `lloco score` and the benchmarks read it. The corpus's adapter reads in mode
    compressed; for the other modes name one with --adapter.

    \b
    Examples:
      lloco predict --task quality --data quality.dev --mode compressed
      lloco predict --task qasper --data validation.jsonl --mode retrieval --limit 50
      lloco predict --task ruler --subtasks vt,cwe --length 2048 --mode full --limit 10
    """
    output = Output(is_json, quiet)
    flags.check_corpus()
    # What is not there is said before anything slow is imported.
    asked = asking.asked(flags.limit, flags.seed)
    from lloco.evals.predict import PredictOptions
    from lloco.evals.predict import predict as predict_samples

    task, file = asking.task, predictions or out / f"{asking.task}-{mode}.json"
    template = None if flags.template is None else named_template(flags.template)
    with open_reading(flags, asked.samples_for(template, output), [mode], output) as reading:
        samples = reading.samples
        adapter = reading.adapter if mode in VECTOR_MODES else flags.adapter
        wording = adapter_template(flags.template, adapter, output)
        with output.progress(f"answering ({mode})", "questions") as advance:
            made = predict_samples(
                samples,
                reading.engine,
                wording,
                PredictOptions(mode, flags.max_tokens, flags.batch_size, adapter, reading.context_budget, flags.seed),
                soft_prompt_of=reading.soft_prompt_of,
                budget_of=reading.budget_of,
                out=file,
                on_progress=lambda num_now: advance(num_now, len(samples)),
            )
    values = {
        "task": task,
        "mode": mode,
        "predictions": str(file),
        "seed": flags.seed,
        **_values(made, wording, adapter),
    }
    warn_of_cuts(output, mode, made)
    warn_of_answers(output, {mode: made})
    output.result(values, f"{len(made):,} predictions in {file}")
    data = asked.keep(samples, file.with_name(f"{file.name}.questions.jsonl"))
    output.say(f"next: lloco score --task {task} --data {data} --predictions {file}")


def _values(made: "Sequence[Prediction]", wording: "Template | None", adapter: Path | None) -> dict[str, Any]:
    """Say what was read and how; tokens are means over questions."""
    return {
        "n": len(made),
        "context_tokens": sum(prediction.num_context_tokens for prediction in made) / len(made),
        "virtual_tokens": sum(prediction.num_virtual_tokens for prediction in made) / len(made),
        "document_tokens": sum(prediction.num_document_tokens for prediction in made) / len(made),
        "num_cut": sum(prediction.is_cut for prediction in made),
        "num_empty": sum(not prediction.text for prediction in made),
        "num_answers_cut": sum(prediction.is_answer_cut for prediction in made),
        "template": None if wording is None else wording.name,
        "decoding": "greedy",
        "adapter": None if adapter is None else str(adapter),
    }
