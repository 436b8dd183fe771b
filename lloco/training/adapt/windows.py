"""A long text cut into windows that keep their questions: those whose answer stands in the window.

Counts characters, four of which are about a token of English. Knows nothing about tokenizers.
"""

import random
import re
from collections.abc import Sequence

from lloco.training.pretrain.text import Line

CHARACTERS_A_TOKEN = 4
_BREAK = re.compile(r"\n+|(?<=[.!?])\s+")
_WORD = re.compile(r"\w+")


def cut_line(line: Line, num_tokens: int, chooser: random.Random, *, with_questions: bool = False) -> Line:
    """Return one window of about `num_tokens` tokens of a line's text, with the questions that belong to it.

    Where questions are wanted, the window is one that has some; a question whose answer stands nowhere belongs to the
    window that has most of its words.
    """
    text, pairs = line
    limit = num_tokens * CHARACTERS_A_TOKEN
    if len(text) <= limit:
        return line
    windows = windows_of_text(text, limit)
    if not with_questions or not pairs:
        return chooser.choice(windows), []
    owners = [_window_of(question, answer, windows) for question, answer in pairs]
    chosen = chooser.choice(owners)
    return windows[chosen], [pair for pair, owner in zip(pairs, owners, strict=True) if owner == chosen]


def windows_of_text(text: str, limit: int) -> list[str]:
    """Cut a text at paragraphs and sentences into windows of at most `limit` characters; longer sentences are cut."""
    windows, start, end = [], 0, 0
    for found in [*(match.end() for match in _BREAK.finditer(text)), len(text)]:
        if found - start > limit:
            if end > start:
                windows.append(text[start:end])
                start = end
            while found - start > limit:
                windows.append(text[start : start + limit])
                start += limit
        end = found
    windows.append(text[start:])
    return [window for window in windows if window.strip()]


def _window_of(question: str, answer: str, windows: Sequence[str]) -> int:
    """Return the index of the window that a question belongs to."""
    words = {word.lower() for word in _WORD.findall(f"{question} {answer}") if len(word) > 2}

    def fit(index: int) -> tuple[bool, int]:
        lower = windows[index].lower()
        return answer.lower() in lower, sum(word in lower for word in words)

    return max(range(len(windows)), key=fit)
