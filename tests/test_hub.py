"""Push and pull: what comes back is what went, bit for bit; texts stay here; nothing odd is fetched."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.cli.main import main
from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.hub.artifact import MANIFEST
from lloco.models.decoder import load_decoder
from lloco.prompts.template import DEFAULT_TEMPLATE
from lloco.store.archive import export_corpus
from lloco.store.store import Store
from tests.corpora import LEASE, VOYAGE, add_document, lease_and_voyage, save_compressor
from tests.hub_server import TOKEN, HubServer, running_hub


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compressor, an adapter and a store with a corpus that has both; files of a training run lie beside them."""
    folder = tmp_path_factory.mktemp("made")
    save_compressor(folder / "compressor")
    (folder / "compressor" / "optimizer.pt").write_bytes(b"not to be pushed")
    decoder = load_decoder(folder / "compressor")
    model = attach_adapter(decoder, LoraOptions(r=2, alpha=4))
    save_adapter(model, folder / "adapter", decoder=decoder, template=DEFAULT_TEMPLATE)
    (folder / "adapter" / "training_args.bin").write_bytes(b"not to be pushed")
    model.unload()
    with Store(folder / "home") as store:
        corpus = store.corpus("stories")
        compress_into(corpus, lease_and_voyage(), load_compressor(folder / "compressor"))
        corpus.set_adapter(folder / "adapter")
    texts = folder / "texts"
    texts.mkdir()
    (texts / "lease.txt").write_text(LEASE)
    (texts / "voyage.txt").write_text(VOYAGE)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLOCO_HOME", str(made / "home"))
    monkeypatch.delenv("LLOCO_DEBUG", raising=False)

    def run(*argv: object, code: int = 0) -> Any:
        assert main([*map(str, argv), *(["--json"] if code == 0 else [])]) == code
        out, err = capsys.readouterr()
        return json.loads(out) if code == 0 else err

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def exported(home: Path, out: Path) -> dict[str, bytes]:
    with Store(home) as store:
        export_corpus(store.corpus("stories", create=False), out)
    return contents(out)


@pytest.mark.parametrize("kind", ["compressor", "adapter"])
def test_a_folder_that_was_pushed_is_pulled_bit_for_bit_and_again_without_work(
    run: Any, made: Path, tmp_path: Path, kind: str
) -> None:
    assert run("push", kind, made / kind, "./hub/x", "--license", "mit")["is_new"]
    pulled = run("pull", tmp_path / "./hub/x", "--out", "got")
    assert pulled["is_new"] and pulled["kind"] == kind
    got, own = contents(tmp_path / "got"), contents(made / kind)
    del got[MANIFEST], own["optimizer.pt" if kind == "compressor" else "training_args.bin"]
    assert got == own
    assert not run("push", kind, made / kind, "./hub/x")["is_new"]
    before = (tmp_path / "got").stat().st_mtime_ns
    assert not run("pull", "./hub/x", "--out", "got")["is_new"]
    assert (tmp_path / "got").stat().st_mtime_ns == before


def test_a_corpus_with_texts_is_pulled_bit_for_bit_and_again_without_work(run: Any, made: Path, tmp_path: Path) -> None:
    value = run("push", "corpus", "stories", "./out/stories", "--with-text")
    assert value["num_documents"] == 2 and value["has_text"]
    home = tmp_path / "other"
    assert run("pull", "./out/stories", "--store", home)["is_new"]
    assert exported(home, tmp_path / "b") == exported(made / "home", tmp_path / "a")
    assert not run("pull", "./out/stories", "--store", home)["is_new"]
    run("pull", "./out/stories", "--store", home, "--corpus", "renamed")
    assert run("corpus", "show", "renamed", "--store", home)["num_documents"] == 2


def test_a_corpus_pulled_without_texts_is_left_alone_the_second_time(run: Any, made: Path, tmp_path: Path) -> None:
    run("push", "corpus", "stories", "./out/stories")
    home = tmp_path / "other"
    assert run("pull", "./out/stories", "--store", home, "--documents", made / "texts")["is_new"]
    assert not run("pull", "./out/stories", "--store", home)["is_new"]


