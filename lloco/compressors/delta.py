"""A compressor saved as what it adds to a pretrained model: its encoder and the reader's LoRA, without the model.

The folder has `lloco_delta.json`, which names the base model by name and digest, and `model.safetensors`. Loaded, the
LoRA is merged into the base's weights: the decoder is then a model of its own, known by the digests of both. Does not
know how a compressor is trained.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lloco.compressors.autocompressor import AutoCompressor
from lloco.compressors.dynamic_pooling import DynamicPoolingEncoder
from lloco.compressors.local import LocalCompressor, in_dtype
from lloco.compressors.local_encoder import copied_body, embed_scale
from lloco.compressors.lora_weights import inject_lora, load_lora, lora_tensors, merge_lora
from lloco.errors import CheckpointError
from lloco.models.checkpoint import iter_tensors, weights_digest, write_checkpoint
from lloco.models.decoder import Decoder, load_decoder
from lloco.prompts.template import TEMPLATE_FILE, Template

DELTA_FILE = "lloco_delta.json"
FORMAT = 2
DeltaDesign = Literal["dynamic_pooling", "autocompressor"]
_READER, _ENCODER = "reader.", "encoder."
TrainableCompressor: TypeAlias = AutoCompressor | LocalCompressor
"""The compressors that training can reach through: torch modules whose `read_documents` keeps gradients."""


@dataclass(frozen=True, slots=True)
class DeltaSettings:
    """What a delta adds to which model."""

    base: str
    """Name, folder or hub id of the pretrained model."""
    base_digest: str
    """Digest of its weights."""
    design: DeltaDesign = "dynamic_pooling"
    """How it compresses; `autocompressor`, the method's own, reads with the decoder and its LoRA."""
    segment_lens: tuple[int, ...] = (2,)
    """Lengths of segments that it learned, its own first; in dynamic pooling a segment is what becomes a vector."""
    summary_length: int = 1
    """Vectors of a segment."""
    window_len: int = 512
    """Tokens that the encoder reads at once."""
    encoder_layers: int = 4
    """Layers of the encoder, the decoder's first ones."""
    encoder_lora_r: int = 32
    """Rank of the encoder's LoRA; 0 trains its layers whole."""
    reader_lora_r: int = 24
    """Rank of the reader's LoRA; 0 leaves the decoder as it is."""
    pooling_hidden_size: int = 512
    """Width inside the network of dynamic pooling."""


def is_delta(folder: Path) -> bool:
    """Return whether the folder holds a delta."""
    return (folder / DELTA_FILE).is_file()


