"""Tiny random models and a byte tokenizer that the tests build on the spot, the same on every run."""

import hashlib
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from lloco.models.decoder import Decoder

BOS, EOS, PAD, END_OF_TURN = "<s>", "</s>", "<pad>", "<end_of_turn>"
SPECIAL_TOKENS = (BOS, EOS, PAD, END_OF_TURN)
VOCAB_SIZE = 272
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<model>\n{% endif %}"
)
ARCHITECTURES: dict[str, type[PreTrainedConfig]] = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,
    "mistral": MistralConfig,
    "gemma2": Gemma2Config,
}


def tiny_tokenizer(*, has_pad: bool = True, chat_template: str | None = None) -> PreTrainedTokenizerBase:
    """Byte-level tokenizer: any text round-trips; ids 0 to 3 are BOS, EOS, PAD and end of turn."""
    alphabet = sorted(ByteLevel.alphabet())
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "n"), ("Ġ", "a"), ("o", "n")]
    words = [*SPECIAL_TOKENS, *alphabet, *(left + right for left, right in merges)]
    tokenizer = Tokenizer(BPE(vocab={word: index for index, word in enumerate(words)}, merges=merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD if has_pad else None,
        chat_template=chat_template,
    )


def tiny_model(architecture: str = "llama", *, seed: int = 0, **overrides: Any) -> PreTrainedModel:
    """Random float32 model of a supported architecture, with grouped-query attention, ready for inference."""
    options: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 12,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
        **overrides,
    }
    if architecture == "qwen2":
        del options["head_dim"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(ARCHITECTURES[architecture](**options))
    return model.eval()


def tiny_llama(**overrides: Any) -> PreTrainedModel:
    """Random Llama; overrides go to its config, `seed` to its weights."""
    return tiny_model("llama", **overrides)


def tiny_decoder(
    model: PreTrainedModel | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    has_tokenizer: bool = True,
    name: str = "tiny",
) -> Decoder:
    """Decoder over the model (a tiny Llama by default) with the tiny tokenizer."""
    model = model if model is not None else tiny_llama()
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode() + tensor.numpy().tobytes())
    tokenizer = tokenizer or (tiny_tokenizer() if has_tokenizer else None)
    return Decoder(model=model, tokenizer=tokenizer, name=name, digest=digest.hexdigest())
