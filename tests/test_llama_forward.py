"""Llama-shaped decoders: logits are those of transformers and PEFT, whatever adapters and lengths share a batch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from peft import LoraConfig, PeftModelForCausalLM
from torch import Tensor, nn
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from lloco.adapters.base_model import BASE_ADAPTER
from lloco.engine.decode_batch import DecodeBatch
from lloco.engine.prefix_cache import Prefix
from lloco.fast_llama.forward import forward_for
from lloco.fast_llama.supported import can_read
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt
from tests.test_engine_contract import soft_prompt
from tests.tiny import VOCAB_SIZE, tiny_decoder, tiny_llama, tiny_model

# PEFT asks transformers 5 under an old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SHAPES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": tiny_llama,
    "llama, one key a query": lambda: tiny_llama(num_key_value_heads=4),
    "llama with biases": lambda: with_random_biases(tiny_llama(attention_bias=True, mlp_bias=True)),
    "llama, separate output": lambda: tiny_llama(tie_word_embeddings=False),
    "llama, gelu": lambda: tiny_llama(hidden_act="gelu"),
    "llama, stretched": lambda: tiny_llama(
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        }
    ),
    "llama, yarn": lambda: tiny_llama(
        rope_parameters={
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64,
        }
    ),
    "llama, linear positions": lambda: tiny_llama(
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    ),
    "mistral": lambda: tiny_model("mistral", sliding_window=None),
    "qwen2": lambda: with_random_biases(tiny_model("qwen2")),
    "qwen3": lambda: tiny_qwen3(),
}  # fmt: skip


def tiny_qwen3() -> PreTrainedModel:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCAB_SIZE, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=512, initializer_range=0.3,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).eval()
    for layer in model.model.layers:
        for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):
            norm.weight.data = torch.rand(16) + 0.5
    return cast(PreTrainedModel, model)


def with_random_biases(model: PreTrainedModel) -> PreTrainedModel:
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data = torch.randn(parameter.shape, generator=generator)
    return model


def with_adapters(decoder: Decoder, **configs: dict[str, Any]) -> Decoder:
    """Put adapters with random matrices into the decoder's model."""
    model = None
    for name, options in configs.items():
        config = LoraConfig(task_type="CAUSAL_LM", **options)
        if model is None:
            model = PeftModelForCausalLM(decoder.model, config, adapter_name=name)
        else:
            model.add_adapter(name, config)
    assert model is not None
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator).to(parameter.dtype) * 0.3
    return replace(decoder, model=cast(PreTrainedModel, model.eval()))