def read_delta_settings(folder: Path) -> DeltaSettings:
    """Read what the folder's delta says of itself.

    Raises:
        CheckpointError: it is damaged, or of a newer format.
    """
    file = folder / DELTA_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        found = int(values.pop("format"))
        values["segment_lens"] = tuple(map(int, values["segment_lens"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} cannot be read as a delta ({error}): fetch it again") from error
    if found != FORMAT:
        raise CheckpointError(f"{file} has format {found}, this lloco reads format {FORMAT}: upgrade lloco")
    known = {field.name for field in fields(DeltaSettings)}
    if not {"base", "base_digest", "segment_lens"} <= values.keys() <= known:
        raise CheckpointError(f"{file} must have some of {', '.join(sorted(known))} and no others: fetch it again")
    return DeltaSettings(**values)


def checkpoint_width(folder: Path) -> int | None:
    """Return the width of a checkpoint's vectors: of a delta its encoder's, else what its config names.

    Raises:
        CheckpointError: there is no config that can be read.
    """
    if is_delta(folder):
        own = (f"{_ENCODER}narrow.bias", f"{_ENCODER}summaries")
        found = next((tensor for name, tensor in iter_tensors(folder, lambda name: name in own)), None)
        return None if found is None else int(found.shape[-1])
    try:
        width = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("hidden_size")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"config.json in {folder} cannot be read ({error}): name the model's own folder"
        ) from error
    return width if isinstance(width, int) else None


def checkpoint_digest(folder: Path) -> str:
    """Return the identity of a checkpoint's decoder: the digest of its weights, of a delta with its base's."""
    own = weights_digest(folder)
    if not is_delta(folder):
        return own
    return hashlib.sha256(f"{read_delta_settings(folder).base_digest} {own}".encode()).hexdigest()


def new_compressor_around(decoder: Decoder, settings: DeltaSettings, seed: int = 0) -> TrainableCompressor:
    """Put a new compressor around a pretrained decoder, whose model gets LoRA in place; ready to be trained.

    Raises:
        CheckpointError: the model's layers are not named as Llama's are, or it has fewer than are asked for.
    """
    decoder.model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        compressor = _around(decoder, settings)
    for weight in compressor.parameters():
        if weight.requires_grad:
            # What learns does so in float32, whatever computes.
            weight.data = weight.data.float()
    return compressor


def _around(decoder: Decoder, settings: DeltaSettings) -> TrainableCompressor:
    scale = embed_scale(decoder)
    is_pooling = settings.design == "dynamic_pooling"
    # Copied before the reader's layers get LoRA, which is not the encoder's.
    body = in_dtype(copied_body(decoder, settings.encoder_layers), decoder.dtype) if is_pooling else None
    if settings.reader_lora_r:
        inject_lora(decoder.model, settings.reader_lora_r)
    if body is None:
        summaries = torch.randn(settings.summary_length, decoder.hidden_size) * scale
        first, *_ = settings.segment_lens
        return AutoCompressor(decoder, summaries, segment_len=first, segment_lens=settings.segment_lens)
    if settings.encoder_lora_r:
        inject_lora(body, settings.encoder_lora_r)
    encoder = DynamicPoolingEncoder(body, hidden_size=settings.pooling_hidden_size, embed_scale=scale)
    return LocalCompressor(
        decoder, encoder, segment_lens=settings.segment_lens, window_len=settings.window_len, keep_dtypes=True
    )


def save_delta(compressor: TrainableCompressor, settings: DeltaSettings, template: Template, folder: Path) -> None:
    """Write what was learned, its matrices in bfloat16, and the wording that it learned; the base model is only named.

    A folder that is there gets the new files when all of them are whole; other files stay.
    """
    tensors = {_READER + name: value for name, value in lora_tensors(compressor.decoder.model).items()}
    tensors |= {_ENCODER + name: value for name, value in _own_tensors(compressor).items()}
    tensors = {name: _to_store(value) for name, value in tensors.items()}

    def write(temporary: Path) -> None:
        temporary.mkdir(parents=True)
        save_file(tensors, temporary / "model.safetensors")
        text = json.dumps({"format": FORMAT, **asdict(settings)}, indent=1)
        (temporary / DELTA_FILE).write_text(text + "\n", encoding="utf-8")
        template.save(temporary / TEMPLATE_FILE)

    write_checkpoint(folder, write)


def _to_store(value: Tensor) -> Tensor:
    """Return what is stored of a tensor: matrices in bfloat16; the information of tokens, which decides, exactly."""
    value = value.detach().cpu().contiguous()
    return value.bfloat16() if value.ndim > 1 else value.float()


def _own_tensors(compressor: TrainableCompressor) -> dict[str, Tensor]:
    """Return what the compressor learned beside the reader's LoRA: pooling and layers, or summary tokens."""
    if isinstance(compressor, AutoCompressor):
        return {"summaries": compressor.embed_summary.weight}
    encoder: Any = compressor.encoder
    own = lora_tensors(encoder.body) or encoder.body.state_dict()
    return _pooling_tensors(encoder) | {f"body.{name}": value for name, value in own.items()}


def _pooling_tensors(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the encoder's tensors beside its layers; the embeddings' scale is the base model's."""
    tensors = encoder.state_dict()
    return {name: value for name, value in tensors.items() if name != "scale" and not name.startswith("body.")}


def load_delta(
    folder: Path,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    max_positions: int | None = None,
    is_trainable: bool = False,
    segment_lens: tuple[int, ...] = (),
) -> TrainableCompressor:
    """Load the base model and what the folder adds to it.

    Args:
        folder: one that `save_delta` wrote.
        device: where to load.
        dtype: type of the base's weights.
        max_positions: how many a row may take, where that is not what the base declares.
        is_trainable: leave the LoRA beside the weights, as `new_compressor_around` does, instead of merging it.
        segment_lens: learn these from now on; the folder's own when not given.

    Raises:
        CheckpointError: no such base, one of another digest, or tensors that do not fit.
    """
    settings = read_delta_settings(folder)
    decoder = load_decoder(settings.base, device=device, dtype=dtype, max_positions=max_positions)
    if decoder.digest != settings.base_digest:
        raise CheckpointError(
            f"the compressor in {folder} was made for {settings.base} with digest {settings.base_digest[:12]}, the "
            f"model of that name here has {decoder.digest[:12]}: fetch the same version"
        )
    wanted = replace(settings, segment_lens=segment_lens or settings.segment_lens)
    compressor = new_compressor_around(decoder, wanted)
    _fill(compressor, folder)
    if not is_trainable:
        merge_lora(decoder.model)
        if isinstance(compressor, LocalCompressor):
            merge_lora(compressor.encoder.body)
            in_dtype(compressor.encoder, decoder.dtype)
        else:
            in_dtype(compressor.embed_summary, decoder.dtype)
    compressor.decoder = replace(decoder, name=str(folder), digest=checkpoint_digest(folder))
    return compressor.eval()


def _fill(compressor: TrainableCompressor, folder: Path) -> None:
    """Put the folder's tensors where they belong.

    Raises:
        CheckpointError: they do not fit the settings.
    """
    tensors = dict(iter_tensors(folder))
    load_lora(compressor.decoder.model, _below(tensors, _READER))
    own = _below(tensors, _ENCODER)
    try:
        if isinstance(compressor, AutoCompressor):
            compressor.embed_summary.load_state_dict({"weight": own["summaries"]})
            return
        encoder: Any = compressor.encoder
        body = _below(own, "body.")
        pooling = {name: value for name, value in own.items() if not name.startswith("body.")}
        if pooling.keys() != _pooling_tensors(encoder).keys():
            raise KeyError(f"beside its layers it has {', '.join(sorted(pooling)) or 'nothing'}")
        encoder.load_state_dict(pooling, strict=False)
        if lora_tensors(encoder.body):
            load_lora(encoder.body, body)
        else:
            encoder.body.load_state_dict(body)
    except (RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"the tensors in {folder} do not fit its settings ({reason}): fetch it again") from error


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def segment_lens_of(ratios: Sequence[float], summary_length: int = 1) -> tuple[int, ...]:
    """Return segment lengths of these ratios; where a segment becomes one vector, they must be whole numbers.

    Raises:
        CheckpointError: a ratio gives no whole number of tokens where it must, or fewer than 2.
    """
    lens = tuple(round(ratio * summary_length) for ratio in ratios)
    for ratio, length in zip(ratios, lens, strict=True):
        if summary_length == 1 and (length != ratio or length < 2):
            raise CheckpointError(f"the ratios of dynamic pooling must be whole numbers from 2 on, got {ratio:g}")
    return lens
