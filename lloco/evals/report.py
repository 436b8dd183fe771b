"""One self-contained HTML page about results: what was found, in which numbers, and every question to look at.

The page's layout is `report.html.j2`; here is only what it shows. A page stays small: it shows so many questions, and
so much of each text, and says of how many.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lloco.documents.document import Document
from lloco.errors import DataError
from lloco.evals.mode import ADAPTER_SUFFIX
from lloco.evals.plots import NeedleGrid, needle_grids, point_of, quality_plot, rows_of_runs
from lloco.evals.result_row import ResultRow
from lloco.evals.results import ModeResult, Results, score_of
from lloco.evals.run.log import Prediction
from lloco.evals.scorer import Score
from lloco.report.page import described, render_page, write_page
from lloco.report.plot import Colour, Plot, colour_of
from lloco.tasks.sample import Sample

MAX_QUESTIONS = 200
MAX_CHARS = 600_000
"""Of all questions, options, references and answers together."""
MAX_ANSWER_CHARS = 2000
MAX_DOCUMENTS = 100
MAX_DOCUMENT_CHARS = 3000


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of the plot; numbers are scores, and so shares of its width: both are 0..100."""

    mode: str
    colour: Colour
    width: float
    error_left: float
    error_width: float
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A mode's answer to a question."""

    mode: str
    text: str
    score: float | None
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what was asked for and what each mode answered."""

    id: str
    document: str
    document_index: int
    """Of its document among those shown."""
    question: str
    options: tuple[str, ...]
    references: tuple[str, ...]
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class DocumentText:
    """A document that questions shown are about, or its beginning."""

    name: str
    text: str
    num_questions: int


@dataclass(frozen=True, slots=True)
class Section:
    """All that the page shows of one task."""

    results: Results
    headline: str
    bars: tuple[Bar, ...]
    rows: list[tuple[str, ResultRow]]
    metrics: tuple[str, ...]
    """Columns of the table beside the main metric."""
    zero_metrics: tuple[str, ...]
    """Left out of the table: 0 in every row."""
    quality: Plot
    grids: tuple[NeedleGrid, ...]
    questions: tuple[Question, ...]
    documents: tuple[DocumentText, ...]
    compared: tuple[str, ...]
    """Modes that the filters offer first."""
    options: list[tuple[str, str]]


def write_report(results: Sequence[Results], path: Path, *, title: str = "lloco: results", command: str = "") -> None:
    """Write the page; `command` is what a reader runs to make it again."""
    write_page(path, render_report(results, title=title, command=command))


def render_report(results: Sequence[Results], *, title: str = "lloco: results", command: str = "") -> str:
    """Return the page's HTML.

    Raises:
        DataError: there are no results to show.
    """
    if not results:
        raise DataError("there are no results to report: evaluate a task first")
    sections = [_section(result) for result in results]
    return render_page("evals/report.html.j2", title=title, command=command, sections=sections)


def headline(results: Results) -> str:
    """Say in a sentence what reading vectors cost and gained, or what was measured where no vectors were read."""
    row = _headline_row(results)
    metric = results.main_metric
    what = (
        f"{metric.replace('_', ' ')} {row.value(metric)} on {row.scores.num_samples[metric]} questions of "
        f"{results.task}"
    )
    if row.compression_ratio is None:
        return f"Mode {row.mode} scores {what}."
    suffix = ADAPTER_SUFFIX if row.mode.endswith(ADAPTER_SUFFIX) else ""
    alike = _others(results, suffix)
    plain = _others(results, "") if suffix else []
    reader = " with its adapter" if suffix else " without an adapter"
    end = f" Without the adapter: {', '.join(plain)}." if plain else ""
    return (
        f"Reading {row.virtual_tokens:,.0f} virtual tokens in place of {row.document_tokens:,.0f} document tokens "
        f"({row.compression_ratio:.1f} times fewer){_cut_text(row)}, the model{reader} scores {what}"
        f"{': ' + ', '.join(alike) if alike else ''}.{end}"
    )


_READ = {
    "compressed": "the virtual tokens",
    "compressed_head": "the first virtual tokens",
    "hybrid": "virtual tokens and passages",
    "full": "the full text",
    "retrieval": "retrieved passages",
    "truncated": "truncated text",
    "none": "no document at all",
}


def _others(results: Results, suffix: str) -> list[str]:
    """Say what the rows beside the headline's score that have this suffix."""
    named = ((results.row(f"{mode}{suffix}"), read) for mode, read in _READ.items())
    headed = _headline_row(results)
    return [
        f"{row.value(results.main_metric)} with {read}{_cut_text(row)}"
        for row, read in named
        if row is not None and row is not headed
    ]


