"""`lloco pretrain`: a small language model and its compressor from text."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from lloco.cli import options
from lloco.cli.adapt_flags import AdaptFlags
from lloco.cli.allocator import keep_freed_memory
from lloco.cli.output import Output
from lloco.cli.verb import verb
from lloco.files.strict_json import check_are_files

if TYPE_CHECKING:
    from lloco.training.adapt.run import AdaptRunOptions
    from lloco.training.pretrain.run import PretrainOptions


def _number(flag: str, explanation: str, smallest: int = 1) -> Any:
    return typer.Option(flag, parser=options.at_least(smallest), metavar="N", help=explanation)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The flags that say what a new model looks like."""

    vocab_size: Annotated[int, _number("--vocab-size", "Tokens of the BPE tokenizer.", 300)] = 4096
    hidden_size: Annotated[int, _number("--hidden-size", "Width of embeddings.", 8)] = 192
    intermediate_size: Annotated[int, _number("--intermediate-size", "Width inside layers.", 8)] = 512
    num_hidden_layers: Annotated[int, _number("--num-hidden-layers", "Layers.")] = 4
    num_attention_heads: Annotated[int, _number("--num-attention-heads", "Query heads.")] = 6
    num_key_value_heads: Annotated[int, _number("--num-key-value-heads", "Key and value heads.")] = 2
    summary_length: Annotated[int, _number("--summary-length", "Virtual tokens that a segment becomes.")] = 8

    def check(self) -> None:
        """Raise where the widths are not multiples of one another."""
        if self.hidden_size % self.num_attention_heads or self.num_attention_heads % self.num_key_value_heads:
            raise typer.BadParameter(
                f"--hidden-size {self.hidden_size} must be a multiple of --num-attention-heads "
                f"{self.num_attention_heads}, and that of --num-key-value-heads {self.num_key_value_heads}"
            )


@dataclass(frozen=True, slots=True)
class _Recipe:
    """The flags that say how it is trained."""

    max_document_tokens: Annotated[
        int, _number("--max-document-tokens", "Longer texts are cut into documents of this length.", 8)
    ] = 512
    lookup_steps: Annotated[
        int, _number("--lookup-steps", "Steps on random tokens, which teach a new model to look up.", 0)
    ] = 2500
    language_model_steps: Annotated[int, _number("--language-model-steps", "Steps on text.", 0)] = 3000
    compressor_steps: Annotated[int, _number("--compressor-steps", "Steps on soft prompts.", 0)] = 3000
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="X", min=0, help="Peak of the stages before soft prompts.")
    ] = 2e-3
    compressor_learning_rate: Annotated[
        float, typer.Option("--compressor-learning-rate", metavar="X", min=0, help="Peak on soft prompts.")
    ] = 1e-3
    batch_tokens: Annotated[int, _number("--batch-tokens", "Tokens of one step.")] = 3072
    copy_ratio: Annotated[
        float,
        typer.Option("--copy-ratio", min=0, max=1, help="Share of the first tokens that are random, to be copied."),
    ] = 0.5
    text_target_ratio: Annotated[
        float, typer.Option("--text-target-ratio", min=0, max=1, help="Share of a text's tokens that are predicted.")
    ] = 0.25
    repeat_ratio: Annotated[
        float, typer.Option("--repeat-ratio", min=0, max=1, help="Share of texts that are to be repeated.")
    ] = 0.25
    ratios: Annotated[
        str | None,
        typer.Option("--ratios", metavar="R,R,...", help="Document tokens per virtual token that are learned, its own "
                     "first [default: those of --init, else 8,4,16,32]."),
    ] = None  # fmt: skip
    window_len: Annotated[
        int | None,
        _number("--window-len", "Tokens that a compressor reads at once, but for an autocompressor [default: that of "
                "--init, else 256].", 8),
    ] = None  # fmt: skip
    text_row_ratio: Annotated[
        float,
        typer.Option("--text-row-ratio", min=0, max=1, help="Share of compressed texts to be repeated or continued."),
    ] = 0.5
    reconstruction_ratio: Annotated[
        float,
        typer.Option("--reconstruction-ratio", min=0, max=1, help="Share of compressed texts to be repeated, not "
                     "continued."),
    ] = 0.5  # fmt: skip
    distractor_ratio: Annotated[
        float, typer.Option("--distractor-ratio", min=0, max=1, help="Share of questions asked with other documents.")
    ] = 0.0
    not_answerable_ratio: Annotated[
        float,
        typer.Option("--not-answerable-ratio", min=0, max=1, help="Share of contexts asked what they do not say."),
    ] = 0.0
    distillation_ratio: Annotated[
        float | None,
        typer.Option("--distillation-ratio", min=0, max=1, help="Weight of what the model says that reads the text "
                     "[default: 0.5 around a pretrained model, else 0]."),
    ] = None  # fmt: skip
    start_fraction: Annotated[
        float, typer.Option("--start-fraction", min=0, max=1, help="Share of documents, the shortest, to begin with.")
    ] = 0.1
    evaluate_every: Annotated[int, _number("--evaluate-every", "Steps between measurements.")] = 250
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="Compute in bfloat16 [default: where the device does it faster]."),
    ] = None
    device: options.Device = None
    seed: options.Seed = 0


@verb(kept="the run goes on from its last checkpoint in the --out folder when the same command is given again")
def pretrain(
    *,
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="FILE", help="JSON lines {text, questions?} (.gz too); repeat it for more."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the run; the model is in DIR/model.")],
    validation: Annotated[
        list[Path] | None, typer.Option("--validation", metavar="FILE", help="Held-out lines with questions.")
    ] = None,
    tokenizer_text: Annotated[
        list[Path] | None, typer.Option("--tokenizer-text", metavar="FILE", help="More text for the tokenizer alone.")
    ] = None,
    batch_size: Annotated[
        int | None,
        _number("--batch-size", "Documents of --max-document-tokens that one step reads, instead of --batch-tokens."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="MODEL",
            help="Pretrained model to train a compressor around, or a compressor "
            "to go on from: a name, a folder or a hub id.",
        ),
    ] = None,
    design: Annotated[
        options.Design | None,
        options.choice(
            "--design", get_args(options.Design), "How the compressor works [default: that of --init, else pooling]."
        ),
    ] = None,
    shape: _Shape,
    recipe: _Recipe,
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
    ratios = None if recipe.ratios is None else _ratios(recipe.ratios)
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
    values = {"model": str(out / "model"), "stages": _train(chosen, out, output)}
    output.result(values, f"compressor and its language model: {out / 'model'}")
    output.say(f"next: lloco compress PATH... --corpus NAME --compressor {out / 'model'}")


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


def _ratios(listed: str) -> tuple[float, ...]:
    try:
        ratios = tuple(float(part) for part in listed.split(","))
    except ValueError:
        ratios = ()
    if not ratios or not all(1 <= ratio <= 1000 for ratio in ratios):
        raise typer.BadParameter(f"must be ratios such as 8,4,16, got {listed!r}", param_hint="'--ratios'")
    return ratios


def _train(chosen: "PretrainOptions", out: Path, output: Output) -> dict[str, dict[str, Any]]:
    """Train; returns of each stage its last step and loss, and the figures measured last."""
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
    return last
