"""Routing: which corpus a question goes to, by hand-made passages, from the command line, and when it is refused."""

from pathlib import Path

import pytest

import lloco
from lloco.errors import LlocoError
from lloco.retrieval.embedder import load_embedder
from lloco.retrieval.retriever import Hit, NothingFoundError, Retriever
from lloco.retrieval.routing import route, vote
from lloco.store.passage import PassageText
from tests.command import Run
from tests.embedders import save_synonym_embedder

pytestmark = pytest.mark.usefixtures("home")

SHIPS = ("The brig Petrel left Dundee with slate.", "The schooner Heron lay in Leith.", "A brig needs two masts.")
FARMS = ("The farm at Elm Cross keeps sheep.", "Barley is sown in March.", "The brig is a bridge in the north.")

TEXTS = {"ships": SHIPS, "farms": ("The farm keeps sheep.", "Barley is sown in March.")}


def hits(texts: tuple[str, ...], question: str) -> list[Hit]:
    passages = [PassageText(f"d{number}", 0, len(text), text) for number, text in enumerate(texts)]
    return Retriever.build(passages).search(question, 20)


def votes_for(question: str) -> dict[str, float] | None:
    found = vote(question, {"ships": hits(SHIPS, question), "farms": hits(FARMS, question)})
    return None if found is None else dict(found.votes)


def test_where_no_passage_has_a_word_of_the_question_the_embedder_votes(tmp_path: Path) -> None:
    embedder = load_embedder(save_synonym_embedder(tmp_path / "embedder"))
    passages = {name: [PassageText("d", 0, len(text), text) for text in texts] for name, texts in TEXTS.items()}
    found = {
        name: Retriever.build(item, "hybrid", embedder).search("Which vessel?", 20) for name, item in passages.items()
    }
    assert vote("Which vessel?", found) is None
    by_meaning = vote("Which vessel?", found, embedder)
    assert by_meaning is not None and next(iter(by_meaning.votes)) == "ships"
    assert vote("Which zebra?", found, embedder) is None


def test_the_best_passages_vote_and_the_shares_add_up() -> None:
    found = votes_for("Where did the brig Petrel sail from, with slate?")
    assert found is not None
    assert list(found) == ["ships", "farms"]
    assert found["ships"] > 0.9
    assert sum(found.values()) == pytest.approx(1)
    assert votes_for("Who keeps sheep?") == {"farms": 1.0}
    assert votes_for("What about zebras?") is None


@pytest.fixture
def two(run: Run, compressor: Path, tmp_path: Path) -> Run:
    for name, texts in (("ships", SHIPS), ("farms", FARMS)):
        for number, text in enumerate(texts):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{number}.txt").write_text(text)
        run.json("compress", tmp_path / name, "--corpus", name, "--compressor", compressor)
    return run


def test_a_question_without_a_corpus_goes_to_the_one_it_is_about(two: Run) -> None:
    value = two.json("ask", "Which animals does the farm at Elm Cross keep?", "--max-tokens", "2")
    assert (value["corpus"], next(iter(value["votes"]))) == ("farms", "farms")
    assert value["documents"][0]["document_id"] == "0.txt"
    assert two("ask", "Who owned the schooner Heron?", "--max-tokens", "2") == 0
    assert "corpus ships, by the passages found: ships 100%" in two.out
    named = two.json("ask", "--corpus", "ships", "Who owned the schooner Heron?", "--max-tokens", "2")
    assert (named["corpus"], named["votes"]) == ("ships", None)
    both = two.json("ask", "--corpus", "ships", "--corpus", "farms", "Who keeps sheep?", "--max-tokens", "2")
    assert both["votes"] == {"farms": 1.0}


def test_chat_asks_each_question_where_it_belongs(two: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["Who keeps sheep?", "Who owned the schooner Heron?"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines, "/quit"))
    assert two("chat", "--max-tokens", "2") == 0
    assert two.err.index("corpus farms, by") < two.err.index("corpus ships, by")


def test_what_cannot_be_routed_is_refused(two: Run) -> None:
    assert "none of farms, ships has a word of" in two.fails("ask", "What about zebras?")
    message = two.fails("ask", "--strict", "Is the brig a bridge, or has it masts?")
    assert "passages of several corpora fit" in message and "--corpus" in message
    assert "in one corpus" in two.fails("ask", "Who?", "--document", "0.txt", code=2)
    with lloco.Store() as store, pytest.raises(NothingFoundError):
        route([store.corpus(name) for name in ("farms", "ships")], "What about zebras?")
    with pytest.raises(LlocoError, match="the question is empty"):
        route([], " ")


def test_a_store_without_corpora_says_what_to_do(run: Run) -> None:
    assert "lloco compress" in run.fails("ask", "Who?")
