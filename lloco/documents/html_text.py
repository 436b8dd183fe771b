"""An HTML tree -> text as it reads: blocks, list items with their marks, a line per table row, superscripts told apart.

Walks the tree once, without recursion, in time proportional to its size. Does not know which parts of a page are its
menus; pages, e-mails, e-books and what Word holds as HTML are all written by it.
"""

import re
from typing import Any

from lloco.documents.equations import equation_text, local_name
from lloco.documents.extracted import Limits, raised, row_line
from lloco.documents.html_flow import Flow, Kind, List, Table, flat, is_layout, joined

_BLOCKS = frozenset(
    ["address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog", "div", "dl", "dt",
     "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr",
     "legend", "li", "main", "nav", "ol", "p", "pre", "search", "section", "summary", "table", "tbody", "tfoot",
     "thead", "td", "th", "tr", "ul", "caption", "title", "task", "task-list", "plain-text-body", "rich-text-body",
     "structured-macro"]
)  # fmt: skip
_SKIPPED = frozenset(["script", "style", "template", "noscript", "head", "rp", "colgroup", "datalist", "parameter",
                      "task-id"])  # fmt: skip
_LISTS = frozenset(["ul", "ol", "menu", "dir"])
_BULLETS = frozenset("·o§Øvüq•–*●○■▪")
"""What Word writes for a bullet, in fonts of symbols."""
_SPACE = re.compile(r"[ \t\r\n\f\xa0]+")
_SHOWN = frozenset(["br", "del", "s", "strike", "q", "rt", "img", "input", "option", "task-status"])
_MAX_INDENT = 10
_MAX_REPEATED = 200
"""Characters of a cell over several rows that are repeated in each."""


def html_text(tree: Any, limits: Limits, without: frozenset[Any] = frozenset()) -> str:
    """Return the text below an lxml HTML element, but for that of some elements."""
    return _Writer(limits, without).write(tree)


