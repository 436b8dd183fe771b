"""Texts of RULER's subtasks (arXiv 2404.06654): needles, a chain of variables, common words and frequent words.

The needle's sentence, the sentences of noise, what a text begins with and the questions are RULER's own wording
(Apache-2.0, see NOTICE): scores compare only where they are the same. Names, words and prose are ours. A text has as
many units as it is asked for; the same generator of random numbers draws the same needles whatever their number.
"""

import gzip
import json
import random
import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import pi
from pathlib import Path

from lloco.tasks.needle import DEPTHS

_NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
_STORIES = Path(__file__).parent.parent / "bundled" / "documents" / "fairytaleqa_train.jsonl.gz"
_NUM_DEPTHS = 40
_NUM_HOPS = 4
_NUM_COMMON = 10
LONG = 4096
"""From this length on, words to be counted occur more often."""
_MANNERS = (
    "able", "amber", "ancient", "awake", "azure", "bitter", "blank", "bold", "brave", "brief", "bright", "brisk",
    "broad", "broken", "calm", "candid", "careful", "cheap", "civil", "clean", "clever", "cloudy", "coarse",
    "cold", "common", "cosy", "crimson", "crisp", "curly", "damp", "dapper", "daring", "dark", "deep", "dense",
    "dim", "dusty", "eager", "early", "elder", "empty", "exact", "faint", "fair", "famous", "fancy", "fearless",
    "feeble", "fertile", "fierce", "final", "firm", "flat", "fluent", "fond", "frank", "fresh", "frosty", "gentle",
    "giant", "giddy", "glad", "golden", "grand", "grave", "greedy", "green", "grim", "gritty", "handy", "happy",
    "harsh", "hasty", "heavy", "hidden", "hollow", "honest", "humble", "hungry", "icy", "idle", "ivory", "jolly",
    "keen", "kind", "large", "late", "lazy", "light",
)  # fmt: skip
_THINGS = (
    "acorn", "anchor", "apple", "apron", "arrow", "badge", "barn", "basin", "basket", "beacon", "bell", "bench",
    "blanket", "boat", "bottle", "bowl", "branch", "brick", "bridge", "brook", "broom", "bucket", "button",
    "cabin", "cable", "camel", "candle", "canoe", "carpet", "castle", "chair", "chalk", "chimney", "cloak",
    "clock", "coin", "comet", "compass", "copper", "cradle", "crown", "curtain", "dagger", "desert", "door",
    "drum", "eagle", "engine", "falcon", "feather", "fence", "ferry", "fiddle", "field", "flute", "forest",
    "fountain", "garden", "gate", "glove", "hammer", "harbour", "hat", "helmet", "hill", "horse", "island",
    "jacket", "jar", "kettle", "key", "ladder", "lantern", "lemon", "letter", "map", "market", "meadow", "mill",
    "mirror", "needle", "oak", "oven", "paddle", "path", "pepper",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RulerText:
    """A text with its question; all of the answers are asked for."""

    text: str
    question: str
    answers: tuple[str, ...]
    depth: float | None = None
    """Share of the text before the needle, where there is one needle."""


def needle_in_noise(rng: random.Random, num_units: int, length: int) -> RulerText:
    """Hide one number among `num_units` repetitions of the same sentences."""
    [key], [value] = _unique(rng, _key, 1), _unique(rng, _number, 1)
    return _one_needle(rng, "number", key, value, [_NOISE] * num_units)


def number_among_needles(rng: random.Random, num_units: int, length: int) -> RulerText:
    """Hide one number among `num_units` others, each with a key of its own."""
    return _needle_among_needles(rng, "number", _key, _number, num_units)


def uuid_among_needles(rng: random.Random, num_units: int, length: int) -> RulerText:
    """Hide one UUID with a UUID as its key among `num_units` others."""
    return _needle_among_needles(rng, "uuid", _uuid, _uuid, num_units)


def values_in_prose(rng: random.Random, num_units: int, length: int) -> RulerText:
    """Hide four numbers of one key in `num_units` words of stories."""
    [key], values = _unique(rng, _key, 1), _unique(rng, _number, 4)
    return _needles_in_prose(rng, [(key, value) for value in values], key, num_units)


def keys_in_prose(rng: random.Random, num_units: int, length: int) -> RulerText:
    """Hide four keys with a number each in `num_units` words of stories, and ask for all."""
    keys, values = _unique(rng, _key, 4), _unique(rng, _number, 4)
    asked = f"{', '.join(keys[:-1])}, and {keys[-1]}"
    return _needles_in_prose(rng, list(zip(keys, values, strict=True)), asked, num_units)


def variable_chain(rng: random.Random, num_units: int, length: int) -> RulerText:
    """Give a value to a variable and that to four more, between `num_units` repetitions of the same sentences."""
    names, value = _unique(rng, _variable, _NUM_HOPS + 1), str(rng.randrange(10_000, 100_000))
    chain = [f"VAR {names[0]} = {value}", *(f"VAR {name} = VAR {before}" for before, name in pairwise(names))]
    lines = [_NOISE] * num_units
    for num_before, position in enumerate(sorted(rng.sample(range(num_units), len(chain)))):
        lines.insert(position + num_before, chain[num_before])
    return RulerText(
        "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n" + "\n".join(lines),
        f"Find all variables that are assigned the value {value} in the text above.",
        tuple(names),
    )


def common_words(rng: random.Random, num_units: int, length: int) -> RulerText:
    """List ten words often and `num_units` others seldom, all mixed."""
    num_often, num_seldom = (30, 3) if length >= LONG else (6, 1)
    words = _unique(rng, _word, _NUM_COMMON + num_units)
    listed = words[:_NUM_COMMON] * num_often + words[_NUM_COMMON:] * num_seldom
    rng.shuffle(listed)
    return RulerText(
        "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that "
        "appear most often.\n" + " ".join(f"{number}. {word}" for number, word in enumerate(listed, start=1)),
        f"What are the {_NUM_COMMON} most common words in the above list?",
        tuple(words[:_NUM_COMMON]),
    )


def frequent_words(rng: random.Random, num_units: int, length: int) -> RulerText:
    """Draw about `num_units` coded words, as often as a zeta distribution of alpha 2 says, the first of them dots."""
    words = ["...", *_unique(rng, _coded_word, max(length // 50, 6))]
    counts = [int(num_units * 6 / (pi * rank) ** 2) for rank in range(1, len(words) + 1)]
    drawn = [word for word, count in zip(words, counts, strict=True) for _ in range(count)]
    rng.shuffle(drawn)
    return RulerText(
        "Read the following coded text and track the frequency of each coded word. Find the three most frequently "
        "appeared coded words. " + " ".join(drawn),
        "Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently appeared "
        "words in the above coded text?",
        tuple(words[1:4]),
    )


def _one_needle(rng: random.Random, kind: str, key: str, value: str, lines: list[str]) -> RulerText:
    depth = rng.choice(DEPTHS)
    lines.insert(round(depth * len(lines)), _needle(kind, key, value))
    return RulerText(
        f"A special magic {kind} is hidden within the following text. Make sure to memorize it. I will quiz you about "
        f"the {kind} afterwards.\n" + "\n".join(lines),
        f"What is the special magic {kind} for {key} mentioned in the provided text?",
        (value,),
        depth,
    )


def _needle_among_needles(
    rng: random.Random,
    kind: str,
    draw_key: Callable[[random.Random], str],
    draw_value: Callable[[random.Random], str],
    num_others: int,
) -> RulerText:
    # Keys and values have generators of their own, so that a longer text only has more of them.
    keys = _unique(random.Random(rng.getrandbits(64)), draw_key, num_others + 1)
    values = _unique(random.Random(rng.getrandbits(64)), draw_value, num_others + 1)
    others = [_needle(kind, key, value) for key, value in zip(keys[1:], values[1:], strict=True)]
    return _one_needle(rng, kind, keys[0], values[0], others)


def _needles_in_prose(rng: random.Random, needles: list[tuple[str, str]], asked: str, num_words: int) -> RulerText:
    answers = tuple(value for _, value in needles)
    shuffled = rng.sample(needles, len(needles))
    depths = sorted(rng.sample(range(_NUM_DEPTHS), len(needles)))
    sentences = re.split(r"(?<=[.!?]) ", " ".join(_prose(rng, num_words)))
    positions = [len(sentences) * depth // (_NUM_DEPTHS - 1) for depth in depths]
    for num_before, ((key, value), position) in enumerate(zip(shuffled, positions, strict=True)):
        sentences.insert(position + num_before, _needle("number", key, value))
    return RulerText(
        "Some special magic numbers are hidden within the following text. Make sure to memorize it. I will quiz you "
        "about the numbers afterwards.\n" + " ".join(sentences),
        f"What are all the special magic numbers for {asked} mentioned in the provided text?",
        answers,
    )


def _needle(kind: str, key: str, value: str) -> str:
    return f"One of the special magic {kind}s for {key} is: {value}."


@lru_cache(maxsize=1)
def _stories() -> tuple[list[str], list[int]]:
    """Return the words of the bundled stories, one story after the other, and where a sentence begins."""
    with gzip.open(_STORIES, "rt", encoding="utf-8") as lines:
        words = " ".join(json.loads(line)["text"] for line in lines).split()
    return words, [0, *(index for index, word in enumerate(words[:-1], start=1) if word.endswith((".", "!", "?")))]


def _prose(rng: random.Random, num_words: int) -> Iterable[str]:
    """Return words of the stories from some sentence on; after the last story comes the first."""
    words, begins = _stories()
    begin = rng.choice(begins)
    return (words[(begin + index) % len(words)] for index in range(num_words))


def _unique(rng: random.Random, draw: Callable[[random.Random], str], num: int) -> list[str]:
    """Draw until there are so many that differ, in the order of their first draws."""
    drawn: dict[str, None] = {}
    while len(drawn) < num:
        drawn[draw(rng)] = None
    return list(drawn)


def _key(rng: random.Random) -> str:
    return f"{rng.choice(_MANNERS)}-{rng.choice(_THINGS)}"


def _number(rng: random.Random) -> str:
    return str(rng.randrange(1_000_000, 10_000_000))


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    version = f"{digits[:12]}4{digits[13:16]}{'89ab'[int(digits[16], 16) % 4]}{digits[17:]}"
    return "-".join(version[begin:end] for begin, end in pairwise((0, 8, 12, 16, 20, 32)))


def _variable(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_uppercase, k=5))


def _word(rng: random.Random) -> str:
    """Make up a word of two syllables; all have six letters, so that none is a part of another."""
    return "".join(rng.choice("aeiou" if letter == "V" else "bdfgklmnprstvz") for letter in "CVCCVC")


def _coded_word(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=6))
