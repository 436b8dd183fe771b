"""`lloco pretrain` and `lloco demo`: from text to a model, and the whole job."""

import gzip
import json
from pathlib import Path

import pytest

from lloco import demo
from lloco.demo import DemoTask
from tests.command import Run, write_lines
from tests.corpora import LEASE, VOYAGE, save_compressor

pytestmark = pytest.mark.usefixtures("home")


def test_pretrain_makes_a_compressor_that_compress_reads(run: Run, tmp_path: Path, docs: Path) -> None:
    questions = [{"question": "Who signed?", "answers": ["Agnes Webb"]}]
    data = write_lines(tmp_path / "t.jsonl", *[{"text": f"{LEASE} {n}", "questions": questions} for n in range(40)])
    small = "--vocab-size 300 --hidden-size 16 --intermediate-size 16 --num-hidden-layers 1 --num-attention-heads 2"
    argv = ["pretrain", "--data", data, "--out", "run", *small.split(), "--ratios", "8,4", "--summary-length", "2"]
    steps = [
        "--lookup-steps",
        "0",
        "--language-model-steps",
        "2",
        "--compressor-steps",
        "2",
        "--batch-tokens",
        "256",
        "--no-bf16",
    ]
    value = run.json(*argv, *steps)
    assert value["stages"]["compressor"]["step"] == 2
    assert run.json("compress", docs, "--corpus", "c", "--compressor", value["model"])["num_new"] == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"title": "no text"}, 'it has no string "text" or "context"'),
        ({"text": "a", "questions": [{"question": "q"}]}, 'list of objects with "question" and "answers"'),
        ([1], 'it has no string "text" or "context"'),
        ("{not json", "not valid JSON"),
        (None, "t.jsonl (No such file or directory)"),
    ],
)
def test_what_pretrain_cannot_read_is_said_in_plain_words(run: Run, tmp_path: Path, line: object, words: str) -> None:
    data = tmp_path / "t.jsonl"
    if line is not None:
        write_lines(data, line)
    message = run.fails("pretrain", "--data", data, "--out", "run2")
    assert words in message
    assert not any(leak in message for leak in ("KeyError", "TypeError", "Errno", "fault of lloco"))


def test_questions_of_texts_that_are_cut_are_not_lost_in_silence(run: Run, tmp_path: Path) -> None:
    questions = [{"question": "Who signed?", "answers": ["Agnes Webb"]}]
    data = write_lines(tmp_path / "t.jsonl", {"text": LEASE * 9, "questions": questions}, {"text": LEASE})
    small = "--vocab-size 300 --hidden-size 16 --intermediate-size 16 --num-hidden-layers 1 --num-attention-heads 2"
    steps = "--lookup-steps 0 --language-model-steps 1 --compressor-steps 0 --no-bf16 --max-document-tokens 150"
    assert run("pretrain", "--data", data, "--out", "run3", *small.split(), *steps.split()) == 0
    assert "1 questions of 1 texts are left out" in run.err


def test_a_batch_size_is_so_many_documents_of_full_length(run: Run, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "t.jsonl", *[{"text": f"{LEASE} {n}"} for n in range(9)])
    small = "--vocab-size 300 --hidden-size 16 --intermediate-size 16 --num-hidden-layers 1 --num-attention-heads 2"
    steps = "--lookup-steps 0 --language-model-steps 1 --compressor-steps 0 --no-bf16 --max-document-tokens 50"
    argv = ["pretrain", "--data", data, *small.split(), *steps.split()]
    by_size, by_tokens = (
        run.json(*argv, "--out", flag, flag, number)
        for flag, number in (("--batch-size", "3"), ("--batch-tokens", "150"))
    )
    assert by_size["stages"] == by_tokens["stages"]
    assert run.json(*argv, "--out", "more", "--batch-size", "1")["stages"] != by_size["stages"]


def test_the_demo_reads_what_its_model_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo.default_task("records") == demo.default_task() == "museum"
    assert demo.default_task("smollm2") == demo.default_task("some/model") == "fairytaleqa"


def test_the_demo_runs_with_another_compressor_model_and_store(
    run: Run, compressor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(demo.TASKS, "museum", DemoTask("museum", "few", "jsonl", 2, 1, 2, 1))
    monkeypatch.setattr("lloco.demo.DOCUMENTS", tmp_path)
    for part, name, text in (("train", "lease", LEASE), ("test", "voyage", VOYAGE)):
        line = {"id": name, "text": text, "questions": [{"question": "Who signed it?", "answers": ["Agnes Webb"]}]}
        (tmp_path / f"museum_{part}.jsonl.gz").write_bytes(gzip.compress(json.dumps(line).encode()))
    argv = ["demo", "--task", "museum", "--compressor", compressor, "--store", "elsewhere"]
    value = run.json(*argv)
    assert (value["options"]["model"], value["options"]["compressor"]) == (str(compressor), str(compressor))
    assert [row["mode"] for row in value["rows"]] == list(demo.ROWS)
    assert "answer 12 of 12" in run.err
    assert run.json("corpus", "show", "museum", "--store", "elsewhere")["compressor"] == str(compressor)
    assert not Path("demo/store").exists()
    other = save_compressor(tmp_path / "other", seed=1)
    assert run.json(*argv, "--model", other, "--out", "second")["options"]["model"] == str(other)
    wide = save_compressor(tmp_path / "wide", hidden_size=64, head_dim=16)
    argv = argv[:-2]
    assert "reads embeddings 64 wide" in run.fails(*argv, "--model", wide, "--out", "third", "--quiet")
    assert "no checkpoint at nonsense" in run.fails(*argv, "--model", "nonsense", "--out", "third", "--quiet")
    assert not Path("third").exists()
