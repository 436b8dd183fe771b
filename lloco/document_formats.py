"""One file of a known format -> its text and title: plain text, Markdown, HTML, PDF, Word; each may be gzipped.

Every reader is bounded in memory, whatever the file claims about itself, and refuses what it cannot read whole with
the reason. It does not know folders, ids or documents; JSON lines, which hold many documents, are in documents.py.
"""

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from lloco.errors import DocumentError
from lloco.text_encoding import EncodingError, decode_text

# pypdfium2, trafilatura, lxml and python-docx are imported where they are used: they are always installed, but take
# half a second to load, and `import lloco.documents` must stay cheap for commands that read no such file.

_MAX_HTML_BYTES = 32 << 20  # a parsed page takes about 50 times its size in memory
_MAX_XML_BYTES = 64 << 20  # the same for the XML inside a .docx
_SAMPLE_LEN = 1 << 20
# What is not text: control characters other than white space and escape, and "this character was lost".
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd-\uffff]")
_MAX_UNREADABLE_SHARE = 0.1


class UnreadableError(DocumentError):
    """One file cannot be read as a document; the message is the reason, without the file's name."""


@dataclass(frozen=True, slots=True)
class ExtractedText:
    """Text with `\\n` line ends, the title the file states ("" if none), and what of the file was not read."""

    text: str
    title: str = ""
    unread: str = ""


def file_format(path: Path) -> str | None:
    """Return the suffix that decides how `path` is read, in small letters and without `.gz`; None if unsupported."""
    suffix = Path(_without_gz(path.name)).suffix.lower()
    return suffix if suffix in _READERS or suffix == ".jsonl" else None


def supported_formats() -> str:
    """Name every supported suffix, for messages."""
    return " ".join([*_READERS, ".jsonl"]) + ", each also with .gz"


def file_stem(path: Path) -> str:
    """Return the file's name without its suffix and `.gz`."""
    return Path(_without_gz(path.name)).stem


def open_file(path: Path) -> BinaryIO:
    """Open for reading bytes, through gzip when the name ends in `.gz`."""
    return cast(BinaryIO, gzip.open(path)) if _is_gz(path) else path.open("rb")


def extract_text(path: Path, *, max_bytes: int) -> ExtractedText:
    """Read one file of a supported format other than JSON lines.

    Raises:
        UnreadableError: too large, damaged, encrypted, binary or without text.
        OSError: the file cannot be opened.
    """
    suffix = file_format(path)
    if suffix is None or suffix not in _READERS:
        raise UnreadableError(f"unsupported file type; supported are {supported_formats()}")
    extracted = _READERS[suffix](_read_bytes(path, max_bytes), max_bytes)
    text = normalise_newlines(extracted.text)
    check_is_text(text)
    return ExtractedText(text, " ".join(extracted.title.split()), extracted.unread)


