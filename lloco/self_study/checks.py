"""Checks of a question and its answer that need no model: form, grounds in the text, and finding its passage again.

Each has a name, under which pairs list what they passed and runs count what they threw away. The checks that ask a
model are `read_checks`'s.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lloco.retrieval.retriever import QUESTION_STOP_WORDS, Hit
from lloco.retrieval.search_words import search_words
from lloco.self_study.patterns import RawPair
from lloco.self_study.spans import Span

NO_PAIR = "no question and answer in the reply"
FORM = "a question of 4 to 40 words, an answer of 1 to 30 that it does not give away"
GROUNDED = "numbers, names and words stand in the text"
NAMED = "says what it is about"
FOUND = "the retriever finds the passage"
NEW = "no near-duplicate"
ANSWERED = "answered alike from the passage"
UNKNOWN = "not answered without the passage"
CHECKS = (NO_PAIR, FORM, NAMED, GROUNDED, FOUND, ANSWERED, UNKNOWN, NEW)
"""All reasons to throw a pair away, in the order of the checks."""
TOP_K = 3
SAME_SHARE = 0.8
"""Questions that share so much of their words, with the same answer, are near-duplicates; others from 0.95 on."""
GIVEN_AWAY, LONG_ANSWER = 0.7, 4
"""Share of an answer's words, of so many at least, from which a question gives it away."""
OWN_SHARE = 0.5
"""Share of the question's words that must stand in the part of the sentence that the answer stands in."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"\b[A-Z][\w’'-]*[a-z]\b")
_VAGUE = re.compile(
    r"\b(?:he|she|it|they|him|her|them|his|this|these|those|the (?:text|passage|document|author|article))\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[;:]|,? (?:and|but|because|since|which|who|where|so that)\b|, ")
_ASKING_WORDS = (
    "name named called kind type place person people number year date month day time long many much happen happened "
    "located stand stands missing words under heading table given whose else"
)
_ASKING = frozenset(_ASKING_WORDS.split())
"""Words that questions have beside those of the text."""


def is_well_formed(pair: RawPair) -> bool:
    """Return whether it reads as a question with a short answer that the question does not hold."""
    question, answer = pair.question, pair.answer
    is_question = question.endswith(("?", "？")) and question[:1].isalpha() and "\n" not in question
    if not is_question or not 4 <= _num_words(question) <= 40 or not 1 <= _num_words(answer) <= 30:
        return False
    words = _words(answer) or answer.lower().split()
    shown = set(_words(question)) | set(question.lower().split())
    repeats = question.lower().split()
    is_looping = len(repeats) > 8 and len(set(repeats)) < 0.6 * len(repeats)
    share = sum(word in shown for word in words) / len(words)
    is_given_away = share == 1 or (share >= GIVEN_AWAY and len(words) >= LONG_ANSWER)
    return not is_looping and not is_given_away and answer.lower() not in ("none", "unknown")


def says_what_it_is_about(pair: RawPair) -> bool:
    """Return whether somebody who does not see the text knows what is asked about."""
    unquoted = re.sub(r'"[^"]*"', "", pair.question)
    has_names = bool(set(_words(pair.question)) - _ASKING)
    return has_names and not _VAGUE.search(unquoted)


def is_grounded(pair: RawPair, span: Span, title: str, *, is_strict: bool) -> bool:
    """Return whether numbers and names of both stand in the text; where strict, all words of the question too.

    A small model makes up the rest of a question, and asks about one half of a sentence for what stands in the other.
    """
    text = f"{title}\n{span.text}\n{' '.join({sentence.heading for sentence in span.sentences})}"
    numbers = set(_NUMBER.findall(text))
    if not set(_NUMBER.findall(f"{pair.question} {pair.answer}")) <= numbers:
        return False
    lower = text.lower()
    names = [*_NAME.findall(pair.question)[1:], *_NAME.findall(pair.answer)]
    if not all(name.lower() in lower for name in names):
        return False
    if not _are_in(_words(pair.answer), lower, at_least=0.5 if not is_strict else 0.7):
        return False
    if not is_strict:
        return True
    asked = [word for word in _words(pair.question) if word not in _ASKING]
    is_own = not pair.clause or _are_in(asked, pair.clause.lower(), at_least=OWN_SHARE)
    return is_own and _are_in(asked, lower, at_least=1.0)


def clause_of(sentence: str, start: int, end: int) -> str:
    """Return the part of a sentence, between commas and the like, in which a piece of it stands."""
    breaks = [(match.start(), match.end()) for match in _CLAUSE_END.finditer(sentence)]
    first = max((after for _, after in breaks if after <= start), default=0)
    last = min((before for before, _ in breaks if before >= end), default=len(sentence))
    return sentence[first:last]


@dataclass(slots=True)
class Passages:
    """Whether the retriever finds a passage again from the question about it."""

    search: Callable[[str, int], Sequence[Hit]]

    def are_found(self, question: str, document_id: str, span: Span) -> bool:
        """Return whether one of the first hits overlaps the span."""
        return any(
            hit.document_id == document_id and hit.start < span.end and hit.end > span.start
            for hit in self.search(question, TOP_K)
        )


@dataclass(slots=True)
class Questions:
    """Questions that were kept, to find near-duplicates among."""

    _by_word: dict[str, list[int]] = field(default_factory=dict)
    _kept: list[tuple[frozenset[str], str]] = field(default_factory=list)

    def is_new(self, question: str, answer: str) -> bool:
        """Return whether no question that was kept asks for the same in nearly the same words."""
        words = frozenset(search_words(question))
        # Only those that share a rare word can be alike; common ones would compare all with all.
        rarest = sorted(words, key=lambda word: len(self._by_word.get(word, ())))[: max(1, len(words) // 3 + 1)]
        others = {index for word in rarest for index in self._by_word.get(word, ())}
        for index in others:
            earlier, given = self._kept[index]
            share = len(words & earlier) / len(words | earlier)
            if share >= 0.95 or (share >= SAME_SHARE and given == _bare(answer)):
                return False
        return True

    def add(self, question: str, answer: str) -> None:
        """Remember a question that is kept."""
        words = frozenset(search_words(question))
        for word in words:
            self._by_word.setdefault(word, []).append(len(self._kept))
        self._kept.append((words, _bare(answer)))


def _bare(answer: str) -> str:
    return " ".join(search_words(answer))


def _num_words(text: str) -> int:
    """Count words; in scripts without spaces, pairs of characters."""
    return max(len(text.split()), len(search_words(text)))


def _words(text: str) -> list[str]:
    """Return the words that mean something."""
    return [word for word in search_words(text) if word not in QUESTION_STOP_WORDS and len(word) > 1]


def _are_in(words: Sequence[str], lower: str, *, at_least: float) -> bool:
    """Return whether this share of the words, or words with the same beginning, stand in a lower-case text."""
    if not words:
        return True
    return sum(_stands(word, lower) for word in words) >= at_least * len(words)


_IRREGULAR = {
    "begin": "began begun", "break": "broke", "bring": "brought", "build": "built", "buy": "bought", "choose": "chose",
    "come": "came", "do": "did done", "draw": "drew", "fall": "fell", "find": "found", "get": "got", "give": "gave",
    "go": "went gone", "grow": "grew", "hold": "held", "keep": "kept", "know": "knew", "lead": "led", "leave": "left",
    "lie": "lay lies", "lose": "lost", "make": "made making", "meet": "met", "pay": "paid", "read": "read", "rise":
    "rose", "run": "ran", "see": "saw", "sell": "sold", "send": "sent", "speak": "spoke", "spend": "spent", "stand":
    "stood", "take": "took taking", "teach": "taught", "tell": "told", "wear": "wore", "win": "won", "write":
    "wrote writing",
}  # fmt: skip
"""Forms of English verbs that begin otherwise."""


def _stands(word: str, lower: str) -> bool:
    forms = _IRREGULAR.get(word, "").split()
    return any(form in lower for form in (_stem(word), *forms))


def _stem(word: str) -> str:
    """Return the beginning that forms of a word share: of `opened` and `opens`, `open`."""
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
