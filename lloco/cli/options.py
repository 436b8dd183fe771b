"""The flags that several verbs share, spelled and explained once."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

Mode: TypeAlias = Literal["compressed", "full", "truncated", "none", "retrieval"]
LongDocuments: TypeAlias = Literal["windows", "truncate", "refuse"]
StorageDtype: TypeAlias = Literal["float32", "bfloat16", "float16", "int8"]
Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]

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
    typer.Option("--model", metavar="DIR|ID", help="Decoder: folder or hub id [default: the compressor's own]."),
]
CompressorName = Annotated[
    str | None,
    typer.Option("--compressor", metavar="DIR|ID", help="Compressor: folder or hub id [default: the corpus's own, "
                 "else the bundled one]."),
]  # fmt: skip
Adapter = Annotated[
    Path | None,
    typer.Option("--adapter", metavar="DIR", help="Adapter folder to read with [default: the corpus's own]."),
]
TemplateName = Annotated[
    str | None,
    typer.Option("--template", metavar="NAME|FILE", help="Wording of the prompts: packaged, or a JSON file [default: "
                 "the adapter's own, else what suits the questions]."),
]  # fmt: skip
Device = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps [default: the best at hand].")
]
DtypeName = Annotated[
    Dtype | None, typer.Option("--dtype", help="Type to compute in [default: float32 on a CPU, bfloat16 on a GPU].")
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Documents or questions handled together.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N questions.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything that is drawn.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no hints.")]
Task = Annotated[str, typer.Option("--task", help="quality, qmsum, qasper, narrativeqa, hotpotqa, longbench, needle, "
                                   "squad_articles, fairytaleqa or jsonl.")]  # fmt: skip
Data = Annotated[str, typer.Option("--data", metavar="FILE", help="Task data: a file, a folder or a hub id.")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="Tokens an answer may have [default: the task's own].")
]
ContextBudget = Annotated[
    int | None,
    typer.Option("--context-budget", min=1, help="Tokens for modes truncated and retrieval [default: as many as the "
                 "document has virtual tokens]."),
]  # fmt: skip
SegmentLen = Annotated[
    int | None,
    typer.Option("--segment-len", min=1, help="Tokens the compressor reads at once [default: its own]."),
]
