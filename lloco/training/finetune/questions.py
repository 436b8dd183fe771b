"""Question-answer data for finetuning: lines about a corpus's documents, or a task's own files, as examples.

A line is `{question, answer | answers, document | document_id, options?}`; the generic document-QA form and every
task's format bring their documents along. Multiple choice is learned as the letter of the right option.
"""

import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lloco.documents.document import Document
from lloco.errors import DataError
from lloco.files.strict_json import read_values
from lloco.prompts.template import Kind
from lloco.tasks.row import Row, as_row
from lloco.tasks.sample import Sample
from lloco.tasks.task import load_samples
from lloco.tasks.wording import kind_of
from lloco.training.finetune.example import Example


@dataclass(frozen=True, slots=True)
class FinetuneData:
    """Examples, the documents that came with them, and what they ask for."""

    examples: tuple[Example, ...]
    documents: tuple[Document, ...]
    """Documents that must be in the corpus; none where the lines are about documents that are there."""
    kind: Kind | None
    """What they all ask for, which chooses the packaged wording; None where they are of several kinds."""


def read_task_data(task: str, data: str, limit: int | None = None, split: str | None = "train") -> FinetuneData:
    """Read a task's questions from a file, or from one split of a folder or a hub id; None: the one it is scored on.

    Raises:
        DataError: another format, no question, or a question without an answer.
    """
    samples = load_samples(task, data, limit=limit, split=split)
    documents = {sample.document.id: sample.document for sample in samples}
    examples = [_example_of(sample, data) for sample in samples]
    return FinetuneData(
        tuple(examples), tuple(documents.values()), _same_kind([kind_of(sample.task, sample) for sample in samples])
    )


def read_question_lines(
    path: Path, document_ids: Callable[[], Sequence[str]], limit: int | None = None
) -> FinetuneData:
    """Read question-answer lines about documents of a corpus, whose ids are asked for, or generic document-QA lines.

    Raises:
        DataError: with the line, where it lacks something, or its document is not in the corpus.
    """
    rows = (as_row(value, where) for where, value in read_values(path))
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} holds no question-answer lines: add questions with their answers")
    if first.has("questions"):
        return read_task_data("jsonl", str(path), limit)
    known = set(document_ids())
    examples: list[Example] = []
    for row in chain([first], rows):
        if limit is not None and len(examples) == limit:
            break
        options = row.texts("options")
        answer = _answer_of(row)
        examples.append(
            Example(
                document_id=_document_of(row, known),
                question=row.text("question"),
                answer=_letter_of(answer, options, row.where) if options else answer,
                options=options,
            )
        )
    kinds: list[Kind] = ["multiple choice" if example.options else "short answer" for example in examples]
    return FinetuneData(tuple(examples), (), _same_kind(kinds))


def read_study_lines(path: Path, limit: int | None = None) -> FinetuneData:
    """Read what `lloco questions` wrote: questions with the passages that their answers stand in.

    Raises:
        DataError: with the line, where it is something else, or there is no question.
    """
    examples: list[Example] = []
    documents: list[Document] = []
    for row in (as_row(value, where) for where, value in read_values(path)):
        text = row.text("text")
        documents.append(Document(row.identifier("id"), text, row.text("title", may_be_blank=True)))
        for question in row.rows("questions"):
            start, end = _span_of(question, len(text))
            answer = _answer_of(question)
            examples.append(Example(documents[-1].id, question.text("question"), answer, passage=text[start:end]))
    if not examples:
        raise DataError(
            f"{path} must hold questions to study, got none: see `lloco questions` for what threw them away"
        )
    return FinetuneData(tuple(examples[:limit]), tuple(documents), "short answer")


def _span_of(row: Row, num_characters: int) -> tuple[int, int]:
    span = row.items("span")
    if (
        len(span) != 2
        or not all(isinstance(offset, int) for offset in span)
        or not 0 <= span[0] < span[1] <= num_characters
    ):
        raise row.error(f"`span` must be two characters of the text, got {span}: make the file with `lloco questions`")
    return span[0], span[1]


def _example_of(sample: Sample, data: str) -> Example:
    if sample.options:
        if sample.gold_letter is None:
            raise DataError(f"{data}: question {sample.id!r} does not say which option is right: add a label")
        return Example(sample.document.id, sample.question, sample.gold_letter, sample.options)
    if not sample.references:
        raise DataError(
            f"{data}: question {sample.id!r} has no answer to learn from: this looks like a split published without "
            "answers, give the training split"
        )
    return Example(sample.document.id, sample.question, sample.references[0])


def _same_kind(kinds: Sequence[Kind]) -> Kind | None:
    return kinds[0] if len(set(kinds)) == 1 else None


def _answer_of(row: Row) -> str:
    if row.has("answer"):
        return row.text("answer")
    answers = row.texts("answers")
    if not answers or not answers[0].strip():
        raise row.error('there must be a text in "answer", or a list of texts in "answers": add the answer to learn')
    return answers[0]


def _document_of(row: Row, known: set[str]) -> str:
    """Return the id of the line's document: named by it, or the only one there is."""
    named = next((row.identifier(name) for name in ("document", "document_id", "id") if row.has(name)), None)
    if named in known:
        return str(named)
    is_named = row.has("document") or row.has("document_id")
    if not is_named and len(known) == 1:
        return next(iter(known))
    some = ", ".join(_some(sorted(known))) or "none"
    named_id = "none" if named is None else repr(named)
    raise row.error(
        f'"document" must be the id of a document of the corpus, got {named_id}; there are {some}: `lloco compress` '
        "the document first, or correct the id"
    )


def _some(ids: Sequence[str]) -> Iterator[str]:
    yield from map(repr, ids[:3])
    if len(ids) > 3:
        yield f"{len(ids) - 3} more"


def _letter_of(answer: str, options: Sequence[str], where: str) -> str:
    letters = string.ascii_uppercase[: len(options)]
    if answer in options[: len(letters)]:
        return letters[list(options).index(answer)]
    if len(answer) == 1 and answer in letters:
        return answer
    raise DataError(f"{where}: the answer must be one of the options, or one of the letters {letters}, got {answer!r}")
