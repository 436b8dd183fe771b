"""Tiny models, adapters and prompts of the shapes that vLLM's kernels for CPUs take."""

from pathlib import Path

import torch

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt, build_prompt
from lloco.prompts.template import DEFAULT_TEMPLATE
from tests.tiny import tiny_decoder, tiny_llama

DOCUMENT_LENGTHS = (5, 70, 33, 129)
WIDTH = 128


def decoder() -> Decoder:
    """Llama whose heads are as wide as vLLM's kernels want them."""
    return tiny_decoder(tiny_llama(hidden_size=WIDTH, head_dim=32))


def soft_prompt(length: int) -> torch.Tensor:
    return torch.randn(length, WIDTH, generator=torch.Generator().manual_seed(length))


def prompts() -> list[Prompt]:
    tokenizer = decoder().require_tokenizer()
    return [
        build_prompt(DEFAULT_TEMPLATE, tokenizer, question, soft_prompts=[soft_prompt(length)])
        for length in DOCUMENT_LENGTHS
        for question in ("Who signs?", "When does the lease end, and why?")
    ]


def save_random_adapter(folder: Path, seed: int, *, r: int = 4) -> Path:
    base = decoder()
    modules = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    model = attach_adapter(base, LoraOptions(r=r, alpha=8, target_modules=modules))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    save_adapter(model, folder, decoder=base, template=DEFAULT_TEMPLATE)
    return folder
