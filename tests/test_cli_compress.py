"""`lloco compress`: what it stores, says and refuses; what becomes of an error on the way."""

import os
import signal
from pathlib import Path

import pytest

from lloco.cli.main import main
from lloco.store.store import Store
from tests.command import QUICK, Run, raiser, write_lines
from tests.corpora import LEASE, VOYAGE, save_compressor
from tests.tiny import tiny_llama

pytestmark = pytest.mark.usefixtures("home")


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
    assert {Path(item["source"]).name for item in value["skipped"]} == {
        "empty.txt",
        "binary.txt",
        "nul.txt",
        "photo.jpg",
    }
    assert all(item["reason"] for item in value["skipped"])
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
    assert "holds no document" in run.fails("compress", tmp_path / "none", "--corpus", "c", "--compressor", compressor)
    (tmp_path / "none" / "photo.jpg").write_bytes(b"\xff")
    assert "photo.jpg" in run.fails("compress", tmp_path / "none", "--corpus", "c", "--compressor", compressor)
    assert run.json("corpus", "list")["corpora"] == []


def test_where_every_document_is_refused_the_reasons_are_an_error_and_nothing_is_kept(
    run: Run, tmp_path: Path, compressor: Path
) -> None:
    (tmp_path / "long.txt").write_text("abcdefg " * 1000)
    argv = ["compress", tmp_path / "long.txt", "--corpus", "c", "--compressor", compressor]
    message = run.fails(*argv, "--long-documents", "refuse")
    assert (
        "none of the 1 documents can be compressed" in message and "long.txt: a document must have at most" in message
    )
    assert "--long-documents windows" in message
    assert run.json("corpus", "list")["corpora"] == []
    assert run(*argv) == 0
    run.fails(*argv, "--long-documents", "refuse", "--ratio", "10", "--prune")
    assert run.json("corpus", "show", "c")["num_documents"] == 1


def test_a_document_that_is_refused_beside_others_is_no_error(filled: Run, docs: Path) -> None:
    (docs / "long.txt").write_text("abcdefg " * 1000)
    value = filled.json("compress", docs, "--corpus", "c", "--long-documents", "refuse")
    assert (value["num_new"], value["num_unchanged"], len(value["skipped"])) == (0, 2, 1)


