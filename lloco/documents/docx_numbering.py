"""The numbers that Word shows before paragraphs, counted as Word counts them: 2.2, (a), iv.

They are nowhere in a document's text: paragraphs and styles name a list and a level, numbering.xml says how each level
counts (ECMA-376, part 1, 17.9).
"""

from dataclasses import dataclass, replace
from typing import Any

from lloco.documents.equations import local_name
from lloco.documents.opendocument_lists import roman

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MAX_LEVEL = 8
_MAX_LETTERED = 26 * 20


@dataclass(frozen=True, slots=True)
class _Level:
    start: int = 1
    format: str = "decimal"
    text: str = ""
    restarts_after: int | None = None
    is_legal: bool = False
    style: str = ""


@dataclass(frozen=True, slots=True)
class _List:
    definition: str
    levels: dict[int, _Level]
    starts: dict[int, int]


class Numbering:
    """Counts the numbered paragraphs of a document, which must be asked for in order."""

    def __init__(self, numbering: Any | None, styles: Any | None) -> None:
        self._styles = {} if styles is None else {_get(style, "styleId"): style for style in styles.iter(f"{_W}style")}
        self._lists: dict[str, _List] = {} if numbering is None else self._read_lists(numbering)
        self._counts: dict[str, dict[int, int]] = {}
        self._started: set[tuple[str, int]] = set()

    def label(self, properties: Any | None) -> str:
        """Return what is shown before a paragraph with these properties (`w:pPr`): "2.2 ", "- ", or nothing."""
        number_id, level = self._list_and_level(properties)
        entry = self._lists.get(number_id)
        if entry is None or level not in entry.levels:
            return ""
        shown = entry.levels[level]
        self._count(number_id, entry, level)
        if shown.format == "bullet":
            return "  " * level + "- "
        label = self._label(entry, level, shown)
        return f"{label} " if label.strip() else ""

    def _count(self, number_id: str, entry: _List, level: int) -> None:
        counts = self._counts.setdefault(entry.definition, {})
        if level in entry.starts and (number_id, level) not in self._started:
            self._started.add((number_id, level))
            counts[level] = entry.starts[level]
        else:
            counts[level] = counts[level] + 1 if level in counts else entry.levels[level].start
        for deeper, shown in entry.levels.items():
            restarts = deeper > level if shown.restarts_after is None else 0 < shown.restarts_after >= level + 1
            if deeper > level and restarts:
                counts.pop(deeper, None)

    def _label(self, entry: _List, level: int, shown: _Level) -> str:
        counts = self._counts[entry.definition]
        label = shown.text
        for number in range(_MAX_LEVEL + 1, 0, -1):
            if f"%{number}" in label:
                of = entry.levels.get(number - 1, _Level())
                style = "decimal" if shown.is_legal else of.format
                label = label.replace(f"%{number}", _number(counts.get(number - 1, of.start), style))
        return label

    def _list_and_level(self, properties: Any | None) -> tuple[str, int]:
        """Return what the paragraph says, or its style, or the style that is based on."""
        own = None if properties is None else properties.find(f"{_W}numPr")
        number_id, level = _num_pr(own)
        style = None if properties is None else properties.find(f"{_W}pStyle")
        style_id = "" if style is None else _get(style, "val")
        for _ in range(20):
            if (number_id is not None and level is not None) or style_id not in self._styles:
                break
            found = self._styles[style_id]
            style_number, style_level = _num_pr(found.find(f"{_W}pPr/{_W}numPr"))
            if number_id is None and style_number is not None:
                number_id = style_number
                entry = self._lists.get(style_number)
                linked = [at for at, shown in entry.levels.items() if shown.style == style_id] if entry else []
                level = level if level is not None else style_level if style_level is not None else (linked or [0])[0]
            based_on = found.find(f"{_W}basedOn")
            style_id = "" if based_on is None else _get(based_on, "val")
        return number_id or "0", level or 0

    def _read_lists(self, numbering: Any) -> dict[str, _List]:
        definitions = {_get(entry, "abstractNumId"): entry for entry in numbering.iter(f"{_W}abstractNum")}
        named = {_get(link, "val"): id for id, entry in definitions.items() for link in entry.findall(f"{_W}styleLink")}
        lists = {}
        for num in numbering.iter(f"{_W}num"):
            pointer = num.find(f"{_W}abstractNumId")
            id = "" if pointer is None else _get(pointer, "val")
            if id in definitions and (link := definitions[id].find(f"{_W}numStyleLink")) is not None:
                id = named.get(_get(link, "val"), id)
            levels = _levels(definitions[id]) if id in definitions else {}
            starts = {}
            for override in num.findall(f"{_W}lvlOverride"):
                at = _whole(_get(override, "ilvl"), 0)
                levels |= _levels(override)
                if (start := override.find(f"{_W}startOverride")) is not None:
                    starts[at] = _whole(_get(start, "val"), 1)
                    levels[at] = replace(levels.get(at, _Level()), start=starts[at])
            lists[_get(num, "numId")] = _List(id, levels, starts)
        return lists


def _levels(parent: Any) -> dict[int, _Level]:
    levels = {}
    for level in parent.findall(f"{_W}lvl"):
        said = {local_name(child): _get(child, "val") for child in level}
        levels[min(_whole(_get(level, "ilvl"), 0), _MAX_LEVEL)] = _Level(
            _whole(said.get("start", ""), 0 if "start" not in said else 1),
            said.get("numFmt", "decimal"),
            said.get("lvlText", "")[:100],
            _whole(said["lvlRestart"], 0) if "lvlRestart" in said else None,
            "isLgl" in said and said["isLgl"] not in ("0", "false"),
            said.get("pStyle", ""),
        )
    return levels


def _num_pr(properties: Any | None) -> tuple[str | None, int | None]:
    if properties is None:
        return None, None
    id, level = properties.find(f"{_W}numId"), properties.find(f"{_W}ilvl")
    return (
        None if id is None else _get(id, "val"),
        None if level is None else min(_whole(_get(level, "val"), 0), _MAX_LEVEL),
    )


def _number(number: int, format: str) -> str:
    """Write a number as a level's format says; what is not known here is written in digits."""
    match format:
        case "none" | "bullet":
            return ""
        case "decimalZero":
            return f"{number:02d}"
        case "lowerLetter" | "upperLetter" if 0 < number <= _MAX_LETTERED:
            letters = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
            return letters if format == "lowerLetter" else letters.upper()
        case "lowerRoman" | "upperRoman" if 0 < number < 4000:
            return roman(number) if format == "lowerRoman" else roman(number).upper()
        case "ordinal":
            ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
            return f"{number}{ending}"
    return str(number)


def _get(element: Any, name: str) -> str:
    value: str = element.get(f"{_W}{name}") or ""
    return value


def _whole(value: str, default: int) -> int:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else default
