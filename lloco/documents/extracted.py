"""What a reader returns (text, title, what it left out), the limits it works under, and how it refuses a file.

Knows no format.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lloco.errors import DocumentError

MAX_SECONDS = 120.0
"""Time that reading one file may take; a book of 1,000 pages takes a few seconds."""
PAGE_BREAK = "\n\f"
"""Between pages and slides, as pdftotext writes it; see `page_of`."""
_MAX_NAMED = 10
"""Pages, attachments and the like that a message names; of the others it says how many there are."""


class UnreadableError(DocumentError):
    """One file cannot be read as a document; the message is the reason, without the file's name."""


@dataclass(frozen=True, slots=True)
class ExtractedText:
    """Text with `\\n` line ends, the title the file states ("" if none), and what of the file was not read."""

    text: str
    title: str = ""
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may take: bytes of the file and of its text, and seconds since this was made."""

    max_bytes: int
    max_seconds: float = MAX_SECONDS
    started: float = field(default_factory=time.monotonic)

    def check_text(self, num_chars: int) -> None:
        """Raise `UnreadableError` where the text has become too long; looks at the time too."""
        if num_chars > self.max_bytes:
            raise UnreadableError(f"too large: its text is longer than the limit of {self.max_bytes:,} bytes")
        self.check_time()

    def check_time(self) -> None:
        """Raise `UnreadableError` where reading has taken too long."""
        if time.monotonic() - self.started > self.max_seconds:
            raise UnreadableError(f"takes too long to read: the limit is {self.max_seconds:g} seconds; split it")


def page_of(text: str, at: int) -> int | None:
    """Return the page, from 1, on which the character at `at` stands; None where the text has no pages."""
    return text.count("\f", 0, at) + 1 if "\f" in text else None


def row_line(cells: Iterable[str]) -> str:
    """Return a row of a table as one line, its cells told apart; "" where all are empty."""
    flat = [" ".join(cell.split()) for cell in cells]
    while flat and not flat[-1]:
        flat.pop()
    return " | ".join(flat)


def raised(text: str, mark: str) -> str:
    """Return a superscript (`^`) or subscript (`_`) told apart from what it follows: 10^6, CO_2, x^(a b)."""
    text = " ".join(text.split())
    if not text:
        return ""
    return f"{mark}{text}" if " " not in text else f"{mark}({text})"


def enumerated(items: Sequence[object], joint: str = ", ") -> str:
    """Name the first items, and how many more there are."""
    named = joint.join(str(item) for item in items[:_MAX_NAMED])
    return named + (f" and {len(items) - _MAX_NAMED:,} more" if len(items) > _MAX_NAMED else "")


def counted(num: int, noun: str) -> str:
    """Return "1 picture", "2 pictures"."""
    return f"{num:,} {noun}{'' if num == 1 else 's'}"
