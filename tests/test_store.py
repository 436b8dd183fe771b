"""The store keeps what it acknowledged: through replacement, kill -9, full disks, other processes and damaged files."""

import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lloco.adapters.digest import adapter_digest
from lloco.documents.document import Document
from lloco.errors import ExistsError, LlocoError, MismatchError, StoreError
from lloco.prompts.provenance import Provenance
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.store.catalogue import MIGRATIONS
from lloco.store.passage import Passage
from lloco.store.store import Store, default_store_path
from tests.command import raiser


def make_document(id: str = "a", version: int = 0) -> Document:
    return Document(id, f"Text of {id}, version {version}. It has a second sentence.", f"Title {id}", f"/in/{id}.txt")


def make_soft_prompt(document: Document, name: str = "tiny", width: int = 16, dtype: str = "float32") -> SoftPrompt:
    """Vectors that follow from the text, so that any process can check them."""
    seed = int(document.digest[:8], 16)
    embeds = torch.randn(4, width, generator=torch.Generator().manual_seed(seed))
    digest = hashlib.sha256(name.encode()).hexdigest()
    return SoftPrompt(embeds, Provenance(document.id, document.digest, 120, name, digest, "base", width, 60, 2, dtype))


PASSAGES = (Passage(0, 20), Passage(20, 40))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


def files_in(store: Store) -> list[Path]:
    return sorted(path for path in (store.path / "soft_prompts").rglob("*") if path.is_file())


def make_adapter(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "lloco.json").write_text('{"base_model_digest": "abc"}')
    (folder / "optimizer.pt").write_bytes(b"large")
    (folder / "checkpoints").mkdir()
    return folder


# Documents


def test_what_is_added_is_there_after_reopening(store: Store) -> None:
    document = Document("dossier/1: é", "Zwei Sätze. \0 文.", "Título", "/in/a b.txt")
    store.corpus("contracts").add(document, make_soft_prompt(document), [Passage(0, 4), Passage(5, 14)])
    store.close()
    with Store(store.path) as again:
        corpus = again.corpus("contracts", create=False)
        stored = corpus.document(document.id)
        assert (stored.id, stored.title, stored.source, stored.text) == (
            document.id,
            document.title,
            document.source,
            document.text,
        )
        assert (stored.digest, stored.num_tokens, stored.num_virtual_tokens) == (document.digest, 120, 4)
        assert [passage.text for passage in corpus.passages()] == ["Zwei", "Sätze. \0 "]
        assert torch.equal(corpus.soft_prompt(document.id).embeds, make_soft_prompt(document).embeds)
        assert corpus.soft_prompt(document.id).provenance == make_soft_prompt(document).provenance
        assert (corpus.compressor_name, corpus.compressor_digest) == ("tiny", hashlib.sha256(b"tiny").hexdigest())
        assert again.verify() == []


def test_a_file_is_named_by_its_content(store: Store) -> None:
    document = make_document()
    store.corpus("c").add(document, make_soft_prompt(document), PASSAGES)
    (path,) = files_in(store)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path == store.path / "soft_prompts" / digest[:2] / f"{digest}.safetensors"


def test_adding_the_same_id_replaces_the_document_and_its_file(store: Store) -> None:
    corpus = store.corpus("c")
    for version in (1, 2):
        document = make_document("a", version)
        corpus.add(document, make_soft_prompt(document), PASSAGES[:version])
    assert corpus.document_ids() == ["a"]
    assert corpus.document("a").text == document.text
    assert len(list(corpus.passages())) == 2
    assert len(files_in(store)) == 1
    assert torch.equal(corpus.soft_prompt("a").embeds, make_soft_prompt(document).embeds)
    assert store.verify() == []


def test_a_file_that_two_corpora_share_stays_until_the_last_lets_go(store: Store) -> None:
    document = make_document()
    for name in ("one", "two"):
        store.corpus(name).add(document, make_soft_prompt(document), PASSAGES)
    assert len(files_in(store)) == 1
    store.corpus("one").remove_document("a")
    assert torch.equal(store.corpus("two").soft_prompt("a").embeds, make_soft_prompt(document).embeds)
    store.remove_corpus("two")
    assert files_in(store) == [] and store.verify() == []


