"""`lloco finetune --self-study`: from documents alone to an adapter, and its refresh."""

import json
from pathlib import Path
from typing import Any

import pytest

from lloco.cli.study_session import refreshed
from lloco.training.finetune.example import Example
from lloco.training.finetune.questions import FinetuneData
from tests.command import QUICK, Run, write_lines
from tests.corpora import LEASE

pytestmark = pytest.mark.usefixtures("home")
STUDY = ("finetune", "--corpus", "c", "--self-study", "--generator", "templates")


def origin_of(value: dict[str, Any]) -> dict[str, Any]:
    read = json.loads((Path(value["adapter"]) / "lloco.json").read_text())
    assert isinstance(read, dict)
    return read


def test_documents_alone_give_an_adapter(filled: Run) -> None:
    value = filled.json(*STUDY, *QUICK)
    assert value["n"] == 4 and value["is_new"]
    origin = origin_of(value)
    assert set(origin["studied"]) == {"lease.txt", "voyage.md"} and origin["self_study"]["distillation_top_k"] == 20
    assert Path("questions-c.jsonl").is_file()
    assert filled(*STUDY, *QUICK) == 0
    assert "questions of questions-c.jsonl" in filled.err and "keeps its adapter" in filled.out.replace("\n", " ")


def test_questions_made_before_are_taken_whoever_wrote_them_and_given_pairs_are_mixed_in(
    filled: Run, tmp_path: Path
) -> None:
    filled.json("questions", "--corpus", "c", "--generator", "templates", "--per-span", "1", "--out", "own.jsonl")
    given = write_lines(tmp_path / "qa.jsonl", {"question": "Who signed?", "answer": "Webb", "document": "lease.txt"})
    value = filled.json(
        "finetune", "--corpus", "c", "--self-study", "--questions", "own.jsonl", "--data", given, *QUICK
    )
    assert value["n"] == 3
    message = filled.fails("finetune", "--corpus", "c", "--self-study", "--questions", given, *QUICK)
    assert "qa.jsonl" in message


def test_a_refresh_goes_on_with_what_is_new_and_some_of_the_rest(filled: Run, docs: Path, compressor: Path) -> None:
    first = filled.json(*STUDY, *QUICK)
    assert "nothing to refresh" in filled.fails(*STUDY, "--refresh", *QUICK)
    (docs / "lease.txt").write_text(LEASE.replace("Agnes Webb", "Maud Finch"))
    filled.json("compress", docs, "--corpus", "c", "--compressor", compressor, "--quiet")
    value = filled.json(*STUDY, "--refresh", *QUICK)
    assert value["n"] == 2, "half of the four, all of them new"
    assert value["adapter"].startswith("finetune-c-refresh-")
    origin = origin_of(value)
    assert origin["start_adapter_digest"] == first["adapter_digest"]
    assert origin["studied"] != origin_of(first)["studied"]
    assert "Maud Finch" in Path("questions-c.jsonl").read_text()
    assert filled.json("corpus", "show", "c")["adapter_digest"] == value["adapter_digest"]


def test_a_refresh_costs_at_most_half() -> None:
    examples = tuple(Example(f"d{number // 2}", f"q{number}", "a") for number in range(40))
    data = FinetuneData(examples, (), "short answer")
    now = {f"d{number}": "x" for number in range(20)}
    for num_changed, num_all in ((2, 8), (5, 20), (8, 20), (12, 24)):
        earlier = {id: "x" if int(id[1:]) >= num_changed else "y" for id in now}
        chosen = refreshed(data, earlier, now, seed=0).examples
        assert len(chosen) == num_all and len(set(chosen)) == num_all
        assert sum(int(item.document_id[1:]) < num_changed for item in chosen) == 2 * num_changed


def test_flags_that_do_not_fit_are_refused(filled: Run) -> None:
    assert "--self-study" in filled.fails("finetune", "--corpus", "c", code=2)
    assert "--self-study" in filled.fails("finetune", "--corpus", "c", "--data", "x", "--refresh", code=2)
    assert "leave --refresh out" in filled.fails(*STUDY, "--refresh", *QUICK)
