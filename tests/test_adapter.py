"""LoRA adapters: PEFT's files both ways, refusals before anything is changed, off means off."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor

from lloco.adapters import attach as adapter
from lloco.adapters.attach import attach_adapter, load_adapter
from lloco.adapters.base_model import adapter_disabled
from lloco.adapters.check import check_adapter, other_model_named
from lloco.adapters.digest import adapter_digest
from lloco.adapters.folder import LoraOptions, read_adapter, save_adapter
from lloco.errors import CheckpointError, LlocoError, MismatchError
from lloco.models.decoder import Decoder
from lloco.prompts.template import DEFAULT_TEMPLATE, Template
from tests.command import raiser
from tests.tiny import ARCHITECTURES, tiny_decoder, tiny_llama, tiny_model

IDS = torch.arange(4, 20)[None]
PEFT_WARNING = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"


def logits(model: torch.nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(input_ids=IDS).logits
    return result


def trained_adapter(decoder: Decoder, options: LoraOptions | None = None) -> PeftModel:
    """Attach an adapter whose second matrices are not zero any more."""
    torch.manual_seed(0)
    model = attach_adapter(decoder, options or LoraOptions(r=4, alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """Folder of an adapter for the default tiny Llama, and the logits that it gives."""
    decoder = tiny_decoder()
    model = trained_adapter(decoder)
    folder = tmp_path_factory.mktemp("adapters") / "a"
    save_adapter(model, folder, decoder=decoder, template=DEFAULT_TEMPLATE)
    return folder, logits(model)


@pytest.fixture
def folder(saved: tuple[Path, Tensor], tmp_path: Path) -> Path:
    """Return a copy that the test may damage."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in saved[0].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_weights(folder: Path, **changes: Tensor) -> None:
    file = folder / "adapter_model.safetensors"
    safetensors.torch.save_file({**safetensors.torch.load_file(file), **changes}, file)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fresh_adapter_is_trainable_alone_and_changes_nothing(architecture: str) -> None:
    decoder = tiny_decoder(tiny_model(architecture))
    before = logits(decoder.model)
    model = attach_adapter(decoder, LoraOptions())
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trainable) == 2 * 4 * 2
    assert all("lora_" in name for name in trainable)
    assert torch.equal(logits(model.eval()), before)
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout, config.bias) == (8, 16, 0.05, "none")


def test_saved_and_loaded_weights_are_bit_equal(saved: tuple[Path, Tensor]) -> None:
    folder, wanted = saved
    decoder = load_adapter(tiny_decoder(), folder, "a")
    assert torch.equal(logits(decoder.model), wanted)
    assert not any(parameter.requires_grad for parameter in decoder.model.parameters())
    assert Template.load(folder) == DEFAULT_TEMPLATE
    origin = json.loads((folder / "lloco.json").read_text())
    assert (origin["base_model"], origin["base_model_digest"], origin["hidden_size"]) == ("tiny", decoder.digest, 48)


@pytest.mark.filterwarnings(PEFT_WARNING)
def test_peft_reads_what_we_write(saved: tuple[Path, Tensor]) -> None:
    folder, wanted = saved
    model = PeftModel.from_pretrained(tiny_llama(), str(folder)).eval()
    assert torch.equal(logits(model), wanted)


@pytest.mark.parametrize("use_safetensors", [True, False])
def test_we_read_what_peft_writes(saved: tuple[Path, Tensor], tmp_path: Path, use_safetensors: bool) -> None:
    model = trained_adapter(tiny_decoder())
    model.save_pretrained(str(tmp_path / "peft"), save_embedding_layers=False)
    folder = tmp_path / "peft"
    if not use_safetensors:
        file = folder / "adapter_model.safetensors"
        torch.save(safetensors.torch.load_file(file), folder / "adapter_model.bin")
        file.unlink()
    assert torch.equal(logits(load_adapter(tiny_decoder(), folder, "a").model), saved[1])


def test_the_same_adapter_is_written_with_the_same_bytes(saved: tuple[Path, Tensor], tmp_path: Path) -> None:
    decoder = tiny_decoder()
    save_adapter(trained_adapter(decoder), tmp_path / "b", decoder=decoder, template=DEFAULT_TEMPLATE)
    for file in saved[0].iterdir():
        assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes()
    config = json.loads((saved[0] / "adapter_config.json").read_text())
    assert config["target_modules"] == ["k_proj", "o_proj", "q_proj", "v_proj"], "sets have no order of their own"