def test_ids_that_look_alike_are_different_documents(store: Store) -> None:
    corpus = store.corpus("c")
    ids = ["a", "A", "a/", "a:0", "a_0", "../a", "", " a", "ä", "a\u0308"]
    for id in ids:
        document = Document(id, f"text {id!r}")
        corpus.add(document, make_soft_prompt(document), [])
    assert corpus.document_ids() == ids
    assert [document.text for document in corpus.documents()] == [f"text {id!r}" for id in ids]


def test_unchanged_documents_are_current_and_any_change_is_not(store: Store) -> None:
    corpus, document = store.corpus("c"), make_document()
    digest = make_soft_prompt(document).provenance.compressor_digest
    assert not corpus.is_current(document, digest, 60, "int8")
    corpus.add(document, make_soft_prompt(document), PASSAGES, storage_dtype="int8")
    assert corpus.is_current(document, digest, 60, "int8") and corpus.is_current(document, digest, 60)
    assert not corpus.is_current(make_document(version=1), digest, 60, "int8")
    assert not corpus.is_current(document, "0" * 64, 60, "int8")
    assert not corpus.is_current(document, digest, 30, "int8")
    assert not corpus.is_current(document, digest, 60, "float16")
    (path,) = files_in(store)
    path.write_bytes(path.read_bytes()[:-1])
    assert not corpus.is_current(document, digest, 60, "int8")
    corpus.add(document, make_soft_prompt(document), PASSAGES, storage_dtype="int8")
    assert corpus.is_current(document, digest, 60, "int8") and store.verify() == []


def test_refreshing_changes_title_and_source_of_the_same_text_only(store: Store) -> None:
    corpus, document = store.corpus("c"), make_document()
    corpus.add(document, make_soft_prompt(document), PASSAGES)
    contents = corpus.contents_digest()
    corpus.refresh(replace(document, title="New", source="moved.txt"))
    corpus.refresh(replace(document, text="another text", title="Wrong", source="wrong.txt"))
    corpus.refresh(Document("nobody", "x"))
    stored = corpus.document("a")
    assert (stored.title, stored.source, stored.text) == ("New", "moved.txt", document.text)
    assert corpus.document_ids() == ["a"] and corpus.contents_digest() == contents and store.verify() == []
    with pytest.raises(StoreError, match="rename it"):
        corpus.refresh(replace(document, source="\udcff.txt"))


def test_int8_is_smaller_and_carries_its_measured_loss(store: Store) -> None:
    corpus, document = store.corpus("c"), make_document()
    soft_prompt = make_soft_prompt(document, width=512)
    corpus.add(document, soft_prompt, PASSAGES, storage_dtype="int8")
    loaded = corpus.soft_prompt("a")
    assert loaded.provenance.dtype == corpus.document("a").dtype == "int8"
    assert loaded.provenance.quantisation_error == soft_prompt.quantisation_error("int8") > 0
    assert store.corpora()[0].num_bytes == files_in(store)[0].stat().st_size < 512 * 4 * 2


def test_a_corpus_takes_soft_prompts_of_one_compressor_only(store: Store) -> None:
    corpus, first, second = store.corpus("c"), make_document("a"), make_document("b")
    corpus.add(first, make_soft_prompt(first), PASSAGES)
    with pytest.raises(MismatchError) as caught:
        corpus.add(second, make_soft_prompt(second, "large", 32), PASSAGES)
    for part in ("tiny", "16 wide", "large", "32 wide", "'b'"):
        assert part in str(caught.value)
    assert corpus.document_ids() == ["a"] and store.verify() == []
    corpus.remove_document("a")
    corpus.add(second, make_soft_prompt(second, "large", 32), PASSAGES)
    assert corpus.compressor_name == "large"


