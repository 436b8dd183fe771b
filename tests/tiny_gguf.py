"""Tiny GGUF files, written with the package that reads them: a random Llama and the byte tokenizer of the tests."""

import json
from pathlib import Path
from typing import Any

import numpy
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from gguf.quants import quantize
from transformers import PreTrainedModel

from tests.tiny import CHAT_TEMPLATE, SPECIAL_TOKENS, tiny_llama, tiny_tokenizer

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_model(seed: int = 0) -> PreTrainedModel:
    """A model whose matrices have rows of whole blocks."""
    return tiny_llama(hidden_size=64, head_dim=16, seed=seed, tie_word_embeddings=True)


def write_gguf(
    path: Path,
    model: PreTrainedModel | None = None,
    *,
    kind: GGMLQuantizationType = GGMLQuantizationType.F32,
    architecture: str = "llama",
    has_tokenizer: bool = True,
) -> Path:
    """Write the model's weights as llama.cpp has them; matrices are of the `kind` given."""
    model = gguf_model() if model is None else model
    config = model.config
    writer = GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_file_type(LlamaFileType[f"MOSTLY_{kind.name}" if kind.name != "F32" else "ALL_F32"])
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if has_tokenizer:
        _add_tokenizer(writer)
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            values = _as_llama_cpp(name, tensor.numpy(), config)
            is_matrix = values.ndim == 2
            written = quantize(values, kind) if is_matrix else values
            writer.add_tensor(_name(name), written, raw_dtype=kind if is_matrix else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter) -> None:
    state = json.loads(tiny_tokenizer().backend_tokenizer.to_str())["model"]
    words = sorted(state["vocab"], key=state["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words)
    writer.add_token_types([TokenType.CONTROL if word in SPECIAL_TOKENS else TokenType.NORMAL for word in words])
    writer.add_token_merges([" ".join(pair) for pair in state["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _name(name: str) -> str:
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
    return f"blk.{layer}.{NAMES[part]}.weight"


def _as_llama_cpp(name: str, values: Any, config: Any) -> Any:
    """Return the values with rows of queries and keys in the order of llama.cpp's rotary embedding."""
    num_heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    kind = name.split(".")[-2]
    if kind not in num_heads:
        return values
    heads = int(getattr(config, num_heads[kind]))
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, values.shape[1])
    return numpy.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
