"""The flags of `lloco pretrain --init MODEL` that say what is put around a pretrained decoder, and what it learns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lloco.cli import options

if TYPE_CHECKING:
    from lloco.training.adapt.run import AdaptRunOptions

KINDS = ("repeat", "continue", "questions", "plain")
DEFAULT_MIX = "repeat=0.2,continue=0.1,questions=0.6,plain=0.1"
AROUND = "Around a pretrained model"


def _number(flag: str, explanation: str, smallest: int = 0) -> Any:
    return typer.Option(flag, parser=options.at_least(smallest), metavar="N", help=explanation, rich_help_panel=AROUND)


def _share(flag: str, explanation: str) -> Any:
    return typer.Option(flag, metavar="X", min=0, max=1, help=explanation, rich_help_panel=AROUND)


@dataclass(frozen=True, slots=True)
class AdaptFlags:
    """What is trained around a pretrained decoder, whose own weights stay as they are."""

    reader_lora_r: Annotated[int, _number("--reader-lora-r", "Rank of the reader's LoRA; 0: none.")] = 24
    encoder_layers: Annotated[int, _number("--encoder-layers", "Layers of the encoder, the decoder's first.", 1)] = 4
    encoder_lora_r: Annotated[
        int, _number("--encoder-lora-r", "Rank of the encoder's LoRA; 0: its layers are trained whole.")
    ] = 32
    mix: Annotated[
        str,
        typer.Option("--mix", metavar="KIND=X,...", help=f"How often each kind of sample is drawn: {', '.join(KINDS)}.",
                     rich_help_panel=AROUND),
    ] = DEFAULT_MIX  # fmt: skip
    span_lens: Annotated[
        str,
        typer.Option("--span-lens", metavar="MIN,MAX", help="Tokens of a span that is repeated.",
                     rich_help_panel=AROUND),
    ] = "16,64"  # fmt: skip
    text_ratio: Annotated[
        float, _share("--text-ratio", "Share of the questions' documents that are learned from as text too.")
    ] = 0.3
    teacher_ratio: Annotated[
        float, _share("--teacher-ratio", "Share of the other rows whose text is read to teach what vectors give.")
    ] = 0.0
    state_weight: Annotated[
        float, _share("--state-weight", "Weight in the loss of how far a token's states are from the teacher's.")
    ] = 0.0
    hybrid_ratio: Annotated[
        float, _share("--hybrid-ratio", "Share of the questions asked with a piece of the text beside the vectors.")
    ] = 0.0
    text_weight: Annotated[
        float, _share("--text-weight", "Weight in the loss of a token of text, where one of an answer has 1.")
    ] = 0.3
    merged: Annotated[
        bool,
        typer.Option("--merged", help="Also write DIR/merged: a plain checkpoint with all weights.",
                     rich_help_panel=AROUND),
    ] = False  # fmt: skip

    def options(
        self,
        recipe: Any,
        *,
        data: tuple[Path, ...],
        validation: tuple[Path, ...],
        init: str,
        design: str | None,
        ratios: tuple[float, ...] | None,
        summary_length: int,
    ) -> "AdaptRunOptions":
        """Return the run that these flags and the common ones of `recipe` ask for."""
        from lloco.compressors.delta import DeltaDesign, DeltaSettings, is_delta, read_delta_settings, segment_lens_of
        from lloco.models.checkpoint import checkpoint_folder
        from lloco.training.adapt.run import AdaptRunOptions
        from lloco.training.adapt.samples import SampleOptions
        from lloco.training.adapt.stage import AdaptOptions

        chosen = cast("DeltaDesign", design or "dynamic_pooling")
        length = summary_length if chosen == "autocompressor" else 1
        lens = () if ratios is None else segment_lens_of(ratios, length)
        folder = checkpoint_folder(init)
        if is_delta(folder):
            begun = read_delta_settings(folder)
            chosen, length = begun.design, begun.summary_length
            lens = begun.segment_lens if ratios is None else segment_lens_of(ratios, length)
        lens = lens or segment_lens_of((4.0, 2.0), length)
        return AdaptRunOptions(
            data=data,
            validation=validation,
            init=init,
            delta=DeltaSettings(
                base=init,
                base_digest="",
                design=chosen,
                segment_lens=lens,
                summary_length=length,
                window_len=recipe.window_len or 512,
                encoder_layers=self.encoder_layers,
                encoder_lora_r=self.encoder_lora_r,
                reader_lora_r=self.reader_lora_r,
            ),
            samples=SampleOptions(
                mix=mix_of(self.mix),
                span_lens=span_lens_of(self.span_lens),
                window_tokens=recipe.max_document_tokens,
                text_ratio=self.text_ratio,
                teacher_ratio=self.teacher_ratio,
                text_weight=self.text_weight,
                hybrid_ratio=self.hybrid_ratio,
                distractor_ratio=recipe.distractor_ratio,
                not_answerable_ratio=recipe.not_answerable_ratio,
            ),
            steps=AdaptOptions(
                segment_lens=lens,
                batch_positions=recipe.batch_tokens,
                distillation_ratio=0.5 if recipe.distillation_ratio is None else recipe.distillation_ratio,
                state_weight=self.state_weight,
            ),
            num_steps=recipe.compressor_steps,
            learning_rate=recipe.compressor_learning_rate,
            evaluate_every=recipe.evaluate_every,
            bf16=recipe.bf16,
            seed=recipe.seed,
            device=recipe.device,
        )


def mix_of(listed: str) -> Mapping[Any, float]:
    """Parse `--mix`."""
    mix: dict[str, float] = {}
    for part in listed.split(","):
        kind, _, share = part.partition("=")
        try:
            mix[kind.strip()] = float(share)
        except ValueError:
            mix[""] = 0.0
    if not set(mix) <= set(KINDS) or not sum(mix.values()) > 0 or min(mix.values()) < 0:
        raise typer.BadParameter(f"--mix must be such as {DEFAULT_MIX}, got {listed!r}")
    return mix


def span_lens_of(listed: str) -> tuple[int, int]:
    """Parse `--span-lens`."""
    try:
        shortest, longest = (int(part) for part in listed.split(","))
    except ValueError:
        shortest, longest = 0, 0
    if not 1 <= shortest <= longest:
        raise typer.BadParameter(f"--span-lens must be such as 8,24, got {listed!r}")
    return shortest, longest