def test_a_run_that_fails_before_its_first_document_makes_no_corpus(
    run: Run, docs: Path, compressor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["compress", docs, "--corpus", "c", "--compressor"]
    run.fails(*argv, tmp_path / "nowhere")
    run.fails(*argv, compressor, "--model", save_compressor(tmp_path / "other", seed=1))
    run.fails(*argv, compressor, "--ratio", "0.5")
    monkeypatch.setattr("lloco.compression.run.compress_planned", raiser(KeyboardInterrupt()))
    run.fails(*argv, compressor, code=130)
    assert run.json("corpus", "list")["corpora"] == []


def test_a_run_that_fails_leaves_an_emptied_corpus_as_it_was(filled: Run, docs: Path, tmp_path: Path) -> None:
    filled.json("corpus", "remove", "c", "--document", "lease.txt", "--document", "voyage.md")
    filled.fails("compress", docs, "--corpus", "c", "--compressor", tmp_path / "nowhere")
    assert [item["name"] for item in filled.json("corpus", "list")["corpora"]] == ["c"]


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
    for document in shown["documents"]:
        assert document["num_virtual_tokens"] == -(-document["num_tokens"] // 40) * 4
    for ratio in ("0.5", "1e300"):
        assert "ratio must be above 1" in run.fails(*argv[:-1], ratio)
    for ratio in ("nan", "inf"):
        assert "must be a finite number" in run.fails(*argv[:-1], ratio, code=2)


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
    (docs / "lease.txt").write_text("The lease is signed by Anna Berg.")
    assert run("compress", docs, "--corpus", "c") == 0
    assert "storing vectors as int8" in run.err
    assert {document["dtype"] for document in run.json("corpus", "show", "c")["documents"]} == {"int8"}
    assert run.json("compress", docs, "--corpus", "c", "--storage-dtype", "float32")["num_new"] == 2
    assert "warning: corpus c has vectors stored as int8, these documents are compressed again and stored as" in run.err


def test_a_model_that_cannot_compress_and_a_missing_one_are_explained(run: Run, docs: Path, tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "plain")
    argv = ["compress", docs, "--corpus", "c", "--compressor"]
    assert "embed_summary.weight" in run.fails(*argv, tmp_path / "plain")
    assert "no checkpoint at" in run.fails(*argv, tmp_path / "nowhere")


def test_a_device_that_is_not_there_is_not_blamed_on_the_corpuss_models(filled: Run, docs: Path) -> None:
    for argv in (["compress", docs, "--corpus", "c"], ["ask", "--corpus", "c", "Who signed?"]):
        message = filled.fails(*argv, "--device", "nonsense")
        assert "try --device cpu" in message and "was made with it" not in message


def test_another_compressor_than_the_corpuss_is_refused(filled: Run, docs: Path, tmp_path: Path) -> None:
    other = save_compressor(tmp_path / "other", seed=1)
    assert "or use another corpus" in filled.fails("compress", docs, "--corpus", "c", "--compressor", other)


def test_compress_for_a_named_model_is_refused_where_the_compressor_is_not_made_for_it(
    run: Run, docs: Path, compressor: Path, tmp_path: Path
) -> None:
    argv = ["compress", docs, "--corpus", "c", "--compressor", compressor, "--model"]
    other = save_compressor(tmp_path / "other", seed=1)
    message = run.fails(*argv, other)
    assert f"{other} (48 wide" in message and f"{compressor} makes soft prompts for its own weights" in message
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
    monkeypatch.setattr("lloco.compression.run.compress_planned", raiser(error))
    assert words in run.fails("compress", docs, "--corpus", "c", "--compressor", compressor, code=code)


def test_debug_shows_where_it_broke(
    docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lloco.compression.run.compress_planned", raiser(RuntimeError("it broke")))
    monkeypatch.setenv("LLOCO_DEBUG", "1")
    assert main(["compress", str(docs), "--corpus", "c", "--compressor", str(compressor)]) == 1
    assert "raise_it" in capsys.readouterr().err


def test_a_corpus_name_that_is_no_unicode_is_refused_like_any_other(run: Run, docs: Path, compressor: Path) -> None:
    for name in ("\udcff", "a\x00b", "a/b"):
        for argv in (["compress", docs, "--corpus", name, "--compressor", compressor], ["corpus", "show", name]):
            assert "corpus" in run.fails(*argv) and "fault of lloco" not in run.err
        assert "corpus" in run.fails("corpus", "remove", name)


def test_numbers_beyond_anything_that_is_counted_are_refused(run: Run, docs: Path) -> None:
    for flags in (["--segment-len", "1000000000000"], ["--batch-size", str(2**31)], ["--batch-size", "9" * 400]):
        assert "must be at most 2,147,483,647" in run.fails("compress", docs, "--corpus", "c", *flags, code=2)
    for flags in (["--num-epochs", "inf"], ["--num-epochs", "nan"], ["--learning-rate", "-inf"]):
        assert "finite number" in run.fails("finetune", "--corpus", "c", "--data", "x.jsonl", *flags, code=2)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 TB")]
)
def test_memory_that_is_not_there_is_said_so(
    run: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("lloco.compression.run.compress_planned", raiser(error))
    message = run.fails("compress", docs, "--corpus", "c", "--compressor", compressor)
    assert "not enough memory" in message and "fault of lloco" not in message


def test_a_request_to_terminate_leaves_no_empty_corpus(
    run: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(*args: object, **options: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("lloco.compression.run.compress_planned", terminate)
    assert "terminated" in run.fails("compress", docs, "--corpus", "c", "--compressor", compressor, code=143)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with Store() as store:
        assert store.corpus_names() == []


def test_show_says_how_often_a_corpus_was_refined(run: Run, docs: Path, compressor: Path) -> None:
    run.json("compress", docs, "--corpus", "c", "--compressor", compressor, "--refine", 1)
    assert run.json("corpus", "show", "c")["refine_steps"] == 1
    assert run("corpus", "show", "c") == 0 and "refine steps 1" in run.out


def test_the_types_that_can_be_read_are_listed_once(run: Run, docs: Path, compressor: Path) -> None:
    for name in ("a.bin", "b.bin", "c.bin"):
        (docs / name).write_bytes(b"\0\1")
    assert run("compress", docs, "--corpus", "c", "--compressor", compressor) == 0
    skipped = [line for line in run.out.splitlines() if line.startswith("skipped ")]
    assert len(skipped) >= 3 and sum(".docx" in line for line in skipped) == 1


def test_a_type_that_loses_much_is_warned_of(
    run: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["compress", docs, "--corpus", "c", "--compressor", compressor, "--storage-dtype"]
    assert run(*argv, "int8") == 0 and "storing changed vectors" not in run.err
    monkeypatch.setattr("lloco.cli.verbs.compress.MUCH_LOST", 1e-3)
    assert run(*argv, "int4") == 0
    assert "warning: storing changed vectors by up to" in run.err and "--storage-dtype int4 or int8" in run.err
