"""What the transformers engine alone does; what every engine must do is in test_engine_contract.py."""

import torch
from transformers import AutoModelForCausalLM, Lfm2Config

from lloco.engine.engine import SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.models.decoder import Decoder
from lloco.prompt import Prompt
from tests.tiny import VOCAB_SIZE, tiny_decoder


def recurrent_decoder() -> Decoder:
    """Decoder that keeps a state per layer, and not only keys and values per token."""
    config = Lfm2Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        layer_types=["conv", "full_attention"],
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return tiny_decoder(AutoModelForCausalLM.from_config(config).eval())


def test_a_model_with_a_recurrent_state_is_answered_as_plain_generate_does() -> None:
    decoder = recurrent_decoder()
    prompts = [Prompt((torch.arange(4, 4 + length),)) for length in (5, 31, 1)]
    generations = TransformersEngine(decoder).generate(prompts, SamplingParams(max_tokens=12))
    for prompt, generation in zip(prompts, generations, strict=True):
        ids = prompt.pieces[0][None]
        plain = decoder.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=2
        )
        assert list(generation.token_ids) == plain[0, ids.shape[1] :].tolist()
