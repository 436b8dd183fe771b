"""`lloco pretrain`: a small language model and its compressor from text."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli import pretrain_flags as flags
from lloco.cli.adapt_flags import AdaptFlags
from lloco.cli.allocator import keep_freed_memory
from lloco.cli.output import Output
from lloco.cli.verb import verb
from lloco.files.strict_json import check_are_files

if TYPE_CHECKING:
    from lloco.training.adapt.run import AdaptRunOptions
    from lloco.training.pretrain.run import PretrainOptions


@verb(kept="the run goes on from its last checkpoint in the --out folder when the same command is given again")
def pretrain(
    *,
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="FILE", help="JSON lines {text, questions?} (.gz too); repeat it for more."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the run; the model is in DIR/model.")],
    validation: flags.Validation = None,
    tokenizer_text: flags.TokenizerText = None,
    batch_size: flags.BatchSize = None,
    init: flags.Init = None,
    design: flags.PretrainDesign = None,
    shape: flags.ModelShapeFlags,
    recipe: flags.RecipeFlags,
    around: AdaptFlags,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a compressor: around a pretrained model (--init), or with a small language model of its own.

    Around a pretrained model its own weights stay as they are; what is learned is saved as a delta that names it. A
    killed run goes on where it was.

    \b
    Examples:
      lloco pretrain --init smollm2 --data reading.jsonl.gz --validation held_out.jsonl --ratios 4,2 --out work-around
      lloco pretrain --data reading.jsonl.gz --validation held_out.jsonl --out work-reader
      lloco pretrain --data more.jsonl --init work-reader/model --design interleaved --ratios 8 --out work-interleaved
    """
    output = Output(is_json, quiet)
    keep_freed_memory()
    shape.check()
    # What is not there is said before anything slow is imported.
    check_are_files([*data, *(validation or ()), *(tokenizer_text or ())])
    ratios = None if recipe.ratios is None else flags.ratios_of(recipe.ratios)
    if init is not None:
        output.say(f"reading {init} and {len(data):,} files of text")
    if init is not None and _is_around(init, design):
        chosen_run = around.options(
            recipe,
            data=tuple(data),
            validation=tuple(validation or ()),
            init=init,
            design=design,
            ratios=ratios,
            summary_length=shape.summary_length,
        )
        _adapt(chosen_run, around.merged, out, output)
        return
    if design == "dynamic_pooling":
        raise typer.BadParameter("--design dynamic_pooling is put around a pretrained model: name it with --init")
    from lloco.training.pretrain.model import ModelShape
    from lloco.training.pretrain.run import PretrainOptions

    chosen = PretrainOptions(
        data=tuple(data),
        validation=tuple(validation or ()),
        tokenizer_text=tuple(tokenizer_text or ()),
        init=None if init is None else Path(init),
        shape=ModelShape(**asdict(shape)),
        design=design,
        **{**asdict(recipe), "ratios": ratios},
    )
    if batch_size is not None:
        chosen = replace(chosen, batch_tokens=batch_size * chosen.max_document_tokens)
    _train(chosen, out, output)


def _is_around(init: str, design: str | None) -> bool:
    """Return whether a compressor is trained around `init`, whose weights stay, and not together with it."""
    from lloco.compressors.delta import is_delta
    from lloco.compressors.load import design_of, named_folder

    folder = named_folder(init)
    if is_delta(folder):
        if design not in (None, design_of(folder)):
            raise typer.BadParameter(f"{init} has design {design_of(folder)}: leave --design out to go on from it")
        return True
    return design == "dynamic_pooling" or (design_of(folder) is None and design in (None, "autocompressor"))


def _adapt(chosen: "AdaptRunOptions", merged: bool, out: Path, output: Output) -> None:
    """Train around a pretrained model and say how far it came."""
    from lloco.training.adapt.run import adapt
    from lloco.training.loop import LogLine

    last: dict[str, Any] = {}
    with output.progress("training", "steps") as advance:

        def on_step(line: LogLine) -> None:
            advance(line.step + 1 - last.get("step", 0), chosen.num_steps)
            last.update({"step": line.step + 1, "loss": line.loss, **line.figures})
            if line.figures:
                output.say(f"step {line.step + 1}: loss {line.loss:.3f}, {_figures(line.figures)}")

        whole = adapt(chosen, out, on_step, output.say)
    if merged and not output.is_silent:
        output.say(f"writing all weights to {out / 'merged'}")
        whole.decoder = replace(whole.decoder, digest="")
        whole.save(out / "merged")
    values = {"model": str(out / "model"), **last}
    output.result(values, f"compressor: {out / 'model'}, a delta of {chosen.init}")
    output.say(f"next: lloco compress PATH... --corpus NAME --compressor {out / 'model'}")


def _figures(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in figures.items())


def _train(chosen: "PretrainOptions", out: Path, output: Output) -> None:
    """Train a model and its compressor; say of each stage its last step and loss, and the figures measured last."""
    from lloco.training.loop import LogLine
    from lloco.training.pretrain.run import pretrain as train_models

    last: dict[str, dict[str, Any]] = {}
    num_steps = sum(chosen.stages.values())
    with output.progress("pretraining", "steps") as advance:

        def on_step(stage: str, line: LogLine) -> None:
            before = last.get(stage, {}).get("step", 0)
            last[stage] = {**last.get(stage, {}), "step": line.step + 1, "loss": line.loss, **line.figures}
            advance(line.step + 1 - before, num_steps)
            if line.figures:
                said = f"{stage.replace('_', ' ')}, step {line.step + 1}: loss {line.loss:.3f}"
                output.say(f"{said}, {_figures(line.figures)}")

        train_models(chosen, out, on_step, output.warn)
    output.result({"model": str(out / "model"), "stages": last}, f"compressor and its language model: {out / 'model'}")
    output.say(f"next: lloco compress PATH... --corpus NAME --compressor {out / 'model'}")
