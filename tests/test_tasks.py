"""Task data in its official layouts becomes samples; everything else is refused with its place."""

import gzip
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from lloco.errors import DataError
from lloco.evals.scorer import score
from lloco.tasks.needle import DEPTHS, build_needles, write_needles
from lloco.tasks.task import TASKS, find_task, load_samples

QUALITY = {
    "article_id": "7",
    "title": "A Tale",
    "article": "Once upon a time.",
    "questions": [
        {
            "question": "Who?",
            "question_unique_id": "7_A_1",
            "options": ["he", "she", "it", "they"],
            "gold_label": 4,
            "difficult": 1,
        }
    ],
}
SCROLLS = [
    {"id": "q1", "pid": "q1_0", "input": "Who came?\n\nFirst part.\n\nSecond part.", "output": "Ann"},
    {"id": "q2", "pid": "q2_0", "input": "Who left?\n\nFirst part.\n\nSecond part.", "output": "Bob"},
    {"id": "q1", "pid": "q1_1", "input": "Who came?\n\nFirst part.\n\nSecond part.", "output": "Ann Lee"},
]
HOTPOT = {
    "_id": "h1",
    "question": "Where?",
    "answer": "Rome",
    "supporting_facts": [["Italy", 1]],
    "context": [["Italy", ["A land.", " Its capital is Rome."]], ["Rome", ["A city."]]],
}
HOTPOT_HUB = {
    "id": "h1",
    "question": "Where?",
    "answer": "Rome",
    "supporting_facts": {"title": ["Italy"], "sent_id": [1]},
    "context": {"title": ["Italy", "Rome"], "sentences": [["A land.", " Its capital is Rome."], ["A city."]]},
}
STORY = {
    "id": "story",
    "title": "Story",
    "text": "Ann met Bob.",
    "questions": [{"question": "Who?", "answers": ["Ann", "Bob"]}, {"question": "Whom?", "answers": ["Bob"]}],
}


