"""Every format is read whole and within bounds, or refused with the reason."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path

import docx
import pytest
from reading import read, read_one, refuse

# -- sizes -------------------------------------------------------------------------------------------------------------


def test_a_file_over_the_limit_is_refused_unread_with_both_sizes(tmp_path: Path) -> None:
    assert "1,234 bytes, the limit is 1,000 bytes" in refuse(tmp_path / "a.txt", b"x" * 1234, max_bytes=1000)
    sparse = tmp_path / "sparse.txt"
    with sparse.open("wb") as file:
        file.truncate(600 << 20)
    tracemalloc.start()
    try:
        documents, skipped = read(sparse)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert documents == [] and "629,145,600 bytes" in skipped[0].reason and "536,870,912" in skipped[0].reason
    assert peak < 1 << 20


def test_a_file_of_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 1000)
    assert len(read(tmp_path, max_bytes=1000)[0][0].text) == 1000


def test_a_text_of_20_mb_is_read_in_a_few_times_its_size(tmp_path: Path) -> None:
    line = b"One line of a very long text, with a number and a little more.\r\n"
    num_lines = (20 << 20) // len(line)
    path = tmp_path / "a.txt"
    path.write_bytes(line * num_lines)
    tracemalloc.start()
    try:
        documents, skipped = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert skipped == [] and len(documents[0].text) == num_lines * (len(line) - 1)
    assert peak < 5 * path.stat().st_size
    path.unlink()  # pytest keeps the folders of the last runs


def test_a_gzip_bomb_is_refused_within_the_limit(tmp_path: Path) -> None:
    bomb = gzip.compress(b"a" * (64 << 20))
    tracemalloc.start()
    try:
        reason = refuse(tmp_path / "bomb.txt.gz", bomb, max_bytes=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "unpack to more than the limit of 1,048,576 bytes" in reason
    assert peak < 8 << 20


@pytest.mark.parametrize("content", [gzip.compress(b"text " * 5000)[:-9], b"not gzip", gzip.compress(b"a" * 99) + b"x"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "gzip" in refuse(tmp_path / "a.txt.gz", content)


def test_a_gzipped_text_is_read_like_the_text(tmp_path: Path) -> None:
    document = read_one(tmp_path / "Story.MD.gz", gzip.compress(b"# Once\r\nupon a time"))
    assert (document.id, document.title, document.text) == ("Story.MD.gz", "Once", "# Once\nupon a time")


# -- Markdown and HTML -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n## The  *Heading* ##\ntext\n# Later\n", "The *Heading*"),
        ("The Title\n=========\ntext", "The Title"),
        ("---\n# comment\ntags: [a]\n---\n# Real\n", "Real"),
        ("```\n# code\n```\n~~~\n# code\n```\n# still\n~~~\n# C#\n", "C#"),
        ("#hashtag and no heading\n", "file"),
        ("#" + " " * 500_000 + "\n", "file"),  # once looked through again from every space
    ],
)
def test_the_title_of_markdown_is_its_first_heading(tmp_path: Path, text: str, title: str) -> None:
    document = read_one(tmp_path / "file.md", text)
    assert (document.title, document.text) == (title, text)


PAGE = """<!doctype html><html><head><title>Lease &amp;
 terms</title><style>p {color: red}</style></head><body>
<header><nav><ul><li><a href=/a>Home</a></li><li><a href=/b>Products</a></li></ul></nav></header>
<main><article><h1>Lease</h1><p>The tenant, Zoë, pays <b>five</b> crowns on the first day
 of every month of the year.</p>
