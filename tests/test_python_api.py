"""`lloco.compress`, `questions`, `finetune`, `evaluate` and `ask`, from files to scores, as a script would use them."""

from pathlib import Path

import pytest

import lloco
from lloco.errors import LlocoError, StoreError
from tests.corpora import save_compressor

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def corpus(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    compressor = save_compressor(tmp_path / "compressor")
    report = lloco.compress(docs, "c", compressor=str(compressor), ratio=4)
    assert report.num_new > 0 and report.compression_ratio is not None
    assert all(document.reason for document in report.skipped)
    return "c"


def test_a_script_compresses_asks_studies_and_scores(
    corpus: str, docs: Path, qa: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    compressor = str(tmp_path / "compressor")
    again = lloco.compress([docs], corpus, compressor=compressor, ratio=4)
    assert again.num_new == 0 and again.num_unchanged > 0
    answer = lloco.ask(corpus, "Who was master of the Petrel?", max_tokens=3)
    assert answer.documents[0].document_id == "voyage.md"
    made = lloco.questions(corpus, "pairs.jsonl", generator="templates")
    assert Path(made["out"]).is_file() and made["num_questions"] > 0
    adapter = lloco.finetune(corpus, made["out"], num_steps=2, batch_size=2, micro_batch_size=2)
    assert (adapter / "adapter_model.safetensors").is_file()
    with lloco.Store() as store:
        assert store.corpus(corpus).summary().adapter_digest is not None
    results = lloco.evaluate("jsonl", qa, corpus=corpus, modes=["compressed", "full"], max_tokens=2, budget=8)
    assert [row.mode for row in results.rows] == ["compressed", "compressed+adapter", "full", "full+adapter"]
    assert capfd.readouterr().out == ""


def test_mistakes_are_plain_errors(corpus: str, docs: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"no keyword 'ration': choose from .*ratio"):
        lloco.compress(docs, corpus, ration=4)
    with pytest.raises(LlocoError, match="give --ratio or --segment-len, not both"):
        lloco.compress(docs, corpus, ratio=4, segment_len=8)
    for call in (
        lambda: lloco.ask("nope", "Who?"),
        lambda: lloco.questions("nope"),
        lambda: lloco.finetune("nope", self_study=True),
    ):
        with pytest.raises(StoreError, match="'nope'"):
            call()
    with pytest.raises(LlocoError, match="self_study=True"):
        lloco.finetune(corpus)
    with pytest.raises(LlocoError, match=r"nope\.jsonl"):
        lloco.evaluate("jsonl", tmp_path / "nope.jsonl")
    with pytest.raises(LlocoError, match="fool"):
        lloco.evaluate("jsonl", tmp_path / "nope.jsonl", modes=["fool"])
