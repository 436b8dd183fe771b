"""What people make, learn and play: films, chess tournaments, banknotes, apprentices."""

from __future__ import annotations

import random

import composed_pools
import record_pools as pools
from record_schema import Domain, Entity, thing
from train_domains import draw_person
from word_tables import attributes_of

from more_domains import name_parts


def _draw_film(rng: random.Random) -> Entity:
    number = rng.choice(name_parts.NUMBERS)
    plural = rng.choice(name_parts.FILM_PLURALS)
    return thing(f"{number} {plural} for {rng.choice(pools.FIRST_NAMES)}", "film", article="")


def _draw_tournament(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} {rng.choice(name_parts.TOURNAMENTS)}", "tournament")


def _draw_banknote(rng: random.Random) -> Entity:
    island = "".join(rng.choice(part) for part in name_parts.ISLAND_SYLLABLES)
    return thing(f"{rng.choice(name_parts.NOTES)} of {island}", "note")


DOMAINS: tuple[Domain, ...] = (
    Domain("films", ("At the cinema", "Film reviews", "On the screen"), _draw_film, attributes_of("films")),
    Domain("tournaments", ("Chess news", "Over the board"), _draw_tournament, attributes_of("tournaments")),
    Domain("banknotes", ("Paper money", "For collectors of money"), _draw_banknote, attributes_of("banknotes")),
    Domain("apprentices", ("Learning a trade", "The new apprentices"), draw_person, attributes_of("apprentices")),
)
