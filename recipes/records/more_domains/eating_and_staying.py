"""Places to eat and sleep at, and what is eaten: restaurants, hotels, recipes, cheeses."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Domain, Entity, thing
from word_tables import attributes_of

from more_domains import name_parts


def _draw_restaurant(rng: random.Random) -> Entity:
    name = rng.choice(
        (
            f"{rng.choice(name_parts.ADJECTIVES)} {rng.choice(composed_pools.TOOLS).capitalize()} Tavern",
            f"{rng.choice(composed_pools.SPICES).capitalize()} and {rng.choice(composed_pools.FISH).capitalize()}",
        )
    )
    return thing(name, "restaurant")


def _draw_hotel(rng: random.Random) -> Entity:
    return thing(f"Hotel {rng.choice(name_parts.ADJECTIVES)} {rng.choice(name_parts.LANDSCAPE)}", "hotel", article="")


def _draw_recipe(rng: random.Random) -> Entity:
    cook, dish = rng.choice(composed_pools.OTHER_SURNAMES), rng.choice(name_parts.DISHES)
    return thing(f"{cook} {rng.choice(name_parts.DISH_STYLES)} {dish}", "recipe")


def _draw_cheese(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} {rng.choice(name_parts.CHEESES)}", "cheese")


DOMAINS: tuple[Domain, ...] = (
    Domain(
        "restaurants",
        ("Where to eat", "Tables in town", "The food critic"),
        _draw_restaurant,
        attributes_of("restaurants"),
    ),
    Domain(
        "hotels",
        ("A bed for the night", "Hotels we tried", "Notes for travellers"),
        _draw_hotel,
        attributes_of("hotels"),
    ),
    Domain(
        "recipes", ("From the cookery book", "Baking at home", "Family recipes"), _draw_recipe, attributes_of("recipes")
    ),
    Domain("cheeses", ("The cheese board", "Cheeses and their makers"), _draw_cheese, attributes_of("cheeses")),
)
