"""Checkpoint folders: every layout gives the same tensors and digest, damage is refused by name, pickles never run."""

import json
import os
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lloco.errors import CheckpointError
from lloco.models.checkpoint import (
    checkpoint_folder,
    find_tensor,
    iter_tensors,
    weight_files,
    weights_digest,
    write_checkpoint,
)

GOLDEN = Path(__file__).parent / "golden" / "autocompressor" / "segments_exact"
TENSORS = load_file(GOLDEN / "model.safetensors")


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (Path.write_text, (self.target, "ran"))  # type: ignore[return-value]


def write_bin(folder: Path, num_shards: int = 1, tensors: dict[str, Tensor] = TENSORS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if num_shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
        return folder
    weight_map: dict[str, str] = {}
    for shard in range(num_shards):
        name = f"pytorch_model-{shard + 1:05}-of-{num_shards:05}.bin"
        part = {key: tensor for index, (key, tensor) in enumerate(tensors.items()) if index % num_shards == shard}
        torch.save(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def write_safetensors_shards(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    weight_map: dict[str, str] = {}
    for shard in range(2):
        name = f"model-{shard + 1:05}-of-00002.safetensors"
        part = {key: tensor for index, (key, tensor) in enumerate(TENSORS.items()) if index % 2 == shard}
        save_file(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_every_layout_holds_the_same_tensors_and_has_the_same_digest(tmp_path: Path) -> None:
    old_bin = tmp_path / "old"
    old_bin.mkdir()
    torch.save(TENSORS, old_bin / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    folders = [
        GOLDEN,
        write_bin(tmp_path / "bin"),
        write_bin(tmp_path / "bin-shards", 3),
        write_safetensors_shards(tmp_path / "shards"),
        old_bin,
    ]
    for folder in folders:
        tensors = dict(iter_tensors(folder))
        assert tensors.keys() == TENSORS.keys()
        assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
        found = find_tensor(folder, "embed_summary.weight")
        assert found is not None and torch.equal(found, TENSORS["embed_summary.weight"])
        assert find_tensor(folder, "embed_summary") is None
    assert len({weights_digest(folder) for folder in folders}) == 1


@pytest.mark.parametrize("change", ["value", "name", "shape", "dtype", "missing"])
def test_digest_changes_with_anything_about_a_tensor(tmp_path: Path, change: str) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(4)}
    changed = {
        "value": {**tensors, "b": torch.tensor([0.0, 0.0, 0.0, 1e-38])},
        "name": {"a": tensors["a"], "c": tensors["b"]},
        "shape": {**tensors, "a": tensors["a"].reshape(3, 2)},
        "dtype": {**tensors, "b": torch.zeros(4, dtype=torch.int32)},
        "missing": {"a": tensors["a"]},
    }[change]
    assert weights_digest(write_bin(tmp_path / "1", tensors=tensors)) != weights_digest(
        write_bin(tmp_path / "2", tensors=changed)
    )


def test_digest_reads_every_dtype_and_scalars_and_strided_tensors(tmp_path: Path) -> None:
    tensors = {
        "bfloat16": torch.randn(3, 5, dtype=torch.bfloat16),
        "float16": torch.randn(3, dtype=torch.float16),
        "float8": torch.randn(4).to(torch.float8_e4m3fn),
        "scalar": torch.tensor(2.5),
        "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 4),
    }
    (tmp_path / "safe").mkdir()
    save_file(tensors, tmp_path / "safe" / "model.safetensors")
    digest = weights_digest(tmp_path / "safe")
    assert digest == weights_digest(write_bin(tmp_path / "bin", tensors=tensors))
    strided = {**tensors, "bfloat16": tensors["bfloat16"].T.contiguous().T}
    assert not strided["bfloat16"].is_contiguous()
    assert digest == weights_digest(write_bin(tmp_path / "strided", tensors=strided))


def test_safetensors_are_preferred_to_pickles(tmp_path: Path) -> None:
    folder = write_bin(tmp_path / "both", tensors={"other": torch.zeros(1)})
    shutil.copy(GOLDEN / "model.safetensors", folder)
    assert [file.name for file in weight_files(folder)] == ["model.safetensors"]


def test_pickled_code_never_runs(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    folder = tmp_path / "evil"
    folder.mkdir()
    torch.save({"embed_summary.weight": Malicious(trace)}, folder / "pytorch_model.bin")
    for read in (lambda: list(iter_tensors(folder)), lambda: weights_digest(folder), lambda: find_tensor(folder, "x")):
        with pytest.raises(CheckpointError, match=r"pytorch_model.bin cannot be read as weights"):
            read()
    assert not trace.exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert trace.read_text() == "ran", "the file would have done harm"


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.99])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_truncated_weights_are_refused_by_name(tmp_path: Path, name: str, keep: float) -> None:
    folder = write_bin(tmp_path) if name.endswith("bin") else Path(shutil.copytree(GOLDEN, tmp_path / "safe"))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read as weights"):
        weights_digest(folder)


def test_a_pickle_of_other_things_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": TENSORS}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="must hold tensors by name"):
        weights_digest(tmp_path)
    torch.save([1, 2], tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="must hold tensors by name"):
        find_tensor(tmp_path, "a")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_bin(tmp_path, 3)
    (folder / "pytorch_model-00002-of-00003.bin").unlink()
    with pytest.raises(CheckpointError, match=r"lacks pytorch_model-00002-of-00003\.bin"):
        weight_files(folder)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ('{"weight_map": {"a": "../model.bin"}}', "outside its folder"),
        ('{"weight_map": {"a": 3}}', "outside its folder"),
        ('{"weight_map": [', "not a weight index"),
        ('{"metadata": {}}', "not a weight index"),
        ('["a"]', "not a weight index"),
        ('{"weight_map": {}}', "names no file"),
    ],
)
def test_a_broken_or_hostile_index_is_refused(tmp_path: Path, index: str, message: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=message):
        weight_files(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none of model\.safetensors, pytorch_model\.bin"):
        weight_files(tmp_path)


@pytest.mark.parametrize("name", ["/no/such/folder", "./here", "~/nowhere", "plain-name", "a/b/c"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        checkpoint_folder(name)


def test_a_file_in_place_of_a_folder_is_refused() -> None:
    with pytest.raises(CheckpointError, match="is a file"):
        checkpoint_folder(GOLDEN / "config.json")


def test_a_hub_id_comes_from_the_local_cache_when_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--owner--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(GOLDEN, snapshot)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert checkpoint_folder("owner/tiny") == snapshot
    with pytest.raises(CheckpointError, match=r"the hub did not give owner/absent: .*check the name or the connection"):
        checkpoint_folder("owner/absent")
    with pytest.raises(CheckpointError, match="the hub did not give own er/tiny"):
        checkpoint_folder("own er/tiny")


def test_writing_replaces_the_checkpoint_and_keeps_other_files(tmp_path: Path) -> None:
    folder = write_bin(tmp_path / "model", 2)
    (folder / "README.md").write_text("mine")

    def write(temporary: Path) -> None:
        shutil.copytree(GOLDEN, temporary)

    assert write_checkpoint(folder, write) == weights_digest(GOLDEN) == weights_digest(folder)
    assert weight_files(folder) == [folder / "model.safetensors"]
    assert (folder / "README.md").read_text() == "mine"
    assert not (folder / "pytorch_model.bin.index.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_new_folder_is_flushed_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    flushed: list[tuple[str, bool]] = []
    for module in ("lloco.files.durable", "lloco.models.checkpoint"):
        monkeypatch.setattr(f"{module}.fsync_folder", lambda value: flushed.append((value.name, folder.exists())))

    def write(temporary: Path) -> None:
        shutil.copytree(GOLDEN, temporary)
        shutil.copytree(GOLDEN, temporary / "inner")

    write_checkpoint(folder, write)
    assert [name.startswith(".model.") or (name, is_there) for name, is_there in flushed] == [
        True,
        ("inner", False),
        (tmp_path.name, True),
    ]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    folder = write_bin(tmp_path / "model")
    before = weights_digest(folder)

    def write(temporary: Path) -> None:
        temporary.mkdir()
        (temporary / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(folder, write)
    assert weights_digest(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_between_two_renames_leaves_no_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bin(tmp_path / "model")
    (folder / "config.json").write_text("{}")
    replace = os.replace
    done: list[str] = []

    def replace_one(self: Path, target: Path) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(self.name)
        replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_one)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(folder, lambda temporary: (shutil.copytree(GOLDEN, temporary), None)[1])
    with pytest.raises(CheckpointError, match="has no weights"):
        weights_digest(folder)


def test_a_file_is_not_overwritten_by_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    with pytest.raises(CheckpointError, match="is a file"):
        write_checkpoint(tmp_path / "model", lambda temporary: None)
