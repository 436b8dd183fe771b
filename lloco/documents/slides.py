"""PowerPoint slides -> text: titles, lists with their numbers, tables, charts, diagrams, notes and comments.

Slides are parted as pages are, so that a citation can tell its slide. Slides that show pictures alone are named.
"""

from collections.abc import Iterator
from typing import Any

from lloco.documents.docx import office_title
from lloco.documents.equations import equation_text, local_name
from lloco.documents.extracted import (
    PAGE_BREAK,
    ExtractedText,
    Limits,
    UnreadableError,
    counted,
    enumerated,
    raised,
    row_line,
)
from lloco.documents.graphics import drawn_lines
from lloco.documents.package import Package, open_package

_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_MAIN = "ppt/presentation.xml"


def read_pptx(data: bytes, limits: Limits) -> ExtractedText:
    """Read a presentation; see `lloco.documents.formats.extract_text`."""
    if data.startswith(_OLD_OFFICE):
        raise UnreadableError("password-protected, or an old .ppt file: save it as .pptx without a password")
    with open_package(data, limits, ".pptx") as package:
        main = next(iter(package.of_kind("", "officeDocument")), _MAIN)
        relations = package.relations(main)
        slides: list[str] = []
        pictures: list[int] = []
        lost: list[str] = []
        num_chars = 0
        for entry in package.xml(main).iter("{*}sldId"):
            relation = relations.get(entry.get(f"{_R}id") or "")
            if relation is None or relation.target not in package:
                continue
            root = package.xml(relation.target)
            lines = [*_lines(package, relation.target, root, lost), *_beside(package, relation.target)]
            slides.append("\n".join(lines))
            num_chars += len(slides[-1])
            limits.check_text(num_chars)
            if not lines and next(root.iter("{*}pic"), None) is not None:
                pictures.append(len(slides))
        if not any(slides):
            raise UnreadableError(f"empty: no text on any of its {len(slides)} slides (pictures?); run OCR first")
        return ExtractedText(PAGE_BREAK.join(slides), office_title(package), _unread(package, pictures, lost))


def _unread(package: Package, pictures: list[int], lost: list[str]) -> str:
    parts = [package.unread()]
    if pictures:
        parts.append(f"no text on slides {enumerated(pictures)} (pictures?); run OCR first")
    if lost:
        parts.append(f"{counted(len(lost), 'embedded file')} not read ({enumerated(lost)})")
    return "; ".join(filter(None, parts))


def _lines(package: Package, part: str, element: Any, lost: list[str]) -> Iterator[str]:
    """Yield the lines of all shapes below an element, in the order of the slide."""
    for child in element:
        name = local_name(child)
        if name == "txBody":
            yield from _list_lines(child)
        elif name == "tbl":
            for row in child.iter("{*}tr"):
                line = row_line("; ".join(_list_lines(cell)) for cell in row.iter("{*}tc"))
                if line:
                    yield line
        elif name in ("chart", "relIds"):
            yield from drawn_lines(package, part, child)
        elif name == "oleObj":
            lost.append(child.get("name") or child.get("progId") or "object")
        elif name != "Fallback":
            yield from _lines(package, part, child, lost)


def _list_lines(body: Any) -> Iterator[str]:
    """Yield a line per paragraph, with its number or bullet where the slide itself says so."""
    counts: dict[int, int] = {}
    for paragraph in body.iter("{*}p"):
        properties = paragraph.find("{*}pPr")
        text = " ".join(_runs(paragraph).split())
        if not text:
            continue
        level, mark = 0, ""
        if properties is not None:
            said = properties.get("lvl") or "0"
            level = min(int(said), 8) if said.isdigit() and len(said) < 3 else 0
            numbered = properties.find("{*}buAutoNum")
            counts = {at: count for at, count in counts.items() if at < level or (at == level and numbered is not None)}
            if numbered is not None:
                start = numbered.get("startAt") or "1"
                first = int(start) if start.isdigit() and len(start) < 6 else 1
                counts[level] = counts.get(level, first - 1) + 1
                mark = f"{counts[level]}. "
            elif properties.find("{*}buChar") is not None:
                mark = "- "
        yield "  " * level + mark + text


def _runs(paragraph: Any) -> str:
    pieces: list[str] = []
    for child in paragraph:
        name = local_name(child)
        if name in ("r", "fld"):
            text = "".join(piece.text or "" for piece in child.iter("{*}t"))
            properties = child.find("{*}rPr")
            baseline = "" if properties is None else properties.get("baseline") or ""
            is_raised = baseline.lstrip("-").isdigit() and int(baseline[:9]) != 0
            pieces.append(raised(text, "_" if baseline.startswith("-") else "^") if is_raised else text)
        elif name == "br":
            pieces.append("\n")
        elif name != "pPr":
            pieces += [equation_text(equation) for equation in child.iter("{*}oMath")]
    return "".join(pieces)


def _beside(package: Package, slide: str) -> Iterator[str]:
    """Yield the speaker's notes and the comments on a slide."""
    for part in package.of_kind(slide, "notesSlide"):
        for shape in package.xml(part).iter("{*}sp"):
            kind = next((holder.get("type") for holder in shape.iter("{*}ph")), None)
            if kind not in ("sldNum", "hdr", "ftr", "dt", "sldImg"):
                yield from (f"Notes: {line}" for body in shape.iter("{*}txBody") for line in _list_lines(body))
    for part in package.of_kind(slide, "comments"):
        for comment in package.xml(part).iter("{*}cm"):
            text = " ".join(piece.text or "" for piece in comment.iter("{*}text", "{*}t"))
            if text.strip():
                yield f"[Comment: {' '.join(text.split())}]"
