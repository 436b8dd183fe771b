"""What is played, sung and acted: songs, orchestras, plays."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Domain, Entity, thing
from word_tables import attributes_of

from more_domains import name_parts


def _draw_song(rng: random.Random) -> Entity:
    verb, noun = rng.choice(name_parts.SONG_VERBS), rng.choice(name_parts.SONG_NOUNS)
    return thing(f"{verb} the {rng.choice(name_parts.SONG_ADJECTIVES)} {noun}", "song", article="")


def _draw_orchestra(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} {rng.choice(name_parts.ENSEMBLES)}", "orchestra")


def _draw_play(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(name_parts.ROLES)} in the {rng.choice(name_parts.ROOMS)}", "play", article="")


DOMAINS: tuple[Domain, ...] = (
    Domain(
        "songs", ("Song book", "Tunes and their stories", "On the record player"), _draw_song, attributes_of("songs")
    ),
    Domain(
        "orchestras", ("In the concert hall", "Orchestras of the land"), _draw_orchestra, attributes_of("orchestras")
    ),
    Domain("plays", ("On stage", "What is on at the theatre", "Curtain up"), _draw_play, attributes_of("plays")),
)
