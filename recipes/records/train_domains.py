"""The eight domains the model is pretrained on: people, products, ships, clinic, city, library, matches, farms.

How their entities are named; their wordings are in wordings.json.
"""

from __future__ import annotations

import random

import record_pools as pools
from record_schema import Domain, Entity, person, thing
from word_tables import attributes_of


def draw_person(rng: random.Random) -> Entity:
    is_woman = rng.random() < 0.5
    first = rng.choice(pools.WOMEN if is_woman else pools.MEN)
    return person(first, rng.choice(pools.SURNAMES), is_woman=is_woman)


def _draw_product(rng: random.Random) -> Entity:
    noun = rng.choice(pools.PRODUCT_TYPES)
    return thing(f"{rng.choice(pools.BRANDS)} {noun}", noun)


def _draw_ship(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.SHIP_ADJECTIVES)} {rng.choice(pools.SHIP_NOUNS)}", "ship")


def _draw_city(rng: random.Random) -> Entity:
    before = rng.choice(("", "", "Port ", "Upper ", "Saint ", "New "))
    return thing(f"{before}{rng.choice(pools.CITY_STARTS)}{rng.choice(pools.CITY_ENDS)}", "city", article="")


def _draw_book(rng: random.Random) -> Entity:
    return thing(f"The {rng.choice(pools.BOOK_ADJECTIVES)} {rng.choice(pools.BOOK_NOUNS)}", "book", article="")


def _draw_team(rng: random.Random) -> Entity:
    town = rng.choice(pools.CITY_STARTS) + rng.choice(pools.CITY_ENDS)
    return thing(f"{town} {rng.choice(pools.TEAM_NAMES)}", "team", plural=True)


def _draw_farm(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.FARM_STARTS)} {rng.choice(pools.FARM_MIDDLES)} Farm", "farm", article="")


DOMAINS: tuple[Domain, ...] = (
    Domain("people", ("People of the town", "Our neighbours", "Who is who"), draw_person, attributes_of("people")),
    Domain(
        "products", ("Product catalogue", "New in the shop", "Buying guide"), _draw_product, attributes_of("products")
    ),
    Domain("ships", ("Ship's log", "Harbour news", "Ships at sea"), _draw_ship, attributes_of("ships")),
    Domain(
        "clinic", ("Clinic visits", "Notes from the clinic", "Patients this week"), draw_person, attributes_of("clinic")
    ),
    Domain("city", ("City guide", "Where to travel", "Cities to visit"), _draw_city, attributes_of("city")),
    Domain(
        "library", ("Library catalogue", "Books on our shelves", "Reading list"), _draw_book, attributes_of("library")
    ),
    Domain("matches", ("Match report", "Sports news", "Results of the week"), _draw_team, attributes_of("matches")),
    Domain("farms", ("Farms of the valley", "Farm register", "Life on the land"), _draw_farm, attributes_of("farms")),
)
