"""The page in headless Chromium: sources, the reader, files that are added, replaced and deleted."""

from pathlib import Path
from typing import Any

import pytest

from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.documents.formats import FILE_SUFFIXES
from tests.corpora import LEASE, VOYAGE, lease_and_voyage
from tests.page_session import Opened, ask
from tests.serving import Site, serving

EVIL = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"


def test_a_source_opens_its_document_at_the_passage(open_page: Opened, site: Site, compressor: Path) -> None:
    # A character that JavaScript counts as two must not move the mark.
    text = "🐟 Of fish. " * 150 + "\n\nThe brig Sprat carried herring to Bergen.\n\n" + "Of nets. " * 150
    compress_into(site.store.corpus("fish"), [Document("fish", text, "On fish")], load_compressor(compressor))
    page = open_page(site.url)
    ask(page, "What did the brig Sprat carry?", "fish")
    page.click("#conversation .source")
    page.wait_for_selector("#reader mark")
    marked = page.text_content("#reader mark")
    assert marked.strip() == "The brig Sprat carried herring to Bergen."
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
    assert page.text_content("#list-title") == "In the corpus Wills (1)"
    assert "voyage" not in page.text_content("#list")


def test_a_source_has_its_title_as_name_and_its_passage_as_description(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    ask(page)
    source = page.locator("#conversation .source")
    assert source.get_attribute("aria-label") == "Voyage"
    assert "The brig Petrel" in page.text_content(f"#{source.get_attribute('aria-describedby')}")


def test_signs_of_markdown_stay_out_of_what_is_quoted(open_page: Opened, site: Site, compressor: Path) -> None:
    text = "# **The brig** Dunlin\n\n- Her `master` was [Ada Lund](http://x.example/).\n\n"
    text += "| port | day |\n|---|---|\n| Leith | 3 |\n"
    compress_into(site.store.corpus("marks"), [Document("dunlin", text, "Dunlin")], load_compressor(compressor))
    page = open_page(site.url)
    ask(page, "Who was master of the Dunlin?", "marks")
    quoted = page.text_content("#conversation .source span")
    assert "The brig Dunlin" in quoted and "Ada Lund" in quoted and not set("#*`|[") & set(quoted)


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
        assert page.text_content("#conversation .source strong") == "voyage"
        page.set_input_files("#file", [{"name": "voyage.txt", "mimeType": "text/plain", "buffer": LEASE.encode()}])
        page.wait_for_selector("#uploads .failed >> text=has a document of this name")
        page.click("#uploads button")
        page.wait_for_selector("#uploads .done >> text=replaced")
        page.click("#list .source")
        page.wait_for_selector("#reader-text >> text=Agnes Webb")


def test_a_file_that_cannot_be_read_is_said_in_plain_words(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    page.select_option("#corpus", "ships")
    images = [{"name": name, "mimeType": "image/png", "buffer": b"x"} for name in ("photo.png", "map.jpg")]
    page.set_input_files("#file", images)
    page.wait_for_selector("#uploads .failed")
    said = page.text_content("#uploads")
    assert said.startswith("Can't read photo.png, map.jpg. Supported: ") and said.count(".pdf") == 1


def test_files_of_every_type_that_is_read_can_be_chosen(open_page: Opened, site: Site) -> None:
    page = open_page(site.url)
    assert page.get_attribute("#file", "accept").split(",") == sorted(FILE_SUFFIXES)


def test_several_files_wait_in_sight_and_each_says_what_became_of_it(
    open_page: Opened, site: Site, tmp_path: Path
) -> None:
    page = open_page(site.url)
    page.fill("#into", "several")
    held: list[Any] = []
    page.route("**/v1/documents", lambda route: route.continue_() if held else held.append(route))
    mail = b"From: a@x.example\nSubject: Slate\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
    mail += b"Content-Type: text/plain\n\nThe slate went to Leith.\n--b\nContent-Type: image/png\n"
    mail += b"Content-Disposition: attachment; filename=slate.png\n\nx\n--b--\n"
    files = [("voyage.txt", VOYAGE.encode()), ("empty.txt", b" "), ("slate.eml", mail)]
    page.set_input_files("#file", [{"name": n, "mimeType": "text/plain", "buffer": data} for n, data in files])
    page.wait_for_selector("#uploads li >> nth=2")
    assert page.locator("#uploads li").all_text_contents()[1:] == ["empty.txt: waiting …", "slate.eml: waiting …"]
    held[0].continue_()
    page.wait_for_selector("#uploads li:nth-child(3).done")
    lines = page.locator("#uploads li").all_text_contents()
    assert lines[0].startswith("voyage.txt: added in ") and lines[1] == "empty.txt: not added, empty: no text in it."
    assert "Left out: " in lines[2] and "attach" in lines[2]
    assert page.locator("#list .source strong").count() == 2


@pytest.mark.parametrize(("name", "said"), [("", "Choose a corpus first."), ("../x", "Use 1 to 64 letters, digits")])
def test_a_corpus_without_a_good_name_is_said_in_plain_words(
    open_page: Opened, site: Site, name: str, said: str
) -> None:
    page = open_page(site.url)
    page.fill("#into", name)
    drop(page, "voyage.txt", VOYAGE)
    page.wait_for_selector("#into-problem", state="visible")
    assert page.text_content("#into-problem").startswith(said)
    assert page.get_attribute("#into", "aria-invalid") == "true"
    assert page.locator("#uploads li").count() == 0


def test_a_document_is_deleted_when_that_is_confirmed(open_page: Opened, site: Site, compressor: Path) -> None:
    corpus = site.store.corpus("waste")
    compress_into(corpus, lease_and_voyage(), load_compressor(compressor))
    page = open_page(site.url)
    page.select_option("#corpus", "waste")
    remove = page.get_by_role("button", name="Delete lease", exact=True)
    remove.click()
    assert "Delete lease from the corpus waste?" in page.text_content("#confirm-text")
    page.click("#confirm-no")
    assert "lease" in corpus.document_ids()
    remove.click()
    page.click("#confirm-yes")
    page.wait_for_selector("#list-title >> text=(1)")
    assert corpus.document_ids() == ["voyage"]


def test_a_long_list_is_filtered(open_page: Opened, site: Site, compressor: Path) -> None:
    documents = [Document(f"day-{day}", f"Day {day}: {VOYAGE}", f"Day {day}") for day in range(12)]
    compress_into(site.store.corpus("days"), documents, load_compressor(compressor))
    page = open_page(site.url)
    page.select_option("#corpus", "Wills")
    page.wait_for_selector("#list-title >> text=Wills (1)")
    assert not page.is_visible("#filter")
    page.select_option("#corpus", "days")
    page.wait_for_selector("#list-title >> text=days (12)")
    page.evaluate("document.getElementById('listed').open = true")
    page.fill("#filter", "DAY-11")
    assert page.locator("#list .document:visible").count() == 1
    assert page.text_content("#filtered") == "1 of 12 documents"


def test_a_title_that_is_markup_is_shown_and_never_run(open_page: Opened, site: Site, compressor: Path) -> None:
    documents = [Document(EVIL.replace("/", ""), f"{EVIL} The brig Petrel. {EVIL}", EVIL)]
    compress_into(site.store.corpus("evil"), documents, load_compressor(compressor))
    page = open_page(site.url)
    ask(page, EVIL + " Petrel", "evil")
    page.click("#conversation .source")
    page.wait_for_selector("#reader mark")
    assert EVIL in page.text_content(".turn h2") and page.text_content("#reader-title") == EVIL
    assert page.text_content("#conversation .source strong") == EVIL == page.text_content("#list .source strong")
    assert page.locator("img").count() == 0 and page.locator("body script").count() == 0
    assert page.title() == "lloco"
