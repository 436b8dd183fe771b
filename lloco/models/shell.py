"""A decoder without its layers: what lays out and embeds prompts for a model that another process runs.

The input embeddings, the tokenizer and the settings are real. Every other weight has its shape alone, so that adapters
can be checked, and takes no memory.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lloco.errors import CheckpointError
from lloco.models.checkpoint import checkpoint_folder
from lloco.models.decoder import (
    Decoder,
    checked_digest,
    load_tokenizer,
    loading_from,
    resolve_dtype,
    with_max_positions,
)


def load_shell(
    path_or_hub_id: str | Path, *, dtype: str | torch.dtype | None = None, max_positions: int | None = None
) -> Decoder:
    """Load the decoder's input embeddings and tokenizer, on the CPU; its digest is that of all its weights.

    Raises:
        CheckpointError: no such checkpoint, unknown architecture, missing or damaged weights, or more positions than
            the model can read.
    """
    folder = checkpoint_folder(path_or_hub_id)
    kept_in = resolve_dtype(dtype, torch.device("cpu"))
    digest, made_from = checked_digest(folder)
    model_class: Any = AutoModelForCausalLM
    with loading_from(folder, "the embeddings of a causal language model"):
        config, cut = (AutoConfig.from_pretrained(folder, trust_remote_code=False) for _ in range(2))
        _cut_layers(cut.get_text_config())
        outside, loading = model_class.from_pretrained(
            folder, config=cut, dtype=kept_in, output_loading_info=True, weights_only=True, trust_remote_code=False
        )
        with torch.device("meta"):
            model: PreTrainedModel = model_class.from_config(config, dtype=kept_in)
    if missing := sorted(loading["missing_keys"]):
        raise CheckpointError(f"{folder} lacks weights of its model, first {missing[0]}: fetch it again")
    model.set_input_embeddings(outside.get_input_embeddings())
    model.generation_config = outside.generation_config
    decoder = Decoder(model.train(False), load_tokenizer(folder), str(path_or_hub_id), digest, made_from)
    return with_max_positions(decoder, max_positions)


def limited(decoder: Decoder, max_len: int) -> Decoder:
    """Return a shell that reads no more positions than the model that runs elsewhere was given room for."""
    return replace(decoder, max_positions=min(decoder.max_len, max_len))


def _cut_layers(config: Any) -> None:
    config.num_hidden_layers = 0
    if getattr(config, "layer_types", None):
        config.layer_types = []
