"""The public data sets, by hub id: licence, size, how much of each is taken, and how its rows become training texts.

Does not know where rows come from (`source_rows`). Ids, columns and sizes are those of the data sets' pages.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from training_text import TrainingText, pieces

from lloco.tasks.row import Row

ReadRows = Callable[[str, Iterable[Row]], Iterator[TrainingText]]
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9_]*>")
_PARAGRAPH_END = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class PublicSource:
    """One data set on the Hugging Face Hub."""

    name: str
    hub_id: str
    licence: str
    size: str
    """Rows of the training split, and what they take."""
    read: ReadRows
    config: str | None = None
    revision: str | None = None
    archive: str | None = None
    """Zip file of sets that were published with a loading script, which `datasets` 4 and later no longer runs."""
    member: str = ""
    """File inside it, a pattern over `{split}`."""
    has_questions: bool = False
    limit: int | None = None
    """Texts, or pieces of texts, that are taken at most."""
    is_default: bool = True


def _asked(
    source: str,
    rows: Iterable[Row],
    *,
    text: str,
    title: str | None,
    answers: Callable[[Row], Iterable[str]],
    clean: Callable[[str], str] = str.strip,
) -> Iterator[TrainingText]:
    """Gather the rows, of one question each, that are about the same text; in the order in which texts first come."""
    titles: dict[str, str] = {}
    asked: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in rows:
        passage = clean(row.text(text))
        titles.setdefault(passage, row.text(title, may_be_blank=True).replace("_", " ") if title else "")
        accepted = tuple(dict.fromkeys(answer.strip() for answer in answers(row) if answer.strip()))
        if accepted:
            asked.setdefault(passage, {}).setdefault(row.text("question").strip(), accepted)
    for passage, questions in asked.items():
        yield TrainingText(source, titles[passage], passage, tuple(questions.items()))


def _plain(
    source: str,
    rows: Iterable[Row],
    *,
    text: str,
    title: str | None = None,
    clean: Callable[[str], str] = str.strip,
) -> Iterator[TrainingText]:
    """Cut each row's text into pieces."""
    for row in rows:
        name = row.text(title, may_be_blank=True) if title else ""
        for piece in pieces(clean(row.text(text, may_be_blank=True))):
            yield TrainingText(source, name, piece)


def _meetings(source: str, rows: Iterable[Row]) -> Iterator[TrainingText]:
    """SCROLLS rows are a question, an empty line and the transcript: each transcript once, without the questions."""
    seen: set[str] = set()
    for row in rows:
        transcript = row.text("input").lstrip().partition("\n\n")[2].strip()
        if transcript not in seen:
            seen.add(transcript)
            yield from (TrainingText(source, "", piece) for piece in pieces(transcript))


def _spans(row: Row) -> Iterable[str]:
    return row.row("answers").texts("text")


def _without_tags(text: str) -> str:
    return " ".join(_TAG.sub(" ", text).split())


def _book(text: str) -> str:
    """Undo the line breaks inside paragraphs, and drop the paragraphs that are about the edition."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in _PARAGRAPH_END.split(text.replace("\r\n", "\n")))
    return "\n".join(paragraph for paragraph in paragraphs if paragraph and "Gutenberg" not in paragraph)


_ALL = (
    PublicSource(
        "squad",
        "rajpurkar/squad",
        "CC BY-SA 4.0",
        "87,599 questions on 18,896 paragraphs, 14 MB",
        partial(_asked, text="context", title="title", answers=_spans),
        config="plain_text",
        has_questions=True,
    ),
    PublicSource(
        "adversarial_qa",
        "UCLNLP/adversarial_qa",
        "CC BY-SA",
        "30,000 questions on paragraphs of SQuAD",
        partial(_asked, text="context", title="title", answers=_spans),
        config="adversarialQA",
        has_questions=True,
    ),
    PublicSource(
        "nq",
        "lucadiliello/naturalquestionsshortqa",
        "CC BY-SA 3.0 (Natural Questions)",
        "104,071 questions, 62 MB",
        partial(_asked, text="context", title=None, answers=lambda row: row.texts("answers"), clean=_without_tags),
        has_questions=True,
    ),
    PublicSource(
        "fairytaleqa",
        "GEM/FairytaleQA",
        "Apache-2.0 (FairytaleQA), the stories public domain",
        "8,548 questions on sections of 232 stories, 11 MB",
        partial(_asked, text="content", title="story_name", answers=lambda row: row.texts("answer")),
        config="default",
        revision="refs/convert/parquet",
        has_questions=True,
    ),
    PublicSource(
        "wikipedia",
        "wikimedia/wikipedia",
        "CC BY-SA 3.0 and GFDL",
        "6,407,814 articles, 12 GB",
        partial(_plain, text="text", title="title"),
        config="20231101.en",
        limit=200_000,
    ),
    PublicSource(
        "novels",
        "sedthh/gutenberg_english",
        "public domain in the USA",
        "48,284 books, 11 GB",
        partial(_plain, text="TEXT", clean=_book),
        limit=30_000,
    ),
    PublicSource(
        "meetings",
        "tau/scrolls",
        "MIT (QMSum)",
        "1,257 rows on 162 meetings, 27 MB",
        _meetings,
        archive="qmsum.zip",
        member="qmsum/{split}.jsonl",
    ),
    PublicSource(
        "news",
        "abisee/cnn_dailymail",
        "the articles are CNN's and Daily Mail's",
        "287,113 articles, 0.8 GB",
        partial(_plain, text="article"),
        config="3.0.0",
        limit=40_000,
        is_default=False,
    ),
)
SOURCES = {source.name: source for source in _ALL}
