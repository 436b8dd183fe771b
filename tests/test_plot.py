"""Plots: one table behind page, picture and CSV file; colours that can be told from the ground."""

import csv
from itertools import product
from pathlib import Path

import pytest

from benchmarks.rivals.kept_keys import PRESSES
from lloco.evals.mode import ADAPTER_SUFFIX, MODES
from lloco.report.axis import linear_axis, log_axis, symlog_axis
from lloco.report.picture import write_plot
from lloco.report.plot import Colour, Line, Plot, Point, colour_of, marker_of

GROUNDS = {"light": "#ffffff", "dark": "#1d2226"}
LINE = Line("a, b", (Point(1, 2.0, 1.5, 2.5, "8x"), Point(10, 4.0, 4.0, 4.0)), colour_of("full"), "s")


def luminance(colour: str) -> float:
    """WCAG's, 0..1."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, other: str) -> float:
    low, high = sorted((luminance(first), luminance(other)))
    return (high + 0.05) / (low + 0.05)


ALL_MODES = [f"{mode}{suffix}" for mode, suffix in product(MODES, ("", ADAPTER_SUFFIX))]
RIVALS = (
    "full", "full, cached", "truncated", "bm25", "dense", "question-likelihood", "self-information", *PRESSES,
    "compressed", "compressed+adapter",
)  # fmt: skip


@pytest.mark.parametrize(
    "colour", {colour_of(mode) for mode in ALL_MODES} | {colour_of("", number) for number in range(9)}
)
def test_every_colour_stands_out_on_both_grounds(colour: Colour) -> None:
    assert contrast(colour.light, GROUNDS["light"]) >= 3 and contrast(colour.dark, GROUNDS["dark"]) >= 3


def test_modes_are_told_apart_without_colour_and_other_lines_too() -> None:
    assert len({marker_of(mode) for mode in MODES}) == len(MODES)
    assert marker_of("compressed+adapter") == marker_of("compressed")
    assert colour_of("compressed+adapter") != colour_of("compressed")
    assert len({(colour_of("batch", index), marker_of("batch", index)) for index in range(20)}) == 20
    assert not {colour_of("batch", index) for index in range(20)} & {colour_of(mode) for mode in ALL_MODES}


def test_rivals_are_told_apart_also_where_one_stands_on_another() -> None:
    drawn = [(colour_of(name, index), marker_of(name, index)) for index, name in enumerate(RIVALS)]
    assert len(set(drawn)) == len(RIVALS) == 13
    assert drawn[0][1] != drawn[1][1]  # the text and its kept keys answer alike


def test_the_csv_file_has_a_row_a_point() -> None:
    plot = Plot("p", "P", linear_axis("tokens", [10]), linear_axis("ms", [4]), (LINE,))
    rows = list(csv.DictReader(plot.csv().splitlines()))
    assert rows[0] == {"line": "a, b", "tokens": "1", "ms": "2.0", "low": "1.5", "high": "2.5", "label": "8x"}
    assert len(rows) == 2


@pytest.mark.parametrize("axis", [linear_axis("x", [10]), log_axis("x", [1, 10]), symlog_axis("x", [10])])
def test_every_axis_can_be_drawn(tmp_path: Path, axis: object) -> None:
    bound = Line("limit", LINE.points, LINE.colour, LINE.marker, is_bound=True)
    paths = write_plot(Plot("p", "P", axis, linear_axis("ms", [4]), (LINE, bound)), tmp_path)  # type: ignore[arg-type]
    assert [path.name for path in paths] == ["p.png", "p.csv"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_nothing_is_drawn_empty(tmp_path: Path) -> None:
    png, points = write_plot(Plot("p", "P", log_axis("x", []), linear_axis("y", []), ()), tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG") and points.read_text() == "line,x,y,low,high,label\n"
