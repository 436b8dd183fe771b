"""Files of an English model: public sets in their own layouts, held-out text stays out, bad input is plainly said."""

from __future__ import annotations

import gzip
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lloco.tasks.task import load_samples
from lloco.training.pretrain.text import iter_lines
from tests.command import write_lines

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "english"
sys.path.insert(0, str(RECIPE))

from held_out import HeldOut, read_held_out  # noqa: E402
from make_data import main  # noqa: E402
from public_sources import SOURCES  # noqa: E402
from source_rows import hub_rows, local_rows  # noqa: E402
from training_text import TrainingText, pieces  # noqa: E402

THIRTEEN = "the brig Petrel left Dundee with a cargo of slate under Edmund Crane"
QUESTION = {"question": "Who signed it?", "answers": ["Agnes Webb"]}


def prose(topic: str, num_words: int = 60) -> str:
    return " ".join(f"{topic}{number}" for number in range(num_words))


def span_row(number: int, context: str) -> dict[str, Any]:
    answers = {"text": ["answer", " answer "], "answer_start": [0, 0]}
    return {"id": str(number), "title": "A_Title", "context": context, "question": f"Q{number}?", "answers": answers}


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(rows), path)


def write_hub_copies(folder: Path) -> dict[str, Path]:
    """Every source in small, as its repository on the hub lays it out; the other split must not be read."""
    rows: dict[str, list[dict[str, Any]]] = {
        "squad/plain_text/train-00000-of-00001.parquet": [
            span_row(1, prose("squad")), span_row(2, prose("more")), span_row(3, prose("squad")),
        ],
        "squad/plain_text/validation-00000-of-00001.parquet": [span_row(4, prose("heldout"))],
        "adversarial_qa/adversarialQA/train-00000-of-00001.parquet": [
            {**span_row(1, prose("adversarial")), "metadata": {"split": "train", "model_in_the_loop": "Combined"}}
        ],
        "nq/data/train-00000-of-00001-5ea92c1.parquet": [
            {"context": f"<P> {prose('nq')} </P>", "question": "who", "answers": ["nq3"], "key": "k", "labels": []}
        ],
        "fairytaleqa/default/train/0000.parquet": [
            {"story_name": "the-kid", "content": prose("fairy"), "answer": "nine", "question": "How many?"}
        ],
        "fairytaleqa/default/validation/0000.parquet": [
            {"story_name": "other", "content": prose("other"), "answer": "one", "question": "What?"}
        ],
        "wikipedia/20231101.en/train-00000-of-00002.parquet": [
            {"id": "1", "url": "u", "title": "Mill", "text": prose("mill")}
        ],
        "wikipedia/20231101.en/train-00001-of-00002.parquet": [
            {"id": "2", "url": "u", "title": "Brig", "text": prose("brig")}, {"id": "3", "url": "u", "title": "Stub",
             "text": "short"},
        ],
        "novels/data/train-00000-of-00037-5fb8.parquet": [
            {"TEXT": f"Project Gutenberg's Kid\r\n\r\n{prose('one')}\r\n{prose('two')}\r\n\r\n{prose('three', 3000)}",
             "SOURCE": "gutenberg", "METADATA": "{}"}
        ],
        "news/3.0.0/train-00000-of-00003.parquet": [{"article": prose("news"), "highlights": "h", "id": "1"}],
    }  # fmt: skip
    for name, lines in rows.items():
        write_parquet(folder / name, lines)
    meeting = [
        {"id": f"q_{n}", "pid": f"q_{n}_0", "input": f"Why {n}?\n\n{prose('meet')}", "output": "So."} for n in "12"
    ]
    (folder / "meetings").mkdir()
    with zipfile.ZipFile(folder / "meetings" / "qmsum.zip", "w") as archive:
        archive.writestr("qmsum/train.jsonl", "".join(json.dumps(row) + "\n" for row in meeting))
    return {name: folder / name for name in SOURCES}


def make(out: Path, copies: dict[str, Path], *more: object) -> int:
    local = [part for name, path in copies.items() for part in ("--local", f"{name}={path}")]
    return main(["--out", str(out), "--sources", ",".join(copies), *local, *map(str, more)])


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


@pytest.fixture
def copies(tmp_path: Path) -> dict[str, Path]:
    return write_hub_copies(tmp_path / "hub")


