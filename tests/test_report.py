"""The report page: self-contained, everything escaped, every number with its error, every question to look at."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lloco.documents import Document
from lloco.errors import DataError
from lloco.evals.report import MAX_QUESTIONS, headline, render_report, write_report
from lloco.evals.results import ModeResult, Results
from lloco.evals.sample import Sample
from lloco.evals.scorer import score
from lloco.evals.work_log import Prediction
from tests.test_evaluate import needle_results

HOSTILE = "</article><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\" onload='x' {{ 7 * 7 }}"
VOID = {"meta", "input", "br", "img", "link"}


def stories(num_questions: int = 12, text: str = "The fox") -> Results:
    """Made-up answers: compressed reads 30 vectors for 900 tokens and is right half of the time, full always."""
    document = Document("story", "The fox ate the cheese.", title="The fox and the crow")
    asked = tuple(
        Sample(f"story-{number}", "jsonl", f"Who ate cheese number {number}?", document, (text,))
        for number in range(num_questions)
    )
    reads = {"compressed+adapter": (0, 30), "full": (900, 0), "retrieval": (30, 0), "none": (0, 0)}
    rows = []
    for mode, (num_context, num_virtual) in reads.items():
        is_right = [mode == "full" or (mode.startswith("compressed") and number % 2) for number in range(num_questions)]
        predictions = tuple(
            Prediction(one.id, text if right else "a crow", num_context, num_virtual, 900, is_cut=mode == "full")
            for one, right in zip(asked, is_right, strict=True)
        )
        scores = score("jsonl", asked, {one.id: one.text for one in predictions})
        rows.append(ModeResult(mode, scores, predictions))
    return Results("jsonl", tuple(rows), asked, {"model": "tiny", "seed": 0}, {"lloco": "1.2.3"})


class Page(HTMLParser):
    """Collects tags, attributes and text, and fails on a tag that is closed where it was not open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def test_hostile_text_is_shown_and_never_run() -> None:
    results = stories(2, HOSTILE)
    hostile = Document(HOSTILE, "text", title=HOSTILE)
    asked = tuple(replace(one, question=HOSTILE, document=hostile, options=(HOSTILE,)) for one in results.samples)
    results = replace(results, samples=asked, options={HOSTILE: HOSTILE}, versions={HOSTILE: HOSTILE})
    page = render_report([results], title=HOSTILE, command=HOSTILE)
    parsed = Page(page)
    assert parsed.count("script") == 1 and parsed.count("img") == 0 and parsed.count("article") == 2
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert "alert(1)" in parsed.text and "{{ 7 * 7 }}" in parsed.text
    assert "<script>alert" not in page


def test_the_page_asks_for_nothing_from_anywhere() -> None:
    page = render_report([stories()])
    parsed = Page(page)
    assert all(name not in attributes for _, attributes in parsed.tags for name in ("src", "srcset", "data"))
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in parsed.tags)
    assert "http:" not in page and "https:" not in page and "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page


def test_every_mean_has_its_error_and_n() -> None:
    results = stories()
    text = Page(render_report([results])).text
    for row in results.rows:
        for metric in row.scores.metrics:
            assert row.value(metric) in text and "±" in row.value(metric)
    assert (
        "30.0x" in text
        and "lloco evaluate --task jsonl" in Page(render_report([results], command="lloco evaluate --task jsonl")).text
    )


def test_a_mean_over_fewer_questions_says_so() -> None:
    results = stories(4)
    rows = []
    choice = tuple(replace(one, options=("The fox", "a crow"), gold_letter="A") for one in results.samples[:2])
    asked = (*choice, *results.samples[2:])
    for row in results.rows:
        rows.append(replace(row, scores=score("jsonl", asked, {one.id: one.text for one in row.predictions})))
    assert "(n = 2)" in Page(render_report([replace(results, rows=tuple(rows), samples=asked)])).text


def test_headline_compares_with_the_same_questions_read_otherwise() -> None:
    said = headline(stories())
    assert said.startswith(
        "Reading 30 virtual tokens in place of 900 document tokens (30.0 times fewer), the model with its adapter"
    )
    assert "answer f1 50.0 ± 15.1 on 12 questions" in said
    assert "100.0 ± 0.0 with the full text" in said and "0.0 ± 0.0 with retrieved passages" in said
    only_none = replace(stories(), rows=stories().rows[3:])
    assert headline(only_none) == "Mode none scores answer f1 0.0 ± 0.0 on 12 questions of jsonl."


def test_questions_are_shown_with_reference_and_every_answer() -> None:
    page = render_report([stories(3)])
    parsed = Page(page)
    assert parsed.count("article") == 3
    assert "Who ate cheese number 2?" in parsed.text and "full (cut)" in parsed.text
    shown = [
        attributes["data-score"] for _, attributes in parsed.tags if attributes.get("data-mode") == "compressed+adapter"
    ]
    assert shown == ["0.0", "100.0", "0.0"]


def test_at_most_some_questions_are_shown_and_the_page_says_of_how_many() -> None:
    parsed = Page(render_report([stories(MAX_QUESTIONS + 5)]))
    assert parsed.count("article") == MAX_QUESTIONS
    assert "The first 200 of 205 questions are shown." in parsed.text
    assert "questions are shown" not in Page(render_report([stories(5)])).text


def test_long_texts_are_shortened_aloud() -> None:
    assert "… (3,000 more characters)" in Page(render_report([stories(1, "a" * 5000)])).text


def test_several_tasks_stand_on_one_page_and_needles_get_a_heat_map(tmp_path: Path) -> None:
    write_report([stories(), needle_results()], tmp_path / "new" / "report.html", title="Two tasks")
    parsed = Page((tmp_path / "new" / "report.html").read_text(encoding="utf-8"))
    assert parsed.count("section") == 2 and parsed.count("h1") == 1
    assert {"#task-1", "#task-2"} == {attributes["href"] for tag, attributes in parsed.tags if tag == "a"}
    assert sum(attributes.get("class") == "grid" for _, attributes in parsed.tags) == 2
    assert "50 %" in parsed.text


def test_no_results_are_no_report() -> None:
    with pytest.raises(DataError, match="at least one task"):
        render_report([])


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_filter_works_in_a_browser(tmp_path: Path) -> None:
    page = render_report([stories()])
    # The page's own policy would refuse a second script only if it had a source; this one is inline as its own is.
    probe = """<script>
      const [mode, score] = document.querySelectorAll("select");
      const shown = [];
      for (const value of ["all", "right", "wrong"]) {
        score.value = value;
        score.dispatchEvent(new Event("input", {bubbles: true}));
        shown.push(document.querySelector("output").textContent);
      }
      document.title = shown.join("; ");
    </script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", probe), encoding="utf-8")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    dumped = subprocess.run(
        ["chromium", *arguments, (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "<title>12 of 12; 6 of 12; 6 of 12</title>" in dumped.stdout
