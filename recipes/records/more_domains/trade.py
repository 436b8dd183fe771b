"""Goods, tools and machines that change hands: warehouses, parcels, hired machines, software releases."""

from __future__ import annotations

import random

import composed_pools
import record_pools as pools
from record_schema import Domain, Entity, thing
from word_tables import attributes_of

from more_domains import name_parts


def _draw_warehouse(rng: random.Random) -> Entity:
    street = rng.choice(composed_pools.POOLS["street"])
    return thing(rng.choice((f"{street} Depot", f"{street} Warehouse", f"{street} Store")), "warehouse")


def _draw_parcel(rng: random.Random) -> Entity:
    letters = "".join(rng.choice(name_parts.CAPITALS) for _ in range(2))
    return thing(f"Parcel {letters} {rng.randint(101, 999)}", "parcel", article="")


def _draw_hire(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.BRANDS)} {rng.choice(name_parts.MACHINES)} {rng.randint(11, 99)}", "machine")


def _draw_release(rng: random.Random) -> Entity:
    name = rng.choice(pools.BRANDS) + rng.choice(name_parts.PROGRAM_ENDS)
    return thing(f"{name} {rng.randint(1, 40)}", "release", article="")


DOMAINS: tuple[Domain, ...] = (
    Domain("warehouses", ("Goods in store", "Round of the warehouses"), _draw_warehouse, attributes_of("warehouses")),
    Domain(
        "parcels", ("At the parcel office", "In the post", "Parcels on the way"), _draw_parcel, attributes_of("parcels")
    ),
    Domain("hires", ("Machines for hire", "Out of the yard", "Hire book"), _draw_hire, attributes_of("hires")),
    Domain("releases", ("Release notes", "What is new", "Software in use"), _draw_release, attributes_of("releases")),
)
