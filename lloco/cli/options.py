"""The flags that several verbs share, spelled and explained once."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import typer

from lloco.compressors import choices
from lloco.errors import LlocoError

StorageDtype: TypeAlias = Literal["float32", "bfloat16", "float16", "int8", "int4", "pq"]
Design: TypeAlias = Literal[choices.Design, "dynamic_pooling"]
Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
ENGINES = ("transformers", "vllm")


def one_of(names: Sequence[str]) -> Callable[[str], str]:
    """Return a parser that takes one of these names."""

    def parse(value: str) -> str:
        if value not in names:
            raise typer.BadParameter(f"there is no {value!r}, choose one of {', '.join(names)}")
        return value

    return parse


def choice(flag: str, names: Sequence[str], help: str) -> Any:
    """Return the option of a flag that takes one of these names."""
    return typer.Option(flag, parser=one_of(names), metavar="|".join(names), help=help)


def task_name(value: str) -> str:
    """Parse the name of a task; the names are read only where one was given, so that `--help` stays quick."""
    from lloco.tasks.task import TASKS

    return one_of(TASKS)(value)


LARGEST = 2**31 - 1
"""More than anything that is counted here; libraries fail in ways of their own beyond it."""


def at_least(smallest: int, largest: int = LARGEST) -> Callable[[str], int]:
    """Return a parser that takes whole numbers from this one on, up to the largest."""
    allowed = f"of at least {smallest}" if largest == LARGEST else f"from {smallest} to {largest}"

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = smallest - 1
        if number > LARGEST == largest:
            raise typer.BadParameter(f"must be at most {LARGEST:,}, got {value}")
        if not smallest <= number <= largest:
            raise typer.BadParameter(f"must be a whole number {allowed}, got {value}")
        return number

    return parse


def _adapter_folder(path_or_hub_id: str) -> Path:
    """Return the folder, or where the hub's adapter of this id is now."""
    from lloco.models.checkpoint import checkpoint_folder

    try:
        return checkpoint_folder(path_or_hub_id)
    except LlocoError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


CorpusName = Annotated[str, typer.Option("--corpus", metavar="NAME", help="Corpus in the store.")]
OptionalCorpus = Annotated[
    str | None, typer.Option("--corpus", metavar="NAME", help="Take soft prompts, and the adapter, from this corpus.")
]
StorePath = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="Folder of the store [default: $LLOCO_HOME, or your data folder]."),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="DIR|ID", help="Decoder: a name of `lloco model list`, a folder, a .gguf file or a "
                 "hub id [default: the compressor's own]."),
]  # fmt: skip
CompressorName = Annotated[
    str | None,
    typer.Option("--compressor", metavar="DIR|ID", help="Compressor: a name of `lloco model list`, a folder or a "
                 "hub id [default: the corpus's own, else $LLOCO_MODEL, else smollm2 where it is installed, else "
                 "records]."),
]  # fmt: skip
Adapter = Annotated[
    Path | None,
    typer.Option("--adapter", parser=_adapter_folder, metavar="DIR|ID", help="Adapter to read with: folder or hub id "
                 "[default: the corpus's own]."),
]  # fmt: skip
StartAdapter = Annotated[
    Path | None,
    typer.Option("--adapter", parser=_adapter_folder, metavar="DIR|ID", help="Start from this adapter, with its rank, "
                 "scale and modules: folder or hub id [default: a new one]."),
]  # fmt: skip
TemplateName = Annotated[
    str | None,
    typer.Option("--template", metavar="NAME|FILE", help="Wording of the prompts: packaged, or a JSON file [default: "
                 "the adapter's own, else what suits the questions]."),
]  # fmt: skip
Device = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps [default: the best at hand].")
]
DtypeName = Annotated[
    Dtype | None,
    choice("--dtype", get_args(Dtype), "Type to compute in [default: float32 on a CPU, bfloat16 on a GPU]."),
]
MaxPositions = Annotated[
    int | None,
    typer.Option("--max-positions", parser=at_least(1), metavar="N", help="Positions that a row may take, fewer or "
                 "more than the model declares [default: as many; vectors of the method's own compressor go beyond]."),
]  # fmt: skip
BatchSize = Annotated[
    int, typer.Option("--batch-size", parser=at_least(1), metavar="N", help="Documents or questions handled together.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", parser=at_least(1), metavar="N", help="Only the first N questions.")
]
Seed = Annotated[
    int, typer.Option("--seed", parser=at_least(0, 2**32 - 1), metavar="N", help="Seed of everything that is drawn.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no hints.")]
Task = Annotated[
    str,
    typer.Option("--task", parser=task_name, metavar="NAME", help="quality, qmsum, qasper, narrativeqa, hotpotqa, "
                 "longbench, needle, ruler, squad_articles, fairytaleqa or jsonl."),
]  # fmt: skip
Data = Annotated[str, typer.Option("--data", metavar="FILE", help="Task data: a file, a folder or a hub id.")]
EngineName = Annotated[str, choice("--engine", ENGINES, "What generates; vllm is an extra to install.")]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", parser=at_least(1), metavar="N", help="Tokens an answer may have [default: the task's "
                 "own]."),
]  # fmt: skip
ContextBudget = Annotated[
    int | None,
    typer.Option("--budget", "--context-budget", parser=at_least(1), metavar="N", help="Positions "
                 "that modes hybrid, truncated and retrieval read [default: as many as the document has virtual "
                 "tokens]."),
]  # fmt: skip
SegmentLen = Annotated[
    int | None,
    typer.Option("--segment-len", parser=at_least(1), metavar="N", help="Tokens the compressor reads at once [default: "
                 "as the corpus has it, else its own]."),
]  # fmt: skip
