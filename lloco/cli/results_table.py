"""The table of an evaluation, for people: what `lloco evaluate` and `lloco demo` print."""

from typing import TYPE_CHECKING

from lloco.cli.output import table_text, text_width

if TYPE_CHECKING:
    from lloco.evals.results import ModeResult, Results

MAX_METRICS = 3
WIDE = 130
"""Columns of a terminal in which so many metrics fit."""


def results_table(results: "Results") -> str:
    """Return a row per mode with the main metric and those after it that fit; the caption names the others."""
    num_shown = MAX_METRICS if text_width() >= WIDE else 1
    shown, left_out = results.metrics[:num_shown], results.metrics[num_shown:]
    metrics = [name.replace("_", " ") for name in shown]
    return table_text(
        f"{results.task}: mean ± standard error, 0-100",
        ["mode", "n", *metrics, "text tokens read", "virtual tokens", "ratio", "seconds", "cut"],
        [_cells(row, shown) for row in results.rows],
        num_whole=2 + num_shown,
        caption=f"not shown: {', '.join(left_out)}" if left_out else "",
    )


def _cells(row: "ModeResult", metrics: tuple[str, ...]) -> list[str]:
    ratio = "–" if row.compression_ratio is None else f"{row.compression_ratio:.1f}x"
    tokens = [f"{row.context_tokens:.0f}", f"{row.virtual_tokens:.0f}", ratio]
    return [row.mode, str(row.scores.n), *map(row.value, metrics), *tokens, f"{row.seconds:.1f}", str(row.num_cut)]
