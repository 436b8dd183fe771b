"""What tests of the command line share: a home of their own, small documents, a corpus of them, a task."""

import os
from pathlib import Path

import pytest

from tests.command import Run, write_lines
from tests.corpora import LEASE, VOYAGE, save_compressor

# Servers of tests are on this machine, whatever proxy leads out of it.
for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))
# The small model, whatever is installed: tests need its speed.
os.environ["LLOCO_MODEL"] = "records"


@pytest.fixture(scope="session")
def compressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_compressor(tmp_path_factory.mktemp("compressor") / "tiny")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a store and a working folder of its own."""
    monkeypatch.setenv("LLOCO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLOCO_DEBUG", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "lease.txt").write_text(LEASE)
    (folder / "voyage.md").write_text(VOYAGE)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


@pytest.fixture
def filled(run: Run, docs: Path, compressor: Path) -> Run:
    run.json("compress", docs, "--corpus", "c", "--compressor", compressor, "--quiet")
    return run


@pytest.fixture
def qa(tmp_path: Path) -> Path:
    return write_lines(
        tmp_path / "qa_task.jsonl",
        {"id": "l", "text": LEASE, "questions": [{"id": "q1", "question": "Who signed?", "answers": ["Agnes Webb"]}]},
        {"id": "v", "text": VOYAGE, "questions": [{"id": "q2", "question": "Who was lost?", "answers": ["Petrel"]}]},
    )
