"""The page in headless Chromium, against the server that sends it."""

import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from tests.browser import launched_browser
from tests.corpora import LEASE, VOYAGE, lease_and_voyage
from tests.serving import QUESTION, WILL, Site, direct, fill_store, serving

EVIL = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"
ANSWER = "#answers article .text"
Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched_browser() as launched:
        yield launched


@pytest.fixture
def open_page(browser: Any) -> Iterator[Opened]:
    """Opens the page of a server; afterwards it must have asked nobody else and have failed nowhere."""
    contexts, faults, urls = [], [], set()

    def opened(url: str, width: int = 1200, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        urls.add(url)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("request", lambda request: request.url.startswith(tuple(urls)) or faults.append(request.url))
        # Chromium itself writes a line for every refusal, which tests provoke.
        page.on("console", lambda said: said.text.startswith("Failed to load resource") or faults.append(said.text))
        page.goto(url)
        page.wait_for_selector("#list-title, #empty, #key-form", state="attached")
        page.wait_for_load_state("networkidle")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def ask(page: Any, question: str = QUESTION, corpus: str = "ships", *, num_answers: int = 1) -> None:
    page.select_option("#corpus", corpus)
    page.fill("#question", question)
    page.click("#send")
    page.wait_for_selector(f"#answers article:nth-of-type({num_answers}) dl div >> nth=2")


def figures(page: Any, number: int = 0) -> dict[str, str]:
    list_ = page.locator("#answers article dl").nth(number)
    return dict(zip(list_.locator("dt").all_text_contents(), list_.locator("dd").all_text_contents(), strict=True))


def is_too_wide(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def test_a_question_streams_its_answer_with_what_it_cost(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.evaluate(
        """() => { window.pieces = 0; new MutationObserver((all) => { window.pieces += all.length; })
        .observe(document.getElementById("answers"), { childList: true, subtree: true }); }"""
    )
    ask(page)
    assert page.text_content(ANSWER).strip() == direct(site, max_tokens=64).strip()
    assert page.evaluate("window.pieces") > 10
    stored = site.store.corpus("ships").document("voyage")
    shown = figures(page)
    assert shown["read"] == f"{stored.num_virtual_tokens} vectors"
    assert shown["instead of"] == f"{stored.num_tokens} tokens"
    assert shown["tokens saved"].startswith(f"{stored.num_tokens - stored.num_virtual_tokens} (")
    first, whole = (float(shown[name].removesuffix(" s")) for name in ("first words", "whole answer"))
    assert re.fullmatch(r"\d+\.\d\d s", shown["first words"]) and first <= whole
    assert page.get_attribute(ANSWER, "aria-live") == "polite" and page.get_attribute(ANSWER, "aria-busy") == "false"
    assert "Cut after 64 tokens" in page.text_content("#answers .note")


def test_the_question_chooses_among_several_corpora(open_page: Opened, tmp_path: Path, compressor: Path) -> None:
    wills = [Document("will", WILL, "Will", "will.txt")]
    store = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage(), wills=wills)
    with serving(store, compressor=str(compressor)) as both:
        page = open_page(both.url)
        page.wait_for_selector("#corpus option >> nth=2", state="attached")
        assert page.locator("#corpus option").all_text_contents() == ["ships", "wills", "whichever fits the question"]
        ask(page, "Who gets the orchard?", "lloco/auto")
        assert "2 corpora" in page.text_content("#corpus-size")
        page.wait_for_selector("#answers .note >> text=From the corpus wills: 100 % of the votes.")
        page.click("#answers .source")
        page.wait_for_selector("mark >> text=orchard")


def test_a_source_opens_its_document_at_the_passage(open_page: Opened, site: Site, compressor: Path) -> None:
    # A character that JavaScript counts as two must not move the mark.
    text = "🐟 Of fish. " * 150 + "\n\nThe brig Sprat carried herring to Bergen.\n\n" + "Of nets. " * 150
    compress_into(site.store.corpus("fish"), [Document("fish", text, "On fish")], load_compressor(compressor))
    page = open_page(site.url)
    ask(page, "What did the brig Sprat carry?", "fish")
    page.click("#answers .source")
    page.wait_for_selector("#reader mark")
    marked = page.text_content("#reader mark")
    assert "The brig Sprat carried herring" in marked and len(marked) < len(text) / 2 and marked in text
    assert page.text_content("#reader-text") == text and page.text_content("#reader-title") == "On fish"
    box, shown = (page.locator(selector).bounding_box() for selector in ("#reader mark", "#reader-text"))
    assert box["y"] < shown["y"] + shown["height"] and box["y"] + box["height"] > shown["y"]


def test_an_earlier_response_that_comes_late_is_not_shown(site: Site, open_page: Opened) -> None:
    page = open_page(site.url)
    held: list[Any] = []
    page.route("**/v1/documents?corpus=ships", lambda route: held.append(route))
    page.select_option("#corpus", "ships")
    page.select_option("#corpus", "Wills")
    page.locator("#list").get_by_text("will").first.wait_for()
    page.select_option("#corpus", "ships")
    page.select_option("#corpus", "Wills")
    assert held, "no list of ships was asked for"
    for route in held:
        route.continue_()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(200)
    assert page.text_content("#list-title") == "In the corpus Wills"
    assert "voyage" not in page.text_content("#list")


def test_vectors_and_full_text_are_compared_side_by_side(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.check("#compare")
    ask(page, num_answers=2)
    assert page.locator("#answers h3").all_text_contents() == ["Read from vectors", "Read from the full text"]
    assert figures(page, 1)["read"] == figures(page, 0)["instead of"]
    left, right = (page.locator("#answers article").nth(number).bounding_box() for number in (0, 1))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    assert page.locator(ANSWER).nth(0).text_content() != page.locator(ANSWER).nth(1).text_content()


def test_keys_alone_are_enough(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "question":
            break
    page.select_option("#corpus", "ships")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_selector("#answers dl div >> nth=4")
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "source":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#reader[open] mark")
    page.keyboard.press("Escape")
    page.wait_for_selector("#reader:not([open])", state="attached")
    assert page.evaluate("document.activeElement.className") == "source"


def drop(page: Any, name: str, text: str) -> None:
    held = page.evaluate_handle(
        """([name, text]) => { const held = new DataTransfer();
        held.items.add(new File([text], name, { type: "text/plain" })); return held; }""",
        [name, text],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": held})


def test_a_dropped_file_makes_a_corpus_that_answers(open_page: Opened, tmp_path: Path, compressor: Path) -> None:
    with serving(tmp_path / "store", compressor=str(compressor)) as site:
        page = open_page(site.url)
        assert page.is_visible("#empty") and "lloco compress" in page.text_content("#empty")
        assert not page.is_visible("#ask")
        drop(page, "voyage.txt", VOYAGE)
        page.wait_for_selector("#uploads .done")
        assert "voyage.txt: added" in page.text_content("#uploads") and "are now" in page.text_content("#uploads")
        assert not page.is_visible("#empty")
        ask(page, corpus="documents")
        assert page.text_content("#answers .source strong") == "voyage"
        page.set_input_files("#file", [{"name": "voyage.txt", "mimeType": "text/plain", "buffer": LEASE.encode()}])
        page.click("#uploads button")
        page.wait_for_selector("#uploads .done >> text=replaced")
        page.click("#list .source")
        page.wait_for_selector("#reader-text >> text=Agnes Webb")


def test_a_file_that_cannot_be_read_is_said_in_plain_words(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.select_option("#corpus", "ships")
    drop(page, "photo.png", "no text")
    page.wait_for_selector("#uploads .failed")
    assert "photo.png" in page.text_content("#uploads") and ".pdf" in page.text_content("#uploads")


def test_a_question_that_finds_nothing_is_said_in_plain_words(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.select_option("#corpus", "ships")
    page.fill("#question", "Xyzzy plugh?")
    page.press("#question", "Enter")
    page.wait_for_selector("#answers .failed .note >> text=No document of this corpus has a word of the question")
    assert page.is_enabled("#send")


def test_a_server_that_has_ended_is_said_in_plain_words(open_page: Opened, tmp_path: Path, compressor: Path) -> None:
    with serving(fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())) as site:
        page = open_page(site.url)
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    page.wait_for_selector("#answers .failed .note >> text=cannot be reached")


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(open_page: Opened, locked: Site) -> None:
    page = open_page(locked.url)
    assert page.is_visible("#key-form") and not page.is_visible("#ask") and not page.is_visible("#problem")
    page.fill("#key", "wrong")
    page.press("#key", "Enter")
    page.wait_for_selector("#problem >> text=does not know this key")
    page.fill("#key", "key-of-ships")
    page.press("#key", "Enter")
    page.wait_for_selector("#ask", state="visible")
    assert not page.is_visible("#key-form") and not page.is_visible("#problem")
    assert page.locator("#corpus option").all_text_contents() == ["ships"]
    ask(page)
    page.reload()
    page.wait_for_selector("#ask", state="visible")
    assert page.evaluate("Object.values(sessionStorage)") == ["key-of-ships"]
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""] and page.context.cookies() == []


def test_a_title_that_is_markup_is_shown_and_never_run(open_page: Opened, site: Site, compressor: Path) -> None:
    documents = [Document(EVIL.replace("/", ""), f"{EVIL} The brig Petrel. {EVIL}", EVIL)]
    compress_into(site.store.corpus("evil"), documents, load_compressor(compressor))
    page = open_page(site.url)
    ask(page, EVIL + " Petrel", "evil")
    page.click("#answers .source")
    page.wait_for_selector("#reader mark")
    assert EVIL in page.text_content("#answers h2") and page.text_content("#reader-title") == EVIL
    assert page.text_content("#answers .source strong") == EVIL == page.text_content("#list .source strong")
    assert page.locator("img").count() == 0 and page.locator("body script").count() == 0
    assert page.title() == "lloco"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(open_page: Opened, site: Site, compressor: Path, scheme: str) -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 4
    documents = [Document(long, f"The brig Petrel. {long}", long)]
    compress_into(site.store.corpus("wide-" + "w" * 50), documents, load_compressor(compressor))
    page = open_page(site.url, 360, scheme)
    page.check("#compare")
    ask(page, f"Petrel {long}", "wide-" + "w" * 50, num_answers=2)
    assert not is_too_wide(page)
    for button in page.locator("button:visible, select:visible, .button").all():
        box = button.bounding_box()
        assert box["height"] >= 40 and box["x"] >= 0 and box["x"] + box["width"] <= 360
    page.click("#answers .source")
    page.wait_for_selector("#reader mark")
    assert not is_too_wide(page) and page.locator("#reader").bounding_box()["width"] <= 360


def test_the_page_lets_nothing_but_its_own_files_run(http: httpx.Client) -> None:
    for name, kind in (("", "text/html"), ("page/page.css", "text/css"), ("page/page.js", "text/javascript")):
        sent = http.get(f"/{name}")
        assert sent.status_code == 200 and sent.headers["content-type"].startswith(kind)
        assert sent.headers["x-content-type-options"] == "nosniff"
        policy = sent.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    for wrong in ("page/", "page/page.py", "page/..%2fapp.py", "page/%2e%2e/app.py", "page/index.html/x"):
        assert http.get(f"/{wrong}").status_code == 404, wrong


def test_text_has_contrast_in_light_and_in_dark() -> None:
    css = (files("lloco") / "server" / "page" / "page.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part)) for part in css.split("@media", 2)[:2])
    for colours in (light, dark):
        for over, under in (("ink", "back"), ("ink", "card"), ("faint", "card"), ("deep", "back"), ("on-deep", "deep")):
            assert contrast(colours[over], colours[under]) >= 4.5, (over, under)
        for over, under in (("bad", "card"), ("good", "card"), ("on-mark", "mark"), ("ink", "line")):
            assert contrast(colours[over], colours[under]) >= 4.5, (over, under)


def contrast(colour: str, other: str) -> float:
    """Contrast ratio of WCAG 2."""
    light, dark = sorted((luminance(colour), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    shares = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
