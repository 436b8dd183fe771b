"""What compressors that are built on a decoder share: reading with it alone, and one checkpoint for both.

The checkpoint is a plain causal LM that stock loaders read; the compressor's settings are more keys of its config, its
tensors more tensors, which stock loaders ignore. Does not know how anything is compressed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from lloco.adapters.base_model import adapter_disabled
from lloco.compressors.compressor import LongDocuments, as_ids, check_batch_size, compress_documents
from lloco.documents.document import Document
from lloco.errors import CheckpointError, DocumentError, LlocoError
from lloco.models.checkpoint import iter_tensors, write_checkpoint
from lloco.models.decoder import Decoder
from lloco.models.quiet import quiet_transformers
from lloco.models.tokenize import Progress
from lloco.prompts.soft_prompt import SoftPrompt

TENSOR_PREFIX = "compressor."
"""Before the names of a compressor's own tensors."""


class DecoderBased(nn.Module):
    """A compressor that is known by its decoder's checkpoint, which holds its tensors too."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        self.model = decoder.model

    @property
    def name(self) -> str:
        """Name of the checkpoint."""
        return self.decoder.name

    @property
    def digest(self) -> str:
        """Digest of the checkpoint's weights, the compressor's included; empty for a new one that was never saved."""
        return self.decoder.digest

    @property
    def hidden_size(self) -> int:
        """Width of one virtual token."""
        return self.decoder.hidden_size

    @property
    def max_segment_len(self: Any) -> int:
        """Tokens of the longest segment that fits the positions with its summary tokens."""
        return int(self.decoder.max_len - self.summary_length)

    def longest_row(self: Any, num_tokens: int, segment_len: int | None = None) -> int:
        """Return the positions that the longest row takes: a segment's, with its summary tokens."""
        return int(min(num_tokens, segment_len or self.segment_len) + self.summary_length)

    def read_in_order(self: Any, documents: Sequence[Tensor], segment_len: int) -> list[Tensor]:
        """Read documents of ids in any order, with gradients where they are on; returns their vectors in that order."""
        if not documents:
            return []
        order = sorted(range(len(documents)), key=lambda index: -len(documents[index]))
        made = self.read_documents([documents[index] for index in order], segment_len)
        of_index = dict(zip(order, made, strict=True))
        return [of_index[index] for index in range(len(order))]

    @property
    def min_segment_len(self) -> int:
        """Tokens of the shortest segment."""
        return 1

    @property
    def segment_advice(self) -> str:
        """What to do where a segment length cannot be used."""
        return "choose one in this range"

    @torch.no_grad()
    def compress_ids(
        self: Any,
        documents: Sequence[Sequence[int] | Tensor],
        *,
        segment_len: int | None = None,
        batch_size: int = 8,
        long_documents: LongDocuments = "refuse",
        on_progress: Progress | None = None,
    ) -> list[Tensor]:
        """Compress documents of token ids, as `Compressor.compress_ids` says."""
        check_batch_size(batch_size)
        segment_len = self.segment_len if segment_len is None else segment_len
        if not self.reach(segment_len):
            raise DocumentError(
                f"segment_len must be between {self.min_segment_len} and {self.max_segment_len}, got {segment_len}: "
                f"{self.segment_advice}"
            )
        ids = [as_ids(document, vocab_size(self.decoder)) for document in documents]
        made: list[Tensor] = self._compress_checked(ids, segment_len, batch_size, long_documents, on_progress)
        return made

    def compress(self: Any, document: Document) -> SoftPrompt:
        """Compress one document's text, a long one whole.

        Raises:
            CheckpointError: the checkpoint has no tokenizer.
            DocumentError: the document has no text.
        """
        return next(compress_documents(self, [document]))


SETTINGS = (
    "compressor_design",
    "summary_length",
    "segment_len",
    "segment_lens",
    "window_len",
    "encoder_layers",
    "accumulate_summary",
    "encoder_lora_alpha",
    "pooling_hidden_size",
)
"""Every key that a compressor has in the config."""


@contextmanager
def reading_alone(decoder: Decoder, *modules: nn.Module) -> Iterator[None]:
    """Read with the base model alone and these modules, without dropout; all are as they were afterwards.

    Other threads have their turn with the model between such blocks: answers do not wait for a long document.
    """
    with decoder.lock, adapter_disabled(decoder.model):
        were_training = [(module, module.training) for module in (decoder.model, *modules)]
        for module, _ in were_training:
            module.train(False)
        try:
            yield
        finally:
            for module, was_training in were_training:
                module.train(was_training)