def normalise_newlines(text: str) -> str:
    """Replace `\\r\\n` and `\\r` by `\\n`; nothing else is touched."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def check_is_text(text: str) -> None:
    """Raise UnreadableError for text that is empty or looks binary."""
    if not text or text.isspace():
        raise UnreadableError("empty: no text in it")
    if (offset := text.find("\0")) >= 0:
        raise UnreadableError(f"looks binary: NUL character at position {offset}")
    sample = text[:_SAMPLE_LEN]
    share = sum(1 for _ in _UNREADABLE.finditer(sample)) / len(sample)
    if share > _MAX_UNREADABLE_SHARE:
        raise UnreadableError(f"looks binary: {share:.0%} of its characters are control or lost characters")


def _is_gz(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _without_gz(name: str) -> str:
    return name[:-3] if name.lower().endswith(".gz") else name


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    size = path.stat().st_size
    if size > max_bytes:
        raise UnreadableError(f"too large: {size:,} bytes, the limit is {max_bytes:,} bytes; split it")
    try:
        with open_file(path) as file:
            data = file.read(size + 1)  # takes memory for as much as it is asked for
            if len(data) > size:  # as of a gzip file
                data += file.read(max_bytes - size)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableError(f"damaged or cut gzip file: {error}") from error
    if len(data) > max_bytes:
        raise UnreadableError(f"too large: {size:,} bytes unpack to more than the limit of {max_bytes:,} bytes")
    return data


def _decode(data: bytes, declared: str | None = None) -> str:
    try:
        return decode_text(data, declared)
    except EncodingError as error:
        raise UnreadableError(str(error)) from error


def _read_plain(data: bytes, max_bytes: int) -> ExtractedText:
    return ExtractedText(_decode(data))


_HEADING = re.compile(
    r"^ {0,3}(?:(?P<fence>```|~~~)|#{1,6}[ \t]+(?P<atx>\S.*)|(?P<setext>[^\s>#].*)\n {0,3}=+[ \t]*$)", re.MULTILINE
)


def _read_markdown(data: bytes, max_bytes: int) -> ExtractedText:
    text = _decode(data)
    return ExtractedText(text, _first_heading(normalise_newlines(text[:_SAMPLE_LEN])))


def _first_heading(text: str) -> str:
    """Return the first heading outside fenced code and front matter, or ""."""
    start = max(text.find("\n---\n"), 0) if text.startswith("---\n") else 0
    fence: str | None = None
    for match in _HEADING.finditer(text, start):
        if match["fence"]:
            fence = match["fence"] if fence is None else None if fence == match["fence"] else fence
        elif fence is None:
            heading = " ".join((match["atx"] or match["setext"]).split())
            return re.sub(r"(^| )#+$", "", heading)
    return ""


_DECLARED_ENCODING = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE)


def _read_html(data: bytes, max_bytes: int) -> ExtractedText:
    import trafilatura

    if len(data) > _MAX_HTML_BYTES:
        raise UnreadableError(f"too large: {len(data):,} bytes, the limit for HTML is {_MAX_HTML_BYTES:,} bytes")
    declared = _DECLARED_ENCODING.search(data[:4096])
    html = _decode(data, declared[1].decode("ascii") if declared else None)
    check_is_text(html)
    try:
        tree = _parse_html(html)
        title = tree.findtext(".//head/title") or ""
        text = trafilatura.extract(tree, include_comments=False, include_tables=True)
        # A page too small or odd to have a recognisable article is read whole.
        text = text or _all_html_text(_parse_html(html))
    except UnreadableError:
        raise
    except Exception as error:  # lxml and trafilatura raise many kinds on a damaged page; each is a reason
        raise UnreadableError(f"not readable as HTML: {type(error).__name__}: {error}") from error
    if not text:
        raise UnreadableError("no text in the page: only markup, scripts or styles; save the page as shown instead")
    return ExtractedText(text, title)


def _parse_html(html: str) -> Any:
    from lxml.html import HTMLParser, document_fromstring  # type: ignore[import-untyped]

    parser = HTMLParser(huge_tree=True, remove_comments=True, remove_pis=True, encoding="utf-8")
    tree = document_fromstring(html.encode(), parser=parser)
    # The parser drops whatever is nested too deeply and only logs it.
    if any("xcessive depth" in entry.message for entry in parser.error_log):
        raise UnreadableError("HTML elements are nested too deeply to be read whole")
    for element in tree.xpath("//script | //style | //template | //noscript"):
        element.drop_tree()
    return tree


def _all_html_text(tree: Any) -> str:
    return "\n".join(line for piece in tree.xpath("//body//text()") if (line := piece.strip()))


def _read_pdf(data: bytes, max_bytes: int) -> ExtractedText:
    import pypdfium2

    # pdfium reads a cut file as far as it goes: pages would be missing and nobody would know.
    if b"%PDF" in data[:1024] and b"%%EOF" not in data.rstrip(b"\0\t\r\n ")[-2048:]:
        raise UnreadableError("truncated PDF: the end of file mark is missing; fetch or save it again")
    try:
        with closing(pypdfium2.PdfDocument(data)) as pdf:
            return _pdf_text(pdf, max_bytes)
    except pypdfium2.PdfiumError as error:
        if "assword" in str(error):
            raise UnreadableError("encrypted PDF: a password is needed; save it without one") from error
        raise UnreadableError(f"damaged PDF: {error}") from error


def _pdf_text(pdf: Any, max_bytes: int) -> ExtractedText:
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    pages: list[str] = []
    scanned: list[int] = []
    num_chars = 0
    for number in range(len(pdf)):
        with closing(pdf[number]) as page, closing(page.get_textpage()) as textpage:
            text = textpage.get_text_range().strip("\r\n")
            if not text.strip() and next(page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE], max_depth=3), None):
                scanned.append(number + 1)
        pages.append(text)
        num_chars += len(text)
        if num_chars > max_bytes:
            raise UnreadableError(f"too large: its text is longer than the limit of {max_bytes:,} bytes")
    text = "\n".join(page for page in pages if page)
    if not text.strip():
        raise UnreadableError(f"no text layer in any of its {len(pages)} pages (a scan?); run OCR first")
    unread = f"no text layer on pages {', '.join(map(str, scanned))} (scans?); run OCR first" if scanned else ""
    return ExtractedText(re.sub("\ufffe", _join_hyphenated, text), pdf.get_metadata_value("Title"), unread)


def _join_hyphenated(match: re.Match[str]) -> str:
    """Pdfium writes U+FFFE for a hyphen at a line's end and joins the lines: keep the hyphen only in a compound."""
    text, at = match.string, match.start()
    before, after = text[max(0, at - 40) : at], text[at + 1 : at + 2]
    if not before[-1:].isalnum() or not after.strip():
        return ""
    return "" if after.islower() and "-" not in before.split()[-1] else "-"


