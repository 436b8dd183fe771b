"""int4 and pq: what they cost in bytes and error, and that no row is without its codebook, whatever happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lloco.compress.batches import with_codebook
from lloco.documents.document import Document
from lloco.errors import MismatchError, StoreError
from lloco.prompts.codebook import Codebook
from lloco.prompts.learn_codebook import learn_codebook
from lloco.prompts.packed import bytes_per_vector
from lloco.prompts.provenance import Provenance
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.store.archive import export_corpus, import_corpus
from lloco.store.corpus import Corpus
from lloco.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


def vectors(rows: int, width: int = 64, seed: int = 0) -> torch.Tensor:
    """Vectors of which most lies in a few directions, as those of a compressor do."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(8, width, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(rows, width, generator=generator)
    return torch.randn(rows, 8, generator=generator) @ directions + 0.1 * noise


def made(id: str, rows: int = 20, width: int = 64) -> tuple[Document, SoftPrompt]:
    document = Document(id, f"Text of {id}.")
    provenance = Provenance(id, document.digest, 30 * rows, "tiny", "c" * 64, "base", width, 30, 1, "float32")
    return document, SoftPrompt(vectors(rows, width, sum(map(ord, id))), provenance)


def add_all(corpus: Corpus, *ids: str, rows: int = 20) -> None:
    batches = [([made(id, rows)], []) for id in ids]
    for (pairs, _), codebook in with_codebook(corpus, "pq", batches):
        for document, soft_prompt in pairs:
            corpus.add(document, soft_prompt, [], "pq", codebook=codebook)


def codebook_files(store: Store) -> list[Path]:
    return sorted((store.path / "codebooks").glob("*"))


@pytest.mark.parametrize(("width", "num_bytes"), [(576, 22), (4096, 132)])
def test_pq_takes_a_byte_for_32_values_and_the_norm(width: int, num_bytes: int) -> None:
    assert bytes_per_vector("pq", width) == num_bytes <= 150 * width / 4096 + 1


def test_pq_keeps_the_norm_and_most_of_the_direction_of_vectors_it_has_not_seen() -> None:
    codebook = learn_codebook(vectors(2000), "c" * 64)
    exact = 3e-6 * vectors(100, seed=7)
    codes, factors = codebook.encode(exact)
    decoded = codebook.decode(codes, factors)
    assert codes.shape == (100, 2) and codes.dtype == torch.uint8 and codebook.num_codewords == 256
    assert torch.allclose(decoded.norm(dim=1), exact.norm(dim=1), rtol=1e-4)
    assert float(torch.cosine_similarity(decoded, exact).mean()) > 0.8


def test_equal_vectors_give_an_equal_codebook_and_its_file_comes_back() -> None:
    first, second = learn_codebook(vectors(400), "c" * 64), learn_codebook(vectors(400), "c" * 64)
    assert first.digest == second.digest != learn_codebook(vectors(400, seed=1), "c" * 64).digest
    assert Codebook.from_bytes(first.data, first.digest, "a").data == first.data


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_codebook_of_few_vectors_has_a_codeword_for_each(rows: int) -> None:
    codebook = learn_codebook(vectors(rows), "c" * 64)
    decoded = codebook.decode(*codebook.encode(vectors(rows)))
    assert codebook.num_codewords == rows and bool(decoded.isfinite().all())
    assert float((decoded - vectors(rows)).norm() / vectors(rows).norm()) < 0.3


@pytest.mark.parametrize(("width", "num_bytes"), [(64, 32 + 4 + 4), (33, 24 + 3 + 4)])
def test_int4_is_two_values_a_byte_with_a_small_error_and_comes_back_bit_equal(width: int, num_bytes: int) -> None:
    _, soft_prompt = made("a", 50, width)
    data = soft_prompt.to_bytes("int4")
    loaded = SoftPrompt.from_bytes(data, "a")
    assert bytes_per_vector("int4", width) == num_bytes
    assert 0 < loaded.provenance.quantisation_error == soft_prompt.quantisation_error("int4") < 0.1
    assert loaded.to_bytes() == data and loaded.embeds.dtype == torch.float32
    assert SoftPrompt.from_bytes(data, "a", dtype=torch.bfloat16).embeds.dtype == torch.bfloat16


