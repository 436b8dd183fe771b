"""The generic form of document question answering, one document with its questions per line; and SQuAD as articles.

A line is `{id, title, text, questions: [{question, answers, options?, label?, id?, length?, depth?}]}`; only `text` and
`questions` are required. A question without an id is called after its document and its place: `story-0`, `story-1`.
"""

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from lloco.tasks.row import Documents, Row
from lloco.tasks.sample import Sample


def read_document_qa(task: str, rows: Iterable[Row]) -> Iterator[Sample]:
    """Lines in the generic form."""
    documents = Documents()
    for row in rows:
        document_id = row.identifier("id") if row.has("id") else None
        title = row.text("title", may_be_blank=True) if row.has("title") else ""
        document = documents.document(row, row.text("text"), document_id=document_id, title=title)
        for number, question in enumerate(row.rows("questions")):
            options = question.texts("options")
            answers = question.texts("answers")
            measured = question if question.has("length") or question.has("depth") else row
            yield Sample(
                id=question.identifier("id") if question.has("id") else f"{document_id or document.id}-{number}",
                task=task,
                question=question.text("question"),
                document=document,
                references=answers,
                options=options,
                gold_letter=_gold_letter(question, options, answers),
                length=measured.whole_number("length") if measured.has("length") else None,
                depth=measured.number("depth") if measured.has("depth") else None,
            )


def letter_of(row: Row, number: int, options: tuple[str, ...]) -> str:
    """The letter of an option counted from 1. Raises DataError outside the options."""
    if not 1 <= number <= min(len(options), 26):
        raise row.error(f"the right option is number {number} (counted from 1), but there are {len(options)}")
    return string.ascii_uppercase[number - 1]


def _gold_letter(row: Row, options: tuple[str, ...], answers: tuple[str, ...]) -> str | None:
    """From `label` (a letter, or a number counted from 1), else from the option that an answer repeats."""
    if not options:
        return None
    repeated = {letter_of(row, number, options) for number, option in enumerate(options, start=1) if option in answers}
    if not row.has("label"):
        return repeated.pop() if len(repeated) == 1 else None
    label = row.fields["label"]
    if isinstance(label, str):
        letters = string.ascii_uppercase[: len(options)]
        if len(label) != 1 or label not in letters:
            raise row.error(f"`label` must be one of the letters {letters}, got {label[:40]!r}")
        letter = label
    else:
        letter = letter_of(row, row.whole_number("label"), options)
    if repeated and letter not in repeated:
        raise row.error(f"`label` says option {letter}, the answers repeat option {', '.join(sorted(repeated))}")
    return letter


def read_squad_articles(task: str, rows: Iterable[Row]) -> Iterator[Sample]:
    """Whole articles: generic lines, the official SQuAD 1.1 file, or the hub's rows of one question each."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    every = _chain(first, rows)
    if first.has("data"):
        every = (article for row in every for article in row.rows("data"))
        yield from read_document_qa(task, (_article_of_file(article) for article in every))
    elif first.has("context"):
        by_title = groupby(every, key=lambda row: row.text("title"))
        yield from read_document_qa(task, (_article_of_rows(title, list(group)) for title, group in by_title))
    else:
        yield from read_document_qa(task, every)


def _chain(first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rows


def _article_of_file(article: Row) -> Row:
    paragraphs = article.rows("paragraphs")
    asked = [question for paragraph in paragraphs for question in paragraph.rows("qas")]
    questions = [
        {
            "id": question.identifier("id"),
            "question": question.text("question"),
            "answers": _unique(answer.text("text") for answer in question.rows("answers")),
        }
        for question in asked
    ]
    return _article(
        article.text("title"), [paragraph.text("context") for paragraph in paragraphs], questions, article.where
    )


def _article_of_rows(title: str, rows: list[Row]) -> Row:
    questions = [
        {
            "id": row.identifier("id"),
            "question": row.text("question"),
            "answers": _unique(row.row("answers").texts("text")),
        }
        for row in rows
    ]
    return _article(title, [row.text("context") for row in rows], questions, rows[0].where)


def _article(title: str, contexts: list[str], questions: Sequence[Mapping[str, object]], where: str) -> Row:
    text = "\n\n".join(_unique(contexts))
    return Row({"id": f"squad_{title}", "title": title.replace("_", " "), "text": text, "questions": questions}, where)


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
