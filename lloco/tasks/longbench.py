"""LongBench (arXiv 2308.14508): its nine English sets with reference answers, their metrics and answer lengths."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lloco.tasks.row import Documents, Row
from lloco.tasks.sample import Sample


@dataclass(frozen=True, slots=True)
class Dataset:
    """One LongBench set: its metric, the most tokens an answer may have, and our wording where rows ask nothing."""

    metric: str
    max_tokens: int
    question: str = ""


DATASETS = {
    "narrativeqa": Dataset("longbench_f1", 128),
    "qasper": Dataset("longbench_f1", 128),
    "multifieldqa_en": Dataset("longbench_f1", 64),
    "hotpotqa": Dataset("longbench_f1", 32),
    "2wikimqa": Dataset("longbench_f1", 32),
    "musique": Dataset("longbench_f1", 32),
    "gov_report": Dataset("longbench_rouge_l", 512, "Write a one-page summary of the report."),
    "qmsum": Dataset("longbench_rouge_l", 512),
    "multi_news": Dataset("longbench_rouge_l", 512, "Write a one-page summary of all the news."),
}


def read_longbench(task: str, rows: Iterable[Row]) -> Iterator[Sample]:
    """Rows with `input`, `context`, `answers`, `dataset` and `_id`."""
    documents = Documents()
    for row in rows:
        name = row.text("dataset")
        if name not in DATASETS:
            raise row.error(f"LongBench set {name!r} is not scored here, these are: {', '.join(DATASETS)}")
        question = row.text("input", may_be_blank=True) if row.has("input") else ""
        yield Sample(
            id=row.identifier("_id"),
            task=task,
            question=question.strip() or DATASETS[name].question or row.text("input"),
            document=documents.document(row, row.text("context")),
            references=row.texts("answers"),
            dataset=name,
        )
