"""Excel workbooks -> text by openpyxl: each sheet under its name, a line per row, values as they are shown.

Formulas that were never calculated are named. Comments and text boxes stand below their sheet.
"""

import datetime
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

from lloco.documents.docx import office_title
from lloco.documents.extracted import ExtractedText, Limits, UnreadableError, counted, row_line
from lloco.documents.graphics import paragraphs
from lloco.documents.package import Package, open_package

_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_NOT_CALCULATED = re.compile(rb"(?:</f>|<f[^>]{0,200}/>)\s{0,9}(?:<v\s?/>|<v></v>)?\s{0,9}</c>")
_CURRENCY = re.compile(r"\[\$([^\]-]{1,5})[\]-]|([€£¥$])")


def read_xlsx(data: bytes, limits: Limits) -> ExtractedText:
    """Read a workbook; see `lloco.documents.formats.extract_text`."""
    if data.startswith(_OLD_OFFICE):
        raise UnreadableError("password-protected, or an old .xls file: save it as .xlsx without a password")
    import openpyxl

    with open_package(data, limits, ".xlsx") as package, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it does not keep when it writes, which is never done here
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        lines: list[str] = []
        num_chars = 0
        for sheet in book.worksheets:
            rows = list(_rows(sheet, limits, num_chars))
            num_chars += sum(map(len, rows))
            lines += [f"Sheet: {sheet.title}", *rows, ""] if rows else []
        book.close()
        lines += _beside(package)
        parts = [package.unread(), _not_calculated(package)]
        return ExtractedText("\n".join(lines).rstrip(), office_title(package), "; ".join(filter(None, parts)))


def _rows(sheet: Any, limits: Limits, num_chars: int) -> Iterator[str]:
    sheet.reset_dimensions()  # a file may claim any
    for row in sheet.iter_rows():
        line = row_line(_shown(cell) for cell in row if cell is not None)
        num_chars += len(line)
        limits.check_text(num_chars)
        if line:
            yield line


def _shown(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    if isinstance(value, int | float):
        format = cell.number_format or ""
        if "%" in format:
            return f"{value * 100:.10g}%"
        sign = _CURRENCY.search(format)
        return f"{sign[1] or sign[2]} {value:.15g}" if sign else f"{value:.15g}"
    return str(value)


def _beside(package: Package) -> list[str]:
    """Return comments and text boxes."""
    lines = []
    for name in package.names:
        lower = name.lower()
        if lower.startswith(("xl/comments", "xl/threadedcomments")) and lower.endswith(".xml"):
            for comment in package.xml(name).iter("{*}comment", "{*}threadedComment"):
                text = " ".join("".join(piece.text or "" for piece in comment.iter("{*}t", "{*}text")).split())
                lines += [f"[Comment on {comment.get('ref')}: {text}]"] if text else []
        elif lower.startswith("xl/drawings/drawing") and lower.endswith(".xml"):
            lines += paragraphs(package.xml(name))
    return lines


def _not_calculated(package: Package) -> str:
    num = sum(
        len(_NOT_CALCULATED.findall(package.read(name)))
        for name in package.names
        if name.lower().startswith("xl/worksheets/") and name.lower().endswith(".xml")
    )
    return f"{counted(num, 'formula')} without a value not read; open and save it in Excel" if num else ""
