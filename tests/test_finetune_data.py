"""Question-answer data for finetuning: which split is read, and what is refused."""

import json
from pathlib import Path

import pytest

from lloco.errors import DataError
from lloco.training.finetune.questions import read_question_lines, read_task_data
from tests.command import write_lines


def write_split(folder: Path, split: str) -> None:
    row = {
        "id": f"d-{split}",
        "text": "The brig left Dundee.",
        "questions": [{"id": f"q-{split}", "question": f"{split}?", "answers": ["Dundee"]}],
    }
    (folder / f"{split}.jsonl").write_text(json.dumps(row) + "\n")


def test_a_folders_training_split_is_learned_and_any_other_can_be_asked_for(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write_split(tmp_path, split)
    questions = {
        split: [example.question for example in read_task_data("jsonl", str(tmp_path), split=split).examples]
        for split in ("train", "test", None)
    }
    assert questions == {"train": ["train?"], "test": ["test?"], None: ["validation?"]}
    assert [example.question for example in read_task_data("jsonl", str(tmp_path)).examples] == ["train?"]


def test_an_answer_among_more_options_than_letters_is_learned_or_refused(tmp_path: Path) -> None:
    line = {"question": "Which ship?", "options": [f"ship {number}" for number in range(28)]}
    [last] = read_question_lines(
        write_lines(tmp_path / "q.jsonl", {**line, "answer": "ship 25"}), lambda: ["a"]
    ).examples
    assert last.answer == "Z"
    with pytest.raises(DataError, match=r"q\.jsonl, line 1: .* letters ABC.*Z, got 'ship 26'"):
        read_question_lines(write_lines(tmp_path / "q.jsonl", {**line, "answer": "ship 26"}), lambda: ["a"])


@pytest.mark.parametrize("text", ["[]", "[ ]\n"])
def test_data_without_a_line_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"empty\.json holds no question-answer lines"):
        read_question_lines(path, lambda: ["a"])
