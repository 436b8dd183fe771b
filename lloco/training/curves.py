"""Training curves as a JSON file and a picture.

The upper panel is in the loss's unit (the loss itself and every figure named `*_loss`), the lower one in percent.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lloco.files.durable import make_folder_durably, write_durably
from lloco.training.loop import LogLine


def write_curves(folder: Path, log: Sequence[LogLine]) -> None:
    """Write `curve.json` and `curve.png` into the folder: loss, learning rate, and what was measured on the way."""
    import matplotlib.figure  # a figure without pyplot: no window system is touched

    make_folder_durably(folder)
    text = json.dumps([asdict(line) for line in log], indent=1)
    write_durably(folder / "curve.json", (text + "\n").encode("utf-8"))
    names = sorted({name for line in log for name in line.figures})
    losses = [name for name in names if name.endswith("_loss")]
    shares = [name for name in names if name not in losses]
    figure = matplotlib.figure.Figure(figsize=(7, 3 * (1 + bool(shares))), layout="constrained")
    axes = figure.subplots(1 + bool(shares), 1, squeeze=False)[:, 0]
    axes[0].plot([line.step + 1 for line in log], [line.loss for line in log], linewidth=0.8, label="loss")
    _plot_figures(axes[0], losses, log, "loss")
    if shares:
        _plot_figures(axes[1], shares, log, "%")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_durably(folder / "curve.png", picture.getvalue())


def _plot_figures(axes: Any, names: Sequence[str], log: Sequence[LogLine], unit: str) -> None:
    for name in names:
        points = [(line.step + 1, line.figures[name]) for line in log if name in line.figures]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name.replace("_", " "))
    axes.set(xlabel="step", ylabel=unit)
    if names:
        axes.legend()
