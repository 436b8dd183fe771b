"""One self-contained HTML page about results: what was found, in which numbers, and every question to look at.

Nothing is fetched from anywhere and every text is escaped: documents and answers may hold anything. The page's layout
is `report.html.j2`; here is only what it shows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from lloco.durable import make_folder_durably, write_durably
from lloco.errors import DataError
from lloco.evals.mode import ADAPTER_SUFFIX
from lloco.evals.plots import NeedleGrid, colour_of, needle_grids
from lloco.evals.results import ModeResult, Results, score_of

MAX_QUESTIONS = 200
_MAX_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of the plot; numbers are shares (0..100) of its width."""

    mode: str
    colour: str
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
    question: str
    options: tuple[str, ...]
    references: tuple[str, ...]
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """All that the page shows of one task."""

    results: Results
    headline: str
    bars: tuple[Bar, ...]
    grids: tuple[NeedleGrid, ...]
    questions: tuple[Question, ...]
    options: tuple[tuple[str, str], ...]


def write_report(results: Sequence[Results], path: Path, *, title: str = "lloco: results", command: str = "") -> None:
    """Write the page; `command` is what a reader runs to make it again."""
    make_folder_durably(path.parent)
    write_durably(path, render_report(results, title=title, command=command).encode())


def render_report(results: Sequence[Results], *, title: str = "lloco: results", command: str = "") -> str:
    """Return the page's HTML.

    Raises:
        DataError: there are no results to show.
    """
    if not results:
        raise DataError("a report shows the results of at least one task, none came: evaluate a task first")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.lstrip_blocks = True
    page = environment.from_string((files("lloco.evals") / "report.html.j2").read_text(encoding="utf-8"))
    sections = [_section(one) for one in results]
    return page.render(title=title, command=command, sections=sections, max_questions=MAX_QUESTIONS)


def headline(results: Results) -> str:
    """Say in a sentence what reading vectors cost and gained, or what was measured where no vectors were read."""
    row = results.row(f"compressed{ADAPTER_SUFFIX}") or results.row("compressed") or results.rows[0]
    metric = results.main_metric
    what = f"{metric.replace('_', ' ')} {row.value(metric)}"
    if row.compression_ratio is None:
        return f"Mode {row.mode} scores {what} on {row.scores.n} questions of {results.task}."
    others = {"full": "the full text", "retrieval": "retrieved passages", "truncated": "truncated text"}
    others["none"] = "no document at all"
    compared = [f"{other.value(metric)} with {name}" for mode, name in others.items() if (other := results.row(mode))]
    reader = " with its adapter" if row.mode.endswith(ADAPTER_SUFFIX) else " without an adapter"
    return (
        f"Reading {row.virtual_tokens:,.0f} virtual tokens in place of {row.document_tokens:,.0f} document tokens "
        f"({row.compression_ratio:.1f} times fewer), the model{reader} scores {what} on {row.scores.n} questions of "
        f"{results.task}{': ' + ', '.join(compared) if compared else ''}."
    )


def _section(results: Results) -> Section:
    return Section(
        results=results,
        headline=headline(results),
        bars=_bars(results),
        grids=tuple(needle_grids(results)),
        questions=_questions(results),
        options=tuple((key.replace("_", " "), _as_text(value)) for key, value in results.options.items()),
    )


def _bars(results: Results) -> tuple[Bar, ...]:
    metric = results.main_metric
    rows = [row for row in results.rows if metric in row.scores.metrics]
    spans = [(row.scores.metrics[metric], row.scores.stderr[metric] or 0.0) for row in rows]
    top = max([1.0, *(mean + error for mean, error in spans)])
    bars = []
    for row, (mean, error) in zip(rows, spans, strict=True):
        left, right = max(mean - error, 0.0), mean + error
        bars.append(
            Bar(
                mode=row.mode,
                colour=colour_of(row.mode),
                width=round(100 * mean / top, 2),
                error_left=round(100 * left / top, 2),
                error_width=round(100 * (right - left) / top, 2),
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
    metric = results.main_metric
    answers = [
        (row.mode, {one.id: one for one in row.predictions}, {one.id: one for one in row.scores.per_sample})
        for row in results.rows
    ]
    questions = []
    for sample in results.samples[:MAX_QUESTIONS]:
        replies = []
        for mode, predictions, scores in answers:
            score = scores[sample.id]
            value = score_of(score, metric)
            if value is None:  # a set of LongBench that is scored by another metric
                value = next(iter(score.metrics.values()), None)
            prediction = predictions[sample.id]
            replies.append(Reply(mode, _shortened(prediction.text), value, prediction.is_cut))
        questions.append(
            Question(
                id=sample.id,
                document=sample.document.title or sample.document.id,
                question=_shortened(sample.question),
                options=sample.options,
                references=tuple(_shortened(reference) for reference in sample.references),
                replies=tuple(replies),
            )
        )
    return tuple(questions)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]} … ({len(text) - _MAX_CHARS:,} more characters)"


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_as_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_as_text(item) for item in value)
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, default=str)
