"""Servers that tests share: one without keys, and one with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from lloco.documents.document import Document
from lloco.server.access import load_access
from tests.corpora import lease_and_voyage, save_compressor
from tests.page_session import Opened, page_opener
from tests.serving import WILL, Site, fill_store, serving


@pytest.fixture(scope="module")
def compressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a seed whose model answers at length."""
    return save_compressor(tmp_path_factory.mktemp("compressor") / "tiny", seed=20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, compressor: Path) -> Iterator[Site]:
    """Corpora `ships` and `Wills` without keys; tests that change documents use corpora of their own."""
    store = fill_store(
        tmp_path_factory.mktemp("site") / "store",
        compressor,
        ships=lease_and_voyage(),
        Wills=[Document("will", WILL, "Will", "/secret/folder/will.txt")],
    )
    with serving(store, compressor=str(compressor)) as running:
        yield running


@pytest.fixture(scope="module")
def http(site: Site) -> Iterator[httpx.Client]:
    with site.http() as client:
        yield client


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[openai.OpenAI]:
    with site.client() as made:
        yield made


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, compressor: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("locked")
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"key-of-ships": ["ships", "planned"], "key-of-wills": ["wills"], "key-of-all": "*"}))
    store = fill_store(
        folder / "store", compressor, ships=lease_and_voyage(), Wills=[Document("will", WILL, "Will", "will.txt")]
    )
    with serving(store, load_access(keys), compressor=str(compressor)) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.browser import launched_browser  # skips where there is no playwright

    with launched_browser() as launched:
        yield launched


@pytest.fixture
def open_page(browser: Any) -> Iterator[Opened]:
    """Opens the page of a server; afterwards it must have asked nobody else and have failed nowhere."""
    with page_opener(browser) as opened:
        yield opened
