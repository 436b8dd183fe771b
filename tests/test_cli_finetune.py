"""`lloco finetune`: an adapter for a corpus, from lines or from a task."""

import json
import threading
from pathlib import Path

import pytest
import torch

from lloco.compression.run import compress_into
from lloco.compressors.autocompressor import AutoCompressor
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.prompts.template import Template
from lloco.store.store import Store
from tests.command import QUICK, Run, write_lines
from tests.corpora import LEASE, VOYAGE
from tests.tiny import CHAT_TEMPLATE, tiny_decoder, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("home")


def test_finetune_gives_the_corpus_an_adapter_that_asks_use(filled: Run, tmp_path: Path) -> None:
    lines = write_lines(
        tmp_path / "qa.jsonl",
        {"question": "Who signed?", "answer": "Agnes Webb", "document": "lease.txt"},
        {"question": "Who was master?", "answers": ["Edmund Crane", "Crane"], "document_id": "voyage.md"},
    )
    value = filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    assert (value["n"], value["num_steps"], value["corpus"]) == (2, 2, "c")
    assert (Path("finetune-c") / "adapter" / "adapter_model.safetensors").is_file()
    answer = filled.json("ask", "--corpus", "c", "Who signed the lease?", "--max-tokens", "4")
    assert answer["adapter"] is not None
    assert filled.json("corpus", "show", "c")["adapter_digest"] == value["adapter_digest"]
    assert value["is_new"]
    assert filled("finetune", "--corpus", "c", "--data", lines, *QUICK) == 0
    assert "keeps its adapter: 2 questions, 2 steps" in " ".join(filled.out.split())
    changed = write_lines(tmp_path / "qa.jsonl", {"question": "What?", "answer": "That", "document": "lease.txt"})
    assert "another" in filled.fails("finetune", "--corpus", "c", "--data", changed, *QUICK)


def test_a_chat_model_learns_and_keeps_the_wording_in_chat_form(run: Run, docs: Path, tmp_path: Path) -> None:
    decoder = tiny_decoder(tokenizer=tiny_tokenizer(chat_template=CHAT_TEMPLATE))
    AutoCompressor(decoder, torch.ones(4, decoder.hidden_size), segment_len=24).save(tmp_path / "chat")
    run.json("compress", docs, "--corpus", "c", "--compressor", tmp_path / "chat", "--quiet")
    line = {"question": "Who?", "answer": "Webb", "document": "lease.txt"}
    run.json("finetune", "--corpus", "c", "--data", write_lines(tmp_path / "a.jsonl", line), *QUICK)
    assert Template.load(Path("finetune-c") / "adapter") == Template.packaged("short_answer")
    choice = write_lines(tmp_path / "b.jsonl", {**line, "options": ["Webb", "Crane"]})
    run.json("finetune", "--corpus", "c", "--data", choice, "--out", "choice", *QUICK)
    assert Template.load(Path("choice") / "adapter") == Template.packaged("chat_multiple_choice")
    plain = ["--template", "default", "--out", "plain", *QUICK]
    run.json("finetune", "--corpus", "c", "--data", tmp_path / "a.jsonl", *plain)
    assert Template.load(Path("plain") / "adapter") == Template.packaged("default")


def test_finetune_compresses_the_documents_that_come_with_a_task(run: Run, tmp_path: Path, compressor: Path) -> None:
    data = write_lines(
        tmp_path / "train.jsonl",
        {"id": "lease", "text": LEASE, "questions": [{"question": "Who signed?", "answers": ["Agnes Webb"]}]},
        {"id": "voyage", "text": VOYAGE, "questions": [{"question": "Who was master?", "answers": ["Edmund Crane"]}]},
    )
    argv = ["finetune", "--corpus", "stories", "--compressor", compressor, "--data", data, *QUICK]
    assert run.json(*argv, "--task", "fairytaleqa")["n"] == 2
    assert run.json(*argv[:1], *argv[3:], "--task", "fairytaleqa")["corpus"] == "fairytaleqa"
    assert run.json("corpus", "show", "stories")["num_documents"] == 2
    assert run(*argv, "--out", "again", "--validation", data, "--evaluate-every", "1") == 0
    assert "compressing" not in run.err
    assert "next: lloco ask --corpus stories" in run.err


def test_an_id_with_two_texts_is_not_learned_from_the_wrong_one(filled: Run, tmp_path: Path) -> None:
    questions = [{"question": "Who?", "answers": ["Agnes Webb"]}]
    data = write_lines(tmp_path / "train.jsonl", {"id": "lease.txt", "text": LEASE + "!", "questions": questions})
    held_out = write_lines(tmp_path / "dev.jsonl", {"id": "lease.txt", "text": VOYAGE, "questions": questions})
    argv = ["finetune", "--corpus", "c", "--task", "jsonl", "--data", data, *QUICK]
    assert "'lease.txt' has one in --data and another" in filled.fails(*argv, "--validation", held_out)
    assert filled(*argv) == 0
    assert "has other texts for 1 of the ids, first 'lease.txt'" in filled.err


