"""These tests run where vLLM is installed (`make test-vllm`) and are not collected elsewhere."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.prompts.template import DEFAULT_TEMPLATE
from lloco.store.store import Store
from tests.corpora import lease_and_voyage, save_compressor
from tests.serving import WILL, fill_store
from tests.with_vllm.vllm_serve import EMBEDS, LORA, VllmServe, vllm_serving

collect_ignore_glob = [] if find_spec("vllm") else ["*"]

GATEWAY_KEY = "the-gateways-secret"


@dataclass(frozen=True, slots=True)
class Served:
    """A stock vLLM with both plugins, and the store that it reads."""

    vllm: VllmServe
    store: Path
    model: Path
    """The decoder as vLLM takes it."""
    compressor: Path


def write_decoder(compressor: Path, folder: Path) -> Path:
    decoder = load_compressor(compressor).decoder
    decoder.model.save_pretrained(folder)
    decoder.require_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Corpora `ships`, with an adapter, and `Wills`; keys for each, and for all."""
    named = {point.name for group in ("general", "endpoint") for point in entry_points(group=f"vllm.{group}_plugins")}
    assert {"lloco_adapters", "lloco_documents"} <= named, "install lloco again: its plugins are not registered"
    folder = tmp_path_factory.mktemp("served")
    # The weights of `test_vllm_engine.decoder`, whose heads are as wide as vLLM's kernels want them.
    compressor = save_compressor(folder / "compressor", seed=0, hidden_size=128, head_dim=32)
    will = Document("will", WILL, "Will", "will.txt")
    store = fill_store(folder / "store", compressor, ships=lease_and_voyage(), Wills=[will])
    with Store(store) as opened:
        opened.corpus("ships").set_adapter(save_adapter_for(compressor, folder / "adapter"))
    model = write_decoder(compressor, folder / "model")
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"key-of-ships": ["ships"], "key-of-wills": ["wills"], "key-of-all": "*"}))
    environment = {
        "VLLM_PLUGINS": "lloco_adapters,lloco_documents",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "LLOCO_HOME": str(store),
        "LLOCO_API_KEY_FILE": str(keys),
        "LLOCO_GATEWAY_KEY": GATEWAY_KEY,
    }
    with vllm_serving(model, folder / "vllm.log", EMBEDS + LORA, **environment) as vllm:
        yield Served(vllm, store, model, compressor)


def save_adapter_for(compressor: Path, folder: Path) -> Path:
    decoder = load_compressor(compressor).decoder
    modules = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    model = attach_adapter(decoder, LoraOptions(r=4, alpha=8, target_modules=modules))
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    save_adapter(model, folder, decoder=decoder, template=DEFAULT_TEMPLATE)
    return folder
