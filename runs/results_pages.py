"""Write the tables of docs/results.md, bench.md and readers.md from the JSON files of results/.

    python runs/results_pages.py     write these pages anew
    python runs/results_pages.py take NAME RESULTS.json --command "lloco evaluate ..." --machine "2 cores, float32"

The second keeps the results.json of an evaluation as results/NAME.json, for a page's block of that name.

A page's text is written by hand; between `<!-- results/NAME.json -->` and `<!-- end -->` stands what this script makes
of that file. No number of a table is typed.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
PAGES = tuple(ROOT / "docs" / name for name in ("results.md", "bench.md", "readers.md"))
BLOCK = re.compile(r"<!-- results/(\w+)\.json -->\n.*?<!-- end -->", re.DOTALL)
MODES = {
    "none": "nothing",
    "truncated": "text cut to the same budget",
    "retrieval": "BM25 passages of the same budget",
    "compressed": "soft prompt",
    "hybrid": "soft prompt and passages",
    "full": "full text",
}

Table = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    taking = parser.add_subparsers(dest="verb").add_parser("take", help="keep a results.json as results/NAME.json")
    taking.add_argument("name")
    taking.add_argument("results", type=Path)
    taking.add_argument("--command", required=True, help="what made it, as it was typed")
    taking.add_argument("--machine", required=True, help="what it ran on: processor, threads, dtype")
    taking.add_argument("--metrics", help="those to keep, parted by commas [default: all]")
    options = parser.parse_args(argv)
    if options.verb == "take":
        metrics = None if options.metrics is None else options.metrics.split(",")
        take(options.name, options.results, options.command, options.machine, metrics)
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def filled(page: str) -> str:
    """Return the page with every block made anew from its file."""
    return BLOCK.sub(lambda found: block(found[1], load(found[1])), page)


def load(name: str) -> dict[str, Any]:
    value = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def block(name: str, table: Table) -> str:
    """Return the block of one file: what was run, then the table."""
    lines = across(table) if "across" in table else rows_of(table)
    return "\n".join([f"<!-- results/{name}.json -->", origin(table), "", *lines, "<!-- end -->"])


def origin(table: Table) -> str:
    """Say what made the numbers: n, seed, command, day, code and machine."""
    counted = f"{table['columns'][1]['label']}; " if "across" in table else ""
    counted += f"n = {table['n']:,}; " if "n" in table else ""
    counted += f"{table['note']}; " if "note" in table else ""
    return (
        f"{counted}seed {table['seed']}; {table['date']}, commit {table['commit']}; {table['machine']}:\n"
        f"`{table['command']}`"
    )


def rows_of(table: Table) -> list[str]:
    columns = table["columns"]
    body = [[cell(row.get(column["key"]), column) for column in columns] for row in table["rows"]]
    return markdown([column["label"] for column in columns], body)


def across(table: Table) -> list[str]:
    """Return one row for each value of the first column; `across` names the key whose values become columns."""
    first, shown = table["columns"]
    key = table["across"]
    heads = list(dict.fromkeys(row[key] for row in table["rows"] if row[key] is not None))
    found = {(row[first["key"]], row[key]): row[shown["key"]] for row in table["rows"]}
    kinds = list(dict.fromkeys(row[first["key"]] for row in table["rows"]))
    body = [
        [cell(kind, first), *(cell(found.get((kind, head), found.get((kind, None))), shown) for head in heads)]
        for kind in kinds
    ]
    return markdown([first["label"], *(f"{head}x" if isinstance(head, int) else head for head in heads)], body)


def cell(value: Any, column: Mapping[str, Any]) -> str:
    """Return a value as it is printed: a mean with its standard error, a median with its smallest and largest."""
    if isinstance(value, Mapping) and "mean" in value:
        error = value["stderr"]
        return number(value["mean"], column) + ("" if error is None else f" ± {number(error, column)}")
    if isinstance(value, Mapping):
        return "{} ({}-{})".format(*(number(value[name], column) for name in ("median", "min", "max")))
    if isinstance(value, str):
        return read_as(value) if column["key"] == "mode" else value
    return "" if value is None else number(value, column)


def read_as(mode: str) -> str:
    """Say what a mode reads, in words."""
    name, mark, rest = re.fullmatch(r"(\w+)(\W*)(.*)", mode).groups()
    return MODES.get(name, name) + (", with the adapter" if mark == "+" else mark + rest)


def number(value: float, column: Mapping[str, Any]) -> str:
    decimals = column.get("decimals")
    return (f"{value:,}" if decimals is None else f"{value:,.{decimals}f}") + column.get("suffix", "")


def markdown(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    are_words = [all(re.match(r"[^\d]", value) for value in column) for column in zip(*body, strict=True)]
    return [
        "| " + " | ".join(heads) + " |",
        "|" + "".join("---|" if is_words else "---:|" for is_words in are_words),
        *("| " + " | ".join(cells) + " |" for cells in body),
    ]


def take(name: str, path: Path, command: str, machine: str, metrics: Sequence[str] | None = None) -> None:
    """Keep the rows of a `results.json` of `lloco evaluate`, with what made them."""
    value = json.loads(path.read_text(encoding="utf-8"))
    kept = list(value["rows"][0]["metrics"]) if metrics is None else metrics
    rows = [_evaluated(row, kept) for row in value["rows"]]
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    table: dict[str, Any] = {
        "command": command,
        "commit": git.stdout.strip(),
        "date": datetime.date.today().isoformat(),
        "machine": machine,
        "n": rows[0]["n"],
        "seed": value["options"].get("seed", 0),
        "columns": [
            {"key": "mode", "label": "what is read"},
            *({"key": key, "label": key.replace("_", " "), "decimals": 1} for key in kept),
            {"key": "text_tokens", "label": "text tokens", "decimals": 0},
            {"key": "vectors", "label": "vectors", "decimals": 0},
            {"key": "ratio", "label": "ratio", "decimals": 1, "suffix": "x"},
        ],
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    head = json.dumps({**table, "columns": [], "rows": []}, indent=1, ensure_ascii=False)
    for key in ("columns", "rows"):
        lines = ",\n".join("  " + json.dumps(line, ensure_ascii=False) for line in table[key])
        head = head.replace(f'"{key}": []', f'"{key}": [\n{lines}\n ]')
    (RESULTS / f"{name}.json").write_text(head + "\n", encoding="utf-8")


def _evaluated(row: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    scores = {key: {"mean": row["metrics"][key], "stderr": row["stderr"].get(key)} for key in metrics}
    rest = {"text_tokens": "context_tokens", "vectors": "virtual_tokens", "ratio": "compression_ratio"}
    return {"mode": row["mode"], "n": row["n"], **scores, **{ours: row[theirs] for ours, theirs in rest.items()}}


if __name__ == "__main__":
    sys.exit(main())
