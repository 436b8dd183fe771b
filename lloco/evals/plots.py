"""Plots of an evaluation: scores by mode, score against what is read, and the needle test's heat map.

What a plot shows is computed apart from drawing it; page, picture and CSV file show the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.figure  # a figure without pyplot: no window system is touched

from lloco.evals.result_row import ResultRow
from lloco.evals.results import ModeResult, Results
from lloco.evals.run.earlier import EarlierRun, reader_of
from lloco.files.durable import make_folder_durably
from lloco.report.axis import linear_axis, symlog_axis
from lloco.report.picture import open_frame, write_figure, write_plot
from lloco.report.plot import Line, Plot, Point, colour_of, csv_text, marker_of
from lloco.tasks.sample import Sample

THIS_RUN = "this run"
_FOUND = ("needle", "string_match_all")
"""Metrics that say whether a needle was found."""


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
        found = next((scores[sample.id][name] for name in _FOUND if name in scores[sample.id]), None)
        if sample.length is not None and sample.depth is not None and found is not None:
            cells.setdefault((sample.depth, sample.length), []).append(found)
    if not cells:
        return None
    depths = tuple(sorted({depth for depth, _ in cells}))
    lengths = tuple(sorted({length for _, length in cells}))
    means = {cell: sum(values) / len(values) for cell, values in cells.items()}
    shares = tuple(tuple(means.get((depth, length)) for length in lengths) for depth in depths)
    return NeedleGrid(row.mode, sum(len(values) for values in cells.values()), lengths, depths, shares)


def needle_grids(results: Results) -> list[NeedleGrid]:
    """Return a grid per mode; empty unless samples carry lengths and depths."""
    grids = (needle_grid(results.samples, row) for row in results.rows)
    return [grid for grid in grids if grid is not None]


def rows_of_runs(results: Results) -> list[tuple[str, ResultRow]]:
    """Return the rows of this run and of those beside it, each with its run's name."""
    return [(run.name, row) for run in _runs(results) for row in run.rows]


def quality_plot(results: Results) -> Plot:
    """Return the score against what is read of a document; a mode's rows with one model and compressor make a line."""
    metric = results.main_metric
    points: dict[tuple[str, str], set[Point]] = {}
    names: dict[tuple[str, str], str] = {}
    for run in _runs(results):
        for row in run.rows:
            if metric in row.metrics:
                key = row.mode, run.reader
                points.setdefault(key, set()).add(point_of(row, metric))
                names.setdefault(key, f"{row.mode}, {run.name}")
    modes = [mode for mode, _ in points]
    lines = []
    for index, (key, found) in enumerate(points.items()):
        name = key[0] if modes.count(key[0]) == 1 else names[key]
        ordered = tuple(sorted(found, key=lambda point: (point.x, point.y)))
        lines.append(Line(name, ordered, colour_of(name, index), marker_of(name, index)))
    every = [point for line in lines for point in line.points]
    label = metric.replace("_", " ")
    return Plot(
        "tokens",
        results.task,
        symlog_axis("tokens or vectors that stand for a document (mean)", [point.x for point in every]),
        linear_axis(label, [point.high for point in every]),
        tuple(lines),
    )


def write_plots(results: Results, folder: Path) -> list[Path]:
    """Write `scores`, `tokens` and, for needles, `needle`, each as PNG and as CSV; returns their paths."""
    make_folder_durably(folder)
    paths = write_figure(_scores_figure(results), _scores_csv(results), folder, "scores")
    paths += write_plot(quality_plot(results), folder)
    if grids := needle_grids(results):
        paths += write_figure(_needle_figure(grids), _needle_csv(grids), folder, "needle")
    return paths


def _runs(results: Results) -> list[EarlierRun]:
    rows = tuple(row.means() for row in results.rows)
    return [EarlierRun(THIS_RUN, rows, reader_of(results.options)), *results.beside]


def point_of(row: ResultRow, metric: str) -> Point:
    """Return a score against the positions that were read, with the ends of its error inside 0..100."""
    mean, error = row.metrics[metric], row.stderr[metric] or 0.0
    label = "" if row.compression_ratio is None else f"{row.compression_ratio:.1f}x"
    return Point(row.tokens_read, mean, max(mean - error, 0.0), min(mean + error, 100.0), label)


def _scored(results: Results) -> list[ResultRow]:
    return [row.means() for row in results.rows if results.main_metric in row.scores.metrics]


def _scores_csv(results: Results) -> str:
    metric = results.main_metric
    rows = [[row.mode, row.num_samples[metric], row.metrics[metric], row.stderr[metric]] for row in _scored(results)]
    return csv_text(["mode", "n", metric, "stderr"], rows)


def _scores_figure(results: Results) -> matplotlib.figure.Figure:
    metric, rows = results.main_metric, _scored(results)[::-1]
    figure = matplotlib.figure.Figure(figsize=(7, 1.2 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    means = [row.metrics[metric] for row in rows]
    errors = [row.stderr[metric] or 0.0 for row in rows]
    names = [f"{row.mode} (n = {row.num_samples[metric]})" for row in rows]
    axes.barh(names, means, xerr=errors, color=[colour_of(row.mode).light for row in rows], capsize=3)
    top = linear_axis("", [min(mean + error, 100.0) for mean, error in zip(means, errors, strict=True)]).high
    axes.set(xlabel=f"{metric.replace('_', ' ')} ± standard error", title=results.task, xlim=(0, top))
    open_frame(axes)
    return figure


def _needle_csv(grids: list[NeedleGrid]) -> str:
    cells = [
        [grid.mode, length, depth, found]
        for grid in grids
        for depth, row in zip(grid.depths, grid.found, strict=True)
        for length, found in zip(grid.lengths, row, strict=True)
    ]
    return csv_text(["mode", "length", "depth", "found"], cells)


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