def test_flags_of_a_corpus_are_refused_for_an_adapter(run: Any, made: Path) -> None:
    run("push", "adapter", made / "adapter", "./out/adapter")
    for flags in (["--corpus", "stories"], ["--documents", made / "texts"], ["--replace"]):
        assert "out/adapter is of kind adapter" in run("pull", "./out/adapter", *flags, code=2)


def test_a_card_is_written_anew_where_the_licence_changes(run: Any, made: Path, tmp_path: Path) -> None:
    run("push", "adapter", made / "adapter", "./a")
    assert run("push", "adapter", made / "adapter", "./a", "--license", "mit")["is_new"]
    assert "license: mit" in (tmp_path / "a/README.md").read_text()
    assert not run("push", "adapter", made / "adapter", "./a", "--license", "mit")["is_new"]


def test_an_adapter_that_the_manifest_does_not_list_is_not_pulled(run: Any, made: Path, tmp_path: Path) -> None:
    """It would answer every question of the corpus, and nobody has checked it."""
    run("push", "corpus", "stories", "./out/stories", "--with-text")
    manifest = tmp_path / "out/stories" / MANIFEST
    values = json.loads(manifest.read_text())
    values["files"] = {name: item for name, item in values["files"].items() if not name.startswith("adapter/")}
    values["summary"]["adapter_digest"] = None
    manifest.write_text(json.dumps(values))
    home = tmp_path / "other"
    run("pull", "./out/stories", "--store", home)
    assert run("corpus", "show", "stories", "--store", home)["adapter_digest"] is None


def test_the_texts_of_a_corpus_stay_here_unless_asked_for_and_are_put_back_from_ones_own_files(
    run: Any, made: Path, tmp_path: Path
) -> None:
    run("push", "corpus", "stories", "./out/stories")
    everything = b"".join(contents(tmp_path / "./out/stories").values())
    for secret in (b"Agnes", b"Petrel", b"lease.txt", b"Voyage"):
        assert secret not in everything
    home = tmp_path / "other"
    message = run("pull", "./out/stories", "--store", home, code=1)
    assert "pushed without texts" in message and "--documents" in message
    (made / "texts" / "more.txt").write_text("A text that the corpus does not have.")
    run("pull", "./out/stories", "--store", home, "--documents", made / "texts")
    with Store(home) as store, Store(made / "home") as own:
        for id, text in (("lease", LEASE), ("voyage", VOYAGE)):
            pulled, pushed = store.corpus("stories"), own.corpus("stories")
            assert pulled.document(id).text == text
            assert torch.equal(pulled.soft_prompt(id).embeds, pushed.soft_prompt(id).embeds)
            assert [passage.start for passage in pulled.document_passages(id)] == [
                passage.start for passage in pushed.document_passages(id)
            ]


def test_the_card_says_what_it_is_and_what_the_user_states(run: Any, made: Path, tmp_path: Path) -> None:
    row = {"mode": "compressed+adapter", "n": 7, "metrics": {"answer_f1": 12.5}, "stderr": {"answer_f1": 1.25}}
    (tmp_path / "results.json").write_text(json.dumps({"task": "qasper", "rows": [row]}))
    run("push", "adapter", made / "adapter", "./a/x", "--license", "apache-2.0", "--results", "results.json")
    card = (tmp_path / "a/x/README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: peft\n")
    assert "| hidden size | 48 |" in card and "| compressed+adapter | 7 | answer_f1 12.50 ± 1.25 |" in card
    run("push", "corpus", "stories", "./a/y")
    assert "| licence | not stated |" in (tmp_path / "a/y/README.md").read_text()
    assert "licence must be an identifier" in run(
        "push", "corpus", "stories", "./a/z", "--license", "mine: yes\n- x", code=1
    )
    (tmp_path / "bad.json").write_text("[]")
    assert "results of" in run("push", "corpus", "stories", "./a/z", "--results", "bad.json", code=1)
    assert not (tmp_path / "./a/z").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_cannot_be_used_is_not_pushed(run: Any, made: Path, tmp_path: Path) -> None:
    assert "no corpus .absent." in run("push", "corpus", "absent", "x/y/z", code=1).replace("'", ".")
    assert "is a plain language model" in run("push", "compressor", plain(made, tmp_path), "x/y/z", code=1)
    assert "adapter" in run("push", "adapter", made / "compressor", "x/y/z", code=1)
    bins = tmp_path / "bins"
    shutil.copytree(made / "compressor", bins)
    weights = load_decoder(bins).model.state_dict()
    torch.save({**weights, "embed_summary.weight": torch.randn(4, 48)}, bins / "pytorch_model.bin")
    (bins / "model.safetensors").unlink()
    assert "lloco import" in run("push", "compressor", bins, "x/y/z", code=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    assert "holds something else" in run("push", "adapter", made / "adapter", "mine", code=1)
    assert contents(tmp_path / "mine") == {"thesis.txt": b"mine"}
    assert "write ./mine/new for the folder" in run("push", "adapter", made / "adapter", "mine/new", code=1)
    assert "is a folder: leave the flags out" in run("push", "adapter", made / "adapter", "./n", "--private", code=1)
    assert not (tmp_path / "x").exists()


def plain(made: Path, tmp_path: Path) -> Path:
    load_decoder(made / "compressor").model.save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / MANIFEST).read_text())
    change(values)
    (folder / MANIFEST).write_text(json.dumps(values))