def test_every_source_is_read_in_the_layout_it_has_on_the_hub(copies: dict[str, Path], tmp_path: Path) -> None:
    assert make(tmp_path / "out", copies) == 0
    reading = {(line["source"], line["text"].split()[0]): line for line in read(tmp_path / "out" / "reading.jsonl.gz")}
    assert set(reading) == {
        ("squad", "squad0"), ("squad", "more0"), ("adversarial_qa", "adversarial0"), ("nq", "nq0"),
        ("fairytaleqa", "fairy0"),
    }  # fmt: skip
    squad = reading["squad", "squad0"]
    assert (squad["title"], [item["question"] for item in squad["questions"]]) == ("A Title", ["Q1?", "Q3?"])
    assert squad["questions"][0]["answers"] == ["answer"]
    assert reading["nq", "nq0"]["text"] == prose("nq")
    texts = read(tmp_path / "out" / "text.jsonl.gz")
    assert {line["source"] for line in texts} == {"wikipedia", "novels", "meetings", "news"}
    assert sum(line["source"] == "meetings" for line in texts) == 1
    assert sum(line["source"] == "wikipedia" for line in texts) == 2
    novel = [line["text"] for line in texts if line["source"] == "novels"]
    assert novel[0] == f"{prose('one')} {prose('two')}" and "Gutenberg" not in "".join(novel)
    assert all(line.keys() == {"source", "text"} for line in texts)


def test_pretrain_and_evaluate_read_what_is_made(copies: dict[str, Path], tmp_path: Path) -> None:
    assert make(tmp_path / "out", copies) == 0
    lines = list(iter_lines([tmp_path / "out" / "reading.jsonl.gz", tmp_path / "out" / "text.jsonl.gz"]))
    assert sum(len(pairs) for _, pairs in lines) == 6
    fairy = {"fairytaleqa": copies["fairytaleqa"]}
    assert make(tmp_path / "val", fairy, "--split", "validation") == 0
    (sample,) = load_samples("fairytaleqa", tmp_path / "val" / "reading.jsonl.gz")
    assert (sample.question, sample.references) == ("What?", ("one",))


def test_the_same_arguments_make_the_same_bytes_and_a_limit_draws_by_the_seed(tmp_path: Path) -> None:
    lines = [{"source": "s", "text": prose(f"t{number}x"), "questions": [QUESTION]} for number in range(40)]
    file = write_lines(tmp_path / "lines.jsonl", *lines)

    def drawn(out: str, seed: int) -> bytes:
        flags = ["--from-lines", str(file), "--limit", "s=8", "--seed", str(seed)]
        assert main(["--out", str(tmp_path / out), *flags]) == 0
        return (tmp_path / out / "reading.jsonl.gz").read_bytes()

    assert drawn("a", 0) == drawn("b", 0) != drawn("c", 1)
    places = [lines.index({key: line[key] for key in ("source", "text", "questions")})
              for line in read(tmp_path / "a" / "reading.jsonl.gz")]  # fmt: skip
    assert len(places) == 8 and places == sorted(places)


def test_the_order_of_files_of_plain_text_is_drawn_by_the_seed(copies: dict[str, Path], tmp_path: Path) -> None:
    first = set()
    for seed in range(8):
        assert make(tmp_path / "out", {"wikipedia": copies["wikipedia"]}, "--limit", 1, "--seed", seed) == 0
        (line,) = read(tmp_path / "out" / "text.jsonl.gz")
        first.add(line["text"].split()[0])
    assert first == {"mill0", "brig0"}


@pytest.mark.parametrize(
    ("text", "is_shared"),
    [
        (f"Then {THIRTEEN}.", True),
        ("THE BRIG, Petrel --\nleft Dundee with a 'cargo' of slate; under Edmund Crane!", True),
        (THIRTEEN.replace("slate", "coal"), False),
        (THIRTEEN.removeprefix("the "), False),
    ],
)
def test_a_run_of_thirteen_words_is_found_whatever_stands_between_them(text: str, is_shared: bool) -> None:
    held_out = HeldOut([f"It is said that {THIRTEEN} in May."])
    assert held_out.is_shared_by(TrainingText("s", "", text)) is is_shared
    asked = TrainingText("s", "", "other words", ((text, ("a",)),))
    assert held_out.is_shared_by(asked) is is_shared


