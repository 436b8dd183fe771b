"""Push: a compressor, an adapter or a corpus becomes an artifact at a remote: a folder or a repository of the hub.

Only files that lloco itself reads go along, read once before: what does not load is not pushed. The texts of a corpus
stay here unless they are asked for.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lloco.adapters.digest import WEIGHT_FILES, adapter_digest, weight_file
from lloco.adapters.folder import read_adapter
from lloco.compressors.autocompressor import SUMMARY_KEY
from lloco.compressors.decoder_based import TENSOR_PREFIX
from lloco.compressors.delta import checkpoint_width, is_delta, read_delta_settings
from lloco.compressors.icae import SUMMARIES
from lloco.compressors.load import compressor_folder, design_of
from lloco.errors import CheckpointError
from lloco.files.strict_json import read_value
from lloco.hub.artifact import Artifact, describe, known_files
from lloco.hub.card import card_of, licence_of
from lloco.hub.corpus_texts import strip_texts
from lloco.hub.remote import Remote
from lloco.importers.adapter import adapter_width
from lloco.models.checkpoint import checkpoint_folder, find_tensor, weight_files, weights_digest
from lloco.store.archive import export_corpus
from lloco.store.corpus import Corpus


@dataclass(frozen=True, slots=True)
class PushOptions:
    """What is told beside the files."""

    licence: str | None = None
    """Licence as the user states it; the card says "not stated" otherwise."""
    results: Path | None = None
    """results.json of `lloco evaluate`, whose scores go onto the card."""
    with_text: bool = False
    """Let the texts, titles and sources of a corpus's documents go along."""


def push(what: "Path | str | Corpus", kind: str, remote: Remote, options: PushOptions) -> tuple[Artifact, bool]:
    """Push a folder or a corpus; returns the artifact, and whether the remote changed.

    Raises:
        CheckpointError: not of that kind, damaged, or the remote refuses it.
        StoreError: the corpus's files are damaged.
    """
    with _prepared(what, kind, options) as (artifact, folder):

        def card_after(old: bytes | None) -> bytes:
            licence = options.licence or (None if old is None else licence_of(old))
            return card_of(artifact, remote.name, licence, options.results)

        card_after(None)  # what is wrong with licence or results is said before anything is sent
        is_told = options.licence is not None or options.results is not None
        return artifact, remote.put(artifact, folder, card_after, keeps_card=not is_told)


@contextmanager
def _prepared(what: "Path | str | Corpus", kind: str, options: PushOptions) -> Iterator[tuple[Artifact, Path]]:
    if isinstance(what, Corpus):
        with tempfile.TemporaryDirectory(prefix="lloco-push-") as temporary:
            folder = Path(temporary) / "corpus"
            yield _corpus(what, folder, options.with_text), folder
        return
    folder = compressor_folder(what) if kind == "compressor" else checkpoint_folder(what)
    summary = _compressor_summary(folder) if kind == "compressor" else _adapter_summary(folder)
    yield describe(kind, folder, known_files(kind, folder), summary), folder


def _compressor_summary(folder: Path) -> dict[str, Any]:
    design = design_of(folder)
    if design is None:
        raise CheckpointError(
            f"{folder} is a plain language model, not a compressor: it has neither {SUMMARY_KEY} nor a "
            "compressor_design"
        )
    if is_delta(folder):
        return _delta_summary(folder, design)
    own = {"autocompressor": SUMMARY_KEY, "icae": TENSOR_PREFIX + SUMMARIES}.get(design, f"{TENSOR_PREFIX}scale")
    if find_tensor(folder, own) is None:
        raise CheckpointError(
            f"{folder} is of design {design} and has no {TENSOR_PREFIX}* tensors: it was saved as a plain language "
            "model; push the folder that was trained"
        )
    if weight_files(folder)[0].suffix != ".safetensors":
        raise CheckpointError(
            f"the compressor must be in safetensors, {folder} holds pickles: convert it with `lloco import "
            f"autocompressor {folder} --out DIR` first"
        )
    return {
        "design": design,
        **_shape(folder),
        "weights_digest": weights_digest(folder),
    }


def _delta_summary(folder: Path, design: str) -> dict[str, Any]:
    """Say what a delta is.

    Raises:
        CheckpointError: its base is a folder of this machine, which nobody else has.
    """
    settings = read_delta_settings(folder)
    if Path(settings.base).is_absolute():
        raise CheckpointError(
            f"{folder} is a delta of {settings.base}, a folder of this machine: train it around a name or a hub id, or "
            "push what `lloco pretrain --merged` writes"
        )
    return {
        "design": design,
        "base_model": settings.base,
        "base_model_digest": settings.base_digest,
        "hidden_size": checkpoint_width(folder),
        "summary_length": settings.summary_length,
        "weights_digest": weights_digest(folder),
    }


def _shape(folder: Path) -> dict[str, int]:
    """Return width and number of the vectors that a segment becomes."""
    summaries = find_tensor(folder, SUMMARY_KEY)
    if summaries is not None:
        return {"hidden_size": int(summaries.shape[1]), "summary_length": int(summaries.shape[0])}
    config = read_value(folder / "config.json")
    shape = {key: config.get(key) for key in ("hidden_size", "summary_length")}
    if not all(type(value) is int for value in shape.values()):
        raise CheckpointError(f"{folder / 'config.json'} must have hidden_size and summary_length, got {shape}")
    return shape


def _adapter_summary(folder: Path) -> dict[str, Any]:
    config, weights = read_adapter(folder)
    _check_is_no_pickle(folder)
    return {
        "base_model": _public_name(config.base_model_name_or_path or ""),
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "hidden_size": adapter_width(weights),
        "adapter_digest": adapter_digest(folder),
    }


def _check_is_no_pickle(adapter: Path) -> None:
    if weight_file(adapter).name != WEIGHT_FILES[0]:
        raise CheckpointError(
            f"the adapter must be in safetensors, {adapter} holds a pickle: convert it with `lloco import adapter "
            f"{adapter} --out DIR` first"
        )


def _public_name(name: str) -> str:
    """Return a hub id as it is, and a folder of this machine without those that it is in."""
    return Path(name).name if Path(name).is_absolute() else name


def _corpus(corpus: Corpus, folder: Path, with_text: bool) -> Artifact:
    if (adapter := corpus.adapter_folder()) is not None:
        _check_is_no_pickle(adapter)
    num_documents = export_corpus(corpus, folder)
    if not num_documents:
        raise CheckpointError(f"corpus {corpus.name!r} has no documents: compress some first")
    if not with_text:
        strip_texts(folder)
    summary = corpus.summary()
    told = {
        "name": corpus.name,
        "num_documents": num_documents,
        "num_virtual_tokens": summary.num_virtual_tokens,
        "compressor": _public_name(summary.compressor or ""),
        "compressor_digest": summary.compressor_digest,
        "hidden_size": summary.hidden_size,
        "adapter_digest": summary.adapter_digest,
        "has_text": with_text,
    }
    return describe("corpus", folder, known_files("corpus", folder), told)
