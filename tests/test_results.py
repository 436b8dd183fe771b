"""The pages of results show what the files of results/ hold, and nothing else."""

import json
import re
from pathlib import Path

import pytest

from runs import results_pages
from tests.pages import PAGES

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "results").glob("*.json"))
PROSE_NUMBER = re.compile(r"\d\.\d|±|\d %")
"""What looks like a measurement; a count of documents, a ratio or a link is none."""


@pytest.mark.parametrize("page", results_pages.PAGES, ids=lambda page: page.name)
def test_a_page_is_what_the_script_writes(page: Path) -> None:
    text = page.read_text()
    assert results_pages.filled(text) == text, "run runs/results_pages.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_table_says_how_it_was_made_and_of_how_many(path: Path) -> None:
    table = json.loads(path.read_text())
    assert all(table[key] for key in ("command", "commit", "date", "machine", "columns", "rows")) and "seed" in table
    assert isinstance(table.get("n"), int) or "note" in table or all("n" in row for row in table["rows"])
    for row in table["rows"]:
        for cell in row.values():
            assert not isinstance(cell, dict) or set(cell) in ({"mean", "stderr"}, {"median", "min", "max"})
    script = re.match(r"(?:python )?(runs/\S+)", table["command"])
    assert script is None or (ROOT / script[1]).is_file()


def test_every_file_is_shown_on_a_page() -> None:
    shown = [name for page in results_pages.PAGES for name in results_pages.BLOCK.findall(page.read_text())]
    assert sorted(shown) == [path.stem for path in FILES]


def test_the_page_of_results_is_short_and_no_measurement_in_it_is_typed() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    assert len(text.splitlines()) <= 200
    typed = re.sub(r"`[^`]*`|\]\([^)]*\)", "", results_pages.BLOCK.sub("", text))
    assert [line for line in typed.splitlines() if PROSE_NUMBER.search(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_score_with_an_error_comes_from_a_file(page: Path) -> None:
    cells = [cell for path in FILES for row in json.loads(path.read_text())["rows"] for cell in row.values()]
    known = {
        results_pages.cell(cell, {"decimals": digits}) for cell in cells if isinstance(cell, dict) for digits in (1, 2)
    }
    unknown = [score for score in re.findall(r"\d+\.\d+ ± \d+\.\d+", page.read_text()) if score not in known]
    assert not unknown, "keep its run: runs/results_pages.py take"


def test_the_results_of_an_evaluation_become_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_pages, "RESULTS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- results/stories.json -->\n<!-- end -->\nAfter.\n")
    monkeypatch.setattr(results_pages, "PAGES", (page,))
    row = {"n": 12, "metrics": {"answer_f1": 61.25}, "stderr": {"answer_f1": 4.5}, "context_tokens": 0.0}
    compressed = {"mode": "compressed+adapter", **row, "virtual_tokens": 1500.5, "compression_ratio": 2.0}
    full = {"mode": "full", **row, "context_tokens": 3001.0, "virtual_tokens": 0.0, "compression_ratio": None}
    (tmp_path / "given.json").write_text(json.dumps({"rows": [compressed, full], "options": {"seed": 3}}))
    argv = ["take", "stories", str(tmp_path / "given.json"), "--command", "lloco demo", "--machine", "2 cores"]
    assert results_pages.main(argv) == 0
    lines = page.read_text().splitlines()
    assert lines[0] == "Before." and lines[-1] == "After."
    assert lines[2].startswith("n = 12; seed 3; ") and lines[3] == "`lloco demo`"
    assert "| soft prompt, with the adapter | 61.2 ± 4.5 | 0 | 1,500 | 2.0x |" in lines
    assert "| full text | 61.2 ± 4.5 | 3,001 | 0 |  |" in lines