HELD_OUT: dict[str, Any] = {
    "quality.dev": {
        "article_id": "1", "set_unique_id": "1", "title": "t", "article": THIRTEEN,
        "questions": [{"question": "Q", "question_unique_id": "1_1", "options": list("abcd"), "gold_label": 1}],
    },
    "qmsum.jsonl": {"id": "1", "pid": "1_0", "input": f"Why?\n\n{THIRTEEN}", "output": "So."},
    "hotpot.json": [{
        "_id": "1", "question": "Q", "answer": "a", "supporting_facts": [["t", 0]], "context": [["t", [THIRTEEN]]],
    }],
    "longbench.jsonl": {
        "input": "", "context": THIRTEEN, "answers": ["a"], "length": 9, "dataset": "multi_news", "language": "en",
        "all_classes": None, "_id": "1",
    },
    "squad_articles.jsonl": {"id": "1", "title": "t", "text": THIRTEEN, "questions": [QUESTION]},
    "squad_hub.jsonl": span_row(1, THIRTEEN),
    "squad_file.json": {"data": [{"title": "t", "paragraphs": [{"context": THIRTEEN, "qas": [
        {"id": "1", "question": "Q", "answers": [{"text": "a", "answer_start": 0}]}]}]}]},
    "reference.jsonl": {"text": "A story.", "questions": [{"question": "What?", "answers": [THIRTEEN]}]},
}  # fmt: skip


@pytest.mark.parametrize("name", HELD_OUT)
def test_what_a_benchmark_file_holds_is_dropped_and_counted(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out = tmp_path / name
    held_out.write_text(json.dumps(HELD_OUT[name]) + "\n")
    assert len(read_held_out([held_out])) >= 1
    kept, shared = prose("kept"), f"{prose('lead')} {THIRTEEN} {prose('end')}"
    lines = write_lines(tmp_path / "mine.jsonl.x", {"text": kept}, {"text": shared}, {"text": shared, "source": "b"})
    code = main(["--out", str(tmp_path / "out"), "--from-lines", str(lines), "--held-out", str(held_out)])
    assert code == 0
    assert [line["text"] for line in read(tmp_path / "out" / "text.jsonl.gz")] == [kept]
    printed = capsys.readouterr().out
    assert "| mine | 2 | 1 | 1 | 0 | 60 |" in printed and "| b | 1 | 1 | 0 | 0 | 0 |" in printed
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["sources"]["mine"]["num_dropped"] == 1 and summary["options"]["held_out"] == [str(held_out)]


def test_lines_of_either_form_become_reading_and_text(tmp_path: Path) -> None:
    file = write_lines(
        tmp_path / "lines.jsonl",
        {"source": "a", "title": "T", "context": THIRTEEN, "qas": [{"q": "Who?", "a": ["Crane", "Edmund"]}]},
        {"text": prose("long", 4000)},
        {"context": prose("bare"), "qas": []},
    )
    assert main(["--out", str(tmp_path), "--from-lines", str(file)]) == 0
    questions = [{"question": "Who?", "answers": ["Crane", "Edmund"]}]
    assert read(tmp_path / "reading.jsonl.gz") == [
        {"source": "a", "title": "T", "text": THIRTEEN, "questions": questions}
    ]
    texts = read(tmp_path / "text.jsonl.gz")
    assert [(line["source"], len(line["text"].split())) for line in texts] == [
        ("lines", 1200), ("lines", 1200), ("lines", 1200), ("lines", 400), ("lines", 60),
    ]  # fmt: skip


def test_pieces_keep_every_word_in_order_and_lines_whole() -> None:
    text = "\n".join([prose("a", 900), prose("b", 900), prose("c", 100), prose("d", 1600)])
    found = list(pieces(text))
    assert [len(piece.split()) for piece in found] == [900, 1000, 1200, 400]
    assert " ".join(found).split() == text.split()


class FakeStream:
    """What `datasets` returns with streaming, as far as the recipe uses it."""

    def __init__(self, rows: list[dict[str, Any]], error: Exception | None = None) -> None:
        self.rows, self.error, self.seed = rows, error, None

    def shuffle(self, *, seed: int, buffer_size: int) -> FakeStream:
        self.seed = seed
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self.rows
        if self.error:
            raise self.error


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.archive is None])
def test_the_hub_is_asked_by_id_configuration_split_and_revision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    source, stream, asked = SOURCES[name], FakeStream([{"a": 1}]), []

    def load(*args: object, **named: object) -> FakeStream:
        asked.append((args, named))
        return stream

    monkeypatch.setattr(datasets, "load_dataset", load)
    (row,) = hub_rows(source, "train", 7)
    assert row.fields == {"a": 1} and source.hub_id in row.where
    expected = {"split": "train", "revision": source.revision, "streaming": True}
    assert asked == [((source.hub_id, source.config), expected)]
    assert stream.seed == (None if source.has_questions else 7)


