"""Report pages in headless Chromium: filters, narrow screens, dark ones, print, and text that would run if it could."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lloco.bench.latency import LatencyOptions, measure_latency
from lloco.bench.show.report import write_bench_report
from lloco.documents.document import Document
from lloco.evals.report import write_report
from lloco.evals.results import Results
from tests.browser import launched_browser
from tests.test_evaluate import needle_results
from tests.test_report import HOSTILE, stories
from tests.tiny import tiny_decoder

Opened = Callable[..., Any]
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched_browser() as launched:
        yield launched


@pytest.fixture
def open_file(browser: Any) -> Iterator[Opened]:
    """Opens a page; afterwards it must have asked for nothing but itself and have failed nowhere."""
    contexts: list[Any] = []
    faults: list[str] = []

    def opened(path: Path, width: int = 1280, *, scheme: str = "light", has_scripts: bool = True) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=has_scripts
        )
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("console", lambda said: faults.append(said.text))
        page.on("request", lambda request: request.url.split("#")[0] == path.as_uri() or faults.append(request.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def two_documents() -> Results:
    """Every second question is about the other document; compressed is right about odd numbers, full always."""
    results = stories(12)
    other = Document("crow", "The crow sang.", title="The crow alone")
    asked = tuple(
        replace(sample, document=other) if number % 4 == 1 else sample for number, sample in enumerate(results.samples)
    )
    return replace(results, samples=asked)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    hostile = stories(4, HOSTILE)
    evil = Document(HOSTILE, HOSTILE, title=HOSTILE)
    asked = tuple(replace(sample, question=HOSTILE, document=evil, options=(HOSTILE,)) for sample in hostile.samples)
    hostile = replace(hostile, samples=asked, options={HOSTILE: HOSTILE}, versions={HOSTILE: HOSTILE})
    write_report([two_documents()], folder / "stories.html")
    write_report([hostile, needle_results()], folder / "hostile.html", title=HOSTILE, command=HOSTILE)
    measured = measure_latency(tiny_decoder(), LatencyOptions(contexts=(64, 128), ratio=8, new_tokens=3, repeats=2))
    write_bench_report(measured, folder / "bench.html", command="lloco bench latency")
    return {path.stem: path for path in folder.iterdir()}


def test_filters_find_what_one_mode_gets_right_and_another_wrong(open_file: Opened, pages: dict[str, Path]) -> None:
    page = open_file(pages["stories"])
    shown = page.locator("article:visible")
    said = page.locator("form output")
    assert (shown.count(), said.inner_text()) == (12, "12 of 12 questions")
    assert page.get_by_label("Mode 1", exact=True).input_value() == "compressed+adapter"
    assert page.get_by_label("Mode 2", exact=True).input_value() == "full"
    page.get_by_label("Score of mode 1").select_option("wrong")
    page.get_by_label("Score of mode 2").select_option("right")
    assert (shown.count(), said.inner_text()) == (6, "6 of 12 questions")
    assert "a crow" in shown.first.inner_text()
    page.get_by_label("Score of mode 2").select_option("wrong")
    assert shown.count() == 0
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("12 of 12 questions", exact=True).wait_for()
    page.get_by_label("Document", exact=True).select_option(label="The crow alone (3)")
    assert shown.count() == 3
    page.get_by_label("Score of mode 1").select_option("wrong")
    assert shown.count() == 0


def test_words_are_looked_for_where_they_are_wanted(open_file: Opened, pages: dict[str, Path]) -> None:
    page = open_file(pages["stories"])
    shown = page.locator("article:visible")
    words, field = page.get_by_label("Words", exact=True), page.get_by_label("Words in")
    words.fill("number 11")
    assert shown.count() == 1
    words.fill("CROW")
    assert shown.count() == 12  # the document's title, or an answer
    counts = {}
    for name in ("question", "reference", "answer", "document"):
        field.select_option(name)
        counts[name] = shown.count()
    assert counts == {"question": 0, "reference": 0, "answer": 12, "document": 12}
    words.fill("alone")
    assert shown.count() == 3


def test_a_questions_document_opens(open_file: Opened, pages: dict[str, Path]) -> None:
    page = open_file(pages["stories"])
    text = page.get_by_text("The crow sang.")
    assert not text.is_visible()
    page.get_by_role("link", name="The crow alone").first.click()
    text.wait_for(state="visible")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["stories", "hostile", "bench"])
def test_no_page_scrolls_sideways_and_dark_differs(
    open_file: Opened, pages: dict[str, Path], name: str, width: int
) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        page = open_file(pages[name], width, scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        box = page.locator("svg.plot").first.bounding_box()
        assert box is not None and box["x"] > 0 and box["x"] + box["width"] < width
    assert len(grounds) == 2


def test_hostile_text_is_shown_and_does_nothing(open_file: Opened, pages: dict[str, Path]) -> None:
    """What it would do is an alert or a request, and both are faults."""
    page = open_file(pages["hostile"])
    assert page.locator("img").count() == 0 and page.locator("script").count() == 1
    assert page.locator("h1").inner_text().startswith("</article><script>alert(1)</script>")
    page.locator("input[type=search]").first.fill("alert(2)")
    assert page.locator("#task-1 article:visible").count() == 4
    page.locator("details a, article a").first.click()


def test_without_scripts_everything_is_there_but_the_filter(open_file: Opened, pages: dict[str, Path]) -> None:
    page = open_file(pages["stories"], has_scripts=False)
    assert page.locator("article:visible").count() == 12
    assert page.locator("table:visible").count() >= 2
    assert page.locator("form").is_hidden()


def test_every_mark_stands_inside_its_plot(open_file: Opened, pages: dict[str, Path]) -> None:
    for name in ("stories", "hostile", "bench"):
        page = open_file(pages[name], 390)
        for plot in page.locator("svg.plot").all():
            frame = plot.bounding_box()
            for mark in plot.locator("g path, g line").all():
                box = mark.bounding_box()
                assert frame["x"] - 9 <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"] + 9
                assert frame["y"] - 9 <= box["y"] and box["y"] + box["height"] <= frame["y"] + frame["height"] + 9


def test_printed_pages_are_light_and_leave_out_the_filter(open_file: Opened, pages: dict[str, Path]) -> None:
    page = open_file(pages["stories"], scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("form").is_hidden()
    assert page.pdf().startswith(b"%PDF")
