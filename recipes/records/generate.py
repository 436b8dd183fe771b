"""Record documents: invented entities, their facts told in plain sentences, and one question for each fact.

Used to pretrain the bundled model and to test it on entities and domains it never saw. It does not know how documents
are tokenised or trained on. Everything is drawn from the `random.Random` given, so a seed fixes the output.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import random_domain
from composed_pools import POOLS, has_values_for
from held_out_domains import DOMAINS as _HELD_OUT
from more_domains import DOMAINS as _MORE
from record_schema import Attribute, Domain, Entity
from train_domains import DOMAINS as _TRAIN

TRAIN_DOMAINS: tuple[str, ...] = tuple(domain.name for domain in _TRAIN)
HELD_OUT_DOMAINS: tuple[str, ...] = tuple(domain.name for domain in _HELD_OUT)
MORE_DOMAINS: tuple[str, ...] = tuple(domain.name for domain in _MORE)
WIDE_DOMAINS: tuple[str, ...] = (*TRAIN_DOMAINS, *MORE_DOMAINS, random_domain.NAME)
DOMAINS: dict[str, Domain] = {domain.name: domain for domain in _TRAIN + _HELD_OUT + _MORE}
GROUPS: dict[str, tuple[str, ...]] = {
    "all": TRAIN_DOMAINS + HELD_OUT_DOMAINS,
    "train-domains": TRAIN_DOMAINS,
    "held-out-domains": HELD_OUT_DOMAINS,
    "more-domains": MORE_DOMAINS,
    "wide": WIDE_DOMAINS,
}
SPLITS = ("train", "validation", "test")
FACTS_PER_RECORD = 4
MAX_RECORDS = 30

_PRONOUN_RATE = 0.4
_PAIR_RATE = 0.25
_LINES_RATE = 0.2
_CARD_QUESTION_RATE = 0.7
_CARD_QUESTIONS = ("{name}. {label}?", "{label} of {name}?")
_VOWELS = "aeiou"
_NOT_AN = ("ukulele", "union", "unicorn")


def split_of(name: str) -> str:
    """The split an entity's name belongs to: tenths 0-7 train, 8 validation, 9 test."""
    tenth = zlib.crc32(name.encode()) % 10
    return "train" if tenth < 8 else SPLITS[tenth - 7]


def make_document(
    domain: str,
    split: str,
    rng: random.Random,
    num_records: int,
    num_facts: int = FACTS_PER_RECORD,
    card_rate: float = 0.0,
) -> dict[str, Any]:
    """Draw one document of `num_records` records (1-30) and a question for each of their facts, in random order.

    A record is headed by its entity's name. The share `card_rate` of the records are cards, "Pet: goat." in place of
    sentences, and most of that share of the questions are worded so; sentences ask more of a reader.

    Raises:
        ValueError: unknown domain or split, or a number of records or facts that the value pools cannot keep distinct.
    """
    if domain not in DOMAINS and domain != random_domain.NAME:
        raise ValueError(f"wanted a domain of {', '.join((*DOMAINS, random_domain.NAME))}; came {domain!r}")
    if split not in SPLITS:
        raise ValueError(f"wanted a split of {', '.join(SPLITS)}; came {split!r}")
    if not 1 <= num_records <= MAX_RECORDS:
        raise ValueError(f"wanted 1 to {MAX_RECORDS} records in a document; came {num_records}")
    if not 1 <= num_facts <= FACTS_PER_RECORD:
        raise ValueError(f"wanted 1 to {FACTS_PER_RECORD} facts in a record; came {num_facts}")
    spec = random_domain.draw_domain(rng, num_records) if domain == random_domain.NAME else DOMAINS[domain]
    entities = _draw_entities(spec, split, rng, num_records)
    shared = _draw_attributes(spec, rng, num_records, num_facts)
    taken = {word for entity in entities for word in entity.name.lower().split()}
    values = {attribute.name: _draw_values(attribute, rng, num_records, taken) for attribute in shared}
    separator = "\n" if rng.random() < _LINES_RATE else " "
    records: list[str] = []
    questions: list[dict[str, Any]] = []
    for index, entity in enumerate(entities):
        facts = [(attribute, values[attribute.name][index]) for attribute in rng.sample(shared, num_facts)]
        told = _card(facts) if rng.random() < card_rate else _sentences(entity, facts, rng)
        records.append(separator.join([f"{entity.name}.", *told]))
        questions.extend(_question(entity, attribute, value, card_rate, rng) for attribute, value in facts)
    rng.shuffle(questions)
    return {
        "id": f"{domain}-{split}-{rng.getrandbits(48):012x}",
        "title": rng.choice(spec.titles),
        "domain": domain,
        "text": ("\n\n" if separator == "\n" else "\n").join(records),
        "questions": questions,
    }


def _draw_entities(spec: Domain, split: str, rng: random.Random, num_records: int) -> list[Entity]:
    entities: dict[str, Entity] = {}
    while len(entities) < num_records:
        entity = spec.draw_entity(rng)
        if split_of(entity.name) == split:
            entities[entity.name] = entity
    return list(entities.values())


def _draw_attributes(spec: Domain, rng: random.Random, num_records: int, num_facts: int) -> list[Attribute]:
    """The attributes that the records of one document share: as many as a record has facts, or one more."""
    users = Counter(attribute.kind for attribute in spec.attributes)
    wide_enough = [a for a in spec.attributes if has_values_for(a.kind, num_records, users[a.kind])]
    return rng.sample(wide_enough, min(len(wide_enough), num_facts + (rng.random() < 0.3)))


