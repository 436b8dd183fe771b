"""The report page: self-contained, everything escaped, every number with its error, every question to look at."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lloco.cli.results_table import results_table
from lloco.documents.document import Document
from lloco.errors import DataError
from lloco.evals.plots import quality_plot
from lloco.evals.report import MAX_QUESTIONS, headline, render_report, write_report
from lloco.evals.results import ModeResult, Results
from lloco.evals.run.earlier import EarlierRun, reader_of
from lloco.evals.run.log import Prediction
from lloco.evals.scorer import score
from lloco.tasks.sample import Sample
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
            Prediction(
                item.id, text if right else "a crow", num_context, num_virtual, 900, num_virtual, is_cut=mode == "full"
            )
            for item, right in zip(asked, is_right, strict=True)
        )
        scores = score("jsonl", asked, {prediction.id: prediction.text for prediction in predictions})
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
    asked = tuple(replace(sample, question=HOSTILE, document=hostile, options=(HOSTILE,)) for sample in results.samples)
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
    choice = tuple(replace(sample, options=("The fox", "a crow"), gold_letter="A") for sample in results.samples[:2])
    asked = (*choice, *results.samples[2:])
    for row in results.rows:
        rows.append(
            replace(
                row, scores=score("jsonl", asked, {prediction.id: prediction.text for prediction in row.predictions})
            )
        )
    assert "(n = 2)" in Page(render_report([replace(results, rows=tuple(rows), samples=asked)])).text


def test_headline_compares_with_the_same_questions_read_otherwise() -> None:
    said = headline(stories())
    assert said.startswith(
        "Reading 30 virtual tokens in place of 900 document tokens (30.0 times fewer), the model with its adapter"
    )
    assert "answer f1 50.0 ± 15.1 on 12 questions" in said
    assert "100.0 ± 0.0 with the full text" in said and "0.0 ± 0.0 with retrieved passages" in said
    assert "with the full text (cut to what fits in 12 of 12 questions)" in said and said.count("cut to") == 1
    only_none = replace(stories(), rows=stories().rows[3:])
    assert headline(only_none) == "Mode none scores answer f1 0.0 ± 0.0 on 12 questions of jsonl."


def test_n_counts_the_questions_that_the_main_metric_is_a_mean_of() -> None:
    results = stories(4)
    asked = tuple(
        replace(item, task="longbench", dataset="qasper" if number < 2 else "gov_report")
        for number, item in enumerate(results.samples)
    )
    rows = tuple(
        replace(
            row, scores=score("longbench", asked, {prediction.id: prediction.text for prediction in row.predictions})
        )
        for row in results.rows
    )
    results = replace(results, task="longbench", rows=rows, samples=asked)
    assert "scores longbench f1 50.0 ± 50.0 on 2 questions of longbench." in headline(results)
    assert {line.split("│")[2].strip() for line in results_table(results).splitlines() if "│" in line} == {"2"}


def test_a_row_with_the_adapter_is_compared_with_others_that_have_it() -> None:
    results = stories()
    compressed, full, retrieval, none = results.rows
    adapted = [replace(item, mode=f"{item.mode}+adapter") for item in (full, none)]
    plain = (replace(none, mode="compressed"), full, retrieval)
    said = headline(replace(results, rows=(compressed, *plain, *adapted)))
    beside, alone = said.split(" Without the adapter: ")
    assert beside.endswith(
        "12 questions of jsonl: 100.0 ± 0.0 with the full text (cut to what fits in 12 of 12 questions), "
        "0.0 ± 0.0 with no document at all."
    )
    assert alone.startswith("0.0 ± 0.0 with the virtual tokens, 100.0 ± 0.0 with the full text (cut")
    assert alone.endswith(", 0.0 ± 0.0 with retrieved passages.")
    assert "Without" not in headline(replace(results, rows=(plain[0], full)))


def test_the_filters_offer_the_full_text_as_the_headlines_row_reads_it() -> None:
    results = stories()
    compressed, full, retrieval, none = results.rows
    adapted, unadapted = replace(full, mode="full+adapter"), replace(compressed, mode="compressed")
    for rows, offered in (
        ((none, full, adapted, compressed), ["compressed+adapter", "full+adapter"]),
        ((none, full, compressed), ["compressed+adapter", "full"]),
        ((adapted, full, unadapted), ["compressed", "full"]),
        ((retrieval, compressed), ["compressed+adapter", "retrieval"]),
        ((compressed,), ["compressed+adapter"]),
    ):
        assert re.findall("<option selected>([^<]+)", render_report([replace(results, rows=rows)])) == offered


def test_bars_stand_on_the_scale_that_is_shown_and_metrics_that_are_0_everywhere_are_named_alone() -> None:
    parsed = Page(render_report([stories()]))
    fills = [str(item["style"]).split(";")[0] for _, item in parsed.tags if item.get("class") == "fill ink"]
    assert fills == ["width: 50.0%", "width: 100.0%", "width: 0.0%", "width: 0.0%"]
    assert "0 50 100" in parsed.text
    wrong = replace(stories(), rows=stories().rows[2:])
    text = Page(render_report([wrong])).text
    assert "0.0 in every row, and so not shown: exact match" in text and "not shown: exact" not in parsed.text
    lost = replace(stories(), rows=stories().rows[:1])
    fills = [item for _, item in Page(render_report([lost])).tags if item.get("class") == "fill ink"]
    assert str(fills[0]["style"]).startswith("width: 50.0%")


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
    assert "The first 200 of 205 questions are shown, so that the page stays small" in parsed.text
    assert "questions are shown" not in Page(render_report([stories(5)])).text


def test_the_page_stays_small_where_answers_are_long() -> None:
    page = render_report([stories(150, "a" * 1900)])
    parsed = Page(page)
    assert 100 < parsed.count("article") < 150 and len(page) < 900_000
    assert f"The first {parsed.count('article')} of 150 questions are shown" in parsed.text


def test_documents_are_shown_once_each_with_their_text_and_link_from_their_questions() -> None:
    results = stories(3)
    long = Document("long", "A crow. " * 1000)
    results = replace(results, samples=(*results.samples[:2], replace(results.samples[2], document=long)))
    parsed = Page(render_report([results]))
    documents = [attributes for tag, attributes in parsed.tags if tag == "details" and attributes.get("id")]
    assert [document["id"] for document in documents] == ["task-1-document-0", "task-1-document-1"]
    assert parsed.text.count("The fox ate the cheese.") == 1 and "(5,000 more characters)" in parsed.text


def test_runs_beside_join_the_lines_and_have_rows_of_their_own() -> None:
    results = stories()
    rows = tuple(row.means() for row in results.rows)
    half = replace(rows[0], virtual_tokens=60.0, compression_ratio=15.0)
    results = replace(results, beside=(EarlierRun("at-15", (half, rows[1]), reader_of(results.options)),))
    plot = quality_plot(results)
    assert {line.name: [point.label for point in line.points] for line in plot.lines} == {
        "compressed+adapter": ["30.0x", "15.0x"], "full": [""], "retrieval": [""], "none": [""],
    }  # fmt: skip
    text = Page(render_report([results])).text
    assert "compressed+adapter at-15" in text and "compressed+adapter this run" in text
    other = EarlierRun("other-model", (half,), "another")
    names = [line.name for line in quality_plot(replace(results, beside=(other,))).lines]
    assert names[0] == "compressed+adapter, this run" and names[-1] == "compressed+adapter, other-model"


def test_long_texts_are_shortened_aloud() -> None:
    assert "… (3,000 more characters)" in Page(render_report([stories(1, "a" * 5000)])).text


def test_several_tasks_stand_on_one_page_and_needles_get_a_heat_map(tmp_path: Path) -> None:
    write_report([stories(), needle_results()], tmp_path / "new" / "report.html", title="Two tasks")
    parsed = Page((tmp_path / "new" / "report.html").read_text(encoding="utf-8"))
    assert parsed.count("section") == 2 and parsed.count("h1") == 1
    links = {str(attributes["href"]) for tag, attributes in parsed.tags if tag == "a"}
    assert {"#task-1", "#task-2", "#task-2-document-11"} <= links
    assert {link.removeprefix("#") for link in links} <= {attributes.get("id") for _, attributes in parsed.tags}
    assert sum(attributes.get("class") == "heat" for _, attributes in parsed.tags) == 2
    assert "50 %" in parsed.text


def test_paths_that_are_not_utf_8_are_written_as_escapes(tmp_path: Path) -> None:
    results = replace(stories(1), options={"data": "q\udce9.jsonl"})
    results.save(tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8")) == results.to_dict()
    write_report([results], tmp_path / "report.html", command="lloco evaluate --data 'q\udce9.jsonl'")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count(r"q\udce9.jsonl") == 2


def test_no_results_are_no_report() -> None:
    with pytest.raises(DataError, match="no results to report"):
        render_report([])
