"""PDF -> text by pdfium: pages parted by form feeds, as pdftotext writes them, fields beside their labels, comments.

Pages without text, characters that no font names, attached files and forms of another kind (XFA) are named.
"""

import re
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from lloco.documents.extracted import PAGE_BREAK, ExtractedText, Limits, UnreadableError, counted, enumerated
from lloco.documents.pdf_expansion import check_expansion
from lloco.documents.pdf_fields import attached_files, page_annotations, place_fields
from lloco.documents.pdf_lines import (
    HYPHEN,
    LOST,
    may_have_columns,
    num_lost,
    order_columns,
    page_pieces,
    pieces_text,
)

MAX_PAGES = 20_000
_PRIVATE = re.compile("[\x00-\x08\x0e-\x1f\x7f\ue000-\uf8ff\ufffd]+")
_BULLETS = str.maketrans({"\uf0b7": "•", "\uf0a7": "▪", "\uf0d8": "▸", "\uf0fc": "✓", "\uf0fe": "☒", "\uf0a8": "☐"})
"""What the fonts Symbol and Wingdings draw at places that Unicode gives no meaning."""
_FEW_CHARS = 30
_XFA = (2, 3)


@dataclass(slots=True)
class _Unread:
    """What was not read, by page number from 1."""

    scanned: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    num_lost: int = 0
    num_files: int = 0

    def message(self, files: list[str], is_xfa: bool) -> str:
        """Return all of it in one line."""
        parts = []
        if self.scanned:
            parts.append(f"no text layer on pages {enumerated(self.scanned)} (scans?); run OCR first")
        if self.lost:
            pages = f"page{'' if len(self.lost) == 1 else 's'} {enumerated(self.lost)}"
            parts.append(f"{counted(self.num_lost, 'character')} of {pages} cannot be read: no font names them")
        if files or self.num_files:
            names = f" ({enumerated(files)})" if files else ""
            parts.append(f"{counted(max(len(files), self.num_files), 'attached file')} not read{names}")
        if is_xfa:
            parts.append("fields of an XFA form may not be read; print it to PDF")
        return "; ".join(parts)


def read_pdf(data: bytes, limits: Limits) -> ExtractedText:
    """Read a PDF; see `lloco.documents.formats.extract_text`."""
    import pypdfium2

    # pdfium reads a cut file as far as it goes: pages would be missing and nobody would know.
    if b"%PDF" in data[:1024] and b"%%EOF" not in data.rstrip(b"\0\t\r\n ")[-2048:]:
        raise UnreadableError("truncated PDF: the end of file mark is missing; fetch or save it again")
    try:
        with closing(pypdfium2.PdfDocument(data)) as pdf:
            if len(pdf) > MAX_PAGES:
                raise UnreadableError(f"too large: {len(pdf):,} pages, the limit is {MAX_PAGES:,}; split it")
            check_expansion(data, limits)
            return _text(pdf, limits)
    except pypdfium2.PdfiumError as error:
        if "assword" in str(error):
            raise UnreadableError("encrypted PDF: a password is needed; save it without one") from error
        raise UnreadableError(f"damaged PDF: {error}") from error


def _text(pdf: Any, limits: Limits) -> ExtractedText:
    form_type = pdf.get_formtype()
    if form_type:
        pdf.init_forms()
    pages: list[str] = []
    unread = _Unread()
    num_chars = 0
    for number in range(1, len(pdf) + 1):
        with closing(pdf[number - 1]) as page:
            pages.append(_page_text(pdf, page, number, unread))
        num_chars += len(pages[-1]) + len(PAGE_BREAK)
        limits.check_text(num_chars)
    message = unread.message(attached_files(pdf), form_type in _XFA)
    text = "".join(pages)
    if not text.replace(LOST, "").strip():
        why = f"; also: {message}" if unread.num_files or pdf.count_attachments() else ""
        if LOST in text:
            raise UnreadableError(f"none of its characters can be read: no font names them; run OCR first{why}")
        raise UnreadableError(f"no text layer in any of its {len(pages)} pages (a scan?); run OCR first{why}")
    return ExtractedText(PAGE_BREAK.join(pages).rstrip(), pdf.get_metadata_value("Title"), message)


def _page_text(pdf: Any, page: Any, number: int, unread: _Unread) -> str:
    fields, notes, num_files = page_annotations(pdf, page)
    unread.num_files += num_files
    with closing(page.get_textpage()) as textpage:
        lost = num_lost(textpage)
        if lost or fields or may_have_columns(textpage):
            pieces = order_columns(page_pieces(textpage))
            lines = place_fields(pieces, fields)
            text = "\n".join([pieces_text(pieces), *lines])
        else:
            text = textpage.get_text_range()
    text = re.sub(HYPHEN, _join_hyphenated, text.replace("\r\n", "\n").strip("\n").translate(_BULLETS))
    text, num_private = _PRIVATE.subn(LOST, text)
    if lost or num_private:
        unread.lost.append(number)
        unread.num_lost += lost or num_private
    if len(text.strip()) < _FEW_CHARS and _has_picture(page, bool(text.strip())):
        unread.scanned.append(number)
    return "\n".join([text, *(note.text for note in notes)]).strip("\n")


def _has_picture(page: Any, has_text: bool) -> bool:
    """Whether a page shows a picture; one with a little text, a page number say, only where it fills half the page."""
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    least = 0.5 * page.get_width() * page.get_height() if has_text else 0.0
    for picture in page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = picture.get_bounds()
        if (right - left) * (top - bottom) >= least:
            return True
    return False


def _join_hyphenated(match: re.Match[str]) -> str:
    """Pdfium writes U+FFFE for a hyphen at a line's end and joins the lines: keep the hyphen only in a compound."""
    text, at = match.string, match.start()
    before, after = text[max(0, at - 40) : at], text[at + 1 : at + 2]
    if not before[-1:].isalnum() or not after.strip():
        return ""
    return "" if after.islower() and "-" not in before.split()[-1] else "-"
