"""Blocks of an HTML page or of one cell of a table, and how they become text: paragraphs, list items, rows.

Does not know elements.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["paragraph", "item", "row", "pre"]
"""Items and rows follow one another without an empty line."""
_LONG_CELL = 400
"""Characters from which a cell of several paragraphs is read as paragraphs: a table that only lays out the page."""


@dataclass(slots=True)
class List:
    """A list that is open: the number of its next item."""

    is_ordered: bool
    number: int


@dataclass(slots=True)
class Flow:
    """Finished blocks of the page or of one cell, and the line that is being written."""

    blocks: list[tuple[Kind, str]] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    lists: list[List] = field(default_factory=list)
    mark: str = ""
    num_rows: int = 0


@dataclass(slots=True)
class Table:
    """A table that is open: the cells of its row, and cells above that reach into it."""

    cells: list[Flow] = field(default_factory=list)
    spans: list[int] = field(default_factory=list)
    carried: dict[int, tuple[str, int]] = field(default_factory=dict)


def joined(blocks: list[tuple[Kind, str]]) -> str:
    """Return the blocks as text; items and rows follow one another without an empty line."""
    parts: list[str] = []
    before: Kind | None = None
    for kind, text in blocks:
        if parts:
            parts.append("\n" if kind == before and kind in ("item", "row") else "\n\n")
        parts.append(text)
        before = kind
    return "".join(parts)


def flat(cell: Flow) -> str:
    """Return a cell's blocks in one line."""
    parts = [text.strip().removeprefix("- ").replace("\n", "; ") for _, text in cell.blocks]
    return "; ".join(part for part in parts if part)


def is_layout(cells: list[Flow]) -> bool:
    """Whether a row is there for the looks of the page: it holds a table, one cell of blocks, or long texts."""
    if any(cell.num_rows for cell in cells):
        return True
    if len(cells) == 1:
        return len(cells[0].blocks) > 1
    return any(len(cell.blocks) > 2 and sum(len(text) for _, text in cell.blocks) > _LONG_CELL for cell in cells)
