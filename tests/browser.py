"""Headless Chromium for the tests of pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="pages are tested with playwright: make setup")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-quic", "--no-first-run")


@contextmanager
def launched_browser() -> Iterator[Any]:
    """The system's browser, or playwright's own; the test is skipped where there is none."""
    with playwright.sync_playwright() as started:
        path = next((found for item in BROWSERS if (found := shutil.which(item))), started.chromium.executable_path)
        if not Path(path).exists():
            pytest.skip("no browser: apt-get install chromium, or .venv/bin/playwright install chromium")
        flags = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else [*QUIET]
        launched = started.chromium.launch(executable_path=path, args=flags)
        yield launched
        launched.close()
