"""`lloco corpus`: what is in the store, checked, removed and moved."""

import re
import shlex
from pathlib import Path

import pytest

from tests.command import Run

pytestmark = pytest.mark.usefixtures("home")


def test_corpora_are_listed_shown_verified_and_removed(filled: Run) -> None:
    assert [item["name"] for item in filled.json("corpus", "list")["corpora"]] == ["c"]
    shown = filled.json("corpus", "show", "c", "--document", "lease.txt")
    assert [document["id"] for document in shown["documents"]] == ["lease.txt"]
    assert filled.json("corpus", "verify") == {"num_documents": 2, "problems": []}
    assert filled("corpus", "list") == filled("corpus", "show", "--corpus", "c") == 0
    assert "voyage.md" in filled.out
    assert "has no document" in filled.fails("corpus", "remove", "c", "--document", "nope")
    twice = ["--document", "lease.txt", "--document", "lease.txt"]
    assert filled.json("corpus", "remove", "c", *twice)["num_documents"] == 1
    assert filled.json("corpus", "remove", "c")["is_corpus_removed"]
    assert "has none yet" in filled.fails("corpus", "show", "c")


def test_verify_finds_damage_and_repair_leads_to_compressing_again(
    filled: Run, home: Path, docs: Path, compressor: Path
) -> None:
    broken = next((home / "soft_prompts").rglob("*.safetensors"))
    broken.write_bytes(broken.read_bytes()[:-4])
    assert filled("corpus", "verify") == 1
    assert "digest_mismatch" in filled.out
    assert filled("corpus", "verify", "--repair") == 1
    assert "it has been removed; compress the document again, or take it out with `lloco corpus remove c" in filled.out
    assert "1 problems, 0 repaired" in filled.out
    assert filled("corpus", "verify") == 1
    assert "missing_file" in filled.out
    assert filled.json("compress", docs, "--corpus", "c", "--compressor", compressor)["num_new"] == 1
    assert filled("corpus", "verify") == 0


def test_what_verify_advises_makes_the_store_whole(filled: Run, home: Path) -> None:
    (home / "soft_prompts" / "ab").mkdir(parents=True, exist_ok=True)
    (home / "soft_prompts" / "ab" / f"ab{'0' * 62}.safetensors").write_bytes(b"left by a crash")
    assert filled("corpus", "verify", "--repair") == 0
    assert "1 problems, 1 repaired" in filled.out
    for file in (home / "soft_prompts").rglob("*.safetensors"):
        file.unlink()
    assert filled("corpus", "verify", "--repair") == 1
    commands = re.findall(r"`lloco (corpus remove [^`]+)`", filled.out)
    assert len(commands) == 2
    for command in commands:
        assert filled(*shlex.split(command)) == 0
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
    assert [document["id"] for document in filled.json("corpus", "show", "d", *second)["documents"]] == ["voyage.md"]


def test_of_a_truncated_document_both_counts_are_shown(run: Run, tmp_path: Path, compressor: Path) -> None:
    (tmp_path / "long.txt").write_text("abcdefg " * 1000)
    argv = ["compress", tmp_path / "long.txt", "--corpus", "c", "--compressor", compressor]
    run.json(*argv, "--long-documents", "truncate")
    [shown] = run.json("corpus", "show", "c")["documents"]
    assert shown["num_read_tokens"] < shown["num_tokens"]
    assert run("corpus", "show", "c") == 0
    assert f"{shown['num_read_tokens']:,} read of {shown['num_tokens']:,}" in run.out
    assert f" {shown['num_read_tokens'] / shown['num_virtual_tokens']:.1f} " in run.out
