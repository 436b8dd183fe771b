"""Text of what is drawn in office files: diagrams (SmartArt) and charts, which are parts of their own.

Used for Word and PowerPoint alike.
"""

from typing import Any

from lloco.documents.equations import local_name
from lloco.documents.extracted import row_line
from lloco.documents.package import Package

_MAX_POINTS = 10_000
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"


def drawn_lines(package: Package, part: str, element: Any) -> list[str]:
    """Return the lines of the diagram or chart that an element of a part shows."""
    relations = package.relations(part)
    pointer = element.get(f"{_R}dm") or element.get(f"{_R}id") or ""
    relation = relations.get(pointer)
    if relation is None or relation.is_external or relation.target not in package:
        return []
    root = package.xml(relation.target)
    return _chart(root) if local_name(element) == "chart" else paragraphs(root)


def paragraphs(root: Any) -> list[str]:
    """Return each paragraph of DrawingML (`a:p`) below an element as a line."""
    lines = []
    for paragraph in root.iter("{*}p"):
        text = "".join(paragraph_pieces(paragraph))
        if text.strip():
            lines.append(" ".join(text.split()))
    return lines


def paragraph_pieces(paragraph: Any) -> list[str]:
    """Return the runs of a DrawingML paragraph."""
    pieces = []
    for child in paragraph.iter("{*}t", "{*}br", "{*}tab"):
        pieces.append({"br": "\n", "tab": "\t"}.get(local_name(child)) or child.text or "")
    return pieces


def _chart(root: Any) -> list[str]:
    """Return a chart's titles, and a row of a table for each of its categories."""
    lines = [line for title in root.iter("{*}title") for line in paragraphs(title)]
    for series in root.iter("{*}ser"):
        name = " ".join(_points(series.find("{*}tx")))
        labels = _points(series.find("{*}cat")) or _points(series.find("{*}xVal"))
        values = _points(series.find("{*}val")) or _points(series.find("{*}yVal"))
        rows = zip(labels or [""] * len(values), values, strict=False)
        lines += [row_line([name, label, value]) for label, value in rows]
    return lines


def _points(parent: Any | None) -> list[str]:
    found = [] if parent is None else [value.text or "" for value in parent.iter("{*}v")]
    return found[:_MAX_POINTS]
