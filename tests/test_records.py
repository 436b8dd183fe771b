"""The record documents: answers are looked up by name, and what is held out stays out."""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

RECORDS = Path(__file__).resolve().parent.parent / "recipes" / "records"
sys.path.insert(0, str(RECORDS))

import composed_pools  # noqa: E402
import generate  # noqa: E402
import random_domain  # noqa: E402
import random_domain_words  # noqa: E402
from composed_pools import POOLS  # noqa: E402
from held_out_domains import DOMAINS as HELD_OUT  # noqa: E402
from more_domains import DOMAINS as MORE  # noqa: E402
from more_domains.indirect import indirect  # noqa: E402
from record_pools import POOLS as RECORD_POOLS  # noqa: E402
from record_pools import SURNAMES  # noqa: E402
from record_schema import Attribute, Domain, Entity  # noqa: E402
from train_domains import DOMAINS as TRAIN  # noqa: E402

ALL_DOMAINS = generate.TRAIN_DOMAINS + generate.HELD_OUT_DOMAINS
NEW_DOMAINS = (*generate.MORE_DOMAINS, random_domain.NAME)
# Words of a held-out domain that say by themselves what it is about.
TELLING_WORDS = re.compile(
    r"\b(museum|exhibit|curator|excavat(e|i)|archaeolog|burglar|engrav|rail|locomotive|platform|carriage|timetable|terminus"
    r"|livery|dining car|donat|donor|display case|stolen|steal|thie|engine driver|trains?\b)"
)


def documents(
    split: str, per_domain: int, num_records: int, domains: tuple[str, ...] = ALL_DOMAINS
) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"tests {split}")
    for domain in domains:
        for _ in range(per_domain):
            yield generate.make_document(domain, split, rng, num_records)


def names_in(split: str, draws: int) -> set[str]:
    rng = random.Random(f"names {split}")
    entities = (
        entity
        for domain in TRAIN + HELD_OUT
        for _ in range(draws)
        for entity in generate._draw_entities(domain, split, rng, 4)
    )
    return {entity.name for entity in entities}


def runs(wording: str, length: int) -> set[tuple[str, ...]]:
    """Runs of words; every mention of the entity counts as one word, articles of values as none."""
    words = re.findall(r"\{\w+\}|\w+", wording.lower())
    words = ["{entity}" if word in ("{s}", "{o}", "{p}", "{n}", "{np}") else word for word in words if word != "{a}"]
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def all_runs(
    domains: tuple[Domain, ...], wordings: Callable[[Attribute], tuple[str, ...]], length: int
) -> set[tuple[str, ...]]:
    found = (runs(wording, length) for domain in domains for a in domain.attributes for wording in wordings(a))
    return set().union(*found)


def random_attributes() -> tuple[Attribute, ...]:
    """Every attribute a random domain can draw."""
    words, rng = random_domain_words, random.Random(0)
    nouns = [random_domain.noun_attribute(noun, kind) for kind, found in words.NOUNS_BY_KIND.items() for noun in found]
    verbs = [attribute for verb in words.VERBS for attribute in random_domain.verb_attributes(verb, rng)]
    return (*nouns, *verbs)


def templates(attributes: Iterable[Attribute]) -> set[str]:
    return {wording for a in attributes for wording in (*a.wordings, *a.questions)}


def attributes_of(domains: Iterable[Domain]) -> list[Attribute]:
    return [attribute for domain in domains for attribute in domain.attributes]


def word_runs(wordings: Iterable[str], length: int) -> dict[tuple[str, ...], str]:
    """Runs of plain words, each with a wording it comes from; placeholders are left out as if they were not there."""
    found: dict[tuple[str, ...], str] = {}
    for wording in wordings:
        words = re.findall(r"\w+", re.sub(r"\{\w+\}", " ", wording.lower()))
        found |= {tuple(words[i : i + length]): wording for i in range(len(words) - length + 1)}
    return found


def test_the_same_seed_gives_the_same_documents_and_another_seed_others() -> None:
    first, again, other = (list(generate.make_documents(ALL_DOMAINS, "train", seed, 40, (1, 4))) for seed in (3, 3, 4))
    assert first == again
    assert not {d["text"] for d in first} & {d["text"] for d in other}


@pytest.mark.parametrize("num_records", [1, 4, 12])
def test_every_answer_is_a_whole_word_span_of_one_to_three_words(num_records: int) -> None:
    for document in documents("train", 30, num_records):
        for question in document["questions"]:
            (answer,) = question["answers"]
            assert 1 <= len(answer.split()) <= 3
            assert re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", document["text"]), (answer, document["text"])


