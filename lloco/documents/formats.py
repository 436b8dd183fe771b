"""One file of a known format -> its text and title; each may be gzipped.

Every reader is bounded in time and in memory, whatever the file claims about itself, names what it left out, and
refuses what it cannot read with the reason. It does not know folders, ids or documents; JSON lines, which hold many
documents, are in document.py. Libraries of the readers are imported where they are used: most commands read no file.
"""

import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from lloco.documents.docx import read_docx
from lloco.documents.encoding import EncodingError, decode_text
from lloco.documents.epub import read_epub
from lloco.documents.extracted import ExtractedText, Limits, UnreadableError
from lloco.documents.html import read_html
from lloco.documents.mail import read_mail
from lloco.documents.opendocument import read_opendocument
from lloco.documents.pdf import read_pdf
from lloco.documents.rich_text import read_rtf
from lloco.documents.slides import read_pptx
from lloco.documents.spreadsheet import read_xlsx

Reader: TypeAlias = Callable[[bytes, Limits], ExtractedText]
_SAMPLE_LEN = 1 << 20
# What is not text: control characters other than white space and escape, and "this character was lost".
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd-\uffff]")
_MAX_UNREADABLE_SHARE = 0.1
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,9}", re.IGNORECASE)
"""What names a format; the ending of `minutes 3.2024` or of `README` does not."""
_PLAIN = (".txt", ".text", ".rst", ".org", ".adoc", ".tex", ".log", ".csv", ".tsv", ".srt", ".vtt", ".json", ".yaml",
          ".yml", ".toml")  # fmt: skip
_MAGIC = {
    b"%PDF-": ("a PDF", (".pdf",)),
    b"PK\x03\x04": ("a zip file (Word, Excel, an e-book...)",
                    (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub")),
    b"\xd0\xcf\x11\xe0": ("an old or encrypted Office file", (".docx", ".xlsx", ".pptx")),
    b"{\\rtf": ("rich text", (".rtf",)),
    b"\x89PNG": ("a picture", ()),
    b"\xff\xd8\xff": ("a picture", ()),
    b"GIF8": ("a picture", ()),
    b"\x1f\x8b\x08": ("a gzip file", ()),
}  # fmt: skip
"""How files of some kinds begin, and the suffixes under which they are read."""


def file_format(path: Path) -> str | None:
    """Return the suffix that decides how `path` is read, in small letters and without `.gz`; None if unsupported.

    A file whose name says no format is read as plain text, or refused as binary.
    """
    suffix = Path(_without_gz(path.name)).suffix.lower()
    if not _SUFFIX.fullmatch(suffix):
        return ".txt"
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
    data = _read_bytes(path, max_bytes)
    _check_magic(data, suffix)
    extracted = _READERS[suffix](data, Limits(max_bytes))
    text = normalise_newlines(extracted.text)
    check_is_text(text)
    return ExtractedText(text, " ".join(extracted.title.split()), extracted.unread)


def extract_values(path: Path, max_bytes: int) -> tuple[dict[str, str], str]:
    """Read a file as `extract_text` does, for a process that answers with values and a text."""
    extracted = extract_text(path, max_bytes=max_bytes)
    return {"title": extracted.title, "unread": extracted.unread}, extracted.text


def _check_magic(data: bytes, suffix: str) -> None:
    """Refuse a file that is of another kind than its name says."""
    for magic, (kind, suffixes) in _MAGIC.items():
        if data.startswith(magic) and suffix not in suffixes:
            advice = f"rename it to {suffixes[0]}" if len(suffixes) == 1 else "rename or convert it"
            raise UnreadableError(f"is {kind}, not {suffix.removeprefix('.')} as its name says; {advice}")


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


def _read_plain(data: bytes, limits: Limits) -> ExtractedText:
    return ExtractedText(_decode(data))


_HEADING = re.compile(
    r"^ {0,3}(?:(?P<fence>```|~~~)|#{1,6}[ \t]+(?P<atx>\S.*)|(?P<setext>[^\s>#].*)\n {0,3}=+[ \t]*$)", re.MULTILINE
)


def _read_markdown(data: bytes, limits: Limits) -> ExtractedText:
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


def _read_inserted(name: str, data: bytes, limits: Limits) -> ExtractedText:
    """Read a file that a Word document has inserted; one that it holds in turn is named."""
    suffix = Path(name).suffix.lower()
    if suffix == ".docx":
        return read_docx(data, limits)
    if suffix not in (".html", ".htm", ".xhtml", ".mht", ".mhtml", ".txt", ".rtf"):
        raise UnreadableError("a file of another format")
    return _READERS[suffix](data, limits)


_READERS: dict[str, Reader] = {
    **dict.fromkeys(_PLAIN, _read_plain),
    **dict.fromkeys((".md", ".markdown"), _read_markdown),
    **dict.fromkeys((".html", ".htm", ".xhtml"), read_html),
    ".pdf": read_pdf,
    ".docx": lambda data, limits: read_docx(data, limits, _read_inserted),
    ".xlsx": read_xlsx,
    ".pptx": read_pptx,
    **dict.fromkeys((".odt", ".ods", ".odp"), read_opendocument),
    ".epub": read_epub,
    ".rtf": read_rtf,
    **dict.fromkeys((".eml", ".mht", ".mhtml"), read_mail),
}
FILE_SUFFIXES = frozenset(_READERS)
"""Suffixes of the formats that hold one document."""
