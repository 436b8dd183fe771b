"""NOTICE names every file of data in the package with its licence, and what others ask to be kept."""

import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTICE = (ROOT / "NOTICE").read_text()
DATA = {".gz", ".safetensors", ".json", ".png"}


def test_every_file_of_data_is_listed() -> None:
    listed = re.findall(r"^(lloco/\S+)(?: \(the others\))? {2,}", NOTICE, re.MULTILINE)
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "lloco").rglob("*") if path.suffix in DATA]
    assert files and listed
    assert [name for name in files if not any(fnmatch(name, f"{pattern.rstrip('*')}*") for pattern in listed)] == []
    assert [pattern for pattern in listed if not any(fnmatch(name, f"{pattern}*") for name in files)] == []


def test_copyright_lines_and_the_text_of_the_mit_license_are_kept() -> None:
    assert "Copyright (c) 2024 Sijun" in NOTICE and "Copyright 2021 UCI Digital Learning Lab" in NOTICE
    assert "The above copyright notice and this permission notice shall be included in all" in NOTICE
    for path in (ROOT / "lloco" / "templates").glob("lloco_*.json"):
        assert path.name in NOTICE


def test_the_wheel_carries_notice_and_license() -> None:
    assert 'license-files = ["LICENSE", "NOTICE"]' in (ROOT / "pyproject.toml").read_text()


def test_both_models_of_records_have_the_tokenizer_that_the_notice_tells_of() -> None:
    first, second = ((ROOT / "lloco" / "bundled" / name) for name in ("model", "autocompressor"))
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()
    for folder in (first, second):
        card = (folder / "README.md").read_text()
        assert "951 English texts" in card and "cities, countries and rivers are real" in " ".join(card.split())
