"""Documents split into passages of whole sentences, none of them over the end of a page."""

import re
from collections.abc import Iterator

from lloco.retrieval.search_words import UNSPACED
from lloco.store.passage import Passage

_WORD = re.compile(rf"[{UNSPACED}]{{1,2}}|[^\s{UNSPACED}]{{1,32}}")
"""A word of a passage: two letters of a script without spaces; what else has no space is counted in pieces."""


_BOUNDARY = re.compile(r"""[.!?]["'”’)\]]*(?=\s)|[。！？]|\f|\n\s*\n""")
"""End of a sentence, of a page (a form feed) or, all other white space, of a paragraph."""


def split_passages(text: str, max_words: int = 100) -> list[Passage]:
    """Split into passages of at most `max_words` words of one page, at the ends of paragraphs and sentences.

    Every character that is not white space lies in exactly one passage; none begins or ends with white space.
    """
    passages: list[Passage] = []
    words: list[tuple[int, int]] = []

    def close() -> None:
        for first in range(0, len(words), max_words):
            part = words[first : first + max_words]
            passages.append(Passage(part[0][0], part[-1][1]))
        words.clear()

    for sentence, end in _sentences(text):
        if len(words) + len(sentence) > max_words:
            close()
        words += sentence
        if "\f" in end or (end.isspace() and len(words) >= max_words / 2):
            close()
    close()
    return passages


def _sentences(text: str) -> Iterator[tuple[list[tuple[int, int]], str]]:
    """Spans of the words of each sentence, and what ends it: signs, or the white space after a paragraph or page."""
    start = 0
    for boundary in _BOUNDARY.finditer(text):
        yield [word.span() for word in _WORD.finditer(text, start, boundary.end())], boundary.group()
        start = boundary.end()
    yield [word.span() for word in _WORD.finditer(text, start)], "\n\n"