def test_a_soft_prompt_of_another_text_or_document_is_refused(store: Store) -> None:
    document = make_document()
    for other in (make_document("b"), make_document("a", 1)):
        with pytest.raises(MismatchError, match="'a'"):
            store.corpus("c").add(document, make_soft_prompt(other), PASSAGES)


@pytest.mark.parametrize("passage", [Passage(-1, 2), Passage(3, 3), Passage(4, 2), Passage(0, 10_000)])
def test_passages_outside_the_text_are_refused(store: Store, passage: Passage) -> None:
    document = make_document()
    with pytest.raises(StoreError, match="'a'"):
        store.corpus("c").add(document, make_soft_prompt(document), [passage])


def test_a_source_that_is_not_unicode_is_refused_by_name(store: Store) -> None:
    document = Document("a", "text", source=os.fsdecode(b"/in/\xff.txt"))
    with pytest.raises(StoreError, match="source of document 'a'"):
        store.corpus("c").add(document, make_soft_prompt(document), [])


def test_missing_documents_and_corpora_are_named(store: Store) -> None:
    corpus = store.corpus("contracts")
    for call in (corpus.document, corpus.soft_prompt, corpus.remove_document):
        with pytest.raises(StoreError, match=r"corpus 'contracts' .*no document 'x'"):
            call("x")
    with pytest.raises(StoreError, match="has contracts"):
        store.corpus("letters", create=False)
    store.remove_corpus("contracts")
    with pytest.raises(StoreError, match="'contracts' was removed"):
        corpus.add(make_document(), make_soft_prompt(make_document()), [])
    with pytest.raises(StoreError, match="none yet"):
        store.remove_corpus("contracts")


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "é", "x" * 65, "a\n", "a\0"])
def test_corpus_names_that_could_be_paths_are_refused(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="corpus name"):
        store.corpus(name)


def test_summaries_count_what_is_there(store: Store) -> None:
    for id in ("a", "b"):
        document = make_document(id)
        store.corpus("One").add(document, make_soft_prompt(document), PASSAGES)
    store.corpus("two")
    one, two = store.corpora()
    assert (one.name, one.compressor, one.hidden_size) == ("One", "tiny", 16)
    counts = (one.num_documents, one.num_passages, one.num_document_tokens, one.num_virtual_tokens)
    assert counts == (2, 4, 240, 8)
    assert (two.name, two.compressor, two.num_documents, two.adapter_digest) == ("two", None, 0, None)
    assert store.corpus("one").name == "One"


def test_what_is_asked_at_every_question_reads_no_text(store: Store) -> None:
    """Texts are the largest column: counts and digests come from indexes that hold all they need."""
    with sqlite3.connect(store.path / "lloco.db") as connection:
        for query in (
            "SELECT id, text_digest, passages_digest FROM documents WHERE corpus = 1 ORDER BY key",
            "SELECT total(num_tokens), total(num_virtual_tokens), total(num_bytes) FROM documents WHERE corpus = 1",
            "SELECT segment_len, dtype FROM documents WHERE corpus = 1 ORDER BY added DESC, key DESC LIMIT 1",
            "SELECT id FROM documents WHERE corpus = 1 ORDER BY key LIMIT -1",
        ):
            ((*_, plan),) = connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
            assert "USING COVERING INDEX" in plan
    connection.close()


def test_passages_of_one_document_take_as_long_to_read_among_many(store: Store) -> None:
    def num_steps(num_documents: int) -> int:
        corpus, steps = store.corpus(f"of-{num_documents}"), 0
        for number in range(num_documents):
            document = make_document(f"d{number}")
            corpus.add(document, make_soft_prompt(document), PASSAGES)

        def count() -> None:
            nonlocal steps
            steps += 1

        with corpus._catalogue.read() as connection:
            connection.set_progress_handler(count, 1)
        assert len(corpus.document_passages("d0")) == len(PASSAGES)
        connection.set_progress_handler(None, 1)
        return steps

    assert 0 < num_steps(20) == num_steps(2)


