"""Checks that ask a generator: it answers from the passage as the pair says, and without the passage it does not."""

import re

from lloco.evals.metrics.short_answer import normalise_answer, token_overlap

AGREEMENT = 0.6
"""Token F1 from which two answers are alike."""
LONG_ANSWER = 4
"""Words from which an answer may also stand inside a longer reply; a name that does may be any name of a sentence."""
_SMALL_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_TENS = "thirty forty fifty sixty seventy eighty ninety"
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_SMALL_NUMBERS.split())}
_NUMBER_WORDS |= {word: str(10 * number) for number, word in enumerate(_TENS.split(), start=3)}


def are_alike(reply: str, answer: str) -> bool:
    """Return whether a reply gives the answer: mostly its words, or all of a long answer in a row, and its numbers."""
    said, wanted = _plain(reply), _plain(answer)
    numbers = set(re.findall(r"\d+", wanted))
    if not said or not numbers <= set(re.findall(r"\d+", said)):
        return False
    is_contained = len(wanted.split()) >= LONG_ANSWER and f" {wanted} " in f" {said} "
    return is_contained or token_overlap(said, wanted).f1 >= AGREEMENT


def _plain(text: str) -> str:
    """Return the words of an answer as metrics compare them, numbers as digits."""
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    return " ".join(_NUMBER_WORDS.get(word, word) for word in normalise_answer(text).split())