def test_finetune_goes_on_from_an_adapter_with_its_size_and_wording(filled: Run, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "qa.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    argv = ["finetune", "--corpus", "c", "--data", lines, *QUICK]
    first = filled.json(*argv, "--lora-r", "2", "--template", "summarize")
    second = filled.json(*argv, "--adapter", first["adapter"], "--out", "more")
    assert second["first_loss"] < first["first_loss"]
    folder = Path(second["adapter"])
    origin = json.loads((folder / "lloco.json").read_text())
    assert origin["start_adapter"] == str(Path(first["adapter"]).resolve())
    assert (origin["start_adapter_digest"], origin["lora"]["r"]) == (first["adapter_digest"], 2)
    assert json.loads((folder / "template.json").read_text())["name"] == "summarize"
    assert filled.json("corpus", "show", "c")["adapter_digest"] == second["adapter_digest"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"question": ', "line 2"),
        ({"question": "Who?", "answer": "A", "document": "treaty.txt"}, "got 'treaty.txt'"),
        ({"question": "Who?", "answer": "A"}, "got none"),
        ({"question": "Who?", "document": "lease.txt"}, "line 2"),
        ({"answer": "A", "document": "lease.txt"}, "`question`"),
        ({"question": "W?", "answer": "C", "options": ["x", "y"], "document": "lease.txt"}, "one of the options"),
        ({"question": "W?", "answer": "x", "options": ["x", "y"], "document": "lease.txt"}, "several kinds"),
        ([1, 2], "line 2"),
    ],
)
def test_a_question_line_that_cannot_be_learned_is_named(filled: Run, tmp_path: Path, line: object, words: str) -> None:
    good = {"question": "Who signed?", "answer": "Agnes Webb", "document": "lease.txt"}
    lines = write_lines(tmp_path / "qa.jsonl", good, line)
    assert words in filled.fails("finetune", "--corpus", "c", "--data", lines, *QUICK)
    assert filled.json("corpus", "show", "c")["adapter_digest"] is None


def test_multiple_choice_is_learned_as_letters(filled: Run, tmp_path: Path) -> None:
    question = {"question": "Who?", "options": ["Webb", "Crane"], "answer": "Crane", "document": "voyage.md"}
    lines = write_lines(tmp_path / "qa.jsonl", question, {**question, "answer": "A"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    template = json.loads((Path("finetune-c") / "adapter" / "template.json").read_text())
    assert template["name"] == "multiple_choice"
    assert "needs options" in filled.fails("ask", "--corpus", "c", "Who was master?")
    argv = ["ask", "--corpus", "c", "Who was master?", "--option", "Webb", "--option", "Crane", "--max-tokens", "2"]
    assert filled(*argv) == 0


def test_finetune_without_a_corpus_or_data_is_explained(run: Run, qa: Path, tmp_path: Path) -> None:
    wrong = ["finetune", "--corpus", "new", "--data", qa, "--learning-rate", "-1"]
    assert "learning_rate is -1.0: it must be greater than 0" in run.fails(*wrong)
    lines = write_lines(tmp_path / "qa.jsonl", {"question": "Who?", "answer": "A", "document": "a"})
    assert "no corpus 'new', store" in run.fails("finetune", "--corpus", "new", "--data", lines)
    assert "cannot read" in run.fails("finetune", "--corpus", "new", "--data", tmp_path / "nowhere.jsonl")
    assert run.json("corpus", "list")["corpora"] == []


def test_finetune_of_a_corpus_that_is_not_there_names_those_that_are(filled: Run, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "qa.jsonl", {"question": "Who?", "answer": "A", "document": "lease.txt"})
    assert "no corpus 'nope', store" in filled.fails("finetune", "--corpus", "nope", "--data", lines)
    assert "has c: choose" in filled.err and "lease.txt" not in filled.err


def test_other_processes_wait_until_the_first_one_has_compressed_the_documents(
    run: Run, tmp_path: Path, qa: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_stored: list[int] = []

    class SecondProcess:
        is_main_process = False
        num_processes = 2

        def wait_for_everyone(self) -> None:
            num_stored.append(sum(item.num_documents for item in store.corpora()))
            raise KeyboardInterrupt

    def compress_as_the_first_process() -> None:
        loaded, corpus = load_compressor(compressor), store.corpus("new")
        for id, text in (("l", LEASE), ("v", VOYAGE)):
            compress_into(corpus, [Document(id, text)], loaded)

    monkeypatch.setattr("lloco.training.loop.process_state", lambda device: SecondProcess())
    monkeypatch.setattr("lloco.cli.finetune_session.WAIT_SECONDS", 0.01)
    with Store() as store:
        timer = threading.Timer(0.5, compress_as_the_first_process)
        timer.start()
        try:
            run.fails("finetune", "--corpus", "new", "--task", "fairytaleqa", "--data", qa, *QUICK, code=130)
        finally:
            timer.join()
    assert num_stored == [2]
