"""OpenDocument text, sheets and slides (odt, ods, odp) -> text: list numbers, notes, comments, headers, equations.

A line per paragraph and per row of a table. Tracked deletions are not shown.
"""

from collections.abc import Iterator
from typing import Any

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
from lloco.documents.opendocument_lists import ListStyles
from lloco.documents.package import Package, open_package

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_SKIPPED = frozenset(["tracked-changes", "sequence-decls", "forms", "settings", "note-citation", "creator", "date",
                      "table-of-content-source", "list-header"])  # fmt: skip
_MAX_REPEATED = 50


def read_opendocument(data: bytes, limits: Limits) -> ExtractedText:
    """Read an OpenDocument file; see `lloco.documents.formats.extract_text`."""
    with open_package(data, limits, "OpenDocument") as package:
        if "META-INF/manifest.xml" in package and b"encryption-data" in package.read("META-INF/manifest.xml"):
            raise UnreadableError("encrypted: save it without a password")
        reader = _Reader(package, limits)
        text = reader.read()
        title = ""
        if "meta.xml" in package:
            title = next((e.text or "" for e in package.xml("meta.xml").iter("{*}title")), "")
        return ExtractedText(text, title, reader.unread())


class _Reader:
    def __init__(self, package: Package, limits: Limits) -> None:
        self._package = package
        self._limits = limits
        self._content = package.xml("content.xml")
        self._styles = package.xml("styles.xml") if "styles.xml" in package else None
        trees = [tree for tree in (self._styles, self._content) if tree is not None]
        self._lists = ListStyles(trees)
        self._raised = _raised_styles(trees)
        self._notes: list[str] = []
        self._lost: list[str] = []
        self._num_chars = 0
        self._num_pages = 0

    def read(self) -> str:
        lines = list(self._blocks(self._content.find("{*}body"), []))
        margins = {"header": [], "footer": []} if self._styles is None else self._margins(self._styles)
        return "\n".join([*margins["header"], *lines, *self._notes, *margins["footer"]]).replace("\n\n\f", PAGE_BREAK)

    def unread(self) -> str:
        lost = f"{counted(len(self._lost), 'embedded file')} not read ({enumerated(self._lost)})" if self._lost else ""
        return "; ".join(filter(None, [self._package.unread(), lost]))

    def _margins(self, styles: Any) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in ("header", "footer"):
            lines = [line for part in styles.iter(f"{_STYLE}{name}") for line in self._blocks(part, []) if line.strip()]
            found[name] = [line for line in dict.fromkeys(lines) if not line.strip().isdigit()]
        return found

    def _blocks(self, element: Any, lists: list[str]) -> Iterator[str]:
        """Yield the lines below an element; `lists` are the styles of the lists that it is in."""
        for child in () if element is None else element:
            name = local_name(child)
            if name in ("p", "h"):
                yield from self._paragraph(child, self._lists.heading(child) if name == "h" else "")
            elif name == "list":
                yield from self._list(child, lists)
            elif name == "table":
                sheet = child.get(f"{_TABLE}name")
                rows = list(self._table(child))
                if rows and local_name(element) == "spreadsheet":
                    yield f"Sheet: {sheet}"
                yield from rows
            elif name == "page" and child.tag.startswith("{urn:oasis:names:tc:opendocument:xmlns:drawing"):
                self._num_pages += 1
                if self._num_pages > 1:
                    yield "\n\f"
                yield from self._blocks(child, [])
            elif name == "notes":
                yield from (f"Notes: {line}" for line in self._blocks(child, []) if line.strip())
            elif name == "object":
                yield from self._object(child)
            elif name not in _SKIPPED:
                yield from self._blocks(child, lists)

    def _list(self, element: Any, lists: list[str]) -> Iterator[str]:
        styles = [*lists, element.get(f"{_TEXT}style-name") or (lists[-1] if lists else "")]
        if len(lists) == 0 and element.get(f"{_TEXT}continue-numbering") != "true":
            self._lists.restart(styles[0], element)
        for item in element:
            label = self._lists.label(styles[-1], len(lists), item) if local_name(item) == "list-item" else ""
            for number, line in enumerate(self._blocks(item, styles)):
                yield f"{label}{line}" if number == 0 and line.strip() else line

    def _paragraph(self, element: Any, label: str) -> Iterator[str]:
        after: list[str] = []
        text = self._inline(element, after)
        self._num_chars += len(text) + 1
        self._limits.check_text(self._num_chars)
        yield f"{label}{text}" if text.strip() else text
        yield from after

    def _inline(self, element: Any, after: list[str]) -> str:
        pieces = [element.text or ""]
        for child in element:
            pieces.append(self._inline_child(child, local_name(child), after))
            pieces.append(child.tail or "")
        return "".join(pieces)

    def _inline_child(self, child: Any, name: str, after: list[str]) -> str:
        match name:
            case "s":
                count = child.get(f"{_TEXT}c") or "1"
                return " " * (min(int(count), 100) if count.isdigit() and len(count) < 5 else 1)
            case "tab":
                return "\t"
            case "line-break":
                return "\n"
            case "note":
                number = len(self._notes) + 1
                self._notes.append("")
                body = " ".join(" ".join(self._blocks(child.find("{*}note-body"), [])).split())
                self._notes[number - 1] = f"[{number}] {body}"
                return f"[{number}]"
            case "annotation":
                author = next((e.text for e in child.iter("{*}creator") if e.text), "")
                text = " ".join(" ".join(self._blocks(child, [])).split())
                return f" [Comment{f' by {author}' if author else ''}: {text}]"
            case "frame" | "text-box" | "g" | "custom-shape":
                after.extend(line for line in self._blocks(child, []) if line.strip())
                return ""
            case "":
                return ""
        text = self._inline(child, after) if name not in _SKIPPED else ""
        mark = self._raised.get(child.get(f"{_TEXT}style-name") or "") if name == "span" else None
        return raised(text, mark) if mark else text

    def _table(self, table: Any) -> Iterator[str]:
        for row in table.iter(f"{_TABLE}table-row"):
            if next(row.iterancestors(f"{_TABLE}table"), None) is not table:
                continue
            cells: list[str] = []
            for cell in row.iterchildren(f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                text = "; ".join(line.strip() for line in self._blocks(cell, []) if line.strip())
                repeated = cell.get(f"{_TABLE}number-columns-repeated") or "1"
                times = min(int(repeated), _MAX_REPEATED) if repeated.isdigit() and len(repeated) < 9 else 1
                cells += [text] * times
            line = row_line(cells)
            repeated = row.get(f"{_TABLE}number-rows-repeated") or "1"
            times = min(int(repeated), _MAX_REPEATED) if repeated.isdigit() and len(repeated) < 9 else 1
            self._num_chars += len(line) * times
            self._limits.check_text(self._num_chars)
            yield from [line] * times if line else []

    def _object(self, element: Any) -> Iterator[str]:
        """Yield an equation; name what else is embedded."""
        name = (element.get(_HREF) or "").removeprefix("./")
        part = f"{name}/content.xml"
        root = self._package.xml(part) if name and part in self._package else None
        if root is not None and local_name(root) == "math":
            yield equation_text(root)
        elif root is not None:
            yield from self._blocks(root.find("{*}body"), [])
        else:
            self._lost.append(name or "object")


def _raised_styles(trees: list[Any]) -> dict[str, str]:
    """Return the character styles that raise or lower their text."""
    found = {}
    for tree in trees:
        for style in tree.iter(f"{_STYLE}style"):
            properties = style.find(f"{_STYLE}text-properties")
            position = "" if properties is None else properties.get(f"{_STYLE}text-position") or ""
            if position.startswith(("super", "sub", "-")) or (position[:1].isdigit() and not position.startswith("0")):
                found[style.get(f"{_STYLE}name") or ""] = "_" if position.startswith(("sub", "-")) else "^"
    return found
