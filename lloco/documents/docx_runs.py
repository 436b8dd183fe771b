"""The characters of one Word paragraph: runs, superscripts told apart, symbols, ticks of forms."""

from dataclasses import dataclass, field
from typing import Any

from lloco.documents.equations import local_name
from lloco.documents.extracted import raised

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_CHARACTERS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "softHyphen": ""}
_WINGDINGS = {0x6C: "●", 0x6E: "■", 0x6F: "☐", 0x71: "☐", 0x72: "☐", 0xA7: "▪", 0xA8: "☐", 0xD8: "▸", 0xE0: "→",
              0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑"}  # fmt: skip
_WINGDINGS_2 = {0x4F: "✗", 0x50: "✓", 0x51: "☒", 0x52: "☑", 0xA3: "☐"}
_SYMBOL = dict(zip(b"abcdefghiklmnopqrstuwxyzDFGLPQSWXY", "αβχδεφγηικλμνοπθρστυωξψζΔΦΓΛΠΘΣΩΞΨ", strict=True)) | {
    0xA3: "≤", 0xA5: "∞", 0xAE: "→", 0xB0: "°", 0xB1: "±", 0xB3: "≥", 0xB4: "×", 0xB7: "•", 0xB9: "≠", 0xBB: "≈",
    0xD7: "⋅"}  # fmt: skip
_FONTS = {"wingdings": _WINGDINGS, "wingdings 2": _WINGDINGS_2, "symbol": _SYMBOL}


@dataclass(slots=True)
class Runs:
    """What a paragraph says, piece by piece; `after` are the lines of boxes and drawings that hang on it."""

    pieces: list[tuple[str, str]] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    num_lost: int = 0

    def add(self, text: str, mark: str = "") -> None:
        """Add text, raised by `^` or lowered by `_`; pieces raised alike are one."""
        if self.pieces and self.pieces[-1][1] == mark:
            text = self.pieces.pop()[0] + text
        self.pieces.append((text, mark))

    def add_element(self, element: Any, name: str) -> bool:
        """Add what an element of a run stands for; False where it has to be looked into."""
        if name == "t":
            self.add("".join([element.text or "", *(child.tail or "" for child in element)]), _mark(element))
        elif name in _CHARACTERS:
            self.add(_CHARACTERS[name])
        elif name == "sym":
            self.add(self._symbol(element))
        elif name == "ffData":
            self.add(_form_field(element))
        else:
            return False
        return True

    def text(self) -> str:
        """Return the paragraph's line, with the comments on it."""
        line = "".join(raised(text, mark) if mark else text for text, mark in self.pieces)
        return " ".join([line, *self.comments]) if self.comments else line

    def _symbol(self, element: Any) -> str:
        code = element.get(f"{_W}char") or ""
        number = int(code, 16) if len(code) <= 6 and all(c in "0123456789abcdefABCDEF" for c in code) and code else 0
        found = _FONTS.get((element.get(f"{_W}font") or "").lower(), {}).get(number & 0xFF)
        if found is None and 0x20 < number < 0xE000 - 0x800:
            return chr(number)
        self.num_lost += found is None
        return found or "\ufffd"


def _mark(text: Any) -> str:
    """Return how the run of a `w:t` stands."""
    run = text.getparent()
    properties = None if run is None else run.find(f"{_W}rPr")
    align = None if properties is None else properties.find(f"{_W}vertAlign")
    return {"superscript": "^", "subscript": "_"}.get("" if align is None else align.get(f"{_W}val") or "", "")


def _form_field(data: Any) -> str:
    """Return the tick or the choice of a field of an old form; what is typed into one are runs."""
    for kind in data:
        if local_name(kind) == "checkBox":
            checked = kind.find(f"{_W}checked")
            checked = kind.find(f"{_W}default") if checked is None else checked
            is_ticked = checked is not None and checked.get(f"{_W}val") not in ("0", "false")
            return "[x] " if is_ticked else "[ ] "
        if local_name(kind) == "ddList":
            chosen = kind.find(f"{_W}result")
            at = "0" if chosen is None else chosen.get(f"{_W}val") or "0"
            entries = [entry.get(f"{_W}val") or "" for entry in kind.findall(f"{_W}listEntry")]
            return entries[int(at)] if at.isdigit() and int(at) < len(entries) else ""
    return ""