def _cut_text(row: ModeResult) -> str:
    return f" (cut to what fits in {row.num_cut:,} of {row.scores.n:,} questions)" if row.num_cut else ""


def _headline_row(results: Results) -> ModeResult:
    return results.row(f"compressed{ADAPTER_SUFFIX}") or results.row("compressed") or results.rows[0]


def _compared(results: Results) -> tuple[str, ...]:
    """Return the mode of the headline and what it is to be as good as."""
    first = _headline_row(results).mode
    others = [row.mode for row in results.rows if row.mode != first]
    texts = [f"full{ADAPTER_SUFFIX}", "full"] if first.endswith(ADAPTER_SUFFIX) else ["full"]
    return (first, next(text for text in [*texts, *others] if text in others)) if others else (first,)


def _section(results: Results) -> Section:
    questions, rows = _questions(results), rows_of_runs(results)
    others = results.metrics[1:]
    sets = results.metric_of_set.values()
    zeros = tuple(name for name in others if name not in sets and not any(row.metrics.get(name) for _, row in rows))
    about = {**results.options, **results.versions}
    return Section(
        results=results,
        headline=headline(results),
        bars=_bars(results),
        rows=rows,
        metrics=tuple(name for name in others if name not in zeros),
        zero_metrics=zeros,
        quality=quality_plot(results),
        grids=tuple(needle_grids(results)),
        questions=questions,
        documents=_documents(results.samples[: len(questions)]),
        compared=_compared(results),
        options=described({name: value for name, value in about.items() if name != "command"}),
    )


def _bars(results: Results) -> tuple[Bar, ...]:
    metric = results.main_metric
    bars = []
    for row in results.rows:
        if metric in row.scores.metrics:
            point = point_of(row.means(), metric)
            bars.append(
                Bar(
                    mode=row.mode,
                    colour=colour_of(row.mode),
                    width=round(point.y, 2),
                    error_left=round(point.low, 2),
                    error_width=round(point.high - point.low, 2),
                    value=row.value(metric),
                    note=_reading_note(row),
                )
            )
    return tuple(bars)


def _reading_note(row: ModeResult) -> str:
    if row.virtual_tokens:
        return f"reads {row.virtual_tokens:,.0f} virtual tokens"
    return f"reads {row.context_tokens:,.0f} tokens" if row.context_tokens else "reads no document"


def _questions(results: Results) -> tuple[Question, ...]:
    """Return the first questions, as many as leave the page small."""
    answers = [
        (
            row.mode,
            {prediction.id: prediction for prediction in row.predictions},
            {sample_score.id: sample_score for sample_score in row.scores.per_sample},
        )
        for row in results.rows
    ]
    places: dict[tuple[str, str], int] = {}
    questions: list[Question] = []
    num_chars = 0
    for sample in results.samples[:MAX_QUESTIONS]:
        replies = tuple(
            _reply(mode, predictions[sample.id], scores[sample.id], results.main_metric)
            for mode, predictions, scores in answers
        )
        question, references = _shortened(sample.question), tuple(map(_shortened, sample.references))
        num_chars += sum(map(len, [question, *sample.options, *references, *(reply.text for reply in replies)]))
        if num_chars > MAX_CHARS and questions:
            break
        document = sample.document
        questions.append(
            Question(
                id=sample.id,
                document=document.title or document.id,
                document_index=places.setdefault((document.id, document.digest), len(places)),
                question=question,
                options=sample.options,
                references=references,
                replies=replies,
            )
        )
    return tuple(questions)


def _reply(mode: str, prediction: Prediction, score: Score, metric: str) -> Reply:
    value = score_of(score, metric)
    if value is None:  # a set of LongBench that is scored by another metric
        value = next(iter(score.metrics.values()), None)
    return Reply(mode, _shortened(prediction.text), value, prediction.is_cut)


def _documents(samples: Sequence[Sample]) -> tuple[DocumentText, ...]:
    """Return the documents in the order in which questions name them; the first show their text."""
    found: dict[tuple[str, str], Document] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for sample in samples:
        key = sample.document.id, sample.document.digest
        found.setdefault(key, sample.document)
        counts[key] += 1
    return tuple(
        DocumentText(
            document.title or document.id,
            _shortened(document.text, MAX_DOCUMENT_CHARS) if index < MAX_DOCUMENTS else "",
            counts[key],
        )
        for index, (key, document) in enumerate(found.items())
    )


def _shortened(text: str, most: int = MAX_ANSWER_CHARS) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"
