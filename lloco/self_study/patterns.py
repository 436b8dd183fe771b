"""Questions made by templates: from tables, fields, definitions, reasons, sentences with a gap, and headings.

No model is asked, so the answers are right wherever the form was read rightly; they fill what a weak model leaves.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from lloco.self_study.found_answers import found_answers
from lloco.self_study.spans import Sentence, Span
from lloco.self_study.wording import GAP, Kind

_DEFINITION = re.compile(
    r"^(?P<what>(?:An? |The )?[A-Za-z][\w’'-]*(?: [\w’'-]+){0,3}) (?P<verb>is|are) "
    r"(?P<answer>(?:an? |the )?[a-z][^.;]{12,140})\.$"
)
_FIELD = re.compile(r"^(?P<field>[A-Z][\w’'/-]*(?: [\w’'/-]+){0,2}): (?P<answer>\S[^:]{0,100})$")
_REASON = re.compile(r"^(?P<what>[^.;]{15,160}?),? (?P<answer>because [^.;]{8,}|since (?!\d)[^.;]{12,})\.?$")
_PRONOUN = re.compile(r"\b(?:he|she|it|they|him|her|them|his|its|their|this|these|that|those|there)\b", re.IGNORECASE)
_SMALL = {"The", "A", "An", "In", "On", "At", "When", "For", "From", "If", "Most", "Some", "All", "After", "Before"}


@dataclass(frozen=True, slots=True)
class RawPair:
    """A question with its answer, before it is checked."""

    question: str
    answer: str
    kind: Kind
    made_by: str
    clause: str = ""
    """The part of the text that the answer stands in, where it is known."""


def template_pairs(span: Span, title: str) -> Iterator[RawPair]:
    """Yield the pairs that templates make of a span, the most natural ones first."""
    yield from table_pairs(span.sentences)
    for make in (_field, _definition, _reason):
        for sentence in span.sentences:
            if not sentence.is_table_row and (made := make(sentence, title)) is not None:
                yield made
    yield from _gaps(span.sentences)
    yield from islice(_headings(span.sentences, title), 1)


def table_pairs(sentences: Sequence[Sentence]) -> Iterator[RawPair]:
    """Yield a question for each cell beside a row's first, of tables drawn with bars."""
    header: list[str] = []
    for previous, sentence in zip([None, *sentences], sentences, strict=False):
        if not sentence.is_table_row:
            header = []
            continue
        cells = [cell.strip() for cell in sentence.text.strip("|").split("|")]
        if all(set(cell) <= set("-: ") for cell in cells):
            continue
        if previous is None or not previous.is_table_row:
            header = cells
            continue
        if len(cells) != len(header) or not cells[0]:
            continue
        for column, cell in zip(header[1:], cells[1:], strict=True):
            if column and cell:
                question = f'What stands under "{column}" for {cells[0]} in the table?'
                yield RawPair(question, cell, "list or table", "table")


def _field(sentence: Sentence, title: str) -> RawPair | None:
    found = _FIELD.match(sentence.text)
    if found is None or not title:
        return None
    field, answer = found["field"].strip(), found["answer"].rstrip(". ")
    return RawPair(f'What is given as "{field}" in "{title}"?', answer, "list or table", "field")


def _definition(sentence: Sentence, title: str) -> RawPair | None:
    found = _DEFINITION.match(sentence.text)
    if found is None or _PRONOUN.search(found["what"]) or not re.match(r"an? |the ", found["answer"]):
        return None
    return RawPair(f"What {found['verb']} {_begun(found['what'])}?", found["answer"], "fact", "definition")


def _reason(sentence: Sentence, title: str) -> RawPair | None:
    found = _REASON.match(sentence.text)
    if found is None or _PRONOUN.match(found["what"]):
        return None
    return RawPair(f"Why is it that {_begun(found['what'])}?", found["answer"], "reason", "reason")


def _gaps(sentences: Sequence[Sentence]) -> Iterator[RawPair]:
    """Yield a sentence with a number or a name left out; those that hang on the sentence before come last."""
    for sentence in sorted(sentences, key=lambda sentence: bool(_PRONOUN.match(sentence.text))):
        if not 6 <= len(sentence.text.split()) <= 40:
            continue
        for found in found_answers(sentence)[:2]:
            if found.kind == "reason":
                continue
            rest = sentence.text[found.start + len(found.answer) :]
            gapped = f"{sentence.text[: found.start]}{GAP}{rest}".rstrip(".")
            yield RawPair(f'Which words are missing in "{gapped}"?', found.answer, found.kind, "gap")


def _headings(sentences: Sequence[Sentence], title: str) -> Iterator[RawPair]:
    for sentence in sentences:
        is_short = 5 <= len(sentence.text.split()) <= 25
        if sentence.heading and sentence.heading != title and title and is_short and not sentence.is_table_row:
            yield RawPair(
                f'Under which heading of "{title}" does "{sentence.text.rstrip(".")}" stand?',
                sentence.heading,
                "fact",
                "heading",
            )


def _begun(text: str) -> str:
    """Return the beginning of a sentence as it stands inside another."""
    first, _, rest = text.partition(" ")
    return f"{first.lower()} {rest}" if first in _SMALL else text