def prompts_of(decoder: Decoder, *lengths: int) -> list[Prompt]:
    """Prompts of virtual tokens and tokens, of so many positions."""
    return [
        Prompt((soft_prompt(length // 2, decoder.hidden_size, seed=length), torch.arange(5, 5 + length - length // 2)))
        for length in lengths
    ]


def follow(decoder: Decoder, lengths: Sequence[int], peft_names: Sequence[str]) -> Tensor:
    """Read prompts, let a row join and others leave, and return the logits of every step, one under the other."""
    batch, logits = DecodeBatch.read(decoder, prompts_of(decoder, *lengths), peft_names)
    made = [logits]
    for step in range(3):
        made.append(batch.step(decoder, [9 + step] * len(lengths)))
    other, logits = DecodeBatch.read(decoder, prompts_of(decoder, 7), [peft_names[-1]])
    made.append(logits)
    batch.join(other)
    made.append(batch.step(decoder, [20] * (len(lengths) + 1)))
    batch.keep([len(lengths), 0])
    for step in range(70):  # past the room of the cache
        made.append(batch.step(decoder, [30 + step, 31 + step]))
    return torch.cat(made)


def read_again(decoder: Decoder, peft_names: Sequence[str]) -> Tensor:
    """Read two prompts of whose beginnings keys and values are known, to different lengths."""
    prompts = prompts_of(decoder, 40, 30)
    prefixes: list[Prefix] = []
    for prompt, name, length in zip(prompts, peft_names, (33, 12), strict=True):
        batch, _ = DecodeBatch.read(decoder, [prompt], [name])
        prefixes.append(batch.prefix(0, length))
    _, logits = DecodeBatch.read(decoder, prompts, peft_names, prefixes)
    _, alone = DecodeBatch.read(decoder, prompts[:1], peft_names[:1], prefixes[:1])
    assert torch.allclose(alone, logits[:1], atol=2e-3)
    return logits


def test_rows_that_have_joined_are_not_held_twice() -> None:
    decoder = tiny_decoder()
    batch, other = (DecodeBatch.read(decoder, prompts_of(decoder, 12), [BASE_ADAPTER])[0] for _ in range(2))
    prefix = other.prefix(0, 12)
    batch.join(other)
    assert torch.equal(batch.prefix(1, 12).keys[1], prefix.keys[1])
    with pytest.raises(IndexError):
        other.prefix(0, 12)


def by_transformers(decoder: Decoder, run: Callable[[Decoder], Tensor]) -> Tensor:
    """Run on the model's own forward, which a hook forces."""
    handle = decoder.model.register_forward_hook(lambda module, inputs, output: None)
    try:
        assert not can_read(decoder.model)
        return run(decoder)
    finally:
        handle.remove()


def assert_same(decoder: Decoder, run: Callable[[Decoder], Tensor], tolerance: float = 2e-4) -> None:
    assert can_read(decoder.model)
    expected, made = by_transformers(decoder, run), run(decoder)
    assert bool(torch.isfinite(made).all())
    assert made.dtype == expected.dtype
    assert (made - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_without_adapters(shape: str) -> None:
    decoder = tiny_decoder(SHAPES[shape]())
    assert_same(decoder, lambda value: follow(value, [12], [BASE_ADAPTER]))
    assert_same(decoder, lambda value: follow(value, [12, 40, 5], [BASE_ADAPTER] * 3))
    assert_same(decoder, lambda value: read_again(value, [BASE_ADAPTER] * 2))


@pytest.mark.parametrize("shape", ["llama", "llama with biases", "qwen3"])
def test_logits_with_an_adapter_for_each_row(shape: str) -> None:
    decoder = with_adapters(
        tiny_decoder(SHAPES[shape]()),
        tales={"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
        laws={"r": 2, "lora_alpha": 16, "target_modules": ["q_proj", "gate_proj", "down_proj"]},
        letters={"r": 3, "use_rslora": True, "target_modules": ["up_proj", "v_proj"], "rank_pattern": {"v_proj": 5}},
    )
    for names in (["tales"], ["laws"] * 2, [BASE_ADAPTER, "letters", "tales", "laws", "letters"], [BASE_ADAPTER] * 2):
        lengths = [12, 40, 5, 9, 23][: len(names)]
        assert_same(decoder, lambda value, names=names, lengths=lengths: follow(value, lengths, names))  # type: ignore[misc]
    assert_same(decoder, lambda value: read_again(value, ["laws", "letters"]))


def test_each_adapter_changes_the_logits_of_its_rows_alone() -> None:
    targets = ["q_proj", "o_proj", "down_proj"]
    plain = tiny_decoder()
    decoder = with_adapters(tiny_decoder(), tales={"target_modules": targets}, laws={"target_modules": targets})
    rows = {name: DecodeBatch.read(decoder, prompts_of(decoder, 12), [name])[1][0] for name in ("tales", "laws")}
    rows[BASE_ADAPTER] = DecodeBatch.read(plain, prompts_of(plain, 12), [BASE_ADAPTER])[1][0]
    names = ["laws", BASE_ADAPTER, "tales"]
    _, logits = DecodeBatch.read(decoder, prompts_of(decoder, 12, 12, 12), names)
    for row, name in enumerate(names):
        distances = {other: float((logits[row] - alone).abs().max()) for other, alone in rows.items()}
        assert distances.pop(name) < 1e-3
        assert min(distances.values()) > 0.1


def test_adapters_that_another_engine_put_into_the_model_are_not_used() -> None:
    decoder, untouched = tiny_decoder(), tiny_decoder()
    with_adapters(decoder, tales={"target_modules": ["q_proj"]})  # in place: the decoder's own model now carries it
    assert can_read(decoder.model)
    made, expected = (follow(item, [12, 5], [BASE_ADAPTER] * 2) for item in (decoder, untouched))
    assert torch.equal(made, expected)


def test_bfloat16_with_adapters_in_float32_is_as_near_as_the_models_own_forward() -> None:
    def build(dtype: torch.dtype) -> Decoder:
        decoder = replace(tiny_decoder(tiny_llama(initializer_range=0.1)), digest="")
        decoder.model.to(dtype)
        return with_adapters(decoder, tales={"target_modules": ["q_proj", "v_proj"]})

    def run(one: Decoder) -> Tensor:
        return follow(one, [12, 30], ["tales", BASE_ADAPTER])

    exact = run(build(torch.float32))
    decoder = build(torch.bfloat16)
    assert can_read(decoder.model)
    made, by_model = run(decoder), by_transformers(decoder, run)
    assert made.dtype == torch.bfloat16
    assert (made.float() - exact).abs().mean() <= 1.5 * (by_model.float() - exact).abs().mean()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_causal", [True, False])
def test_states_of_rows_that_are_read_at_once(shape: str, is_causal: bool) -> None:
    body: Any = tiny_decoder(SHAPES[shape]()).model.get_decoder()  # type: ignore[no-untyped-call]
    embeds = torch.randn(3, 20, 48, generator=torch.Generator().manual_seed(1))
    given = embeds.clone()
    is_token = torch.arange(20) < torch.tensor([20, 13, 1])[:, None]
    sees = is_token[:, None, None] & (torch.ones(20, 20, dtype=torch.bool).tril() if is_causal else torch.tensor(True))
    with torch.no_grad():
        expected = body(inputs_embeds=embeds, attention_mask=sees.expand(-1, -1, 20, -1), use_cache=False)
        forward = forward_for(body)
        assert forward is not None
        made = forward.encode(embeds, is_token, is_causal=is_causal)
        alone = forward.encode(embeds[1:2, :13], None, is_causal=is_causal)
    states = expected.last_hidden_state
    assert torch.equal(embeds, given)
    assert torch.allclose(made[is_token], states[is_token], atol=2e-4)
    assert torch.allclose(alone[0], states[1, :13], atol=2e-4)


def test_adapters_that_nobody_names_and_models_of_other_kinds_are_left_to_the_models_own_forward() -> None:
    decoder = with_adapters(tiny_decoder(), tales={"target_modules": ["q_proj"]})
    assert forward_for(decoder.model) is None
    assert forward_for(decoder.model, [BASE_ADAPTER]) is not None
    assert forward_for(tiny_model("gemma2")) is None


def test_an_adapter_that_overflows_spoils_no_other_row() -> None:
    options = {"target_modules": ["q_proj", "down_proj"]}
    decoder = with_adapters(tiny_decoder(), tales=options, broken=options)
    for name, parameter in decoder.model.named_parameters():
        if "lora_A.broken" in name:
            parameter.data.fill_(3e38)
    _, alone = DecodeBatch.read(decoder, prompts_of(decoder, 12), ["tales"])
    _, logits = DecodeBatch.read(decoder, prompts_of(decoder, 12, 12), ["tales", "broken"])
    assert not bool(torch.isfinite(logits[1]).all())
    assert torch.allclose(logits[0], alone[0], atol=1e-3)


class OtherLinear(nn.Linear):
    """Stands for a quantized module, whose weight means something else."""


def test_models_that_are_not_plain_llamas_are_left_to_transformers() -> None:
    assert not can_read(tiny_model("gemma2"))
    assert not can_read(tiny_model("mistral", sliding_window=8))
    assert not can_read(tiny_llama(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}))
    quantized: Any = tiny_llama()
    quantized.model.layers[1].mlp.up_proj = OtherLinear(48, 96, bias=False)
    assert not can_read(quantized)
    patched: Any = tiny_llama()
    patched.model.norm.forward = lambda hidden: hidden
    assert not can_read(patched)
    other_norm: Any = tiny_llama()
    other_norm.model.norm = nn.LayerNorm(48)
    assert not can_read(other_norm)
    shortened = tiny_llama()
    shortened.config.num_hidden_layers -= 1
    assert not can_read(shortened)
    assert not can_read(tiny_llama(is_causal=False))
    mixed: Any = tiny_llama()
    mixed.model.norm.to(torch.bfloat16)
    assert not can_read(mixed)
    subclass = type("LlamaForCausalLM", (type(tiny_llama()),), {"__module__": __name__})
    assert not can_read(subclass(tiny_llama().config))
    with torch.autocast("cpu", torch.bfloat16):
        assert not can_read(tiny_llama())
    hooked: Any = tiny_llama()
    hooked.model.layers[0].register_forward_pre_hook(lambda module, inputs: None)
    assert not can_read(hooked)


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj"], "use_dora": True},
        {"target_modules": ["q_proj"], "lora_bias": True},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["norm"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    ],
)
def test_adapters_that_are_not_plain_lora_are_left_to_peft(options: dict[str, Any]) -> None:
    assert not can_read(with_adapters(tiny_decoder(tiny_llama(attention_bias=True)), other=options).model)
