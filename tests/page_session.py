"""The server's page in a browser, as its tests use it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.serving import QUESTION

ANSWER = "#conversation .text"
Opened = Callable[..., Any]


@contextmanager
def page_opener(browser: Any) -> Iterator[Opened]:
    """Open the page of a server; afterwards it must have asked nobody else and have failed nowhere."""
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
        page.wait_for_selector("#ask:not([hidden]), #empty:not([hidden]), #key-form:not([hidden])")
        page.wait_for_load_state("networkidle")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def ask(page: Any, question: str = QUESTION, corpus: str = "ships", *, button: str = "#send", turns: int = 1) -> None:
    page.select_option("#corpus", corpus)
    page.fill("#question", question)
    page.click(button)
    page.wait_for_selector(f".turn:nth-of-type({turns}) .verdict", state="visible")
