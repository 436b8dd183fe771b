"""The retriever finds the passage a question is about, takes any question, and follows its corpus."""

import sqlite3
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lloco.errors import StoreError
from lloco.retrieval.bm25 import Fts5Index, TantivyIndex, default_index
from lloco.retrieval.open_retrievers import OpenRetrievers
from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Retriever, question_words
from lloco.store.corpus import Corpus
from lloco.store.passage import PassageText
from lloco.store.store import Store
from tests.command import raiser
from tests.corpora import add_document

FACTS = {
    "whales": "The blue whale is the largest animal. Its heart weighs as much as a car.",
    "bread": "Bakers knead the dough and let it rise before baking the bread in an oven.",
    "Zürich": "Zürich lies at the lake. What who the where how is was were did does.",
}


def make_passages() -> list[PassageText]:
    return [
        PassageText(id, passage.start, passage.end, text[passage.start : passage.end])
        for id, text in FACTS.items()
        for passage in split_passages(text, 8)
    ]


@pytest.fixture(params=["tantivy", "fts5"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "fts5":
        monkeypatch.setitem(sys.modules, "tantivy", None)
    return str(request.param)


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with Store(tmp_path / "store") as store:
        corpus = store.corpus("facts")
        for id, text in FACTS.items():
            add_document(corpus, id, text)
        yield corpus


def test_without_tantivy_sqlite_takes_over(backend: str) -> None:
    assert default_index() is (TantivyIndex if backend == "tantivy" else Fts5Index)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How much does the heart weigh?", "heart weighs"),
        ("Who is kneading doughs?", "knead the dough"),
        ("What is ZÜRICH's lake?", "Zürich lies"),
    ],
)
def test_the_passage_with_the_questions_words_comes_first(question: str, answer: str) -> None:
    hit = Retriever.build(make_passages()).search(question, 2)[0]
    assert answer in hit.text and hit.score > 0
    assert FACTS[hit.document_id][hit.start : hit.end] == hit.text


@pytest.mark.usefixtures("backend")
def test_hits_come_best_first_and_no_more_than_asked() -> None:
    retriever = Retriever.build(make_passages())
    hits = retriever.search("the heart of the largest whale, the dough and the lake", 4)
    assert len(hits) == 4
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert retriever.search("heart", 0) == []
    assert retriever.search("xylophone", 5) == []


@pytest.mark.usefixtures("backend")
def test_documents_are_ranked_by_their_best_passage() -> None:
    passages = [PassageText("long", number, number + 1, "cheese and much else besides") for number in range(200)]
    passages.append(PassageText("short", 0, 1, "cheese cheese"))
    retriever = Retriever.build(passages)
    ranked = retriever.search_documents("cheese", 2)
    assert [hit.document_id for hit in ranked] == ["short", "long"]
    assert ranked[0].score == retriever.search("cheese", 1)[0].score
    assert [hit.document_id for hit in retriever.search_documents("cheese", 1)] == ["short"]
    assert retriever.search_documents("cheese", 50) == ranked
    assert retriever.search_documents("ham", 2) == []


@pytest.mark.usefixtures("backend")
def test_equal_passages_keep_their_order() -> None:
    passages = [PassageText(str(number), 0, 5, "equal words") for number in range(300)]
    hits = Retriever.build(passages).search("equal", 300)
    assert [hit.document_id for hit in hits] == [str(number) for number in range(300)]


def test_question_stop_words_are_dropped_unless_there_is_nothing_else() -> None:
    assert question_words("What did the Captain's dog do, captain?") == ["captain", "dog"]
    assert question_words("Who are you?") == ["who", "are", "you"]
    assert question_words('"?! \0 \n') == []


@pytest.mark.usefixtures("backend")
def test_a_question_of_stop_words_alone_is_searched_for_as_it_is() -> None:
    assert Retriever.build(make_passages()).search("What is who?", 1)[0].document_id == "Zürich"


@pytest.fixture(scope="module")
def both() -> list[Retriever]:
    return [Retriever(index.build(make_passages(), None)) for index in (TantivyIndex, Fts5Index)]


QUESTIONS = st.text(max_size=80) | st.lists(
    st.sampled_from(
        [*"\"'()[]{}^~*?\\/:+-!&|<>=.,;$#@%`", "AND", "OR", "NOT", "IN", "NEAR", "text:", "heart", " ", "\0"]
    )
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(question=QUESTIONS)
def test_any_string_is_a_question(both: list[Retriever], question: str) -> None:
    for retriever in both:
        assert len(retriever.search(question, 3)) <= 3


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["L", "M", "N"]), max_size=20))
def test_signs_around_a_word_do_not_change_what_is_found(both: list[Retriever], signs: str) -> None:
    for retriever in both:
        assert retriever.search(f"{signs} heart {signs}", 3) == retriever.search("heart", 3) != []


@pytest.mark.parametrize(
    "question", ["\ud800 heart", "x" * 100_000 + " heart", " ".join(map(str, range(20_000))) + " heart"]
)
def test_broken_and_huge_questions_are_searched(both: list[Retriever], question: str) -> None:
    for retriever in both:
        assert "heart" in retriever.search(question, 1)[0].text


def test_of_very_many_words_the_last_are_searched_for() -> None:
    words = question_words(" ".join(f"w{number}" for number in range(5_000)))
    assert words == [f"w{number}" for number in range(4_000, 5_000)]


def test_no_passages_means_no_hits() -> None:
    for index in (TantivyIndex, Fts5Index):
        assert Retriever(index.build([], None)).search("heart", 3) == []


# Beside a corpus


