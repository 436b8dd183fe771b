"""The rules of self-study that ask no model: spans, answers that stand in sentences, templates, checks, replies."""

import pytest

from lloco.documents.document import Document
from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Retriever
from lloco.self_study import checks
from lloco.self_study.candidates import begun, is_declined
from lloco.self_study.found_answers import found_answers
from lloco.self_study.patterns import RawPair, template_pairs
from lloco.self_study.read_checks import are_alike
from lloco.self_study.span_work import SpanWork, finish
from lloco.self_study.spans import Sentence, Span, document_spans
from lloco.self_study.wording import read_pair, read_question
from lloco.store.passage import PassageText

ORCHARD = """# Notes on the orchard

The orchard was planted by Dr. Josiah Hartwell in 1904. It has 312 trees
on four hectares.

## Pests

A pheromone trap is a small sticky tent that lures male moths.
The wounds were painted with copper, because canker had been found in row seven.

| Variety | Trees | Use |
|---|---|---|
| Foxwhelp | 120 | cider |

Owner: Miriam Hartwell
"""


def spans_of(text: str, max_words: int = 100) -> list[Span]:
    passages = [
        PassageText("d", item.start, item.end, text[item.start : item.end]) for item in split_passages(text, max_words)
    ]
    return document_spans(text, passages)


def sentences_of(text: str) -> list[Sentence]:
    return [sentence for span in spans_of(text) for sentence in span.sentences]


def answers_of(text: str) -> dict[str, str]:
    return {found.answer: found.opening for found in found_answers(Sentence(0, len(text), text, ""))}


def test_sentences_stand_where_they_say_and_know_their_heading() -> None:
    sentences = sentences_of(ORCHARD)
    assert [item.text for item in sentences][:3] == [
        "The orchard was planted by Dr. Josiah Hartwell in 1904.",
        "It has 312 trees on four hectares.",
        "A pheromone trap is a small sticky tent that lures male moths.",
    ]
    assert [item.heading for item in sentences][:3] == ["Notes on the orchard", "Notes on the orchard", "Pests"]
    assert all(" ".join(ORCHARD[item.start : item.end].split()) == item.text for item in sentences)


@pytest.mark.parametrize("max_words", [8, 30, 100])
def test_spans_cover_every_sentence_once_whatever_the_passages_are(max_words: int) -> None:
    text = "\n\n".join(f"The mill number {number} stands in the village of Aster. It is old." for number in range(60))
    spans = spans_of(text, max_words)
    starts = [sentence.start for span in spans for sentence in span.sentences]
    assert len(starts) == len(set(starts)) == 120 and starts == sorted(starts)
    assert all(len(span.text.split()) <= 200 for span in spans)


def test_languages_without_spaces_are_cut_and_checked_too() -> None:
    text = "磨坊的租约由安娜·贝里签署，从二〇二七年四月一日开始，租期为四年，每月租金一千四百五十欧元。" * 4
    [span] = spans_of(text)
    pair = RawPair("磨坊的租约由谁签署？", "安娜·贝里", "fact", "m")
    assert checks.is_well_formed(pair) and checks.is_grounded(pair, span, "", is_strict=False)


def test_a_document_of_a_few_words_has_no_span() -> None:
    assert spans_of("Closed on Monday.") == []


def test_answers_are_found_with_the_words_that_ask_for_them() -> None:
    assert answers_of("A single ticket costs 4 crowns in Lindholm.") == {"4 crowns": "How much", "Lindholm": "Where"}
    assert answers_of("She carries 42 passengers since May 2021.") == {
        "May 2021": "When",
        "42 passengers": "How many passengers",
    }
    found = answers_of("The bridge was closed, because a lorry had hit the pillar.")
    assert found == {"a lorry had hit the pillar": "Why"}
    assert answers_of("The bearing was changed by Samuel Okoro.") == {"Samuel Okoro": "Who"}
    assert answers_of("In the Monday meeting nothing was said.") == {}


def test_a_sentence_that_begins_with_a_pronoun_is_asked_about_after_the_one_before() -> None:
    [span] = spans_of(
        "The ferry Marta crosses the Varra every half hour. She carries 42 passengers and was built in 1988."
    )
    asked = {candidate.found.answer: candidate.ask for candidate in begun(span) if candidate.found}
    assert "Marta" in asked["42 passengers"].text and "42 passengers" not in asked["42 passengers"].text.split("\n")[0]
    assert asked["42 passengers"].opening == "Question: How many passengers"


