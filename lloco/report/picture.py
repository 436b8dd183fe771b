"""A plot's files: the picture as PNG and its points as CSV."""

import io
from pathlib import Path

import matplotlib.figure  # a figure without pyplot: no window system is touched
from matplotlib.axes import Axes

from lloco.files.durable import write_durably
from lloco.report.axis import LINEAR_UNTIL, Axis, number_text
from lloco.report.plot import Line, Plot

_DPI = 120


def write_plot(plot: Plot, folder: Path) -> list[Path]:
    """Write `NAME.png` and `NAME.csv`; returns their paths."""
    return write_figure(_figure(plot), plot.csv(), folder, plot.name)


def write_figure(figure: matplotlib.figure.Figure, csv: str, folder: Path, name: str) -> list[Path]:
    """Write a figure and what it shows."""
    data = io.BytesIO()
    figure.savefig(data, dpi=_DPI, format="png")
    files = {folder / f"{name}.png": data.getvalue(), folder / f"{name}.csv": csv.encode()}
    for path, content in files.items():
        write_durably(path, content)
    return list(files)


def open_frame(axes: Axes) -> None:
    """Take away the lines above and on the right."""
    axes.spines[["top", "right"]].set_visible(False)


def _figure(plot: Plot) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for line in plot.lines:
        _draw(axes, line)
    axes.set(title=plot.title, xlabel=plot.x.label, ylabel=plot.y.label)
    _scale(axes, plot.x, "x")
    _scale(axes, plot.y, "y")
    axes.grid(axis="y", color="#dfe2e5", linewidth=0.8)
    axes.set_axisbelow(True)
    if plot.lines:
        axes.legend()
    open_frame(axes)
    return figure


def _draw(axes: Axes, line: Line) -> None:
    xs, ys = [point.x for point in line.points], [point.y for point in line.points]
    if line.is_bound:
        axes.plot(xs, ys, linestyle="--", linewidth=1.2, color=line.colour.light, label=line.name)
        return
    errors = [[point.y - point.low for point in line.points], [point.high - point.y for point in line.points]]
    axes.errorbar(xs, ys, yerr=errors, marker=line.marker, capsize=3, label=line.name, color=line.colour.light)
    for marker in line.points:
        if marker.label:
            axes.annotate(marker.label, (marker.x, marker.y), xytext=(-5, 4), textcoords="offset points", ha="right")


def _scale(axes: Axes, axis: Axis, side: str) -> None:
    own = axes.xaxis if side == "x" else axes.yaxis
    options = {"linthresh": LINEAR_UNTIL} if axis.kind == "symlog" else {}
    getattr(axes, f"set_{side}scale")(axis.kind, **options)
    axes.set(**{f"{side}lim": (axis.low - 0.4 if axis.kind == "symlog" else axis.low, axis.high)})
    own.set_ticks(axis.ticks, [number_text(tick) for tick in axis.ticks])
    own.set_ticks([], minor=True)
