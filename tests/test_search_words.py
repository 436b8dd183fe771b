"""Documents and questions are brought to one form for search; what is stored and cited stays as it was written."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import pytest
from reading import read

from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Retriever
from lloco.retrieval.search_words import search_text, search_words
from lloco.store.passage import PassageText

NFD = Path(__file__).parent / "data" / "documents" / "text_nfd"


@pytest.fixture(params=["tantivy", "fts5"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "fts5":
        monkeypatch.setitem(sys.modules, "tantivy", None)


def retriever_of(texts: dict[str, str]) -> Retriever:
    return Retriever.build(
        PassageText(id, passage.start, passage.end, text[passage.start : passage.end])
        for id, text in texts.items()
        for passage in split_passages(text)
    )


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_question_finds_its_document_in_whatever_form_either_was_typed(form: str) -> None:
    texts = {document.id: document.text for document in read(NFD)[0]}
    assert not unicodedata.is_normalized("NFC", texts["cafe.txt"])
    question = unicodedata.normalize(form, "Wem gehört das Café Müller in Zürich?")
    hit = retriever_of(texts).search(question, 1)[0]
    assert hit.document_id == "cafe.txt" and texts["cafe.txt"][hit.start : hit.end] == hit.text
    assert [hit.document_id for hit in retriever_of(texts).search("Müller", 2)] == ["cafe.txt"]


ASIAN = {
    "zh-rent": "租赁合同由双方在北京签署，租金为每月四千元，期限三年。",
    "zh-ship": "货船在上海港停泊两天，船长是王海。",
    "ja-cat": "吾輩は猫である。名前はまだ無い。",
    "ja-train": "電車は八時に東京駅を出発します。",
    "th-shop": "ร้านกาแฟเปิดเวลาเจ็ดโมงเช้าทุกวัน",
    "th-bus": "รถโดยสารออกจากเชียงใหม่ตอนเที่ยง",
    "ko-lease": "임대차 계약은 서울에서 양 당사자가 서명하였다.",
    "ko-dog": "강아지가 공원에서 뛰어놀았다.",
}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("每月租金是多少？", "zh-rent"),
        ("谁是货船的船长？", "zh-ship"),
        ("船", "zh-ship"),
        ("猫の名前は何ですか", "ja-cat"),
        ("電車は何時に出発しますか？", "ja-train"),
        ("ร้านกาแฟเปิดกี่โมง", "th-shop"),
        ("รถออกจากเชียงใหม่เมื่อไร", "th-bus"),
        ("계약을 서명한 곳은?", "ko-lease"),
        ("강아지는 어디에서 놀았나", "ko-dog"),
    ],
)
def test_questions_in_scripts_without_spaces_find_their_documents(question: str, answer: str) -> None:
    assert retriever_of(ASIAN).search(question, 1)[0].document_id == answer


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("STRASSE", "in der Straße"),
        ("２０２４", "the year 2024"),
        ("ﬁnal office", "the final word"),
        ("Förderprogramm", "das Förder\u00adprogramm"),
        ("ΟΔΟΣ", "η οδός".replace("ό", "ο")),
        ("İstanbul", "istanbul".replace("i", "i\u0307", 1)),
    ],
)
def test_forms_of_one_word_are_alike(question: str, text: str) -> None:
    hits = retriever_of({"a": "other words entirely", "b": text}).search(question, 2)
    assert [(hit.document_id, hit.text) for hit in hits] == [("b", text)]


def test_english_is_searched_as_before() -> None:
    assert search_words("What's Bob's e-mail, BOB?") == ["what", "s", "bob", "e", "mail"]
    assert search_text("Plain English, Bob's.") == "Plain English, Bob's."


def test_pairs_of_letters_keep_their_marks() -> None:
    assert search_words("ร้าน") == ["ร้า", "าน"]
    assert search_words("猫") == ["猫"] and search_words("黒猫は") == ["黒猫", "猫は"]
    assert search_text("黒猫 cat").split() == ["黒猫", "黒", "猫", "cat"]
