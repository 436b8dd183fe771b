"""A stock vLLM that was started without what documents need says so, or we say it for it."""

from pathlib import Path

import pytest

from tests.command import Run
from tests.corpora import lease_and_voyage, save_compressor
from tests.serving import fill_store
from tests.with_vllm.conftest import write_decoder
from tests.with_vllm.vllm_serve import VllmServe, vllm_serving

# vLLM and its libraries warn of themselves, and its server takes minutes to start on a busy machine.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(1800)]


def test_a_vllm_that_takes_no_embeddings_is_named_when_serve_starts_and_ends_when_our_plugin_is_on(
    tmp_path: Path, run: Run
) -> None:
    compressor = save_compressor(tmp_path / "compressor", seed=0, hidden_size=128, head_dim=32)
    store = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())
    model = write_decoder(compressor, tmp_path / "model")
    with vllm_serving(model, tmp_path / "stock.log", (), VLLM_PLUGINS="") as stock:
        said = run.fails("serve", "--port", "0", "--store", store, "--engine", "vllm", "--vllm-url", stock.url)
        assert "takes no prompt_embeds: start it with --enable-prompt-embeds" in said
    with_plugin = VllmServe(model, tmp_path / "plugin.log", (), VLLM_PLUGINS="lloco_documents", LLOCO_HOME=str(store))
    assert "start it with --enable-prompt-embeds" in with_plugin.ends_at_start()