@pytest.mark.parametrize("name", ["squad", "fairytaleqa", "nq", "wikipedia", "novels"])
def test_the_real_library_streams_the_layout(
    name: str, copies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source, folder = SOURCES[name], copies[name]
    if source.config and source.revision is None:  # the hub's own parquet branch has no card, and needs none
        files = f"data_files:\n  - split: train\n    path: {source.config}/train-*"
        (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: '{source.config}'\n  {files}\n---\n")
    streamed = source.read(name, hub_rows(replace(source, hub_id=str(folder), revision=None), "train", 0))
    read_here = source.read(name, local_rows(source, folder, "train", 0))
    assert sorted(map(repr, streamed)) == sorted(map(repr, read_here)) != []


def test_an_archive_is_fetched_from_beside_the_script(copies: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub as hub

    archive = copies["meetings"] / "qmsum.zip"
    monkeypatch.setattr(hub, "hf_hub_download", lambda id, name, repo_type: str(archive.parent / name))
    assert len(list(hub_rows(SOURCES["meetings"], "train", 0))) == 2


def test_a_hub_that_fails_midway_leaves_the_older_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import datasets

    rows = [{"text": prose("x"), "title": "t"}]
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: FakeStream(rows, ConnectionError("gone")))
    (tmp_path / "text.jsonl.gz").write_bytes(b"older")
    assert main(["--out", str(tmp_path), "--sources", "wikipedia"]) == 1
    assert "the train split of wikimedia/wikipedia was wanted, ConnectionError came: gone" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["text.jsonl.gz"]
    assert (tmp_path / "text.jsonl.gz").read_bytes() == b"older"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--sources", "squat"], "there is no source 'squat': choose some of squad"),
        (["--local", "squad=nowhere"], "--local wanted ID=PATH with a folder or file that is there"),
        (["--sources", "squad", "--local", "rajpurkar/squad={empty}"], "train files"),
        (["--limit", "squad=none"], "--limit wanted N or SOURCE=N"),
        (["--limit", "squat=3"], "there is no source 'squat'"),
        (["--sources", "squad", "--local", "nq={empty}"], "--local nq is not among the sources"),
        (["--from-lines", "{short}", "--local", "squad={empty}"], "--from-lines takes the place of the public sets"),
        (["--from-lines", "nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["--from-lines", "{bad}"], "not valid JSON"),
        (["--from-lines", "{other}"], "`text` must be a text, got nothing"),
        (["--from-lines", "{short}"], "none is left"),
        (["--from-lines", "{short}", "--held-out", "{other}"], "an evaluation file was wanted for --held-out"),
        (["--sources", "squad", "--local", "squad={parquet}"], "as parquet"),
        (["--sources", "squad", "--local", "squad={other}"], "`context` must be a text"),
        (["--sources", "meetings", "--local", "meetings={zip}"], "check the file"),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_code_1(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / name for name in ("bad", "other", "short", "empty")}
    files |= {"parquet": tmp_path / "x.parquet", "zip": tmp_path / "x.zip"}
    files["bad"].write_text("{not json\n")
    write_lines(files["other"], {"summary": "no text"})
    write_lines(files["short"], {"text": "Too short."})
    files["empty"].mkdir()
    files["parquet"].write_text("no parquet")
    files["zip"].write_text("no zip")
    assert main(["--out", str(tmp_path / "out"), *(flag.format(**files) for flag in flags)]) == 1
    captured = capsys.readouterr()
    assert words in captured.err and "Traceback" not in captured.err and captured.out == ""
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_the_readme_lists_every_source_with_id_licence_and_size() -> None:
    readme = (RECIPE / "README.md").read_text()
    for source in SOURCES.values():
        assert re.search(rf"\| `{source.name}` \| `{source.hub_id}`", readme), source.name
        assert source.licence in readme and source.size in readme
