"""Scores of whole prediction files: official means, standard errors, and each benchmark's rules for ids."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from lloco.documents.document import Document
from lloco.errors import DataError
from lloco.evals.run.predictions import read_predictions
from lloco.evals.scorer import score
from lloco.tasks.sample import Sample
from lloco.tasks.task import TASKS

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "metrics.json").read_text())
DOCUMENT = Document(id="d", text="Text.")


def sample(task: str, name: str, *references: str, **fields: Any) -> Sample:
    return Sample(name, task, "Why?", DOCUMENT, references, **fields)


def close(value: Any) -> Any:
    return pytest.approx(value, abs=1e-6)


def test_answer_scores_equal_the_official_means_with_their_standard_error() -> None:
    examples = [item | {"id": f"{number}"} for number, item in enumerate(GOLDEN["answer_f1"]["examples"])]
    samples = [sample("qasper", example["id"], *example["references"]) for example in examples]
    scores = score("qasper", samples, {example["id"]: example["prediction"] for example in examples})
    assert scores.n == 220
    assert scores.metrics == close(
        {"answer_f1": GOLDEN["answer_f1"]["mean_f1_x100"], "exact_match": GOLDEN["answer_f1"]["mean_em_x100"]}
    )
    share = scores.metrics["exact_match"] / 100
    assert scores.stderr["exact_match"] == close(100 * math.sqrt(share * (1 - share) / 219))
    assert [item.metrics["answer_f1"] for item in scores.per_sample] == close(
        [100 * example["f1"] for example in examples]
    )


def test_qmsum_scores_equal_the_official_rouge_with_a_seeded_bootstrap() -> None:
    examples = [item | {"id": f"{number}"} for number, item in enumerate(GOLDEN["rouge"]["examples"])]
    samples = [sample("qmsum", example["id"], *example["references"]) for example in examples]
    predictions = {example["id"]: example["prediction"] for example in examples}
    scores = score("qmsum", samples, predictions)
    expected = GOLDEN["rouge"]["mean_x100"] | {"rouge_geometric_mean": GOLDEN["rouge"]["geometric_mean"]}
    assert scores.metrics == close(expected)
    assert list(scores.metrics) == ["rouge1", "rouge2", "rougeL", "rouge_geometric_mean"]
    error = scores.stderr["rouge_geometric_mean"]
    neighbours = [scores.stderr["rouge1"], scores.stderr["rouge2"]]
    assert error is not None
    assert 0.5 * min(filter(None, neighbours)) < error < 1.5 * max(filter(None, neighbours))
    assert score("qmsum", samples, predictions).stderr == scores.stderr
    assert score("qmsum", samples, predictions, seed=1).stderr != scores.stderr


def hotpot_samples() -> list[Sample]:
    return [
        sample("hotpotqa", item["_id"], item["answer"], supporting_facts=tuple(map(tuple, item["supporting_facts"])))
        for item in GOLDEN["hotpot"]["gold"]
    ]


def test_hotpot_scores_count_missing_answers_officially_and_skip_them_in_the_lloco_variant() -> None:
    golden = GOLDEN["hotpot"]
    scores = score("hotpotqa", hotpot_samples(), golden["prediction"])
    assert scores.metrics["hotpot_em"] == close(100 * golden["official"]["em"])
    assert scores.metrics["hotpot_f1"] == close(100 * golden["official"]["f1"])
    assert scores.metrics["hotpot_joint_f1"] == close(100 * golden["official"]["joint_f1"])
    assert scores.metrics["hotpot_f1_lloco"] == close(golden["lloco_f1"])
    assert (scores.num_samples["hotpot_f1"], scores.num_samples["hotpot_f1_lloco"]) == (50, 47)
    missing = [item for item in scores.per_sample if item.prediction is None]
    assert len(missing) == 3
    assert all(item.metrics["hotpot_f1"] == 0 and "hotpot_f1_lloco" not in item.metrics for item in missing)


def test_hotpot_answers_without_supporting_facts_have_no_joint_score() -> None:
    golden = GOLDEN["hotpot"]
    scores = score("hotpotqa", hotpot_samples(), golden["prediction"]["answer"])
    assert list(scores.metrics) == ["hotpot_em", "hotpot_f1", "hotpot_f1_lloco"]
    assert scores.metrics["hotpot_f1"] == close(100 * golden["official"]["f1"])


def test_hotpot_predictions_for_other_questions_are_refused() -> None:
    with pytest.raises(DataError, match="50 of 50 samples have no prediction"):
        score("hotpotqa", hotpot_samples(), {"other": "x"})


def test_quality_reports_both_letter_rules_and_the_difficult_questions() -> None:
    golden = GOLDEN["quality_lloco"]
    options = ("one", "two", "three", "four")
    samples = [
        sample("quality", name, "one", options=options, gold_letter=letter, is_difficult=int(name[1:]) % 3 == 0)
        for name, letter in golden["gold_letters"].items()
    ]
    scores = score("quality", samples, golden["predictions"])
    assert scores.metrics["accuracy_lloco"] == close(100 * golden["accuracy"])
    assert scores.metrics["accuracy"] > scores.metrics["accuracy_lloco"]
    assert list(scores.metrics)[2:] == ["accuracy_difficult", "accuracy_lloco_difficult"]
    assert (scores.num_samples["accuracy"], scores.num_samples["accuracy_difficult"]) == (150, 50)
    share = scores.metrics["accuracy_difficult"] / 100
    assert scores.stderr["accuracy_difficult"] == close(100 * math.sqrt(share * (1 - share) / 49))
    by_id = {item.id: item for item in scores.per_sample}
    assert (by_id["q3"].prediction, by_id["q3"].extracted) == ("Answer: C", "C")
    assert (by_id["q3"].metrics["accuracy"], by_id["q3"].metrics["accuracy_lloco"]) == (100.0, 0.0)
    assert (by_id["q4"].prediction, by_id["q4"].extracted) == ("Because it was late", None)


def test_longbench_scores_each_set_by_its_own_metric() -> None:
    samples = [
        sample("longbench", "a", "red fox", dataset="qasper"),
        sample("longbench", "b", "red fox", dataset="hotpotqa"),
        sample("longbench", "c", "red fox", dataset="gov_report"),
    ]
    scores = score("longbench", samples, {"a": "red fox", "b": "dog", "c": ""})
    assert scores.metrics == close(
        {
            "longbench_f1": 50.0,
            "longbench_rouge_l": 0.0,
            "longbench_f1_hotpotqa": 0.0,
            "longbench_f1_qasper": 100.0,
            "longbench_rouge_l_gov_report": 0.0,
        }
    )
    assert scores.stderr["longbench_f1"] == close(50.0)
    assert scores.stderr["longbench_rouge_l"] is None


def test_longbench_rouge_l_is_the_official_mean_rounded_and_its_samples_are_not() -> None:
    examples = [item | {"id": f"{number}"} for number, item in enumerate(GOLDEN["rouge"]["examples"])]
    samples = [sample("longbench", example["id"], *example["references"], dataset="qmsum") for example in examples]
    scores = score("longbench", samples, {example["id"]: example["prediction"] for example in examples})
    assert scores.metrics == close({"longbench_rouge_l": GOLDEN["rouge"]["longbench_rouge_l_x100"]})
    by_sample = [item.metrics["longbench_rouge_l"] for item in scores.per_sample]
    assert by_sample == close([100 * example["longbench_rouge_l"] for example in examples])


def test_longbench_f1_is_the_unrounded_mean_of_token_f1() -> None:
    examples = [item | {"id": f"{number}"} for number, item in enumerate(GOLDEN["answer_f1"]["examples"])]
    samples = [sample("longbench", example["id"], *example["references"], dataset="qasper") for example in examples]
    scores = score("longbench", samples, {example["id"]: example["prediction"] for example in examples})
    assert scores.metrics == close({"longbench_f1": GOLDEN["answer_f1"]["mean_f1_x100"]})


def test_generic_questions_with_options_have_an_accuracy_of_their_own() -> None:
    samples = [
        sample("jsonl", "a", "two", options=("one", "two"), gold_letter="B"),
        sample("jsonl", "b", "free text"),
    ]
    scores = score("jsonl", samples, {"a": "(B)", "b": "free text"})
    assert (scores.metrics["accuracy"], scores.num_samples["accuracy"]) == (100.0, 1)
    assert (scores.metrics["answer_f1"], scores.num_samples["answer_f1"]) == (50.0, 2)


def test_needle_and_fairytale_metrics() -> None:
    needles = [sample("needle", "a", "amber key", length=64, depth=0.5), sample("needle", "b", "pale bell")]
    assert score("needle", needles, {"a": "the Amber Key!", "b": ""}).metrics == {"needle": 50.0}
    tales = [sample("fairytaleqa", "a", "the red fox", "a dog")]
    assert score("fairytaleqa", tales, {"a": "dog"}).metrics == close(
        {"answer_f1": 100.0, "exact_match": 100.0, "rougeL": 200 / 3}
    )


def test_a_missing_prediction_counts_zero_in_squad() -> None:
    samples = [sample("squad_articles", name, "dog") for name in ("a", "b")]
    assert score("squad_articles", samples, {"a": "dog"}).metrics == close({"answer_f1": 50.0, "exact_match": 50.0})


@pytest.mark.parametrize("task", [name for name in TASKS if name not in ("hotpotqa", "squad_articles")])
def test_a_missing_prediction_is_an_error_that_names_ids(task: str) -> None:
    samples = [sample(task, f"id{n}", "x", gold_letter="A", dataset="qasper" * (task == "longbench")) for n in range(9)]
    with pytest.raises(DataError, match="8 of 9 samples have no prediction: id1, id2, id3, id4, id5 and 3 more"):
        score(task, samples, {"id0": "A"})


@pytest.mark.parametrize("task", ["qmsum", "qasper", "narrativeqa"])
def test_an_extra_prediction_is_an_error_in_scrolls(task: str) -> None:
    with pytest.raises(DataError, match="1 are extra: other"):
        score(task, [sample(task, "a", "x")], {"a": "x", "other": "y"})


@pytest.mark.parametrize("task", ["quality", "hotpotqa", "squad_articles", "needle", "jsonl"])
def test_an_extra_prediction_is_ignored_elsewhere(task: str) -> None:
    one = [sample(task, "a", "x", gold_letter="A")]
    assert score(task, one, {"a": "A", "other": "y"}).metrics == score(task, one, {"a": "A"}).metrics


def test_samples_without_references_and_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="1 samples have no reference answers: a"):
        score("qasper", [sample("qasper", "a")], {"a": "x"})
    with pytest.raises(DataError, match="looks like a split published without answers"):
        score("qasper", [sample("qasper", "a"), sample("qasper", "b")], {"a": "x", "b": "y"})
    with pytest.raises(DataError, match="1 samples have no reference answers: b: questions without an answer, such as"):
        score("squad_articles", [sample("squad_articles", "a", "x"), sample("squad_articles", "b")], {"a": "x"})
    with pytest.raises(DataError, match="no samples to score"):
        score("qasper", [], {})


def test_the_official_hotpot_form_is_refused_for_other_tasks() -> None:
    with pytest.raises(DataError, match="HotpotQA's official form"):
        score("qasper", [sample("qasper", "a", "x")], {"answer": {"a": "x"}})


def test_predictions_read_plain_gzipped_and_official(tmp_path: Path) -> None:
    plain = tmp_path / "p.json"
    plain.write_text('\ufeff{"a": "x", "answer": "an id like any other"}', encoding="utf-8")
    assert read_predictions(plain) == {"a": "x", "answer": "an id like any other"}
    packed = tmp_path / "p.json.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_predictions(packed) == read_predictions(plain)
    plain.write_text(json.dumps(GOLDEN["hotpot"]["prediction"]))
    assert read_predictions(plain) == GOLDEN["hotpot"]["prediction"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not valid JSON"),
        (b'{"a": "x"', r"json, line 1, column 10: not valid JSON: Expecting ',' delimiter: the"),
        (b'{"a": "x", "a": "y"}', "'a' occurs twice"),
        (b'{"a": 1}', "the value of id 'a' must be a text, got int"),
        (b'{"a": null}', "the value of id 'a' must be a text, got NoneType"),
        (b'{"a": NaN}', "NaN"),
        (b'["x"]', "must hold one JSON object .*got list"),
        (b'{"id": "a", "prediction": "x"}\n{"id": "b"}\n', r"line 2.*; predictions are one JSON object \{id: text\}"),
        (b'{"a": "\xff"}', r"is not UTF-8 \(byte 0xff at offset 7\)"),
        (b'{"a": "\\udfff"}', "surrogate"),
        (b'{"a":' * 2_000_000, "nested too deeply"),
        (b"[" * 10_000_000, "nested too deeply"),
        (b"\x1f\x8bnot gzip", "cannot read"),
        (gzip.compress(b'{"a": "x"}')[:-9], "cannot read"),
        (b'{"answer": {"a": 1}}', "answer: the value of id 'a' must be a text"),
        (b'{"answer": {"a": "x"}, "sp": []}', "sp: must be an object"),
        (b'{"answer": {"a": "x"}, "sp": {"a": [["t"]]}}', r"sp, id 'a': must be \[title, sentence number\]"),
        (b'{"answer": {"a": "x"}, "sp": {}, "b": "y"}', "beside HotpotQA's"),
    ],
)
def test_hostile_prediction_files_are_refused_with_their_place(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "predictions.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        read_predictions(path)
    assert "predictions.json" in str(caught.value)


def test_missing_prediction_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_predictions(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot read"):
        read_predictions(tmp_path)
