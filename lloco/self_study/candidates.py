"""What a generator is asked about a span, and the pairs that its replies hold.

A model that follows instructions is asked for each kind of question in turn; a small one for questions to answers that
stand in the span's sentences.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from lloco.self_study.ask import Ask
from lloco.self_study.checks import clause_of
from lloco.self_study.found_answers import FoundAnswer, found_answers
from lloco.self_study.patterns import RawPair
from lloco.self_study.spans import Sentence, Span
from lloco.self_study.wording import KINDS, Kind, pair_ask, question_ask, read_pair, read_question

_HANGS_ON = re.compile(r"^(?:He|She|It|They|His|Her|Its|Their|This|That|These|Those|There|Then)\b")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One request about a span."""

    ask: Ask
    kind: Kind
    found: FoundAnswer | None = None
    """The answer that is asked for, with a small model."""

    def pair(self, reply: str, made_by: str) -> RawPair | None:
        """Return the pair that the reply holds, if it holds one."""
        if self.found is None:
            read = read_pair(reply)
            return None if read is None else RawPair(*read, self.kind, made_by)
        question = read_question(self.found.opening, reply)
        if question is None:
            return None
        sentence, start = self.found.sentence.text, self.found.start
        clause = clause_of(sentence, start, start + len(self.found.answer))
        return RawPair(question, self.found.answer, self.kind, made_by, clause)


def is_declined(reply: str) -> bool:
    """Return whether a model said that the span has nothing of the kind, which is no fault."""
    return reply.strip().strip(".'\"").lower() == "none"


def instructed(spans: Sequence[Span], index: int, turn: int, title: str) -> list[Candidate]:
    """Return a request for each kind about one of a document's spans; `turn` says which kind comes first."""
    made = []
    for number in range(len(KINDS)):
        kind = KINDS[(turn + number) % len(KINDS)]
        is_across = kind == "across passages"
        text = "\n\n".join(span.text for span in spans[index : index + 2]) if is_across else spans[index].text
        made.append(Candidate(pair_ask(text, title, kind), kind))
    return made


def begun(span: Span) -> list[Candidate]:
    """Return a request for each answer that stands in the span, first those of different sentences."""
    by_sentence = []
    for previous, sentence in zip([None, *span.sentences], span.sentences, strict=False):
        text = _with_subject(sentence, previous)
        by_sentence.append(
            [
                Candidate(question_ask(text, found.answer, found.opening), found.kind, found)
                for found in found_answers(sentence)
                if found.opening
            ]
        )
    rounds = zip_longest(*by_sentence)
    return [candidate for candidates in rounds for candidate in candidates if candidate is not None]


def _with_subject(sentence: Sentence, previous: Sentence | None) -> str:
    """Return the sentence, after the one before where it begins with a pronoun."""
    if previous is None or previous.is_table_row or not _HANGS_ON.match(sentence.text):
        return sentence.text
    return f"{previous.text} {sentence.text}"
