"""An adapter that others published, with the wording that it was trained with.

The five released LLoCO adapters (arXiv 2404.07979) are PEFT folders without a wording; it is packaged with lloco by the
names in `WORDINGS`. The weights keep their names and bytes and become safetensors where they are a pickle.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor

from lloco.adapters.digest import CONFIG_FILE, WEIGHT_FILES, adapter_digest, weight_file
from lloco.adapters.folder import read_adapter
from lloco.adapters.origin import ORIGIN_FILE
from lloco.compressors.delta import checkpoint_digest, checkpoint_width
from lloco.compressors.load import decoder_folder
from lloco.errors import CheckpointError, MismatchError
from lloco.files.durable import TEMP_SUFFIX, fsync_folder, make_folder_durably, write_durably
from lloco.models.checkpoint import checkpoint_folder
from lloco.prompts.template import TEMPLATE_FILE, Template
from lloco.store.corpus import Corpus
from lloco.version import __version__

WORDINGS = {
    "lloco-7b-quality": "lloco_quality",
    "lloco-7b-qasper": "lloco_qasper",
    "lloco-7b-qmsum": "lloco_qmsum",
    "lloco-7b-nqa": "lloco_narrativeqa",
    "lloco-7b-hqa": "lloco_hotpotqa",
}
"""Packaged wording by the last part of a released adapter's hub id, in small letters."""


def published_wording(source: str | Path) -> Template | None:
    """Return the wording of a released adapter, told by its name; None for any other."""
    name = WORDINGS.get(Path(str(source)).name.lower())
    return None if name is None else Template.packaged(name)


def adapter_width(weights: Mapping[str, Tensor]) -> int | None:
    """Return the width of the model that an adapter's weights are for; None where it adapts no query projection."""
    return next((weight.shape[1] for name, weight in weights.items() if name.endswith("q_proj.lora_A.weight")), None)


def import_adapter(
    source: str | Path, out: Path, template: Template | None = None, *, model: str | Path | None = None
) -> str:
    """Write the adapter of a folder or hub id to the folder `out`, whole or not at all; returns its digest.

    The wording is `template`, else the source's own, else that of the released adapter of this name. A folder that
    holds just this adapter already is left as it is. Where the `model` that it was trained on is named, its digest is
    noted beside the adapter, so that another one is refused from then on.

    Raises:
        CheckpointError: not plain LoRA, damaged, without a wording, or `out` holds something else.
        MismatchError: the model is of another width.
    """
    folder, out = checkpoint_folder(source), out.absolute()
    _, weights = read_adapter(folder)
    wording = template or Template.of_adapter(folder) or published_wording(source)
    if wording is None:
        raise CheckpointError(
            f"{source} has no {TEMPLATE_FILE} and is none of the released {', '.join(WORDINGS)}: name the wording it "
            "was trained with by --template"
        )
    temporary = out.with_name(f".{out.name}.{os.getpid()}{TEMP_SUFFIX}")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder_durably(temporary)
    try:
        write_durably(temporary / CONFIG_FILE, (folder / CONFIG_FILE).read_bytes())
        file = weight_file(folder)
        tensors = {name: tensor.clone().contiguous() for name, tensor in sorted(weights.items())}
        is_safe = file.name == WEIGHT_FILES[0]
        data = file.read_bytes() if is_safe else safetensors.torch.save(tensors, metadata={"format": "pt"})
        write_durably(temporary / WEIGHT_FILES[0], data)
        write_durably(temporary / TEMPLATE_FILE, wording.to_json().encode())
        if model is not None:
            write_durably(temporary / ORIGIN_FILE, _origin(model, adapter_width(weights), source))
        elif (folder / ORIGIN_FILE).is_file():
            write_durably(temporary / ORIGIN_FILE, (folder / ORIGIN_FILE).read_bytes())
        digest = adapter_digest(temporary)
        if not out.exists():
            temporary.rename(out)
            fsync_folder(out.parent)
        elif not (out / CONFIG_FILE).is_file() or adapter_digest(out) != digest:
            raise CheckpointError(
                f"{out} exists and holds something else than adapter {source}: choose another --out, or remove it"
            )
        elif (temporary / ORIGIN_FILE).is_file():
            _keep_origin(out / ORIGIN_FILE, (temporary / ORIGIN_FILE).read_bytes())
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return digest


def _keep_origin(file: Path, origin: bytes) -> None:
    """Write which model an adapter that is there already was trained on, unless it names one."""
    if not file.exists():
        write_durably(file, origin)
    elif file.read_bytes() != origin:
        raise CheckpointError(
            f"{file} names another model, or another source, for the same adapter: choose another --out"
        )


def _origin(model: str | Path, width: int | None, source: str | Path) -> bytes:
    """Return lloco.json for an adapter of this model, whose files are read and not loaded."""
    folder = decoder_folder(model)
    wide = checkpoint_width(folder)
    if wide is None:
        raise CheckpointError(f"config.json of {model} must have hidden_size: check it")
    if width not in (None, wide):
        raise MismatchError(
            f"{source} was trained on a model {width} wide, {model} is {wide} wide: name the adapter's own model"
        )
    name = str(folder.resolve()) if Path(model).expanduser().is_dir() else str(model)
    values = {
        "base_model": name,
        "base_model_digest": checkpoint_digest(folder),
        "hidden_size": wide,
        "lloco_version": __version__,
    }
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def set_corpus_adapter(corpus: Corpus, folder: Path) -> str:
    """Make an adapter folder the corpus's adapter, if it reads vectors of the corpus's width; returns its digest.

    Raises:
        MismatchError: it was made for a model of another width than the corpus's soft prompts.
    """
    _, weights = read_adapter(folder)
    width, wanted = adapter_width(weights), corpus.summary().hidden_size
    if None not in (width, wanted) and width != wanted:
        raise MismatchError(
            f"the soft prompts of corpus {corpus.name!r} are for a model {wanted} wide, {folder} is an adapter for "
            f"one {width} wide: use the adapter of the corpus's own model"
        )
    return corpus.set_adapter(folder)