def test_contents_digest_follows_texts_and_passages(store: Store) -> None:
    corpus, document = store.corpus("c"), make_document()
    digests = [corpus.contents_digest()]
    for passages in (PASSAGES, PASSAGES[:1]):
        corpus.add(document, make_soft_prompt(document), passages)
        digests.append(corpus.contents_digest())
    corpus.add(document, make_soft_prompt(document), PASSAGES)
    assert len(set(digests)) == 3 and corpus.contents_digest() == digests[1]


# Adapters


def test_the_adapter_is_copied_and_the_latest_is_active(store: Store, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    assert corpus.adapter_folder() is None
    first = corpus.set_adapter(make_adapter(tmp_path / "first"))
    assert corpus.set_adapter(tmp_path / "first") == first
    second = corpus.set_adapter(make_adapter(tmp_path / "second", b"other weights"))
    shutil.rmtree(tmp_path / "first")
    folder = corpus.adapter_folder()
    assert folder == store.path / "adapters" / "c" / second[:12] != store.path / "adapters" / "c" / first[:12]
    assert (folder / "adapter_model.safetensors").read_bytes() == b"other weights"
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "lloco.json",
    ]
    assert [path.name for path in folder.parent.iterdir()] == [second[:12]]
    assert store.corpora()[0].adapter_digest == second and store.verify() == []
    with sqlite3.connect(store.path / "lloco.db") as connection:
        rows = connection.execute("SELECT digest, base_digest FROM adapters ORDER BY key").fetchall()
    connection.close()
    assert rows == [(first, "abc"), (second, "abc")]
    store.remove_corpus("c")
    assert list((store.path / "adapters").iterdir()) == []


