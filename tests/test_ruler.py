"""RULER's subtasks: generated at their length, seeded, scored by its own metric, asked by `predict` and `evaluate`."""

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lloco.cli.results_table import results_table
from lloco.errors import DataError
from lloco.evals import metrics
from lloco.evals.mode import DEFAULT_MODES, MODES
from lloco.evals.plots import needle_grid
from lloco.evals.report import render_report
from lloco.evals.results import ModeResult, Results
from lloco.evals.run.log import Prediction
from lloco.evals.scorer import score
from lloco.tasks.needle import DEPTHS
from lloco.tasks.prompt_len import prompt_len
from lloco.tasks.ruler import SUBTASKS, RulerOptions, build_ruler, write_ruler
from lloco.tasks.sample import Sample
from lloco.tasks.task import find_task, load_samples
from tests.command import Run, write_lines

BUNDLED = Path(__file__).parent.parent / "lloco" / "bundled" / "model"
LENGTH = 2048


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast.from_pretrained(BUNDLED)  # type: ignore[no-any-return]


def count_words(sample: Sample) -> int:
    return len(re.findall(r"\w+|\S", f"{sample.document.text} {sample.question}"))


def one(subtask: str, *, length: int = LENGTH, seed: int = 0) -> Sample:
    return build_ruler(RulerOptions((subtask,), length, 1, seed), count_words)[0]


