"""The flags of `lloco finetune` that say what is learned, and how an adapter is trained."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options

if TYPE_CHECKING:
    from lloco.training.finetune.run import FinetuneOptions


def _number(flag: str, explanation: str) -> Any:
    return typer.Option(flag, parser=options.at_least(1), metavar="N", help=explanation)


@dataclass(frozen=True, slots=True)
class Learned:
    """The flags that say what is learned, about which corpus, with which models."""

    task: Annotated[
        str | None,
        typer.Option("--task", parser=options.task_name, metavar="NAME", help="--data is this task's: its documents "
                     "are compressed first."),
    ] = None  # fmt: skip
    limit: options.Limit = None
    model: options.Model = None
    compressor: options.CompressorName = None
    adapter: options.StartAdapter = None
    device: options.Device = None
    dtype: options.DtypeName = None
    max_positions: options.MaxPositions = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """The flags that say how the adapter is trained."""

    num_epochs: Annotated[float, typer.Option("--num-epochs", metavar="X", help="Passes over the examples.")] = 3.0
    num_steps: Annotated[int | None, _number("--num-steps", "Optimiser steps in all, instead of passes.")] = None
    batch_size: Annotated[int, _number("--batch-size", "Examples of one optimiser step, over all processes.")] = 8
    micro_batch_size: Annotated[int, _number("--micro-batch-size", "Examples that one process computes at once.")] = 4
    questions_a_row: Annotated[
        int, _number("--questions-a-row", "Questions about one document that share a reading of it.")
    ] = 4
    learning_rate: Annotated[float, typer.Option("--learning-rate", metavar="X", help="Peak learning rate.")] = 2e-5
    warmup_ratio: Annotated[
        float,
        typer.Option(
            "--warmup-ratio", metavar="X", min=0, max=1, help="Share of the steps in which the learning rate rises."
        ),
    ] = 0.04
    weight_decay: Annotated[float, typer.Option("--weight-decay", metavar="X", min=0, help="AdamW weight decay.")] = 0.0
    lora_r: Annotated[int, _number("--lora-r", "Rank of the adapter.")] = 8
    lora_alpha: Annotated[int, _number("--lora-alpha", "Its scale is alpha / r.")] = 16
    lora_dropout: Annotated[
        float, typer.Option("--lora-dropout", metavar="X", min=0, max=1, help="Dropout in front of it.")
    ] = 0.05
    target_modules: Annotated[
        str, typer.Option("--target-modules", metavar="A,B,...", help="Linear modules that get an adapter.")
    ] = "q_proj,k_proj,v_proj,o_proj"
    save_every: Annotated[int, _number("--save-every", "Steps between checkpoints.")] = 100
    evaluate_every: Annotated[int, _number("--evaluate-every", "Steps between measurements on --validation.")] = 100
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute a float32 decoder in bfloat16 while training.")] = False
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time, the same gradients.")
    ] = False
    seed: options.Seed = 0

    def check_start(self, adapter: Path) -> None:
        """Raise where a new adapter's size or place is named and there is one to start from."""
        for field in fields(self):
            if field.name in ("lora_r", "lora_alpha", "target_modules") and getattr(self, field.name) != field.default:
                flag = f"--{field.name.replace('_', '-')}"
                raise typer.BadParameter(f"adapter {adapter} keeps its own rank, scale and modules: leave {flag} out")

    def finetune_options(self) -> "FinetuneOptions":
        """Return them as the library takes them."""
        from lloco.adapters.folder import LoraOptions
        from lloco.training.finetune.run import FinetuneOptions

        flags = asdict(self)
        modules = tuple(name.strip() for name in flags.pop("target_modules").split(","))
        lora = LoraOptions(flags.pop("lora_r"), flags.pop("lora_alpha"), flags.pop("lora_dropout"), modules)
        return FinetuneOptions(lora=lora, **flags)
