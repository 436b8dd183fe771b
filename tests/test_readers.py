"""Files of the kinds people have are kept whole: each value in one is read, or what was not is named."""

from __future__ import annotations

import gzip
import io
import json
import time
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from reading import read, read_one, refuse

from lloco.documents.extracted import Limits, UnreadableError, page_of
from lloco.documents.html import page_text
from lloco.documents.opendocument_lists import roman

FOLDER = Path(__file__).parent / "data" / "documents"
EXPECTED: dict[str, dict[str, list[str]]] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
"""For each file: what its text must have, what it must not have, and what must be said of it."""


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_is_kept_whole_and_what_is_not_read_is_named(name: str) -> None:
    expected = EXPECTED[name]
    [document], skipped = read(FOLDER / name)
    for words in expected["has"]:
        assert words in document.text
    for words in expected.get("not", []):
        assert words not in document.text
    said = " ".join(entry.reason for entry in skipped)
    assert bool(said) == ("said" in expected), said
    for words in expected.get("said", []):
        assert words in said


def test_every_file_of_the_folder_is_expected() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {*EXPECTED, "expected.json"}


# -- hostile files -----------------------------------------------------------------------------------------------------


def test_forms_that_draw_one_another_are_refused_at_once() -> None:
    start = time.monotonic()
    [], [skipped] = read(FOLDER / "hostile" / "expforms.pdf")
    assert "draw one another" in skipped.reason and "67,108,864" in skipped.reason
    assert time.monotonic() - start < 5


def test_a_word_document_of_millions_of_empty_paragraphs_is_refused_at_once(tmp_path: Path) -> None:
    bomb = gzip.decompress((FOLDER / "hostile" / "bomb.docx.gz").read_bytes())
    start = time.monotonic()
    assert "10,922,671 XML tags, the limit is 3,000,000" in refuse(tmp_path / "bomb.docx", bomb)
    assert time.monotonic() - start < 10


def test_an_external_entity_is_not_read_and_said() -> None:
    [document], [skipped] = read(FOLDER / "hostile" / "xxe.docx")
    assert document.text.split() == ["before", "after"]
    assert "1 reference to entities not read (&x;)" in skipped.reason


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("<ul><li>x" * 300_000, "nested too deeply"),
        ("".join(f'<a href="/x{number}">link {number}</a> ' for number in range(510_000)), "HTML tags, the limit is"),
        ("<table><tr>" + ("<td rowspan=999>" + "y" * 200) * 200 + "<tr>" * 60_000, "longer than the limit"),
    ],
)
def test_hostile_html_is_refused_with_the_limit_named(tmp_path: Path, page: str, reason: str) -> None:
    assert reason in refuse(tmp_path / "a.html", page, max_bytes=20 << 20)


@pytest.mark.parametrize("page", ["<p>" + "a<br>" * 20_000, "<table>" + "<tr><td>a</td><td>b</td></tr>" * 9_000])
def test_large_simple_html_is_read_in_a_time_that_grows_with_its_size(tmp_path: Path, page: str) -> None:
    start = time.monotonic()
    assert read_one(tmp_path / "a.html", page).text.count("a") >= 9_000
    assert time.monotonic() - start < 10


