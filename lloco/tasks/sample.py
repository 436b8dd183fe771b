"""A sample: one question of a task, about one document, with what its benchmark accepts as answers."""

from dataclasses import dataclass

from lloco.documents.document import Document


@dataclass(frozen=True, slots=True)
class Sample:
    """One question; samples about the same text share one `Document`, so that it is compressed once.

    `references` is empty where a split is published without answers. `dataset` is set where a task holds several
    (LongBench), `length` (tokens or words, as the data says) and `depth` (0..1) by needle tests.
    """

    id: str
    task: str
    question: str
    document: Document
    references: tuple[str, ...]
    options: tuple[str, ...] = ()
    gold_letter: str | None = None
    is_difficult: bool = False
    dataset: str = ""
    length: int | None = None
    depth: float | None = None
    supporting_facts: tuple[tuple[str, int], ...] = ()
