"""A document cut into spans that questions are made of, all over the document, and the sentences of each.

Spans are neighbouring passages of the store, merged where they are short. A heading is a line of its own without a full
stop; it belongs to no sentence, but sentences know it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lloco.store.passage import PassageText

SPAN_WORDS = 60
"""Passages are merged until a span has at least so many words."""
LONGEST_SPAN_WORDS = 180
MIN_DOCUMENT_WORDS = 12
"""A document of fewer words is too short for questions."""
_LINE = re.compile(r"[^\n\f]+")
_SENTENCE_END = re.compile(r"""(?<![ .(][A-Z])(?<!\b(?:Dr|Mr|St|No))(?<!\bMrs)[.!?]["'”’)\]]*\s+(?=["'“‘(]?[A-Z0-9])""")
_MARK = re.compile(r"^\s*(?:#{1,6}\s+|[-*•]\s+|\d{1,2}[.)]\s+)")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, or a line of a table, and where it stands in its document."""

    start: int
    end: int
    text: str
    heading: str
    """The last heading before it; empty where there is none."""
    is_table_row: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of a document's text."""

    start: int
    end: int
    text: str
    sentences: tuple[Sentence, ...]


def document_spans(text: str, passages: Sequence[PassageText]) -> list[Span]:
    """Return the spans of a document in order; none where it is too short for questions."""
    # Where words are not spaced, eight characters count as one.
    if max(len(text.split()), len(text) // 8) < MIN_DOCUMENT_WORDS:
        return []
    sentences = list(_sentences(text))
    spans = []
    for start, end in _merged(passages):
        own = tuple(sentence for sentence in sentences if start <= sentence.start < end)
        # A sentence that a passage's end cuts belongs to the span in which it begins, as a whole.
        end = max([end, *(sentence.end for sentence in own)])
        if own:
            spans.append(Span(start, end, text[start:end], own))
    return spans


def _merged(passages: Sequence[PassageText]) -> list[tuple[int, int]]:
    """Merge neighbouring passages while they are short together; a short rest joins the span before it."""
    merged: list[tuple[int, int, int]] = []
    for passage in passages:
        num_words = len(passage.text.split())
        if merged:
            start, _, earlier = merged[-1]
            if min(earlier, num_words) < SPAN_WORDS and earlier + num_words <= LONGEST_SPAN_WORDS:
                merged[-1] = (start, passage.end, earlier + num_words)
                continue
        merged.append((passage.start, passage.end, num_words))
    return [(start, end) for start, end, _ in merged]


def _sentences(text: str) -> Iterator[Sentence]:
    heading = ""
    for paragraph in _paragraphs(text):
        start, line = paragraph
        mark = _MARK.match(line)
        if _is_heading(line):
            heading = " ".join(line[mark.end() if mark else 0 :].split())
            continue
        if line.lstrip().startswith("|"):
            yield Sentence(start, start + len(line), line.strip(), heading, is_table_row=True)
            continue
        begin = mark.end() if mark else 0
        ends = [match.end() for match in _SENTENCE_END.finditer(line, begin)]
        for end in [*ends, len(line)]:
            if piece := line[begin:end].strip():
                first = start + begin + line[begin:end].index(piece[0])
                yield Sentence(first, start + begin + len(line[begin:end].rstrip()), " ".join(piece.split()), heading)
            begin = end


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield paragraphs with their starts: lines that a sentence runs through are kept together."""
    lines = [(match.start(), match.group()) for match in _LINE.finditer(text)]
    index = 0
    while index < len(lines):
        start, line = lines[index]
        end = start + len(line)
        is_open = not (_is_heading(line) or line.lstrip().startswith("|"))
        while is_open and index + 1 < len(lines) and _goes_on(text, end, *lines[index + 1]):
            index += 1
            end = lines[index][0] + len(lines[index][1])
        yield start, text[start:end]
        index += 1


def _goes_on(text: str, end: int, start: int, line: str) -> bool:
    """Return whether the line after a single line break goes on with the paragraph."""
    is_next = text[end:start].count("\n") == 1 and "\f" not in text[end:start]
    return is_next and not line.lstrip().startswith("|") and not _MARK.match(line) and bool(line.strip())


def _is_heading(line: str) -> bool:
    bare = line.strip()
    if bare.startswith("#"):
        return True
    is_short = 0 < len(bare.split()) <= 9 and len(bare) <= 80 and ": " not in bare
    return is_short and bare[-1] not in ".!?:;,|。！？：；，" and bare[0].isalnum() and bare[0] == bare[0].upper()
