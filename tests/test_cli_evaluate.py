"""`lloco predict`, `lloco score` and `lloco evaluate`: files of answers and their scores."""

import csv
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lloco.engine.engine import Generation
from lloco.evals.mode import MODES, VECTOR_MODES
from tests.command import QUICK, Run, write_lines
from tests.corpora import LEASE, VOYAGE, save_chat_model, save_compressor
from tests.tiny import tiny_llama, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize("mode", MODES)
def test_predict_writes_a_file_that_score_reads(run: Run, qa: Path, compressor: Path, mode: str) -> None:
    argv = ["--task", "fairytaleqa", "--data", qa]
    value = run.json("predict", *argv, "--mode", mode, "--compressor", compressor, "--max-tokens", "3")
    assert (value["n"], value["mode"], value["num_cut"]) == (2, mode, 0)
    assert (value["decoding"], value["seed"]) == ("greedy", 0)
    assert (value["virtual_tokens"] > 0, value["context_tokens"] > 0) == (
        mode in VECTOR_MODES,
        mode in ("full", "truncated", "retrieval", "hybrid"),
    )
    assert set(json.loads(Path(f"fairytaleqa-{mode}.json").read_text())) == {"q1", "q2"}
    scores = run.json("score", *argv, "--predictions", f"fairytaleqa-{mode}.json")
    assert (scores["task"], scores["n"]) == ("fairytaleqa", 2)
    assert set(scores["metrics"]) == set(scores["stderr"]) == {"answer_f1", "exact_match", "rougeL"}


def test_predict_takes_soft_prompts_and_the_adapter_from_the_corpus(filled: Run, tmp_path: Path, qa: Path) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    argv = ["predict", "--task", "jsonl", "--data", qa, "--corpus", "c", "--max-tokens", "3"]
    assert filled(*argv, "--predictions", "p.json") == 0
    assert "holds 2 of the 2 documents" in filled.err
    assert filled.json(*argv, "--predictions", "p.json")["adapter"] is not None
    assert filled.json(*argv, "--mode", "full")["adapter"] is None


