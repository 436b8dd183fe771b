"""How questions are asked for: instructions and examples of our own, in plain `Question:` and `Answer:` lines.

Plain lines, since small models that are asked for JSON give none. A model too small for instructions gets a sentence
and an answer that stands in it, and finishes the question from its first words.
"""

import re
from typing import Literal, get_args

from lloco.self_study.ask import Ask

Kind = Literal["fact", "number or name", "list or table", "reason", "across passages"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What questions are about: the seeds, taken in turn."""
ANSWER_INSTRUCTION = (
    "Answer the question in a few words. Where a text is given, answer from it alone. Say 'unknown' if you cannot know."
)
GAP = "____"
PAIR_TOKENS = 160
QUESTION_TOKENS = 32
ANSWER_TOKENS = 24
_INSTRUCTION = (
    "Write a question about the text for somebody who does not see it, and its answer. The question names who or what "
    "it is about, never 'the text' or 'he'. The answer is short, stands in the text, and uses the text's own words for "
    "numbers and names. Write two lines, the first beginning with 'Question:', the second with 'Answer:'. {kind} If "
    "the text has nothing of the sort, write only: none"
)
_KIND_INSTRUCTIONS: dict[Kind, str] = {
    "fact": "Ask for a fact: who did what, where, or what something is.",
    "number or name": "Ask for a number, a date, an amount or a name.",
    "list or table": "Ask for all the parts of a list, or for what stands in a row of a table.",
    "reason": "Ask why something is so, or how it is done.",
    "across passages": "Ask what can be told only from two places of the text together.",
}
_EXAMPLE_TEXT = (
    "Title: The mill at Aldersyke\nThe mill at Aldersyke was built in 1794 by Hester Boon. It ground oats, barley and "
    "peas for eleven farms. The wheel stands still from June to August, because the beck is dry then.\n\nToday the "
    "mill belongs to the parish. Her great-grandson, Luke Boon, who is the miller, grinds only oats there."
)
_EXAMPLES: dict[Kind, tuple[str, str]] = {
    "fact": ("Who owns the mill at Aldersyke today?", "the parish"),
    "number or name": ("When was the mill at Aldersyke built?", "1794"),
    "list or table": ("What was ground in the mill at Aldersyke?", "oats, barley and peas"),
    "reason": ("Why does the wheel of the mill at Aldersyke stand still in summer?", "because the beck is dry then"),
    "across passages": ("Which of Hester Boon's three grains does the miller Luke Boon still grind?", "oats"),
}
_SENTENCE_EXAMPLES = (
    (
        "The town library of Marlow was opened in 1931 by the mayor, Ada Pike.",
        "Ada Pike",
        "Who opened the town library of Marlow in 1931?",
    ),
    (
        "Sven Holt, who keeps 40 hives near Tarn, begins to feed his bees in the last week of August.",
        "40 hives",
        "How many hives does Sven Holt keep near Tarn?",
    ),
    (
        "The bridge at Corran was closed for two weeks, since a lorry had hit the north pillar.",
        "a lorry had hit the north pillar",
        "Why was the bridge at Corran closed for two weeks?",
    ),
    (
        "The night train from Sell stops in Aster, where the post is unloaded.",
        "Aster",
        "Where does the night train from Sell stop?",
    ),
    (
        "Her first novel, The Glass Oar, appeared in 1962 and sold 9,000 copies.",
        "1962",
        "When did the novel The Glass Oar appear?",
    ),
    (
        "A new roof for the chapel costs 12,500 pounds.",
        "12,500 pounds",
        "How much does a new roof for the chapel cost?",
    ),
)
_SENTENCE_INSTRUCTION = "Write one short question about the text. The answer must be the one that is given."
_PAIR = re.compile(
    r"^\W*question(?: \d+)?\W*:\s*(?P<question>\S[^\n]*?)\s*\n+\W*answer(?: \d+)?\W*:\s*(?P<answer>\S[^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)


def pair_ask(text: str, title: str, kind: Kind) -> Ask:
    """Ask for one question of a kind, with its answer."""
    question, answer = _EXAMPLES[kind]
    instruction = _INSTRUCTION.format(kind=_KIND_INSTRUCTIONS[kind])
    example = (_EXAMPLE_TEXT, f"Question: {question}\nAnswer: {answer}")
    return Ask("pairs", instruction, f"Title: {title}\n{text}" if title else text, PAIR_TOKENS, (example,))


def question_ask(sentence: str, answer: str, opening: str) -> Ask:
    """Ask a small model for the question that a given answer has; it goes on from `opening`."""
    examples = tuple(
        (_sentence_text(text, given), f"Question: {question}") for text, given, question in _SENTENCE_EXAMPLES
    )
    return Ask(
        "pairs",
        _SENTENCE_INSTRUCTION,
        _sentence_text(sentence, answer),
        QUESTION_TOKENS,
        examples,
        f"Question: {opening}",
    )


def answer_ask(question: str, context: str) -> Ask:
    """Ask for the answer to a question, from a text or from memory."""
    return Ask("answer", context, question, ANSWER_TOKENS)


def read_pair(reply: str) -> tuple[str, str] | None:
    """Return the first question and answer of a reply; None where it holds none."""
    found = _PAIR.search(reply)
    if found is None:
        return None
    return _plain(found["question"]), _plain(found["answer"])


def read_question(opening: str, reply: str) -> str | None:
    """Return the question that a small model finished; None where it is not a question."""
    line = _plain(f"{opening} {reply.strip()}".split("\n")[0])
    end = line.find("?")
    return line[: end + 1] if end > 0 else None


def _sentence_text(sentence: str, answer: str) -> str:
    # What is not shown cannot be copied into the question.
    return f"Text: {sentence.replace(answer, GAP, 1)}\nAnswer: {answer}"


def _plain(text: str) -> str:
    """Take off the marks that models put around what they write."""
    return " ".join(text.strip().strip('*_`"').split())
