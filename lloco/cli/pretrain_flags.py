"""The flags of `lloco pretrain` that say what a new model looks like and how it is trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from lloco.cli import options


def number(flag: str, explanation: str, smallest: int = 1) -> Any:
    """Return the option of a whole number of at least `smallest`."""
    return typer.Option(flag, parser=options.at_least(smallest), metavar="N", help=explanation)


def _share(flag: str, explanation: str) -> Any:
    return typer.Option(flag, metavar="X", min=0, max=1, help=explanation)


Validation = Annotated[
    list[Path] | None, typer.Option("--validation", metavar="FILE", help="Held-out lines with questions.")
]
TokenizerText = Annotated[
    list[Path] | None, typer.Option("--tokenizer-text", metavar="FILE", help="More text for the tokenizer alone.")
]
BatchSize = Annotated[
    int | None,
    number("--batch-size", "Documents of --max-document-tokens that one step reads, instead of --batch-tokens."),
]
Init = Annotated[
    str | None,
    typer.Option("--init", metavar="MODEL", help="Pretrained model to train a compressor around, or a compressor to go "
                 "on from: a name, a folder or a hub id."),
]  # fmt: skip
PretrainDesign = Annotated[
    options.Design | None,
    options.choice(
        "--design", get_args(options.Design), "How the compressor works [default: that of --init, else pooling]."
    ),
]


@dataclass(frozen=True, slots=True)
class ModelShapeFlags:
    """The flags that say what a new model looks like."""

    vocab_size: Annotated[int, number("--vocab-size", "Tokens of the BPE tokenizer.", 300)] = 4096
    hidden_size: Annotated[int, number("--hidden-size", "Width of embeddings.", 8)] = 192
    intermediate_size: Annotated[int, number("--intermediate-size", "Width inside layers.", 8)] = 512
    num_hidden_layers: Annotated[int, number("--num-hidden-layers", "Layers.")] = 4
    num_attention_heads: Annotated[int, number("--num-attention-heads", "Query heads.")] = 6
    num_key_value_heads: Annotated[int, number("--num-key-value-heads", "Key and value heads.")] = 2
    summary_length: Annotated[int, number("--summary-length", "Virtual tokens that a segment becomes.")] = 8

    def check(self) -> None:
        """Raise where the widths are not multiples of one another."""
        if self.hidden_size % self.num_attention_heads or self.num_attention_heads % self.num_key_value_heads:
            raise typer.BadParameter(
                f"--hidden-size {self.hidden_size} must be a multiple of --num-attention-heads "
                f"{self.num_attention_heads}, and that of --num-key-value-heads {self.num_key_value_heads}"
            )


@dataclass(frozen=True, slots=True)
class RecipeFlags:
    """The flags that say how it is trained."""

    max_document_tokens: Annotated[
        int, number("--max-document-tokens", "Longer texts are cut into documents of this length.", 8)
    ] = 512
    lookup_steps: Annotated[
        int, number("--lookup-steps", "Steps on random tokens, which teach a new model to look up.", 0)
    ] = 2500
    language_model_steps: Annotated[int, number("--language-model-steps", "Steps on text.", 0)] = 3000
    compressor_steps: Annotated[int, number("--compressor-steps", "Steps on soft prompts.", 0)] = 3000
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="X", min=0, help="Peak of the stages before soft prompts.")
    ] = 2e-3
    compressor_learning_rate: Annotated[
        float, typer.Option("--compressor-learning-rate", metavar="X", min=0, help="Peak on soft prompts.")
    ] = 1e-3
    batch_tokens: Annotated[int, number("--batch-tokens", "Tokens of one step.")] = 3072
    copy_ratio: Annotated[
        float,
        _share("--copy-ratio", "Share of the first tokens that are random, to be copied."),
    ] = 0.5
    text_target_ratio: Annotated[
        float, _share("--text-target-ratio", "Share of a text's tokens that are predicted.")
    ] = 0.25
    repeat_ratio: Annotated[float, _share("--repeat-ratio", "Share of texts that are to be repeated.")] = 0.25
    ratios: Annotated[
        str | None,
        typer.Option("--ratios", metavar="R,R,...", help="Document tokens per virtual token that are learned, its own "
                     "first [default: those of --init, else 8,4,16,32]."),
    ] = None  # fmt: skip
    window_len: Annotated[
        int | None,
        number("--window-len", "Tokens that a compressor reads at once, but for an autocompressor [default: that of "
                "--init, else 256].", 8),
    ] = None  # fmt: skip
    text_row_ratio: Annotated[
        float,
        _share("--text-row-ratio", "Share of compressed texts to be repeated or continued."),
    ] = 0.5
    reconstruction_ratio: Annotated[
        float,
        _share("--reconstruction-ratio", "Share of compressed texts to be repeated, not "
                     "continued."),
    ] = 0.5  # fmt: skip
    distractor_ratio: Annotated[
        float, _share("--distractor-ratio", "Share of questions asked with other documents.")
    ] = 0.0
    not_answerable_ratio: Annotated[
        float,
        _share("--not-answerable-ratio", "Share of contexts asked what they do not say."),
    ] = 0.0
    distillation_ratio: Annotated[
        float | None,
        _share("--distillation-ratio", "Weight of what the model says that reads the text "
                     "[default: 0.5 around a pretrained model, else 0]."),
    ] = None  # fmt: skip
    start_fraction: Annotated[float, _share("--start-fraction", "Share of documents, the shortest, to begin with.")] = (
        0.1
    )
    evaluate_every: Annotated[int, number("--evaluate-every", "Steps between measurements.")] = 250
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="Compute in bfloat16 [default: where the device does it faster]."),
    ] = None
    device: options.Device = None
    seed: options.Seed = 0


def ratios_of(listed: str) -> tuple[float, ...]:
    """Parse `--ratios`."""
    try:
        ratios = tuple(float(part) for part in listed.split(","))
    except ValueError:
        ratios = ()
    if not ratios or not all(1 <= ratio <= 1000 for ratio in ratios):
        raise typer.BadParameter(f"must be ratios such as 8,4,16, got {listed!r}", param_hint="'--ratios'")
    return ratios