def read_summaries(decoder: Decoder, summaries: Tensor, soft_prompt: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
    """Read one segment per row, with summary tokens after it; return their states after the final norm.

    Padding stands on the right, after the summary tokens, where a causal model never looks: rows need no mask.

    Args:
        decoder: reads, as it is now.
        summaries: (summary_length, hidden_size) embeddings of the summary tokens.
        soft_prompt: (batch, num_earlier_virtual_tokens, hidden_size), read before the segment.
        ids: (batch, seq_len) token ids, padded on the right with any id.
        lengths: (batch,) number of real tokens per row.

    Returns:
        (batch, summary_length, hidden_size)
    """
    tokens: Tensor = decoder.model.get_input_embeddings()(ids)
    num_rows, width = len(ids), tokens.shape[-1]
    row = torch.cat([tokens, tokens.new_zeros(num_rows, len(summaries), width)], dim=1)
    places = lengths[:, None] + torch.arange(len(summaries), device=ids.device)
    index = places[:, :, None].expand(-1, -1, width)
    row = row.scatter(1, index, summaries.to(row.dtype).expand(num_rows, -1, -1))
    row = torch.cat([soft_prompt.to(row.dtype), row], dim=1)
    # The model without its output layer: no logits are computed, and no cache is kept.
    reader: nn.Module = decoder.model.get_decoder()  # type: ignore[no-untyped-call]
    hidden: Tensor = reader(inputs_embeds=row, use_cache=False).last_hidden_state
    return hidden[:, soft_prompt.shape[1] :].gather(1, index)


def in_autocast_dtype(embeds: Tensor) -> Tensor:
    """Return the embeddings in the type that autocast computes in, if it is on: masks and scores get it too."""
    kind = embeds.device.type
    return embeds.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else embeds


def forget_settings(config: Any) -> None:
    """Remove what a compressor wrote into the config: the model is a plain language model again."""
    for key in SETTINGS:
        vars(config).pop(key, None)


def vocab_size(decoder: Decoder) -> int:
    """Return the number of token ids that the decoder can embed."""
    embedding: Any = decoder.model.get_input_embeddings()
    return int(embedding.num_embeddings)


def config_design(folder: Path) -> Any:
    """Return the design that the folder's config names, or None where it names none."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("compressor_design")
    except (OSError, ValueError, AttributeError):
        return None


def declared(decoder: Decoder, key: str) -> int | None:
    """Return the positive number that the config has under this key, or None where it has nothing.

    Raises:
        CheckpointError: it has something else there.
    """
    value = getattr(decoder.model.config, key, None)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise CheckpointError(f"{key} in the config of {decoder.name} must be at least 1, got {value!r}")
    return value


def declared_lengths(decoder: Decoder, key: str) -> tuple[int, ...]:
    """Return the positive numbers that the config lists under this key, none where it has nothing.

    Raises:
        CheckpointError: it has something else there.
    """
    values = getattr(decoder.model.config, key, None) or []
    if not isinstance(values, list) or not all(type(value) is int and value > 0 for value in values):
        raise CheckpointError(f"{key} in the config of {decoder.name} must be a list of lengths, got {values!r}")
    return tuple(values)


def compressor_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the compressor's own tensors in the folder's checkpoint, by their names without the prefix."""
    return {
        name.removeprefix(TENSOR_PREFIX): tensor
        for name, tensor in iter_tensors(folder, lambda name: name.startswith(TENSOR_PREFIX))
    }


def save_with_decoder(
    decoder: Decoder, folder: str | Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Decoder:
    """Write the decoder's folder with a compressor's settings and tensors in it; return the decoder as it is now named.

    A folder that is there gets the new files when all of them are whole, the weights last; other files stay. A decoder
    that was never saved has the name and digest of this folder from now on.

    Raises:
        CheckpointError: `folder` is a file.
        LlocoError: the model carries an adapter, whose weights are not the compressor's.
    """
    folder = Path(folder).expanduser().resolve()
    if any(isinstance(module, BaseTunerLayer) for module in decoder.model.modules()):
        raise LlocoError(
            f"a compressor is saved to {folder} without an adapter, {decoder.name} carries one: load it afresh"
        )

    def write(target: Path) -> None:
        forget_settings(decoder.model.config)
        for key, value in settings.items():
            setattr(decoder.model.config, key, value)
        weights = {**decoder.model.state_dict(), **{name: tensor.detach() for name, tensor in tensors.items()}}
        with quiet_transformers():
            decoder.model.save_pretrained(target, state_dict=weights, max_shard_size="1TB")
            if decoder.tokenizer is not None:
                decoder.tokenizer.save_pretrained(target)

    digest = write_checkpoint(folder, write)
    return decoder if decoder.digest else replace(decoder, name=str(folder), digest=digest)
