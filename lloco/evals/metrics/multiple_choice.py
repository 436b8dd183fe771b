"""Multiple choice: the letter in a prediction, by LLoCO's rule and by a robust one.

LLoCO (arXiv 2404.07979) compares the first character, unstripped and case-sensitive. `parse_letter` also understands
"(B)", "B the man left", "Answer: b", "The answer is B." and the option's own words; A and I may begin a sentence, which
is never taken for a letter.
"""

import re
import string
from collections.abc import Mapping, Sequence

from lloco.evals.metrics.short_answer import normalise_answer

_LEADING = re.compile(r"^[\s(\[\"'*]*([A-Za-z])(?:[\s\"'*]*$|[\"'*]*[)\].:,;]|\s*\n|\s+[-–—]\s)")
_ANNOUNCED = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+(?:is|would\s+be))?\s*[:=-]?\s*(?:option\s+|choice\s+)?"
    r"[(\[\"'*]*([A-Za-z])(?![A-Za-z'’])(?!(?<=[aA]) +(?-i:[a-z]))",
    re.IGNORECASE,
)
_BEFORE_WORDS = re.compile(r"^[\s(\[\"'*]*([B-HJ-Z])\s+(?!and\b|or\b|nor\b|is\b|isn|was\b|are\b|can)")
_BRACKETED = re.compile(r"\(([A-Za-z])\)")


def is_letter_lloco(pred: str, gold_letter: str) -> bool:
    """Whether the very first character is the gold letter; an empty prediction is wrong."""
    return pred[:1] == gold_letter


def parse_letter(pred: str, options: Sequence[str] = (), *, num_options: int = 4) -> str | None:
    """The letter that the prediction chooses, upper-case, or None when it chooses none.

    Looked for in this order: a letter standing alone at the start; a letter after "answer", "option" or "choice"; one
    letter in brackets, the only such one; the words of exactly one option, alone or at the start; a capital that is no
    word at the start, unless what follows speaks of it.
    """
    letters = string.ascii_uppercase[: len(options) or num_options]
    for pattern in (_LEADING, _ANNOUNCED, _BRACKETED):
        found: set[str] = {letter.upper() for letter in pattern.findall(pred)} & set(letters)
        if len(found) == 1:
            return found.pop()
    said = _letter_of_option(pred, options)
    before_words = _BEFORE_WORDS.match(pred)
    return before_words[1] if said is None and before_words and before_words[1] in letters else said


def _letter_of_option(pred: str, options: Sequence[str]) -> str | None:
    said = normalise_answer(pred) + " "
    words = [normalise_answer(option) for option in options]
    matches = [number for number, text in enumerate(words) if text and said.startswith(text + " ")]
    longest = max((len(words[number]) for number in matches), default=0)
    best = [number for number in matches if len(words[number]) == longest]
    has_letter = len(best) == 1 and best[0] < len(string.ascii_uppercase)
    return string.ascii_uppercase[best[0]] if has_letter else None


def quality_accuracy(
    preds: Mapping[str, str] | Sequence[str], gold_letters: Mapping[str, str] | Sequence[str]
) -> float:
    """QuALITY accuracy by LLoCO's rule as a fraction 0..1, from two lists in one order or two mappings by id.

    The scale is that of the paper's script; `lloco score` prints the same number times 100 as `accuracy_lloco`.
    Raises ValueError when a gold id has no prediction, the lists differ in length, or there is no gold letter.
    """
    pairs = _pairs(preds, gold_letters)
    if not pairs:
        raise ValueError("accuracy needs gold letters, got none: pass one letter per question")
    return sum(is_letter_lloco(pred, gold) for pred, gold in pairs) / len(pairs)


def _pairs(
    preds: Mapping[str, str] | Sequence[str], gold_letters: Mapping[str, str] | Sequence[str]
) -> list[tuple[str, str]]:
    if isinstance(preds, Mapping) and isinstance(gold_letters, Mapping):
        missing = [question_id for question_id in gold_letters if question_id not in preds]
        if missing:
            raise ValueError(f"every question needs a prediction, {len(missing)} have none: {', '.join(missing[:5])}")
        return [(preds[question_id], gold) for question_id, gold in gold_letters.items()]
    if isinstance(preds, Mapping) or isinstance(gold_letters, Mapping):
        raise ValueError("predictions and gold letters must both be lists or both be keyed by id, got one of each")
    if len(preds) != len(gold_letters):
        raise ValueError(f"got {len(preds)} predictions for {len(gold_letters)} gold letters: pass one for each")
    return list(zip(preds, gold_letters, strict=True))