def test_the_digest_follows_weights_options_and_wording_only(folder: Path) -> None:
    digests = [adapter_digest(folder)]
    edit_json(folder / "lloco.json", lloco_version="another")
    assert adapter_digest(folder) == digests[0]
    replace(DEFAULT_TEMPLATE, answer="{answer}").save(folder / "template.json")
    digests.append(adapter_digest(folder))
    edit_json(folder / "adapter_config.json", lora_alpha=9)
    digests.append(adapter_digest(folder))
    edit_weights(folder, **{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 48)})
    digests.append(adapter_digest(folder))
    assert len(set(digests)) == 4


def test_disabled_means_the_base_model_bit_by_bit_and_everything_comes_back(saved: tuple[Path, Tensor]) -> None:
    wanted = logits(tiny_llama())
    decoder = tiny_decoder()
    base = decoder.model
    loaded = load_adapter(decoder, saved[0], "a").model
    for model in (loaded, base):
        with adapter_disabled(model):
            assert torch.equal(logits(model), wanted)
            assert torch.equal(logits(base), wanted)
        assert torch.equal(logits(loaded), saved[1])
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with pytest.raises(RuntimeError, match="inside"), adapter_disabled(loaded):
        raise RuntimeError("inside")
    assert torch.equal(logits(loaded), saved[1])


def test_disabled_keeps_what_was_trainable_and_nests() -> None:
    model = attach_adapter(tiny_decoder(), LoraOptions())
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    with adapter_disabled(model), adapter_disabled(model):
        pass
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == trainable
    plain = tiny_llama()
    with adapter_disabled(plain):
        assert logits(plain).isfinite().all()


def test_targets_that_the_model_does_not_have_are_refused_with_those_it_has() -> None:
    with pytest.raises(
        LlocoError, match=r"module named query: .* down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    ):
        attach_adapter(tiny_decoder(), LoraOptions(target_modules=("query", "q_proj")))
    with pytest.raises(LlocoError, match="no linear module"):
        attach_adapter(tiny_decoder(), LoraOptions(target_modules=()))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"hidden_size": 64}, "self_attn.k_proj maps 48 to 24 features, the decoder's maps 64 to 24"),
        ({"num_key_value_heads": 4}, "k_proj maps 48 to 24 features, the decoder's maps 48 to 48"),
        ({"num_hidden_layers": 1}, "layers.1.self_attn.k_proj, which the decoder does not have"),
        ({"num_hidden_layers": 4}, "no weights for 8 of the 16 modules that it targets, first model.layers.2"),
        ({"seed": 1}, "the weights of the two models differ"),
    ],
)
def test_an_adapter_of_another_model_is_refused_and_the_model_stays_as_it_is(
    saved: tuple[Path, Tensor], overrides: dict[str, int], message: str
) -> None:
    decoder = tiny_decoder(tiny_llama(**overrides), name="other")
    before = logits(decoder.model)
    with pytest.raises(MismatchError, match=message) as refusal:
        load_adapter(decoder, saved[0], "a")
    assert "was made for tiny (48 wide), the decoder is other" in str(refusal.value)
    assert torch.equal(logits(decoder.model), before)
    assert "lora" not in repr(decoder.model)


def test_a_published_adapter_without_our_files_is_checked_by_its_shapes(folder: Path) -> None:
    (folder / "lloco.json").unlink()
    (folder / "template.json").unlink()
    edit_json(folder / "adapter_config.json", base_model_name_or_path="owner/model", task_type=None)
    assert len(check_adapter(folder, tiny_decoder())) == 2 * 4 * 2
    with pytest.raises(MismatchError, match=r"was made for owner/model \(48 wide\), the decoder is tiny \(64 wide\)"):
        check_adapter(folder, tiny_decoder(tiny_llama(hidden_size=64)))


def test_a_width_is_that_of_the_weights_whatever_the_folder_says(folder: Path) -> None:
    """Its files may have been copied together: "made for tiny (64 wide), run by tiny (64 wide)" helps nobody."""
    edit_json(folder / "lloco.json", hidden_size=64)
    with pytest.raises(MismatchError, match=r"was made for tiny \(48 wide\), the decoder is tiny \(64 wide\)"):
        check_adapter(folder, tiny_decoder(tiny_llama(hidden_size=64)))


