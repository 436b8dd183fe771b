"""What travellers cross, pass and fly with: flights, bridges, islands, lighthouses."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Domain, Entity, thing
from word_tables import attributes_of

from more_domains import name_parts


def _draw_flight(rng: random.Random) -> Entity:
    letters = rng.choice(name_parts.CAPITALS) + rng.choice(name_parts.CAPITALS)
    return thing(f"Flight {letters}{rng.randint(12, 989)}", "flight", article="")


def _draw_bridge(rng: random.Random) -> Entity:
    first = rng.choice((rng.choice(composed_pools.OTHER_TOWNS), rng.choice(composed_pools.OTHER_SURNAMES)))
    return thing(f"{first} {rng.choice(name_parts.BRIDGES)}", "bridge")


def _draw_island(rng: random.Random) -> Entity:
    name = "".join(rng.choice(part) for part in name_parts.ISLAND_SYLLABLES)
    return thing(
        rng.choice((f"{name} Island", f"Isle of {name}", f"Great {name}", f"Little {name}")), "island", article=""
    )


def _draw_lighthouse(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(name_parts.ADJECTIVES)} {rng.choice(name_parts.HEADLANDS)} Light", "lighthouse")


DOMAINS: tuple[Domain, ...] = (
    Domain("flights", ("At the airport", "Arrivals", "In the air"), _draw_flight, attributes_of("flights")),
    Domain("bridges", ("Bridges of the county", "Over the water"), _draw_bridge, attributes_of("bridges")),
    Domain("islands", ("Islands off the coast", "By boat", "The archipelago"), _draw_island, attributes_of("islands")),
    Domain("lighthouses", ("Lights of the coast", "Keepers and lamps"), _draw_lighthouse, attributes_of("lighthouses")),
)
