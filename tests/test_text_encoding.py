"""Bytes become the text they were, or are refused with the place; never a replacement character."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from reading import read_one, refuse


def test_text_is_kept_as_it_is_but_for_line_ends(tmp_path: Path) -> None:
    text = "  one\t\u00a0two  \r\nthree\rfour\n\n\u2028five\x0cé e\u0301 \U0001f600\n"
    document = read_one(tmp_path / "a.txt", text)
    assert document.text == "  one\t\u00a0two  \nthree\nfour\n\n\u2028five\x0cé e\u0301 \U0001f600\n"
    assert document.title == "a"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be-bom"])
def test_unicode_encodings_are_recognised(tmp_path: Path, encoding: str) -> None:
    text = "Größe, café, договор, 契約 \U0001f600\n"
    content = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16-be-bom" else text.encode(encoding)
    assert read_one(tmp_path / "a.txt", content).text == text


LEGACY = [
    ("cp1252", "Le café était fermé, même à midi; déjà les élèves s'en allaient."),
    ("cp1252", "She said “hello” – twice – and left the café; the price was € 5."),
    ("cp1252", "Der Vertrag läuft für Müller über fünf Jahre. Größe und Straße."),
    ("cp1252", "El niño comió la piña mañana; ¿qué pasó, señor?"),
    ("cp1250", "Zażółć gęślą jaźń, a potem wróć do domu, żeby zjeść śniadanie."),
    ("cp1251", "Это договор между двумя сторонами, заключённый в Москве."),
    ("koi8_r", "Это договор между двумя сторонами, заключённый в Москве."),
    ("cp1253", "Η σύμβαση υπογράφηκε στην Αθήνα από τα δύο μέρη."),
    (
        "cp1255",
        "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, "
        "לפיכך חובה עליהם לנהוג איש ברעהו ברוח של אחווה. ההסכם נחתם בתל אביב על ידי שני הצדדים.",
    ),
    ("cp932", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"),
    ("iso2022_jp", "吾輩は猫である。名前はまだ無い。"),
    ("iso2022_kr", "이 계약은 서울에서 양 당사자가 서명하였다."),
    ("euc_jp", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"),
    ("gb18030", "本合同由双方在北京签署，自签署之日起生效，有效期为三年。"),
    ("big5", "本合約由雙方在台北簽署，自簽署之日起生效，有效期為三年。"),
    ("cp949", "이 계약은 서울에서 양 당사자가 서명하였으며 삼년간 유효하다."),
]


@pytest.mark.parametrize("repeats", [1, 20])
@pytest.mark.parametrize(("encoding", "text"), LEGACY)
def test_legacy_encodings_are_recognised(tmp_path: Path, encoding: str, text: str, repeats: int) -> None:
    text = (text + "\n") * repeats
    assert read_one(tmp_path / "a.txt", text.encode(encoding)).text == text


def test_one_legacy_word_far_into_a_long_ascii_text_is_found(tmp_path: Path) -> None:
    text = "A plain line of English text.\n" * 20_000 + "Then the café.\n" + "And more English.\n" * 20_000
    assert read_one(tmp_path / "a.txt", text.encode("cp1252")).text == text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"plain English text, and then \xff\xfe\xfa bad", r"byte 0xff at offset 29"),
        ("déjà vu, très bien".encode() + b" \xff end", r"0xff at offset 22.*damaged"),
        ("the tail was cut: caf\u00e9, na\u00efve".encode() + "é".encode()[:1], r"offset 31.*damaged"),
        (b"\xef\xbb\xbfbyte order mark but \xe9 legacy", r"not valid UTF-8 at byte offset 2"),
        ("odd length".encode("utf-16") + b"x", r"not valid UTF-16 at byte offset 22"),
        ("Привет".encode("cp1251"), r"0xcf at offset 0.*could be any of"),
        (random.Random(0).randbytes(3000).replace(b"\0", b"\x01"), r"at offset 0.* and no legacy encoding fits"),
        ("no mark".encode("utf-16-le"), r"binary"),
        (b"head\0tail", r"NUL character at position 4"),
        ("é".encode("cp1252") + b"\0" * 10, r"binary"),
        (b"\x01\x02\x03\x04 abc" * 50, r"binary: 50% of its characters are control"),
        ("lost \ufffd\ufffd\ufffd text", r"binary"),
    ],
)
def test_bytes_that_are_no_text_are_refused_with_the_place(tmp_path: Path, content: bytes | str, reason: str) -> None:
    came = refuse(tmp_path / "a.txt", content)
    assert re.search(reason, came), came


def test_a_few_control_characters_do_not_make_a_text_binary(tmp_path: Path) -> None:
    assert read_one(tmp_path / "log.txt", "\x1b[31mred\x1b[0m page one\x0cpage two\x01").text.endswith("\x01")