def test_every_record_has_four_questions_with_no_value_twice() -> None:
    for document in documents("train", 60, 4):
        answers = [question["answers"][0].lower() for question in document["questions"]]
        assert len(answers) == 16
        assert len(set(answers)) == 16
        asked = [question["question"] for question in document["questions"]]
        assert len(set(asked)) == 16


def test_every_record_is_headed_by_its_name_and_cards_tell_the_same_facts_as_fields() -> None:
    rng = random.Random(2)
    for domain in ALL_DOMAINS:
        cards = generate.make_document(domain, "train", rng, 3, 2, card_rate=1.0)
        sentences = generate.make_document(domain, "train", rng, 3, 2)
        for document in (cards, sentences):
            headings = [re.split(r"\.\s", record)[0] for record in re.split(r"\n\n|\n(?=[^:]*\. )", document["text"])]
            for question in document["questions"]:
                assert any(heading in question["question"] for heading in headings), (document["text"], question)
        fields = re.findall(r"[A-Z][\w ]*: ([^\n]+?)\.(?=\s|$)", cards["text"])
        assert sorted(fields) == sorted(question["answers"][0] for question in cards["questions"])
        assert not re.search(r"\w: ", sentences["text"])


@pytest.mark.parametrize("num_facts", [1, 3])
def test_a_record_has_as_many_questions_as_facts(num_facts: int) -> None:
    rng = random.Random(num_facts)
    for domain in ALL_DOMAINS:
        answers = [q["answers"][0] for q in generate.make_document(domain, "train", rng, 3, num_facts)["questions"]]
        assert len(set(answers)) == len(answers) == 3 * num_facts


def test_a_number_of_facts_that_no_record_has_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 4 facts in a record; came 5"):
        generate.make_document("people", "train", random.Random(0), 1, 5)


def test_no_template_mark_is_left_and_articles_fit() -> None:
    for document in documents("validation", 150, 3):
        text = document["text"] + " " + " ".join(q["question"] for q in document["questions"])
        assert not re.search(r"[{}]|  ", text)
        assert not re.search(r"\ba [aeio]\w", text), text
        assert not re.search(r"\ban (?!hour|honour)[^aeiou\W]", text), text
        sentences = re.split(r"(?<=\.)\s+", document["text"])
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)


def test_the_shortcut_any_value_of_the_kind_pays_at_most_one_in_the_number_of_records() -> None:
    hits = total = 0.0
    kinds = {value: kind for kind, pool in RECORD_POOLS.items() for value in pool}
    for document in documents("train", 40, 4):
        answers = [question["answers"][0] for question in document["questions"]]
        for answer in answers:
            hits += 1 / sum(kinds[other] == kinds[answer] for other in answers)
            total += 1
    assert hits / total < 0.33


def test_every_question_names_an_entity_of_the_document_by_its_full_name() -> None:
    rng = random.Random(5)
    for domain in TRAIN + HELD_OUT:
        for attribute in domain.attributes:
            assert all("{n}" in wording or "{np}" in wording for wording in attribute.questions)
        entity = domain.draw_entity(rng)
        assert entity.name in entity.mention
        assert entity.name in entity.possessive


def test_splits_share_no_entity_over_thousands_of_documents() -> None:
    train, validation, test = (names_in(split, 400) for split in generate.SPLITS)
    assert len(train) > 5000
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_a_held_out_persons_name_never_stands_in_a_training_text() -> None:
    held_out = {name for name in names_in("test", 300) if len(name.split()) > 1}
    for document in documents("train", 100, 4):
        words = re.findall(r"[\w]+", document["text"])
        assert not {f"{a} {b}" for a, b in itertools.pairwise(words)} & held_out


def test_no_name_of_the_test_split_stands_in_a_training_text_of_any_domain() -> None:
    def word_tuples(text: str, length: int) -> set[tuple[str, ...]]:
        words = re.findall(r"[\w-]+|[.,?]", text)
        return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}

    rng = random.Random("test names")
    domains = [*TRAIN, *HELD_OUT, *MORE, *(random_domain.draw_domain(rng, 1) for _ in range(50))]
    names = {generate._draw_entities(domain, "test", rng, 1)[0].name for domain in domains for _ in range(200)}
    split_up = {tuple(re.findall(r"[\w-]+", name)) for name in names if " " in name}
    texts = [document["text"] for document in generate.make_documents(generate.WIDE_DOMAINS, "train", 9, 1000, (2, 4))]
    for length in range(2, 6):
        told = {run for text in texts for run in word_tuples(text, length)}
        assert not sorted(told & split_up)


