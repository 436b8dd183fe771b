"""A domain composed anew for each document: a kind of thing, and attributes drawn from large tables.

The attributes are nouns ("the second tariff") and roles of verbs ("who repaired it", "where it was repaired"), told and
asked in wordings that fit any of them. What stands in the document cannot be guessed from a domain seen before.
"""

from __future__ import annotations

import random
from collections import Counter

import composed_pools
import random_domain_words as words
import record_pools as pools
from record_schema import Attribute, Domain, Entity, thing

NAME = "random-domains"

_NUM_ATTRIBUTES = 6
_VERB_RATE = 0.4
_MODIFIER_RATE = 0.35
_TITLES = ("Extract from the files", "Notes", "From the register", "An inventory", "What we know", "Short entries")
_VERBS = tuple(words.VERBS)
_NOUN_KINDS = tuple((noun, kind) for kind, nouns in words.NOUNS_BY_KIND.items() for noun in nouns)


def draw_domain(rng: random.Random, num_records: int) -> Domain:
    """Compose a domain of six attributes whose values stay distinct in so many records."""
    attributes: dict[str, Attribute] = {}
    users: Counter[str] = Counter()
    verb = rng.choice(_VERBS)
    while len(attributes) < _NUM_ATTRIBUTES:
        for attribute in _draw_attributes(verb, rng):
            if attribute.name in attributes or len(attributes) == _NUM_ATTRIBUTES:
                continue
            if composed_pools.has_values_for(attribute.kind, num_records, users[attribute.kind] + 1):
                attributes[attribute.name] = attribute
                users[attribute.kind] += 1
    kind, pattern = rng.choice(words.KINDS), rng.choice(_PATTERNS)
    return Domain(NAME, _TITLES, lambda draw: pattern(kind, draw), tuple(attributes.values()))


def _draw_attributes(verb: str, rng: random.Random) -> tuple[Attribute, ...]:
    """One attribute, or two that only a modifier tells apart, such as the first owner and the third owner."""
    if rng.random() < _VERB_RATE:
        # Half of the roles belong to one verb: who repaired it, where, when.
        return (_verb_attribute(verb if rng.random() < 0.5 else rng.choice(_VERBS), rng),)
    noun, kind = rng.choice(_NOUN_KINDS)
    if rng.random() < _MODIFIER_RATE:
        return tuple(noun_attribute(f"{modifier} {noun}", kind) for modifier in rng.sample(words.MODIFIERS, 2))
    return (noun_attribute(noun, kind),)


def noun_attribute(noun: str, kind: str) -> Attribute:
    """An attribute called by a noun, in every wording that fits a noun."""

    def fill(templates: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(template.replace("NOUN", noun) for template in templates)

    questions = words.NOUN_QUESTIONS + words.OTHER_QUESTIONS.get(noun, ()) * 2
    if kind in words.PERSON_KINDS:
        questions += words.PERSON_NOUN_QUESTIONS
    return Attribute(noun, kind, fill(words.NOUN_PHRASES), fill(words.NOUN_SENTENCES), fill(questions))


def verb_attributes(verb: str, rng: random.Random) -> tuple[Attribute, ...]:
    """The roles of a verb: who did it, where, when, how often, for how much."""
    done = words.VERBS[verb]
    time_kind = rng.choice(tuple(words.TIME_KINDS))
    at = words.TIME_KINDS[time_kind]

    def role(
        name: str, kind: str, phrases: tuple[str, ...], sentences: tuple[str, ...], questions: tuple[str, ...]
    ) -> Attribute:
        filled = (
            tuple(t.replace("DONE", done).replace("BASE", verb).replace("AT ", f"{at} ") for t in templates)
            for templates in (phrases, sentences, questions)
        )
        return Attribute(f"{done} {name}", kind, *filled)

    return (
        role("by", rng.choice(words.AGENT_KINDS), words.AGENT_PHRASES, words.AGENT_SENTENCES, words.AGENT_QUESTIONS),
        role("in", rng.choice(words.PLACE_KINDS), words.PLACE_PHRASES, words.PLACE_SENTENCES, words.PLACE_QUESTIONS),
        role("when", time_kind, words.TIME_PHRASES, words.TIME_SENTENCES, words.TIME_QUESTIONS),
        role("how often", "count", words.COUNT_PHRASES, words.COUNT_SENTENCES, words.COUNT_QUESTIONS),
        role("for", "amount", words.COST_PHRASES, words.COST_SENTENCES, words.COST_QUESTIONS),
    )


def _verb_attribute(verb: str, rng: random.Random) -> Attribute:
    by, where, when, how_often, cost = verb_attributes(verb, rng)
    return rng.choice((by, by, by, where, where, when, when, how_often, cost))


def _numbered(kind: str, rng: random.Random) -> Entity:
    return thing(f"{kind.capitalize()} {rng.choice('ABCDEFGHKLMNPRSTVWZ')}{rng.randint(2, 999)}", kind, article="")


def _invented(kind: str, rng: random.Random) -> Entity:
    return thing("".join(rng.choice(part) for part in words.NAME_SYLLABLES).capitalize(), kind, article="")


def _invented_with_kind(kind: str, rng: random.Random) -> Entity:
    return thing(f"{_invented(kind, rng).name} {kind.title()}", kind)


def _of_family(kind: str, rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_SURNAMES)} {kind.title()}", kind)


def _of_town(kind: str, rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} {kind.title()}", kind, article=rng.choice(("", "the ")))


def _of_adjective(kind: str, rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.BOOK_ADJECTIVES)} {rng.choice(pools.FARM_STARTS)} {kind.title()}", kind)


def _of_two_places(kind: str, rng: random.Random) -> Entity:
    start, middle = rng.choice(pools.FARM_STARTS), rng.choice(pools.FARM_MIDDLES)
    return thing(f"{kind.capitalize()} of {start} {middle}", kind)


_PATTERNS = (_numbered, _invented, _invented_with_kind, _of_family, _of_town, _of_adjective, _of_two_places)