def test_pq_without_a_codebook_is_refused() -> None:
    with pytest.raises(MismatchError, match="needs the corpus's codebook"):
        made("a")[1].to_bytes("pq")
    data = made("a")[1].to_bytes("pq", learn_codebook(vectors(100), "c" * 64))
    with pytest.raises(StoreError, match="read it through its corpus"):
        SoftPrompt.from_bytes(data, "a")


def test_documents_added_later_use_the_corpus_codebook_once_it_is_full(store: Store) -> None:
    corpus = store.corpus("c")
    add_all(corpus, "a", "b", rows=150)
    first = codebook_files(store)
    add_all(corpus, "later", rows=400)
    assert codebook_files(store) == first and len(first) == 1
    assert corpus.soft_prompt("later").provenance.codebook == first[0].stem
    assert corpus.soft_prompt("later").provenance.dtype == corpus.document("later").dtype == "pq"
    assert store.verify() == []


def test_a_small_codebook_is_learned_again_where_more_vectors_come_and_both_are_kept(store: Store) -> None:
    corpus = store.corpus("c")
    add_all(corpus, "a")
    add_all(corpus, "b", rows=300)
    assert len(codebook_files(store)) == 2 and store.verify() == []
    corpus.remove_document("a")
    assert [path.stem for path in codebook_files(store)] == [corpus.soft_prompt("b").provenance.codebook]
    store.remove_corpus("c")
    assert codebook_files(store) == []


def test_types_are_mixed_in_a_corpus(store: Store) -> None:
    corpus = store.corpus("c")
    for dtype in ("float32", "int8", "int4"):
        corpus.add(*made(dtype), [], dtype)
    add_all(corpus, "pq")
    assert [corpus.soft_prompt(id).provenance.dtype for id in corpus.document_ids()] == corpus.document_ids()
    assert store.verify() == []


def test_a_crash_between_codebook_and_row_leaves_an_orphan(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    corpus = store.corpus("c")
    with monkeypatch.context() as patched:
        patched.setattr("lloco.store.corpus.write_document", crash)
        with pytest.raises(KeyboardInterrupt):
            add_all(corpus, "a")
    left = codebook_files(store)
    assert len(left) == 1 and corpus.document_ids() == []
    assert {problem.kind for problem in store.verify()} == {"orphan_file"}
    add_all(corpus, "a")
    assert codebook_files(store) == left and store.verify() == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_a_bad_codebook_is_reported_and_compressing_again_mends_it(store: Store, damage: str) -> None:
    corpus = store.corpus("c")
    add_all(corpus, "a")
    (path,) = codebook_files(store)
    if damage == "missing":
        path.unlink()
    else:
        other = learn_codebook(vectors(9), "c" * 64).data
        path.write_bytes(path.read_bytes()[:-4] if damage == "truncated" else other)
    with Store(store.path) as again:
        corpus = again.corpus("c")
        assert corpus.codebook() is None and not corpus.is_current(made("a")[0], "c" * 64, 30)
        with pytest.raises(StoreError, match=r"codebook .* (cannot be read|must have digest)"):
            corpus.soft_prompt("a")
        assert [problem.kind for problem in again.verify()] == [
            "missing_file" if damage == "missing" else "digest_mismatch"
        ]
        again.verify(repair=True)
        assert codebook_files(again) == []
        add_all(corpus, "a")
        assert corpus.is_current(made("a")[0], "c" * 64, 30) and again.verify() == []


def test_an_exported_corpus_brings_its_codebook(store: Store, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    add_all(corpus, "a", "b")
    export_corpus(corpus, tmp_path / "out")
    with Store(tmp_path / "other") as other:
        import_corpus(other, tmp_path / "out")
        import_corpus(other, tmp_path / "out")  # a part of it may be there
        assert torch.equal(other.corpus("c").soft_prompt("b").embeds, corpus.soft_prompt("b").embeds)
        assert codebook_files(other)[0].read_bytes() == codebook_files(store)[0].read_bytes()
        assert other.verify() == []
