"""Answers that stand in a sentence: numbers with their units, dates, amounts, names and reasons, by rules for English.

Each comes with the words that its question begins with, which a small model needs and a template uses. Does not know
who writes the question.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lloco.self_study.spans import Sentence
from lloco.self_study.wording import Kind

_MONTH = (
    "(?:January|February|March|April|May|June|July|August|September|October|November|December)"  # "may" is no month
)
_DAY = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_NUMBER_WORD = (
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|"
    "nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
)
_MONEY_UNIT = "crowns|euros|euro|dollars|pounds|francs|cents|pence|yen|rupees|pesos|marks"
_DATE = re.compile(rf"\b(?:\d{{1,2}} {_MONTH}(?: \d{{4}})?|{_MONTH} (?:\d{{1,2}}, )?\d{{4}}|(?:1[5-9]|20)\d\d)\b")
_MONEY = re.compile(rf"\b\d[\d,.]*\b (?:{_MONEY_UNIT})\b|[$€£]\d[\d,.]*\d|[$€£]\d")
_COUNT = re.compile(rf"\b(\d[\d,.]*\d|\d|{_NUMBER_WORD}) ((?:[a-z]+ )?[a-z]{{3,}}s)\b", re.IGNORECASE)
_REASON = re.compile(r"(?:,? because|, since|,? so that)\s+(?!of\b)([^.;]{12,}?)\s*(?:[.;]|$)")
_WORD = r"[A-Z][\w’'-]*[a-z]\b"
_NAME = re.compile(
    rf"\b(?:(?:Dr|Mr|Mrs|Ms|Professor|Colonel|Captain|Sir)\.? )?{_WORD}(?: (?:(?:of|de|van|von) )?{_WORD})*"
)
_NOT_PERSON = re.compile(
    r"\b(?:Mount|Street|Lane|Road|College|Museum|Office|Review|Bank|School|University|Council|Company|Ltd|Inc|River|Lake|"
    r"Hotel|Church|Station|Park|House|Hall|Bridge|Island|Society|Institute|Ministry|Group|Brothers|Estates?|Association|"
    r"The|North|South|East|West)\b"
)
_OF_TIME = re.compile(rf"{_MONTH}|{_DAY}")
_FIRST_WORDS = (
    "The A An In On At It He She They We This That These There For From When Until Since If But And Most Some Both All "
    "His Her Its Their Our Your You Nobody Everyone To As With By After Before Today Now Then Once Only Each Every Of "
    "Or Not No Children Dogs"
)
_SHORT_WORDS = frozenset(_FIRST_WORDS.split())
"""Words that sentences begin with and that name nobody."""
PLACE_WORDS = {"in", "at", "near"}


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """A piece of a sentence that a question can ask for."""

    kind: Kind
    answer: str
    opening: str
    """How its question begins; empty where it could be anything, which a small model gets wrong."""
    start: int
    """Where it stands in its sentence."""
    sentence: Sentence


def found_answers(sentence: Sentence) -> list[FoundAnswer]:
    """Return the answers that stand in a sentence, the surest kinds first, none inside another."""
    if sentence.is_table_row or len(sentence.text.split()) < 4:
        return []
    taken: list[tuple[int, int]] = []
    kept = []
    for found in _all(sentence):
        end = found.start + len(found.answer)
        if all(end <= first or found.start >= last for first, last in taken):
            taken.append((found.start, end))
            kept.append(found)
    return kept


def _all(sentence: Sentence) -> Iterator[FoundAnswer]:
    text = sentence.text
    for match in _MONEY.finditer(text):
        yield FoundAnswer("number or name", match[0].rstrip(".,"), "How much", match.start(), sentence)
    for match in _DATE.finditer(text):
        yield FoundAnswer("number or name", match[0], "When", match.start(), sentence)
    for match in _COUNT.finditer(text):
        noun = match[2]
        if not re.fullmatch(_MONEY_UNIT, noun):
            yield FoundAnswer("number or name", match[0], f"How many {noun}", match.start(), sentence)
    for match in _REASON.finditer(text):
        yield FoundAnswer("reason", match[1], "Why", match.start(1), sentence)
    for match in _NAME.finditer(text):
        if not _is_name(match, text):
            continue
        before = text[: match.start()].split()
        is_place = bool(before) and before[-1] in PLACE_WORDS
        is_person = " " in match[0] and not _NOT_PERSON.search(match[0])
        opening = "Where" if is_place else "Who" if is_person else ""
        yield FoundAnswer("fact", match[0], opening, match.start(), sentence)


def _is_name(match: "re.Match[str]", text: str) -> bool:
    """Return whether a capitalised word names somebody or something, rather than beginning the sentence."""
    words = match[0].split()
    if words[0] in _SHORT_WORDS or _OF_TIME.search(match[0]):
        return False
    begins = not text[: match.start()].strip(" \"'“‘(")
    return len(words) > 1 or not begins