<script>var secret = 1;</script><table><tr><td>Rent</td><td>five</td></tr></table><ul><li>No dogs</li></ul></article>
</main><footer>Copyright <a href=/p>Privacy</a></footer></body></html>"""


@pytest.mark.parametrize("name", ["a.html", "a.htm"])
def test_html_gives_the_words_of_the_article_and_its_title(tmp_path: Path, name: str) -> None:
    document = read_one(tmp_path / name, PAGE)
    assert document.title == "Lease & terms"
    for words in ("Lease", "Zoë, pays five crowns on the first day", "Rent", "No dogs"):
        assert words in document.text
    for words in ("Products", "secret", "color", "Privacy", "<"):
        assert words not in document.text


@pytest.mark.parametrize(
    ("declared", "encoding", "words"),
    [
        ("iso-8859-1", "cp1252", "The “tenant” Zoë pays"),
        ("windows-1250", "cp1250", "A bérlő fizet, őszig"),
        ("Shift_JIS", "cp932", "契約①の期間"),
        ("utf-8", "cp1252", "Der Mieter zahlt für das Haus über"),
        ("utf-16", "utf-8", "déclaration fausse"),
        ("no-such-name", "cp1252", "Der Mieter zahlt für das Haus über"),
    ],
)
def test_the_encoding_a_page_declares_is_believed_when_it_decodes(
    tmp_path: Path, declared: str, encoding: str, words: str
) -> None:
    page = f'<html><head><meta charset="{declared}"></head><body><p>{words}</p><p>More.</p></body></html>'
    assert words in read_one(tmp_path / "a.html", page.encode(encoding)).text


@pytest.mark.parametrize("page", ["just words", "<p>just words", "<html><body>just words</body></html>"])
def test_a_page_without_an_article_is_read_whole(tmp_path: Path, page: str) -> None:
    document = read_one(tmp_path / "a.html", page + "<script>x</script>")
    assert (document.text, document.title) == ("just words", "a")


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (
            "<html><head><title>App</title></head><body><script>go()</script><noscript>on</noscript></body></html>",
            "only",
        ),
        ("<html><body></body></html>", "no text in the page"),
        ("<!-- nothing -->", ""),
        ("", "empty"),
        ("<p>before\0after</p>", "NUL"),
        ("<p>x</p>" + "<div>" * 5000 + "words too deep", "nested too deeply"),
    ],
)
def test_html_that_cannot_be_read_whole_is_refused(tmp_path: Path, page: str, reason: str) -> None:
    assert reason in refuse(tmp_path / "a.html", page)


def test_html_over_its_own_limit_is_refused_unparsed(tmp_path: Path) -> None:
    assert "limit for HTML" in refuse(tmp_path / "a.html", b"<p>word</p>" * 3_100_000)


# -- PDF ---------------------------------------------------------------------------------------------------------------

IMAGE = b"BI /W 1 /H 1 /BPC 8 /CS /G ID \x80 EI"


def make_pdf(pages: Sequence[Sequence[str] | bytes], title: str = "", trailer: bytes = b"") -> bytes:
    """A PDF of pages given as lines of text, or as a raw content stream."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * index) for index in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for index, page in enumerate(pages):
        lines = b"" if isinstance(page, bytes) else b" ".join(b"(%s) Tj T*" % line.encode("cp1252") for line in page)
        stream = page if isinstance(page, bytes) else b"BT /F1 12 Tf 72 720 Td 14 TL %s ET" % lines
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
            b"/Contents %d 0 R >>" % (5 + 2 * index)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    objects.append(b"<< /Title (%s) >>" % title.encode("cp1252"))
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    xref = b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    root = b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R %s >>\n" % (size, len(objects), trailer)
    return out + xref + root + b"startxref\n%d\n%%%%EOF\n" % len(out)


def test_pdf_gives_its_pages_in_order_and_its_title(tmp_path: Path) -> None:
    pdf = make_pdf([["The café opens", "at nine."], [], ["Page three."]], title="Opening hours")
    document = read_one(tmp_path / "a.pdf", pdf)
    assert (document.text, document.title) == ("The café opens\nat nine.\n\f\n\fPage three.", "Opening hours")
    assert read_one(tmp_path / "b.pdf", make_pdf([["text"]])).title == "b"


def test_words_hyphenated_at_the_end_of_a_pdf_line_are_joined_and_compounds_kept(tmp_path: Path) -> None:
    pdf = make_pdf([["for exam-", "ple a state-of-", "the-art non-", "European thing"]])
    text = read_one(tmp_path / "a.pdf", pdf).text
    assert text.split() == ["for", "example", "a", "state-of-the-art", "non-European", "thing"]


