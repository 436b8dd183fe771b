"""The two domains kept out of pretraining, museum objects and trains, with wordings and questions of their own.

How their entities are named; their wordings are in wordings.json.
"""

from __future__ import annotations

import random

import record_pools as pools
from record_schema import Domain, Entity, thing
from word_tables import attributes_of


def _draw_object(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.MUSEUM_STARTS)} {rng.choice(pools.MUSEUM_OBJECTS)}", "exhibit")


def _draw_train(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.TRAIN_STARTS)} {rng.choice(pools.TRAIN_KINDS)}", "train")


DOMAINS: tuple[Domain, ...] = (
    Domain("museum", ("Treasures of the museum", "Exhibits explained"), _draw_object, attributes_of("museum")),
    Domain("railway", ("Timetable notes", "On the rails"), _draw_train, attributes_of("railway")),
)
