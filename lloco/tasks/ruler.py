"""RULER (arXiv 2404.06654): questions about generated texts of one length, for eight of its subtasks.

As in RULER, a text is filled until it, its question and the longest answer have as many tokens as were asked for. The
texts are `ruler_texts`'. Counts tokens with what is passed in, so it knows no tokenizer.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lloco.documents.document import Document
from lloco.errors import DataError
from lloco.files.durable import write_durably
from lloco.tasks import ruler_texts
from lloco.tasks.document_qa import read_document_qa
from lloco.tasks.row import Row
from lloco.tasks.ruler_texts import RulerText
from lloco.tasks.sample import Sample


@dataclass(frozen=True, slots=True)
class Subtask:
    """One of RULER's tasks: the most tokens an answer may have, and its text of at least so many units."""

    max_tokens: int
    make: Callable[[random.Random, int, int], RulerText]
    min_units: int


SUBTASKS = {
    "niah_single_1": Subtask(128, ruler_texts.needle_in_noise, 1),
    "niah_multikey_2": Subtask(128, ruler_texts.number_among_needles, 1),
    "niah_multikey_3": Subtask(128, ruler_texts.uuid_among_needles, 1),
    "niah_multivalue": Subtask(128, ruler_texts.values_in_prose, 40),
    "niah_multiquery": Subtask(128, ruler_texts.keys_in_prose, 40),
    "vt": Subtask(30, ruler_texts.variable_chain, 5),
    "cwe": Subtask(120, ruler_texts.common_words, 10),
    # With fewer words the third and the fourth of them could be equally frequent.
    "fwe": Subtask(50, ruler_texts.frequent_words, 84),
}


@dataclass(frozen=True, slots=True)
class RulerOptions:
    """Which questions are generated."""

    subtasks: tuple[str, ...] = tuple(SUBTASKS)
    """Names of RULER's tasks, in the order of the questions."""
    length: int = 4096
    """Tokens that text, question and the longest answer have at most."""
    num_questions: int = 20
    """Questions of each subtask."""
    seed: int = 0
    """Seed of everything that is drawn."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.subtasks if name not in SUBTASKS]:
            raise DataError(f"there is no subtask {unknown[0]!r} of task ruler, choose some of {', '.join(SUBTASKS)}")
        if not self.subtasks or len(set(self.subtasks)) != len(self.subtasks):
            raise DataError(f"subtasks must be named once each, got {', '.join(self.subtasks) or 'none'}")
        if self.num_questions < 1:
            raise DataError(f"there must be at least 1 question per subtask, got {self.num_questions}")


def build_ruler(options: RulerOptions, count: Callable[[Sample], int]) -> list[Sample]:
    """Generate the questions, all of the first subtask first; the same options and counts give the same ones.

    `count` says how many tokens a sample's document and question have, with the wording around them. No sample has
    more than `options.length` with its answer, and one unit more, such as one more needle, would not fit.

    Raises:
        DataError: not even the shortest text of a subtask fits.
    """
    samples: list[Sample] = []
    for name in options.subtasks:
        num_units = SUBTASKS[name].min_units
        for index in range(options.num_questions):
            question = _Question(options, name, index, count)
            num_units = question.most_units(num_units)
            if num_units < SUBTASKS[name].min_units:
                raise _too_short(options, count)
            samples.append(question.about(num_units))
    return samples


def _too_short(options: RulerOptions, count: Callable[[Sample], int]) -> DataError:
    """Return the error that names the subtask that needs the longest text, and how long that is."""
    needed = {
        name: max(_Question(options, name, index, count).least_len for index in range(options.num_questions))
        for name in options.subtasks
    }
    longest = max(needed, key=lambda name: needed[name])
    return DataError(f"length must be at least {needed[longest]:,} for subtask {longest}, got {options.length:,}")


def write_ruler(samples: Sequence[Sample], path: Path) -> None:
    """Write samples as JSON lines, which `load_samples("ruler", path)` reads back."""
    lines = [
        {
            "id": sample.document.id,
            "text": sample.document.text,
            "subtask": sample.dataset,
            "length": sample.length,
            "depth": sample.depth,
            "questions": [{"id": sample.id, "question": sample.question, "answers": list(sample.references)}],
        }
        for sample in samples
    ]
    write_durably(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())


def read_ruler(task: str, rows: Iterable[Row]) -> Iterator[Sample]:
    """Read lines in the generic form that also have their `subtask`."""
    for row in rows:
        subtask = row.text("subtask")
        if subtask not in SUBTASKS:
            raise row.error(f"there is no subtask {subtask!r}, these are: {', '.join(SUBTASKS)}")
        yield from (replace(sample, dataset=subtask) for sample in read_document_qa(task, [row]))


@dataclass(frozen=True, slots=True)
class _Question:
    """One question of a subtask, about a text whose length is to be chosen."""

    options: RulerOptions
    subtask: str
    index: int
    count: Callable[[Sample], int]

    def about(self, num_units: int) -> Sample:
        """Return the question about a text of so many units."""
        options = self.options
        name = f"{self.subtask}-{options.length}-{options.seed}-{self.index}"
        made = SUBTASKS[self.subtask].make(random.Random(f"ruler {name}"), num_units, options.length)
        return Sample(
            id=name,
            task="ruler",
            question=made.question,
            document=Document(id=f"ruler-{name}", text=made.text),
            references=made.answers,
            dataset=self.subtask,
            length=options.length,
            depth=made.depth,
        )

    def most_units(self, guess: int) -> int:
        """Return the number of units that fit where one more does not, looking around the guess first.

        It is less than the subtask's least number where not even that fits.
        """
        too_few = SUBTASKS[self.subtask].min_units - 1
        fitting, too_many, step = guess, guess + 1, 1
        if self._fits(guess):
            while self._fits(too_many):
                fitting, too_many, step = too_many, too_many + 2 * step, 2 * step
        else:
            fitting, too_many = max(guess - 1, too_few), guess
            while fitting > too_few and not self._fits(fitting):
                fitting, too_many, step = max(fitting - 2 * step, too_few), fitting, 2 * step
        while too_many - fitting > 1:
            middle = (fitting + too_many) // 2
            fitting, too_many = (middle, too_many) if self._fits(middle) else (fitting, middle)
        return fitting

    @property
    def least_len(self) -> int:
        """Tokens of the question with its shortest text and longest answer."""
        return self._len(SUBTASKS[self.subtask].min_units)

    def _fits(self, num_units: int) -> bool:
        return self._len(num_units) <= self.options.length

    def _len(self, num_units: int) -> int:
        return self.count(self.about(num_units)) + SUBTASKS[self.subtask].max_tokens
