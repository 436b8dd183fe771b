"""Published ICAE v2 weights, put together with their base model as a compressor.

`sggetao/icae` holds LoRA matrices and the embeddings of summary tokens alone, beside Mistral-7B-Instruct-v0.2; what the
names and numbers mean is said by code/icae_v2 of getao/icae@5ed61ff. After the vectors its prompts go on with a
trained embedding that stands in no vocabulary: it becomes a token, which the packaged template `icae` writes.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AddedToken, AutoConfig

from lloco.compressors.icae import IcaeCompressor
from lloco.errors import CheckpointError
from lloco.models.checkpoint import checkpoint_folder
from lloco.models.decoder import Decoder, load_decoder

EMBEDDINGS = "memory_token_embed.weight"
NUM_SPECIAL = 3
"""Rows after the summary tokens': to repeat the text, to go on with it, and to follow an instruction about it."""
INSTRUCTION_TOKEN = "<icae_ft>"
LORA_ALPHA = 32
"""fine_tuned_inference.py, where the rank is 512; the rank is in the file."""
MEAN_RATIO = 4
"""mean_compression_rate: a segment has this times the summary tokens at most."""
_LORA = re.compile(r"icae\.base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.default\.weight")


@dataclass(frozen=True, slots=True)
class ImportedIcae:
    """A compressor that was put together."""

    folder: Path
    weights_digest: str
    summary_length: int
    segment_len: int
    hidden_size: int
    lora_rank: int


def import_icae(file: Path, base: str | Path, out: Path) -> ImportedIcae:
    """Write the folder `out`: the base model in its own dtype, one token more, and the encoder's tensors.

    Raises:
        CheckpointError: not ICAE's weights, not for this base, or `out` exists.
    """
    if out.exists():
        raise CheckpointError(f"{out} exists: choose another --out, or remove it")
    embeddings, lora = _read(file)
    folder = checkpoint_folder(base)
    dtype = getattr(AutoConfig.from_pretrained(folder, trust_remote_code=False), "dtype", None)
    # New weights, which have no digest until they are written.
    decoder = replace(load_decoder(folder, device="cpu", dtype=dtype or torch.float32), digest="")
    length = len(embeddings) - NUM_SPECIAL
    compressor = IcaeCompressor(
        decoder, embeddings[:length], lora, lora_alpha=LORA_ALPHA, segment_len=length * MEAN_RATIO
    )
    _add_token(decoder, embeddings[length + 2])
    compressor.save(out)
    rank = max(len(a) for a, _ in lora.values())
    return ImportedIcae(out, compressor.digest, length, compressor.segment_len, compressor.hidden_size, rank)


def _read(file: Path) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """Return the embeddings and each module's LoRA matrices; a file with anything else in it is refused."""
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read as ICAE weights in safetensors ({error})") from error
    embeddings = tensors.pop(EMBEDDINGS, None)
    sides: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if (found := _LORA.fullmatch(name)) is None or tensor.ndim != 2:
            raise CheckpointError(f"{file} must hold LoRA matrices and {EMBEDDINGS}, got {name}: it is no ICAE v2")
        sides.setdefault(found["module"], {})[found["side"]] = tensor
    if embeddings is None or embeddings.ndim != 2 or len(embeddings) <= NUM_SPECIAL or not sides:
        raise CheckpointError(f"{file} lacks LoRA matrices or {EMBEDDINGS}: it is no ICAE v2")
    if lone := [module for module, pair in sides.items() if len(pair) != 2]:
        raise CheckpointError(f"{file} must hold pairs of LoRA matrices, {lone[0]} has one: fetch it again")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (embeddings, *tensors.values())):
        raise CheckpointError(f"{file} holds NaN or infinity: fetch it again")
    return embeddings, {module: (pair["A"], pair["B"]) for module, pair in sides.items()}


def _add_token(decoder: Decoder, embedding: Tensor) -> None:
    """Give the decoder (mutated) a token of this embedding, which is as unlikely to be written as token 0."""
    tokenizer, model = decoder.require_tokenizer(), decoder.model
    tokenizer.add_tokens([AddedToken(INSTRUCTION_TOKEN, special=True, normalized=False)], special_tokens=True)
    token_id: Any = tokenizer.convert_tokens_to_ids(INSTRUCTION_TOKEN)
    num_tokens = max(len(model.get_input_embeddings().weight), token_id + 1)  # type: ignore[arg-type]
    model.resize_token_embeddings(num_tokens, mean_resizing=False)
    table: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        table.weight[token_id] = embedding.to(table.weight.dtype)
        if head.weight is not table.weight:
            head.weight[token_id] = head.weight[0]