DOCUMENTED = (Path(__file__).parent.parent / "docs" / "score.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("task", TASKS)
def test_the_documentation_lists_the_task_with_its_hub_id_metrics_and_answer_length(task: str) -> None:
    found = find_task(task)
    row = next(line for line in DOCUMENTED.splitlines() if line.startswith(f"| `{task}` |"))
    assert all(f"`{metric}`" in row for metric in found.metrics)
    assert found.published is None or f"| `{found.published.id}` |" in row
    assert task in ("longbench", "ruler") or row.endswith(f"| {found.max_tokens} |")


def test_the_documented_generic_lines_have_the_documented_ids(tmp_path: Path) -> None:
    example = DOCUMENTED.split("## Generic document-QA lines")[1].split("```")[1]
    (tmp_path / "lines.json").write_text(example)
    predictions = json.loads(DOCUMENTED.split("Predictions for the example are `")[1].split("`")[0])
    scores = score("jsonl", load_samples("jsonl", tmp_path / "lines.json"), predictions)
    assert scores.n == 2 and scores.metrics["accuracy"] == 100.0


def longbench(dataset: str, name: str, question: str = "Why?") -> dict[str, Any]:
    return {
        "input": question,
        "context": f"Text of {name}.",
        "answers": ["so"],
        "length": 3,
        "dataset": dataset,
        "language": "en",
        "all_classes": None,
        "_id": name,
    }


def write_lines(path: Path, rows: list[Any]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def datasets_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The real `datasets`, without network and with its cache in the test's folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


def test_tasks_are_those_of_the_public_contract_and_each_has_metrics_and_a_length() -> None:
    assert (
        *("quality", "qmsum", "qasper", "narrativeqa", "hotpotqa"),
        *("longbench", "needle", "ruler", "squad_articles", "fairytaleqa", "jsonl"),
    ) == TASKS
    for name in TASKS:
        assert find_task(name).metrics
        assert find_task(name).max_tokens > 0
    with pytest.raises(DataError, match="no task 'sqad': choose one of quality"):
        find_task("sqad")


def test_quality_counts_gold_labels_from_one_and_two_lines_share_an_article(tmp_path: Path) -> None:
    other = json.loads(json.dumps(QUALITY))
    other["questions"][0] |= {"question_unique_id": "7_B_1", "gold_label": 1, "difficult": 0}
    path = write_lines(tmp_path / "QuALITY.v1.0.1.htmlstripped.dev", [QUALITY, other])
    first, second = load_samples("quality", path)
    assert (first.id, first.gold_letter, first.references, first.is_difficult) == ("7_A_1", "D", ("they",), True)
    assert (second.gold_letter, second.is_difficult, second.options) == ("A", False, ("he", "she", "it", "they"))
    assert first.document is second.document
    assert (first.document.id, first.document.title) == ("7", "A Tale")


def test_quality_without_gold_labels_loads_without_references(tmp_path: Path) -> None:
    hidden = json.loads(json.dumps(QUALITY))
    del hidden["questions"][0]["gold_label"], hidden["questions"][0]["difficult"]
    [sample] = load_samples("quality", write_lines(tmp_path / "q.test", [hidden]))
    assert (sample.gold_letter, sample.references, sample.is_difficult) == (None, (), False)


def test_quality_refuses_a_difficulty_that_is_neither_yes_nor_no(tmp_path: Path) -> None:
    row = json.loads(json.dumps(QUALITY))
    row["questions"][0]["difficult"] = "0"
    with pytest.raises(DataError, match="line 1, questions 1: `difficult` must be 0 or 1, got str '0'"):
        load_samples("quality", write_lines(tmp_path / "q.dev", [row]))


@pytest.mark.parametrize("gold_label", [0, 5, "2", True, 1.0])
def test_quality_refuses_a_gold_label_outside_the_options(tmp_path: Path, gold_label: object) -> None:
    wrong = json.loads(json.dumps(QUALITY))
    wrong["questions"][0]["gold_label"] = gold_label
    with pytest.raises(DataError, match=r"q\.dev, line 1, questions 1: "):
        load_samples("quality", write_lines(tmp_path / "q.dev", [wrong]))


@pytest.mark.parametrize("task", ["qmsum", "qasper", "narrativeqa"])
def test_scrolls_rows_with_one_id_are_references_and_share_the_document(tmp_path: Path, task: str) -> None:
    first, second = load_samples(task, write_lines(tmp_path / "validation.jsonl.gz", SCROLLS))
    assert (first.id, first.question, first.references) == ("q1", "Who came?", ("Ann", "Ann Lee"))
    assert first.document.text == "First part.\n\nSecond part."
    assert first.document is second.document
    assert len(first.document.id) == 16
    assert load_samples(task, tmp_path / "validation.jsonl.gz", limit=1) == [first]


def test_scrolls_refuses_one_id_with_two_questions_and_an_input_without_blank_line(tmp_path: Path) -> None:
    clash = [SCROLLS[0], SCROLLS[1] | {"id": "q1"}]
    with pytest.raises(DataError, match=r"line 2: id 'q1' asks something else than at .*line 1"):
        load_samples("qmsum", write_lines(tmp_path / "a.jsonl", clash))
    with pytest.raises(DataError, match=r"line 1: `input` must hold a query, a blank line"):
        load_samples("qmsum", write_lines(tmp_path / "b.jsonl", [SCROLLS[0] | {"input": "Who?\nText."}]))


def test_hotpot_raw_and_hub_rows_give_the_same_sample(tmp_path: Path) -> None:
    raw = tmp_path / "hotpot_dev_distractor_v1.json"
    raw.write_text(json.dumps([HOTPOT], indent=1))
    [sample] = load_samples("hotpotqa", raw)
    assert sample.document.text == "Italy\nA land. Its capital is Rome.\n\nRome\nA city."
    assert (sample.id, sample.references, sample.supporting_facts) == ("h1", ("Rome",), (("Italy", 1),))
    assert load_samples("hotpotqa", write_lines(tmp_path / "hub.jsonl", [HOTPOT_HUB])) == [sample]


def test_longbench_fixes_answer_lengths_and_asks_where_rows_ask_nothing(tmp_path: Path) -> None:
    rows = [longbench("qasper", "a"), longbench("gov_report", "b", ""), longbench("2wikimqa", "c")]
    samples = load_samples("longbench", write_lines(tmp_path / "all.jsonl", rows))
    task = find_task("longbench")
    assert [task.answer_tokens(sample) for sample in samples] == [128, 512, 32]
    assert [sample.question for sample in samples] == ["Why?", "Write a one-page summary of the report.", "Why?"]
    with pytest.raises(DataError, match="'lcc' is not scored here, these are: narrativeqa"):
        load_samples("longbench", write_lines(tmp_path / "lcc.jsonl", [longbench("lcc", "d")]))


def test_longbench_folder_gives_the_scored_sets_only(tmp_path: Path) -> None:
    for name in ("qasper", "qmsum", "lcc"):
        write_lines(tmp_path / f"{name}.jsonl", [longbench(name, f"id-{name}")])
    assert [sample.dataset for sample in load_samples("longbench", tmp_path)] == ["qasper", "qmsum"]


@pytest.mark.parametrize("task", ["jsonl", "fairytaleqa", "squad_articles", "needle"])
def test_generic_lines_name_questions_after_document_and_place(tmp_path: Path, task: str) -> None:
    first, second = load_samples(task, write_lines(tmp_path / "validation.jsonl", [STORY]))
    assert (first.id, second.id) == ("story-0", "story-1")
    assert (first.task, first.references, first.document.id) == (task, ("Ann", "Bob"), "story")
    assert first.document is second.document


def test_generic_lines_need_only_text_and_questions(tmp_path: Path) -> None:
    row = {"text": "T.", "questions": [{"id": "mine", "question": "Q?", "answers": "one"}, {"question": "R?"}]}
    first, second = load_samples("jsonl", write_lines(tmp_path / "a.jsonl", [row]))
    assert (first.id, first.references, second.references) == ("mine", ("one",), ())
    assert second.id == f"{first.document.id}-1"


@pytest.mark.parametrize(
    ("extra", "letter"),
    [({"label": "B"}, "B"), ({"label": 2}, "B"), ({}, "B"), ({"answers": ["neither"]}, None)],
)
def test_generic_options_take_the_letter_from_the_label_or_the_answer(
    tmp_path: Path, extra: dict[str, object], letter: str | None
) -> None:
    question = {"question": "Q?", "answers": ["two"], "options": ["one", "two"]} | extra
    [sample] = load_samples("jsonl", write_lines(tmp_path / "a.jsonl", [{"text": "T.", "questions": [question]}]))
    assert sample.gold_letter == letter


@pytest.mark.parametrize("label", ["C", "b", 3, 1, "A"])
def test_generic_options_refuse_a_label_that_is_no_option_or_contradicts_the_answer(
    tmp_path: Path, label: object
) -> None:
    question = {"question": "Q?", "answers": ["two"], "options": ["one", "two"], "label": label}
    with pytest.raises(DataError, match="line 1, questions 1: "):
        load_samples("jsonl", write_lines(tmp_path / "a.jsonl", [{"text": "T.", "questions": [question]}]))


def test_documents_with_one_text_are_one_and_one_id_for_two_texts_is_refused(tmp_path: Path) -> None:
    twin = STORY | {"id": "twin"}
    samples = load_samples("jsonl", write_lines(tmp_path / "twins.jsonl", [STORY, twin]))
    assert {sample.document.id for sample in samples} == {"story"}
    assert [sample.id for sample in samples] == ["story-0", "story-1", "twin-0", "twin-1"]
    with pytest.raises(DataError, match="line 2: document id 'story' already stands for another text"):
        load_samples("jsonl", write_lines(tmp_path / "clash.jsonl", [STORY, STORY | {"text": "Another."}]))
    with pytest.raises(DataError, match="sample id 'story-0' occurs twice"):
        load_samples("jsonl", write_lines(tmp_path / "again.jsonl", [STORY, STORY]))


def test_squad_articles_join_the_paragraphs_of_the_official_file(tmp_path: Path) -> None:
    answers = [{"text": "Rome", "answer_start": 0}, {"text": "Rome", "answer_start": 9}]
    paragraphs: list[dict[str, Any]] = [
        {"context": "One.", "qas": [{"id": "s1", "question": "Where?", "answers": answers}]},
        {"context": "Two.", "qas": [{"id": "s2", "question": "When?", "answers": answers[:1]}]},
    ]
    path = tmp_path / "dev-v1.1.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "Old_Rome", "paragraphs": paragraphs}]}))
    first, second = load_samples("squad_articles", path)
    assert (first.document.text, first.document.title) == ("One.\n\nTwo.", "Old Rome")
    assert (first.id, second.id, first.references) == ("s1", "s2", ("Rome",))
    rows = [
        {
            "id": item["id"],
            "title": "Old_Rome",
            "context": text,
            "question": item["question"],
            "answers": {"text": ["Rome"]},
        }
        for item, text in [(paragraphs[0]["qas"][0], "One."), (paragraphs[1]["qas"][0], "Two.")]
    ]
    assert load_samples("squad_articles", write_lines(tmp_path / "hub.jsonl", rows)) == [first, second]


def test_a_folder_gives_the_split_the_task_is_scored_on_unless_told(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", [STORY | {"id": "t", "text": "Train."}])
    write_lines(tmp_path / "validation.jsonl.gz", [STORY])
    assert {sample.document.id for sample in load_samples("fairytaleqa", tmp_path)} == {"story"}
    assert {sample.document.id for sample in load_samples("fairytaleqa", tmp_path, split="train")} == {"t"}
    with pytest.raises(DataError, match=r"has no files of the test split.*found train\.jsonl, validation\.jsonl\.gz"):
        load_samples("fairytaleqa", tmp_path, split="test")


def test_a_folder_of_files_without_split_names_gives_all_of_them(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [STORY])
    write_lines(tmp_path / "b.jsonl.gz", [STORY | {"id": "b", "text": "Other."}])
    (tmp_path / "README.md").write_text("not data")
    assert {sample.document.id for sample in load_samples("jsonl", tmp_path)} == {"story", "b"}


def test_a_folder_over_folders_named_as_on_the_hub_is_searched(tmp_path: Path) -> None:
    write_lines(tmp_path / "qmsum" / "validation.jsonl", SCROLLS)
    write_lines(tmp_path / "qasper" / "validation.jsonl", SCROLLS[1:2])
    assert [sample.id for sample in load_samples("qmsum", tmp_path)] == ["q1", "q2"]


def test_parquet_folders_load_as_the_hub_has_them(tmp_path: Path, datasets_offline: Any) -> None:
    for config, split in (("distractor", "validation"), ("distractor", "train"), ("fullwiki", "validation")):
        row = HOTPOT_HUB | {"id": f"{config}-{split}"}
        file = tmp_path / "hub" / config / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        datasets_offline.Dataset.from_list([row]).to_parquet(str(file))
    [sample] = load_samples("hotpotqa", tmp_path / "hub")
    assert (sample.id, sample.supporting_facts) == ("distractor-validation", (("Italy", 1),))
    assert sample.document.text == "Italy\nA land. Its capital is Rome.\n\nRome\nA city."
    assert [sample.id for sample in load_samples("hotpotqa", tmp_path / "hub", split="train")] == ["distractor-train"]


def test_quality_parquet_counts_answers_from_zero(tmp_path: Path, datasets_offline: Any) -> None:
    rows = [
        {"article": "Text.", "question": f"Q{n}?", "options": ["a", "b", "c", "d"], "answer": n, "hard": n == 1}
        for n in range(2)
    ]
    (tmp_path / "data").mkdir()
    datasets_offline.Dataset.from_list(rows).to_parquet(str(tmp_path / "data" / "validation-00000-of-00001.parquet"))
    first, second = load_samples("quality", tmp_path)
    assert (first.gold_letter, second.gold_letter) == ("A", "B")
    assert (first.is_difficult, second.is_difficult) == (False, True)
    assert (first.id, second.id) == (f"{first.document.id}-0", f"{first.document.id}-1")


def scrolls_archive(folder: Path) -> Path:
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "narrative_qa.zip", "w") as archive:
        archive.writestr("narrative_qa/validation.jsonl", "".join(json.dumps(row) + "\n" for row in SCROLLS))
    return folder


def test_scrolls_archives_load_as_the_hub_has_them(tmp_path: Path) -> None:
    folder = scrolls_archive(tmp_path / "scrolls")
    first, second = load_samples("narrativeqa", folder)
    assert (first.id, first.references, second.id) == ("q1", ("Ann", "Ann Lee"), "q2")
    with pytest.raises(DataError, match=r"has no member narrative_qa/train\.jsonl"):
        load_samples("narrativeqa", folder, split="train")
    (folder / "narrative_qa.zip").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match=r"cannot read .*narrative_qa\.zip"):
        load_samples("narrativeqa", folder)


def test_scrolls_hub_ids_fetch_the_archive_beside_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scrolls_archive(tmp_path / "scrolls")

    def download(repo_id: str, filename: str, *, repo_type: str) -> str:
        assert (repo_id, repo_type) == ("tau/scrolls", "dataset")
        if not (folder / filename).is_file():
            raise FileNotFoundError(f"no {filename}")
        return str(folder / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert [sample.id for sample in load_samples("narrativeqa", "tau/scrolls")] == ["q1", "q2"]
    with pytest.raises(DataError, match=r"qmsum\.zip of tau/scrolls cannot be had, FileNotFoundError"):
        load_samples("qmsum", "tau/scrolls")


def test_hub_ids_are_asked_for_by_id_configuration_and_split(
    tmp_path: Path, datasets_offline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hotpot"
    (hub / "distractor").mkdir(parents=True)
    (hub / "README.md").write_text(
        "---\nconfigs:\n- config_name: distractor\n  data_files:\n"
        "  - split: validation\n    path: distractor/validation-*\n---\n"
    )
    file = hub / "distractor" / "validation-00000-of-00001.parquet"
    datasets_offline.Dataset.from_list([HOTPOT_HUB]).to_parquet(str(file))
    monkeypatch.setattr(datasets_offline, "load_dataset", redirected(datasets_offline.load_dataset, hub))
    assert [sample.id for sample in load_samples("hotpotqa", "hotpotqa/hotpot_qa")] == ["h1"]
    assert [sample.id for sample in load_samples("hotpotqa", "hotpotqa/hotpot_qa:distractor")] == ["h1"]
    with pytest.raises(DataError, match="the validation split of hotpotqa/hotpot_qa fullwiki"):
        load_samples("hotpotqa", "hotpotqa/hotpot_qa:fullwiki")


def redirected(load_dataset: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """The real loader, finding the hub id in a local folder of the hub's layout."""

    def load(path: str, name: str | None = None, *, data_files: Any = None, split: str) -> Any:
        assert path == "hotpotqa/hotpot_qa"
        return load_dataset(str(folder), name, data_files=data_files, split=split)

    return load


def test_a_missing_path_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for data in ("no.jsonl", "data/no", "owner/no.jsonl.gz", tmp_path / "x"):
        with pytest.raises(DataError, match="no file or folder"):
            load_samples("jsonl", data)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (json.dumps(STORY).encode() + b'\n{"id": 1', r"line 2, column 9: not valid JSON: Expecting ',' delimiter: the"),
        (b'\n[{"text": "a"},\n\n {"text": }]', r"line 4, column 11: not valid JSON: Expecting value: the"),
        (json.dumps(STORY).encode() + b"\n[1]\n", r"line 2, item 1: must be a JSON object, got int"),
        (b'{"text": "\xff"}', r"line 1 is not UTF-8 \(byte 0xff at offset 10\)"),
        (b'{"text": "a", "text": "b"}', r"line 1: .*'text' occurs twice"),
        (b'{"text": NaN}', r"line 1: .*NaN"),
        (b"[" * 200_000, r"nested too deeply"),
        (b'{"text": "a"}', r"line 1: `questions` must be a list, got nothing"),
        (b'{"text": 5, "questions": []}', r"line 1: `text` must be a text, got int '5'"),
        (b'{"text": " ", "questions": []}', r"line 1: .*white space"),
        (b'{"text": "\\ud800", "questions": []}', r"line 1: .*surrogate"),
        (b'{"text": "a", "questions": []}', r"has no question"),
        (
            b'{"text": "a", "questions": [{"question": "q", "answers": [1]}]}',
            r"questions 1: `answers` must be a list of texts",
        ),
        (
            b'{"text": "a", "questions": [{"question": "q", "length": 1.5}]}',
            r"questions 1: `length` must be a whole number",
        ),
        (b'{"text": "a", "questions": [{"question": "q", "depth": 1e999}]}', r"questions 1: `depth` must be a number"),
        (gzip.compress(json.dumps(STORY).encode())[:60], r"cannot read"),
        (b"\x1f\x8b not gzip", r"cannot read"),
    ],
)
def test_hostile_files_are_refused_with_their_place(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        load_samples("jsonl", path)
    assert "data.jsonl" in str(caught.value)


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="limit must be at least 1"):
        load_samples("jsonl", write_lines(tmp_path / "a.jsonl", [STORY]), limit=0)


def test_needles_fill_the_grid_at_their_length_and_depth() -> None:
    samples = build_needles((100, 400), num_per_cell=2)
    assert [(sample.length, sample.depth) for sample in samples[::2]] == [
        (n, depth) for n in (100, 400) for depth in DEPTHS
    ]
    assert len({sample.id for sample in samples}) == len(samples) == 40
    for sample in samples:
        text, assert_answer = sample.document.text, sample.references[0]
        assert sample.length is not None
        assert sample.depth is not None
        assert sample.length - 30 < len(text.split()) <= sample.length
        assert text.count(assert_answer) == 1
        place = text.index("The secret treasure") / len(text)
        assert abs(place - sample.depth) < 0.25


def test_the_recipe_of_needles_writes_a_grid_or_says_which_length_it_wants(tmp_path: Path) -> None:
    recipe = Path(__file__).parent.parent / "recipes" / "needles.py"

    def run(max_words: int) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, recipe, "--max-words", str(max_words), "--out", tmp_path / "new" / "needles.jsonl"]
        env = {**os.environ, "PYTHONPATH": str(recipe.parent.parent)}
        return subprocess.run(argv, capture_output=True, text=True, env=env)

    short = run(200)
    assert short.returncode == 2 and "Traceback" not in short.stderr
    assert (
        "--max-words 200, the shortest document has a tenth of it: needle lengths must be at least 32" in short.stderr
    )
    assert run(320).returncode == 0
    assert len(load_samples("needle", tmp_path / "new" / "needles.jsonl")) == 100


def test_needles_of_training_and_test_share_no_answer_and_a_seed_repeats() -> None:
    train = build_needles((64,), num_per_cell=60, seed=3, split="train")
    test = build_needles((64,), num_per_cell=60, seed=4, split="test")
    assert not {item.references for item in train} & {item.references for item in test}
    assert train == build_needles((64,), num_per_cell=60, seed=3, split="train")
    assert [item.references for item in test] != [
        needle.references for needle in build_needles((64,), num_per_cell=60, seed=5)
    ]


def test_needles_hide_in_given_filler_that_never_holds_the_answer() -> None:
    every = [f"An {needle.references[0]} lay there." for needle in build_needles((64,), num_per_cell=5)]
    filler = "First sentence here. " + " ".join(every)
    samples = build_needles((200,), filler=filler, num_per_cell=5)
    assert all(sample.document.text.count(sample.references[0]) == 1 for sample in samples)
    assert samples[-1].document.text.startswith("First sentence here.")


def test_written_needles_read_back(tmp_path: Path) -> None:
    samples = build_needles((64, 128), (0.0, 0.5, 1.0))
    write_needles(samples, tmp_path / "needles.jsonl")
    assert load_samples("needle", tmp_path / "needles.jsonl") == samples


def test_impossible_needles_are_refused() -> None:
    with pytest.raises(DataError, match="at least 32"):
        build_needles((5,))
    with pytest.raises(DataError, match="from 0 to 1"):
        build_needles((64,), (50,))
    with pytest.raises(DataError, match="white space"):
        build_needles((64,), filler="  ")