def test_an_adapter_whose_folder_is_incomplete_is_replaced_by_itself(store: Store, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    corpus.set_adapter(make_adapter(tmp_path / "adapter"))
    folder = corpus.adapter_folder()
    assert folder is not None
    (folder / "adapter_model.safetensors").unlink()
    assert [problem.kind for problem in store.verify()] == ["adapter_missing"]
    corpus.set_adapter(tmp_path / "adapter")
    assert store.verify() == []


def test_an_adapter_with_other_files_beside_its_weights_is_never_away(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = store.corpus("c")
    corpus.set_adapter(make_adapter(tmp_path / "adapter"))
    (tmp_path / "adapter" / "README.md").write_text("The same weights.")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", raiser(OSError(28, "No space left on device")))
        with pytest.raises(StoreError, match="No space left"):
            corpus.set_adapter(tmp_path / "adapter")
    folder = corpus.adapter_folder()
    assert folder is not None and store.verify() == [] and not (folder / "README.md").exists()
    corpus.set_adapter(tmp_path / "adapter")
    assert (folder / "README.md").exists()
    (tmp_path / "adapter" / "README.md").unlink()
    corpus.set_adapter(tmp_path / "adapter")
    assert not (folder / "README.md").exists() and store.verify() == []


def test_the_store_names_an_adapter_by_the_digest_that_results_name_it_by(store: Store, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "adapter")
    corpus = store.corpus("c")
    digest = corpus.set_adapter(folder)
    kept = corpus.adapter_folder()
    assert kept is not None and digest == adapter_digest(folder) == adapter_digest(kept)
    (kept / "adapter_model.safetensors").write_bytes(b"changed")
    assert [problem.kind for problem in store.verify()] == ["digest_mismatch"]


def test_a_folder_that_is_no_adapter_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"adapter_model\.safetensors"):
        store.corpus("c").set_adapter(tmp_path)


# Verification


def test_verify_names_every_kind_of_problem_and_repairs_what_is_garbage(store: Store, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    documents = {id: make_document(id) for id in ("whole", "missing", "damaged", "row")}
    for document in documents.values():
        corpus.add(document, make_soft_prompt(document), PASSAGES)
    corpus.set_adapter(make_adapter(tmp_path / "adapter"))
    shutil.rmtree(corpus.adapter_folder() or tmp_path)
    with sqlite3.connect(store.path / "lloco.db") as connection:
        digests = dict(connection.execute("SELECT id, soft_prompt FROM documents"))
        connection.execute("UPDATE documents SET num_tokens = 7 WHERE id = 'row'")
    connection.close()
    path = {id: store.path / "soft_prompts" / digest[:2] / f"{digest}.safetensors" for id, digest in digests.items()}
    path["missing"].unlink()
    path["damaged"].write_bytes(path["damaged"].read_bytes()[:-1] + b"x")
    orphan = store.path / "soft_prompts" / "ab" / f"ab{'0' * 62}.safetensors"
    temp = store.path / "soft_prompts" / "ab" / f".ab{'0' * 62}.safetensors.1.tmp"
    old_adapter, old_index = store.path / "adapters" / "c" / "0123456789ab", store.path / "index" / "gone"
    for folder in (orphan.parent, old_adapter, old_index):
        folder.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"x")
    temp.write_bytes(b"x")
    garbage = {("orphan_temp", str(temp))} | {("orphan_file", str(item)) for item in (orphan, old_adapter, old_index)}
    lasting = {
        ("missing_file", "document 'missing' of corpus 'c'"),
        ("row_mismatch", "document 'row' of corpus 'c'"),
        ("adapter_missing", "corpus 'c'"),
    }
    damaged = ("digest_mismatch", "document 'damaged' of corpus 'c'")
    found = store.verify()
    assert {(problem.kind, problem.where) for problem in found} == garbage | lasting | {damaged}
    assert not any(problem.is_repaired for problem in found)
    with pytest.raises(StoreError, match="damaged"):
        corpus.soft_prompt("damaged")
    with pytest.raises(StoreError, match="'missing'"):
        corpus.soft_prompt("missing")
    after = store.verify(repair=True)
    assert {(problem.kind, problem.where) for problem in after if problem.is_repaired} == garbage
    [told] = [problem.message for problem in after if problem.kind == "digest_mismatch"]
    assert "has been removed; compress the document again, or take it out with `lloco corpus remove c" in told
    left = {(problem.kind, problem.where) for problem in store.verify()}
    assert left == lasting | {("missing_file", damaged[1])}
    for id, document in documents.items():
        if not corpus.is_current(document, corpus.compressor_digest or "", 60) or id == "row":
            corpus.add(document, make_soft_prompt(document), PASSAGES)
    assert {problem.kind for problem in store.verify()} == {"adapter_missing"}


def test_verify_finds_text_and_passages_changed_behind_its_back(store: Store) -> None:
    corpus = store.corpus("c")
    for id in ("a", "b"):
        corpus.add(make_document(id), make_soft_prompt(make_document(id)), PASSAGES)
    with sqlite3.connect(store.path / "lloco.db") as connection:
        connection.execute("UPDATE documents SET text = 'other' WHERE id = 'a'")
        connection.execute("DELETE FROM passages WHERE position = 1")
    connection.close()
    assert [problem.kind for problem in store.verify()] == ["row_mismatch", "row_mismatch"]


# Refusals


def test_a_full_disk_is_reported_and_what_was_committed_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, kept, lost = store.corpus("c"), make_document("kept"), make_document("lost")
    corpus.add(kept, make_soft_prompt(kept), PASSAGES)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StoreError, match=r"add document 'lost' to corpus 'c'.*No space left.*before is kept"):
            corpus.add(lost, make_soft_prompt(lost), PASSAGES)
    assert corpus.document_ids() == ["kept"] and store.verify() == []
    corpus.add(lost, make_soft_prompt(lost), PASSAGES)
    assert corpus.document_ids() == ["kept", "lost"]


LIMITED_WRITER = """
import resource, signal, sys
from test_store import *
store = Store(sys.argv[1])
corpus = store.corpus("c")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    for number in range(1000):
        document = make_document(str(number))
        corpus.add(document, make_soft_prompt(document), PASSAGES)
        print(number, flush=True)
except StoreError as error:
    print("refused:", error)
"""


