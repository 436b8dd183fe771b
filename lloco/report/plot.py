"""A plot as data: what is drawn of it, in a page or as a picture, and the CSV file of its points are the same."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from lloco.report.axis import Axis


@dataclass(frozen=True, slots=True)
class Colour:
    """One colour on a light ground, and what stands for it on a dark one."""

    light: str
    dark: str


_ADAPTER = "+adapter"
_MODES = {
    "compressed": Colour("#3d8dc2", "#5ba6d6"),
    "compressed+adapter": Colour("#1f5f8b", "#a9d6f5"),
    "compressed_head": Colour("#2f7f97", "#6cbdd4"),
    "compressed_head+adapter": Colour("#0d5468", "#b5e6f2"),
    "hybrid": Colour("#8a6cc9", "#b39ae8"),
    "hybrid+adapter": Colour("#4f3391", "#d9caff"),
    "full": Colour("#7a8087", "#8d969e"),
    "full+adapter": Colour("#3d4247", "#dfe4e8"),
    "truncated": Colour("#a97b0a", "#c99a2e"),
    "truncated+adapter": Colour("#6e5000", "#f0cf7a"),
    "retrieval": Colour("#4a9357", "#5fae6c"),
    "retrieval+adapter": Colour("#2c6338", "#a8dcb1"),
    "none": Colour("#b5739d", "#c585ad"),
    "none+adapter": Colour("#7d3f67", "#ecbcd8"),
}
_OTHERS = (
    Colour("#c2402a", "#f0846c"),
    Colour("#0b877d", "#3cc4b6"),
    Colour("#7b4a2b", "#cfa184"),
    Colour("#6a7d12", "#b1c752"),
    Colour("#c2185b", "#f178a6"),
    Colour("#c26a00", "#ff9f4a"),
)
"""No mode's, so that no line looks like a mode's."""
MARKERS = ("o", "^", "s", "D", "v")
"""In matplotlib's letters; the page draws the same. With six colours, pairs repeat after 30 lines."""
_MODE_MARKERS = {
    "compressed": "o",
    "compressed_head": "X",
    "hybrid": "P",
    "full": "s",
    "truncated": "v",
    "retrieval": "^",
    "none": "D",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A value with the ends of its error or spread."""

    x: float
    y: float
    low: float
    high: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """Points that are joined."""

    name: str
    points: tuple[Point, ...]
    colour: Colour
    marker: str
    is_bound: bool = False
    """What could not be passed: drawn dashed, without markers."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over two axes."""

    name: str
    """File name without its ending."""
    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]

    def csv(self) -> str:
        """Return a row a point."""
        columns = ["line", self.x.label, self.y.label, "low", "high", "label"]
        rows = [
            [line.name, point.x, point.y, point.low, point.high, point.label]
            for line in self.lines
            for point in line.points
        ]
        return csv_text(columns, rows)


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def colour_of(name: str, index: int = 0) -> Colour:
    """Return a mode's colour, which it has in every plot; for other lines that of their index."""
    return _MODES.get(name) or _OTHERS[index % len(_OTHERS)]


def marker_of(name: str, index: int = 0) -> str:
    """Return a mode's marker, so that lines are told apart without colours; for other lines that of their index."""
    return _MODE_MARKERS.get(name.removesuffix(_ADAPTER)) or MARKERS[index % len(MARKERS)]
