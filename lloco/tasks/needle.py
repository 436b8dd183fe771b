"""Needles: one random fact hidden in filler text, over a grid of lengths and depths, with a question for it.

Answers are drawn from two halves of one list, so a fact asked in the test was never an answer in training. Lengths are
in words unless a tokenizer's count is passed in; depth is the share of the filler before the needle, 0..1.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from lloco.documents.document import Document
from lloco.errors import DataError
from lloco.files.durable import write_durably
from lloco.tasks.sample import Sample

DEPTHS = tuple(round(step / 9, 4) for step in range(10))
_KEEPERS = (
    "Agnes", "Arthur", "Beatrice", "Benedict", "Clara", "Conrad", "Dorothy", "Edmund", "Esther", "Felix", "Gilbert",
    "Harriet", "Hugo", "Ida", "Jasper", "Leonora", "Magnus", "Matilda", "Nora", "Oscar", "Philippa", "Quentin",
    "Rosalind", "Silas", "Theodora", "Ursula", "Victor", "Winifred",
)  # fmt: skip
_QUALITIES = (
    "amber", "ancient", "bronze", "carved", "cracked", "crimson", "curved", "dusty", "faded", "gilded", "heavy",
    "hollow", "ivory", "knotted", "leather", "narrow", "painted", "pale", "polished", "rusty", "silver", "striped",
    "velvet", "woven",
)  # fmt: skip
_THINGS = (
    "anchor", "basket", "bell", "bracelet", "button", "candle", "compass", "feather", "flute", "hammer", "kettle",
    "key", "ladder", "lantern", "locket", "mirror", "needle", "pebble", "ring", "saddle", "shell", "spoon", "thimble",
    "whistle",
)  # fmt: skip
_FILLER = (
    "The path follows the river for a while and then turns away from it.",
    "In the morning the fields are wet, and by noon they are dry again.",
    "Two carts went by on the road, and neither of them stopped.",
    "The baker opens early because the mill hands start before dawn.",
    "Rain fell on the hills all week without reaching the valley.",
    "An old wall runs along the orchard, low enough to sit on.",
    "The clerk copied the figures into the book and put down the pen.",
    "Some of the windows face the square and some face the gardens.",
    "Boats are tied up at the landing until the wind drops.",
    "The teacher drew a map of the county on the blackboard.",
    "Nobody remembers who planted the row of limes behind the church.",
    "Bread was cheap that year, and coal was dear.",
    "The train was late, so the passengers walked up and down the platform.",
    "A dog slept in the doorway and let everybody step over it.",
    "The committee met on a Tuesday and agreed to meet again.",
    "Most of the houses in the lane have a green door.",
)


def build_needles(
    lengths: Sequence[int],
    depths: Sequence[float] = DEPTHS,
    *,
    filler: str | None = None,
    seed: int = 0,
    split: Literal["train", "test"] = "test",
    num_per_cell: int = 1,
    count: Callable[[str], int] = lambda text: len(text.split()),
) -> list[Sample]:
    """One sample per length, depth and repetition, in this order; the same arguments give the same samples.

    `filler` is cut into sentences, repeated when it is too short; by default sentences of our own. Documents are at
    most their length by `count`, which is applied to sentences. Raises DataError for impossible lengths or depths.
    """
    sentences = _shuffled_sentences(filler, seed)
    _check_grid(lengths, depths, num_per_cell)
    counts = [count(f" {sentence}") for sentence in sentences]
    facts = _facts(seed, split, " ".join(sentences).lower())
    samples = []
    for length in lengths:
        for depth in depths:
            for repetition in range(num_per_cell):
                keeper, answer = next(facts)
                fact = f"The secret treasure that {keeper} keeps is the {answer}."
                room = length - count(f" {fact}")
                text = _hide(fact, sentences, counts, room, depth)
                name = f"needle-{split}-{seed}-{length}-{depth:g}-{repetition}"
                samples.append(_sample(name, text, keeper, answer, length, depth))
    return samples


def write_needles(samples: Sequence[Sample], path: Path) -> None:
    """Write samples as generic JSON lines, which `load_samples("needle", path)` reads back."""
    lines = [
        {
            "id": sample.document.id,
            "text": sample.document.text,
            "length": sample.length,
            "depth": sample.depth,
            "questions": [{"id": sample.id, "question": sample.question, "answers": list(sample.references)}],
        }
        for sample in samples
    ]
    write_durably(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())


def _sample(name: str, text: str, keeper: str, answer: str, length: int, depth: float) -> Sample:
    return Sample(
        id=name,
        task="needle",
        question=f"What is the secret treasure that {keeper} keeps?",
        document=Document(id=name, text=text),
        references=(answer,),
        length=length,
        depth=depth,
    )


def _check_grid(lengths: Sequence[int], depths: Sequence[float], num_per_cell: int) -> None:
    if not lengths or min(lengths) < 32:
        raise DataError(f"needle lengths must be at least 32, got {list(lengths)}: a needle needs room around it")
    if not depths or min(depths) < 0 or max(depths) > 1:
        raise DataError(f"needle depths are shares from 0 to 1, got {list(depths)}")
    if num_per_cell < 1:
        raise DataError(f"there must be at least 1 needle per length and depth, got {num_per_cell}")


def _shuffled_sentences(filler: str | None, seed: int) -> list[str]:
    """Sentences of the filler: a given text keeps its order, ours are shuffled anew for every seed."""
    if filler is None:
        sentences = list(_FILLER)
        random.Random(f"filler {seed}").shuffle(sentences)
        return sentences
    sentences = [" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+", filler) if part.strip()]
    if not sentences:
        raise DataError("the filler text has nothing but white space: give text to hide needles in")
    return sentences


def _facts(seed: int, split: str, filler: str) -> Iterator[tuple[str, str]]:
    """Endless keepers and answers: train and test draw from different answers, none of which the filler contains."""
    answers = [f"{quality} {thing}" for quality in _QUALITIES for thing in _THINGS]
    random.Random("the two halves").shuffle(answers)
    half = len(answers) // 2
    mine = [answer for answer in (answers[:half] if split == "train" else answers[half:]) if answer not in filler]
    rng = random.Random(f"{split} {seed}")
    while True:
        yield rng.choice(_KEEPERS), rng.choice(mine)


def _hide(fact: str, sentences: list[str], counts: list[int], room: int, depth: float) -> str:
    """Fill the room with whole sentences and put the fact after the share `depth` of them."""
    chosen: list[str] = []
    while counts[len(chosen) % len(counts)] <= room:
        room -= counts[len(chosen) % len(counts)]
        chosen.append(sentences[len(chosen) % len(sentences)])
    index = round(depth * len(chosen))
    return " ".join([*chosen[:index], fact, *chosen[index:]])
