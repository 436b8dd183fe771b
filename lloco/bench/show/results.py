"""Results of a bench: its rows, the machine, the options; as JSON, CSV and plots. Does not know how to measure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from lloco.files.durable import make_folder_durably, write_durably
from lloco.report.axis import linear_axis, log_axis, suitable_axis
from lloco.report.picture import write_plot
from lloco.report.plot import Line, Plot, Point, colour_of, csv_text, marker_of

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Curve:
    """One plot: a column over another, a line for each value of a third."""

    name: str
    """File name without its ending."""
    x: str
    y: str
    by: str
    title: str
    x_label: str
    y_label: str
    y_scale: float = 1.0
    """What values are multiplied by, for the unit of `y_label`."""
    floor: str = ""
    """The column with what the machine allows, where there is one, and in the same unit."""


@dataclass(frozen=True, slots=True)
class BenchResults:
    """What a bench measured in one run."""

    bench: str
    rows: tuple[Row, ...]
    machine: Mapping[str, Any]
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    curves: tuple[Curve, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what `lloco bench --json` prints and results.json holds."""
        machine = {**self.machine, "options": dict(self.options), "versions": dict(self.versions)}
        return {"rows": list(self.rows), "machine": machine}

    def plots(self) -> list[Plot]:
        """Return the curves as plots."""
        return [_plot(curve, self.rows) for curve in self.curves]

    def save(self, folder: Path) -> list[Path]:
        """Write results.json, BENCH.csv with all rows, and a PNG and a CSV a curve; returns their paths."""
        make_folder_durably(folder)
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False, default=str)
        files = {"results.json": text + "\n", f"{self.bench}.csv": _csv(self.rows)}
        for name, data in files.items():
            # A path that is not UTF-8 stands as escapes, which JSON reads back.
            write_durably(folder / name, data.encode(errors="backslashreplace"))
        paths = [folder / name for name in files]
        for plot in self.plots():
            paths += write_plot(plot, folder)
        return paths


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Divide; None where one of the two was not measured."""
    return None if numerator is None or not denominator else numerator / denominator


def plain_options(options: Any) -> dict[str, Any]:
    """Return a dataclass of options as JSON values; those of one that it holds stand among its own."""
    plain: dict[str, Any] = {}
    for name, value in asdict(options).items():
        plain |= value if isinstance(value, dict) else {name: list(value) if isinstance(value, tuple) else value}
    return plain


def _csv(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text(columns, [[row.get(name) for name in columns] for row in rows])


def _plot(curve: Curve, rows: Sequence[Row]) -> Plot:
    """Return a line for every value of a column, and under it what the machine allows."""
    lines: list[Line] = []
    bounds: list[Line] = []
    for index, name in enumerate(dict.fromkeys(str(row[curve.by]) for row in rows)):
        own = [row for row in rows if str(row[curve.by]) == name]
        line = Line(name, _points(curve, curve.y, own), colour_of(name, index), marker_of(name, index))
        bound = replace(line, name=f"{name}: limit", points=_points(curve, curve.floor, own), is_bound=True)
        lines += [line] if line.points else []
        bounds += [bound] if bound.points else []
    every = [point for line in (*lines, *bounds) for point in line.points]
    heights = [height for point in every for height in (point.low, point.high)]
    make_axis = linear_axis if curve.y_label == "%" else suitable_axis
    x_axis = log_axis(curve.x_label, [point.x for point in every])
    return Plot(curve.name, curve.title, x_axis, make_axis(curve.y_label, heights), (*lines, *bounds))


def _points(curve: Curve, column: str, rows: Sequence[Row]) -> tuple[Point, ...]:
    """Return a point for every row that has this figure, with its spread, or its standard error, where there is one."""
    points = []
    for row in rows:
        if (value := row.get(column)) is not None:
            error = row.get(f"{column}_stderr") or 0.0
            low: Any = row.get(f"{column}_min", value - error)
            high: Any = row.get(f"{column}_max", value + error)
            points.append(Point(row[curve.x], curve.y_scale * value, curve.y_scale * low, curve.y_scale * high))
    return tuple(points)
