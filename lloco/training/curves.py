"""Training curves as a JSON file and a picture."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lloco.training.loop import LogLine


def write_curves(folder: Path, log: Sequence[LogLine]) -> None:
    """Write `curve.json` and `curve.png` into the folder: loss, learning rate, and what was measured on the way."""
    import matplotlib.figure  # a figure without pyplot: no window system is touched

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(line) for line in log], indent=1)
    (folder / "curve.json").write_text(text + "\n", encoding="utf-8")
    names = sorted({name for line in log for name in line.figures})
    figure = matplotlib.figure.Figure(figsize=(7, 3 * (1 + bool(names))), layout="constrained")
    axes = figure.subplots(1 + bool(names), 1, squeeze=False)[:, 0]
    axes[0].plot([line.step + 1 for line in log], [line.loss for line in log], linewidth=0.8)
    axes[0].set(xlabel="step", ylabel="loss")
    for name in names:
        points = [(line.step + 1, line.figures[name]) for line in log if name in line.figures]
        axes[-1].plot(*zip(*points, strict=True), marker="o", markersize=3, label=name.replace("_", " "))
    if names:
        axes[-1].set(xlabel="step", ylabel="%")
        axes[-1].legend()
    figure.savefig(folder / "curve.png", dpi=120)
