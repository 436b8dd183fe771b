"""The five sets of the LLoCO paper (arXiv 2404.07979) with its released weights, in one command.

Needs one GPU with 24 GB and the internet: 13.5 GB of weights, five adapters, five data sets. `--tiny` runs the same
steps offline in a minute on files of the same layout with random weights, whose scores mean nothing.
"""

import argparse
import gc
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_release import write_adapter, write_autocompressor, write_data

from lloco.cli.main import main as lloco

COMPRESSOR = "princeton-nlp/AutoCompressor-Llama-2-7b-6k"
MODES = ("none", "compressed", "compressed+adapter")


@dataclass(frozen=True, slots=True)
class Set:
    """One set of the paper, as its public code evaluates it."""

    adapter: str
    data: str
    metric: str
    max_tokens: int = 50
    paper: float | None = None
    """LLoCO's score where the paper's text states it; its table was not at hand when this was written."""


SETS = {
    "quality": Set("xiuyul/Lloco-7b-quality", "emozilla/quality", "accuracy_lloco"),
    "qasper": Set("xiuyul/Lloco-7b-qasper", "tau/scrolls", "answer_f1"),
    "qmsum": Set("xiuyul/Lloco-7b-qmsum", "tau/scrolls", "rouge_geometric_mean", max_tokens=96),
    "narrativeqa": Set("xiuyul/Lloco-7b-nqa", "tau/scrolls", "answer_f1", paper=28.34),
    "hotpotqa": Set("xiuyul/Lloco-7b-hqa", "hotpotqa/hotpot_qa:fullwiki", "hotpot_f1_lloco"),
}


def run(*argv: object) -> None:
    """Run a verb; ends this program where it fails. What is done already is not done again by it."""
    words = [str(word) for word in argv]
    print("$ lloco", *words, file=sys.stderr, flush=True)
    code = lloco(words)
    gc.collect()
    if code:
        sys.exit(code)


def reproduce(out: Path, compressor: str, adapters: dict[str, str], data: dict[str, str], flags: list[str]) -> str:
    """Import, evaluate, and return the table."""
    run("import", "autocompressor", compressor, "--out", out / "compressor", "--quiet")
    for name in data:
        run(
            *("import", "adapter", adapters[name], "--out", out / "adapters" / name),
            *("--model", out / "compressor", "--quiet"),
        )
    for name, where in data.items():
        run(
            *("evaluate", "--task", name, "--data", where, "--modes", ",".join(MODES), "--out", out / name),
            *("--compressor", out / "compressor", "--adapter", out / "adapters" / name),
            *("--template", f"lloco_{name}", "--max-tokens", SETS[name].max_tokens, *flags),
        )
    return table(out, list(data))


def table(out: Path, names: list[str]) -> str:
    """Return the measured scores beside the paper's."""
    lines = [f"| set | metric | n | {' | '.join(MODES)} | paper |", "|---|---|---:|---:|---:|---:|---:|"]
    for name in names:
        results: dict[str, Any] = json.loads((out / name / "results.json").read_text(encoding="utf-8"))
        rows = {row["mode"]: row for row in results["rows"]}
        cells = [_score(rows[mode], SETS[name].metric) for mode in MODES]
        paper = "-" if SETS[name].paper is None else f"{SETS[name].paper:.2f}"
        lines.append(f"| {name} | {SETS[name].metric} | {rows[MODES[0]]['n']} | {' | '.join(cells)} | {paper} |")
    return "\n".join(lines) + "\n"


def _score(row: dict[str, Any], metric: str) -> str:
    error = row["stderr"].get(metric)
    return f"{row['metrics'][metric]:.2f}" + ("" if error is None else f" ± {error:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("work-reproduce-paper"), help="folder of everything")
    parser.add_argument("--sets", default=",".join(SETS), help="some of the sets")
    parser.add_argument("--limit", type=int, help="only the first questions of each set")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--data", action="append", default=[], metavar="SET=PATH", help="read a set from here instead")
    parser.add_argument("--tiny", action="store_true", help="offline, with random weights in the published layout")
    options = parser.parse_args()
    chosen = options.sets.split(",")
    if unknown := [name for name in chosen if name not in SETS]:
        parser.error(f"there is no set {unknown[0]}: choose some of {', '.join(SETS)}")
    compressor, out = COMPRESSOR, options.out
    adapters = {name: SETS[name].adapter for name in chosen}
    data = {name: SETS[name].data for name in chosen}
    if options.tiny:
        release = out / "tiny_release"
        if not release.exists():
            write_autocompressor(release / "autocompressor")
            for seed, id in enumerate(published.adapter for published in SETS.values()):
                write_adapter(release / id, seed=seed)
            write_data(release / "data")
        compressor = str(release / "autocompressor")
        adapters = {name: str(release / id) for name, id in adapters.items()}
        data = {name: str(next((release / "data").glob(f"{name}.*"))) for name in chosen}
    data |= dict(pair.split("=", 1) for pair in options.data)
    flags = ["--batch-size", str(options.batch_size), "--quiet"]
    flags += ["--limit", str(options.limit)] if options.limit else []
    text = reproduce(out, compressor, adapters, data, flags)
    (out / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
