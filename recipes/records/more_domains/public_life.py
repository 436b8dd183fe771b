"""What a town talks about: elections, festivals, schools, radio stations."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Domain, Entity, thing
from word_tables import attributes_of

from more_domains import name_parts


def _draw_election(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} {rng.choice(name_parts.BALLOTS)}", "vote")


def _draw_festival(rng: random.Random) -> Entity:
    what = rng.choice((*composed_pools.FLOWERS, *composed_pools.FISH)).capitalize()
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} Festival of {what}", "festival")


def _draw_school(rng: random.Random) -> Entity:
    start = rng.choice((rng.choice(composed_pools.OTHER_SURNAMES), rng.choice(composed_pools.OTHER_TOWNS)))
    return thing(f"{start} {rng.choice(name_parts.SCHOOLS)}", "school", article="")


def _draw_station(rng: random.Random) -> Entity:
    adjective, gem = rng.choice(name_parts.ADJECTIVES), rng.choice(composed_pools.GEMS).capitalize()
    return thing(f"Radio {adjective} {gem}", "station", article="")


DOMAINS: tuple[Domain, ...] = (
    Domain("elections", ("Results of the votes", "Polling news"), _draw_election, attributes_of("elections")),
    Domain(
        "festivals", ("Festivals in the area", "What is on this summer"), _draw_festival, attributes_of("festivals")
    ),
    Domain(
        "schools", ("Schools of the district", "For parents", "School report"), _draw_school, attributes_of("schools")
    ),
    Domain("stations", ("On the air", "Radio guide"), _draw_station, attributes_of("stations")),
)