def test_held_out_wordings_share_no_run_of_words_with_the_training_domains() -> None:
    def sentences(attribute: Attribute) -> tuple[str, ...]:
        return attribute.wordings

    def questions(attribute: Attribute) -> tuple[str, ...]:
        return attribute.questions

    for wordings in (sentences, questions):
        assert not all_runs(TRAIN, wordings, 4) & all_runs(HELD_OUT, wordings, 4)
    shared = all_runs(TRAIN, sentences, 3) & all_runs(HELD_OUT, sentences, 3)
    assert not {run for run in shared if "{v}" in run}


def test_every_attribute_has_enough_wordings_and_questions_and_its_value_in_each() -> None:
    for domain in TRAIN + HELD_OUT:
        assert len(domain.attributes) >= 6
        for attribute in domain.attributes:
            assert len(set(attribute.wordings)) >= 6
            assert len(attribute.phrases) >= 2
            assert len(set(attribute.questions)) >= 3
            assert all(wording.count("{v}") == 1 for wording in attribute.wordings)


def test_pools_hold_no_value_twice() -> None:
    for kind, pool in POOLS.items():
        values = pool[:20_000]
        assert len(set(values)) == len(values), kind


def test_thirty_records_still_get_distinct_values() -> None:
    for document in documents("test", 2, generate.MAX_RECORDS):
        answers = [question["answers"][0] for question in document["questions"]]
        assert len(set(answers)) == len(answers) == generate.MAX_RECORDS * generate.FACTS_PER_RECORD


@pytest.mark.parametrize(
    ("domain", "split", "num_records"), [("poems", "train", 1), ("ships", "dev", 1), ("ships", "train", 31)]
)
def test_a_wrong_argument_is_refused_with_what_came(domain: str, split: str, num_records: int) -> None:
    with pytest.raises(ValueError, match=r"wanted .* came .*(poems|dev|31)"):
        generate.make_document(domain, split, random.Random(0), num_records)


