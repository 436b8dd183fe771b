"""The memory arithmetic of recipes/many_gpus against what a small model really has and keeps."""

import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions
from lloco.models.decoder import Decoder

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes" / "many_gpus"))
from memory import SHAPES, Shape, main

SMALL = Shape(
    vocab_size=272,
    hidden_size=128,
    intermediate_size=344,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def small_decoder(shape: Shape) -> Decoder:
    """bfloat16, with a float32 adapter of rank 8 in training mode, as finetuning has it."""
    model = AutoModelForCausalLM.from_config(LlamaConfig(**asdict(shape)), dtype=torch.bfloat16)
    decoder = Decoder(model, None, "small", "")
    adapted = attach_adapter(decoder, LoraOptions(r=8)).train()
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return decoder


def kept_bytes(shape: Shape, num_tokens: int, *, is_checkpointed: bool = False) -> int:
    """Count what the layers keep for the backward pass, weights aside."""
    model = small_decoder(shape).model
    if is_checkpointed:
        model.activation_checkpointing_enable({"use_reentrant": False})
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor
        return tensor

    embeds = torch.randn(1, num_tokens, shape.hidden_size, dtype=torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.get_decoder()(inputs_embeds=embeds, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_parameters_are_those_of_the_published_models() -> None:
    assert SHAPES["llama-2-7b"].num_parameters == 6_738_415_616
    assert SHAPES["llama-2-7b"].adapter_parameters(8) == 8_388_608
    assert SHAPES["llama-2-70b"].num_parameters == 68_976_648_192


def test_parameters_are_those_that_transformers_and_peft_make() -> None:
    parameters = list(small_decoder(SMALL).model.parameters())
    counts = [sum(p.numel() for p in parameters if p.requires_grad is is_learned) for is_learned in (False, True)]
    assert counts == [SMALL.num_parameters, SMALL.adapter_parameters(8)]


def test_a_layer_keeps_what_the_formula_says() -> None:
    deeper = Shape(**{**asdict(SMALL), "num_hidden_layers": 3})
    per_token = (kept_bytes(deeper, 256) - kept_bytes(SMALL, 256)) / 256
    assert per_token == pytest.approx(SMALL.saved_bytes_per_token(8, mask_bytes=4), rel=0.01)
    checkpointed = kept_bytes(deeper, 256, is_checkpointed=True) - kept_bytes(SMALL, 256, is_checkpointed=True)
    assert checkpointed / 256 == 2 * SMALL.hidden_size


def test_the_table_has_a_line_for_each_model_and_number_of_gpus(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["memory.py", "--model", "llama-2-7b,llama-2-70b", "--gpus", "1,2,8"])
    main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == ["| llama-2-7b"] * 3 + ["| llama-2-70b"] * 3
    assert lines[0].startswith("| llama-2-7b | 6.74 B | 8.4 M | 1 | 12.6 | 0.1 |")
