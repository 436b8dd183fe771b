"""A published AutoCompressor checkpoint as a folder of safetensors, checked and without executing a pickle.

Tensors keep name, dtype and bytes, so the digest of the weights, and with it every soft prompt, is the source's. At
most `MAX_SHARD_BYTES` of tensors are held at once, plus a source shard where it cannot be mapped into memory (files
from before PyTorch 1.6). Only Llama checkpoints: those on OPT give their summary tokens no positions.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from lloco.compressors.autocompressor import SUMMARY_KEY
from lloco.errors import CheckpointError
from lloco.models.checkpoint import checkpoint_folder, iter_tensors, weights_digest, write_checkpoint

MAX_SHARD_BYTES = 1 << 30
_COPIED = (".json", ".model", ".txt", ".jinja")
_IGNORED_END = "rotary_emb.inv_freq"
"""A buffer that old checkpoints hold and that every model computes by itself."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A checkpoint that was converted."""

    folder: Path
    weights_digest: str
    num_tensors: int
    num_shards: int
    summary_length: int
    hidden_size: int
    is_new: bool
    """False where the folder held these weights before and nothing was written."""


def import_autocompressor(source: str | Path, out: Path, *, max_shard_bytes: int = MAX_SHARD_BYTES) -> Imported:
    """Convert the checkpoint of a folder or hub id into the folder `out`, which appears whole or not at all.

    Raises:
        CheckpointError: no AutoCompressor on Llama, incomplete, damaged, or `out` holds something else.
    """
    folder = checkpoint_folder(source)
    sizes, summaries = _check(folder, source)
    shards = _plan(sizes, max_shard_bytes)
    is_new = not out.exists()
    if is_new:
        digest = write_checkpoint(out, lambda temporary: _write(folder, temporary, shards))
    else:
        digest = weights_digest(folder)
        if not (out / "config.json").is_file() or weights_digest(out) != digest:
            raise CheckpointError(
                f"{out} exists and holds something else than the weights of {source}: choose another --out, or remove "
                "it"
            )
    return Imported(out, digest, len(sizes), len(shards), summaries[0], summaries[1], is_new)


def _check(folder: Path, source: str | Path) -> tuple[dict[str, int], tuple[int, int]]:
    """Return every tensor's size in bytes and the shape of the summary tokens; reads no tensor that can be mapped."""
    config = _llama_config(folder, source)
    shapes: dict[str, tuple[int, ...]] = {}
    sizes: dict[str, int] = {}
    for name, tensor in iter_tensors(folder):
        shapes[name], sizes[name] = tuple(tensor.shape), tensor.nbytes
        if name == SUMMARY_KEY and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{name} of {source} holds NaN: fetch it again")
    summaries = shapes.pop(SUMMARY_KEY, None)
    if summaries is None:
        raise CheckpointError(
            f"{source} has no {SUMMARY_KEY}: it is a plain language model, or a shard is missing; name an "
            "AutoCompressor checkpoint"
        )
    length = getattr(config, "summary_length", None)
    if len(summaries) != 2 or summaries[1] != config.hidden_size or length not in (None, summaries[0]):
        raise CheckpointError(
            f"{SUMMARY_KEY} must have shape ({length or 'summary_length'}, {config.hidden_size}), as "
            f"{folder}/config.json says, got {summaries}: the files are of two models, fetch them again"
        )
    _check_complete(config, shapes, source)
    return sizes, (summaries[0], summaries[1])


def _llama_config(folder: Path, source: str | Path) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers raises several kinds for a bad config
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise CheckpointError(
            f"config.json of {source} cannot be read ({reason}): fetch the checkpoint again"
        ) from error
    if config.model_type != "llama":
        raise CheckpointError(
            f"the AutoCompressor must be built on Llama, {source} is built on {config.model_type}, whose summary "
            "tokens are read in another way: name a Llama checkpoint, such as "
            "princeton-nlp/AutoCompressor-Llama-2-7b-6k"
        )
    return config


def _check_complete(config: PreTrainedConfig, shapes: dict[str, tuple[int, ...]], source: str | Path) -> None:
    """Compare names and shapes with those of the config's model, which is built without memory for weights."""
    model_class: Any = AutoModelForCausalLM
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in model_class.from_config(config).state_dict().items()}
    if config.tie_word_embeddings:
        wanted.pop("lm_head.weight", None)
    if missing := sorted(wanted.keys() - shapes.keys()):
        raise CheckpointError(
            f"{source} lacks {len(missing)} of its model's {len(wanted)} tensors, first {missing[0]}: a shard is "
            "missing or its index is incomplete, fetch the checkpoint again"
        )
    unknown = [name for name in shapes if name not in wanted and not name.endswith(_IGNORED_END)]
    if unknown and unknown != ["lm_head.weight"]:
        raise CheckpointError(
            f"{source} has {unknown[0]}, which is no tensor of a Llama model: this is another kind of checkpoint"
        )
    for name in sorted(wanted):
        if shapes[name] != wanted[name]:
            raise CheckpointError(
                f"{name} must have shape {wanted[name]}, as the config of {source} says, got {shapes[name]}: the "
                "files are of two models, fetch them again"
            )


def _plan(sizes: dict[str, int], max_shard_bytes: int) -> list[list[str]]:
    """Return the names of each new shard, in the order in which the tensors are read."""
    shards: list[list[str]] = [[]]
    num_bytes = 0
    for name, size in sizes.items():
        if shards[-1] and num_bytes + size > max_shard_bytes:
            shards.append([])
            num_bytes = 0
        shards[-1].append(name)
        num_bytes += size
    return shards


def _write(source: Path, folder: Path, shards: list[list[str]]) -> None:
    folder.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.suffix in _COPIED and file.is_file() and not file.name.endswith(".index.json"):
            shutil.copyfile(file, folder / file.name)
    tensors = iter_tensors(source)
    names = ["model.safetensors"]
    if len(shards) > 1:
        names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for file_name, shard in zip(names, shards, strict=True):
        save_file(dict(_take(tensors, shard)), folder / file_name, metadata={"format": "pt"})
    if len(shards) > 1:
        weight_map = {name: file_name for file_name, shard in zip(names, shards, strict=True) for name in shard}
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _take(tensors: Iterator[tuple[str, Tensor]], shard: list[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the next shard's tensors, each with memory of its own: safetensors refuses tensors that share any."""
    for wanted in shard:
        name, tensor = next(tensors)
        assert name == wanted, "the checkpoint changed while it was being read"
        yield name, tensor.detach().clone().contiguous()