def test_a_pdf_without_text_layer_says_to_run_ocr(tmp_path: Path) -> None:
    assert "no text layer" in (reason := refuse(tmp_path / "a.pdf", make_pdf([IMAGE, IMAGE]))) and "run OCR" in reason


def test_a_pdf_scanned_in_part_is_read_and_the_scanned_pages_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(make_pdf([["Text."], IMAGE, [], IMAGE]))
    documents, skipped = read(tmp_path)
    assert [document.text for document in documents] == ["Text."]
    assert len(skipped) == 1 and "no text layer on pages 2, 4 " in skipped[0].reason


def test_an_encrypted_pdf_says_that_a_password_is_needed(tmp_path: Path) -> None:
    key = b"<" + b"00" * 32 + b">"
    encrypt = b"/ID [<00><00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O %s /U %s >>" % (key, key)
    assert "password" in refuse(tmp_path / "a.pdf", make_pdf([["secret"]], trailer=encrypt))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95, 0.995])
def test_a_truncated_pdf_is_refused(tmp_path: Path, share: float) -> None:
    pdf = make_pdf([["one"], ["two"]])
    assert "PDF" in refuse(tmp_path / "a.pdf", b"%PDF-1.4\n" + pdf[9 : 9 + int(share * (len(pdf) - 9))])


@pytest.mark.parametrize("content", [b"", b"plain text", b"<html></html>", b"%PDF-1.4 nonsense %%EOF"])
def test_a_file_that_is_no_pdf_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "damaged PDF" in refuse(tmp_path / "a.pdf", content)


def test_a_pdf_that_expands_to_more_text_than_the_limit_is_refused(tmp_path: Path) -> None:
    pdf = make_pdf([["many words here"] * 30] * 20)
    assert "longer than the limit" in refuse(tmp_path / "a.pdf", repeat_page(pdf, 2000), max_bytes=40_000)


def test_a_pdf_that_names_one_page_very_often_is_refused(tmp_path: Path) -> None:
    pdf = repeat_page(make_pdf([["many words here"]] * 20), 25_000)
    assert "25,000 pages, the limit is 20,000" in refuse(tmp_path / "a.pdf", pdf)


def repeat_page(pdf: bytes, times: int) -> bytes:
    """List the first page many times over: little file, much text."""
    start, end = pdf.index(b"/Kids ["), pdf.index(b"] /Count 20")
    kids = b"/Kids [" + b"4 0 R " * times
    return pdf[:start] + kids + b"] /Count %d" % times + pdf[end + len(b"] /Count 20") :]


