"""What a domain of record documents is made of: attributes, their wordings, and how its entities are named.

Placeholders in wordings: {s} the entity as subject, {o} as object, {p} its possessive (each a name or a pronoun),
{q} the possessive pronoun, {v} the value, {a} "a" or "an" before it. In questions {n} is the name, {np} its possessive.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entity:
    """One named thing. `name` is what the split is decided on; `mention` is how a sentence says it."""

    name: str
    mention: str
    possessive: str
    pronouns: tuple[tuple[str, str, str], ...]
    """(subject, object, possessive) choices for later mentions, such as ("she", "her", "her")."""
    possessive_pronoun: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """One kind of fact: its values, verb phrases (joinable by "and"), whole sentences, and questions."""

    name: str
    kind: str
    phrases: tuple[str, ...]
    sentences: tuple[str, ...]
    questions: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name, as a form words it."""
        return self.name.replace("_", " ")

    @property
    def wordings(self) -> tuple[str, ...]:
        """Every way to tell the fact in a sentence of its own, without the full stop."""
        return self.sentences + tuple("{s} " + phrase for phrase in self.phrases)


@dataclass(frozen=True, slots=True)
class Domain:
    name: str
    titles: tuple[str, ...]
    draw_entity: Callable[[random.Random], Entity]
    attributes: tuple[Attribute, ...]


def thing(name: str, noun: str, *, article: str = "the ", plural: bool = False) -> Entity:
    """An entity that is not a person: later mentions say "it" (or "the ship", "the team")."""
    mention = article + name
    the_noun = f"the {noun}"
    pronouns: tuple[tuple[str, str, str], ...] = ((the_noun, the_noun, f"{the_noun}'s"),)
    if not plural:
        pronouns += (("it", the_noun, "its"),)
    return Entity(name, mention, mention + ("'" if plural else "'s"), pronouns, "its")


def person(first: str, last: str, *, is_woman: bool) -> Entity:
    """A person, called she or he after the first mention."""
    name = f"{first} {last}"
    pronouns = ("she", "her", "her") if is_woman else ("he", "him", "his")
    return Entity(name, name, f"{name}'s", (pronouns,), pronouns[2])
