"""Search by meaning: real embedder folders, passages without a word of the question, indexes that follow a corpus."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lloco.errors import CheckpointError, LlocoError
from lloco.retrieval.dense import DenseIndex
from lloco.retrieval.embedder import Embedder, Vectors, load_embedder
from lloco.retrieval.retriever import Hit, Retriever, fuse
from lloco.store.corpus import Corpus
from lloco.store.passage import PassageText
from lloco.store.store import Store
from tests.corpora import add_document
from tests.embedders import save_synonym_embedder, save_transformer_embedder

TEXTS = {"sea": "The brig left Leith.", "kitchen": "A loaf and an oven.", "alps": "Near the shore stand vines."}


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load_embedder(save_synonym_embedder(tmp_path_factory.mktemp("embedders") / "synonyms"))


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with Store(tmp_path / "store") as store:
        corpus = store.corpus("facts")
        for id, text in TEXTS.items():
            add_document(corpus, id, text)
        yield corpus


def passages() -> list[PassageText]:
    return [PassageText(id, 0, len(text), text) for id, text in TEXTS.items()]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.document_id for hit in hits]


def test_a_passage_without_a_word_of_the_question_is_found_by_meaning(embedder: Embedder) -> None:
    by_words = Retriever.build(passages())
    by_meaning = Retriever.build(passages(), "dense", embedder)
    assert by_words.search("Which vessel sailed?", 3) == []
    [best, *others] = by_meaning.search("Which vessel sailed?", 3)
    assert (best.document_id, best.text) == ("sea", TEXTS["sea"])
    assert best.score == pytest.approx(1.0)
    assert all(other.score < 0.1 for other in others)


def test_hybrid_finds_what_either_finds_and_what_both_find_first(embedder: Embedder) -> None:
    texts = ["vines, a brig", "vines, a town", "ham, a brig", "ham, a town"]
    rows = [PassageText(str(number), 0, len(text), text) for number, text in enumerate(texts)]
    found = ids(Retriever.build(rows, "hybrid", embedder).search("vines vessel", 3))
    assert found[0] == "0"
    assert set(found[1:]) == {"1", "2"}


def test_fusion_weighs_both_rankings_between_their_best_and_nothing() -> None:
    a, b, c = (Hit(name, 0, 1, "", 0.0) for name in "abc")
    fused = fuse([replace(a, score=8.0), replace(b, score=6.0)], [replace(b, score=0.9), replace(c, score=0.45)])
    assert ids(fused) == ["b", "a", "c"]
    assert [hit.score for hit in fused] == pytest.approx([0.75 + 0.3, 1.0, 0.15])
    assert ids(fuse([], [b])) == ids(fuse([b], [])) == ["b"]
    # Cosines below 0: the least alike is the worst, and no cosine near 0 counts for more than a word.
    away = [replace(b, score=-0.02), replace(c, score=-0.3)]
    assert [hit.score for hit in fuse([replace(a, score=8.0)], away)] == pytest.approx([1.0, 0.3, 0.0])
    alike = [replace(b, score=0.01), replace(a, score=-0.3)]
    assert ids(fuse([replace(a, score=8.0)], alike)) == ["a", "b"]


def test_documents_and_passages_within_one_are_ranked_by_meaning(embedder: Embedder) -> None:
    rows = [
        *(PassageText("long", number, number + 1, "bread") for number in range(40)),
        PassageText("long", 90, 91, "a lake"),
        PassageText("short", 0, 1, "water"),
    ]
    retriever = Retriever.build(rows, "dense", embedder)
    assert [hit.document_id for hit in retriever.search_documents("shore", 2)] == ["long", "short"]
    within = retriever.search_within("long", rows[:-1], "shore")
    assert (within[0].start, len(within)) == (90, 41)
    assert {hit.document_id for hit in within} == {"long"}


def test_the_dense_index_of_a_corpus_is_kept_and_only_new_passages_are_embedded(
    corpus: Corpus, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []

    def spy(self: Embedder, texts: Sequence[str]) -> Vectors:
        embedded.extend(texts)
        return real(self, texts)

    real = Embedder.embed_passages
    monkeypatch.setattr(Embedder, "embed_passages", spy)
    first = Retriever.of_corpus(corpus, "dense", embedder)
    assert sorted(embedded) == sorted(TEXTS.values())
    embedded.clear()
    assert Retriever.of_corpus(corpus, "dense", embedder).search("vessel", 3) == first.search("vessel", 3)
    assert embedded == []
    add_document(corpus, "whales", "A cetacean sings.")
    corpus.remove_document("kitchen")
    newer = Retriever.of_corpus(corpus, "dense", embedder)
    assert embedded == ["A cetacean sings."]
    assert ids(newer.search("whale", 1)) == ["whales"]
    assert "kitchen" not in ids(newer.search("bread", 9))
    assert len(list(corpus.index_folder.iterdir())) == 1


def test_indexes_of_words_and_of_two_embedders_stand_side_by_side(corpus: Corpus, tmp_path: Path) -> None:
    one = load_embedder(save_synonym_embedder(tmp_path / "one"))
    two = load_embedder(save_transformer_embedder(tmp_path / "two"))
    assert one.digest != two.digest
    Retriever.of_corpus(corpus, "hybrid", one)
    Retriever.of_corpus(corpus, "dense", two)
    assert len(list(corpus.index_folder.iterdir())) == 3
    for path in corpus.index_folder.rglob("dense.arrow"):
        path.write_bytes(b"x")
    assert ids(Retriever.of_corpus(corpus, "dense", one).search("vessel", 1)) == ["sea"]


def test_a_transformer_embeds_to_unit_vectors_and_any_text(tmp_path: Path) -> None:
    embedder = load_embedder(save_transformer_embedder(tmp_path / "embedder"))
    vectors = embedder.embed_passages(["one text", "another, longer text", "\ud800"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert embedder.embed_question("one text") @ vectors[0] == pytest.approx(1, abs=1e-5)


def test_no_passages_means_no_hits(embedder: Embedder, tmp_path: Path) -> None:
    index = DenseIndex.build([], embedder, tmp_path)
    assert index.search("vessel", 3) == DenseIndex.open(tmp_path, embedder).search("vessel", 3) == []


@pytest.mark.parametrize("broken", ["empty", "truncated"])
def test_what_is_no_embedder_is_refused(broken: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    if broken == "empty":
        folder.mkdir()
    else:
        weights = save_synonym_embedder(folder) / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="cannot be read as a sentence-transformers or model2vec model"):
        load_embedder(folder)


def test_an_embedder_that_makes_no_numbers_is_refused(tmp_path: Path) -> None:
    embedder = load_embedder(save_synonym_embedder(tmp_path / "folder", scale=float("nan")))
    with pytest.raises(LlocoError, match="returned non-finite vectors"):
        embedder.embed_passages(["brig"])


def test_without_the_library_or_an_embedder_the_error_says_what_to_do(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LlocoError, match="--embedder"):
        Retriever.of_corpus(corpus, "hybrid")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(LlocoError, match=r"lloco\[dense\]"):
        load_embedder("anything")


class Recording:
    """An embedder that keeps what it was given."""

    digest = "0" * 64

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        return np.ones((len(texts), 2), np.float32)

    def embed_question(self, question: str) -> Vectors:
        self.texts.append(question)
        return np.ones(2, np.float32)


def test_texts_and_questions_are_embedded_in_one_form_and_cited_as_they_were() -> None:
    embedder = Recording()
    decomposed = "Cafe\u0301 Mu\u0308ller"
    index = DenseIndex.build([PassageText("a", 0, len(decomposed), decomposed)], embedder, None)
    [(passage, _)] = index.search("Mu\u0308ller", 1)
    assert embedder.texts == ["Café Müller", "Müller"] and passage.text == decomposed
