"""What grows, stands and lives outdoors: mountains, horses, gardens."""

from __future__ import annotations

import random

import composed_pools
import record_pools as pools
from record_schema import Domain, Entity, thing
from word_tables import attributes_of

from more_domains import name_parts


def _draw_mountain(rng: random.Random) -> Entity:
    first = "".join(rng.choice(part) for part in name_parts.PEAK_SYLLABLES)
    return thing(rng.choice((f"Mount {first}", f"{first} Peak", f"{first} Horn")), "mountain", article="")


def _draw_horse(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(name_parts.ADJECTIVES)} {rng.choice(name_parts.HORSES)}", "horse", article="")


def _draw_garden(rng: random.Random) -> Entity:
    start = rng.choice((rng.choice(composed_pools.OTHER_TOWNS), rng.choice(pools.FIRST_NAMES)))
    return thing(f"{start} {rng.choice(name_parts.GARDENS)}", "garden")


DOMAINS: tuple[Domain, ...] = (
    Domain(
        "mountains",
        ("Peaks and their stories", "For climbers", "Mountain guide"),
        _draw_mountain,
        attributes_of("mountains"),
    ),
    Domain("horses", ("At the races", "Horses of the stable", "Racing card"), _draw_horse, attributes_of("horses")),
    Domain("gardens", ("Parks and gardens", "Over the garden wall"), _draw_garden, attributes_of("gardens")),
)
