"""The command line through its front door: exit codes, what goes to which stream, and messages for mistakes."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

import lloco
from lloco.cli.main import app, main
from lloco.cli.output import Output, ProgressLines, printable
from lloco.compress import compress_into
from lloco.compressors.load import load_compressor
from lloco.documents import Document
from lloco.evals.mode import MODES
from lloco.store.store import Store
from lloco.training.finetune import FinetuneOptions
from lloco.training.pretrain import ModelShape, PretrainOptions
from tests.corpora import LEASE, VOYAGE, save_compressor
from tests.tiny import tiny_llama, tiny_tokenizer

VERBS = ("demo", "compress", "finetune", "ask", "chat", "predict", "score", "evaluate", "pretrain", "serve", "corpus")
CORPUS_VERBS = ("list", "show", "remove", "verify", "export", "import")
HEAVY = {"torch", "transformers", "peft", "accelerate", "numpy", "rich.markdown", "datasets", "matplotlib"}


@pytest.fixture(scope="module")
def compressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_compressor(tmp_path_factory.mktemp("compressor") / "tiny")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a store and a working folder of its own."""
    monkeypatch.setenv("LLOCO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLOCO_DEBUG", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "lease.txt").write_text(LEASE)
    (folder / "voyage.md").write_text(VOYAGE)
    return folder