# -- Word --------------------------------------------------------------------------------------------------------------

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def docx_bytes(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()


def make_docx(text: str = "Some text.") -> bytes:
    document = docx.Document()
    document.add_paragraph(text)
    return docx_bytes(document)


def rezip(content: bytes, changes: dict[str, bytes | None], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The same package with members replaced, added or (None) left out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        members = {name: old.read(name) for name in old.namelist()} | changes
        for name, data in members.items():
            if data is not None:
                new.writestr(name, data)
    return buffer.getvalue()


def test_docx_gives_paragraphs_tables_and_title_in_reading_order(tmp_path: Path) -> None:
    document = docx.Document()
    document.core_properties.title = "Lease"
    document.add_heading("First", 1)
    paragraph = document.add_paragraph("one\ttwo ")
    paragraph.add_run("bold").bold = True
    table = document.add_table(2, 2)
    for index, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"cell {index}"
    document.add_paragraph("after the table, café")
    came = read_one(tmp_path / "a.docx", docx_bytes(document))
    assert came.text == "First\none\ttwo bold\ncell 0 | cell 1\ncell 2 | cell 3\nafter the table, café\n"
    assert came.title == "Lease"


def test_docx_text_in_controls_insertions_and_notes_is_read_and_deleted_text_is_not(tmp_path: Path) -> None:
    body = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?><w:document {W}
 xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><w:body>
<w:sdt><w:sdtPr><w:t>property</w:t></w:sdtPr><w:sdtContent><w:p><w:r><w:t>controlled</w:t></w:r></w:p></w:sdtContent></w:sdt>
<w:p><w:pPr><w:tabs><w:tab w:val="left" w:pos="9"/></w:tabs></w:pPr><w:r><w:t xml:space="preserve">kept </w:t></w:r>
<w:ins><w:r><w:t>inserted</w:t></w:r></w:ins><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>
<w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom><w:r><w:br/><w:t>next line</w:t></w:r></w:p>
<w:p><w:r><mc:AlternateContent><mc:Choice><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent></mc:Choice>
<mc:Fallback><w:t>fallback</w:t></mc:Fallback></mc:AlternateContent></w:r></w:p></w:body></w:document>"""
    notes = (
        f'<w:footnotes {W}><w:footnote w:id="1"><w:p><w:r><w:t>the note</w:t></w:r></w:p></w:footnote></w:footnotes>'
    )
    original = make_docx()
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        relations = archive.read("word/_rels/document.xml.rels").decode()
        types = archive.read("[Content_Types].xml").decode()
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
    entry = f'<Relationship Id="rId99" Type="{kind}" Target="footnotes.xml"/></Relationships>'
    override = '<Override PartName="/word/footnotes.xml" ContentType="application/xml"/></Types>'
    content = rezip(
        original,
        {
            "word/document.xml": body.encode(),
            "word/footnotes.xml": notes.encode(),
            "word/_rels/document.xml.rels": relations.replace("</Relationships>", entry).encode(),
            "[Content_Types].xml": types.replace("</Types>", override).encode(),
        },
    )
    lines = [line for line in read_one(tmp_path / "a.docx", content).text.split("\n") if line]
    assert lines == ["controlled", "kept inserted", "next line", "boxed", "the note"]


def test_a_docx_without_core_properties_takes_its_title_from_the_file(tmp_path: Path) -> None:
    original = make_docx()
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        relations = archive.read("_rels/.rels").decode()
    kept = [part for part in relations.split("<Relationship ") if "core-properties" not in part]
    content = rezip(original, {"_rels/.rels": "<Relationship ".join(kept).encode(), "docProps/core.xml": None})
    assert read_one(tmp_path / "stem.docx", content).title == "stem"


def test_a_docx_zip_bomb_is_refused_by_its_declared_sizes(tmp_path: Path) -> None:
    bomb = rezip(make_docx(), {"word/media/image.bin": b"\0" * (8 << 20)})
    assert "too large: unpacks to 9," in refuse(tmp_path / "a.docx", bomb, max_bytes=1 << 20)
    xml = rezip(make_docx(), {"word/more.xml": b" " * (65 << 20)})
    assert "the limit is 67,108,864 bytes" in refuse(tmp_path / "a.docx", xml)
    renamed = rezip(make_docx(), {"word/media/image.png": b"\xff\xfe<\0" + b"a" * (65 << 20)})
    assert "the limit is 67,108,864 bytes" in refuse(tmp_path / "a.docx", renamed)


def test_a_docx_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    size = 8 << 20
    content = rezip(make_docx(), {"word/media/image.bin": b"\0" * size})
    lying = content.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert lying != content
    assert "damaged .docx" in refuse(tmp_path / "a.docx", lying)


def test_a_docx_packed_otherwise_than_by_deflate_is_refused(tmp_path: Path) -> None:
    assert "packed in a way" in refuse(tmp_path / "a.docx", rezip(make_docx(), {}, zipfile.ZIP_BZIP2))


def test_entities_in_a_docx_do_not_expand(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha" * 10}">' for i in range(10))
    body = (
        f"<!DOCTYPE d [{entities}]><w:document {W}><w:body><w:p><w:r><w:t>&e9;</w:t></w:r></w:p></w:body></w:document>"
    )
    refuse(tmp_path / "a.docx", rezip(make_docx(), {"word/document.xml": body.encode()}))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make_docx("")[:-100], "damaged .docx"),
        (b"no zip", "damaged .docx"),
        (rezip(make_docx(), {"word/document.xml": None}), "damaged .docx"),
        (rezip(make_docx(), {"word/document.xml": b"<w:broken"}), "damaged .docx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "password"),
        (make_docx(""), "empty"),
    ],
)
def test_a_docx_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refuse(tmp_path / "a.docx", content)
