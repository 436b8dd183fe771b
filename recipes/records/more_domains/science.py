"""What is measured: stars, rivers, weather stations, laboratories."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Domain, Entity, thing
from word_tables import attributes_of

from more_domains import name_parts


def _draw_star(rng: random.Random) -> Entity:
    name = "".join(rng.choice(part) for part in name_parts.PEAK_SYLLABLES)
    return thing(f"{rng.choice(name_parts.GREEK)} {name}", "star", article="")


def _draw_river(rng: random.Random) -> Entity:
    name = "".join(rng.choice(part) for part in name_parts.ISLAND_SYLLABLES)
    return thing(f"{rng.choice(name_parts.RIVER_STARTS)} {name}", "river")


def _draw_weather_station(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} {rng.choice(name_parts.HEADLANDS)} Station", "station")


def _draw_laboratory(rng: random.Random) -> Entity:
    name = f"{rng.choice(composed_pools.OTHER_SURNAMES)} {rng.choice(name_parts.SCIENCES)} Laboratory"
    return thing(name, "laboratory")


DOMAINS: tuple[Domain, ...] = (
    Domain("stars", ("The night sky", "Star catalogue", "Through the telescope"), _draw_star, attributes_of("stars")),
    Domain("rivers", ("Rivers of the land", "From spring to sea"), _draw_river, attributes_of("rivers")),
    Domain(
        "weather-stations",
        ("Heat and frost", "Weather records"),
        _draw_weather_station,
        attributes_of("weather-stations"),
    ),
    Domain("laboratories", ("Research in brief", "In the laboratory"), _draw_laboratory, attributes_of("laboratories")),
)