@pytest.mark.parametrize("subtask", SUBTASKS)
def test_a_text_fills_its_length_in_the_models_tokens_and_never_more(
    subtask: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    made = build_ruler(RulerOptions((subtask,), LENGTH, 3), lambda sample: prompt_len(tokenizer, sample))
    assert len({sample.id for sample in made}) == len({sample.document.text for sample in made}) == 3
    for sample in made:
        parts = (sample.document.text, sample.question)
        num_tokens = sum(len(tokenizer(part, add_special_tokens=False).input_ids) for part in parts)
        total = num_tokens + find_task("ruler").answer_tokens(sample)
        assert 0.95 * LENGTH <= total <= LENGTH
        assert 0.95 * LENGTH <= prompt_len(tokenizer, sample) + SUBTASKS[subtask].max_tokens <= LENGTH
        assert (sample.task, sample.dataset, sample.length) == ("ruler", subtask, LENGTH)


@pytest.mark.parametrize("subtask", SUBTASKS)
def test_the_same_seed_gives_the_same_questions_and_another_seed_others(subtask: str) -> None:
    options = RulerOptions((subtask,), 700, 2, seed=3)
    made = build_ruler(options, count_words)
    assert made == build_ruler(options, count_words)
    assert made[:1] == build_ruler(RulerOptions((subtask,), 700, 1, seed=3), count_words)
    others = build_ruler(RulerOptions((subtask,), 700, 2, seed=4), count_words)
    texts = [sample.document.text for sample in (*made, *others)]
    assert len(set(texts)) == len({sample.references for sample in (*made, *others)}) == 4


@pytest.mark.parametrize("subtask", ["niah_single_1", "niah_multikey_2", "niah_multikey_3"])
def test_one_needle_lies_at_its_depth_and_only_its_key_has_the_answer(subtask: str) -> None:
    sample = one(subtask)
    [key] = re.findall(r"for (\S+) mentioned in the provided text\?", sample.question)
    lines = sample.document.text.splitlines()[1:]
    kind = "uuid" if subtask == "niah_multikey_3" else "number"
    needle = f"One of the special magic {kind}s for {key} is: {sample.references[0]}."
    assert lines.count(needle) == 1 and sample.depth in DEPTHS
    assert lines.index(needle) == round(sample.depth * (len(lines) - 1))
    assert sample.document.text.count(sample.references[0]) == sample.document.text.count(key) == 1
    assert sample.document.text.startswith(f"A special magic {kind} is hidden within the following text.")
    others = {line for line in lines if line != needle}
    assert len(others) == (1 if subtask == "niah_single_1" else len(lines) - 1)


def test_uuids_are_of_version_4() -> None:
    [value] = one("niah_multikey_3").references
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", value)


@pytest.mark.parametrize("subtask", ["niah_multivalue", "niah_multiquery"])
def test_four_needles_lie_in_prose_and_all_are_asked_for(subtask: str) -> None:
    sample = one(subtask)
    found = re.findall(r"One of the special magic numbers for (\S+) is: (\d{7})\.", sample.document.text)
    assert len(found) == 4 and {value for _, value in found} == set(sample.references)
    keys = list(dict.fromkeys(key for key, _ in found))
    assert len(keys) == (1 if subtask == "niah_multivalue" else 4)
    assert all(key in sample.question for key in keys) and sample.depth is None
    if subtask == "niah_multiquery":
        asked = [dict(map(reversed, found))[value] for value in sample.references]
        assert f"for {asked[0]}, {asked[1]}, {asked[2]}, and {asked[3]} mentioned" in sample.question


def test_variables_are_a_chain_in_the_order_of_the_text() -> None:
    sample = one("vt")
    lines = [line for line in sample.document.text.splitlines() if line.startswith("VAR ")]
    names = sample.references
    [value] = re.findall(r"assigned the value (\d{5}) in the text above\.", sample.question)
    assert lines == [f"VAR {names[0]} = {value}", *(f"VAR {b} = VAR {a}" for a, b in pairwise(names))]
    assert [sample.document.text.count(name) for name in names] == [2, 2, 2, 2, 1]


@pytest.mark.parametrize(("length", "often", "seldom"), [(2048, 6, 1), (4096, 30, 3)])
def test_ten_words_are_common_in_a_numbered_list(length: int, often: int, seldom: int) -> None:
    sample = one("cwe", length=length)
    numbered = re.findall(r"(\d+)\. (\w+)", sample.document.text)
    assert [int(number) for number, _ in numbered] == list(range(1, len(numbered) + 1))
    counts = Counter(word for _, word in numbered)
    assert {word for word, count in counts.items() if count == often} == set(sample.references)
    assert set(counts.values()) == {often, seldom} and len(sample.references) == 10
    assert all(sample.document.text.count(word) == count for word, count in counts.items())


@pytest.mark.parametrize("length", [300, 700, 4096])
def test_three_coded_words_are_more_frequent_than_any_other(length: int) -> None:
    sample = one("fwe", length=length)
    counts = Counter(sample.document.text.split("coded words. ", 1)[1].split())
    assert counts.most_common(1)[0][0] == "..."
    del counts["..."]
    assert {word for word, _ in counts.most_common(3)} == set(sample.references)
    assert min(counts[word] for word in sample.references) > sorted(counts.values())[-4]


def test_what_cannot_be_generated_is_refused() -> None:
    with pytest.raises(DataError, match="no subtask 'qa_1' of task ruler, choose some of niah_single_1, "):
        RulerOptions(("vt", "qa_1"))
    with pytest.raises(DataError, match="must be named once each, got vt, vt"):
        RulerOptions(("vt", "vt"))
    with pytest.raises(DataError, match="at least 1 question per subtask, got 0"):
        RulerOptions(num_questions=0)
    with pytest.raises(DataError, match=r"length must be at least \d+ for subtask cwe, got 300") as caught:
        build_ruler(RulerOptions(("fwe", "cwe"), 300, 4), count_words)
    [needed] = re.findall(r"least (\d+)", str(caught.value))
    assert len(build_ruler(RulerOptions(("fwe", "cwe"), int(needed), 4), count_words)) == 8


def test_written_questions_read_back(tmp_path: Path) -> None:
    made = build_ruler(RulerOptions(("niah_single_1", "fwe"), 400, 2), count_words)
    write_ruler(made, tmp_path / "questions.jsonl")
    assert load_samples("ruler", tmp_path / "questions.jsonl") == made
    wrong = write_lines(tmp_path / "wrong.jsonl", {"text": "A.", "subtask": "qa_1", "questions": []})
    with pytest.raises(DataError, match=r"wrong.jsonl, line 1.*no subtask 'qa_1', these are: niah_single_1"):
        load_samples("ruler", wrong)


def test_the_metric_is_the_share_of_references_that_occur() -> None:
    assert metrics.string_match_all("They are 12 and 34.", ["12", "34", "56", "78"]) == 0.5
    assert metrics.string_match_all("KAFUS, abc", ["kafus", "ABC"]) == 1.0
    assert metrics.string_match_all("123", ["1234"]) == metrics.string_match_all("", ["a"]) == 0.0
    assert metrics.string_match_all("xabcx", ["abc"]) == 1.0
    with pytest.raises(ValueError, match="at least one reference"):
        metrics.string_match_all("a", [])


def asked(subtask: str, index: int, *references: str) -> Sample:
    made = one("niah_single_1", length=300)
    return Sample(f"{subtask}-{index}", "ruler", "What?", made.document, references, dataset=subtask)


def test_scores_are_by_subtask_with_n_and_error_and_rounded_as_by_the_official_script() -> None:
    samples = [asked("vt", 0, "A", "B", "C"), asked("vt", 1, "D", "E", "F"), asked("fwe", 0, "x")]
    scores = score("ruler", samples, {"vt-0": "a", "vt-1": "none of it, indeed: f", "fwe-0": "X"})
    assert scores.metrics == {
        "string_match_all": 77.78,  # the mean of 1/3, 3/3 and 1, with two decimals
        "string_match_all_fwe": 100.0,
        "string_match_all_vt": 66.67,
    }
    assert scores.num_samples == {"string_match_all": 3, "string_match_all_fwe": 1, "string_match_all_vt": 2}
    assert scores.stderr["string_match_all_vt"] == pytest.approx(100 / 3)
    assert scores.stderr["string_match_all_fwe"] is None
    assert "string_match_all_vt" in score("ruler", samples[:2], {"vt-0": "", "vt-1": ""}).metrics


def made_up_results() -> Results:
    samples = build_ruler(RulerOptions(("niah_single_1", "vt"), 400, 3), count_words)
    rows = []
    for mode in ("full", "none"):
        texts = {sample.id: sample.references[0] if mode == "full" else "" for sample in samples}
        predictions = tuple(Prediction(sample.id, texts[sample.id], 300, 0, 300) for sample in samples)
        rows.append(ModeResult(mode, score("ruler", samples, texts), predictions))
    return Results("ruler", tuple(rows), tuple(samples), {}, {})


def test_table_and_report_show_every_subtask() -> None:
    results = made_up_results()
    lines = [" ".join(re.split(r"[│┃\s]+", line)).strip() for line in results_table(results).splitlines()]
    assert "full 6 60.0 ± 17.9 300 0 – 0.0 0" in lines
    assert {"subtask n full none", "niah_single_1 3 100.0 ± 0.0 0.0 ± 0.0", "vt 3 20.0 ± 0.0 0.0 ± 0.0"} <= set(lines)
    page = " ".join(re.sub(r"<[^>]*>", " ", render_report([results])).split())
    assert "string match all niah single 1 string match all vt" in page
    assert "100.0 ± 0.0 (n = 3) 20.0 ± 0.0 (n = 3)" in page


def test_single_needles_have_a_heat_map() -> None:
    results = made_up_results()
    grid = needle_grid(results.samples, results.rows[0])
    assert grid is not None and (grid.n, grid.lengths) == (3, (400,))
    assert {share for row in grid.found for share in row} == {100.0}


QUICK = ("--subtasks", "niah_single_1,fwe", "--length", "512", "--max-tokens", "3", "--limit", "2")


@pytest.mark.usefixtures("home")
def test_evaluate_generates_answers_and_scores_in_every_mode(run: Run) -> None:
    value = run.json("evaluate", "--task", "ruler", *QUICK)
    assert [row["mode"] for row in value["rows"]] == list(DEFAULT_MODES)
    for row in value["rows"]:
        assert row["n"] == 4 and row["num_cut"] == 0
        assert row["num_samples"]["string_match_all_fwe"] == row["num_samples"]["string_match_all_niah_single_1"] == 2
        assert row["document_tokens"] < 512
    options = value["options"]
    assert (options["data"], options["subtasks"], options["length"]) == ("generated", ["niah_single_1", "fwe"], 512)
    folder = Path("evaluate-ruler")
    argv = ("score", "--task", "ruler", "--data", folder / "questions.jsonl", "--predictions")
    scores = run.json(*argv, folder / "predictions" / "full.json")
    assert scores["metrics"] == value["rows"][list(DEFAULT_MODES).index("full")]["metrics"]
    assert run.json("evaluate", "--task", "ruler", *QUICK)["rows"] == value["rows"]
    assert run("evaluate", "--task", "ruler", *QUICK, "--modes", "none", "--seed", "1") == 0
    assert "ruler by subtask" in run.out and "this run is in evaluate-ruler-2" in run.err
    again = ("evaluate", "--task", "ruler", "--data", folder / "questions.jsonl", "--modes", "none", "--out", "read")
    assert run.json(*again, "--max-tokens", "3")["rows"][0]["n"] == 4


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("mode", MODES)
def test_predict_generates_questions_that_score_reads(run: Run, mode: str) -> None:
    value = run.json("predict", "--task", "ruler", *QUICK, "--mode", mode)
    assert value["n"] == 4
    assert f"--data ruler-{mode}.json.questions.jsonl --predictions ruler-{mode}.json" in run.err
    argv = ("score", "--task", "ruler", "--data", f"ruler-{mode}.json.questions.jsonl")
    assert run.json(*argv, "--predictions", f"ruler-{mode}.json")["n"] == 4
    assert set(json.loads(Path(f"ruler-{mode}.json").read_text())) == {
        f"{subtask}-512-0-{index}" for subtask in ("niah_single_1", "fwe") for index in (0, 1)
    }


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_flags_that_do_not_go_together_are_usage_errors(run: Run, verb: str, qa: Path) -> None:
    for flags, message in (
        (("ruler", "--subtasks", "vt,qa_1"), "'--subtasks': there is no subtask 'qa_1', choose some of niah_single_1,"),
        (("ruler", "--subtasks", "vt,vt"), "'--subtasks': subtask vt is named twice, name each once"),
        (("ruler", "--limit", "0"), "'--limit': must be a whole number of at least 1, got 0"),
        (("ruler", "--length", "0"), "'--length': must be a whole number from 1 to 131072, got 0"),
        (("jsonl", "--data", qa, "--subtasks", "vt"), "'--subtasks': is of the questions that --task ruler generates"),
        (("jsonl", "--data", qa, "--length", "9"), "'--length': is of the questions that --task ruler generates"),
        (("ruler", "--data", qa, "--length", "9"), "generates, not of --data"),
        (("quality",), "'--data': must name a file, a folder or a hub id: --task quality has data"),
    ):
        said = " ".join(run.fails(verb, "--task", *flags, code=2).split())
        assert message in re.sub(r"[│╭╮╰╯─]+ ?", "", said), (flags, said)


@pytest.mark.usefixtures("home")
def test_a_length_that_is_too_short_for_a_subtask_says_what_it_needs(run: Run) -> None:
    said = run.fails("predict", "--task", "ruler", "--length", "256", "--limit", "1", "--mode", "none")
    assert re.search(r"error: length must be at least \d+ for subtask cwe, got 256", said)