def _draw_values(attribute: Attribute, rng: random.Random, num_values: int, taken: set[str]) -> list[str]:
    """Values never used in this document, neither as a value nor as a word of a name."""
    pool = POOLS[attribute.kind]
    values: list[str] = []
    while len(values) < num_values:
        value = pool[int(rng.random() * len(pool))]
        if value.lower() not in taken:
            taken.add(value.lower())
            values.append(value)
    return values


def _card(facts: list[tuple[Attribute, str]]) -> list[str]:
    """Tell the facts as fields of a form."""
    return [f"{attribute.label.capitalize()}: {value}." for attribute, value in facts]


def _sentences(entity: Entity, facts: list[tuple[Attribute, str]], rng: random.Random) -> list[str]:
    """Tell the facts in order; the first sentence names the entity again, later ones may use a pronoun."""
    sentences: list[str] = []
    position = 0
    while position < len(facts):
        is_pair = position + 1 < len(facts) and rng.random() < _PAIR_RATE
        told = facts[position : position + 1 + is_pair]
        if is_pair:
            wording = "{s} " + " and ".join(_fill_value(rng.choice(attribute.phrases), v) for attribute, v in told)
        else:
            wording = _fill_value(rng.choice(told[0][0].wordings), told[0][1])
        subject, direct, possessive = entity.mention, entity.mention, entity.possessive
        # "the card of him" is no English, so such wordings always say the name.
        if sentences and "of {o}" not in wording and rng.random() < _PRONOUN_RATE:
            subject, direct, possessive = rng.choice(entity.pronouns)
        sentence = wording.format(s=subject, o=direct, p=possessive, q=entity.possessive_pronoun)
        sentences.append(sentence[0].upper() + sentence[1:] + ".")
        position += len(told)
    return sentences


def _fill_value(wording: str, value: str) -> str:
    if "{a}" in wording:
        is_an = value[0].lower() in _VOWELS and value not in _NOT_AN
        wording = wording.replace("{a}", "an" if is_an else "a")
    return wording.replace("{v}", value)


def _question(entity: Entity, attribute: Attribute, value: str, card_rate: float, rng: random.Random) -> dict[str, Any]:
    if rng.random() < card_rate * _CARD_QUESTION_RATE:
        question = rng.choice(_CARD_QUESTIONS).format(name=entity.name, label=attribute.label.capitalize())
    else:
        question = rng.choice(attribute.questions).format(n=entity.mention, np=entity.possessive)
    return {"question": question[0].upper() + question[1:], "answers": [value]}


def make_documents(
    domains: tuple[str, ...],
    split: str,
    seed: int,
    num_documents: int,
    num_records: tuple[int, int],
    num_facts: tuple[int, int] = (FACTS_PER_RECORD, FACTS_PER_RECORD),
    card_rate: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Documents of the domains in turn, of least to most records and facts; the seed, split and arguments fix them."""
    rng = random.Random(f"{seed} {split} {' '.join(domains)}")
    least, most = num_facts
    for index in range(num_documents):
        records = rng.randint(*num_records)
        facts = most if least == most else rng.randint(least, most)
        yield make_document(domains[index % len(domains)], split, rng, records, facts, card_rate)


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--domain",
        default="all",
        choices=[*GROUPS, *DOMAINS, random_domain.NAME],
        metavar="NAME",
        help="one domain, or in turn those of a group: all (the first eight and the two held out), train-domains (the "
        "first eight), held-out-domains, more-domains, wide (every domain but the held-out ones); random-domains makes "
        f"up a domain for each document. The domains: {', '.join(DOMAINS)}",
    )
    parser.add_argument("--split", default="train", choices=SPLITS)
    parser.add_argument("--num-documents", type=int, default=1000)
    parser.add_argument("--min-records", type=int, default=1)
    parser.add_argument("--max-records", type=int, default=4)
    parser.add_argument("--min-facts", type=int, default=FACTS_PER_RECORD, help="of one record")
    parser.add_argument("--max-facts", type=int, default=FACTS_PER_RECORD)
    parser.add_argument("--card-rate", type=float, default=0.0, help="share of records told as fields of a form")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl or .jsonl.gz file, replaced if it is there")
    options = parser.parse_args(argv)
    if not 1 <= options.min_records <= options.max_records <= MAX_RECORDS:
        parser.error(f"wanted 1 <= --min-records <= --max-records <= {MAX_RECORDS}")
    if not 1 <= options.min_facts <= options.max_facts <= FACTS_PER_RECORD:
        parser.error(f"wanted 1 <= --min-facts <= --max-facts <= {FACTS_PER_RECORD}")
    if not 0 <= options.card_rate <= 1:
        parser.error("wanted --card-rate from 0 to 1")
    if options.num_documents < 1:
        parser.error("wanted --num-documents of at least 1")
    return options


def main(argv: list[str] | None = None) -> None:
    """Write the documents as JSON lines and one summary line to standard error."""
    options = _parse(argv)
    domains = GROUPS.get(options.domain, (options.domain,))
    num_questions = num_words = 0
    num_records = (options.min_records, options.max_records)
    num_facts = (options.min_facts, options.max_facts)
    with _open(options.out) as out:
        for document in make_documents(
            domains, options.split, options.seed, options.num_documents, num_records, num_facts, options.card_rate
        ):
            out.write(json.dumps(document, ensure_ascii=False) + "\n")
            num_questions += len(document["questions"])
            num_words += len(document["text"].split())
    mean_words = num_words / options.num_documents
    print(f"{options.num_documents} documents, {num_questions} questions, {mean_words:.1f} mean words", file=sys.stderr)


if __name__ == "__main__":
    main()
