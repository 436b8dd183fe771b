"""What must not be trained on: every run of 13 words in the texts and questions of evaluation files.

Words are letters and digits in lower case, so that punctuation and line breaks hide nothing. Thirteen is GPT-3's
(arXiv 2005.14165, appendix C). A text or question of fewer words leaves no trace here.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from training_text import TrainingText

from lloco.errors import DataError
from lloco.files.strict_json import read_values
from lloco.tasks.task import load_samples

RUN_WORDS = 13
_WORD = re.compile(r"[^\W_]+")


class HeldOut:
    """The runs of words of all evaluation files."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        # The digests are drawn anew in every process; what is in the set is not.
        self._runs = {run for text in texts for run in _runs(text)}

    def __len__(self) -> int:
        return len(self._runs)

    def is_shared_by(self, text: TrainingText) -> bool:
        """Whether the text, a question or an answer has a run of 13 words that is held out."""
        parts = (text.text, *(part for question, answers in text.questions for part in (question, *answers)))
        return any(run in self._runs for part in parts for run in _runs(part))


def _runs(text: str) -> Iterator[int]:
    words = _WORD.findall(text.lower())
    return (hash(tuple(words[start : start + RUN_WORDS])) for start in range(len(words) - RUN_WORDS + 1))


def read_held_out(files: Iterable[Path]) -> HeldOut:
    """Read evaluation files of any task's format. Raises DataError where one is not."""
    return HeldOut(text for file in files for text in _texts(file))


def _texts(file: Path) -> Iterator[str]:
    samples = load_samples(_task_of(file), file)
    yield from dict.fromkeys(sample.document.text for sample in samples)
    for sample in samples:
        yield from (sample.question, *sample.references)


def _task_of(file: Path) -> str:
    """Tell the format by the fields of the first row."""
    for where, row in islice(read_values(file), 1):
        fields = row if isinstance(row, dict) else {}
        if "article" in fields:
            return "quality"
        if "input" in fields:
            return "longbench" if "context" in fields else "qasper"
        if "supporting_facts" in fields or isinstance(fields.get("context"), (list, dict)):
            return "hotpotqa"
        if "data" in fields or "context" in fields:
            return "squad_articles"
        if "text" in fields:
            return "jsonl"
        raise DataError(
            f"{where}: an evaluation file was wanted for --held-out, a row with {sorted(fields) or 'no fields'} came: "
            "give document-QA lines {text, questions}, or a file of QuALITY, SCROLLS, HotpotQA, LongBench or SQuAD"
        )
    raise DataError(f"{file}: an evaluation file was wanted for --held-out, it has no row: check the file")