def test_the_command_line_writes_gzipped_lines_and_one_summary_line(tmp_path: Path) -> None:
    out = tmp_path / "records.jsonl.gz"
    command = [sys.executable, str(RECORDS / "generate.py"), "--domain", "museum", "--split", "test"]
    done = subprocess.run([*command, "--num-documents", "5", "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"5 documents, \d+ questions, [\d.]+ mean words\n", done.stderr)
    with gzip.open(out, "rt", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    assert [document["domain"] for document in read] == ["museum"] * 5
    assert list(read[0]) == ["id", "title", "domain", "text", "questions"]


def test_no_training_wording_shares_four_words_in_a_row_with_a_held_out_domain() -> None:
    held_out = word_runs(templates(attributes_of(HELD_OUT)), 4)
    for attributes in (attributes_of(TRAIN), attributes_of(MORE), random_attributes()):
        trained = word_runs(templates(attributes), 4)
        assert not [(trained[run], held_out[run]) for run in trained.keys() & held_out.keys()]
    with_entities = {run for wording in templates(attributes_of(HELD_OUT)) for run in runs(wording, 4)}
    new = templates([*attributes_of(MORE), *random_attributes()])
    assert not [wording for wording in new if runs(wording, 4) & with_entities]


def test_no_attribute_of_a_held_out_domain_is_copied() -> None:
    held_out, trained = attributes_of(HELD_OUT), [*attributes_of(MORE), *random_attributes()]
    names = {attribute.name for attribute in held_out}
    assert not [a.name for a in trained if names & set(re.split(r"[\W_]", a.name)) - {"value", "case"}]
    assert not templates(trained) & templates(held_out)
    for wording in templates(trained):
        assert not TELLING_WORDS.search(wording.lower()), wording
    names_of_things = {domain.draw_entity(random.Random(i)).name for domain in MORE for i in range(300)}
    assert not [name for name in (*names_of_things, *random_domain_words.KINDS) if TELLING_WORDS.search(name.lower())]


@functools.cache
def first_letters(kind: str) -> tuple[bool, bool]:
    """Whether all values of the kind begin with a capital, and whether any begins with a vowel."""
    letters = {value[0] for value in POOLS[kind][:5000]}
    return all(letter.isupper() for letter in letters), any(letter.lower() in "aeio" for letter in letters)


def test_every_new_template_formats_with_its_placeholders_and_none_begins_with_a_lower_case_value() -> None:
    entity = Entity("Ada Lind", "Ada Lind", "Ada Lind's", (("she", "her", "her"),), "her")
    for attribute in [*attributes_of(MORE), *random_attributes()]:
        assert len(attribute.phrases) >= 2
        assert len(attribute.wordings) >= 6
        assert len(set(attribute.questions)) >= 4
        assert not [text for text in templates([attribute]) if re.search(r"\b(NOUN|DONE|BASE|AT)\b", text)]
        is_upper, is_vowel = first_letters(attribute.kind)
        for wording in attribute.wordings:
            assert wording.count("{v}") == 1
            assert is_upper or not wording.startswith("{v}"), wording
            assert not (is_vowel and re.search(r"\ba \{v\}", wording)), wording
            assert not re.search(r"\ban \{v\}", wording), wording
            told = generate._fill_value(wording, POOLS[attribute.kind][0])
            assert "{" not in told.format(s=entity.mention, o=entity.mention, p=entity.possessive, q="her")
        for question in attribute.questions:
            assert question.endswith(("?", "."))
            assert "Ada Lind" in question.format(n=entity.mention, np=entity.possessive)
            assert "{v}" not in question


@pytest.mark.parametrize("num_records", [1, 4, generate.MAX_RECORDS])
def test_values_of_a_document_of_a_new_domain_are_distinct_spans_of_it(num_records: int) -> None:
    for document in documents("train", 60 // num_records + 1, num_records, NEW_DOMAINS):
        answers = [question["answers"][0] for question in document["questions"]]
        assert len({answer.lower() for answer in answers}) == len(answers) == 4 * num_records
        assert len({question["question"] for question in document["questions"]}) == len(answers)
        for answer in answers:
            assert re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", document["text"]), (answer, document["text"])
        text = document["text"] + " " + " ".join(question["question"] for question in document["questions"])
        assert not re.search(r"[{}]|  |\ba [aeio]\w|\ban (?!hour|honour)[^aeiou\W]", text), text


def test_new_domains_have_names_enough_and_their_splits_share_none() -> None:
    for domain in MORE:
        rng = random.Random(f"names of {domain.name}")
        assert len({domain.draw_entity(rng).name for _ in range(3000)}) > 1200, domain.name
    names = {
        split: {document["text"].split(". ")[0].split(".\n")[0] for document in documents(split, 60, 1, NEW_DOMAINS)}
        for split in generate.SPLITS
    }
    for split, found in names.items():
        assert {generate.split_of(name) for name in found} == {split}


def test_several_attributes_of_a_domain_share_a_kind_so_that_a_guess_of_the_kind_does_not_pay() -> None:
    for domain in MORE:
        kinds = [attribute.kind for attribute in domain.attributes]
        assert len(set(kinds)) < len(kinds), domain.name


def test_a_seed_fixes_the_wide_documents_and_wide_leaves_out_only_what_is_held_out() -> None:
    wide = generate.GROUPS["wide"]
    first, again, other = (list(generate.make_documents(wide, "train", seed, 80, (1, 4))) for seed in (3, 3, 4))
    assert first == again
    assert not {d["text"] for d in first} & {d["text"] for d in other}
    assert {d["domain"] for d in first} == set(wide)
    assert set(wide) == {*generate.DOMAINS, random_domain.NAME} - set(generate.HELD_OUT_DOMAINS)
    assert generate.GROUPS["all"] == ALL_DOMAINS


def test_random_domains_draw_from_hundreds_of_attributes_and_give_each_document_others() -> None:
    nouns = [noun for found in random_domain_words.NOUNS_BY_KIND.values() for noun in found]
    assert len(set(nouns)) == len(nouns) >= 200
    assert len(random_domain_words.NOUN_SENTENCES + random_domain_words.NOUN_PHRASES) >= 30
    assert len(random_domain_words.NOUN_QUESTIONS) >= 20
    rng = random.Random(0)
    drawn = [frozenset(a.name for a in random_domain.draw_domain(rng, 4).attributes) for _ in range(200)]
    assert all(len(names) == 6 for names in drawn)
    assert len(set(drawn)) == len(drawn)


def test_questions_are_put_indirectly_only_where_the_order_of_words_allows_it() -> None:
    assert indirect("Who owns {n}?") == "who owns {n}"
    assert indirect("Who is the owner of {n}?") == "who the owner of {n} is"
    assert indirect("When was {n} sold?") == "when {n} was sold"
    assert indirect("How many rooms does {n} have?") == "how many rooms {n} has"
    assert indirect("Which key does one need for {n}?") is None
    assert indirect("Whom do I ask about {n}?") is None
    asked = [question for attribute in attributes_of(MORE) for question in attribute.questions]
    assert len([question for question in asked if question.startswith(("I would like", "Tell me", "I wonder"))]) > 50


def test_full_names_that_are_values_are_nobodys_who_is_asked_about() -> None:
    assert not set(composed_pools.OTHER_SURNAMES) & set(SURNAMES)


def test_a_composed_pool_counts_and_makes_every_value() -> None:
    pool = composed_pools.ComposedPool("{}-{}", ("a", "b"), ("1", "2", "3"))
    assert list(pool) == ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3"]
    assert len(pool) == 6
    assert pool[1:3] == ("a-2", "a-3")
    with pytest.raises(IndexError, match="wanted 0 to 5; came 6"):
        pool[6]