def run_script(script: str, *arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{Path(__file__).parent.parent}"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_when_sqlite_itself_cannot_grow_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    output, _ = run_script(LIMITED_WRITER, str(tmp_path)).communicate(timeout=60)
    *acknowledged, last = output.splitlines()
    assert last.startswith("refused: could not add document") and "kept" in last
    with Store(tmp_path) as store:
        assert store.corpus("c").document_ids() == acknowledged != []
        assert {problem.kind for problem in store.verify(repair=True)} <= {"orphan_file"}
        assert store.verify() == []


def make_database(path: Path, *statements: str) -> Path:
    path.mkdir()
    connection = sqlite3.connect(path / "lloco.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path / "lloco.db"


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = make_database(tmp_path / "other", "CREATE TABLE documents (id)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(tmp_path / "other")
    assert path.read_bytes() == before
    path.write_bytes(b"This is no database at all. " * 100)
    with pytest.raises(StoreError, match=r"lloco\.db.*not a database"):
        Store(tmp_path / "other")


def test_a_store_of_the_first_version_is_brought_up_to_date(store: Store) -> None:
    document = make_document()
    store.corpus("c").add(document, make_soft_prompt(document), PASSAGES)
    assert store.corpus("c").document("a").num_read_tokens == 120
    store.close()
    with sqlite3.connect(store.path / "lloco.db") as connection:
        for index in ("documents_in_order", "documents_by_age"):
            connection.execute(f"DROP INDEX {index}")
        connection.execute("DROP INDEX documents_by_codebook")
        connection.execute("ALTER TABLE documents DROP COLUMN codebook")
        connection.execute("ALTER TABLE documents DROP COLUMN num_read_tokens")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with Store(store.path) as again:
        stored = again.corpus("c", create=False).document("a")
        assert (stored.num_tokens, stored.num_read_tokens) == (120, None)
        again.corpus("c").add(document, make_soft_prompt(document), PASSAGES)
        assert again.corpus("c").document("a").num_read_tokens == 120
        assert again.verify() == []


def test_a_store_says_whether_it_has_a_corpus_in_any_case(store: Store) -> None:
    store.corpus("Contracts")
    assert "contracts" in store and "Contracts" in store and "other" not in store


def test_a_store_of_a_newer_version_is_refused(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.path / "lloco.db") as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(StoreError, match="newer lloco"):
        Store(store.path)


def test_a_file_where_the_store_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Store(tmp_path / "file")


def test_a_writer_that_never_ends_makes_others_give_up_with_a_reason(store: Store) -> None:
    document = make_document()
    with Store(store.path, busy_seconds=0.1) as other, store._catalogue.write("hold the lock"):
        assert other.corpora() == []
        with pytest.raises(StoreError, match="another process has been writing"):
            other.corpus("c")
    store.corpus("c").add(document, make_soft_prompt(document), PASSAGES)


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        store.corpora()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_read_only_store_is_read_and_refuses_to_be_written() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        with Store(folder / "store") as store:
            store.corpus("c").add(make_document(), make_soft_prompt(make_document()), PASSAGES)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        user = os.geteuid()
        if user == 0:
            try:
                os.seteuid(65534)  # permissions do not bind root
            except OSError:
                pytest.skip("root may not become another user here")
        try:
            with Store(folder / "store") as store:
                corpus = store.corpus("c")
                assert torch.equal(corpus.soft_prompt("a").embeds, make_soft_prompt(make_document()).embeds)
                assert store.verify() == []
                with pytest.raises(StoreError, match=r"add document 'b'.*read-only"):
                    corpus.add(make_document("b"), make_soft_prompt(make_document("b")), PASSAGES)
            with pytest.raises(StoreError, match="open the store"):
                Store(folder / "new")
        finally:
            os.seteuid(user)
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.rmtree(folder)


def test_the_default_path_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLOCO_HOME", str(tmp_path / "here"))
    assert default_store_path() == tmp_path / "here"
    monkeypatch.delenv("LLOCO_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_store_path() == tmp_path / "lloco"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_store_path() == tmp_path / ".local" / "share" / "lloco"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_store_path() == tmp_path / "Library" / "Application Support" / "lloco"


# Other threads and processes, and kill -9


def test_threads_share_a_store(store: Store) -> None:
    corpus, errors = store.corpus("c"), []

    def work(name: str) -> None:
        try:
            for number in range(10):
                document = make_document(f"{name}{number}")
                corpus.add(document, make_soft_prompt(document), PASSAGES)
                corpus.soft_prompt(document.id)
        except LlocoError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(corpus.document_ids()) == 30 and store.verify() == []


WRITER = """
import itertools, sys
from test_store import *
store = Store(sys.argv[1])
corpus = store.corpus("c")
for number in itertools.count():
    document = make_document(f"x{number % 40}", number)
    corpus.add(document, make_soft_prompt(document), PASSAGES)
    print(document.id, number, flush=True)
"""
MANY = """
import sys
from test_store import *

def write():
    corpus = Store(sys.argv[1]).corpus("c")
    for number in range(80):
        document = make_document(f"x{number % 40}", number)
        corpus.add(document, make_soft_prompt(document), PASSAGES)

def read():
    corpus, num_read, until = Store(sys.argv[1]).corpus("c"), 0, time.monotonic() + 60
    while num_read < 500 and time.monotonic() < until:
        for id in corpus.document_ids():
            corpus.soft_prompt(id)
            corpus.document(id)
            num_read += 1
    assert num_read >= 500

children = {}
for work in (write, write, read, read):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    children[child] = work.__name__
for child, name in children.items():
    print(name, os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks, to import torch once")
def test_two_writers_and_two_readers_in_processes_create_and_use_a_store_at_once(tmp_path: Path) -> None:
    output, _ = run_script(MANY, str(tmp_path)).communicate(timeout=120)
    assert output.splitlines() == ["write 0", "write 0", "read 0", "read 0"]
    with Store(tmp_path) as store:
        assert len(store.corpus("c").document_ids()) == 40
        assert len(files_in(store)) == 40 and store.verify() == []


def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    moments = random.Random(0)
    for _ in range(4):
        process = run_script(WRITER, str(tmp_path))
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(moments.randint(1, 40))]
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        lines += process.stdout.readlines()
        process.stdout.close()
        assert process.wait() == -9, lines
        latest = {}
        for line in lines:
            if line.endswith("\n"):
                id, number = line.split()
                latest[id] = int(number)
        with Store(tmp_path) as store:
            corpus = store.corpus("c", create=False)
            # The one being written may or may not be there; nothing acknowledged may be older than that.
            for id, last in latest.items():
                texts = [make_document(id, last).text, make_document(id, last + 40).text]
                document = Document(id, corpus.document(id).text)
                assert document.text in texts
                assert torch.equal(corpus.soft_prompt(id).embeds, make_soft_prompt(document).embeds)
            assert {problem.kind for problem in store.verify(repair=True)} <= {"orphan_file", "orphan_temp"}
            assert store.verify() == []


def test_what_may_not_be_replaced_is_refused_in_the_commit_itself(store: Store) -> None:
    with Store(store.path) as other:
        corpora, document = [store.corpus("c"), other.corpus("c")], make_document()
        newer = make_document(version=1)
        corpora[0].add(document, make_soft_prompt(document), PASSAGES, replace=False)
        with pytest.raises(ExistsError, match="'a' is in corpus 'c' already"):
            corpora[1].add(newer, make_soft_prompt(newer), PASSAGES, replace=False)
        assert corpora[1].document("a").text == document.text and len(files_in(store)) == 1
        corpora[1].add(newer, make_soft_prompt(newer), PASSAGES)
        assert corpora[0].document("a").text == newer.text


def test_reading_goes_on_while_writing_waits_for_another_process(store: Store) -> None:
    corpus, document = store.corpus("c"), make_document()
    corpus.add(document, make_soft_prompt(document), PASSAGES)
    version = corpus.store_version()
    blocker = sqlite3.connect(store.path / "lloco.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    newer = make_document(version=1)
    writer = threading.Thread(target=corpus.add, args=(newer, make_soft_prompt(newer), PASSAGES))
    writer.start()
    time.sleep(0.2)
    started = time.monotonic()
    for _ in range(5):
        assert corpus.document("a").text == document.text and corpus.store_version() == version
        assert store.corpus_names() == ["c"]
    assert time.monotonic() - started < 2 and writer.is_alive()
    blocker.execute("ROLLBACK")
    blocker.close()
    writer.join()
    assert corpus.document("a").text == newer.text and corpus.store_version() != version


ADD_TWO = """
import sys
from test_store import *
with Store(sys.argv[1]) as store:
    corpus = store.corpus("c")
    for id in ("first", "second"):
        document = make_document(id)
        sys.stderr.write(f"begin {id}\\n")
        corpus.add(document, make_soft_prompt(document), PASSAGES)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace counts the calls, it is not installed")
def test_a_document_is_flushed_file_folder_and_log_before_it_is_acknowledged(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=fsync,fdatasync,rename,write"
    command = ["strace", "-f", "-y", "-e", calls, "-o", str(trace), sys.executable, "-c", ADD_TWO, str(tmp_path / "s")]
    paths = f"{Path(__file__).parent}{os.pathsep}{Path(__file__).parent.parent}"
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    after = trace.read_text().partition("begin second")[2].partition("exited")[0].splitlines()
    order = [line for line in after if "sync(" in line or "rename(" in line]
    kinds = [
        "file" if ".tmp>" in line else "log" if "-wal>" in line else "folder" if "sync(" in line else "rename"
        for line in order
    ]
    at = kinds.index("file")
    assert kinds[at : at + 4] == ["file", "rename", "folder", "log"], order


def test_every_connection_flushes_at_each_commit(store: Store) -> None:
    with store._catalogue.read() as reader, store._catalogue.write("look") as writer:
        for connection in (reader, writer):
            assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
            assert connection.execute("PRAGMA fullfsync").fetchone()[0] == 1
            assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


FULL_DISK = """
import os, subprocess, sys
from test_store import *
from lloco.retrieval.retriever import Retriever
root = Path(sys.argv[1])
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(root)], capture_output=True).returncode:
    sys.exit("cannot mount")
with Store(root / "s") as store:
    corpus = store.corpus("c")
    documents = [Document(str(number), f"Text of document {number}. " * 1000) for number in range(200)]
    for document in documents[:40]:
        corpus.add(document, make_soft_prompt(document), PASSAGES)
    try:
        with (root / "fill").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass
    try:
        for document in documents[40:]:
            corpus.add(document, make_soft_prompt(document), PASSAGES)
    except LlocoError as error:
        print(type(error).__name__)
    print(len(Retriever.of_corpus(corpus).search("document", 2)))
    for number in range(3):
        corpus.remove_document(str(number))
    print(corpus.document_ids()[0], corpus.soft_prompt("5").num_virtual_tokens)
    (root / "fill").unlink()
    for number in range(3):
        document = make_document(str(number))
        corpus.add(document, make_soft_prompt(document), PASSAGES)
    print(store.verify(), (root / "s" / ".reserve").stat().st_size)
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="a small disk is mounted in a namespace of its own")
def test_on_a_full_disk_questions_find_and_documents_are_removed(tmp_path: Path) -> None:
    paths = f"{Path(__file__).parent}{os.pathsep}{Path(__file__).parent.parent}"
    command = ["unshare", "-rm", sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    if "cannot mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("no small disk may be mounted here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["DiskFullError", "2", "3 4", "[] 1048576"]
