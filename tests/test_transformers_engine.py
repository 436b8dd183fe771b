"""What the transformers engine alone does; what every engine must do is in test_engine_contract.py."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Lfm2Config, Phi3Config, PreTrainedConfig

from lloco.engine.engine import SamplingParams
from lloco.engine.streaming import StreamingEngine, embedded_engine
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt
from tests.tiny import VOCAB_SIZE, tiny_decoder


def recurrent_decoder() -> Decoder:
    """Decoder that keeps a state per layer, and not only keys and values per token."""
    return foreign_decoder(Lfm2Config, layer_types=["conv", "full_attention"])


def longrope_decoder() -> Decoder:
    """Decoder that encodes all positions otherwise where one of them is beyond the sixteenth."""
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 6, "long_factor": [4.0] * 6}
    return foreign_decoder(Phi3Config, rope_parameters=rope, original_max_position_embeddings=16)


def foreign_decoder(config_class: type[PreTrainedConfig], **options: Any) -> Decoder:
    config = config_class(
        vocab_size=VOCAB_SIZE,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
        **options,
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


def test_positions_that_depend_on_the_longest_row_are_read_a_row_at_a_time() -> None:
    decoder, sampling = longrope_decoder(), SamplingParams(max_tokens=12)
    with pytest.raises(LlocoError, match=r"tiny encodes them for the longest \(longrope\): use TransformersEngine"):
        StreamingEngine(decoder)
    engine = embedded_engine(decoder, batch_size=4)
    assert isinstance(engine, TransformersEngine)
    generator = torch.Generator().manual_seed(7)
    prompts = [Prompt((torch.randint(4, 266, (length,), generator=generator),)) for length in (3, 31, 17, 1)]
    together = engine.generate(prompts, sampling)
    assert together == [engine.generate([prompt], sampling)[0] for prompt in prompts]
