"""A new small language model in Llama's layout: its shape and its untrained weights."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Shape of a new model; the layout is Llama's."""

    vocab_size: int = 4096
    """Tokens of the BPE tokenizer."""
    hidden_size: int = 192
    """Width of embeddings and virtual tokens."""
    intermediate_size: int = 512
    """Width of the feed-forward layers."""
    num_hidden_layers: int = 4
    """Layers."""
    num_attention_heads: int = 6
    """Query heads."""
    num_key_value_heads: int = 2
    """Key and value heads (grouped-query attention)."""
    max_position_embeddings: int = 4096
    """Positions that the model is declared for."""
    summary_length: int = 8
    """Virtual tokens that a segment becomes."""


def new_model(shape: ModelShape, eos_token_id: int, seed: int) -> LlamaForCausalLM:
    """Return an untrained language model."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        max_position_embeddings=shape.max_position_embeddings,
        bos_token_id=1,
        eos_token_id=eos_token_id,
        pad_token_id=0,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=shape.hidden_size**-0.5)
    for layer in model.model.layers:
        for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
            projection.weight.data.mul_((2 * shape.num_hidden_layers) ** -0.5)
    nn.init.normal_(model.model.embed_tokens.weight, std=0.05)
    return model