class Run:
    """Runs `lloco` in this process and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *argv: object) -> int:
        self._capsys.readouterr()
        code = main([str(one) for one in argv])
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code

    def json(self, *argv: object) -> dict[str, Any]:
        """Run a command that must succeed with one JSON object, and nothing else, on standard output."""
        assert self(*argv, "--json") == 0, self.err
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    def fails(self, *argv: object, code: int = 1) -> str:
        """Run a command that must fail; returns its message."""
        assert self(*argv) == code, (self.out, self.err)
        assert self.out == ""
        return self.err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


@pytest.fixture
def filled(run: Run, docs: Path, compressor: Path) -> Run:
    run.json("compress", docs, "--corpus", "c", "--compressor", compressor, "--quiet")
    return run


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    return path


def commands() -> Iterator[tuple[str, Any]]:
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {one}", inner[one]) for one in inner) if inner else [(name, command)]


# The front door


def test_there_are_exactly_these_verbs() -> None:
    assert {name for name, _ in commands()} == {*VERBS[:-1], *(f"corpus {one}" for one in CORPUS_VERBS)}


def test_help_of_every_verb_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from lloco.cli.main import main; import lloco\n"
        f"for verb in {VERBS!r}: assert main([verb, '--help']) == 0\n"
        f"assert main(['--help']) == 0\nprint(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.count("Example") >= len(VERBS) - 1


@pytest.mark.parametrize(
    "verb", [(), *[(one,) for one in VERBS if one not in ("demo", "serve")], ("corpus", "show"), ("corpus", "import")]
)
def test_a_verb_without_arguments_shows_its_help(run: Run, verb: tuple[str, ...]) -> None:
    assert run(*verb) == 2
    assert "Usage: lloco" in run.out + run.err


PREDICT = ("predict", "--task", "qasper", "--data", "x")
EVALUATE = ("evaluate", "--task", "qasper", "--data", "x")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["compress", "x"], "--corpus"),
        (["ask", "--corpus", "c"], "QUESTION"),
        ([*PREDICT, "--mode", "psychic"], "'--mode': there is no 'psychic', choose one of compressed, full, truncated"),
        ([*PREDICT, "--modes", "full,none"], "No such option: --modes"),
        ([*PREDICT, "--limit", "0"], "'--limit': a whole number of at least 1 was wanted, 0 came"),
        ([*PREDICT, "--limit", "some"], "'--limit': a whole number of at least 1 was wanted, some came"),
        ([*PREDICT, "--seed", "-1"], "'--seed': a whole number of at least 0 was wanted, -1 came"),
        ([*PREDICT, "--dtype", "int4"], "there is no 'int4', choose one of auto, float32, bfloat16, float16"),
        ([*EVALUATE, "--modes", "full,psychic"], "'--modes': there is no mode 'psychic', choose some of compressed,"),
        ([*EVALUATE, "--modes", "full,full"], "mode full is named twice"),
        ([*EVALUATE, "--limit", "-1"], "'--limit': a whole number of at least 1 was wanted, -1 came"),
        ([*EVALUATE, "--batch-size", "0"], "'--batch-size': a whole number of at least 1 was wanted, 0 came"),
        (["compress", "x", "--corpus", "c", "--batch-size", "0"], "--batch-size"),
        (["compress", "x", "--corpus", "c", "--ratio", "8", "--segment-len", "9"], "not both"),
        (["ask", " ", "--corpus", "c"], "empty"),
        (["corpus", "show", "a", "--corpus", "b"], "name one corpus"),
        (["finetune", "--data", "x"], "--corpus"),
        (["pretrain", "--data", "x", "--out", "y", "--num-attention-heads", "5"], "multiple"),
    ],
)
def test_a_wrong_command_line_is_explained_with_exit_code_2(run: Run, argv: list[str], words: str) -> None:
    assert words in run.fails(*argv, code=2)


def test_flags_are_spelled_and_explained_the_same_everywhere() -> None:
    own_meaning = {
        "--out",
        "--data",
        "--batch-size",
        "--segment-len",
        "--document",
        "--predictions",
        "--corpus",
        "--task",
    }
    helps: dict[str, set[str]] = {}
    for _, command in commands():
        for option in command.params:
            for flag in option.opts:
                if flag.startswith("--") and flag not in own_meaning:
                    helps.setdefault(flag, set()).add(str(option.help))
    shared = {"--model", "--compressor", "--adapter", "--store", "--device", "--dtype", "--limit", "--seed", "--json"}
    assert {flag for flag in shared if len(helps[flag]) != 1} == set()


def test_every_verb_but_chat_can_print_json_and_be_quiet() -> None:
    for name, command in commands():
        flags = {flag for option in command.params for flag in option.opts}
        assert "--quiet" in flags
        assert ("--json" in flags) == (name != "chat")


def test_defaults_are_those_of_the_library() -> None:
    params = {name: {one.name: one.default for one in command.params} for name, command in commands()}
    tuned, lora = FinetuneOptions(), FinetuneOptions().lora
    for field in fields(FinetuneOptions):
        if field.name in params["finetune"]:
            assert params["finetune"][field.name] == getattr(tuned, field.name), field.name
    assert (params["finetune"]["lora_r"], params["finetune"]["lora_alpha"]) == (lora.r, lora.alpha)
    assert params["finetune"]["lora_dropout"] == lora.dropout
    assert tuple(params["finetune"]["target_modules"].split(",")) == lora.target_modules
    trained, shape = PretrainOptions(data=()), ModelShape()
    for name, value in params["pretrain"].items():
        if hasattr(trained, name) and name not in ("data", "validation", "tokenizer_text"):
            assert value == getattr(trained, name), name
        elif hasattr(shape, name):
            assert value == getattr(shape, name), name
    assert tuple(params["evaluate"]["modes"].split(",")) == MODES


def test_version_is_printed(run: Run) -> None:
    assert run("--version") == 0
    assert run.out.strip() == lloco.__version__


# compress


def test_compress_stores_and_says_what_it_did_and_what_is_next(run: Run, docs: Path, compressor: Path) -> None:
    assert run("compress", docs, "--corpus", "c", "--compressor", compressor) == 0
    for words in ("compressed now", "2", "virtual tokens", "ratio", "tokens per second"):
        assert words in run.out
    assert 'next: lloco ask --corpus c "your question"' in run.err
    with Store() as store:
        assert store.corpus("c", create=False).document_ids() == ["lease.txt", "voyage.md"]


def test_compress_again_skips_what_is_unchanged_and_prune_removes_what_is_gone(
    run: Run, docs: Path, compressor: Path
) -> None:
    argv = ["compress", docs, "--corpus", "c", "--compressor", compressor]
    first, second = run.json(*argv), run.json(*argv)
    assert (first["num_new"], first["num_unchanged"], second["num_new"], second["num_unchanged"]) == (2, 0, 0, 2)
    assert first["compression_ratio"] > 1
    (docs / "voyage.md").unlink()
    assert run.json(*argv)["num_removed"] == 0
    assert run.json(*argv, "--prune")["num_removed"] == 1
    assert run.json("corpus", "show", "c")["num_documents"] == 1


def test_what_cannot_be_read_is_named_and_the_rest_is_compressed(run: Run, docs: Path, compressor: Path) -> None:
    (docs / "empty.txt").write_bytes(b"")
    (docs / "binary.txt").write_bytes(bytes(range(256)) * 20)
    (docs / "nul.txt").write_bytes(b"text\0\0\0\0" * 50)
    (docs / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    value = run.json("compress", docs, "--corpus", "c", "--compressor", compressor)
    assert value["num_new"] == 2
    assert {Path(one["source"]).name for one in value["skipped"]} == {"empty.txt", "binary.txt", "nul.txt", "photo.jpg"}
    assert all(one["reason"] for one in value["skipped"])
    assert run("compress", docs, "--corpus", "c", "--compressor", compressor) == 0
    assert "nul.txt" in run.out


def test_bytes_that_are_not_utf8_are_read_or_named_never_replaced(run: Run, docs: Path, compressor: Path) -> None:
    (docs / "latin.txt").write_bytes("Le café était fermé à midi, l'été dernier.".encode("cp1252"))
    value = run.json("compress", docs, "--corpus", "c", "--compressor", compressor)
    if value["skipped"]:
        assert "latin.txt" in value["skipped"][0]["source"]
    else:
        with Store() as store:
            assert "café était fermé" in store.corpus("c").document("latin.txt").text


def test_a_folder_without_documents_makes_no_corpus(run: Run, tmp_path: Path, compressor: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "holds none" in run.fails("compress", tmp_path / "none", "--corpus", "c", "--compressor", compressor)
    (tmp_path / "none" / "photo.jpg").write_bytes(b"\xff")
    assert "photo.jpg" in run.fails("compress", tmp_path / "none", "--corpus", "c", "--compressor", compressor)
    assert run.json("corpus", "list")["corpora"] == []


def test_a_broken_json_line_is_named_and_nothing_is_compressed(run: Run, tmp_path: Path, compressor: Path) -> None:
    lines = write_lines(tmp_path / "d.jsonl", {"id": "a", "text": LEASE}, '{"id": "b", "text": ')
    assert "line 2" in run.fails("compress", lines, "--corpus", "c", "--compressor", compressor)
    write_lines(lines, {"id": "a", "text": LEASE}, {"id": "a", "text": VOYAGE})
    assert "occurs twice" in run.fails("compress", lines, "--corpus", "c", "--compressor", compressor)
    assert run.json("corpus", "list")["corpora"] == []


def test_a_ratio_is_reached_and_warned_of(run: Run, docs: Path, compressor: Path) -> None:
    argv = ["compress", docs, "--corpus", "c", "--compressor", compressor, "--ratio", "10"]
    assert run(*argv) == 0
    assert "was trained on segments" in run.err
    shown = run.json("corpus", "show", "c")
    for one in shown["documents"]:
        assert one["num_virtual_tokens"] == -(-one["num_tokens"] // 40) * 4
    assert "a ratio above 1" in run.fails(*argv[:-1], "0.5")


def test_a_corpus_keeps_its_ratio_until_another_is_named_and_then_says_what_that_means(
    filled: Run, docs: Path, tmp_path: Path
) -> None:
    argv = ["compress", docs, "--corpus", "c"]
    assert filled(*argv, "--ratio", "10") == 0
    assert "corpus c has segments of 24 tokens (ratio 6), these documents are compressed again" in filled.err
    assert "in segments of 40 tokens (ratio 10)" in filled.err and "adapter" not in filled.err
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    digest = filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)["adapter_digest"]
    (docs / "third.txt").write_text(VOYAGE * 2)
    value = filled.json(*argv)
    assert (value["num_new"], value["num_unchanged"]) == (1, 2)
    assert "segments of 40 tokens (ratio 10), as corpus c has them" in filled.err and "warning" not in filled.err
    assert filled.json(*argv, "--segment-len", "24")["num_new"] == 3
    assert "warning: the adapter of corpus c was trained on what was there before: run `lloco finetune" in filled.err
    shown = filled.json("corpus", "show", "c")
    assert (shown["segment_len"], shown["adapter_digest"]) == (24, digest)


def test_an_emptied_corpus_with_an_adapter_is_told_of_another_compressor(
    filled: Run, docs: Path, tmp_path: Path
) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    filled.json("corpus", "remove", "c", "--document", "lease.txt", "--document", "voyage.md")
    other = save_compressor(tmp_path / "other", seed=1)
    assert filled("compress", docs, "--corpus", "c", "--compressor", other) == 0
    assert "was trained on what was there before" in filled.err


def test_int8_is_stored_and_its_loss_is_told(run: Run, docs: Path, compressor: Path) -> None:
    assert run("compress", docs, "--corpus", "c", "--compressor", compressor, "--storage-dtype", "int8") == 0
    assert "loss of storing" in run.out
    assert {one["dtype"] for one in run.json("corpus", "show", "c")["documents"]} == {"int8"}


def test_a_model_that_cannot_compress_and_a_missing_one_are_explained(run: Run, docs: Path, tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "plain")
    argv = ["compress", docs, "--corpus", "c", "--compressor"]
    assert "embed_summary.weight" in run.fails(*argv, tmp_path / "plain")
    assert "no checkpoint at" in run.fails(*argv, tmp_path / "nowhere")


def test_another_compressor_than_the_corpuss_is_refused(filled: Run, docs: Path, tmp_path: Path) -> None:
    other = save_compressor(tmp_path / "other", seed=1)
    assert "or use another corpus" in filled.fails("compress", docs, "--corpus", "c", "--compressor", other)


def test_compress_for_a_named_model_is_refused_where_the_compressor_is_not_made_for_it(
    run: Run, docs: Path, compressor: Path, tmp_path: Path
) -> None:
    argv = ["compress", docs, "--corpus", "c", "--compressor", compressor, "--model"]
    other = save_compressor(tmp_path / "other", seed=1)
    message = run.fails(*argv, other)
    assert f"{other} (48 wide" in message and f"{compressor} makes them" in message
    assert run.json(*argv, compressor)["num_new"] == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_store_is_explained(filled: Run, docs: Path, home: Path, compressor: Path) -> None:
    (docs / "new.txt").write_text(VOYAGE)
    for path in (home, *home.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        message = filled.fails("compress", docs, "--corpus", "c", "--compressor", compressor)
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert "--store" in message


def raiser(error: BaseException) -> Callable[..., None]:
    def raise_it(*args: object, **kwargs: object) -> None:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted: the documents compressed so far are in the store"),
        (OSError(28, "No space left on device", "/disk/x"), 1, "No space left on device (/disk/x)"),
        (RuntimeError("it broke\nbadly"), 1, "RuntimeError: it broke\nthis is a fault of lloco; set LLOCO_DEBUG=1"),
    ],
)
def test_what_goes_wrong_on_the_way_is_one_message(
    run: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    monkeypatch.setattr("lloco.compress.compress_into", raiser(error))
    assert words in run.fails("compress", docs, "--corpus", "c", "--compressor", compressor, code=code)


def test_debug_shows_where_it_broke(
    docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lloco.compress.compress_into", raiser(RuntimeError("it broke")))
    monkeypatch.setenv("LLOCO_DEBUG", "1")
    assert main(["compress", str(docs), "--corpus", "c", "--compressor", str(compressor)]) == 1
    assert "raise_it" in capsys.readouterr().err


# ask and chat


def test_ask_answers_and_says_what_it_read(filled: Run) -> None:
    assert filled("ask", "--corpus", "c", "Who was master of the Petrel?", "--max-tokens", "4") == 0
    assert "from voyage.md" in filled.out
    assert "virtual tokens instead of" in filled.out
    value = filled.json("ask", "--corpus", "c", "Who was master of the Petrel?", "--max-tokens", "4")
    assert value["documents"][0]["document_id"] == "voyage.md"
    assert value["num_virtual_tokens"] < value["num_document_tokens"]
    pinned = filled.json("ask", "--corpus", "c", "Who?", "--document", "lease.txt", "--max-tokens", "4")
    assert pinned["documents"][0]["document_id"] == "lease.txt"


def test_ask_says_whether_an_adapter_read(filled: Run, tmp_path: Path) -> None:
    argv = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2"]
    assert filled(*argv) == 0
    assert "without an adapter" in filled.out and filled.err.count("bundled") == 0
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    digest = filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)["adapter_digest"]
    assert filled(*argv) == 0
    assert f"with adapter {digest[:12]}" in filled.out


def test_answers_of_the_bundled_model_come_with_a_hint_of_what_it_is(
    run: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lloco.compressors.load.BUNDLED_FOLDER", compressor)
    run.json("compress", docs, "--corpus", "c")
    argv = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2"]
    assert run(*argv) == 0
    [hint] = [line for line in run.err.splitlines() if "bundled model" in line]
    assert "tiny" in hint and "--compressor" in hint
    assert run(*argv, "--quiet") == 0
    assert run.err == ""
    lines = iter(["Who signed?", "Who was lost?"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines, "/quit"))
    assert run("chat", "--corpus", "c", "--max-tokens", "2") == 0
    assert run.err.count("bundled model") == 1


def test_an_adapter_of_the_hub_is_named_by_its_id(
    filled: Run, tmp_path: Path, qa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    digest = filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)["adapter_digest"]
    repository = tmp_path / "models--owner--adapter"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(Path("finetune-c") / "adapter", repository / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2", "--adapter"]
    assert filled.json(*asked, "owner/adapter")["adapter"] == digest
    predicted = ["predict", "--task", "jsonl", "--data", qa, "--corpus", "c", "--max-tokens", "2", "--adapter"]
    assert filled.json(*predicted, "owner/adapter")["adapter"] is not None
    assert "the hub did not give owner/absent" in filled.fails(*asked, "owner/absent")
    assert "give an existing folder or a hub id" in filled.fails(*asked, "nowhere")


def test_ask_explains_what_it_cannot_find(filled: Run, tmp_path: Path) -> None:
    assert "has c:" in filled.fails("ask", "--corpus", "nope", "Who?")
    assert "there is none of that id" in filled.fails("ask", "--corpus", "c", "Who?", "--document", "nope.txt")
    assert "has a word of it" in filled.fails("ask", "--corpus", "c", "Xyzzy?")
    wide = save_compressor(tmp_path / "wide", hidden_size=64, head_dim=16)
    assert "64 wide" in filled.fails("ask", "--corpus", "c", "Who signed?", "--model", wide)
    (tmp_path / "adapter").mkdir()
    assert "adapter" in filled.fails("ask", "--corpus", "c", "Who signed?", "--adapter", tmp_path / "adapter")


def test_ask_holds_models_of_the_same_width_to_the_corpuss(filled: Run, compressor: Path, tmp_path: Path) -> None:
    argv = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2"]
    other = save_compressor(tmp_path / "other", seed=1)
    assert str(other) in filled.fails(*argv, "--model", other)
    assert str(other) in filled.fails(*argv, "--compressor", other)
    there = tmp_path / "there"
    shutil.copytree(compressor, there)
    assert filled(*argv, "--compressor", there) == filled(*argv, "--model", there) == 0


def test_an_adapter_without_its_wording_is_told_of_and_takes_a_template(
    filled: Run, tmp_path: Path, qa: Path, compressor: Path
) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    adapter = Path("finetune-c") / "adapter"
    given = (adapter / "template.json").rename(tmp_path / "given.json")
    reading = ["--task", "jsonl", "--data", qa, "--compressor", compressor, "--max-tokens", "2", "--adapter", adapter]
    for argv in (
        ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2", "--adapter", adapter],
        ["predict", *reading],
        ["evaluate", *reading, "--modes", "compressed"],
    ):
        assert filled(*argv) == 0, filled.err
        assert "has no template.json" in filled.err
        for name in (given, "default"):
            again = ["--out", f"again-{argv[0]}-{Path(name).stem}"] if argv[0] != "ask" else []
            assert filled(*argv, "--template", name, *again) == 0, filled.err
            assert "has no template.json" not in filled.err
    assert "no template is named 'nope'" in filled.fails("predict", *reading, "--template", "nope")


def test_nothing_in_an_answer_or_a_title_reaches_the_terminal_as_a_command() -> None:
    assert printable("a\x1b[2Jb\rc\x07\td\n\x9bé水") == "a�[2Jb�c�\td\n�é水"


def test_chat_answers_until_it_is_told_to_quit(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["/sources", "", "Who signed the lease?", "/sources", "/shout", "Xyzzy?", "/quit", "never"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert filled("chat", "--corpus", "c", "--max-tokens", "4") == 0
    assert filled.out.startswith("nothing has been read yet")
    for words in ("from lease.txt", "there is no /shout", "error: a document about 'Xyzzy?'"):
        assert words in filled.out
    assert next(lines) == "never"


def test_chat_ends_with_its_input(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", raiser(EOFError()))
    assert filled("chat", "--corpus", "c") == 0


# finetune

QUICK = ("--num-steps", "2", "--batch-size", "2", "--micro-batch-size", "2", "--learning-rate", "0.05")


def test_finetune_gives_the_corpus_an_adapter_that_asks_use(filled: Run, tmp_path: Path) -> None:
    lines = write_lines(
        tmp_path / "qa.jsonl",
        {"question": "Who signed?", "answer": "Agnes Webb", "document": "lease.txt"},
        {"question": "Who was master?", "answers": ["Edmund Crane", "Crane"], "document_id": "voyage.md"},
    )
    value = filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    assert (value["n"], value["num_steps"], value["corpus"]) == (2, 2, "c")
    assert (Path("finetune-c") / "adapter" / "adapter_model.safetensors").is_file()
    answer = filled.json("ask", "--corpus", "c", "Who signed the lease?", "--max-tokens", "4")
    assert answer["adapter"] is not None
    assert filled.json("corpus", "show", "c")["adapter_digest"] == value["adapter_digest"]
    changed = write_lines(tmp_path / "qa.jsonl", {"question": "What?", "answer": "That", "document": "lease.txt"})
    assert "another" in filled.fails("finetune", "--corpus", "c", "--data", changed, *QUICK)


def test_finetune_compresses_the_documents_that_come_with_a_task(run: Run, tmp_path: Path, compressor: Path) -> None:
    data = write_lines(
        tmp_path / "train.jsonl",
        {"id": "lease", "text": LEASE, "questions": [{"question": "Who signed?", "answers": ["Agnes Webb"]}]},
        {"id": "voyage", "text": VOYAGE, "questions": [{"question": "Who was master?", "answers": ["Edmund Crane"]}]},
    )
    argv = ["finetune", "--corpus", "stories", "--compressor", compressor, "--data", data, *QUICK]
    assert run.json(*argv, "--task", "fairytaleqa")["n"] == 2
    assert run.json(*argv[:1], *argv[3:], "--task", "fairytaleqa")["corpus"] == "fairytaleqa"
    assert run.json("corpus", "show", "stories")["num_documents"] == 2
    assert run(*argv, "--out", "again", "--validation", data, "--evaluate-every", "1") == 0
    assert "compressing" not in run.err
    assert "next: lloco ask --corpus stories" in run.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"question": ', "line 2"),
        ({"question": "Who?", "answer": "A", "document": "treaty.txt"}, "'treaty.txt' came"),
        ({"question": "Who?", "answer": "A"}, "none is named"),
        ({"question": "Who?", "document": "lease.txt"}, "line 2"),
        ({"answer": "A", "document": "lease.txt"}, "`question`"),
        ({"question": "W?", "answer": "C", "options": ["x", "y"], "document": "lease.txt"}, "one of the options"),
        ({"question": "W?", "answer": "x", "options": ["x", "y"], "document": "lease.txt"}, "several kinds"),
        ([1, 2], "line 2"),
    ],
)
def test_a_question_line_that_cannot_be_learned_is_named(filled: Run, tmp_path: Path, line: object, words: str) -> None:
    good = {"question": "Who signed?", "answer": "Agnes Webb", "document": "lease.txt"}
    lines = write_lines(tmp_path / "qa.jsonl", good, line)
    assert words in filled.fails("finetune", "--corpus", "c", "--data", lines, *QUICK)
    assert filled.json("corpus", "show", "c")["adapter_digest"] is None


def test_multiple_choice_is_learned_as_letters(filled: Run, tmp_path: Path) -> None:
    question = {"question": "Who?", "options": ["Webb", "Crane"], "answer": "Crane", "document": "voyage.md"}
    lines = write_lines(tmp_path / "qa.jsonl", question, {**question, "answer": "A"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    template = json.loads((Path("finetune-c") / "adapter" / "template.json").read_text())
    assert template["name"] == "multiple_choice"
    assert "wants options" in filled.fails("ask", "--corpus", "c", "Who was master?")
    argv = ["ask", "--corpus", "c", "Who was master?", "--option", "Webb", "--option", "Crane", "--max-tokens", "2"]
    assert filled(*argv) == 0


def test_finetune_without_a_corpus_or_data_is_explained(run: Run, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "qa.jsonl", {"question": "Who?", "answer": "A", "document": "a"})
    assert "wanted corpus 'new', the store" in run.fails("finetune", "--corpus", "new", "--data", lines)
    assert "cannot read" in run.fails("finetune", "--corpus", "new", "--data", tmp_path / "nowhere.jsonl")
    assert run.json("corpus", "list")["corpora"] == []


def test_finetune_of_a_corpus_that_is_not_there_names_those_that_are(filled: Run, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "qa.jsonl", {"question": "Who?", "answer": "A", "document": "lease.txt"})
    assert "wanted corpus 'nope', the store" in filled.fails("finetune", "--corpus", "nope", "--data", lines)
    assert "has c: choose" in filled.err and "lease.txt" not in filled.err


def test_other_processes_wait_until_the_first_one_has_compressed_the_documents(
    run: Run, tmp_path: Path, qa: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_stored: list[int] = []

    class SecondProcess:
        is_main_process = False

        def wait_for_everyone(self) -> None:
            num_stored.append(sum(one.num_documents for one in store.corpora()))
            raise KeyboardInterrupt

    def compress_as_the_first_process() -> None:
        loaded, corpus = load_compressor(compressor), store.corpus("new")
        for id, text in (("l", LEASE), ("v", VOYAGE)):
            compress_into(corpus, [Document(id, text)], loaded)

    monkeypatch.setattr("lloco.training.loop.process_state", lambda device: SecondProcess())
    monkeypatch.setattr("lloco.cli.finetune.WAIT_SECONDS", 0.01)
    with Store() as store:
        timer = threading.Timer(0.5, compress_as_the_first_process)
        timer.start()
        try:
            run.fails("finetune", "--corpus", "new", "--task", "fairytaleqa", "--data", qa, *QUICK, code=130)
        finally:
            timer.join()
    assert num_stored == [2]


# predict, score, evaluate


@pytest.fixture
def qa(tmp_path: Path) -> Path:
    return write_lines(
        tmp_path / "qa_task.jsonl",
        {"id": "l", "text": LEASE, "questions": [{"id": "q1", "question": "Who signed?", "answers": ["Agnes Webb"]}]},
        {"id": "v", "text": VOYAGE, "questions": [{"id": "q2", "question": "Who was lost?", "answers": ["Petrel"]}]},
    )


@pytest.mark.parametrize("mode", MODES)
def test_predict_writes_a_file_that_score_reads(run: Run, qa: Path, compressor: Path, mode: str) -> None:
    argv = ["--task", "fairytaleqa", "--data", qa]
    value = run.json("predict", *argv, "--mode", mode, "--compressor", compressor, "--max-tokens", "3")
    assert (value["n"], value["mode"], value["num_cut"]) == (2, mode, 0)
    assert (value["decoding"], value["seed"]) == ("greedy", 0)
    assert (value["virtual_tokens"] > 0, value["context_tokens"] > 0) == (
        mode == "compressed",
        mode in ("full", "truncated", "retrieval"),
    )
    assert set(json.loads(Path(f"fairytaleqa-{mode}.json").read_text())) == {"q1", "q2"}
    scores = run.json("score", *argv, "--predictions", f"fairytaleqa-{mode}.json")
    assert (scores["task"], scores["n"]) == ("fairytaleqa", 2)
    assert set(scores["metrics"]) == set(scores["stderr"]) == {"answer_f1", "exact_match", "rougeL"}


def test_predict_takes_soft_prompts_and_the_adapter_from_the_corpus(filled: Run, tmp_path: Path, qa: Path) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    argv = ["predict", "--task", "jsonl", "--data", qa, "--corpus", "c", "--max-tokens", "3"]
    assert filled(*argv, "--predictions", "p.json") == 0
    assert "holds 2 of the 2 documents" in filled.err
    assert filled.json(*argv, "--predictions", "p.json")["adapter"] is not None
    assert filled.json(*argv, "--mode", "full")["adapter"] is None


def test_score_needs_no_model_and_prints_what_it_knows(qa: Path) -> None:
    Path("p.json").write_text('{"q1": "Agnes Webb", "q2": "the brig Petrel"}')
    argv = ["score", "--task", "fairytaleqa", "--data", str(qa), "--predictions", "p.json", "--json"]
    code = (
        f"import sys; from lloco.cli.main import main; assert main({argv!r}) == 0\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    value = json.loads(done.stdout)
    assert value["metrics"]["exact_match"] == 50.0
    assert value["metrics"]["answer_f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_score_explains_missing_ids_unknown_tasks_and_broken_files(run: Run, qa: Path) -> None:
    Path("p.json").write_text('{"q1": "Agnes Webb"}')
    argv = ["score", "--data", qa, "--predictions", "p.json", "--task"]
    assert "1 are missing: q2" in run.fails(*argv, "fairytaleqa")
    assert "choose one of" in run.fails(*argv, "trivia")
    assert run.json(*argv, "fairytaleqa", "--limit", "1")["n"] == 1
    Path("p.json").write_text('{"q1": ')
    assert "not valid JSON" in run.fails(*argv, "fairytaleqa")
    assert "cannot read" in run.fails(*argv[:-2], "nowhere.json", "--task", "fairytaleqa")


def test_evaluate_prints_a_row_per_mode_and_writes_results_and_a_report(run: Run, qa: Path, compressor: Path) -> None:
    argv = ["evaluate", "--task", "fairytaleqa", "--data", qa, "--compressor", compressor, "--max-tokens", "3"]
    value = run.json(*argv, "--modes", "compressed,retrieval,none", "--out", "res")
    assert [row["mode"] for row in value["rows"]] == ["compressed", "retrieval", "none"]
    for key in ("n", "metrics", "stderr", "context_tokens", "virtual_tokens", "compression_ratio", "seconds"):
        assert all(key in row for row in value["rows"])
    compressed, retrieval, none = value["rows"]
    assert compressed["virtual_tokens"] >= retrieval["context_tokens"] > none["context_tokens"] == 0
    assert value["options"]["compressor"] and value["versions"]["torch"]
    assert json.loads(Path("res/results.json").read_text()) == value
    assert "<html" in Path("res/report.html").read_text()
    assert "modes compressed,retrieval,none (now none)" in run.fails(*argv, "--modes", "none", "--out", "res")
    assert json.loads(Path("res/results.json").read_text()) == value
    assert run(*argv, "--modes", "none", "--out", "res2") == 0
    assert "exact match" in run.out


def test_a_compressor_of_another_width_than_the_model_is_refused(
    run: Run, qa: Path, compressor: Path, tmp_path: Path
) -> None:
    wide = save_compressor(tmp_path / "wide", hidden_size=64, head_dim=16)
    argv = ["predict", "--task", "jsonl", "--data", qa, "--model", wide, "--compressor", compressor]
    assert "48 wide" in run.fails(*argv)
    assert run(*argv, "--mode", "full", "--max-tokens", "2") == 0
    other = save_compressor(tmp_path / "other", seed=1)
    argv[argv.index(wide)] = other
    message = run.fails(*argv)
    assert str(other) in message and str(compressor) in message


def test_modes_that_read_no_soft_prompts_need_no_compressor(run: Run, qa: Path, tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "plain")
    tiny_tokenizer().save_pretrained(tmp_path / "plain")
    argv = ["evaluate", "--task", "jsonl", "--data", qa, "--model", tmp_path / "plain", "--max-tokens", "2"]
    argv += ["--compressor", tmp_path / "nowhere", "--modes", "full,truncated,none,retrieval"]
    assert len(run.json(*argv, "--context-budget", "8")["rows"]) == 4
    assert "nowhere" in run.fails(*argv, "--out", "second")


# corpus


def test_corpora_are_listed_shown_verified_and_removed(filled: Run) -> None:
    assert [one["name"] for one in filled.json("corpus", "list")["corpora"]] == ["c"]
    shown = filled.json("corpus", "show", "c", "--document", "lease.txt")
    assert [one["id"] for one in shown["documents"]] == ["lease.txt"]
    assert filled.json("corpus", "verify") == {"num_documents": 2, "problems": []}
    assert filled("corpus", "list") == filled("corpus", "show", "--corpus", "c") == 0
    assert "voyage.md" in filled.out
    assert "there is none of that id" in filled.fails("corpus", "remove", "c", "--document", "nope")
    assert filled.json("corpus", "remove", "c", "--document", "lease.txt")["num_documents"] == 1
    assert filled.json("corpus", "remove", "c")["is_corpus_removed"]
    assert "has none yet" in filled.fails("corpus", "show", "c")


def test_verify_finds_damage_and_repair_leads_to_compressing_again(
    filled: Run, home: Path, docs: Path, compressor: Path
) -> None:
    broken = next((home / "soft_prompts").rglob("*.safetensors"))
    broken.write_bytes(broken.read_bytes()[:-4])
    assert filled("corpus", "verify") == 1
    assert "digest_mismatch" in filled.out
    assert filled("corpus", "verify", "--repair") == 0
    assert filled.json("compress", docs, "--corpus", "c", "--compressor", compressor)["num_new"] == 1
    assert filled("corpus", "verify") == 0


def test_a_corpus_moves_to_another_store(filled: Run, tmp_path: Path) -> None:
    assert filled.json("corpus", "export", "c", "--out", "moved")["num_documents"] == 2
    second = ["--store", tmp_path / "second"]
    assert filled.json("corpus", "import", "moved", "--corpus", "d", *second) == {"corpus": "d", "num_documents": 2}
    assert filled("ask", "--corpus", "d", "Who signed the lease?", "--max-tokens", "2", *second) == 0
    assert "exists" in filled.fails("corpus", "export", "c", "--out", "moved")
    assert "corpus.json" in filled.fails("corpus", "import", tmp_path)
    assert "Errno" not in filled.fails("corpus", "import", tmp_path / "nowhere")
    filled.json("corpus", "remove", "d", "--document", "lease.txt", *second)
    assert filled.json("corpus", "import", "moved", "--corpus", "d", *second)["num_documents"] == 2
    filled.json("corpus", "remove", "c", "--document", "lease.txt")
    filled.json("corpus", "export", "c", "--out", "less")
    assert "--replace" in filled.fails("corpus", "import", "less", "--corpus", "d", *second)
    assert filled.json("corpus", "import", "less", "--corpus", "d", "--replace", *second)["num_documents"] == 1
    assert [one["id"] for one in filled.json("corpus", "show", "d", *second)["documents"]] == ["voyage.md"]


def test_of_a_truncated_document_both_counts_are_shown(run: Run, tmp_path: Path, compressor: Path) -> None:
    (tmp_path / "long.txt").write_text("abcdefg " * 1000)
    argv = ["compress", tmp_path / "long.txt", "--corpus", "c", "--compressor", compressor]
    run.json(*argv, "--long-documents", "truncate")
    [shown] = run.json("corpus", "show", "c")["documents"]
    assert shown["num_read_tokens"] < shown["num_tokens"]
    assert run("corpus", "show", "c") == 0
    assert f"{shown['num_read_tokens']:,} read of {shown['num_tokens']:,}" in run.out
    assert f" {shown['num_read_tokens'] / shown['num_virtual_tokens']:.1f} " in run.out


# pretrain, demo


def test_pretrain_makes_a_compressor_that_compress_reads(run: Run, tmp_path: Path, docs: Path) -> None:
    questions = [{"question": "Who signed?", "answers": ["Agnes Webb"]}]
    data = write_lines(tmp_path / "t.jsonl", *[{"text": f"{LEASE} {n}", "questions": questions} for n in range(40)])
    small = "--vocab-size 300 --hidden-size 16 --intermediate-size 16 --num-hidden-layers 1 --num-attention-heads 2"
    argv = ["pretrain", "--data", data, "--out", "run", *small.split(), "--segment-len", "16", "--summary-length", "2"]
    steps = ["--language-model-steps", "2", "--compressor-steps", "2", "--batch-tokens", "256", "--no-bf16"]
    value = run.json(*argv, *steps)
    assert value["stages"]["compressor"]["step"] == 2
    assert run.json("compress", docs, "--corpus", "c", "--compressor", value["model"])["num_new"] == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"title": "no text"}, 'it has no string "text" or "context"'),
        ({"text": "a", "questions": [{"question": "q"}]}, 'list of objects with "question" and "answers"'),
        ([1], 'it has no string "text" or "context"'),
        ("{not json", "not valid JSON"),
        (None, "t.jsonl (No such file or directory)"),
    ],
)
def test_what_pretrain_cannot_read_is_said_in_plain_words(run: Run, tmp_path: Path, line: object, words: str) -> None:
    data = tmp_path / "t.jsonl"
    if line is not None:
        write_lines(data, line)
    message = run.fails("pretrain", "--data", data, "--out", "run2")
    assert words in message
    assert not any(leak in message for leak in ("KeyError", "TypeError", "Errno", "fault of lloco"))


def test_the_demo_names_its_tasks(run: Run) -> None:
    assert "museum" in run.fails("demo", "--task", "nonsense")


# what a verb says


def test_progress_in_a_log_is_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("lloco.cli.output.time.monotonic", lambda: now)
    said: list[str] = []
    lines = ProgressLines("compressing", "tokens", said.append)
    for _ in range(25):
        now += 1.0
        lines.advance(100, 5000)
    assert said == [
        "compressing: 1,000 of 5,000 tokens, 100 tokens/s, 40s left",
        "compressing: 2,000 of 5,000 tokens, 100 tokens/s, 30s left",
    ]


def test_only_the_first_of_several_processes_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    output = Output()
    output.say("a")
    output.warn("b")
    output.result({"c": 1}, "d")
    with output.progress("e", "f") as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")


def test_the_public_names_are_loaded_when_they_are_used() -> None:
    code = (
        "import sys, lloco\n"
        "assert 'torch' not in sys.modules\n"
        "assert set(dir(lloco)) == set(lloco.__all__)\n"
        "first = lloco.ask\nimport lloco.answer\nassert lloco.ask is first and callable(lloco.ask)\n"
        "assert all(getattr(lloco, name) is not None for name in lloco.__all__)\n"
        "assert not hasattr(lloco, 'nonsense')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
