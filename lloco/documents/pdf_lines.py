"""Pieces of text on a PDF page with where they stand; columns are put in order.

pdfium gives characters in the order in which they were drawn, which is the order of reading but for columns drawn line
by line across the page. Knows nothing of files.
"""

from ctypes import byref, c_double
from dataclasses import dataclass
from typing import Any

LOST = "\ufffd"
"""Written for characters that the file's fonts do not name."""
HYPHEN = "\ufffe"
"""pdfium's own mark for a hyphen at a line's end; see `lloco.documents.pdf`."""
_MIN_ROWS = 3
_MIN_COLUMN_CHARS = 20
"""Mean length of a line of prose in a column; cells of tables are shorter."""
_SAME_EDGE = 6.0


@dataclass(slots=True)
class Piece:
    """Characters of one line without a gap; `end` is what follows: a space, or the line's end."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    end: str = "\n"

    def is_beside(self, bottom: float, top: float) -> bool:
        """Whether the middle of either lies within the height of the other."""
        return bottom <= (self.bottom + self.top) / 2 <= top or self.bottom <= (bottom + top) / 2 <= self.top


def num_lost(textpage: Any) -> int:
    """Count characters for which the page's fonts do not say what they are."""
    from pypdfium2.raw import FPDFText_HasUnicodeMapError

    return sum(FPDFText_HasUnicodeMapError(textpage, index) == 1 for index in range(textpage.count_chars()))


def may_have_columns(textpage: Any) -> bool:
    """Whether several lines jump sideways: cheap, and true of tables too."""
    jumps = 0
    before = None
    for index in range(textpage.count_rects()):
        left, bottom, right, top = textpage.get_rect(index)
        if before is not None and before[1] <= (bottom + top) / 2 <= before[3]:
            jumps += abs(left - before[2]) > 1.5 * (top - bottom)
        before = (left, bottom, right, top)
    return jumps >= _MIN_ROWS


def page_pieces(textpage: Any) -> list[Piece]:
    """Return the page's text in pdfium's order, cut where it jumps sideways."""
    from pypdfium2.raw import (
        FPDFText_GetCharBox,
        FPDFText_GetUnicode,
        FPDFText_HasUnicodeMapError,
        FPDFText_IsGenerated,
        FPDFText_IsHyphen,
    )

    pieces: list[Piece] = []
    box = [c_double() for _ in range(4)]
    is_new = True
    for index in range(textpage.count_chars()):
        character = _character(FPDFText_GetUnicode(textpage, index))
        if FPDFText_HasUnicodeMapError(textpage, index) == 1:
            character = LOST
        elif character in "\r\n" or FPDFText_IsGenerated(textpage, index) == 1:
            if pieces and not is_new:
                pieces[-1].end = "\n" if character in "\r\n" else " "
                is_new = is_new or character in "\r\n"
                if not is_new:
                    pieces[-1].text += " "
            continue
        elif character == "\x02" or FPDFText_IsHyphen(textpage, index) == 1:
            character = HYPHEN
        FPDFText_GetCharBox(textpage, index, *(byref(edge) for edge in box))
        left, right, bottom, top = (edge.value for edge in box)
        last = None if is_new or not pieces else pieces[-1]
        height = max(top - bottom, 4.0)
        if last is None or left < last.right - 2 * height or left > last.right + 2 * height:
            if last is not None:
                last.end = "" if last.text.endswith(HYPHEN) else " "
            pieces.append(Piece(character, left, bottom, right, top))
        else:
            last.text += "" if character == LOST and last.text.endswith(LOST) else character
            last.right, last.top, last.bottom = max(last.right, right), max(last.top, top), min(last.bottom, bottom)
        is_new = False
    return [piece for piece in pieces if piece.text.strip()]


def _character(code: int) -> str:
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else LOST


def pieces_text(pieces: list[Piece]) -> str:
    """Return the pieces as text."""
    text = "".join(piece.text.strip() + piece.end for piece in pieces)
    return text.replace(f"{HYPHEN}\n", HYPHEN).strip("\n")


def order_columns(pieces: list[Piece]) -> list[Piece]:
    """Put columns of prose that were drawn line by line across the page one after the other; leave tables."""
    edges = _column_edges(pieces)
    if len(edges) < 2:
        return pieces
    column_of = [_column(piece, edges) for piece in pieces]
    paired = [
        index
        for index in range(len(pieces) - 1)
        if column_of[index] is not None
        and column_of[index + 1] is not None
        and column_of[index] != column_of[index + 1]
        and pieces[index].is_beside(pieces[index + 1].bottom, pieces[index + 1].top)
    ]
    if len(paired) < _MIN_ROWS:
        return pieces
    first, last = paired[0], paired[-1] + 1
    while last + 1 < len(pieces) and column_of[last + 1] is not None and _follows(pieces, last):
        last += 1
    columns: list[list[Piece]] = [[] for _ in edges]
    for index in range(first, last + 1):
        column = column_of[index]
        if column is None:
            return pieces
        columns[column].append(pieces[index])
    if not all(_is_prose(column) for column in columns):
        return pieces
    ordered = [piece for column in columns for piece in column]
    for piece in ordered:
        piece.end = "\n"
        if piece.text.rstrip().endswith("-"):
            piece.text = piece.text.rstrip()[:-1] + HYPHEN
    return [*pieces[:first], *ordered, *pieces[last + 1 :]]


def _column_edges(pieces: list[Piece]) -> list[float]:
    """Return the left edges that several pieces share."""
    edges: list[list[float]] = []
    for left in sorted(piece.left for piece in pieces):
        if edges and left - edges[-1][0] <= _SAME_EDGE:
            edges[-1].append(left)
        else:
            edges.append([left])
    return [edge[0] for edge in edges if len(edge) >= _MIN_ROWS]


def _column(piece: Piece, edges: list[float]) -> int | None:
    found = [index for index, edge in enumerate(edges) if 0 <= piece.left - edge <= _SAME_EDGE]
    return found[0] if found else None


def _follows(pieces: list[Piece], last: int) -> bool:
    """Whether the next piece is the next line below the last one."""
    line, following = pieces[last], pieces[last + 1]
    height = line.top - line.bottom
    return 0 < line.bottom - following.top < 1.5 * max(height, 4.0)


def _is_prose(column: list[Piece]) -> bool:
    """Whether lines are long and run on into one another, as those of a table's cells do not."""
    if len(column) < _MIN_ROWS or sum(len(line.text) for line in column) < _MIN_COLUMN_CHARS * len(column):
        return False
    ends = [before.text.rstrip()[-1:] for before in column[:-1]]
    num_running = sum(
        end in f"-{HYPHEN}" or (end not in ".!?:" and following.text.lstrip()[:1].islower())
        for end, following in zip(ends, column[1:], strict=True)
    )
    return 2 * num_running >= len(ends)
