"""The numbers and bullets of OpenDocument lists and headings, counted from their styles."""

from typing import Any

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_MAX_LEVEL = 10


class ListStyles:
    """Counts list items and headings, which must be asked for in order."""

    def __init__(self, trees: list[Any]) -> None:
        self._levels: dict[str, dict[int, Any]] = {}
        self._outline: dict[int, Any] = {}
        self._counts: dict[str, dict[int, int]] = {}
        for tree in trees:
            for style in tree.iter(f"{_TEXT}list-style"):
                self._levels[style.get(f"{_STYLE}name") or ""] = _by_level(style)
            for style in tree.iter(f"{_TEXT}outline-style"):
                self._outline = _by_level(style)

    def restart(self, style: str, element: Any) -> None:
        """Begin a list; one that continues another goes on counting."""
        if element.get(f"{_TEXT}continue-list") is None:
            self._counts.pop(style, None)

    def label(self, style: str, depth: int, item: Any) -> str:
        """Return what is shown before an item of a list with `depth` lists around it."""
        level = self._levels.get(style, {}).get(depth + 1)
        indent = "  " * min(depth, _MAX_LEVEL)
        if level is None or not level.tag.endswith("list-level-style-number"):
            return f"{indent}- "
        label = self._count(style, self._levels[style], depth + 1, item.get(f"{_TEXT}start-value"))
        return f"{indent}{label} " if label else indent

    def heading(self, element: Any) -> str:
        """Return the number of a heading, where headings are numbered."""
        level = _whole(element.get(f"{_TEXT}outline-level"), 1)
        if not self._outline or element.get(f"{_TEXT}is-list-header") == "true" or level not in self._outline:
            return ""
        label = self._count("", self._outline, level, None)
        return f"{label} " if label else ""

    def _count(self, style: str, levels: dict[int, Any], level: int, start: str | None) -> str:
        counts = self._counts.setdefault(style, {})
        first = _whole(levels[level].get(f"{_TEXT}start-value"), 1)
        counts[level] = _whole(start, 1) if start else counts.get(level, first - 1) + 1
        for deeper in [at for at in counts if at > level]:
            del counts[deeper]
        num_shown = _whole(levels[level].get(f"{_TEXT}display-levels"), 1)
        shown = range(max(1, level - num_shown + 1), level + 1)
        numbers = [_number(counts.get(at, 1), levels.get(at)) for at in shown]
        numbers = [number for number in numbers if number]
        if not numbers:
            return ""
        prefix = levels[level].get(f"{_STYLE}num-prefix") or ""
        return prefix + ".".join(numbers) + (levels[level].get(f"{_STYLE}num-suffix") or "")


def _by_level(style: Any) -> dict[int, Any]:
    return {_whole(level.get(f"{_TEXT}level"), 1): level for level in style}


def _number(number: int, level: Any | None) -> str:
    format = "1" if level is None else level.get(f"{_STYLE}num-format") or ""
    if format in ("a", "A") and 0 < number <= 26:
        return chr(ord(format) + number - 1)
    if format in ("i", "I") and 0 < number < 4000:
        from_word = roman(number)
        return from_word if format == "i" else from_word.upper()
    return str(number) if format else ""


def roman(number: int) -> str:
    """Return a number below 4,000 in small Roman digits."""
    tens = ("", "x", "xx", "xxx", "xl", "l", "lx", "lxx", "lxxx", "xc")
    ones = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
    hundreds = ("", "c", "cc", "ccc", "cd", "d", "dc", "dcc", "dccc", "cm")
    return "m" * (number // 1000) + hundreds[number // 100 % 10] + tens[number // 10 % 10] + ones[number % 10]


def _whole(value: str | None, default: int) -> int:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 10 else default
