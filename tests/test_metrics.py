"""The metrics against the scores that the official scripts gave, and against the package that LongBench uses."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge import Rouge

from lloco.evals import metrics

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "metrics.json").read_text())
SENTENCES = st.lists(st.sampled_from(["a", "b", "c", "dog", ".", ".", " ", "\n"]), max_size=24).map(" ".join)


def close(value: Any) -> Any:
    return pytest.approx(value, abs=1e-6)


def test_answer_f1_and_exact_match_equal_the_official_scores() -> None:
    examples = GOLDEN["answer_f1"]["examples"]
    assert len(examples) == 220
    f1 = [metrics.answer_f1(example["prediction"], example["references"]) for example in examples]
    em = [metrics.exact_match(example["prediction"], example["references"]) for example in examples]
    assert f1 == close([example["f1"] for example in examples])
    assert em == close([example["em"] for example in examples])
    assert 100 * sum(f1) / len(f1) == close(GOLDEN["answer_f1"]["mean_f1_x100"])
    assert 100 * sum(em) / len(em) == close(GOLDEN["answer_f1"]["mean_em_x100"])
    assert [metrics.longbench_f1(example["prediction"], example["references"]) for example in examples] == f1


def test_normalisation_is_lower_case_then_punctuation_then_articles_then_white_space() -> None:
    assert metrics.normalise_answer("The  U.S.A. — an 'Apple', a-the\n") == "usa — apple athe"


def test_f1_of_two_empty_answers_is_zero_and_their_exact_match_one() -> None:
    assert metrics.answer_f1("", ["the"]) == 0.0
    assert metrics.exact_match("", ["the"]) == 1.0


def test_the_best_reference_counts_and_one_string_is_one_reference() -> None:
    assert metrics.answer_f1("red fox", ["blue", "red fox"]) == 1.0
    assert metrics.exact_match("ab", "ab") == 1.0
    assert metrics.needle("ab", "cab") == 0.0


def test_a_score_without_references_is_refused() -> None:
    for metric in (metrics.answer_f1, metrics.exact_match, metrics.rouge_scores, metrics.longbench_rouge_l):
        with pytest.raises(ValueError, match="at least one reference"):
            metric("x", [])


def test_hotpot_official_gives_the_twelve_official_numbers() -> None:
    golden = GOLDEN["hotpot"]
    scores = metrics.hotpot_official(golden["prediction"], golden["gold"])
    assert len(scores) == 12
    assert scores == close(golden["official"])


def test_hotpot_official_counts_missing_answers_and_facts_as_zero() -> None:
    gold: list[dict[str, Any]] = [
        {"_id": name, "answer": "Paris", "supporting_facts": [["France", 0]]} for name in ("a", "b")
    ]
    both = metrics.hotpot_official({"answer": {"a": "paris"}, "sp": {"b": [["France", 0]]}}, gold)
    assert (both["em"], both["sp_em"], both["joint_em"]) == (0.5, 0.5, 0.0)
    plain = metrics.hotpot_official({"a": "Paris", "b": "no"}, gold)
    assert (plain["f1"], plain["sp_f1"]) == (0.5, 0.0)


def test_hotpot_scores_take_the_hubs_rows_as_they_take_the_official_files() -> None:
    golden = GOLDEN["hotpot"]
    hub = [
        {
            "id": row["_id"],
            "answer": row["answer"],
            "supporting_facts": {
                "title": [title for title, _ in row["supporting_facts"]],
                "sent_id": [number for _, number in row["supporting_facts"]],
            },
        }
        for row in golden["gold"]
    ]
    assert metrics.hotpot_official(golden["prediction"], hub) == close(golden["official"])
    assert metrics.hotpot_f1_lloco(golden["prediction"]["answer"], hub) == close(golden["lloco_f1"])


@pytest.mark.parametrize("name", ["_id", "answer", "supporting_facts"])
def test_hotpot_gold_rows_without_a_needed_field_are_refused_by_its_name(name: str) -> None:
    row = {key: value for key, value in GOLDEN["hotpot"]["gold"][0].items() if key != name}
    with pytest.raises(ValueError, match=rf"gold row needs `{name}`.*pass the rows of the official file"):
        metrics.hotpot_official({"a": "x"}, [row])


def test_lloco_hotpot_f1_cuts_at_the_first_period_skips_missing_ids_and_has_no_yes_no_rule() -> None:
    golden = GOLDEN["hotpot"]
    assert metrics.hotpot_f1_lloco(golden["prediction"]["answer"], golden["gold"]) == close(golden["lloco_f1"])
    gold: list[dict[str, Any]] = [{"_id": name, "answer": "yes", "supporting_facts": []} for name in ("a", "b")]
    assert metrics.hotpot_f1_lloco({"a": "yes. He said no."}, gold) == 100.0
    assert metrics.hotpot_f1_lloco({"a": "yes he was"}, gold) == close(50.0)
    assert metrics.hotpot_official({"a": "yes he was"}, gold)["f1"] == 0.0


def test_google_rouge_equals_the_official_scores_per_type() -> None:
    golden = GOLDEN["rouge"]
    for example in golden["examples"]:
        scores = metrics.rouge_scores(example["prediction"], example["references"])
        assert scores == close({name: example[name] for name in ("rouge1", "rouge2", "rougeL")})
    preds = [example["prediction"] for example in golden["examples"]]
    refs = [example["references"] for example in golden["examples"]]
    assert metrics.rouge_means(preds, refs) == close(golden["mean_x100"])
    assert metrics.rouge_geometric_mean(preds, refs) == close(golden["geometric_mean"])


def test_rouge_means_refuse_lists_of_different_length() -> None:
    with pytest.raises(ValueError, match="1 predictions and 2 lists"):
        metrics.rouge_geometric_mean(["a"], [["a"], ["b"]])


def test_longbench_rouge_l_equals_the_official_scores() -> None:
    golden = GOLDEN["rouge"]
    scores = [metrics.longbench_rouge_l(example["prediction"], example["references"]) for example in golden["examples"]]
    assert scores == close([example["longbench_rouge_l"] for example in golden["examples"]])
    assert round(100 * sum(scores) / len(scores), 2) == golden["longbench_rouge_l_x100"]


@given(SENTENCES, SENTENCES)
def test_longbench_rouge_l_equals_the_package_rouge(pred: str, ref: str) -> None:
    try:
        expected = Rouge(metrics=["rouge-l"]).get_scores([pred], [ref], avg=True)["rouge-l"]["f"]
    except ValueError:  # an empty side, for which LongBench counts 0
        expected = 0.0
    assert metrics.longbench_rouge_l(pred, [ref]) == close(expected)


def test_longbench_rouge_l_scores_sentences_too_long_for_the_package() -> None:
    pred = " ".join(["start", *(f"p{number}" for number in range(600)), "end"])
    ref = " ".join(["start", *(f"r{number}" for number in range(600)), "end"])
    with pytest.raises(RecursionError):
        Rouge(metrics=["rouge-l"]).get_scores([pred], [ref])
    assert metrics.longbench_rouge_l(pred, [ref]) == close(1 / 301)
    assert metrics.longbench_rouge_l(ref, [ref]) == close(1.0)


def test_empty_prediction_scores_zero_in_longbench_rouge_l() -> None:
    assert metrics.longbench_rouge_l("", ["a reference"]) == 0.0
    assert metrics.longbench_rouge_l("...", ["a reference"]) == 0.0


def test_quality_accuracy_by_lloco_compares_the_first_character_unstripped() -> None:
    golden = GOLDEN["quality_lloco"]
    assert metrics.quality_accuracy(golden["predictions"], golden["gold_letters"]) == close(golden["accuracy"])
    preds = [golden["predictions"][name] for name in golden["gold_letters"]]
    letters = list(golden["gold_letters"].values())
    assert metrics.quality_accuracy(preds, letters) * len(letters) == close(golden["correct"])
    wrong = metrics.quality_accuracy([" A", "a", "", "(A)", "B"], ["A"] * 5)
    assert (wrong, metrics.quality_accuracy(["A man"], ["A"])) == (0.0, 1.0)


def test_quality_accuracy_refuses_a_missing_id() -> None:
    with pytest.raises(ValueError, match="1 have none: q2"):
        metrics.quality_accuracy({"q1": "A"}, {"q1": "A", "q2": "B"})
    with pytest.raises(ValueError, match="1 predictions for 2"):
        metrics.quality_accuracy(["A"], ["A", "B"])


@pytest.mark.parametrize(
    ("pred", "letter"),
    [
        ("A", "A"),
        (" b\n", "B"),
        ("(C) because it rained", "C"),
        ("D. The end", "D"),
        ("**B**", "B"),
        ("c\nThe reason is", "C"),
        ("Answer: A", "A"),
        ("answer: (c)", "C"),
        ("The answer is B", "B"),
        ("I think the correct answer is D because he left", "D"),
        ("The correct option is: **C**", "C"),
        ("I would choose (D) here", "D"),
        ("Because it was late", None),
        ("A dog did it", None),
        ("B the man left", "B"),
        ("I left", None),
        ("B is wrong. The answer is C.", "C"),
        ("B cells attack. Answer: A", "A"),
        ("B and C are both right", None),
        ("E the last", None),
        ("b or not", None),
        ("D", "D"),
        ("The answer is a dog", None),
        ("Either (A) or (B)", None),
        ("Answer: E", None),
        ("", None),
    ],
)
def test_parse_letter_finds_a_stated_letter_and_guesses_none(pred: str, letter: str | None) -> None:
    assert metrics.parse_letter(pred) == letter


def test_parse_letter_knows_the_options_own_words() -> None:
    options = ("No", "No, he left", "A dog.", "Yes")
    assert metrics.parse_letter("no he left, I think", options) == "B"
    assert metrics.parse_letter("a DOG", options) == "C"
    assert metrics.parse_letter("D Day was in June", ("no", "D Day", "yes", "never")) == "B"
    assert metrics.parse_letter("nobody knows", options) is None
    assert metrics.parse_letter("same", ("Same", "same")) is None


def test_an_option_beyond_the_letters_has_none() -> None:
    options = [f"ship {number}" for number in range(28)]
    assert [metrics.parse_letter(f"ship {number}", options) for number in (1, 25, 26, 27)] == ["B", "Z", None, None]


def test_needle_is_found_whatever_the_case() -> None:
    assert metrics.needle("It is the AMBER Lantern.", ["amber lantern"]) == 1.0
    assert metrics.needle("an amber lamp", ["amber lantern", "lamp"]) == 1.0
    assert metrics.needle("", ["amber lantern"]) == 0.0


def test_what_official_metrics_do_not_see_is_as_documented() -> None:
    assert metrics.rouge_scores("Ελλάδα", ["Ελλάδα"])["rouge1"] == 0.0
    assert metrics.rouge_scores("café", ["caf"])["rougeL"] == 1.0
    assert metrics.longbench_rouge_l("Ελλάδα", ["Ελλάδα"]) == pytest.approx(1.0)
    assert metrics.answer_f1("“yes”", ["yes"]) == metrics.answer_f1("the", ["a"]) == 0.0
    assert metrics.exact_match("the", ["a"]) == 1.0
    assert metrics.string_match_all("concatenate", ["cat"]) == metrics.needle("concatenate", ["cat"]) == 1.0