def test_score_needs_no_model_and_prints_what_it_knows(qa: Path) -> None:
    Path("p.json").write_text('{"q1": "Agnes Webb", "q2": "the brig Petrel"}')
    argv = ["score", "--task", "fairytaleqa", "--data", str(qa), "--predictions", "p.json", "--json"]
    code = (
        f"import sys; from lloco.cli.main import main; assert main({argv!r}) == 0\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    value = json.loads(done.stdout)
    assert value["metrics"]["exact_match"] == 50.0
    assert value["metrics"]["answer_f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_score_explains_missing_ids_and_broken_files(run: Run, qa: Path) -> None:
    Path("p.json").write_text('{"q1": "Agnes Webb"}')
    argv = ["score", "--data", qa, "--predictions", "p.json", "--task"]
    assert "samples have no prediction: q2" in run.fails(*argv, "fairytaleqa")
    assert run.json(*argv, "fairytaleqa", "--limit", "1")["n"] == 1
    Path("p.json").write_text('{"q1": ')
    assert "p.json, line 1, column 8: not valid JSON" in run.fails(*argv, "fairytaleqa")
    assert "cannot read" in run.fails(*argv[:-2], "nowhere.json", "--task", "fairytaleqa")


def test_score_writes_what_it_prints_for_machines_to_a_folder(run: Run, qa: Path) -> None:
    Path("p.json").write_text('{"q1": "Agnes Webb", "q2": "no"}')
    value = run.json("score", "--task", "fairytaleqa", "--data", qa, "--predictions", "p.json", "--out", "a/b")
    assert json.loads(Path("a/b/scores.json").read_text()) == value
    assert [file.name for file in Path("a/b").iterdir()] == ["scores.json"]
    argv = ["score", "--task", "fairytaleqa", "--data", qa, "--predictions", "p.json", "--out", "p.json"]
    assert run.fails(*argv) == "error: File exists (p.json): name another place\n"


def test_contexts_that_the_decoder_cannot_hold_are_counted_and_told_of_once_a_mode(
    run: Run, tmp_path: Path, compressor: Path
) -> None:
    questions = [{"question": "Who signed?", "answers": ["Webb"]}, {"question": "Who was lost?", "answers": ["Crane"]}]
    data = write_lines(
        tmp_path / "long.jsonl",
        {"id": "long", "text": f"{LEASE} " * 5, "questions": questions},
        {"id": "short", "text": VOYAGE, "questions": questions[:1]},
    )
    argv = ["--task", "jsonl", "--data", data, "--compressor", compressor, "--max-tokens", "2"]
    value = run.json("evaluate", *argv, "--modes", "none,full")
    assert [row["num_cut"] for row in value["rows"]] == [0, 2]
    assert run("evaluate", *argv, "--modes", "none,full", "--quiet") == 0
    [told] = [line for line in run.err.splitlines() if "contexts were cut" in line]
    assert told.startswith("warning: mode full: 2 of 3 contexts were cut to 4")
    assert run("predict", *argv, "--mode", "full") == 0
    assert told in run.err.splitlines()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Four questions about a document longer than a soft prompt."""
    questions = [{"id": f"q{number}", "question": f"Who {number}?", "answers": ["Webb"]} for number in range(4)]
    return write_lines(tmp_path / "many.jsonl", {"id": "d", "text": f"{LEASE} {VOYAGE}", "questions": questions})


def test_many_answers_that_are_empty_or_cut_are_told_of_in_one_line_and_counted(
    run: Run, many: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--task", "jsonl", "--data", many, "--compressor", compressor]
    value = run.json("evaluate", *argv, "--modes", "none,full", "--max-tokens", "1", "--out", "cut")
    assert [row["num_answers_cut"] for row in value["rows"]] == [4, 4]
    [told] = [line for line in run.err.splitlines() if "warning" in line and "answers" in line]
    assert "4 of 4 answers in mode none, 4 of 4 answers in mode full were cut: --max-tokens allows more" in told
    predicted = run.json("predict", *argv, "--mode", "none", "--max-tokens", "1", "--limit", "2")
    assert (predicted["num_answers_cut"], "warning" in run.err) == (2, False)

    def stopping(engine: Any, prompts: Any, sampling: Any, *, adapters: Any = None) -> list[Generation]:
        return [Generation(" ", (), prompt.length, "stop") for prompt in prompts]

    monkeypatch.setattr("lloco.engine.streaming.StreamingEngine.generate", stopping)
    monkeypatch.setattr("lloco.engine.transformers_engine.TransformersEngine.generate", stopping)
    predicted = run.json("predict", *argv, "--mode", "none")
    assert (predicted["num_empty"], predicted["num_answers_cut"]) == (4, 0)
    assert run.err.count("warning") == 1
    assert "4 of 4 answers in mode none are empty" in run.err and "without its chat template (--template)" in run.err


def test_results_of_before_stand_beside_newer_ones(run: Run, many: Path, compressor: Path) -> None:
    argv = ["evaluate", "--task", "jsonl", "--data", many, "--compressor", compressor, "--max-tokens", "2"]
    run.json(*argv, "--modes", "none", "--out", "old")
    old = json.loads(Path("old/results.json").read_text())
    for name in ("num_empty", "num_answers_cut"):
        del old["rows"][0][name]
    Path("old/results.json").write_text(json.dumps(old))
    assert run(*argv, "--modes", "full", "--out", "new", "--beside", "old") == 0, run.err


def test_text_is_predicted_and_evaluated_without_a_compressor(
    filled: Run, qa: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a compressor was loaded")

    monkeypatch.setattr("lloco.compressors.load.load_compressor", refuse)
    monkeypatch.setattr("lloco.compression.corpus_compressor.load_corpus_compressor", refuse)
    modes, num_tokens = "full,truncated,retrieval,none", len(tiny_tokenizer()(f"{LEASE} {VOYAGE}")["input_ids"])
    asked = ["--task", "jsonl", "--max-tokens", "2", "--model", save_chat_model(tmp_path / "chat")]
    alone = filled.json("evaluate", *asked, "--data", many, "--modes", modes)
    assert "read 512 tokens; --budget says otherwise" in filled.err
    assert alone["options"]["context_budget"] == 512
    assert set(alone["options"]["templates"].values()) == {"short_answer"}
    assert [row["virtual_tokens"] for row in alone["rows"]] == [0] * 4
    assert filled.json("predict", *asked, "--data", many, "--mode", "truncated")["context_tokens"] == num_tokens
    documents = filled.json("corpus", "show", "c")
    of_corpus = filled.json("evaluate", *asked, "--data", qa, "--corpus", "c", "--modes", modes, "--out", "of-corpus")
    stored = documents["num_virtual_tokens"] / documents["num_documents"]
    assert [row["context_tokens"] for row in of_corpus["rows"]][1:] == [stored, stored, 0]
    other = filled.json("predict", *asked, "--data", many, "--corpus", "c", "--mode", "retrieval")
    ratio = documents["num_document_tokens"] / documents["num_virtual_tokens"]
    assert other["context_tokens"] == math.ceil(num_tokens / ratio)


def test_the_corpuss_adapter_of_another_model_does_not_stop_reading_text(filled: Run, tmp_path: Path, qa: Path) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    model = save_chat_model(tmp_path / "chat")
    argv = ["evaluate", "--task", "jsonl", "--data", qa, "--corpus", "c", "--max-tokens", "2", "--model", model]
    assert filled.json(*argv, "--modes", "full")["options"]["adapter"] is None
    assert "was made for" in filled.fails(*argv, "--modes", "full+adapter", "--out", "with")


def test_evaluate_prints_a_row_per_mode_and_writes_results_and_a_report(run: Run, qa: Path, compressor: Path) -> None:
    argv = ["evaluate", "--task", "fairytaleqa", "--data", qa, "--compressor", compressor, "--max-tokens", "3"]
    value = run.json(*argv, "--modes", "compressed,retrieval,none", "--out", "res")
    assert [row["mode"] for row in value["rows"]] == ["compressed", "retrieval", "none"]
    for key in ("n", "metrics", "stderr", "context_tokens", "virtual_tokens", "compression_ratio", "seconds"):
        assert all(key in row for row in value["rows"])
    compressed, retrieval, none = value["rows"]
    assert compressed["virtual_tokens"] >= retrieval["context_tokens"] > none["context_tokens"] == 0
    assert value["options"]["compressor"] and value["versions"]["torch"]
    assert json.loads(Path("res/results.json").read_text()) == value
    assert "<html" in Path("res/report.html").read_text()
    assert "modes compressed,retrieval,none (now none)" in run.fails(*argv, "--modes", "none", "--out", "res")
    assert json.loads(Path("res/results.json").read_text()) == value
    assert run(*argv, "--modes", "none", "--out", "res2") == 0
    assert "exact match" in run.out and f"open {Path('res2/report.html')} in a browser" in run.err


def test_a_run_with_other_options_gets_the_next_folder_where_none_is_named(
    run: Run, qa: Path, compressor: Path
) -> None:
    argv = ["evaluate", "--task", "fairytaleqa", "--data", qa, "--compressor", compressor, "--max-tokens", "3"]
    first = run.json(*argv, "--modes", "compressed")
    for _ in range(2):
        assert run(*argv, "--modes", "none") == 0
        assert "which had modes compressed (now none), " in run.err
        assert "warning: this run is in evaluate-fairytaleqa-2: evaluate-fairytaleqa holds" in run.err
    assert json.loads(Path("evaluate-fairytaleqa/results.json").read_text()) == first
    beside = ["--modes", "none", "--beside", "evaluate-fairytaleqa-2"]
    assert "evaluate-fairytaleqa-2 is this run's own folder" in run.fails(*argv, *beside, code=2)
    # One that was begun there is gone on with, though an earlier name is free again.
    shutil.rmtree("evaluate-fairytaleqa")
    Path("evaluate-fairytaleqa-2/results.json").unlink()
    assert run(*argv, "--modes", "none") == 0
    assert Path("evaluate-fairytaleqa-2/results.json").is_file() and not Path("evaluate-fairytaleqa").exists()
    assert run(*argv, "--modes", "compressed") == 0
    assert Path("evaluate-fairytaleqa/results.json").is_file()


def test_evaluate_shows_earlier_runs_of_the_same_questions_beside_its_own(
    run: Run, qa: Path, compressor: Path, tmp_path: Path
) -> None:
    argv = ["evaluate", "--task", "fairytaleqa", "--data", qa, "--compressor", compressor, "--max-tokens", "3"]
    argv += ["--modes", "compressed"]
    first = run.json(*argv, "--segment-len", "8", "--out", "at-8")["rows"][0]
    both = [*argv, "--segment-len", "16", "--out", "at-16", "--beside", "at-8"]
    second = run.json(*both)["rows"]
    assert len(second) == 1 and second[0]["compression_ratio"] > first["compression_ratio"]
    with Path("at-16/tokens.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["line"] for row in rows] == ["compressed", "compressed"]
    assert {row["label"] for row in rows} == {f"{item['compression_ratio']:.1f}x" for item in (first, second[0])}
    assert "at-8" in Path("at-16/report.html").read_text()
    other = [*argv, "--limit", "1", "--out", "few", "--beside", "at-8"]
    assert "at-8 holds a run of other questions, 2 of fairytaleqa" in run.fails(*other)
    assert not Path("few").exists()
    assert "there is no run in nowhere" in run.fails(*argv, "--out", "few", "--beside", "nowhere")
    assert "at-8 is this run's own folder" in run.fails(*argv, "--out", "at-8", "--beside", "./at-8", code=2)
    assert "at-8 is named twice" in run.fails(*both, "--beside", Path("at-8").absolute(), code=2)
    assert run(*both) == 0 and "this run" in run.out and "at-8" in run.out
    Path("at-8/results.json").write_text('{"rows": [{"mode": "full"}], "options": {}}')
    assert "evaluate again" in run.fails(*both)


def test_a_run_that_was_scored_by_other_references_does_not_stand_beside(run: Run, qa: Path, compressor: Path) -> None:
    argv = ["evaluate", "--task", "fairytaleqa", "--data", qa, "--compressor", compressor, "--max-tokens", "3"]
    argv += ["--modes", "none"]
    assert run(*argv, "--out", "first") == 0
    qa.write_text(qa.read_text().replace('"Petrel"', '"Crane"'))
    assert "first was scored by other references" in run.fails(*argv, "--out", "second", "--beside", "first")
    assert run(*argv, "--out", "first") == 0
    assert run(*argv, "--out", "second", "--beside", "first") == 0


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system has only UTF-8 names")
def test_paths_that_are_not_utf_8_come_back_from_every_file_and_from_standard_output(
    run: Run, qa: Path, compressor: Path, tmp_path: Path
) -> None:
    data, out = str(qa.rename(tmp_path / "q\udce9.jsonl")), Path("o\udce9")
    argv = ["evaluate", "--task", "fairytaleqa", "--data", data, "--max-tokens", "3", "--modes", "none,compressed"]
    command = [
        sys.executable,
        "-m",
        "lloco.cli.main",
        *argv,
        "--compressor",
        str(compressor),
        "--out",
        str(out),
        "--json",
    ]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"}, check=True
    )
    printed = json.loads(done.stdout)
    assert printed["options"]["data"] == data and shlex.quote(data) in printed["options"]["command"]
    assert json.loads((out / "results.json").read_text()) == printed
    assert r"q\udce9.jsonl" in (out / "report.html").read_text()
    other = save_compressor(tmp_path / "other", seed=1)
    assert run(*argv, "--compressor", other, "--out", "beside", "--beside", out) == 0
    assert r"compressed, o\udce9" in Path("beside/tokens.csv").read_text()


def test_a_compressor_of_another_width_than_the_model_is_refused(
    run: Run, qa: Path, compressor: Path, tmp_path: Path
) -> None:
    wide = save_compressor(tmp_path / "wide", hidden_size=64, head_dim=16)
    argv = ["predict", "--task", "jsonl", "--data", qa, "--model", wide, "--compressor", compressor]
    assert "48 wide" in run.fails(*argv)
    assert run(*argv, "--mode", "full", "--max-tokens", "2") == 0
    other = save_compressor(tmp_path / "other", seed=1)
    argv[argv.index(wide)] = other
    message = run.fails(*argv)
    assert str(other) in message and str(compressor) in message


def test_modes_that_read_no_soft_prompts_need_no_compressor(run: Run, qa: Path, tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "plain")
    tiny_tokenizer().save_pretrained(tmp_path / "plain")
    argv = ["evaluate", "--task", "jsonl", "--data", qa, "--model", tmp_path / "plain", "--max-tokens", "2"]
    argv += ["--compressor", tmp_path / "nowhere", "--modes", "full,truncated,none,retrieval"]
    assert len(run.json(*argv, "--context-budget", "8")["rows"]) == 4
    assert "nowhere" in run.fails(*argv, "--out", "second")