def test_a_zip_of_very_many_parts_is_refused_unread(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(20_500):
            archive.writestr(str(number), b"")
    assert "parts, the limit is 20,000" in refuse(tmp_path / "a.docx", buffer.getvalue())


def test_reading_that_takes_too_long_ends_with_the_limit_named() -> None:
    limits = Limits(1 << 20, max_seconds=0.0, started=time.monotonic() - 1)
    with pytest.raises(UnreadableError, match="takes too long to read: the limit is 0 seconds"):
        page_text("<p>words</p>", limits)


# -- broken, encrypted, misnamed ---------------------------------------------------------------------------------------


def mutated(data: bytes, random: Random) -> bytes:
    """Change, drop, repeat or insert some bytes; of a zip, in one of its parts."""
    if data.startswith(b"PK"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
            hit = random.choice([name for name in old.namelist() if name.endswith(("ml", ".opf", ".rels"))])
            for name in old.namelist():
                new.writestr(name, mutated(old.read(name), random) if name == hit else old.read(name))
        return buffer.getvalue()
    changed = bytearray(data)
    for _ in range(random.choice([1, 2, 8, 40])):
        at = random.randrange(len(changed) + 1)
        end = at + random.randrange(40)
        changed[at:end] = random.choice([b"", random.randbytes(3), changed[at // 2 : at // 2 + 60]])
    return bytes(changed)


@pytest.mark.parametrize("name", [name for name in EXPECTED if Path(name).suffix not in (".csv", ".rst", "")])
def test_a_damaged_file_is_read_or_refused_and_nothing_else_happens(tmp_path: Path, name: str) -> None:
    random = Random(name)
    for _ in range(8):
        path = tmp_path / name
        path.write_bytes(mutated((FOLDER / name).read_bytes(), random))
        documents, skipped = read(path)
        assert documents or skipped


def test_control_characters_in_a_page_with_menus_are_no_error(tmp_path: Path) -> None:
    page = "<p>before</p><nav>Home</nav>\x01\x02 after the menu, and many words more"
    assert "after the menu" in read_one(tmp_path / "a.html", page).text


ZIPPED = [".docx", ".xlsx", ".pptx", ".odt", ".epub"]


@pytest.mark.parametrize("suffix", ZIPPED)
def test_a_damaged_or_empty_package_is_refused(tmp_path: Path, suffix: str) -> None:
    name = next(name for name in EXPECTED if name.endswith(suffix))
    whole = (FOLDER / name).read_bytes()
    assert "damaged" in refuse(tmp_path / f"cut{suffix}", whole[: len(whole) // 2])
    assert "damaged" in refuse(tmp_path / f"no{suffix}", b"no zip at all")
    assert "damaged" in refuse(tmp_path / f"empty{suffix}", b"")


@pytest.mark.parametrize("suffix", [".docx", ".xlsx", ".pptx"])
def test_an_encrypted_office_file_says_so(tmp_path: Path, suffix: str) -> None:
    assert "password" in refuse(tmp_path / f"a{suffix}", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)


def test_encrypted_books_and_open_documents_say_so(tmp_path: Path) -> None:
    book = with_part("island.epub", "META-INF/encryption.xml", b'<e><CipherReference URI="OEBPS/one.xhtml"/></e>')
    assert "protected against copying" in refuse(tmp_path / "a.epub", book)
    rules = with_part("rules.odt", "META-INF/manifest.xml", b"<manifest><encryption-data/></manifest>")
    assert "encrypted" in refuse(tmp_path / "a.odt", rules)


def with_part(name: str, part: str, data: bytes) -> bytes:
    buffer = io.BytesIO((FOLDER / name).read_bytes())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(part, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"%PDF-1.7\n", "is a PDF, not txt as its name says; rename it to .pdf"),
        ("a.docx", b"%PDF-1.7\n", "is a PDF, not docx"),
        ("a.pdf", b"PK\x03\x04", "is a zip file"),
        ("a.csv", b"{\\rtf1 x}", "is rich text, not csv as its name says; rename it to .rtf"),
        ("a.md", b"\x89PNG\r\n", "is a picture"),
        ("program", b"\x7fELF\0\0\0", "binary"),
    ],
)
def test_a_file_of_another_kind_than_its_name_says_is_refused_with_what_it_is(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    assert reason in refuse(tmp_path / name, content)


@pytest.mark.parametrize("name", ["README", "minutes of 3.2024", "notes.LOG", "a.tsv", "a.rst.gz"])
def test_plain_text_is_read_under_its_many_names(tmp_path: Path, name: str) -> None:
    content = gzip.compress(b"some words\n") if name.endswith(".gz") else b"some words\n"
    assert read_one(tmp_path / name, content).text == "some words\n"


# -- pages -------------------------------------------------------------------------------------------------------------


def test_the_page_of_a_character_is_known_where_a_document_has_pages() -> None:
    text = read(FOLDER / "annotated.pdf")[0][0].text
    assert page_of(text, text.index("draft")) == 1 and page_of(text, text.index("vote")) == 2
    assert page_of(read(FOLDER / "README")[0][0].text, 3) is None
    slides = read(FOLDER / "mill.pptx")[0][0].text
    assert page_of(slides, slides.index("Sluice")) == 2


# -- small parts -------------------------------------------------------------------------------------------------------


def test_roman_digits() -> None:
    assert [roman(number) for number in (1, 4, 9, 14, 40, 1994, 3999)] == [
        *("i", "iv", "ix", "xiv", "xl", "mcmxciv", "mmmcmxcix")
    ]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<nav><a href=/>Home</a></nav>", "Home"),  # a page that is a menu is read as one
        ('<div class="menu">Soup of the day: leek, 4 euros</div>', "Soup of the day: leek, 4 euros"),
        ('<div id="footer"><h1>Only this</h1></div><p>More.', "Only this\n\nMore."),
        ("<table><tr><td><table><tr><td>a<td>b</table><td>side</table>", "a | b\n\nside"),
        ("<p>a<sup> </sup>b<sup>x y</sup>", "ab^(x y)"),
        ("<ul><li>a<p>more of a</ul>", "- a\n  more of a"),
        ("<ol><li><ul><li>inner</ul></ol>", "  - inner"),
    ],
)
def test_html_in_small(page: str, text: str) -> None:
    assert page_text(f"<html><body>{page}</body></html>", Limits(1 << 20)).text == text


def test_a_mail_without_a_plain_text_is_read_from_its_html_and_broken_ones_are_refused(tmp_path: Path) -> None:
    mail: Any = b"From: a@example.org\nSubject: Hi\nContent-Type: text/html\n\n<p>The gate is <b>green</b>.</p>"
    assert read_one(tmp_path / "a.eml", mail).text == "From: a@example.org\nSubject: Hi\n\nThe gate is green."
    assert "no header" in refuse(tmp_path / "b.eml", b"\n\nno header here")


@pytest.mark.parametrize(
    ("mail", "reason"),
    [
        (
            b"Subject: " + b"=?utf-8?q?=C3=B8?= " * 100_000 + b"\n\nhi",
            "header field is longer than the limit of 65,536",
        ),
        (b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nhi\n" * 6_000, "parts, the limit is 5,000"),
    ],
)
def test_hostile_mail_is_refused_with_the_limit_named(tmp_path: Path, mail: bytes, reason: str) -> None:
    assert reason in refuse(tmp_path / "a.eml", mail)


def test_a_stray_cell_at_the_end_of_a_sheet_costs_no_time(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    sheet = "xl/worksheets/sheet2.xml"
    cells = b'<row r="1"><c r="A1"><v>7</v></c></row><row r="1048576"><c r="XFD1048576"><v>5</v></c></row>'
    space = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    with zipfile.ZipFile(FOLDER / "staff.xlsx") as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            changed = b"<worksheet %s><sheetData>%s</sheetData></worksheet>" % (space, cells)
            new.writestr(name, changed if name == sheet else old.read(name))
    path = tmp_path / "a.xlsx"
    path.write_bytes(buffer.getvalue())
    start = time.monotonic()
    assert "Sheet: Rooms\n7\n" in read(path)[0][0].text
    assert time.monotonic() - start < 20
