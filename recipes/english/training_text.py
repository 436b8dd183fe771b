"""A text to train on, with its questions where it has any; and the cutting of long texts into pieces.

Knows nothing of where texts come from. A book is cut before anything is dropped from it, so that one quoted line costs
a piece and not the book.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_PIECE_WORDS = 1200
MIN_PIECE_WORDS = 30
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class TrainingText:
    """One line of what is made."""

    source: str
    title: str
    text: str
    questions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(question, answers); a text without any is plain text."""

    def to_dict(self) -> dict[str, Any]:
        """Return the line that `lloco pretrain` reads."""
        if not self.questions:
            return {"source": self.source, "text": self.text}
        questions = [{"question": question, "answers": list(answers)} for question, answers in self.questions]
        return {"source": self.source, "title": self.title, "text": self.text, "questions": questions}

    @property
    def num_words(self) -> int:
        """Words of the text, divided by white space."""
        return len(self.text.split())


def pieces(text: str) -> Iterator[str]:
    """Cut a text at line ends into pieces of at most 1,200 words; what is shorter than 30 words is left out."""
    piece: list[str] = []
    num_words = 0
    for line in _short_lines(text):
        num_line_words = len(line.split())
        if piece and num_words + num_line_words > MAX_PIECE_WORDS:
            yield from _long_enough(piece, num_words)
            piece, num_words = [], 0
        piece.append(line)
        num_words += num_line_words
    yield from _long_enough(piece, num_words)


def _long_enough(piece: list[str], num_words: int) -> Iterator[str]:
    if num_words >= MIN_PIECE_WORDS:
        yield "\n".join(piece).strip()


def _short_lines(text: str) -> Iterator[str]:
    """Yield lines; one of more words than a piece may have is cut between words."""
    for line in text.split("\n"):
        starts = [match.start() for match in _WORD.finditer(line)][::MAX_PIECE_WORDS]
        if len(starts) < 2:
            yield line.rstrip()
            continue
        for start, end in zip(starts, [*starts[1:], len(line)], strict=True):
            yield line[start:end].rstrip()
