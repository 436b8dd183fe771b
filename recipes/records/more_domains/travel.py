"""What travellers cross, pass and fly with: flights, bridges, islands, lighthouses."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Attribute, Domain, Entity, thing

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


_FLIGHTS = (
    Attribute(
        "origin",
        "place",
        ("comes in from {v}", "took off in {v}"),
        (
            "people on board {o} got on in {v}",
            "the runway that {s} left behind lies in {v}",
            "{p} luggage was checked in at {v}",
            "an hour ago {v} waved goodbye to {o}",
        ),
        (
            "Where does {n} come from?",
            "In which city did {n} take off?",
            "Where did people get on {n}?",
            "From which airport is {n} coming?",
        ),
    ),
    Attribute(
        "goal",
        "place",
        ("is going to {v}", "will land in {v}"),
        (
            "the families in {v} are waiting for {o}",
            "if the weather holds {s} touches down in {v}",
            "{p} bags will be handed out in {v}",
            "the crew of {o} spends the night in {v}",
        ),
        (
            "Where is {n} going?",
            "In which city will {n} land?",
            "Where do I get off {n}?",
            "To what city does {n} fly?",
            "Where will the bags of {n} be handed out?",
        ),
    ),
    Attribute(
        "captain",
        "full_name",
        ("is flown by {v}", "has {v} in the cockpit"),
        (
            "{v} is the captain on {o}",
            "over the loudspeaker of {o} one hears {v}",
            "{p} wheels will be set down by {v}",
            "when {s} shakes a little, {v} calms everyone down",
        ),
        (
            "Who flies {n}?",
            "Who is the captain on {n}?",
            "Who is in the cockpit of {n}?",
            "Whose voice does one hear over the loudspeaker of {n}?",
        ),
    ),
    Attribute(
        "steward",
        "full_name",
        ("is served by {v}", "has {v} pushing the drinks along the aisle"),
        (
            "{v} pours the coffee on {o}",
            "the smile at the door of {o} belongs to {v}",
            "{p} cabin is the realm of {v}",
            "ask {v} for a blanket when you are on {o}",
        ),
        (
            "Who pours the coffee on {n}?",
            "Who serves the guests of {n}?",
            "Whom do I ask for a blanket on {n}?",
            "Who is in charge of the cabin of {n}?",
        ),
    ),
    Attribute(
        "gate",
        "count",
        ("leaves from gate {v}", "is called at gate {v}"),
        (
            "the line for {o} forms at gate {v}",
            "run to gate {v} if you want to catch {o}",
            "{p} gate has been changed to {v}",
            "over gate {v} the board shows {o}",
        ),
        (
            "From which gate does {n} leave?",
            "What is the gate of {n}?",
            "Where is the line for {n}, at which gate?",
            "To what gate do I run for {n}?",
        ),
    ),
    Attribute(
        "landing",
        "hour",
        ("lands at {v}", "should be on the ground by {v}"),
        (
            "the tower expects {o} at {v}",
            "fetch your aunt from {o} at {v}",
            "{p} landing was announced for {v}",
            "with the wind behind it {s} can make it by {v}",
        ),
        (
            "When does {n} land?",
            "At what hour is {n} expected by the tower?",
            "When should I fetch my aunt from {n}?",
            "By when will {n} be on the ground?",
        ),
    ),
    Attribute(
        "delay",
        "reason",
        ("was held up by {v}", "is late because of {v}"),
        (
            "the airline blames {v} for the delay of {o}",
            "were it not for {v}, {s} would be here",
            "{p} delay was caused by {v}",
            "people waiting for {o} were told about {v}",
        ),
        (
            "Why is {n} late?",
            "What held up {n}?",
            "What caused the delay of {n}?",
            "What does the airline blame for the delay of {n}?",
        ),
    ),
)

_BRIDGES = (
    Attribute(
        "length",
        "metres",
        ("is {v} long", "stretches across {v}"),
        (
            "from one end of {o} to the other it is {v}",
            "walkers on {o} have {v} before them",
            "{p} length comes to {v}",
            "the engineers gave {o} {v} from bank to bank",
        ),
        (
            "How long is {n}?",
            "What is the length of {n}?",
            "How many metres is it from one end of {n} to the other?",
            "How far do I walk to cross {n}?",
        ),
    ),
    Attribute(
        "clearance",
        "metres",
        ("lets ships of {v} pass below", "hangs {v} above the water"),
        (
            "between the water and {o} there are {v}",
            "a mast of {v} just fits under {o}",
            "{p} height over the water is {v}",
            "anyone falling from {o} would fall {v}",
        ),
        (
            "How high above the water is {n}?",
            "How tall may a mast be to fit under {n}?",
            "What is the height of {n} over the water?",
            "How deep would one fall from {n}?",
        ),
    ),
    Attribute(
        "river",
        "river",
        ("crosses the river {v}", "takes the road over the {v}"),
        (
            "the waters of the {v} flow under {o}",
            "before {o} was built, a ferry went over the {v}",
            "{p} pillars stand in the bed of the {v}",
            "thanks to {o} one can get over the {v} with dry feet",
        ),
        (
            "Which river does {n} cross?",
            "What river flows under {n}?",
            "Over which water does {n} take the road?",
            "In the bed of which river do the pillars of {n} stand?",
        ),
    ),
    Attribute(
        "engineer",
        "full_name",
        ("was built by the engineer {v}", "made the name of {v} known"),
        (
            "{v} worked out every bolt of {o}",
            "the sums behind {o} were done by {v}",
            "{p} arches were the idea of {v}",
            "people said that {o} would fall, but {v} knew better",
        ),
        (
            "Who built {n}?",
            "Which engineer worked out {n}?",
            "Who did the sums behind {n}?",
            "Whose idea were the arches of {n}?",
        ),
    ),
    Attribute(
        "opener",
        "full_name",
        ("was opened by {v}", "had its ribbon cut by {v}"),
        (
            "{v} was the first to walk over {o}",
            "with golden scissors {v} opened {o}",
            "{p} opening was an honour for {v}",
            "a brass band played while {v} opened {o}",
        ),
        (
            "Who opened {n}?",
            "Who cut the ribbon of {n}?",
            "Who was the first to walk over {n}?",
            "For whom was the opening of {n} an honour?",
        ),
    ),
    Attribute(
        "toll",
        "fee",
        ("takes a toll of {v}", "costs {v} for every car"),
        (
            "at the booth on {o} you pay {v}",
            "cars may use {o} for {v}",
            "{p} toll was raised to {v}",
            "keep {v} ready when you come to {o}",
        ),
        (
            "What is the toll on {n}?",
            "How much do cars pay to cross {n}?",
            "What do I pay at the booth on {n}?",
            "How much money should I keep ready for {n}?",
        ),
    ),
    Attribute(
        "paint",
        "shade",
        ("was painted {v}", "shines {v} in the morning sun"),
        (
            "the painters chose {v} for {o}",
            "from far away {s} looks {v}",
            "{p} ironwork is {v}",
            "it takes a ton of {v} paint to cover {o}",
        ),
        (
            "What colour is {n}?",
            "How was {n} painted?",
            "Which paint covers {n}?",
            "How does {n} look from far away?",
        ),
    ),
)

_ISLANDS = (
    Attribute(
        "population",
        "thousands",
        ("is home to {v} people", "feeds {v} people"),
        (
            "at the last census {v} people lived on {o}",
            "there are {v} souls on {o}",
            "{p} population is {v}",
            "for the {v} people of {o} there is only one doctor",
        ),
        (
            "How many people live on {n}?",
            "What is the population of {n}?",
            "How many souls are there on {n}?",
            "How many inhabitants does {n} have?",
        ),
    ),
    Attribute(
        "visitors",
        "thousands",
        ("is visited by {v} people a year", "sees {v} strangers every summer"),
        (
            "each year {v} tourists set foot on {o}",
            "the ferry carries {v} visitors a year to {o}",
            "{p} beaches attract {v} tourists",
            "the hotels of {o} counted {v} guests",
        ),
        (
            "How many tourists come to {n}?",
            "How many people visit {n} each year?",
            "How many guests did the hotels of {n} count?",
            "What number of strangers does {n} see every summer?",
        ),
    ),
    Attribute(
        "capital",
        "other_town",
        ("is governed from {v}", "has no town but {v}"),
        (
            "the harbour and the town hall of {o} are in {v}",
            "on market days all of {o} meets in {v}",
            "{p} capital is {v}",
            "the only traffic light on {o} is found in {v}",
        ),
        (
            "What is the capital of {n}?",
            "From where is {n} governed?",
            "Which town is there on {n}?",
            "Where is the town hall of {n}?",
        ),
    ),
    Attribute(
        "ferry_port",
        "place",
        ("is reached by ferry from {v}", "gets its mail from {v}"),
        (
            "the boat to {o} leaves from {v}",
            "to go to {o} you have to board a ship in {v}",
            "{p} only link to the world is the ferry from {v}",
            "the fishermen of {o} sell their catch in {v}",
        ),
        (
            "From which city does the ferry to {n} leave?",
            "Where do I board a ship to {n}?",
            "Where does the mail for {n} come from?",
            "In which city do the fishermen of {n} sell their catch?",
        ),
    ),
    Attribute(
        "crossing",
        "minutes",
        ("lies {v} by boat from the mainland", "appears after {v} on the ferry"),
        (
            "the crossing to {o} takes {v}",
            "for {v} you see only water, and then {o}",
            "{p} distance from the mainland is {v} by boat",
            "you have {v} to be seasick before you reach {o}",
        ),
        (
            "How long is the crossing to {n}?",
            "How many minutes by boat is it to {n}?",
            "After how long on the ferry does {n} appear?",
            "How long may I be seasick before I reach {n}?",
        ),
    ),
    Attribute(
        "discoverer",
        "full_name",
        ("was discovered by {v}", "was put on the map by {v}"),
        (
            "{v} was the first stranger to land on {o}",
            "blown off course, {v} happened upon {o}",
            "{p} discovery made {v} rich",
            "in the logbook of {v} there is a drawing of {o}",
        ),
        (
            "Who discovered {n}?",
            "Who put {n} on the map?",
            "Who was the first stranger to land on {n}?",
            "Whom did the discovery of {n} make rich?",
        ),
    ),
    Attribute(
        "best_known_bird",
        "bird",
        ("is full of the nests of the {v}", "is where the {v} breeds"),
        (
            "on the cliffs of {o} you find the {v}",
            "the stamps of {o} show the {v}",
            "{p} best known bird is the {v}",
            "nowhere is the {v} so tame as on {o}",
        ),
        (
            "Which bird breeds on {n}?",
            "What bird is on the stamps of {n}?",
            "Whose nests is {n} full of?",
            "Which bird is so tame on {n}?",
        ),
    ),
)

_LIGHTHOUSES = (
    Attribute(
        "keeper",
        "full_name",
        ("is kept by {v}", "has been home to {v} for years"),
        (
            "{v} lights the lamp of {o} at dusk",
            "all alone, {v} lives in {o}",
            "{p} keeper is called {v}",
            "in stormy nights {v} does not leave the stairs of {o}",
        ),
        (
            "Who keeps {n}?",
            "Who lives in {n}?",
            "Who lights the lamp of {n}?",
            "What is the name of the keeper of {n}?",
        ),
    ),
    Attribute(
        "first_keeper",
        "full_name",
        ("was kept in its first years by {v}", "still has the diary of {v} on a shelf"),
        (
            "the first to live in {o} was {v}",
            "a grave beside {o} is that of {v}, who lit it first",
            "{p} lamp was lit for the first time by {v}",
            "when it was new, {s} was in the charge of {v}",
        ),
        (
            "Who was the first keeper of {n}?",
            "Who lit the lamp of {n} for the first time?",
            "Whose diary is still in {n}?",
            "Whose grave is beside {n}?",
        ),
    ),
    Attribute(
        "height",
        "metres",
        ("is {v} tall", "towers {v} over the rocks"),
        (
            "from its foot to the lamp {s} measures {v}",
            "the masons stopped building {o} at {v}",
            "{p} height is {v}",
            "with {v} {s} is the tallest on the coast",
        ),
        (
            "How tall is {n}?",
            "What is the height of {n}?",
            "How far does {n} tower over the rocks?",
            "At how many metres did the masons stop building {n}?",
        ),
    ),
    Attribute(
        "range",
        "kilometres",
        ("can be seen {v} out at sea", "sends its light over {v}"),
        (
            "at a distance of {v} sailors still see {o}",
            "on clear nights {s} shines as far as {v}",
            "{p} beam reaches {v}",
            "even {v} away the light of {o} is a comfort",
        ),
        (
            "How far can {n} be seen?",
            "How far does the light of {n} reach?",
            "At what distance do sailors still see {n}?",
            "How many kilometres does {n} shine?",
        ),
    ),
    Attribute(
        "steps",
        "hundreds",
        ("has {v} steps", "makes visitors climb {v} steps"),
        (
            "it is {v} steps to the lamp of {o}",
            "a child counted {v} steps inside {o}",
            "{p} stairs number {v}",
            "whoever wants the view from {o} must climb {v} steps",
        ),
        (
            "How many steps does {n} have?",
            "How many steps is it to the lamp of {n}?",
            "How many stairs did a child count inside {n}?",
            "What number of steps must I climb in {n}?",
        ),
    ),
    Attribute(
        "light",
        "colour",
        ("flashes {v}", "shows {a} {v} light"),
        (
            "the glass of the lamp of {o} is {v}",
            "sailors look for {a} {v} flash from {o}",
            "{p} beam is {v}",
            "in the dark {s} blinks {v}",
        ),
        (
            "What colour does {n} flash?",
            "Which light does {n} show?",
            "What is the colour of the beam of {n}?",
            "For which flash do sailors look from {n}?",
        ),
    ),
    Attribute(
        "stripes",
        "colour",
        ("has {v} stripes around its tower", "wears a broad {v} band"),
        (
            "by day you know {o} by its {v} stripes",
            "painters on ropes gave {o} {v} stripes",
            "{p} tower is white and {v}",
            "the door of {o} and its stripes are {v}",
        ),
        (
            "What colour are the stripes of {n}?",
            "By which stripes does one know {n}?",
            "Which band goes around the tower of {n}?",
            "What colour is the door of {n}?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("flights", ("At the airport", "Arrivals", "In the air"), _draw_flight, _FLIGHTS),
    Domain("bridges", ("Bridges of the county", "Over the water"), _draw_bridge, _BRIDGES),
    Domain("islands", ("Islands off the coast", "By boat", "The archipelago"), _draw_island, _ISLANDS),
    Domain("lighthouses", ("Lights of the coast", "Keepers and lamps"), _draw_lighthouse, _LIGHTHOUSES),
)