RECORD = {"num_bytes": 1, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value["files"].update({"../evil.json": RECORD}), "'../evil.json', which is no file of"),
        (lambda value: value["files"].update({"/etc/passwd": RECORD}), "'/etc/passwd', which is no file of"),
        (lambda value: value["files"].update({"adapter_model.bin": RECORD}), "pickles, code and paths"),
        (lambda value: value["files"].update({"modeling.py": RECORD}), "'modeling.py', which is no file of"),
        (lambda value: value["files"].update({"adapter_config.json": {"num_bytes": "1"}}), "lacks size or digest"),
        (lambda value: value.update(kind="dataset"), "kind must be one of compressor, adapter, corpus"),
        (lambda value: value.update(kind=["adapter"]), "kind must be one of compressor, adapter, corpus"),
        (lambda value: value.update(format="other"), "was not written by `lloco push`"),
        (lambda value: value.update(format_version=2), "upgrade this one"),
        (lambda value: value.update(files={}), "has no list of files"),
        (lambda value: value["files"]["adapter_model.safetensors"].update(num_bytes=1 << 50), "--max-gigabytes"),
        (lambda value: value["files"]["adapter_model.safetensors"].update(sha256="0" * 64), "damaged or changed"),
        (lambda value: value["files"].update({"LICENSE": RECORD}), "does not have it"),
    ],
)
def test_a_manifest_that_lies_is_refused_and_nothing_is_written(
    run: Any, made: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    run("push", "adapter", made / "adapter", "./pushed/x")
    edit(tmp_path / "./pushed/x", change)
    assert words in run("pull", "./pushed/x", "--out", "got", code=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pushed"]


def test_damage_on_the_way_is_found_and_nothing_is_written(run: Any, made: Path, tmp_path: Path) -> None:
    run("push", "compressor", made / "compressor", "./a/x")
    weights = tmp_path / "a/x/model.safetensors"
    data = weights.read_bytes()
    for broken in (data[:-100], data[:-1] + bytes([data[-1] ^ 1]), b""):
        weights.write_bytes(broken)
        assert "model.safetensors" in run("pull", "./a/x", "--out", "got", code=1)
        assert not (tmp_path / "got").exists()
    run("push", "corpus", "stories", "./b/y", "--with-text")
    soft_prompt = next((tmp_path / "b/y/soft_prompts").iterdir())
    soft_prompt.write_bytes(soft_prompt.read_bytes()[:-1])
    assert "damaged or changed" in run("pull", "./b/y", "--store", tmp_path / "s", code=1)
    assert run("corpus", "list", "--store", tmp_path / "s")["corpora"] == []
    (tmp_path / "b/y" / MANIFEST).write_text("{")
    assert "cannot be read" in run("pull", "./b/y", code=1)


def test_a_pull_overwrites_nothing_of_the_users(run: Any, made: Path, tmp_path: Path) -> None:
    run("push", "adapter", made / "adapter", "./a/x")
    (tmp_path / "got").mkdir()
    (tmp_path / "got" / "thesis.txt").write_text("mine")
    assert "holds something else" in run("pull", "./a/x", "--out", "got", code=1)
    assert contents(tmp_path / "got") == {"thesis.txt": b"mine"}
    run("push", "corpus", "stories", "./b/y", "--with-text")
    with Store(tmp_path / "s") as store:
        compressor = load_compressor(save_compressor(tmp_path / "c", seed=3))
        compressor.decoder.require_tokenizer()
        compress_into(store.corpus("stories"), lease_and_voyage(), compressor)
    assert "of its own" in run("pull", "./b/y", "--store", tmp_path / "s", code=1)
    assert run("pull", "./b/y", "--store", tmp_path / "s", "--replace")["is_new"]


SCRIPT = """
import json, sys
from lloco.cli.main import main
for argv in json.loads(sys.argv[1]):
    code = main(argv)
    print(f"<{code}>", file=sys.stderr, flush=True)
"""


def on_hub(
    hub: HubServer, tmp_path: Path, home: Path, *commands: list[str], token: str = TOKEN, is_offline: bool = False
) -> tuple[str, str]:
    """Run commands in a process whose Hub this is; returns what it wrote to both streams."""
    env = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "LLOCO_DEBUG")}
    env |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": token, "LLOCO_HOME": str(home)}
    env |= {"HF_HUB_OFFLINE": "1"} if is_offline else {}
    env["PYTHONPATH"] = str(Path(__file__).parent.parent)
    argv = [sys.executable, "-c", SCRIPT, json.dumps(commands)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def codes(err: str) -> list[int]:
    return [int(line[1:-1]) for line in err.splitlines() if line.startswith("<") and line.endswith(">")]


def test_a_hub_repository_gets_one_commit_a_push_and_gives_back_what_went(made: Path, tmp_path: Path) -> None:
    with running_hub() as hub:
        compressor, adapter = str(made / "compressor"), str(made / "adapter")
        _, err = on_hub(
            hub, tmp_path, made / "home",
            ["push", "compressor", compressor, "me/c", "--private", "--quiet"],
            ["push", "compressor", compressor, "me/c", "--quiet"],
            ["pull", "me/c", "--out", "got", "--quiet"],
            ["push", "adapter", adapter, "me/a", "--revision", "v2", "--quiet"],
            ["pull", "me/a", "--revision", "v2", "--quiet"],
            ["pull", "me/a", "--out", "main-is-empty", "--quiet"],
            ["push", "corpus", "stories", "me/s", "--quiet"],
            ["pull", "me/s", "--store", "s", "--documents", str(made / "texts"), "--quiet"],
            ["push", "adapter", adapter, "me/c", "--quiet"],
        )  # fmt: skip
        assert codes(err) == [0, 0, 0, 0, 0, 1, 0, 0, 0]
        assert "me/a has no lloco_artifact.json" in err
        commits = hub.repositories["me/c"]["main"]
        assert len(commits) == 3, "made, pushed, replaced; the same push again made none"
        assert {name: data for name, data in contents(tmp_path / "got").items() if name != MANIFEST} == {
            name: data for name, data in commits[1].items() if name not in (MANIFEST, "README.md", ".gitattributes")
        }
        assert "optimizer.pt" not in commits[1]
        assert set(commits[2]) - {".gitattributes"} == {*contents(tmp_path / "a"), "README.md"}, "no stale weights"
        assert hub.private == {"me/c"}
        assert b"Agnes" not in b"".join(hub.files("me/s").values())
        assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() == hub.files("me/a", "v2")[
            "adapter_model.safetensors"
        ]


def test_a_second_push_keeps_what_is_not_of_lloco_and_a_card_that_was_edited(made: Path, tmp_path: Path) -> None:
    with running_hub() as hub:
        compressor, adapter = str(made / "compressor"), str(made / "adapter")
        on_hub(hub, tmp_path, made / "home", ["push", "compressor", compressor, "me/c", "--license", "mit", "--quiet"])
        commits = hub.repositories["me/c"]["main"]
        commits.append({**commits[-1], "figure.png": b"mine"})
        on_hub(
            hub, tmp_path, made / "home",
            ["push", "compressor", compressor, "me/c", "--quiet"],
            ["push", "compressor", compressor, "me/c", "--license", "mit", "--quiet"],
        )  # fmt: skip
        assert len(commits) == 3, "nothing new to say"
        on_hub(
            hub, tmp_path, made / "home", ["push", "compressor", compressor, "me/c", "--license", "gpl-3.0", "--quiet"]
        )
        assert b"license: gpl-3.0" in hub.files("me/c")["README.md"] and hub.files("me/c")["figure.png"] == b"mine"
        on_hub(hub, tmp_path, made / "home", ["push", "adapter", adapter, "me/c", "--quiet"])
        files = hub.files("me/c")
        assert b"# An adapter" in files["README.md"], "a card of our own is renewed"
        assert files["figure.png"] == b"mine" and "model.safetensors" not in files
        edited = files["README.md"].replace(b"lloco", b"LLoCO", 1)
        commits.append({**files, "README.md": edited})
        on_hub(hub, tmp_path, made / "home", ["push", "compressor", compressor, "me/c", "--quiet"])
        assert hub.files("me/c")["README.md"] == edited and "model.safetensors" in hub.files("me/c")


def test_what_a_hub_refuses_or_offers_wrongly_is_explained(made: Path, tmp_path: Path) -> None:
    with running_hub() as hub:
        adapter = str(made / "adapter")
        hub.repositories["me/thesis"] = {"main": [{"thesis.tex": b"mine"}]}
        on_hub(hub, tmp_path, made / "home", ["push", "adapter", adapter, "me/a", "--private", "--quiet"])
        hub.repositories["me/big"] = {"main": [{**hub.files("me/a"), "adapter_model.safetensors": b"x" * 999}]}
        _, err = on_hub(
            hub, tmp_path, made / "home",
            ["push", "adapter", adapter, "me/thesis", "--quiet"],
            ["pull", "me/absent", "--quiet"],
            ["pull", "me/big", "--quiet"],
        )  # fmt: skip
        assert codes(err) == [1, 1, 1]
        assert "me/thesis holds thesis.tex" in err and len(hub.repositories["me/thesis"]["main"]) == 1
        assert "could not pull me/absent" in err and "check the name" in err
        assert "got 999: do not use it" in err
        assert not any("/me/big/resolve" in request and "safetensors" in request for request in hub.requests)
        _, err = on_hub(
            hub, tmp_path, made / "home",
            ["push", "adapter", adapter, "me/b", "--quiet"],
            ["pull", "me/a", "--quiet"],
            token="hf_wrong",
        )  # fmt: skip
        assert codes(err) == [1, 1] and "HF_TOKEN" in err
        address = hub.address
    hub = type("Gone", (), {"address": address})()
    _, err = on_hub(hub, tmp_path, made / "home", ["pull", "me/a", "--quiet"])
    assert codes(err) == [1] and "check the name and the connection" in err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "hf") == []


