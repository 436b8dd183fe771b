"""Published weights become ours without a changed bit, and nothing damaged, hostile or mismatched gets in."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, safe_open
from torch import Tensor

import lloco
from lloco.adapters.attach import load_adapter
from lloco.cli.main import main
from lloco.importers.adapter import WORDINGS, published_wording
from lloco.importers.autocompressor import import_autocompressor
from lloco.models.checkpoint import iter_tensors, weight_files, weights_digest
from lloco.models.decoder import load_decoder
from lloco.prompts.prompt import build_prompt
from lloco.prompts.template import Template
from lloco.store.store import Store
from tests.tiny import tiny_tokenizer

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "reproduce_paper"
sys.path.insert(0, str(RECIPE))

import tiny_release  # noqa: E402

STORY = tiny_release.STORY
IDS = list(range(5, 200))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published files in small."""
    folder = tmp_path_factory.mktemp("release")
    tiny_release.write_autocompressor(folder / "autocompressor")
    for place, name in enumerate(("quality", "qasper", "qmsum", "nqa", "hqa")):
        tiny_release.write_adapter(folder / "xiuyul" / f"Lloco-7b-{name}", seed=place)
    tiny_release.write_data(folder / "data")
    return folder


@pytest.fixture
def source(release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(release / "autocompressor", tmp_path / "source"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("LLOCO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("LLOCO_DEBUG", raising=False)

    def run(*argv: object, code: int = 0) -> Any:
        assert main([*map(str, argv), *(["--json"] if code == 0 else [])]) == code
        out, err = capsys.readouterr()
        assert "fault of lloco" not in err
        return json.loads(out) if code == 0 else err

    return run


# autocompressor


def test_an_imported_autocompressor_gives_the_vectors_of_its_source_and_holds_no_pickle(
    run: Any, release: Path, tmp_path: Path
) -> None:
    source, out = release / "autocompressor", tmp_path / "out"
    value = run("import", "autocompressor", source, "--out", out)
    assert value["is_new"] and (value["summary_length"], value["hidden_size"]) == (50, 64)
    assert value["weights_digest"] == weights_digest(source) == weights_digest(out)
    assert {file.suffix for file in out.iterdir()} == {".json", ".safetensors"}
    ours, theirs = lloco.load_compressor(out), lloco.load_compressor(source)
    assert ours.segment_len == 1536 and ours.decoder.tokenizer is not None
    assert torch.equal(ours.compress_ids([IDS])[0], theirs.compress_ids([IDS])[0])
    assert not run("import", "autocompressor", source, "--out", out)["is_new"]


def test_shards_stay_below_their_limit_and_hold_every_tensor_once(release: Path, tmp_path: Path) -> None:
    source = release / "autocompressor"
    done = import_autocompressor(source, tmp_path / "out", max_shard_bytes=100_000)
    files = weight_files(tmp_path / "out")
    assert len(files) == done.num_shards > 3
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            sizes = [tensors.get_tensor(name).nbytes for name in list(tensors.keys())]
        assert sum(sizes) <= 100_000 or len(sizes) == 1
    assert {name for name, _ in iter_tensors(tmp_path / "out")} == {name for name, _ in iter_tensors(source)}
    assert done.weights_digest == weights_digest(source)


def shard(folder: Path, number: int = 2) -> Path:
    return folder / f"pytorch_model-{number:05}-of-00002.bin"


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return (Path.write_text, (self.target, "ran"))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], number: int = 2) -> None:
    tensors = torch.load(shard(folder, number), weights_only=True)
    change(tensors)
    torch.save(tensors, shard(folder, number))


def reconfigure(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def drop_from_index(folder: Path) -> None:
    index = json.loads((folder / "pytorch_model.bin.index.json").read_text())
    index["weight_map"] = {key: name for key, name in index["weight_map"].items() if "00001" in name}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


BREAKAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda f: shard(f).write_bytes(shard(f).read_bytes()[:-2000]), "00002-of-00002.bin cannot be read"),
    "empty": (lambda f: shard(f).write_bytes(b""), "00002-of-00002.bin cannot be read"),
    "missing shard": (lambda f: shard(f).unlink(), "lacks pytorch_model-00002-of-00002.bin"),
    "shard not in index": (drop_from_index, "has no embed_summary.weight"),
    "no summary tokens": (
        lambda f: rewrite(f, lambda value: value.pop("embed_summary.weight")),
        "has no embed_summary.weight: it is a plain language model",
    ),
    "a tensor less": (lambda f: rewrite(f, lambda value: value.pop("model.norm.weight")), "first model.norm.weight"),
    "a tensor more": (
        lambda f: rewrite(f, lambda value: value.update(extra=torch.ones(1))),
        "extra, which is no tensor of",
    ),
    "wrong width": (lambda f: reconfigure(f, hidden_size=128), "must have shape (50, 128)"),
    "wrong length": (lambda f: reconfigure(f, summary_length=20), "must have shape (20, 64)"),
    "wrong inner width": (lambda f: reconfigure(f, intermediate_size=32), "must have shape"),
    "NaN": (
        lambda f: rewrite(f, lambda value: value["embed_summary.weight"].fill_(float("nan"))),
        "holds NaN",
    ),
    "not Llama": (lambda f: (f / "config.json").write_text('{"model_type": "opt"}'), "is built on opt"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json of"),
    "index out of the folder": (
        lambda f: (f / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../x.bin"}}'),
        "names files outside its folder",
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_checkpoint_is_refused_and_nothing_is_written(
    run: Any, source: Path, tmp_path: Path, name: str
) -> None:
    breakage, words = BREAKAGES[name]
    breakage(source)
    assert words in run("import", "autocompressor", source, "--out", tmp_path / "new" / "out", code=1)
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_code_in_a_shard_never_runs(run: Any, source: Path, tmp_path: Path) -> None:
    torch.save({"embed_summary.weight": Malicious(tmp_path / "trace")}, shard(source))
    assert "cannot be read as weights" in run("import", "autocompressor", source, "--out", tmp_path / "out", code=1)
    assert not (tmp_path / "trace").exists() and not (tmp_path / "out").exists()


def test_an_import_overwrites_nothing(run: Any, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    message = run("import", "autocompressor", source, "--out", tmp_path / "out", code=1)
    assert "holds something else" in message
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.txt"]


# adapters


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_released_adapter_is_loaded_as_it_is_and_imported_with_its_wording(
    run: Any, release: Path, tmp_path: Path
) -> None:
    source = release / "xiuyul" / "Lloco-7b-qasper"
    out = tmp_path / "qasper"
    run("import", "adapter", source, "--out", out, "--model", release / "autocompressor")
    assert (out / "adapter_model.safetensors").read_bytes() == (source / "adapter_model.safetensors").read_bytes()
    assert Template.load(out) == Template.packaged("lloco_qasper")
    logits = []
    for folder in (source, out):
        decoder = load_adapter(load_decoder(release / "autocompressor"), folder, "a")
        with torch.no_grad():
            logits.append(decoder.model(torch.tensor([IDS])).logits)
    base = load_decoder(release / "autocompressor")
    with torch.no_grad():
        plain: Tensor = base.model(torch.tensor([IDS])).logits
    assert torch.equal(logits[0], logits[1]) and not torch.allclose(logits[0], plain, atol=0.1)
    before = (out / "adapter_config.json").stat().st_mtime_ns
    run("import", "adapter", source, "--out", out, "--model", release / "autocompressor")
    assert (out / "adapter_config.json").stat().st_mtime_ns == before


def test_every_released_adapter_has_its_wording_by_name() -> None:
    for id, template in WORDINGS.items():
        assert published_wording(f"xiuyul/{id}") == Template.packaged(template)
    assert published_wording("somebody/else") is None


def test_the_wording_of_multiple_choice_is_that_of_the_public_code() -> None:
    tokenizer = tiny_tokenizer()
    prompt = build_prompt(Template.packaged("lloco_quality"), tokenizer, "Who?", options=["a {letter}", "b"])
    text = tokenizer.decode(prompt.pieces[0])
    assert text.endswith(
        "Answer:\nB. Paris\n\nQuestion:\nWho?\n\nChoices:\nA. a {letter}\nB. b\nChoose the best answer by writing its "
        "corresponding letter (either A, B, C, or D).\n\nAnswer:\n"
    )


def test_a_template_without_words_for_options_is_saved_as_before() -> None:
    assert 'option"' not in Template.packaged("multiple_choice").to_json()
    assert '"option": "{letter}. {option}"' in Template.packaged("lloco_quality").to_json()


def test_an_imported_adapter_becomes_that_of_a_corpus_and_answers(run: Any, release: Path, tmp_path: Path) -> None:
    (tmp_path / "mill.txt").write_text(STORY)
    run("compress", tmp_path / "mill.txt", "--corpus", "mill", "--compressor", release / "autocompressor")
    source = release / "xiuyul" / "Lloco-7b-nqa"
    value = run("import", "adapter", source, "--corpus", "mill", "--out", tmp_path / "nqa")
    assert run("corpus", "show", "mill")["adapter_digest"] == value["adapter_digest"]
    assert value["is_new"] and not run("import", "adapter", source, "--out", tmp_path / "nqa")["is_new"]
    answer = run("ask", "--corpus", "mill", "Who signed the lease of the mill?", "--max-tokens", "4")
    assert answer["num_virtual_tokens"] == 50
    assert not (tmp_path / "nqa/lloco.json").exists()
    named = ("import", "adapter", source, "--out", tmp_path / "nqa", "--model")
    run(*named, release / "autocompressor")
    assert json.loads((tmp_path / "nqa/lloco.json").read_text())
    run(*named, release / "autocompressor")
    (tmp_path / "nqa/lloco.json").write_text("{}")
    assert "names another model" in run(*named, release / "autocompressor", code=1)


def test_an_adapter_of_another_width_or_without_a_wording_or_damaged_is_refused(
    run: Any, release: Path, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(release / "xiuyul" / "Lloco-7b-hqa", tmp_path / "unknown"))
    out = tmp_path / "out"
    assert "name the wording it was trained with by --template" in run(
        "import", "adapter", source, "--out", out, code=1
    )
    (tmp_path / "mill.txt").write_text(STORY)
    run("compress", tmp_path / "mill.txt", "--corpus", "mill")
    flags = ("--template", "lloco_hotpotqa")
    message = run("import", "adapter", source, "--corpus", "mill", "--out", tmp_path / "w", *flags, code=1)
    assert "for a model 192 wide" in message and "64 wide" in message
    assert run("corpus", "show", "mill")["adapter_digest"] is None
    wide = ("--model", Path(lloco.__file__).parent / "bundled" / "model")
    assert "is 192 wide" in run("import", "adapter", source, "--out", out, *flags, *wide, code=1)
    weights = source / "adapter_model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-7])
    assert "cannot be read as adapter weights" in run("import", "adapter", source, "--out", out, *flags, code=1)
    weights.unlink()
    torch.save({"x": Malicious(tmp_path / "trace")}, source / "adapter_model.bin")
    assert "cannot be read as adapter weights" in run("import", "adapter", source, "--out", out, *flags, code=1)
    assert not (tmp_path / "trace").exists()
    (source / "adapter_config.json").write_text(json.dumps(tiny_release.ADAPTER_CONFIG | {"r": 4}))
    weights.write_bytes(data)
    assert "must have rank 4" in run("import", "adapter", source, "--out", out, *flags, code=1)
    assert not out.exists() and not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_adapter_in_a_pickle_becomes_safetensors_with_the_same_bytes(
    run: Any, release: Path, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(release / "xiuyul" / "Lloco-7b-qmsum", tmp_path / "Lloco-7b-qmsum"))
    weights = load_file(source / "adapter_model.safetensors")
    (source / "adapter_model.safetensors").unlink()
    torch.save(weights, source / "adapter_model.bin")
    run("import", "adapter", source, "--out", tmp_path / "out")
    imported = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert imported.keys() == weights.keys()
    assert all(torch.equal(imported[name], weights[name]) for name in weights)
    assert not list((tmp_path / "out").glob("*.bin"))


# embeddings


@pytest.fixture
def vectors(release: Path) -> Tensor:
    compressor = lloco.load_compressor(release / "autocompressor")
    return compressor.compress(lloco.Document("mill.txt", STORY)).embeds.to(torch.bfloat16)


def test_embeddings_become_soft_prompts_with_their_origin_and_are_found_by_text(
    run: Any, release: Path, tmp_path: Path, vectors: Tensor
) -> None:
    file = tiny_release.write_embeddings(tmp_path / "e.pth", {"mill.txt": vectors})
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "mill.txt").write_text(STORY)
    argv = ("import", "embeddings", file, "--corpus", "m", "--compressor", release / "autocompressor")
    argv = (*argv, "--documents", tmp_path / "texts")
    assert run(*argv)["num_new"] == 1
    assert run(*argv)["num_new"] == 0
    with Store() as store:
        made = store.corpus("m").soft_prompt("mill.txt")
        assert store.corpus("m").document("mill.txt").text == STORY
    assert torch.equal(made.embeds, vectors)
    assert made.provenance.compressor_digest == weights_digest(release / "autocompressor")
    assert (made.provenance.segment_len, made.provenance.summary_length) == (1536, 50)
    answer = run("ask", "--corpus", "m", "Who signed the lease?", "--max-tokens", "4")
    assert answer["num_virtual_tokens"] == 50
    (tmp_path / "texts" / "mill.txt").write_text(STORY)
    compress = ("compress", tmp_path / "texts", "--corpus", "m", "--compressor", release / "autocompressor")
    assert run(*compress)["num_unchanged"] == 1, "the imported vectors count as the document's own"


@pytest.mark.parametrize(
    ("task", "file", "key"),
    [("quality", "quality.dev", "1"), ("qasper", "qasper.jsonl", "s1"), ("hotpotqa", "hotpotqa.json", "h1")],
)
def test_the_public_codes_ids_find_the_tasks_documents(
    run: Any, release: Path, tmp_path: Path, vectors: Tensor, task: str, file: str, key: str
) -> None:
    embeddings = tiny_release.write_embeddings(tmp_path / "e.pth", {key: vectors})
    data = release / "data" / file
    flags = ("--corpus", task, "--compressor", release / "autocompressor")
    value = run("import", "embeddings", embeddings, *flags, "--task", task, "--data", data)
    assert value["num_documents"] == 1 and value["has_text"]
    done = run("predict", "--task", task, "--data", data, *flags, "--out", "p.json", "--max-tokens", "2", "--quiet")
    with Store() as store:
        (document,) = store.corpus(task).documents()
    assert STORY in document.text and done["n"] == 1


def test_without_texts_documents_are_read_by_id_alone(run: Any, release: Path, tmp_path: Path, vectors: Tensor) -> None:
    file = tiny_release.write_embeddings(tmp_path / "e.pth", {"1": vectors, "2": vectors * 2})
    value = run("import", "embeddings", file, "--corpus", "m", "--compressor", release / "autocompressor")
    assert not value["has_text"]
    answer = run("ask", "--corpus", "m", "--document", "2", "Who signed?", "--max-tokens", "4")
    assert answer["num_virtual_tokens"] == 50
    run("push", "corpus", "m", tmp_path / "pushed")
    assert run("pull", tmp_path / "pushed", "--store", tmp_path / "other")["num_documents"] == 2


def nan(vectors: Tensor) -> Tensor:
    broken = vectors.clone()
    broken[3, 5] = float("nan")
    return broken


BAD_EMBEDDINGS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "NaN": (lambda value: {"a": nan(value)}, "vectors must be finite and not zero"),
    "zero row": (lambda value: {"a": torch.zeros_like(value)}, "vectors must be finite and not zero"),
    "width": (lambda value: {"a": value[:, :32]}, "vectors must be 64 wide"),
    "segments": (lambda value: {"a": value[:49]}, "must be (segments x 50, 64) vectors"),
    "no rows": (lambda value: {"a": value[:0]}, "must be (segments x 50, 64) vectors"),
    "3-D": (lambda value: {"a": value[None]}, "must be (segments x 50, 64) vectors"),
    "integers": (lambda value: {"a": value.int()}, "must be floating point vectors"),
    "needle text": (
        lambda value: {"a": value, "a_needle": "Doha"},
        "'a_needle': must be floating point vectors, got a str",
    ),
    "list": (lambda value: [value], "must hold a dict from document id to vectors"),
    "empty": (lambda value: {}, "an empty dict"),
    "ids": (lambda value: {1: value, "1": value}, "ids must differ"),
    "blank id": (lambda value: {" ": value}, "an id must have printable characters"),
    "terminal id": (lambda value: {"a\x1b[2J": value}, "an id must have printable characters"),
}


@pytest.mark.parametrize("name", BAD_EMBEDDINGS)
def test_bad_embeddings_are_refused_and_nothing_is_stored(
    run: Any, release: Path, tmp_path: Path, vectors: Tensor, name: str
) -> None:
    change, words = BAD_EMBEDDINGS[name]
    torch.save(change(vectors), tmp_path / "e.pth")
    flags = ("--corpus", "m", "--compressor", release / "autocompressor")
    assert words in run("import", "embeddings", tmp_path / "e.pth", *flags, code=1)
    assert run("corpus", "list")["corpora"] == []


def test_an_embeddings_file_with_code_or_cut_short_is_refused_and_runs_nothing(
    run: Any, release: Path, tmp_path: Path, vectors: Tensor
) -> None:
    flags = ("--corpus", "m", "--compressor", release / "autocompressor")
    file = tmp_path / "e.pth"
    torch.save({"a": Malicious(tmp_path / "trace")}, file)
    said = run("import", "embeddings", file, *flags, code=1)
    assert "holds more than tensors" in said
    assert "weights_only" not in said
    assert not (tmp_path / "trace").exists()
    tiny_release.write_embeddings(file, {"a": vectors})
    data = file.read_bytes()
    for keep in (0, 10, len(data) // 2, len(data) - 20):
        file.write_bytes(data[:keep])
        assert "cannot be read as an embeddings file" in run("import", "embeddings", file, *flags, code=1)
    assert "cannot be read as an embeddings file" in run(
        "import", "embeddings", tmp_path / "absent.pth", *flags, code=1
    )
    assert run("corpus", "list")["corpora"] == []


def test_an_id_that_looks_like_a_path_is_only_an_id(run: Any, release: Path, tmp_path: Path, vectors: Tensor) -> None:
    file = tiny_release.write_embeddings(tmp_path / "e.pth", {"../../x": vectors})
    run("import", "embeddings", file, "--corpus", "m", "--compressor", release / "autocompressor")
    assert [document["id"] for document in run("corpus", "show", "m")["documents"]] == ["../../x"]
    assert not list(tmp_path.rglob("x")) and run("corpus", "verify")["problems"] == []
    flags = ("--corpus", "../m", "--compressor", release / "autocompressor")
    assert "corpus name" in run("import", "embeddings", file, *flags, code=1)


def test_texts_that_do_not_belong_to_the_vectors_are_refused(
    run: Any, release: Path, tmp_path: Path, vectors: Tensor
) -> None:
    flags = ("--corpus", "m", "--compressor", release / "autocompressor", "--documents", tmp_path / "texts")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "mill.txt").write_text(STORY)
    file = tiny_release.write_embeddings(tmp_path / "e.pth", {"mill.txt": torch.cat([vectors, vectors])})
    assert "they are of another text" in run("import", "embeddings", file, *flags, code=1)
    tiny_release.write_embeddings(file, {"mill.txt": vectors, "other": vectors})
    assert "have no text, first 'other'" in run("import", "embeddings", file, *flags, code=1)
    assert run("corpus", "list")["corpora"] == []


def test_embeddings_of_another_compressor_do_not_mix_into_a_corpus(
    run: Any, release: Path, tmp_path: Path, vectors: Tensor
) -> None:
    (tmp_path / "mill.txt").write_text(STORY)
    run("compress", tmp_path / "mill.txt", "--corpus", "m", "--compressor", "bundled-autocompressor")
    file = tiny_release.write_embeddings(tmp_path / "e.pth", {"a": vectors})
    assert "holds soft prompts of compressor bundled" in run(
        "import", "embeddings", file, "--corpus", "m", "--compressor", release / "autocompressor", code=1
    )
    assert "(segments x 8, 192)" in run("import", "embeddings", file, "--corpus", "m", code=1)
    assert run("corpus", "show", "m")["num_documents"] == 1
    run("compress", tmp_path / "mill.txt", "--corpus", "pooled")
    assert "records has no embed_summary" in run("import", "embeddings", file, "--corpus", "pooled", code=1)


# recipe


@pytest.mark.slow
def test_the_recipe_of_the_papers_sets_runs_on_tiny_weights(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        str(RECIPE / "run.py"),
        "--tiny",
        "--sets",
        "quality,hotpotqa",
        "--out",
        str(tmp_path / "o"),
    ]
    env = {
        "PYTHONPATH": str(RECIPE.parent.parent),
        "HF_HUB_OFFLINE": "1",
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=True)
    lines = (tmp_path / "o" / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| quality", "| hotpotqa"]
    assert "warning" not in done.stderr, "the adapters name the imported weights as their model"
