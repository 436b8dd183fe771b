"""The two domains kept out of pretraining, museum objects and trains, with wordings and questions of their own.

A table of wordings; the placeholders are explained in record_schema.py.
"""

from __future__ import annotations

import random

import record_pools as pools
from record_schema import Attribute, Domain, Entity, thing


def _draw_object(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.MUSEUM_STARTS)} {rng.choice(pools.MUSEUM_OBJECTS)}", "exhibit")


def _draw_train(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.TRAIN_STARTS)} {rng.choice(pools.TRAIN_KINDS)}", "train")


_MUSEUM = (
    Attribute(
        "substance",
        "material",
        ("was carved and shaped from {v}", "consists chiefly of {v}"),
        (
            "ancient craftsmen worked {v} to produce {o}",
            "laboratory tests prove that {s} contains pure {v}",
            "{p} surface is smooth and polished {v}",
            "nobody expected the experts to identify {v} in {o}",
        ),
        (
            "Of what substance does {n} consist?",
            "Out of what did craftsmen shape {n}?",
            "Which substance did tests find in {n}?",
        ),
    ),
    Attribute(
        "excavated",
        "country",
        ("was dug up in {v}", "turned up during excavations in {v}"),
        (
            "a team digging in {v} uncovered {o}",
            "buried for ages beneath {v}, {s} came to light",
            "{p} find spot is an ancient grave in {v}",
            "archaeologists brought {o} back from {v}",
        ),
        (
            "Where was {n} dug up?",
            "In what land did archaeologists uncover {n}?",
            "From where did archaeologists bring {n}?",
        ),
    ),
    Attribute(
        "donor",
        "surname",
        ("was donated by the {v} family", "arrived as a gift from Lady {v}"),
        (
            "collector {v} left {o} to the museum",
            "thanks to the generous {v} heirs {s} can be admired today",
            "{p} former possessor was Baron {v}",
            "the museum acquired {o} from a dealer named {v}",
        ),
        (
            "From whom did the museum obtain {n}?",
            "Whose gift or sale brought {n} to the museum?",
            "Who had {n} before the museum?",
        ),
    ),
    Attribute(
        "case",
        "count",
        ("can be viewed in glass case {v}", "rests inside display case {v}"),
        (
            "curators placed {o} behind the glass of case {v}",
            "walk straight ahead to case {v} and admire {o}",
            "{p} label hangs next to display case {v}",
            "electric spotlights in case {v} shine upon {o}",
        ),
        (
            "Which display case holds {n}?",
            "Behind the glass of what case number can one view {n}?",
            "What case number should I look for to see {n}?",
        ),
    ),
    Attribute(
        "carving",
        "animal",
        ("bears the engraving of {a} {v}", "is decorated with a crouching {v}"),
        (
            "an unknown artist engraved {a} {v} upon {o}",
            "look closely and {s} reveals a tiny {v}",
            "{p} decoration depicts {a} {v} in profile",
            "scholars argue whether the {v} engraved upon {o} is sacred",
        ),
        (
            "Which creature decorates {n}?",
            "What creature did the artist engrave upon {n}?",
            "What living creature does {n} depict?",
        ),
    ),
    Attribute(
        "stolen",
        "year",
        ("was stolen by burglars in {v}", "vanished mysteriously in {v}"),
        (
            "thieves escaped with {o} back in {v}",
            "police still investigate how {s} disappeared in {v}",
            "{p} theft during {v} shocked the whole museum",
            "burglars broke the locks and took {o} away in {v}",
        ),
        (
            "What year did thieves escape with {n}?",
            "What year did burglars steal {n}?",
            "Tell me the year of the theft of {n}.",
        ),
    ),
    Attribute(
        "value",
        "price",
        ("was insured at merely {v}", "fetched {v} at auction"),
        (
            "the highest bidder offered {v} to possess {o}",
            "insurers believe {s} is worth {v}",
            "{p} estimated worth reached {v}",
            "an auction house once valued {o} at {v}",
        ),
        (
            "What is {n} worth?",
            "At what sum was {n} valued?",
            "What sum did someone put on {n}?",
        ),
    ),
)

_RAILWAY = (
    Attribute(
        "departure",
        "time",
        ("departs at {v} sharp", "pulls out at {v}"),
        (
            "passengers must board {o} before {v}",
            "according to the timetable {s} departs at {v}",
            "{p} departure is scheduled for {v}",
            "a loud whistle announces {o} at exactly {v}",
        ),
        (
            "At what time does {n} depart?",
            "What departure time does the timetable list for {n}?",
            "By what time must passengers board {n}?",
        ),
    ),
    Attribute(
        "platform",
        "count",
        ("waits at platform {v}", "uses platform {v} today"),
        (
            "porters wheel the luggage of {o} along platform {v}",
            "passengers boarding {o} hurry toward platform {v}",
            "{p} usual platform is number {v}",
            "announcements direct everybody for {o} to platform {v}",
        ),
        (
            "From which platform does {n} run?",
            "What platform do passengers of {n} need?",
            "To what platform should I hurry for {n}?",
        ),
    ),
    Attribute(
        "terminus",
        "place",
        ("runs nonstop to {v}", "terminates at {v} central"),
        (
            "the rails beneath {o} lead directly to {v}",
            "weary passengers leave {o} at its terminus {v}",
            "{p} final destination is {v}",
            "tickets aboard {o} are valid until {v}",
        ),
        (
            "Where does {n} terminate?",
            "What is the final destination of {n}?",
            "Up to what destination does {n} run?",
        ),
    ),
    Attribute(
        "driver",
        "first_name",
        ("runs with {v} at the controls", "obeys the steady hand of {v}"),
        (
            "engine driver {v} operates the brakes of {o}",
            "up front in the locomotive of {o} sits {v}",
            "{p} regular driver answers to {v}",
            "for a decade {v} proudly drove {o}",
        ),
        (
            "Who drives {n}?",
            "Who sits in the locomotive of {n}?",
            "Name the engine driver of {n}.",
        ),
    ),
    Attribute(
        "livery",
        "colour",
        ("rolls past with {v} carriages", "gleams in fresh {v} livery"),
        (
            "railway artists sprayed every coach of {o} {v}",
            "spotters recognise {o} by {v} stripes",
            "{p} official livery is {v}",
            "someone dyed the curtains throughout {o} {v}",
        ),
        (
            "What livery does {n} have?",
            "In what shade do the coaches of {n} appear?",
            "What shade helps spotters recognise {n}?",
        ),
    ),
    Attribute(
        "dining",
        "food",
        ("serves {v} in its dining car", "offers hungry passengers {v}"),
        (
            "a waiter pushes a trolley with {v} through {o}",
            "the dining car aboard {o} specialises in {v}",
            "{p} menu lists nothing except {v}",
            "passengers aboard {o} order {v} with their tickets",
        ),
        (
            "What is served aboard {n}?",
            "What can hungry passengers order aboard {n}?",
            "What does the menu of {n} list?",
        ),
    ),
    Attribute(
        "freight",
        "cargo",
        ("pulls a wagon stacked with {v}", "delivers {v} along the route"),
        (
            "its rear wagons let {s} transport {v} too",
            "railway men loaded {v} onto {o} overnight",
            "{p} last wagon transports {v}",
            "merchants along the line receive {v} from {o}",
        ),
        (
            "What goods does {n} transport?",
            "What do the wagons of {n} contain?",
            "What did railway men load onto {n}?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("museum", ("Treasures of the museum", "Exhibits explained"), _draw_object, _MUSEUM),
    Domain("railway", ("Timetable notes", "On the rails"), _draw_train, _RAILWAY),
)