def pickle_of(made: Path, file: Path) -> bytes:
    torch.save(load_file(made / "compressor" / "model.safetensors"), file)
    return file.read_bytes()


@pytest.mark.parametrize("has_safetensors", [True, False])
def test_pickles_of_a_model_are_fetched_only_where_there_is_nothing_better_and_the_cache_serves_offline(
    made: Path, tmp_path: Path, has_safetensors: bool
) -> None:
    files = {name: data for name, data in contents(made / "compressor").items() if not name.startswith("optimizer")}
    pickle = pickle_of(made, tmp_path / "pytorch_model.bin")
    unwanted = {"optimizer.bin", "training_args.bin", "checkpoint-5/pytorch_model.bin", "original/model.bin"}
    if not has_safetensors:
        del files["model.safetensors"]
    files |= dict.fromkeys(unwanted, b"never to be fetched") | {"pytorch_model.bin": pickle}
    with running_hub() as hub:
        hub.repositories["me/m"] = {"main": [files]}
        out, err = on_hub(hub, tmp_path, made / "home", ["model", "fetch", "me/m", "--json"])
        assert codes(err) == [0], err
        folder = Path(json.loads(out)["path"])
        assert {name for name in contents(folder) if name.endswith(".bin")} == (
            set() if has_safetensors else {"pytorch_model.bin"}
        )
        texts = str(made / "texts")
        compress = ["compress", texts, "--corpus", "hub", "--store", "s", "--compressor", "me/m", "--quiet"]
        before = len(hub.requests)
        out, err = on_hub(hub, tmp_path, made / "home", compress, is_offline=True)
        assert codes(err) == [0], err
        assert len(hub.requests) == before


