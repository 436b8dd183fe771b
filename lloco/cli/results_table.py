"""The table of an evaluation, for people: what `lloco evaluate` and `lloco demo` print."""

from typing import TYPE_CHECKING

from lloco.cli.output import table_text, text_width

if TYPE_CHECKING:
    from lloco.evals.result_row import ResultRow
    from lloco.evals.results import Results

MAX_METRICS = 3
WIDE = 130
"""Columns of a terminal in which so many metrics fit."""


def results_table(results: "Results") -> str:
    """Return a row per mode, and one for each of the runs beside, with the main metric and those after it that fit."""
    from lloco.evals.plots import rows_of_runs

    num_shown = MAX_METRICS if text_width() >= WIDE else 1
    shown, left_out = results.metrics[:num_shown], results.metrics[num_shown:]
    metrics = [name.replace("_", " ") for name in shown]
    names = ["mode", "run"] if results.beside else ["mode"]
    return table_text(
        f"{results.task}: mean ± standard error, 0-100",
        [*names, "n", *metrics, "text tokens read", "virtual tokens", "ratio", "seconds", "cut"],
        [[*(row.mode, run)[: len(names)], *_cells(row, shown)] for run, row in rows_of_runs(results)],
        num_whole=len(names) + 1 + num_shown,
        caption=f"not shown: {', '.join(left_out)}" if left_out else "",
    )


def _cells(row: "ResultRow", metrics: tuple[str, ...]) -> list[str]:
    ratio = "–" if row.compression_ratio is None else f"{row.compression_ratio:.1f}x"
    tokens = [f"{row.context_tokens:.0f}", f"{row.virtual_tokens:.0f}", ratio]
    # Those that the main metric is a mean of: a task may have several kinds of questions.
    num_questions = row.num_samples.get(metrics[0], row.n)
    return [str(num_questions), *map(row.value, metrics), *tokens, f"{row.seconds:.1f}", str(row.num_cut)]
