"""How much a PDF draws: forms (pieces of pages) that draw one another ten times over take 20 GB from 3 KB.

pdfium draws them all when it loads a page, so what each form comes to is added up before, by pypdf. What pypdf cannot
read is left to pdfium.
"""

import io
import itertools
import logging
import re
from typing import Any

from lloco.documents.extracted import Limits, UnreadableError

MAX_DRAWN_BYTES = 64 << 20
"""Bytes of drawing that one form may come to, with all that it draws in turn."""
_MAX_FORMS = 20_000
_ADVICE = "print it to PDF again"
_MAX_DEPTH = 40
_FORM = re.compile(rb"/Subtype\s*/Form\b")
_OBJECT = re.compile(rb"(\d{1,10})\s+(\d{1,5})\s+obj\b")
_DRAW = re.compile(rb"/([^\s/<>\[\]()%]{1,127})\s+Do\b")


def check_expansion(data: bytes, limits: Limits) -> None:
    """Raise `UnreadableError` where a form comes to more than `MAX_DRAWN_BYTES` of drawing, or draws itself."""
    numbers = _forms(data)
    if not numbers:
        return
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it tells of all that it mends in a file
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            return
    except (PyPdfError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError):
        return  # pdfium says whether it is damaged
    drawn: dict[tuple[int, int], tuple[int, list[tuple[int, int]]]] = {}
    for number in numbers:
        limits.check_time()
        drawn[number] = _drawing(reader, number)
    _check_sums(drawn)


def _forms(data: bytes) -> list[tuple[int, int]]:
    """Return the numbers of the objects that are forms."""
    numbers: dict[tuple[int, int], None] = {}
    for match in _FORM.finditer(data):
        begins = list(_OBJECT.finditer(data, max(0, match.start() - 4096), match.start()))
        if begins:
            numbers[int(begins[-1][1]), int(begins[-1][2])] = None
        if len(numbers) > _MAX_FORMS:
            raise UnreadableError(
                f"draws more than {_MAX_FORMS:,} forms (pieces of pages), the limit; print it to PDF again"
            )
    return list(numbers)


def _drawing(reader: Any, number: tuple[int, int]) -> tuple[int, list[tuple[int, int]]]:
    """Return the bytes of a form's own drawing, and the objects that it draws, each as often as it does."""
    from pypdf.errors import PyPdfError
    from pypdf.generic import IndirectObject

    try:
        form: Any = IndirectObject(*number, reader).get_object()
        content = form.get_data()
        resources = form.get("/Resources", {}).get_object()
        objects = resources.get("/XObject", {}).get_object()
        references = {
            str(name)[1:]: (child.idnum, child.generation)
            for name, child in dict.items(objects)  # its own `items` would resolve each
            if isinstance(child, IndirectObject)
        }
    except (PyPdfError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, RecursionError, OSError):
        return 0, []
    names = (match[1].decode("latin-1") for match in _DRAW.finditer(content))
    return len(content), [references[name] for name in names if name in references]


def _check_sums(drawn: dict[tuple[int, int], tuple[int, list[tuple[int, int]]]]) -> None:
    """Add up from the forms that draw no other one; a form that is never ready draws itself."""
    totals: dict[tuple[int, int], int] = {}
    left = dict(drawn)
    for depth in itertools.count():
        if not left:
            return
        if depth > _MAX_DEPTH:
            raise UnreadableError(
                f"forms (pieces of pages) draw one another more than {_MAX_DEPTH} deep; print it to PDF again"
            )
        ready = [number for number, (_, inner) in left.items() if not any(child in left for child in inner)]
        if not ready:
            raise UnreadableError(f"a piece of a page draws itself; {_ADVICE}")
        for number in ready:
            size, inner = left[number]
            totals[number] = size + sum(totals.get(child, 0) for child in inner)
            if totals[number] > MAX_DRAWN_BYTES:
                raise UnreadableError(
                    f"forms (pieces of pages) that draw one another come to more than the limit of "
                    f"{MAX_DRAWN_BYTES:,} bytes; {_ADVICE}"
                )
        for number in ready:
            del left[number]
