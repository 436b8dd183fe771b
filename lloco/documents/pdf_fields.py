"""What lies on a PDF's pages and in the file besides the text: form fields, comments, attached files.

A field's value is put beside its label, by where both stand on the page.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lloco.documents.pdf_lines import Piece

_MAX_FIELDS = 5_000
_COMMENTS = {1: "Comment", 3: "Text", 9: "Comment", 10: "Comment", 11: "Comment", 12: "Comment", 13: "Stamp"}
"""Kinds of annotations that hold text: notes, text boxes, marked passages, stamps."""
_FILE, _WIDGET = 17, 20
_CHECKBOX, _RADIO, _SIGNATURE = 2, 3, 7
_SHOWN_FIELDS = (4, 5, 6)
"""Combo boxes, lists and text fields."""


@dataclass(frozen=True, slots=True)
class Note:
    """A comment or text box on a page."""

    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form: its name and value, and whether it is ticked (None where it cannot be)."""

    name: str
    value: str
    is_ticked: bool | None
    left: float
    bottom: float
    right: float
    top: float


def attached_files(pdf: Any) -> list[str]:
    """Return the names of the files that the PDF carries."""
    return [pdf.get_attachment(index).get_name() for index in range(min(pdf.count_attachments(), _MAX_FIELDS))]


def page_annotations(pdf: Any, page: Any) -> tuple[list[Field], list[Note], int]:
    """Return the page's fields and comments, and the number of files and signatures that are pinned to it."""
    from pypdfium2 import raw

    fields: list[Field] = []
    notes: list[Note] = []
    num_files = 0
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), _MAX_FIELDS)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        try:
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            if kind == _WIDGET and pdf.formenv is not None:
                fields += _field(pdf.formenv, annotation)
            elif kind in _COMMENTS:
                text = _string(partial(raw.FPDFAnnot_GetStringValue, annotation, b"Contents"))
                notes += [Note(f"{_COMMENTS[kind]}: {text}")] if text.strip() else []
            elif kind == _FILE:
                num_files += 1
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
    return fields, notes, num_files


def _field(form: Any, annotation: Any) -> list[Field]:
    from pypdfium2 import raw

    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    is_ticked = None
    value = ""
    if kind in (_CHECKBOX, _RADIO):
        is_ticked = bool(raw.FPDFAnnot_IsChecked(form, annotation))
    elif kind in _SHOWN_FIELDS:
        value = _string(partial(raw.FPDFAnnot_GetFormFieldValue, form, annotation))
        if not value.strip():
            return []
    else:
        return []
    name = _string(partial(raw.FPDFAnnot_GetFormFieldName, form, annotation))
    rect = raw.FS_RECTF()
    raw.FPDFAnnot_GetRect(annotation, rect)
    return [Field(name, " ".join(value.split()), is_ticked, rect.left, rect.bottom, rect.right, rect.top)]


def _string(ask: Callable[[Any, int], int]) -> str:
    """Ask pdfium for a text, first for its size."""
    from pypdfium2.raw import FPDF_WCHAR

    size = ask(None, 0)
    buffer = ctypes.create_string_buffer(max(size, 2))
    ask(ctypes.cast(buffer, ctypes.POINTER(FPDF_WCHAR)), size)
    return buffer.raw[:size].decode("utf-16-le", errors="replace").rstrip("\0")


def place_fields(pieces: list[Piece], fields: list[Field]) -> list[str]:
    """Write values into the pieces beside them; return lines for those that stand beside nothing."""
    labels = [(piece, piece.left, piece.right) for piece in pieces]
    lines: list[str] = []
    for field in sorted(fields, key=lambda field: field.left):
        beside = [entry for entry in labels if entry[0].is_beside(field.bottom, field.top)]
        before = max((e for e in beside if e[2] <= field.left + 4), key=lambda e: e[2], default=None)
        after = min((e for e in beside if e[1] >= field.right - 4), key=lambda e: e[1], default=None)
        if field.is_ticked is not None:
            mark = "[x]" if field.is_ticked else "[ ]"
            if after is not None and (before is None or after[1] - field.right <= field.left - before[2]):
                after[0].text = f"{mark} {after[0].text}"
            elif before is not None:
                before[0].text = f"{before[0].text.rstrip()} {mark}"
            else:
                lines.append(f"{mark} {field.name}")
        elif before is not None:
            before[0].text = f"{before[0].text.rstrip()} {field.value}"
        else:
            lines.append(f"{field.name}: {field.value}" if field.name else field.value)
    return lines
