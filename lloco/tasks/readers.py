"""Official file formats of QuALITY, SCROLLS and HotpotQA, raw and as published on the Hub: rows in, samples out.

QuALITY: arXiv 2112.08608. SCROLLS: arXiv 2201.03533. HotpotQA: arXiv 1809.09600.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lloco.documents.document import Document
from lloco.tasks.document_qa import letter_of
from lloco.tasks.row import Documents, Row
from lloco.tasks.sample import Sample


def read_quality(task: str, rows: Iterable[Row]) -> Iterator[Sample]:
    """QuALITY v1.0.1 lines (`gold_label` counts from 1), or the hub's row per question (`answer` counts from 0)."""
    documents = Documents()
    num_asked: Counter[str] = Counter()
    for row in rows:
        is_raw = row.has("questions")
        text = row.text("article")
        article_id = row.identifier("article_id") if row.has("article_id") else None
        is_free = article_id is not None and documents.text_of.get(article_id, text) == text
        document = documents.document(
            row,
            text,
            document_id=article_id if is_free else None,
            title=row.text("title", may_be_blank=True) if row.has("title") else "",
        )
        for question in row.rows("questions") if is_raw else [row]:
            named = question.has("question_unique_id")
            name = question.identifier("question_unique_id") if named else f"{document.id}-{num_asked[document.id]}"
            num_asked[document.id] += 1
            yield _quality_sample(task, name, question, document, "gold_label" if is_raw else "answer")


def _quality_sample(task: str, name: str, question: Row, document: Document, gold_field: str) -> Sample:
    options = question.texts("options")
    if len(options) < 2:
        raise question.error(f"`options` must hold the answers to choose from, got {len(options)}")
    gold: int | None = None
    if question.has(gold_field):
        gold = question.whole_number(gold_field) + (0 if gold_field == "gold_label" else 1)
    return Sample(
        id=name,
        task=task,
        question=question.text("question"),
        document=document,
        references=() if gold is None else (options[ord(letter_of(question, gold, options)) - ord("A")],),
        options=options,
        gold_letter=None if gold is None else letter_of(question, gold, options),
        is_difficult=_is_difficult(question, "difficult" if question.has("difficult") else "hard"),
    )


def _is_difficult(question: Row, name: str) -> bool:
    """The raw lines say 0 or 1 in `difficult`, the hub's rows false or true in `hard`; absent means not known to be."""
    value = question.fields.get(name) or 0
    if value not in (0, 1):
        raise question.error(f"`{name}` must be 0 or 1, got {type(value).__name__} {str(value)[:40]!r}")
    return bool(value)


@dataclass(slots=True)
class _Asked:
    row: Row
    question: str
    document: Document
    references: list[str]


def read_scrolls(task: str, rows: Iterable[Row]) -> Iterator[Sample]:
    """Rows `id`, `input` (query, blank line, document), `output`; rows with one id are references of one sample."""
    documents = Documents()
    asked: dict[str, _Asked] = {}
    for row in rows:
        name = row.identifier("id")
        query, blank_line, text = row.text("input").lstrip().partition("\n\n")
        if not blank_line or not text.strip():
            raise row.error(
                "`input` must hold a query, a blank line and a document, found no blank line with text after it"
            )
        document = documents.document(row, text)
        question = asked.setdefault(name, _Asked(row, query.strip(), document, []))
        if question.question != query.strip() or question.document is not document:
            raise row.error(f"id {name!r} asks something else than at {question.row.where}: one id is one question")
        if row.has("output"):
            question.references.append(row.text("output", may_be_blank=True))
    for name, value in asked.items():
        yield Sample(name, task, value.question, value.document, tuple(value.references))


def read_hotpot(task: str, rows: Iterable[Row]) -> Iterator[Sample]:
    """Raw rows (`_id`, lists of pairs) or the hub's (`id`, dicts of lists); paragraphs are joined into one document."""
    documents = Documents()
    for row in rows:
        is_raw = row.has("_id")
        name = row.identifier("_id" if is_raw else "id")
        paragraphs = _pairs(row, "context", "title", "sentences")
        text = "\n\n".join(f"{title}\n{''.join(_sentences(row, part))}" for title, part in paragraphs)
        facts = _pairs(row, "supporting_facts", "title", "sent_id") if row.has("supporting_facts") else []
        yield Sample(
            id=name,
            task=task,
            question=row.text("question"),
            document=documents.document(row, text),
            references=(row.text("answer"),) if row.has("answer") else (),
            supporting_facts=tuple((title, _sentence_number(row, number)) for title, number in facts),
        )


def _pairs(row: Row, name: str, first: str, second: str) -> list[tuple[str, object]]:
    """Pairs from `[[a, b], ...]` or from `{first: [a, ...], second: [b, ...]}`."""
    value = row.fields.get(name)
    if isinstance(value, dict):
        columns = row.row(name)
        titles, others = columns.texts(first), columns.items(second)
        if len(titles) != len(others):
            raise row.error(f"`{name}` has {len(titles)} of {first} but {len(others)} of {second}")
        return list(zip(titles, others, strict=True))
    pairs = row.items(name)
    if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
        raise row.error(f"`{name}` must hold pairs [{first}, {second}]: is this the format of the task?")
    return [(pair[0], pair[1]) for pair in pairs]


def _sentences(row: Row, value: object) -> tuple[str, ...]:
    return Row({"sentences": value}, row.where).texts("sentences")


def _sentence_number(row: Row, value: object) -> int:
    return Row({"supporting_facts": value}, row.where).whole_number("supporting_facts")