def test_two_models_of_one_name_are_told_apart_by_their_digests(folder: Path) -> None:
    decoder = tiny_decoder(tiny_llama(seed=1))
    with pytest.raises(MismatchError, match=rf"digest {tiny_decoder().digest[:12]}, {decoder.digest[:12]}\)"):
        check_adapter(folder, decoder)


def test_another_models_name_is_told_only_where_nothing_but_the_name_can_tell(folder: Path) -> None:
    named = folder / "adapter_config.json"
    edit_json(named, base_model_name_or_path="owner/other")
    assert other_model_named(folder, tiny_decoder()) is None, "lloco.json says which weights"
    (folder / "lloco.json").unlink()
    assert other_model_named(folder, tiny_decoder()) == "owner/other"
    assert other_model_named(folder, tiny_decoder(name="/models/Other")) is None
    with pytest.raises(MismatchError, match=r"owner/other \(48 wide\)"):
        other_model_named(folder, tiny_decoder(tiny_llama(hidden_size=64)))
    edit_json(named, base_model_name_or_path=None)
    assert other_model_named(folder, tiny_decoder()) is None


def test_an_adapter_to_start_from_is_trainable_and_keeps_its_size(saved: tuple[Path, Tensor]) -> None:
    model = attach_adapter(tiny_decoder(), LoraOptions(dropout=0.25), saved[0])
    assert torch.equal(logits(model.eval()), saved[1])
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trainable) == 2 * 4 * 2 and all("lora_" in name for name in trainable)
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.25)
    with pytest.raises(MismatchError, match="the weights of the two models differ"):
        attach_adapter(tiny_decoder(tiny_llama(seed=1)), LoraOptions(), saved[0])


def test_a_second_adapter_needs_a_name_of_its_own_and_the_decoder_that_has_the_first(folder: Path) -> None:
    raw = tiny_decoder()
    decoder = load_adapter(raw, folder, "a")
    edit_weights(folder, **{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 48)})
    second = load_adapter(decoder, folder, "b")
    assert set(second.model.peft_config) == {"a", "b"}
    for name in ("a", "__base__", "", "x.y", "lora_x"):
        with pytest.raises(LlocoError, match="taken or reserved"):
            load_adapter(decoder, folder, name)
    for attempt in (
        lambda: load_adapter(raw, folder, "c"),
        lambda: attach_adapter(decoder, LoraOptions()),
        lambda: attach_adapter(decoder, LoraOptions(), folder),
    ):
        with pytest.raises(LlocoError, match="carries an adapter already"):
            attempt()