class _Writer:
    def __init__(self, limits: Limits, without: frozenset[Any]) -> None:
        self._without = without
        self._limits = limits
        self._flows = [Flow()]
        self._tables: list[Table] = []
        self._raised: list[tuple[Any, str, int]] = []
        self._num_pre = 0
        self._skipped: Any = None
        self._num_repeated = 0

    @property
    def _flow(self) -> Flow:
        return self._flows[-1]

    def write(self, tree: Any) -> str:
        from lxml.etree import iterwalk

        names: dict[str, str] = {}
        for count, (event, element) in enumerate(iterwalk(tree, events=("start", "end"))):
            if count % 10_000 == 0:
                self._limits.check_time()
            if self._skipped is None:
                tag = element.tag
                name = names.get(tag) or names.setdefault(tag, local_name(element))
                if event == "start":
                    self._start(element, name)
                else:
                    self._end(element, name)
            if event == "end":
                if self._skipped is element:
                    self._skipped = None
                if self._skipped is None and element is not tree:
                    self._text(element.tail)
        self._close()
        return joined(self._flow.blocks)

    def _start(self, element: Any, name: str) -> None:
        if name in _SKIPPED or name == "math" or element in self._without:
            self._skipped = element
            if name == "math":
                self._flow.inline.append(_math(element))
            return
        if name in _BLOCKS:
            self._close()
        if name in _LISTS:
            self._flow.lists.append(List(name == "ol", _number(element.get("start"), 1)))
        elif name == "li":
            self._item(element)
        elif name == "table":
            self._tables.append(Table())
        elif name in ("td", "th") and self._tables:
            self._flows.append(Flow())
            self._tables[-1].spans.append(min(_number(element.get("rowspan"), 1), 1_000))
        elif name in ("pre", "plain-text-body"):
            self._num_pre += 1
        elif mark := _raised_mark(element, name):
            self._raised.append((element, mark, len(self._flow.inline)))
        if name in _SHOWN:
            self._flow.inline.append(_shown_for(element, name))
        self._text(element.text)

    def _end(self, element: Any, name: str) -> None:
        if self._raised and self._raised[-1][0] is element:
            _, mark, at = self._raised.pop()
            text = "".join(self._flow.inline[at:])
            self._flow.inline[at:] = [raised(text, mark)] if at <= len(self._flow.inline) else [text]
        if name in ("del", "s", "strike"):
            self._flow.inline.append("~~")
        elif name == "q":
            self._flow.inline.append('"')
        elif name == "rt":
            self._flow.inline.append(")")
        elif name == "dt":
            self._term()
        elif name == "span" and "mso-list:ignore" in (element.get("style") or "").lower():
            self._word_bullet()
        if name in _BLOCKS:
            self._close()
        if name in _LISTS and self._flow.lists:
            self._flow.lists.pop()
        elif name in ("pre", "plain-text-body"):
            self._num_pre -= 1
        elif name in ("td", "th") and self._tables and len(self._flows) > 1:
            self._tables[-1].cells.append(self._flows.pop())
        elif name == "tr" and self._tables:
            self._row()
        elif name == "table" and self._tables:
            self._row()  # cells that no row holds
            self._tables.pop()

    def _text(self, text: str | None) -> None:
        if text:
            text = text.replace("\xad", "")
            self._flow.inline.append(text if self._num_pre else _SPACE.sub(" ", text))

    def _close(self) -> None:
        """End the line that is being written."""
        flow = self._flow
        if self._raised:  # a superscript across blocks is none
            self._raised.clear()
        if not flow.inline:
            return
        text = "".join(flow.inline)
        flow.inline.clear()
        if self._num_pre:
            text = text.strip("\n").rstrip()
        elif "\n" in text:
            text = "\n".join(line for part in text.split("\n") if (line := " ".join(part.split())))
        else:
            text = " ".join(text.split())
        if not text or text.isspace():
            return
        is_item = bool(flow.mark or flow.lists)
        indent = "  " * min(len(flow.lists) - bool(flow.mark), _MAX_INDENT) if flow.lists else ""
        kind: Kind = "pre" if self._num_pre else "item" if is_item else "paragraph"
        flow.blocks.append((kind, indent + flow.mark + text.replace("\n", f"\n{indent}")))
        flow.mark = ""

    def _item(self, element: Any) -> None:
        lists = self._flow.lists
        if lists and lists[-1].is_ordered:
            lists[-1].number = _number(element.get("value"), lists[-1].number)
            self._flow.mark = f"{lists[-1].number}. "
            lists[-1].number += 1
        else:
            self._flow.mark = "- "
        classes = (element.get("class") or "").split()
        if element.get("data-inline-task-id"):
            self._flow.mark += "[x] " if "checked" in classes else "[ ] "

    def _term(self) -> None:
        """Keep the term of a definition for the line of its definition."""
        term = " ".join("".join(self._flow.inline).split())
        self._flow.inline.clear()
        if self._flow.mark and term:
            self._flow.inline.append("")
            self._flow.mark, held = "", self._flow.mark
            self._flow.blocks.append(("item", held.removesuffix(": ")))
        if term:
            self._flow.mark = f"{term.removesuffix(':')}: "

    def _word_bullet(self) -> None:
        marker = "".join(self._flow.inline).strip()
        if marker in _BULLETS:
            self._flow.inline[:] = ["- "]

    def _row(self) -> None:
        """Write the cells that were read as a line, or as blocks where the table only lays out the page."""
        table = self._tables[-1]
        cells, spans = table.cells, table.spans
        table.cells, table.spans = [], []
        self._close()
        if not cells and not table.carried:
            return
        if is_layout(cells):
            table.carried.clear()
            for cell in cells:
                self._flow.blocks.extend(cell.blocks)
            return
        line = row_line(self._with_carried(table, [flat(cell) for cell in cells], spans))
        if line:
            self._flow.blocks.append(("row", line))
            self._flow.num_rows += 1

    def _with_carried(self, table: Table, texts: list[str], spans: list[int]) -> list[str]:
        """Put cells of earlier rows that reach into this one where they stand."""
        row: list[str] = []
        fresh = list(zip(texts, spans, strict=False))
        while fresh or len(row) in table.carried:
            if (carried := table.carried.pop(len(row), None)) is not None:
                text, left = carried
                self._num_repeated += len(text)
            else:
                text, left = fresh.pop(0)
            if left > 1:
                table.carried[len(row)] = (text if len(text) <= _MAX_REPEATED else "", left - 1)
            row.append(text)
        self._limits.check_text(self._num_repeated)
        return row


def _raised_mark(element: Any, name: str) -> str:
    style = (element.get("style") or "").replace(" ", "").lower()
    if name == "sup" or "vertical-align:super" in style:
        return "^"
    return "_" if name == "sub" or "vertical-align:sub" in style else ""


def _shown_for(element: Any, name: str) -> str:
    """Return what a reader sees where an element begins, besides its text."""
    match name:
        case "br":
            return "\n"
        case "del" | "s" | "strike":
            return "~~"
        case "q":
            return '"'
        case "rt":
            return "("
        case "img":
            alt = _SPACE.sub(" ", element.get("alt") or "").strip()
            return f"[image: {alt}]" if alt else ""
        case "input":
            return _input(element)
        case "option":
            return " [x] " if element.get("selected") is not None else " [ ] "
        case "task-status":
            done = element.text == "complete"
            element.text = None
            return "[x] " if done else "[ ] "
    return ""


def _input(element: Any) -> str:
    kind = (element.get("type") or "text").lower()
    if kind in ("checkbox", "radio"):
        return "[x]" if element.get("checked") is not None else "[ ]"
    return "" if kind in ("hidden", "submit", "button", "image", "password", "reset") else element.get("value") or ""


def _math(element: Any) -> str:
    for child in element.iter():
        if local_name(child) == "annotation" and "tex" in (child.get("encoding") or ""):
            return (child.text or "").strip()
    return element.get("alttext") or equation_text(element)


def _number(value: str | None, default: int) -> int:
    return int(value) if value and re.fullmatch(r"-?\d{1,9}", value.strip()) else default
