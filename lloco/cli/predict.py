"""`lloco predict`: answers to a task's questions, as the file that benchmarks score."""

from pathlib import Path
from typing import Annotated

import typer

from lloco.cli import options
from lloco.cli.output import Output
from lloco.cli.reading import ModelFlags, open_reading
from lloco.cli.verb import verb
from lloco.cli.wording import adapter_template


@verb(kept="the answers so far are kept beside the predictions file; the same command goes on from there")
def predict(
    task: options.Task,
    data: options.Data,
    mode: Annotated[options.Mode, typer.Option("--mode", help="What of the document is read.")] = "compressed",
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FILE", help="File to write [default: TASK-MODE.json in --out]."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the file.")] = Path(),
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
    """Write a predictions file for a task, in one mode of reading.

    The file is {id: text}, as `lloco score` and the benchmarks read it. The corpus's adapter reads in mode
    compressed; for the other modes name one with --adapter.

    \b
    Examples:
      lloco predict --task quality --data quality.dev --mode compressed
      lloco predict --task qasper --data validation.jsonl --mode retrieval --limit 50
    """
    output = Output(is_json, quiet)
    from lloco.evals.predict import PredictOptions
    from lloco.evals.predict import predict as predict_samples
    from lloco.evals.tasks import load_samples

    samples = load_samples(task, data, limit=limit)
    file = predictions or out / f"{task}-{mode}.json"
    flags = ModelFlags(
        model, compressor, adapter, corpus, store, device, dtype, batch_size, segment_len, context_budget
    )
    with open_reading(flags, samples, [mode], output) as reading:
        chosen_adapter = reading.adapter if mode == "compressed" else adapter
        chosen = PredictOptions(mode, max_tokens, batch_size, chosen_adapter, context_budget)
        wording = adapter_template(template, chosen_adapter, output)
        with output.progress(f"answering ({mode})", "questions") as advance:
            made = predict_samples(
                samples,
                reading.engine,
                wording,
                chosen,
                soft_prompt_of=reading.soft_prompt_of,
                out=file,
                on_progress=lambda num_now: advance(num_now, len(samples)),
            )
    num_cut = sum(one.is_cut for one in made)
    values = {
        "task": task,
        "mode": mode,
        "n": len(made),
        "predictions": str(file),
        "context_tokens": sum(one.num_context_tokens for one in made) / len(made),
        "virtual_tokens": sum(one.num_virtual_tokens for one in made) / len(made),
        "document_tokens": sum(one.num_document_tokens for one in made) / len(made),
        "num_cut": num_cut,
        "template": None if wording is None else wording.name,
        "decoding": "greedy",
        "seed": seed,
        "adapter": None if chosen_adapter is None else str(chosen_adapter),
    }
    if num_cut:
        output.warn(f"{num_cut} of {len(made)} contexts were cut to fit the decoder's positions")
    output.result(values, f"{len(made):,} predictions in {file}")
    output.say(f"next: lloco score --task {task} --data {data} --predictions {file}")
