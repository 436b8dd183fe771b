"""The table of an evaluation, for people: what `lloco evaluate` and `lloco demo` print."""

from typing import TYPE_CHECKING

from lloco.cli.output import table_text, text_width

if TYPE_CHECKING:
    from lloco.evals.result_row import ResultRow
    from lloco.evals.results import Results

MAX_METRICS = 3
WIDE = 130
"""Columns of a terminal in which so many metrics fit."""
SET_NAMES = {"ruler": "subtask"}
"""What a task calls its sets."""


def results_table(results: "Results") -> str:
    """Return a row per mode, and one for each of the runs beside, with the main metric and those after it that fit.

    Where sets or subtasks are scored by themselves, a second table has their scores.
    """
    from lloco.evals.plots import rows_of_runs

    num_shown = MAX_METRICS if text_width() >= WIDE else 1
    of_sets = results.metric_of_set
    metrics = tuple(metric for metric in results.metrics if metric not in of_sets.values())
    shown, left_out = metrics[:num_shown], metrics[num_shown:]
    names = ["mode", "run"] if results.beside else ["mode"]
    table = table_text(
        f"{results.task}: mean ± standard error, 0-100",
        [*names, "n", *_titles(shown), "text tokens read", "virtual tokens", "ratio", "seconds", "cut"],
        [[*(row.mode, run)[: len(names)], *_cells(row, shown)] for run, row in rows_of_runs(results)],
        num_whole=len(names) + 1 + len(shown),
        caption=f"not shown: {', '.join(left_out)}" if left_out else "",
    )
    return f"{table}\n\n{_sets_table(results)}" if of_sets else table


def _titles(metrics: tuple[str, ...]) -> list[str]:
    return [name.replace("_", " ") for name in metrics]


def _sets_table(results: "Results") -> str:
    """Return a row per set or subtask, with a column per mode."""
    rows = [
        [name, str(results.rows[0].scores.num_samples[metric]), *(row.value(metric) for row in results.rows)]
        for name, metric in results.metric_of_set.items()
    ]
    columns = [SET_NAMES.get(results.task, "set"), "n", *(row.mode for row in results.rows)]
    return table_text(f"{results.task} by {columns[0]}", columns, rows, num_whole=2)


def _cells(row: "ResultRow", metrics: tuple[str, ...]) -> list[str]:
    ratio = "–" if row.compression_ratio is None else f"{row.compression_ratio:.1f}x"
    tokens = [f"{row.context_tokens:.0f}", f"{row.virtual_tokens:.0f}", ratio]
    # Those that the main metric is a mean of: a task may have several kinds of questions.
    num_questions = row.num_samples.get(metrics[0], row.n)
    return [str(num_questions), *map(row.value, metrics), *tokens, f"{row.seconds:.1f}", str(row.num_cut)]