def _read_docx(data: bytes, max_bytes: int) -> ExtractedText:
    import docx
    from docx.opc.constants import RELATIONSHIP_TYPE

    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise UnreadableError("password-protected, or an old .doc file: save it as .docx without a password")
    try:
        _check_zip(data, max_bytes)
        document = docx.Document(io.BytesIO(data))
        parts = [_docx_text(document.element.body)]
        notes = (RELATIONSHIP_TYPE.FOOTNOTES, RELATIONSHIP_TYPE.ENDNOTES)
        for relation in document.part.rels.values():
            if relation.reltype in notes and not relation.is_external:
                parts.append(_docx_text(docx.oxml.parse_xml(relation.target_part.blob)))
        # Asked for a title that is not there, python-docx invents "Word Document".
        stated = any(r.reltype == RELATIONSHIP_TYPE.CORE_PROPERTIES for r in document.part.package.rels.values())
        title = document.core_properties.title or "" if stated else ""
    except UnreadableError:
        raise
    except Exception as error:  # zipfile, lxml and python-docx raise many kinds on a damaged file; each is a reason
        raise UnreadableError(f"damaged .docx file: {type(error).__name__}: {error}") from error
    return ExtractedText("".join(parts), title)


def _check_zip(data: bytes, max_bytes: int) -> None:
    """Refuse a zip that unpacks to too much, by what it declares and, as that may be a lie, by unpacking it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        _check_unpacked(sum(member.file_size for member in members), max_bytes)
        xml = 0
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UnreadableError("its parts are packed in a way that .docx does not allow; save it again")
            with archive.open(member) as file:
                begins = file.read(1 << 20).lstrip(_BEFORE_XML)
                if not begins or begins.startswith(b"<"):  # whatever its name: that does not say what it is read as
                    xml += member.file_size
                    _check_unpacked(xml, min(max_bytes, _MAX_XML_BYTES))
                while file.read(1 << 20):  # stops at the declared size and raises if that was not all
                    pass


def _check_unpacked(num_bytes: int, limit: int) -> None:
    if num_bytes > limit:
        raise UnreadableError(f"too large: unpacks to {num_bytes:,} bytes, the limit is {limit:,} bytes")


_BEFORE_XML = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
"""Byte order marks, the zeros of wide characters and white space."""
_DOCX_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_DOCX_NOT_TEXT = frozenset(["pPr", "rPr", "tblPr", "trPr", "tcPr", "sdtPr", "sectPr", "del", "moveFrom", "Fallback"])


def _docx_text(element: Any) -> str:
    """Return all text below an element in reading order: a line per paragraph, tabs between the cells of a row.

    python-docx's own paragraphs leave out content controls, text boxes and tracked insertions.
    """
    name = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else "del"
    if name in _DOCX_NOT_TEXT:
        return ""
    if name == "t":
        return element.text or ""
    if name in _DOCX_CHARACTERS:
        return _DOCX_CHARACTERS[name]
    if name == "tr":
        return "\t".join(_docx_text(child).strip().replace("\n", " ") for child in element if _is_cell(child)) + "\n"
    text = "".join([_docx_text(child) for child in element])
    return text + "\n" if name == "p" else text


def _is_cell(element: Any) -> bool:
    return isinstance(element.tag, str) and element.tag.endswith(("}tc", "}sdt", "}customXml"))


_READERS: dict[str, Callable[[bytes, int], ExtractedText]] = {
    ".txt": _read_plain,
    ".text": _read_plain,
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_pdf,
    ".docx": _read_docx,
}