@pytest.mark.parametrize("is_second", [False, True])
@pytest.mark.parametrize("failing", ["set_peft_model_state_dict", "update_layer"])
def test_an_adapter_that_fails_midway_leaves_the_model_as_it_was_and_room_for_a_good_one(
    saved: tuple[Path, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, is_second: bool
) -> None:
    decoder = tiny_decoder()
    if is_second:
        first = trained_adapter(tiny_decoder(), LoraOptions(r=2, target_modules=("q_proj", "up_proj")))
        save_adapter(first, tmp_path / "first", decoder=decoder, template=DEFAULT_TEMPLATE)
        decoder = load_adapter(decoder, tmp_path / "first", "first")
    before, modules = logits(decoder.model), repr(decoder.model)
    with monkeypatch.context() as patch:
        if failing == "update_layer":
            patch.setattr(LoraLayer, failing, fails_at_third(LoraLayer.update_layer))
        else:
            patch.setattr(adapter, failing, raiser(RuntimeError("out of memory")))
        with pytest.raises(RuntimeError, match="out of memory"):
            load_adapter(decoder, saved[0], "b")
    assert torch.equal(logits(decoder.model), before)
    assert repr(decoder.model) == modules
    assert hasattr(decoder.model, "peft_config") == is_second
    model = load_adapter(decoder, saved[0], "b").model
    if is_second:
        assert torch.equal(logits(model), before)
        model.set_adapter("b")
    assert torch.equal(logits(model), saved[1])


def fails_at_third(call: Callable[..., None]) -> Callable[..., None]:
    calls = iter(range(3))

    def fail(*args: Any, **options: Any) -> None:
        if next(calls) == 2:
            raise RuntimeError("out of memory")
        call(*args, **options)

    return fail


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "is PREFIX_TUNING"),
        ({"use_dora": True}, "use_dora to True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"megatron_config": {"x": 1}}, "megatron_config"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights to 'pissa'"),
        ({"bias": "all"}, "bias to 'all'"),
        ({"r": 8}, "must have rank 8.*, got 4"),
        ({"target_modules": "q_proj", "layers_to_transform": [1]}, "PEFT refuses"),
    ],
)
def test_what_is_not_plain_lora_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit_json(folder / "adapter_config.json", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_adapter(tiny_decoder(), folder, "a")


def test_ranks_are_held_to_the_pattern_that_names_them(folder: Path) -> None:
    config = folder / "adapter_config.json"
    edit_json(config, r=8, rank_pattern={"[qk]_proj": 4, "layers.0.self_attn.v_proj": 4})
    with pytest.raises(CheckpointError, match=r"weights of model\.layers\.\d\..* must have rank 8.*, got 4"):
        read_adapter(folder)
    edit_json(config, rank_pattern={"q_proj": 5, ".*": 4})
    with pytest.raises(CheckpointError, match=r"weights of .*q_proj must have rank 5.*, got 4"):
        read_adapter(folder)


def test_an_adapter_with_ranks_by_a_pattern_loads(folder: Path, saved: tuple[Path, Tensor]) -> None:
    edit_json(folder / "adapter_config.json", r=8, rank_pattern={"[qkv]_proj": 4, "o_proj": 4}, alpha_pattern={".*": 8})
    assert torch.equal(logits(load_adapter(tiny_decoder(), folder, "a").model), saved[1])


def test_options_of_a_newer_peft_at_their_defaults_are_no_obstacle(folder: Path) -> None:
    edit_json(folder / "adapter_config.json", some_future_option=None, another=False, init_lora_weights="gaussian")
    assert set(load_adapter(tiny_decoder(), folder, "a").model.peft_config) == {"a"}


def test_damaged_weights_are_refused(folder: Path) -> None:
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    file = folder / "adapter_model.safetensors"
    whole = file.read_bytes()
    edit_weights(folder, **{key: torch.full((4, 48), float("nan"))})
    with pytest.raises(CheckpointError, match=f"{key} in .* holds NaN"):
        check_adapter(folder, tiny_decoder())
    file.write_bytes(whole)
    edit_weights(folder, **{"base_model.model.lm_head.weight": torch.ones(272, 48)})
    with pytest.raises(CheckpointError, match=r"got base_model.model.lm_head.weight"):
        check_adapter(folder, tiny_decoder())
    file.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="cannot be read as adapter weights"):
        check_adapter(folder, tiny_decoder())
    safetensors.torch.save_file({}, file)
    with pytest.raises(CheckpointError, match="holds no LoRA weights"):
        check_adapter(folder, tiny_decoder())
    file.unlink()
    with pytest.raises(CheckpointError, match=r"none of adapter_model.safetensors, adapter_model.bin"):
        adapter_digest(folder)


class Intruder:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def test_a_pickle_with_code_is_refused_without_running_it(folder: Path, tmp_path: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    mark = tmp_path / "was_run"
    torch.save({"x": Intruder(mark)}, folder / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="cannot be read as adapter weights"):
        load_adapter(tiny_decoder(), folder, "a")
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Intruder(mark), protocol=2))
    with pytest.raises(CheckpointError, match="cannot be read as adapter weights"):
        load_adapter(tiny_decoder(), folder, "a")
    assert not mark.exists()


def test_a_pickle_of_other_values_than_tensors_by_name_is_refused(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    for values in ({1: torch.zeros(2, 2)}, {"base_model.model.x.lora_A.weight": 3}):
        torch.save(values, folder / "adapter_model.bin")
        with pytest.raises(CheckpointError, match="must hold tensors by name"):
            check_adapter(folder, tiny_decoder())


def test_a_folder_that_is_no_adapter_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="JSON object"):
        check_adapter(folder, tiny_decoder())
    (folder / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"needs adapter_config.json"):
        check_adapter(folder, tiny_decoder())


def test_an_adapter_of_a_bfloat16_decoder_stays_in_float32_and_loads(saved: tuple[Path, Tensor]) -> None:
    decoder = tiny_decoder()
    half = replace(decoder, model=decoder.model.to(torch.bfloat16))
    loaded = load_adapter(half, saved[0], "a")
    dtypes = {parameter.dtype for name, parameter in loaded.model.named_parameters() if "lora_" in name}
    assert dtypes == {torch.float32}
    assert logits(loaded.model).isfinite().all()
