"""The tasks: what each is scored with, how long its answers may be, where its data is published, how it is read.

Knows no model and no prompt: how a question becomes model input is the template's business.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from lloco.errors import DataError
from lloco.tasks.document_qa import read_document_qa, read_squad_articles
from lloco.tasks.longbench import DATASETS, read_longbench
from lloco.tasks.readers import read_hotpot, read_quality, read_scrolls
from lloco.tasks.row import Row
from lloco.tasks.ruler import SUBTASKS, read_ruler
from lloco.tasks.sample import Sample
from lloco.tasks.sources import Published, read_rows

_ANSWER = ("answer_f1", "exact_match")
_ROUGE = ("rouge1", "rouge2", "rougeL", "rouge_geometric_mean")


@dataclass(frozen=True, slots=True)
class Task:
    """One benchmark: its metrics and rules, and the reader of its format.

    `on_missing` says what a sample without a prediction is: an error, or a score of 0 (HotpotQA's and SQuAD's official
    scripts); `on_extra` what a prediction without a sample is.
    """

    name: str
    metrics: tuple[str, ...]
    max_tokens: int
    read: Callable[[str, Iterable[Row]], Iterator[Sample]]
    published: Published | None = None
    on_missing: Literal["error", "zero"] = "error"
    on_extra: Literal["error", "ignore"] = "ignore"

    def answer_tokens(self, sample: Sample) -> int:
        """The most tokens an answer to this sample may have; LongBench fixes it per set, RULER per subtask."""
        if self.name == "ruler" and sample.dataset in SUBTASKS:
            return SUBTASKS[sample.dataset].max_tokens
        return DATASETS[sample.dataset].max_tokens if sample.dataset in DATASETS else self.max_tokens


def _scrolls(name: str, config: str, metrics: tuple[str, ...], max_tokens: int) -> Task:
    published = Published("tau/scrolls", (config,), "validation", "{config}.zip", "{config}/{split}.jsonl")
    return Task(name, metrics, max_tokens, read_scrolls, published, on_extra="error")


_LONGBENCH = Published("THUDM/LongBench", tuple(DATASETS), "test", "data.zip", "data/{config}.jsonl")
_ALL = (
    Task(
        "quality", ("accuracy", "accuracy_lloco"), 16, read_quality, Published("emozilla/quality"),
    ),
    _scrolls("qmsum", "qmsum", _ROUGE, 256),
    _scrolls("qasper", "qasper", _ANSWER, 128),
    _scrolls("narrativeqa", "narrative_qa", _ANSWER, 128),
    Task(
        "hotpotqa", ("hotpot_em", "hotpot_f1", "hotpot_joint_f1", "hotpot_f1_lloco"), 32, read_hotpot,
        Published("hotpotqa/hotpot_qa", ("distractor",)), on_missing="zero",
    ),
    Task("longbench", ("longbench_f1", "longbench_rouge_l"), 128, read_longbench, _LONGBENCH),
    Task("needle", ("needle",), 32, read_document_qa),
    Task("ruler", ("string_match_all",), 128, read_ruler),
    Task(
        "squad_articles", _ANSWER, 32, read_squad_articles, Published("rajpurkar/squad", ("plain_text",)),
        on_missing="zero",
    ),
    Task("fairytaleqa", (*_ANSWER, "rougeL"), 64, read_document_qa),
    Task("jsonl", (*_ANSWER, *_ROUGE, "accuracy"), 128, read_document_qa),
)  # fmt: skip
_BY_NAME = {task.name: task for task in _ALL}
TASKS: tuple[str, ...] = tuple(_BY_NAME)


def find_task(name: str) -> Task:
    """The task of this name. Raises DataError with the names there are."""
    if name not in _BY_NAME:
        raise DataError(f"there is no task {name!r}: choose one of {', '.join(TASKS)}")
    return _BY_NAME[name]


def load_samples(task: str, data: str | Path, *, limit: int | None = None, split: str | None = None) -> list[Sample]:
    """Read the samples of a task from a file, a folder or a hub id, in the order of the data; `limit` keeps the first.

    `split` picks among a folder's files or a published set's splits; by default the one that the task is scored on.
    Raises DataError, with file and line, when the data has another format, an id comes twice, or there is no sample.
    """
    found = find_task(task)
    if limit is not None and limit < 1:
        raise DataError(f"limit must be at least 1 sample, got {limit}: leave it out to read all samples")
    wanted_split = split or (found.published.split if found.published else "validation")
    rows = read_rows(data, found.published, wanted_split)
    samples: dict[str, Sample] = {}
    for sample in islice(found.read(task, rows), limit):
        if sample.id in samples:
            raise DataError(f"{data}: sample id {sample.id!r} occurs twice: give every question its own id")
        samples[sample.id] = sample
    if not samples:
        raise DataError(f"{data} has no question of task {task}: check the file")
    return list(samples.values())
