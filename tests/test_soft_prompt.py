"""Soft prompts and their files: round trips are bit-equal, and nothing but a whole soft prompt of ours is read."""

import json
import pickle
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lloco.errors import LlocoError, MismatchError, StoreError
from lloco.prompts.provenance import Provenance, file_digest, read_provenance
from lloco.prompts.soft_prompt import SoftPrompt


def make_soft_prompt(
    rows: int = 6, width: int = 16, dtype: str = "float32", seed: int = 0, **changes: object
) -> SoftPrompt:
    embeds = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)).to(getattr(torch, dtype))
    provenance = Provenance("a", "d" * 64, 180, "tiny", "c" * 64, "tiny-base", width, 60, 2, dtype)
    return SoftPrompt(embeds, replace(provenance, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_saved_is_loaded_bit_equal(tmp_path: Path, dtype: str) -> None:
    soft_prompt = make_soft_prompt(dtype=dtype, document_id="dossier/é 文\n1")
    soft_prompt.save(tmp_path / "a.safetensors")
    loaded = SoftPrompt.load(tmp_path / "a.safetensors")
    assert loaded.provenance == soft_prompt.provenance
    assert loaded.embeds.dtype == soft_prompt.embeds.dtype
    assert torch.equal(loaded.embeds, soft_prompt.embeds)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_counts_and_ratio_are_those_of_the_vectors() -> None:
    soft_prompt = make_soft_prompt()
    assert (soft_prompt.num_virtual_tokens, soft_prompt.hidden_size, soft_prompt.compression_ratio) == (6, 16, 30.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_smaller_storage_keeps_its_measured_loss_with_the_file(tmp_path: Path, dtype: str) -> None:
    soft_prompt = make_soft_prompt(rows=40, width=256)
    soft_prompt.save(tmp_path / "a", storage_dtype=dtype)
    loaded = SoftPrompt.load(tmp_path / "a")
    error = float((loaded.embeds.double() - soft_prompt.embeds.double()).norm() / soft_prompt.embeds.double().norm())
    assert loaded.provenance == replace(soft_prompt.provenance, dtype=dtype, quantisation_error=error)
    assert 0 < error == soft_prompt.quantisation_error(dtype) < {"float16": 3e-4, "bfloat16": 3e-3, "int8": 0.01}[dtype]


def test_int8_error_is_at_most_half_a_step_of_the_row() -> None:
    soft_prompt = make_soft_prompt(rows=32, width=64)
    loaded = SoftPrompt.from_bytes(soft_prompt.to_bytes("int8"), "a")
    step = soft_prompt.embeds.abs().amax(dim=1, keepdim=True) / 127
    assert bool(((loaded.embeds - soft_prompt.embeds).abs() <= 0.501 * step).all())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(-30, 30))
def test_saving_a_loaded_int8_file_gives_the_same_bytes(seed: int, exponent: float) -> None:
    soft_prompt = make_soft_prompt(seed=seed)
    data = SoftPrompt(soft_prompt.embeds * 10.0**exponent, soft_prompt.provenance).to_bytes("int8")
    assert SoftPrompt.from_bytes(data, "a").to_bytes() == data


def test_equal_soft_prompts_give_equal_bytes_in_every_process() -> None:
    code = (
        "import torch; from lloco.prompts.provenance import *; from lloco.prompts.soft_prompt import *; "
        "print(file_digest(SoftPrompt(torch.ones(2, 4),"
        " Provenance('a', 'd', 9, 'c', 'e', 'b', 4, 3, 1, 'float32')).to_bytes('float16')))"
    )
    digest = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    here = SoftPrompt(torch.ones(2, 4), Provenance("a", "d", 9, "c", "e", "b", 4, 3, 1, "float32"))
    assert {file_digest(here.to_bytes("float16")) for _ in range(20)} == {digest}


def test_another_models_soft_prompt_is_refused_with_both_names_and_widths() -> None:
    soft_prompt = make_soft_prompt()
    soft_prompt.check_readable_by("tiny", "c" * 64, 16)
    with pytest.raises(MismatchError) as caught:
        soft_prompt.check_readable_by("llama-2-7b", "e" * 64, 4096)
    for part in ("'a'", "tiny", "16 wide", "llama-2-7b", "4096 wide"):
        assert part in str(caught.value)
    with pytest.raises(MismatchError, match="eeeeeeeeeeee"):
        soft_prompt.check_readable_by("tiny", "e" * 64, 16)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_nan_infinite_and_zero_rows_are_refused_on_save_and_on_load(tmp_path: Path, value: float) -> None:
    soft_prompt = make_soft_prompt()
    good = soft_prompt.to_bytes()
    soft_prompt.embeds[3] = value
    with pytest.raises(StoreError, match="first: row 3"):
        soft_prompt.save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    row = struct.pack("<f", value) * 16
    start = len(good) - 6 * 16 * 4 + 3 * 16 * 4
    (tmp_path / "b").write_bytes(good[:start] + row + good[start + len(row) :])
    with pytest.raises(StoreError, match=r"b: .*first: row 3"):
        SoftPrompt.load(tmp_path / "b")


@pytest.mark.parametrize("factor", [1e6, 1e-12])
def test_values_that_float16_cannot_hold_are_refused(factor: float) -> None:
    soft_prompt = make_soft_prompt()
    with pytest.raises(StoreError, match="stored as float16"):
        SoftPrompt(soft_prompt.embeds * factor, soft_prompt.provenance).to_bytes("float16")


def test_every_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    data = make_soft_prompt().to_bytes("int8")
    for length in range(len(data)):
        (tmp_path / "short").write_bytes(data[:length])
        with pytest.raises(StoreError, match="short"):
            SoftPrompt.load(tmp_path / "short")


def rewrite_header(data: bytes, **changes: object) -> bytes:
    """Change the metadata of a file; None drops the key."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata = header["__metadata__"] | changes
    header["__metadata__"] = {key: value for key, value in metadata.items() if value is not None}
    new = json.dumps(header).encode()
    return struct.pack("<Q", len(new)) + new + data[8 + length :]


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "pt"},
        {"format_version": "2"},
        {"hidden_size": "17"},
        {"hidden_size": "wide"},
        {"segment_len": "-1"},
        {"dtype": "float16"},
        {"dtype": "int8"},
        {"dtype": "complex"},
        {"text_digest": None},
        {"colour": "red"},
        {"num_document_tokens": 180},
        {"quantisation_error": "nan"},
        {"refine_steps": "0"},
        {"refine_steps": "-4"},
        {"refine_steps": "many"},
    ],
)
def test_wrong_metadata_is_refused_by_name(tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / "wrong").write_bytes(rewrite_header(make_soft_prompt().to_bytes(), **changes))
    with pytest.raises(StoreError, match="wrong"):
        SoftPrompt.load(tmp_path / "wrong")


def test_unchanged_metadata_is_read_after_the_same_rewriting() -> None:
    soft_prompt = make_soft_prompt()
    assert SoftPrompt.from_bytes(rewrite_header(soft_prompt.to_bytes()), "a").provenance == soft_prompt.provenance


def test_a_file_from_before_refinement_is_read_as_unrefined_and_keeps_its_bytes() -> None:
    refined = make_soft_prompt(refine_steps=4)
    assert SoftPrompt.from_bytes(refined.to_bytes(), "a").provenance.refine_steps == 4
    older = rewrite_header(refined.to_bytes(), refine_steps=None)
    assert SoftPrompt.from_bytes(older, "a").provenance == make_soft_prompt().provenance
    assert SoftPrompt.from_bytes(older, "a").to_bytes() == make_soft_prompt().to_bytes()
    assert b"refine_steps" not in make_soft_prompt().to_bytes()


def test_the_header_is_read_without_the_vectors_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    make_soft_prompt(rows=40, refine_steps=4).save(path, "int8")
    assert read_provenance(path) == SoftPrompt.load(path).provenance
    for data in (b"", b"1234", b"\xff" * 8, path.read_bytes()[:100]):
        path.write_bytes(data)
        with pytest.raises(StoreError, match=r"a\.safetensors"):
            read_provenance(path)
    with pytest.raises(StoreError, match="check the path"):
        read_provenance(tmp_path / "none")


@pytest.mark.parametrize("kind", ["pickle", "torch", "foreign", "text", "empty", "folder", "nothing"])
def test_pickled_and_foreign_files_are_refused_by_name_without_being_run(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "other"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"embeds": [1.0]}))
    elif kind == "torch":
        torch.save(torch.ones(2, 4), path)
    elif kind == "foreign":
        safetensors.torch.save_file({"embeds": torch.ones(2, 4)}, path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "nothing":
        path.write_bytes(b"" if kind == "empty" else b"{" * 5000)
    with pytest.raises(StoreError, match="other"):
        SoftPrompt.load(path)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_refused_or_read_as_other_values_and_never_crashes(data: st.DataObject) -> None:
    whole = bytearray(make_soft_prompt(rows=2, width=4).to_bytes("int8"))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        loaded = SoftPrompt.from_bytes(bytes(whole), "flipped")
    except LlocoError as error:
        assert "flipped" in str(error)
    else:
        assert loaded.embeds.shape == (2, 4)


@pytest.mark.parametrize(
    "embeds", [torch.ones(16), torch.ones(0, 16), torch.ones(2, 17), torch.ones(2, 16, dtype=torch.int64)]
)
def test_tensors_of_another_shape_or_kind_are_no_soft_prompt(embeds: torch.Tensor) -> None:
    with pytest.raises(MismatchError, match="'a'"):
        SoftPrompt(embeds, make_soft_prompt().provenance)


def test_an_unknown_storage_dtype_is_refused() -> None:
    with pytest.raises(MismatchError, match="int3"):
        make_soft_prompt().to_bytes("int3")
    with pytest.raises(MismatchError, match="int3"):
        make_soft_prompt().quantisation_error("int3")


def test_a_full_disk_is_reported_and_the_earlier_file_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    make_soft_prompt().save(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left on device; an earlier file there was kept"):
        make_soft_prompt(seed=1).save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