def test_templates_ask_for_cells_fields_definitions_reasons_gaps_and_headings() -> None:
    [span] = spans_of(ORCHARD)
    pairs = {pair.question: (pair.answer, pair.made_by) for pair in template_pairs(span, "Orchard")}
    assert pairs['What stands under "Trees" for Foxwhelp in the table?'] == ("120", "table")
    assert pairs['What is given as "Owner" in "Orchard"?'] == ("Miriam Hartwell", "field")
    assert pairs["What is a pheromone trap?"] == ("a small sticky tent that lures male moths", "definition")
    assert pairs["Why is it that the wounds were painted with copper?"][0].startswith("because canker")
    assert pairs['Which words are missing in "The orchard was planted by Dr. Josiah Hartwell in ____"?'] == (
        "1904",
        "gap",
    )
    assert any(made_by == "heading" and answer for answer, made_by in pairs.values())


@pytest.mark.parametrize(
    ("reply", "pair"),
    [
        ("Question: Who?\nAnswer: Ann", ("Who?", "Ann")),
        ("Sure!\n\n**Question 1:** Who signed?\n\n**Answer 1:** Ann Lee\n\nQuestion 2: b", ("Who signed?", "Ann Lee")),
        ("question: Who?\n\nanswer: `Ann`", ("Who?", "Ann")),
        ("Question: Who?", None),
        ("none", None),
        ('{"question": "Who?"}', None),
    ],
)  # fmt: skip
def test_plain_lines_are_read_and_nothing_else(reply: str, pair: tuple[str, str] | None) -> None:
    assert read_pair(reply) == pair
    assert is_declined(reply) == (reply == "none")


def test_a_small_models_question_ends_at_its_mark() -> None:
    assert read_question("When", " was it built? Answer: 1988") == "When was it built?"
    assert read_question("When", " was it built") is None


@pytest.mark.parametrize(
    ("reply", "answer", "is_alike"),
    [
        ("42", "42 passengers", True),
        ("11 minutes", "eleven minutes", True),
        ("7 crowns", "4 crowns", False),
        ("14 March 2023", "14 March 2024", False),
        ("6240 euros", "6,240 euros", True),
        ("Lindholm and Osterby", "Lindholm", False),
        ("it was since the city and the museum could not agree", "the city and the museum could not agree", True),
        ("", "Ann", False),
    ],
)  # fmt: skip
def test_answers_are_alike_by_words_and_numbers(reply: str, answer: str, is_alike: bool) -> None:
    assert are_alike(reply, answer) == is_alike


def test_a_small_models_question_keeps_to_the_words_of_its_part_of_the_sentence() -> None:
    text = (
        "In the winter of 2019 the ferry did not sail for 23 days, and the school in Osterby was closed for a week. "
        "Petrol is forbidden on the ferry."
    )
    [span] = spans_of(text)
    clause = checks.clause_of(text, text.index("23"), text.index("23") + 7)
    assert clause == "In the winter of 2019 the ferry did not sail for 23 days"
    good = RawPair("How many days did the ferry not sail in 2019?", "23 days", "number or name", "m", clause)
    other = RawPair("How many days did the school in Osterby close?", "23 days", "number or name", "m", clause)
    invented = RawPair("How many days did the airport close?", "23 days", "number or name", "m", clause)
    assert checks.is_grounded(good, span, "", is_strict=True)
    assert not checks.is_grounded(other, span, "", is_strict=True)
    assert not checks.is_grounded(invented, span, "", is_strict=True)
    assert checks.is_grounded(other, span, "", is_strict=False), "a larger model is held to its answers"


def test_a_reason_that_the_question_repeats_is_given_away() -> None:
    reason = "the village had got piped water"
    assert not checks.is_well_formed(RawPair("Why did the village get piped water?", reason, "reason", "m"))
    assert checks.is_well_formed(RawPair("Why was the pump not repaired?", reason, "reason", "m"))


def test_near_duplicates_are_found_and_other_questions_about_the_same_are_not() -> None:
    asked = checks.Questions()
    asked.add("When was the mill at Aldersyke in the valley built?", "1794")
    assert not asked.is_new("When was the mill at Aldersyke in the valley built?", "1800")
    assert not asked.is_new("When was the old mill at Aldersyke in the valley built?", "1794")
    assert asked.is_new("Who built the mill at Aldersyke?", "Hester Boon")


def test_a_passage_that_is_not_found_from_the_question_throws_it_away() -> None:
    text = "The orchard was planted by Josiah Hartwell in 1904. It has 312 trees on four hectares of good land."
    others = [
        PassageText(f"o{number}", 0, 60, f"The orchard was planted in {number} by somebody.") for number in range(9)
    ]
    own = [PassageText("d", item.start, item.end, text[item.start : item.end]) for item in split_passages(text)]
    passages = checks.Passages(Retriever.build([*own, *others]).search)
    [span] = document_spans(text, own)
    assert passages.are_found("When was the orchard planted by Josiah Hartwell?", "d", span)
    assert not passages.are_found("When was the Aldersyke mill built?", "d", span)
    work = SpanWork(Document("d", text), span, 3, [])
    finish(work, passages, checks.Questions(), uses_templates=True)
    assert len(work.kept) == 3 and all(checks.FOUND in pair.checks and checks.NEW in pair.checks for pair in work.kept)
