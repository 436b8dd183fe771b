"""The page in headless Chromium, against the server that sends it: questions, answers, keys, looks."""

import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from tests.corpora import lease_and_voyage
from tests.page_session import ANSWER, Opened, ask
from tests.serving import QUESTION, WILL, Site, direct, fill_store, serving


def is_too_wide(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def test_a_question_streams_its_answer_with_what_it_cost(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.evaluate(
        """() => { window.pieces = 0; new MutationObserver((all) => { window.pieces += all.length; })
        .observe(document.getElementById("conversation"), { childList: true, subtree: true }); }"""
    )
    ask(page)
    assert page.text_content(ANSWER).strip() == direct(site, max_tokens=64).strip()
    assert page.evaluate("window.pieces") > 10
    stored = site.store.corpus("ships").document("voyage")
    less = f"{stored.num_tokens / stored.num_virtual_tokens:.1f}x less"
    verdict = page.text_content(".verdict")
    read = f"Read {stored.num_virtual_tokens} vectors instead of {stored.num_tokens} tokens"
    assert verdict.startswith(f"{read} · {less} · first words ")
    first, whole = (float(found) for found in re.findall(r"(\d+\.\d\d) s", verdict))
    assert first <= whole
    assert page.get_attribute(ANSWER, "aria-live") is None and page.get_attribute(ANSWER, "aria-busy") == "false"
    assert "Cut after 64 tokens" in page.text_content(".note")


def test_a_finished_answer_is_announced_once(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.evaluate(
        """() => { window.said = []; const status = document.getElementById("status");
        const note = () => window.said.push(status.textContent);
        new MutationObserver(note).observe(status, { childList: true, subtree: true }); }"""
    )
    ask(page)
    assert page.get_attribute("#status", "aria-live") == "polite"
    assert page.evaluate("window.said") == [f"Answer: {page.text_content(ANSWER)}"]


def test_a_conversation_is_kept_until_it_is_cleared(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    assert not page.is_visible("#clear") and not page.is_visible("#follow")
    ask(page)
    ask(page, "Who signed the lease of the mill?", turns=2)
    assert page.locator(".turn h2").all_text_contents() == [QUESTION, "Who signed the lease of the mill?"]
    assert "2 questions so far" in page.text_content("#cost")
    shown = page.locator("#question").bounding_box()
    assert shown["y"] >= 0 and shown["y"] + shown["height"] <= 800
    page.click("#clear")
    assert page.locator(".turn").count() == 0 and page.evaluate("document.activeElement.id") == "question"


@pytest.mark.parametrize("follows", [False, True])
def test_what_was_said_before_is_sent_only_as_a_follow_up(open_page: Opened, site: Site, follows: bool) -> None:
    page = open_page(site.url)
    ask(page)
    said = page.text_content(ANSWER)
    page.set_checked("#follow-up", follows)
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "And where was the Petrel lost?", turns=2)
    before = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": said}] if follows else []
    last = {"role": "user", "content": "And where was the Petrel lost?"}
    assert sent.value.post_data_json["messages"] == [*before, last]


def test_an_answer_is_stopped_and_what_came_is_kept(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.route("**/v1/chat/completions", lambda route: None)
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    assert page.is_visible("#stop") and not page.is_visible("#send")
    page.click("#stop")
    page.wait_for_selector(".note >> text=Stopped.")
    page.unroute("**/v1/chat/completions")
    ask(page, turns=2)
    assert page.locator(".turn").count() == 2 and not page.is_visible("#stop")


def test_an_answer_is_copied(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    ask(page)
    page.click(".copy")
    page.wait_for_selector(".copy >> text=Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.text_content(ANSWER)


@pytest.mark.parametrize("mode", ["compressed", "hybrid", "full", "retrieval"])
def test_every_mode_can_be_asked(open_page: Opened, site: Site, mode: str) -> None:
    page = open_page(site.url)
    page.select_option("#mode", mode)
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page)
    assert sent.value.post_data_json["lloco"] == {"mode": mode}
    assert page.text_content(".verdict").startswith("Read ")


def test_the_model_is_named_and_loading_it_is_left_out_of_the_times(
    open_page: Opened, tmp_path: Path, compressor: Path
) -> None:
    with serving(fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())) as fresh:
        page = open_page(fresh.url)
        assert re.fullmatch(r"tiny \(\S+ M parameters\) answers\.", page.text_content("#model"))
        ask(page)
        assert re.search(r"Loading the model took \d+\.\d s, once", page.text_content(".note"))
        ask(page, turns=2)
        assert "Loading" not in page.locator(".note").nth(1).text_content()
        with fresh.http() as http:
            [described] = http.get("/v1/corpora").json()["data"]
    assert described["model"]["is_loaded"] and described["model"]["mode"] == "compressed"


def test_a_model_of_records_says_that_it_knows_no_other_files(tmp_path: Path) -> None:
    with serving(tmp_path / "store", compressor="records") as site, site.http() as http:
        made = http.post("/v1/corpora", json={"name": "mine"}).json()
    assert made["model"]["name"] == "records" and made["model"]["num_parameters"] > 2_000_000
    assert "answers about your own files will usually be wrong" in made["model"]["good_for"]
    assert not made["model"]["is_loaded"]


def test_the_question_chooses_among_several_corpora(open_page: Opened, tmp_path: Path, compressor: Path) -> None:
    wills = [Document("will", WILL, "Will", "will.txt")]
    store = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage(), wills=wills)
    with serving(store, compressor=str(compressor)) as both:
        page = open_page(both.url)
        page.wait_for_selector("#corpus option >> nth=2", state="attached")
        assert page.locator("#corpus option").all_text_contents() == ["ships", "wills", "whichever fits the question"]
        ask(page, "Who gets the orchard?", "lloco/auto")
        assert page.text_content("#corpus-size") == "2 corpora: lloco picks the best-matching one."
        page.wait_for_selector(".note >> text=From the corpus wills, 100 % of the votes.")
        page.click("#conversation .source")
        page.wait_for_selector("mark >> text=orchard")


def test_vectors_and_full_text_are_compared_in_one_table(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    ask(page, button="#compare")
    stored = site.store.corpus("ships").document("voyage")
    ratio = f"{stored.num_tokens / stored.num_virtual_tokens:.1f}x"
    rows = [row.locator("th, td").all_text_contents() for row in page.locator(".turn tr").all()]
    assert rows[0] == ["", "vectors", "full text", "ratio"]
    assert [row[0] for row in rows[1:]] == ["answer", "read", "first words", "total"]
    assert rows[2][1:] == [f"{stored.num_virtual_tokens} vectors", f"{stored.num_tokens} tokens", ratio]
    assert all(re.fullmatch(r"\d+\.\d\d s", cell) for row in rows[3:] for cell in row[1:3])
    texts = page.locator(ANSWER).all_text_contents()
    assert len(texts) == 2 and texts[0] != texts[1]
    assert page.locator(".sources .source").count() == 1
    read = f"Read {stored.num_virtual_tokens} vectors instead of {stored.num_tokens} tokens"
    assert page.text_content(".verdict") == f"{read} · {ratio} less"


def test_keys_alone_are_enough(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.select_option("#corpus", "ships")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_selector(".verdict", state="visible")
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.matches('.turn .source')"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#reader[open] mark")
    page.keyboard.press("Escape")
    page.wait_for_selector("#reader:not([open])", state="attached")
    assert page.evaluate("document.activeElement.className") == "source"


def test_a_question_that_finds_nothing_is_said_in_plain_words(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.select_option("#corpus", "ships")
    page.fill("#question", "Xyzzy plugh?")
    page.press("#question", "Enter")
    page.wait_for_selector(".failed .note >> text=No match for this question. Rephrase it")
    assert page.is_enabled("#send")


def test_a_server_that_has_ended_is_said_in_plain_words(open_page: Opened, tmp_path: Path, compressor: Path) -> None:
    with serving(fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())) as site:
        page = open_page(site.url)
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    page.wait_for_selector(".failed .note >> text=cannot be reached")


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(open_page: Opened, locked: Site) -> None:
    page = open_page(locked.url)
    assert page.is_visible("#key-form") and not page.is_visible("#ask") and not page.is_visible("#problem")
    assert not page.is_visible("#documents")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(open_page: Opened, site: Site, compressor: Path, scheme: str) -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 4
    documents = [Document(long, f"The brig Petrel. {long}", long)]
    compress_into(site.store.corpus("wide-" + "w" * 50), documents, load_compressor(compressor))
    page = open_page(site.url, 360, scheme)
    ask(page, f"Petrel {long}", "wide-" + "w" * 50, button="#compare")
    assert not is_too_wide(page)
    for button in page.locator("button:visible, select:visible, .button").all():
        box = button.bounding_box()
        assert box["height"] >= 40 and box["x"] >= 0 and box["x"] + box["width"] <= 360
    page.click("#conversation .source")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Opened, site: Site, scheme: str) -> None:
    script = Path(os.environ.get("LLOCO_AXE", "node_modules/axe-core/axe.min.js"))
    if not script.is_file():
        pytest.skip("no axe-core: npm install axe-core, or name its axe.min.js in LLOCO_AXE")
    page = open_page(site.url, scheme=scheme)
    ask(page)
    ask(page, button="#compare", turns=2)
    page.evaluate(script.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then((all) => all.violations)")
    page.click("#conversation .source")
    page.wait_for_selector("#reader mark")
    found += page.evaluate("axe.run().then((all) => all.violations)")
    assert [(fault["id"], fault["impact"], [node["html"] for node in fault["nodes"]]) for fault in found] == []


def test_text_has_contrast_in_light_and_in_dark() -> None:
    css = (files("lloco") / "server" / "page" / "page.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part)) for part in css.split("@media", 2)[:2])
    for colours in (light, dark):
        for over, under in (("ink", "back"), ("ink", "card"), ("faint", "card"), ("deep", "back"), ("on-deep", "deep")):
            assert contrast(colours[over], colours[under]) >= 4.5, (over, under)
        for over, under in (("edge", "card"), ("edge", "back")):
            assert contrast(colours[over], colours[under]) >= 3, (over, under)
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
