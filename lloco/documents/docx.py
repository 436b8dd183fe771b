"""Word documents -> text: numbers of clauses and lists, headers, notes, comments, fields, equations and inserted files.

Read from the parts themselves, since what Word shows is spread over them; a line per paragraph, and per row of a table.
Tracked deletions are not shown.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from lloco.documents.docx_numbering import Numbering
from lloco.documents.docx_runs import Runs
from lloco.documents.equations import equation_text, local_name
from lloco.documents.extracted import ExtractedText, Limits, UnreadableError, counted, enumerated, row_line
from lloco.documents.graphics import drawn_lines
from lloco.documents.package import Package, open_package

ReadInserted: TypeAlias = Callable[[str, bytes, Limits], ExtractedText]
"""Reads a file that a document has inserted, by its name."""
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_NOT_TEXT = frozenset(["pPr", "rPr", "tblPr", "tblGrid", "trPr", "tcPr", "sdtEndPr", "sectPr", "del", "moveFrom",
                       "Fallback", "instrText", "delText"])  # fmt: skip
_MAIN = "word/document.xml"
_OLD_WORD = b"\xd0\xcf\x11\xe0"


def read_docx(data: bytes, limits: Limits, read_inserted: ReadInserted | None = None) -> ExtractedText:
    """Read a Word document; see `lloco.documents.formats.extract_text`."""
    if data.startswith(_OLD_WORD):
        raise UnreadableError("password-protected, or an old .doc file: save it as .docx without a password")
    with open_package(data, limits, ".docx") as package:
        reader = _Reader(package, limits, read_inserted)
        text = reader.read()
        if not text.strip():
            pictures = sum(name.lower().startswith("word/media/") for name in package.names)
            only = f", only {counted(pictures, 'picture')}; run OCR first" if pictures else ""
            raise UnreadableError(f"empty: no text in it{only}")
        return ExtractedText(text, office_title(package), reader.unread())


def office_title(package: Package) -> str:
    """Return the title that an Office file states."""
    for part in package.of_kind("", "core-properties"):
        title = package.xml(part).find("{http://purl.org/dc/elements/1.1/}title")
        return "" if title is None else title.text or ""
    return ""


class _Reader:
    def __init__(self, package: Package, limits: Limits, read_inserted: ReadInserted | None) -> None:
        self._package = package
        self._limits = limits
        self._read_inserted = read_inserted
        self._main = next(iter(package.of_kind("", "officeDocument")), _MAIN)
        self._part = self._main
        self._numbering = Numbering(self._tree("numbering"), self._tree("styles"))
        self._notes = {kind: self._entries(kind) for kind in ("footnotes", "endnotes")}
        self._comments = self._entries("comments")
        self._told_notes: list[str] = []
        self._lost: list[str] = []
        self._num_symbols = 0
        self._num_chars = 0

    def read(self) -> str:
        body = self._package.xml(self._main)
        headers = self._margins("header")
        lines = list(self._blocks(body))
        notes = [note for notes in self._notes.values() for note in notes.values()]
        comments = [f"[Comment{self._author(comment)}: {self._flat(comment)}]" for comment in self._comments.values()]
        rest = [line for note in notes for line in self._blocks(note) if line.strip()]
        ends = [*self._told_notes, *rest, *comments, *self._margins("footer")]
        return "\n".join([*headers, *lines, *ends, ""])

    def unread(self) -> str:
        parts = [self._package.unread()]
        if self._lost:
            parts.append(f"{counted(len(self._lost), 'embedded file')} not read ({enumerated(self._lost)})")
        if self._num_symbols:
            parts.append(f"{counted(self._num_symbols, 'symbol')} of a font of pictures cannot be read")
        return "; ".join(part for part in parts if part)

    def _tree(self, kind: str) -> Any | None:
        part = next(iter(self._package.of_kind(self._main, kind)), None)
        return None if part is None else self._package.xml(part)

    def _entries(self, kind: str) -> dict[str, Any]:
        """Return footnotes, endnotes or comments by id."""
        root = self._tree(kind)
        return {} if root is None else {entry.get(f"{_W}id") or "": entry for entry in root}

    def _author(self, comment: Any) -> str:
        author = comment.get(f"{_W}author")
        return f" by {author}" if author else ""

    def _margins(self, kind: str) -> list[str]:
        """Return the lines of all headers or footers, each once."""
        lines: dict[str, None] = {}
        for part in self._package.of_kind(self._main, kind):
            self._part = part
            found = [line for line in self._blocks(self._package.xml(part)) if line.strip()]
            lines.update(dict.fromkeys(line for line in found if not line.strip().isdigit()))
        self._part = self._main
        return list(lines)

    def _blocks(self, element: Any) -> Iterator[str]:
        """Yield the lines below an element."""
        name = local_name(element)
        if name in _NOT_TEXT:
            return
        if name == "p":
            yield from self._paragraph(element)
        elif name == "tbl":
            yield from self._table(element)
        elif name == "altChunk":
            yield from self._inserted(element)
        elif name == "sdt" and element.find(f"{_W}sdtPr/{_W}showingPlcHdr") is not None:
            return  # "Click here to enter text"
        else:
            for child in element:
                if local_name(child) != "sdtPr":
                    yield from self._blocks(child)

    def _paragraph(self, element: Any) -> Iterator[str]:
        self._limits.check_text(self._num_chars)
        label = self._numbering.label(element.find(f"{_W}pPr"))
        runs = Runs()
        self._inline(element, runs)
        text = runs.text()
        self._num_symbols += runs.num_lost
        self._num_chars += len(text) + 1
        yield f"{label}{text}" if text.strip() else text
        yield from runs.after

    def _inline(self, element: Any, runs: Runs) -> None:
        for child in element:
            name = local_name(child)
            if name in _NOT_TEXT:
                pass
            elif name == "p":
                runs.after += [line for line in self._paragraph(child) if line.strip()]
            elif name == "tbl":
                runs.after += self._table(child)
            elif name == "sdt" and child.find(f"{_W}sdtPr/{_W}showingPlcHdr") is not None:
                pass
            elif name == "oMath":
                runs.add(equation_text(child))
            elif name in ("footnoteReference", "endnoteReference"):
                self._note(child, f"{name.removesuffix('Reference')}s", runs)
            elif name == "commentReference":
                if (comment := self._comments.pop(child.get(f"{_W}id") or "", None)) is not None:
                    runs.comments.append(f"[Comment{self._author(comment)}: {self._flat(comment)}]")
            elif name in ("relIds", "chart"):
                runs.after += drawn_lines(self._package, self._part, child)
            elif name in ("OLEObject", "subDoc", "altChunk"):
                self._embedded(child, runs)
            elif not runs.add_element(child, name):
                self._inline(child, runs)

    def _note(self, reference: Any, kind: str, runs: Runs) -> None:
        note = self._notes[kind].pop(reference.get(f"{_W}id") or "", None)
        if note is not None:
            number = len(self._told_notes) + 1
            self._told_notes.append("")  # a note may refer to another one
            self._told_notes[number - 1] = f"[{number}] {self._flat(note)}"
            runs.add(f"[{number}]")

    def _embedded(self, element: Any, runs: Runs) -> None:
        relation = self._package.relations(self._part).get(element.get(f"{_R}id") or "")
        if local_name(element) == "altChunk":
            runs.after += self._inserted(element)
        else:
            self._lost.append(relation.target.rpartition("/")[2] if relation else local_name(element))

    def _inserted(self, element: Any) -> Iterator[str]:
        """Yield the lines of a file that is inserted whole."""
        relation = self._package.relations(self._part).get(element.get(f"{_R}id") or "")
        name = relation.target if relation else "altChunk"
        if relation is None or relation.is_external or name not in self._package or self._read_inserted is None:
            self._lost.append(name.rpartition("/")[2])
            return
        try:
            extracted = self._read_inserted(name, self._package.read(name), self._limits)
        except UnreadableError as error:
            self._lost.append(f"{name.rpartition('/')[2]}: {error}")
            return
        if extracted.unread:
            self._lost.append(f"{name.rpartition('/')[2]}: {extracted.unread}")
        self._num_chars += len(extracted.text)
        yield from extracted.text.split("\n")

    def _flat(self, element: Any) -> str:
        return " ".join(" ".join(self._blocks(element)).split())

    def _table(self, table: Any) -> Iterator[str]:
        """Yield a line per row; a table that only lays out the page is read cell by cell."""
        carried: dict[int, str] = {}
        for row in _nearest(table, "tr"):
            cells: list[str] = []
            column = 0
            texts = [(cell, [line for line in self._blocks(cell) if line.strip()]) for cell in _nearest(row, "tc")]
            if any(next(cell.iter(f"{_W}tbl"), None) is not None for cell, _ in texts) or (
                len(texts) == 1 and len(texts[0][1]) > 1
            ):
                for _, lines in texts:
                    yield from lines
                continue
            for cell, lines in texts:
                text = "; ".join(line.strip() for line in lines)
                merge = cell.find(f"{_W}tcPr/{_W}vMerge")
                if merge is not None and merge.get(f"{_W}val") != "restart":
                    text = text or carried.get(column, "")
                carried[column] = text if merge is not None and len(text) <= 200 else ""
                cells.append(text)
                span = cell.find(f"{_W}tcPr/{_W}gridSpan")
                wide = "1" if span is None else span.get(f"{_W}val") or "1"
                column += int(wide) if wide.isdigit() and len(wide) < 4 else 1
            if line := row_line(cells):
                self._num_chars += len(line)
                yield line


def _nearest(element: Any, name: str) -> Iterator[Any]:
    """Yield rows or cells below an element, also those in content controls, but none of tables inside them."""
    for child in element:
        found = local_name(child)
        if found == name:
            yield child
        elif found not in ("tbl", "p") and found not in _NOT_TEXT:
            yield from _nearest(child, name)