def test_a_module_that_a_sentence_transformers_model_has_as_a_pickle_alone_is_fetched(
    made: Path, tmp_path: Path
) -> None:
    weights = (made / "compressor" / "model.safetensors").read_bytes()
    files = {"config.json": b"{}", "modules.json": b"[]", "model.safetensors": weights, "pytorch_model.bin": b"no"}
    files |= {"1_Pooling/config.json": b"{}", "2_Dense/config.json": b"{}", "2_Dense/pytorch_model.bin": b"yes"}
    with running_hub() as hub:
        hub.repositories["me/e"] = {"main": [files]}
        out, err = on_hub(hub, tmp_path, made / "home", ["model", "fetch", "me/e", "--json"])
        assert codes(err) == [0], err
        assert contents(Path(json.loads(out)["path"])) == {
            name: data for name, data in files.items() if name != "pytorch_model.bin"
        }


def test_a_card_that_was_edited_is_not_written_over(run: Any, made: Path, tmp_path: Path) -> None:
    run("push", "adapter", made / "adapter", "./a")
    card = tmp_path / "a/README.md"
    card.write_text(card.read_text() + "My own words.\n")
    message = run("push", "adapter", made / "adapter", "./a", "--license", "mit", code=1)
    assert "was edited" in message and card.read_text().endswith("My own words.\n")
    assert not run("push", "adapter", made / "adapter", "./a")["is_new"]


