"""Decoders: what loads, what is refused, and that loading is silent and leaves nothing switched."""

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import huggingface_hub.utils
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BloomConfig
from transformers.utils import logging as transformers_logging

from lloco.compressors.load import load_compressor, load_named_decoder
from lloco.errors import CheckpointError
from lloco.models.checkpoint import weights_digest
from lloco.models.decoder import is_bfloat16_faster, load_decoder, load_tokenizer, resolve_device, resolve_dtype
from tests.test_checkpoint import Malicious, write_bin
from tests.tiny import ARCHITECTURES, tiny_decoder, tiny_model, tiny_tokenizer

GOLDEN = Path(__file__).parent / "golden" / "autocompressor" / "segments_exact"
IDS = torch.arange(4, 24)[None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "model"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_loaded_decoder_computes_what_was_saved(tmp_path: Path, architecture: str) -> None:
    model = tiny_model(architecture)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert load_decoder(tmp_path).device == resolve_device(None)
    decoder = load_decoder(tmp_path, device="cpu")
    with torch.no_grad():
        assert torch.equal(decoder.model(input_ids=IDS).logits, model(input_ids=IDS).logits)
        assert torch.equal(decoder.model(inputs_embeds=decoder.embed(IDS)).logits, model(input_ids=IDS).logits)
    assert (decoder.hidden_size, decoder.max_len, decoder.dtype) == (48, 512, torch.float32)
    assert decoder.eos_token_ids == (1,)
    assert decoder.digest == weights_digest(tmp_path)
    assert decoder.name == str(tmp_path)
    assert decoder.require_tokenizer().decode(decoder.require_tokenizer()("some text")["input_ids"]) == "some text"
    assert not decoder.model.training


def test_embeddings_of_gemma_are_scaled_as_the_model_scales_them() -> None:
    decoder = tiny_decoder(tiny_model("gemma2"))
    table = decoder.model.state_dict()["model.embed_tokens.weight"]
    torch.testing.assert_close(decoder.embed(IDS), table[IDS] * 48**0.5)


def test_dtypes_by_name_and_policy(folder: Path) -> None:
    assert load_decoder(folder, dtype="bfloat16").dtype == torch.bfloat16
    assert load_decoder(folder, dtype="float16", device="cpu").dtype == torch.float16
    assert resolve_dtype("auto", torch.device("cuda")) == resolve_dtype(None, torch.device("cuda")) == torch.bfloat16
    assert resolve_dtype(None, torch.device("cpu")) == torch.float32
    with pytest.raises(CheckpointError, match="'double' is unknown: use one of float32"):
        load_decoder(folder, dtype="double")


@pytest.mark.parametrize(("slow", "is_faster"), [(torch.float32, True), (torch.bfloat16, False)])
def test_training_computes_in_what_the_processor_multiplies_faster(
    monkeypatch: pytest.MonkeyPatch, slow: torch.dtype, is_faster: bool
) -> None:
    multiply, num_threads, now = torch.Tensor.__matmul__, torch.get_num_threads(), 0.0

    def timed(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        nonlocal now
        now += 2.0 if left.dtype == slow else 1.0
        return multiply(left, right)

    monkeypatch.setattr(torch.Tensor, "__matmul__", timed)
    monkeypatch.setattr("lloco.models.decoder.time.thread_time", lambda: now)
    assert is_bfloat16_faster(torch.device("cpu")) is is_faster
    assert is_bfloat16_faster(torch.device("cuda"))
    assert torch.get_num_threads() == num_threads


def test_dtypes_of_torch_are_taken_as_their_names_are() -> None:
    assert load_decoder(GOLDEN, dtype=torch.bfloat16).dtype == torch.bfloat16
    assert load_compressor(GOLDEN, device="cpu", dtype=torch.half).decoder.dtype == torch.float16
    assert load_named_decoder(GOLDEN, dtype=torch.float32).dtype == torch.float32
    with pytest.raises(CheckpointError, match="'float64' is unknown: use one of float32"):
        load_compressor(GOLDEN, dtype=torch.float64)


def test_a_bfloat16_checkpoint_is_read_in_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    tiny_model().to(torch.bfloat16).save_pretrained(tmp_path)
    assert load_decoder(tmp_path, device="cpu").dtype == torch.float32
    assert load_decoder(tmp_path, dtype="bfloat16").digest == load_decoder(tmp_path).digest


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta2"])
def test_devices_that_are_not_here_are_refused(device: str) -> None:
    with pytest.raises(CheckpointError, match=rf"device '{device}' cannot be used \(.*try --device cpu"):
        resolve_device(device)


def test_several_or_no_eos_tokens() -> None:
    model = tiny_model()
    decoder = tiny_decoder(model)
    model.generation_config.eos_token_id = [1, 3]
    assert decoder.eos_token_ids == (1, 3)
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    assert decoder.eos_token_ids == ()


def test_a_folder_without_a_tokenizer_loads_and_only_text_is_refused() -> None:
    decoder = load_decoder(GOLDEN)
    assert decoder.tokenizer is None
    with pytest.raises(CheckpointError, match=r"text needs a tokenizer and .*segments_exact has none: add tokenizer"):
        decoder.require_tokenizer()


def test_a_model_without_declared_positions_is_refused_where_they_are_needed() -> None:
    config = BloomConfig(vocab_size=300, hidden_size=16, n_layer=1, n_head=2)
    decoder = tiny_decoder(AutoModelForCausalLM.from_config(config))
    with pytest.raises(CheckpointError, match="max_position_embeddings"):
        _ = decoder.max_len


@pytest.mark.parametrize("layout", ["safetensors", "bin", "shards"])
def test_loading_is_silent_and_switches_nothing(
    tmp_path: Path, layout: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    folder = tmp_path / "model"
    if layout == "safetensors":
        shutil.copytree(GOLDEN, folder)
    else:
        shutil.copy(GOLDEN / "config.json", write_bin(folder, 1 if layout == "bin" else 3))
    tiny_tokenizer().save_pretrained(folder)
    before = (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled())
    hub_before = huggingface_hub.utils.are_progress_bars_disabled()
    capfd.readouterr()
    assert load_decoder(folder).digest == weights_digest(GOLDEN)
    assert capfd.readouterr() == ("", "")
    assert before == (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled())
    assert before[1], "bars are on outside, or this test shows nothing"
    assert hub_before == huggingface_hub.utils.are_progress_bars_disabled()
    assert not recwarn.list
    AutoModelForCausalLM.from_pretrained(folder)
    assert "Loading weights" in capfd.readouterr().err, "transformers still shows its own bars to others"


def test_bars_that_the_user_switched_off_stay_off(folder: Path) -> None:
    huggingface_hub.utils.disable_progress_bars()
    try:
        load_decoder(folder)
        assert huggingface_hub.utils.are_progress_bars_disabled()
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        huggingface_hub.utils.enable_progress_bars()


def test_the_environment_decides_over_bars_without_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["huggingface_hub.utils.tqdm"]  # the package has a class of this name
    for forced in (True, False):
        monkeypatch.setattr(module, "HF_HUB_DISABLE_PROGRESS_BARS", forced)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load_decoder(folder)


def test_an_error_while_loading_switches_nothing(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    before = transformers_logging.get_verbosity()
    with pytest.raises(CheckpointError, match="cannot be loaded as a causal language model"):
        load_decoder(folder)
    assert transformers_logging.get_verbosity() == before
    assert transformers_logging.is_progress_bar_enabled()


def without(key: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors[key]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def with_config(**values: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return damage


def truncate(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("lm_head.weight"), "lacks 1 weights of its model, first lm_head.weight"),
        (without("model.layers.1.mlp.up_proj.weight"), "lacks 1 weights"),
        (with_config(num_hidden_layers=3), "lacks 9 weights"),
        (with_config(hidden_size=32), "cannot be loaded as a causal language model"),
        (with_config(model_type="no-such-type"), "cannot be loaded as a causal language model"),
        (truncate, r"model\.safetensors cannot be read as weights"),
        (lambda folder: (folder / "config.json").unlink(), r"needs config\.json"),
        (
            lambda folder: (folder / "config.json").write_text("{not json"),
            "cannot be loaded as a causal language model",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "the tokenizer in .* cannot be read"),
    ],
)
def test_damage_is_refused_with_a_reason(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        load_decoder(folder)


def test_a_malicious_pickle_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(GOLDEN / "config.json", folder)
    tensors = load_file(GOLDEN / "model.safetensors")
    torch.save({**tensors, "lm_head.weight": Malicious(trace)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be read as weights"):
        load_decoder(folder)
    assert not trace.exists()


def test_code_of_a_checkpoint_does_not_run(folder: Path) -> None:
    trace = folder / "trace"
    (folder / "modeling_evil.py").write_text(f"from pathlib import Path\nPath({str(trace)!r}).write_text('ran')\n")
    auto_map = {"AutoConfig": "modeling_evil.Config", "AutoModelForCausalLM": "modeling_evil.Model"}
    with_config(model_type="evil", auto_map=auto_map)(folder)
    with pytest.raises(CheckpointError, match="cannot be loaded as a causal language model"):
        load_decoder(folder)
    assert not trace.exists()


def test_a_long_text_is_tokenised_without_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 8
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded is not None and loaded.model_max_length == 8
    assert len(loaded("a" * 100, add_special_tokens=False, verbose=False)["input_ids"]) == 100
    assert capfd.readouterr().err == ""


def test_decoders_are_values() -> None:
    decoder = tiny_decoder(name="one")
    assert replace(decoder, name="two").model is decoder.model
    with pytest.raises(AttributeError):
        decoder.name = "three"  # type: ignore[misc]
