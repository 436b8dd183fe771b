"""Pictures of results: scores by mode, score against tokens read, and the needle test's heat map.

What a picture shows is computed apart from drawing it, so that it can be checked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.figure  # a figure without pyplot: no window system is touched
from matplotlib.axes import Axes

from lloco.evals.results import ModeResult, Results
from lloco.evals.sample import Sample

MODE_COLOURS = {
    "compressed": "#7fb3d5",
    "compressed+adapter": "#1f6fb2",
    "full": "#8c8c8c",
    "full+adapter": "#5a5a5a",
    "truncated": "#c9a227",
    "none": "#bdbdbd",
    "retrieval": "#5b8c5a",
}
_OTHER_COLOUR = "#9467bd"
_DPI = 120


@dataclass(frozen=True, slots=True)
class NeedleGrid:
    """Share of needles found (0..100) by depth (rows) and length (columns); None where none was asked for."""

    mode: str
    n: int
    """Needles in all cells together."""
    lengths: tuple[int, ...]
    depths: tuple[float, ...]
    found: tuple[tuple[float | None, ...], ...]


def needle_grid(samples: Iterable[Sample], row: ModeResult) -> NeedleGrid | None:
    """Average the scores in each cell; None unless samples carry a length and a depth."""
    cells: dict[tuple[float, int], list[float]] = {}
    scores = {score.id: score.metrics for score in row.scores.per_sample}
    for sample in samples:
        if sample.length is not None and sample.depth is not None and "needle" in scores[sample.id]:
            cells.setdefault((sample.depth, sample.length), []).append(scores[sample.id]["needle"])
    if not cells:
        return None
    depths = tuple(sorted({depth for depth, _ in cells}))
    lengths = tuple(sorted({length for _, length in cells}))
    means = {cell: sum(values) / len(values) for cell, values in cells.items()}
    found = tuple(tuple(means.get((depth, length)) for length in lengths) for depth in depths)
    return NeedleGrid(row.mode, sum(len(values) for values in cells.values()), lengths, depths, found)


def needle_grids(results: Results) -> list[NeedleGrid]:
    """Return a grid per mode; empty unless samples carry lengths and depths."""
    grids = (needle_grid(results.samples, row) for row in results.rows)
    return [grid for grid in grids if grid is not None]


def write_plots(results: Results, folder: Path) -> list[Path]:
    """Write `scores.png`, `tokens.png` and, for needles, `needle.png`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = {"scores.png": _scores_figure(results), "tokens.png": _tokens_figure(results)}
    if grids := needle_grids(results):
        plots["needle.png"] = _needle_figure(grids)
    for name, figure in plots.items():
        figure.savefig(folder / name, dpi=_DPI)
    return [folder / name for name in plots]


def colour_of(mode: str) -> str:
    """Return the colour that a mode has in every picture."""
    return MODE_COLOURS.get(mode, _OTHER_COLOUR)


def _scores_figure(results: Results) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(7, 1.2 + 0.45 * len(results.rows)), layout="constrained")
    axes = figure.subplots()
    metric = results.main_metric
    rows = [row for row in reversed(results.rows) if metric in row.scores.metrics]
    means = [row.scores.metrics[metric] for row in rows]
    errors = [row.scores.stderr[metric] or 0.0 for row in rows]
    names = [f"{row.mode} (n = {row.scores.num_samples[metric]})" for row in rows]
    axes.barh(names, means, xerr=errors, color=[colour_of(row.mode) for row in rows], capsize=3)
    axes.set(xlabel=f"{metric.replace('_', ' ')} ± standard error", title=results.task, xlim=(0, _limit(means, errors)))
    _open_frame(axes)
    return figure


def _tokens_figure(results: Results) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    metric = results.main_metric
    rows = [row for row in results.rows if metric in row.scores.metrics]
    for row in rows:
        axes.errorbar(
            row.tokens_read,
            row.scores.metrics[metric],
            yerr=row.scores.stderr[metric] or 0.0,
            fmt="o" if row.virtual_tokens else "s",
            color=colour_of(row.mode),
            capsize=3,
            label=row.mode,
        )
    axes.set_xscale("symlog", linthresh=10)
    axes.set(xlabel="context positions read (mean)", ylabel=metric.replace("_", " "), title=results.task)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(left=-1, right=max([10.0, *(row.tokens_read for row in rows)]) * 2)
    axes.set_ylim(bottom=0)
    axes.legend()
    _open_frame(axes)
    return figure


def _needle_figure(grids: list[NeedleGrid]) -> matplotlib.figure.Figure:
    num_columns = min(2, len(grids))
    num_rows = -(-len(grids) // num_columns)
    width, height = 1.8 + 0.6 * len(grids[0].lengths), 1.3 + 0.3 * len(grids[0].depths)
    figure = matplotlib.figure.Figure(figsize=(num_columns * width + 1, num_rows * height), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes, grid in zip(panels.flat, grids, strict=False):
        values = [[float("nan") if cell is None else cell for cell in cells] for cells in grid.found]
        image = axes.imshow(values, vmin=0, vmax=100, cmap="Blues", aspect="auto")
        axes.set(title=f"{grid.mode} (n = {grid.n})", xlabel="document length", ylabel="depth of the needle")
        axes.set_xticks(range(len(grid.lengths)), [f"{length:,}" for length in grid.lengths])
        axes.set_yticks(range(len(grid.depths)), [f"{100 * depth:.0f} %" for depth in grid.depths])
    for axes in panels.flat[len(grids) :]:
        axes.set_visible(False)
    figure.colorbar(image, ax=panels, label="found, %", aspect=40)
    return figure


def _limit(means: list[float], errors: list[float]) -> float:
    """Right end of a score axis: 100, or closer where all scores are low."""
    top = max([mean + error for mean, error in zip(means, errors, strict=True)], default=0.0)
    return next(limit for limit in (10.0, 25.0, 50.0, 100.0, float(top + 1)) if limit >= top)


def _open_frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