@pytest.mark.usefixtures("backend")
def test_the_index_of_a_corpus_is_kept_and_follows_its_changes(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = Retriever.build(corpus.passages())
    questions = ["largest animal", "oven", "lake"]
    first = Retriever.of_corpus(corpus)
    assert [first.search(question, 5) for question in questions] == [
        in_memory.search(question, 5) for question in questions
    ]
    (folder,) = corpus.index_folder.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(default_index(), "build", None)
        assert Retriever.of_corpus(corpus).search("oven", 1) == first.search("oven", 1)
    add_document(corpus, "bread", "Nothing to eat today.")
    assert Retriever.of_corpus(corpus).search("oven", 1) == []
    assert Retriever.of_corpus(corpus).search("eat", 1)[0].text == "Nothing to eat today."
    (newer,) = corpus.index_folder.iterdir()
    assert newer != folder
    corpus.remove_document("bread")
    assert Retriever.of_corpus(corpus).search("eat", 1) == []


def test_a_retriever_stays_open_until_the_corpus_changes(corpus: Corpus) -> None:
    opened: list[str] = []

    def open_retriever(corpus: Corpus) -> Retriever:
        opened.append(corpus.name)
        return Retriever.of_corpus(corpus)

    retrievers = OpenRetrievers(open_retriever)
    assert retrievers.of(corpus) is retrievers.of(corpus) and len(opened) == 1
    add_document(corpus, "bread", "Nothing to eat today.")
    assert retrievers.of(corpus).search("eat", 1) and len(opened) == 2
    retrievers.forget(corpus.name)
    assert retrievers.of(corpus).search("eat", 1) and len(opened) == 3


@pytest.mark.usefixtures("backend")
def test_a_damaged_index_is_made_again(corpus: Corpus) -> None:
    expected = Retriever.of_corpus(corpus).search("oven", 1)
    (folder,) = corpus.index_folder.iterdir()
    for path in folder.iterdir():
        path.write_bytes(b"x")
    assert Retriever.of_corpus(corpus).search("oven", 1) == expected != []


def test_two_backends_do_not_read_each_others_index(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Retriever.of_corpus(corpus).search("oven", 1)[0].text
    monkeypatch.setitem(sys.modules, "tantivy", None)
    assert Retriever.of_corpus(corpus).search("oven", 1)[0].text == expected


def test_where_the_index_cannot_be_written_it_is_made_in_memory(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(code: int) -> None:
        def mkdir(path: Path, *arguments: object, **options: object) -> None:
            raise OSError(code, "refused", str(path))

        monkeypatch.setattr(Path, "mkdir", mkdir)

    refuse(30)  # EROFS
    assert Retriever.of_corpus(corpus).search("oven", 1)[0].document_id == "bread"
    refuse(28)  # ENOSPC
    assert Retriever.of_corpus(corpus).search("oven", 1)[0].document_id == "bread"


@pytest.mark.usefixtures("backend")
def test_an_index_that_cannot_be_built_says_so_in_the_stores_words(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (sqlite3.OperationalError("database or disk is full"), ValueError("IoError: no space")):
        monkeypatch.setattr(default_index(), "build", raiser(error))
        with pytest.raises(StoreError, match=r"could not make the index of corpus 'facts'.*(full|no space)"):
            Retriever.of_corpus(corpus)


@pytest.mark.usefixtures("backend")
def test_an_index_is_made_once_though_documents_come_meanwhile(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    index = default_index()
    build, calls = index.build, list[int]()

    def slow(passages: Iterable[PassageText], folder: Path | None) -> object:
        add_document(corpus, f"new-{len(calls)}", "Something else.")
        calls.append(1)
        return build(passages, folder)

    monkeypatch.setattr(index, "build", slow)
    assert Retriever.of_corpus(corpus).search("oven", 1)[0].document_id == "bread"
    assert len(calls) == 1


@pytest.mark.usefixtures("backend")
def test_an_index_that_others_remove_at_once_is_made_in_memory(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_index(), "open", raiser(ValueError("it is gone")))
    assert Retriever.of_corpus(corpus).search("oven", 1)[0].document_id == "bread"


# Passages


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab.!\n \t”。文", max_size=120) | st.text(max_size=120), st.integers(1, 7))
def test_passages_cover_the_text_exactly_and_none_is_empty(text: str, max_words: int) -> None:
    passages = split_passages(text, max_words)
    covered = 0
    for passage in passages:
        assert text[covered : passage.start].strip() == ""
        part = text[passage.start : passage.end]
        assert part and part == part.strip() and len(part.split()) <= max_words
        covered = passage.end
    assert text[covered:].strip() == ""


def test_passages_end_with_sentences_and_paragraphs_where_they_fit() -> None:
    text = 'One two three. Four "five six." Seven eight nine ten.\n\nEleven twelve thirteen. Fourteen.'
    assert [text[passage.start : passage.end] for passage in split_passages(text, 8)] == [
        'One two three. Four "five six."',
        "Seven eight nine ten.",
        "Eleven twelve thirteen. Fourteen.",
    ]


def test_a_sentence_that_never_ends_is_cut_by_words() -> None:
    text = "word " * 250
    assert [len(text[passage.start : passage.end].split()) for passage in split_passages(text)] == [100, 100, 50]


def test_text_without_white_space_is_cut_too() -> None:
    assert max(passage.end - passage.start for passage in split_passages("文" * 10_000)) == 200
    assert max(passage.end - passage.start for passage in split_passages("-" * 10_000)) == 3_200
    assert split_passages(" \n\t") == split_passages("") == []


def test_no_passage_crosses_a_page() -> None:
    text = "One sentence of page one.\n\fTwo. And it runs\n\fon.\n\f\n\fFive"
    parts = [text[passage.start : passage.end] for passage in split_passages(text)]
    assert parts == ["One sentence of page one.", "Two. And it runs", "on.", "Five"]
