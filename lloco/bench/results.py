"""Results of a bench: its rows, the machine, the options; as JSON, CSV and pictures. Does not know how to measure."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib.figure  # a figure without pyplot: no window system is touched

from lloco.durable import make_folder_durably, write_durably
from lloco.evals.plots import MODE_COLOURS

Row: TypeAlias = dict[str, Any]
_DPI = 120


@dataclass(frozen=True, slots=True)
class Curve:
    """One picture: a column over another, a line for each value of a third."""

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

    def save(self, folder: Path) -> list[Path]:
        """Write results.json, BENCH.csv and one PNG a curve; returns their paths."""
        make_folder_durably(folder)
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False, default=str)
        files = {"results.json": (text + "\n").encode(), f"{self.bench}.csv": _csv(self.rows).encode()}
        files |= {f"{curve.name}.png": _png(curve, self.rows) for curve in self.curves}
        for name, data in files.items():
            write_durably(folder / name, data)
        return [folder / name for name in files]


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Divide; None where one of the two was not measured."""
    return None if numerator is None or not denominator else numerator / denominator


def plain_options(options: Any) -> dict[str, Any]:
    """Return a dataclass of options as JSON values."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(options).items()}


def _csv(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _png(curve: Curve, rows: Sequence[Row]) -> bytes:
    figure = matplotlib.figure.Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in points_of(curve, rows).items():
        xs, ys, lows, highs = zip(*points, strict=True)
        errors = [[y - low for y, low in zip(ys, lows, strict=True)], [h - y for y, h in zip(ys, highs, strict=True)]]
        axes.errorbar(xs, ys, yerr=errors, marker="o", capsize=3, label=name, color=MODE_COLOURS.get(name))
    axes.set(title=curve.title, xlabel=curve.x_label, ylabel=curve.y_label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend()
    axes.spines[["top", "right"]].set_visible(False)
    data = io.BytesIO()
    figure.savefig(data, dpi=_DPI, format="png")
    return data.getvalue()


def points_of(curve: Curve, rows: Sequence[Row]) -> dict[str, list[tuple[float, float, float, float]]]:
    """Return (x, y, smallest y, largest y) of every line of a picture; rows without the value are left out."""
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in rows:
        value: float | None = row[curve.y]
        if value is not None:
            low, high = (float(row.get(f"{curve.y}_{end}", value)) * curve.y_scale for end in ("min", "max"))
            lines.setdefault(str(row[curve.by]), []).append((row[curve.x], value * curve.y_scale, low, high))
    return lines