def test_scores_of_another_adapter_are_not_put_on_the_card(run: Any, made: Path, tmp_path: Path) -> None:
    row = {"mode": "compressed+adapter", "n": 7, "metrics": {"f1": 12.5}, "stderr": {}}
    for digest in ("0" * 64, None):
        results = {"task": "qasper", "rows": [row], "options": {"adapter_digest": digest}}
        (tmp_path / "results.json").write_text(json.dumps(results))
        message = run("push", "adapter", made / "adapter", "./a", "--results", "results.json", code=1)
        assert "results of adapter" in message and not (tmp_path / "a").exists()
    own = run("push", "adapter", made / "adapter", "./b")["adapter_digest"]
    (tmp_path / "results.json").write_text(json.dumps(results | {"options": {"adapter_digest": own}}))
    assert run("push", "adapter", made / "adapter", "./c", "--results", "results.json")["is_new"]


def test_a_title_that_changed_comes_with_the_second_pull(run: Any, made: Path, tmp_path: Path) -> None:
    home, store = tmp_path / "other", tmp_path / "copy"
    shutil.copytree(made / "home", store)
    run("push", "corpus", "stories", "./one", "--with-text", "--store", store)
    assert run("pull", "./one", "--store", home)["is_new"]
    with Store(store) as opened:
        corpus = opened.corpus("stories", create=False)
        first = next(corpus.documents())
        corpus.refresh(Document(first.id, first.text, "A new title", first.source))
    run("push", "corpus", "stories", "./two", "--with-text", "--store", store)
    assert run("pull", "./two", "--store", home)["is_new"]
    with Store(home) as opened:
        assert next(opened.corpus("stories").documents()).title == "A new title"
    assert not run("pull", "./two", "--store", home)["is_new"]


@pytest.mark.parametrize("name", ["documents.jsonl", "adapter", "soft_prompts"])
def test_an_export_with_a_link_out_of_its_folder_is_refused(run: Any, made: Path, tmp_path: Path, name: str) -> None:
    exported(made / "home", tmp_path / "export")
    outside = tmp_path / "outside"
    (tmp_path / "export" / name).rename(outside) if (tmp_path / "export" / name).exists() else outside.mkdir()
    (tmp_path / "export" / name).symlink_to(outside)
    message = run("corpus", "import", tmp_path / "export", "--store", tmp_path / "new", code=1)
    assert "link" in message
    with Store(tmp_path / "new") as opened:
        assert opened.corpus_names() == []


def test_documents_that_were_imported_without_their_texts_are_pushed_and_pulled(
    run: Any, made: Path, tmp_path: Path
) -> None:
    with Store(tmp_path / "vectors") as store:
        for id in ("one", "two"):
            add_document(store.corpus("vectors"), id, "")
    for out, flags in (("./a", []), ("./b", ["--with-text"])):
        run("push", "corpus", "vectors", out, *flags, "--store", tmp_path / "vectors")
        assert run("pull", out, "--store", tmp_path / out / "home")["num_documents"] == 2
