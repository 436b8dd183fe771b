"""What is measured: stars, rivers, weather stations, laboratories."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Attribute, Domain, Entity, thing

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


_STARS = (
    Attribute(
        "discoverer",
        "full_name",
        ("was discovered by {v}", "was first noticed by {v}"),
        (
            "{v} found {o} on a glass plate",
            "the first to see {o} was {v}",
            "{p} discovery is the merit of {v}",
            "in a cold night {v} turned the telescope to where {s} is",
        ),
        (
            "Who discovered {n}?",
            "Who was the first to see {n}?",
            "Who noticed {n} first?",
            "Whose merit is the discovery of {n}?",
            "Tell me who found {n}.",
        ),
    ),
    Attribute(
        "name_giver",
        "full_name",
        ("owes its name to {v}", "was entered in the catalogue by {v}"),
        (
            "{v} gave {o} the name it has today",
            "the entry on {o} in the catalogue was written by {v}",
            "{p} name was chosen by {v}",
            "after some thought {v} wrote down a name for {o}",
        ),
        (
            "Who named {n}?",
            "To whom does {n} owe its name?",
            "Who entered {n} in the catalogue?",
            "Who chose the name of {n}?",
        ),
    ),
    Attribute(
        "distance",
        "light_years",
        ("is {v} away", "shines from a distance of {v}"),
        (
            "between us and {o} lie {v}",
            "the light of {o} has crossed {v}",
            "{p} distance is {v}",
            "to visit {o} one would have to travel {v}",
        ),
        (
            "How far away is {n}?",
            "What is the distance of {n}?",
            "How many light years lie between us and {n}?",
            "How far would one travel to visit {n}?",
        ),
    ),
    Attribute(
        "width",
        "light_years",
        ("lies in a cloud of gas {v} across", "lights up a nebula of {v}"),
        (
            "the mist around {o} measures {v}",
            "a ring of dust, {v} wide, goes around {o}",
            "{p} cloud extends over {v}",
            "astronomers saw that the gas near {o} fills {v}",
        ),
        (
            "How wide is the cloud around {n}?",
            "How many light years does the nebula of {n} measure?",
            "What is the width of the ring of dust around {n}?",
            "How much space does the gas near {n} fill?",
        ),
    ),
    Attribute(
        "colour",
        "colour",
        ("glows {v}", "looks {v} to the naked eye"),
        (
            "through the telescope {s} appears {v}",
            "on photographs {o} comes out {v}",
            "{p} light is {v}",
            "a prism shows that {o} is more {v} than its neighbours",
        ),
        (
            "What colour is {n}?",
            "How does {n} look to the naked eye?",
            "What is the light of {n} like?",
            "How does {n} come out on photographs?",
        ),
    ),
    Attribute(
        "planets",
        "count",
        ("is circled by {v} planets", "has {v} planets"),
        (
            "around {o} there are {v} planets",
            "astronomers found {v} small worlds near {o}",
            "{p} planets number {v}",
            "by its slight trembling {s} betrays {v} planets",
        ),
        (
            "How many planets does {n} have?",
            "How many planets circle {n}?",
            "What number of worlds did astronomers find near {n}?",
            "How many planets are there around {n}?",
        ),
    ),
    Attribute(
        "first_sighting",
        "date",
        ("was first seen on {v}", "was photographed on {v}"),
        (
            "on {v} somebody took a picture of {o}",
            "the oldest note about {o} is of {v}",
            "{p} first sighting was on {v}",
            "nobody knew of {o} before {v}",
        ),
        (
            "When was {n} first seen?",
            "On which date was {n} photographed?",
            "Of what day is the oldest note about {n}?",
            "Before which date did nobody know of {n}?",
        ),
    ),
)

_RIVERS = (
    Attribute(
        "length",
        "kilometres",
        ("is {v} long", "winds through {v} of land"),
        (
            "from spring to sea {s} measures {v}",
            "a swimmer needs a month for the {v} of {o}",
            "{p} length is {v}",
            "on the map, with a thread, I measured {v} for {o}",
        ),
        (
            "How long is {n}?",
            "What is the length of {n}?",
            "How many kilometres does {n} measure from spring to sea?",
            "Through how much land does {n} wind?",
        ),
    ),
    Attribute(
        "stretch_for_ships",
        "kilometres",
        ("can carry ships for {v}", "is deep enough for boats over {v}"),
        (
            "barges may go up {o} for {v}",
            "after {v} by boat a waterfall in {o} ends the trip",
            "{p} stretch for ships is {v}",
            "captains know {o} well, but only {v} of it",
        ),
        (
            "For how many kilometres can {n} carry ships?",
            "How far may barges go up {n}?",
            "How much of {n} is deep enough for boats?",
            "After how many kilometres does a waterfall in {n} end the trip?",
        ),
    ),
    Attribute(
        "source",
        "other_town",
        ("rises near {v}", "begins as a brook behind {v}"),
        (
            "the spring of {o} is in a wood near {v}",
            "children from {v} can jump over {o}",
            "{p} source is close to {v}",
            "wet meadows above {v} feed {o}",
        ),
        (
            "Where does {n} rise?",
            "Where is the source of {n}?",
            "Near which town does {n} begin?",
            "Children from what town can jump over {n}?",
        ),
    ),
    Attribute(
        "mouth",
        "other_town",
        ("reaches the sea at {v}", "ends in the harbour of {v}"),
        (
            "at {v} the water of {o} turns salty",
            "gulls follow {o} as far as {v}, where it is lost in the waves",
            "{p} mouth is at {v}",
            "all the mud that {s} carries is left before {v}",
        ),
        (
            "Where does {n} reach the sea?",
            "At which town is the mouth of {n}?",
            "In what harbour does {n} end?",
            "Where does the water of {n} turn salty?",
        ),
    ),
    Attribute(
        "fish",
        "fish",
        ("is rich in {v}", "is good for catching {v}"),
        (
            "anglers go to {o} for {v}",
            "in the pools of {o} swim {v}",
            "{p} best fish are {v}",
            "with a little luck you pull {v} out of {o}",
        ),
        (
            "Which fish is {n} rich in?",
            "What do anglers catch in {n}?",
            "What swims in the pools of {n}?",
            "What could I pull out of {n} with a little luck?",
        ),
    ),
    Attribute(
        "ferryman",
        "full_name",
        ("can be crossed with the ferryman {v}", "has been crossed a thousand times by {v}"),
        (
            "{v} rows people over {o}",
            "shout across {o} and {v} comes with a boat",
            "{p} only ferry is run by {v}",
            "for a coin {v} takes you to the other side of {o}",
        ),
        (
            "Who rows people over {n}?",
            "Who is the ferryman on {n}?",
            "Who takes me to the other side of {n}?",
            "By whom is the ferry on {n} run?",
        ),
    ),
    Attribute(
        "flood",
        "any_year",
        ("broke its banks in {v}", "drowned the fields in {v}"),
        (
            "old people still speak of how high {s} stood in {v}",
            "a mark on the mill shows where {o} was in {v}",
            "{p} worst flood came in {v}",
            "since {v} there has been a wall along {o}",
        ),
        (
            "When did {n} break its banks?",
            "In which year was the worst flood of {n}?",
            "Since when is there a wall along {n}?",
            "Which year is shown by the mark on the mill for {n}?",
        ),
    ),
)

_WEATHER_STATIONS = (
    Attribute(
        "observer",
        "full_name",
        ("is read by {v}", "is in the care of {v}"),
        (
            "each morning {v} walks up to {o} with a notebook",
            "{v} cleans the instruments of {o}",
            "{p} observer is {v}",
            "the figures from {o} are sent in by {v}",
        ),
        (
            "Who reads the instruments of {n}?",
            "Who is the observer at {n}?",
            "In whose care is {n}?",
            "Who sends in the figures from {n}?",
        ),
    ),
    Attribute(
        "builder",
        "full_name",
        ("was built by {v}", "was a gift of love from {v} to science"),
        (
            "{v} nailed together the white box of {o}",
            "the mast of {o} was put up by {v}",
            "{p} builder was {v}",
            "two summers long {v} carried boards up to {o}",
        ),
        (
            "Who built {n}?",
            "Who put up the mast of {n}?",
            "Who was the builder of {n}?",
            "Who carried boards up to {n}?",
        ),
    ),
    Attribute(
        "record_heat",
        "date",
        ("had its hottest day on {v}", "saw its thermometer burst on {v}"),
        (
            "it was never so hot at {o} as on {v}",
            "on {v} the shade of {o} was no use to anyone",
            "{p} record heat was noted on {v}",
            "the highest figure in the books of {o} is that of {v}",
        ),
        (
            "When was the hottest day at {n}?",
            "On what date was it so hot at {n}?",
            "When was the record heat of {n} noted?",
            "When did the thermometer of {n} burst?",
        ),
    ),
    Attribute(
        "record_frost",
        "date",
        ("had its coldest night on {v}", "was frozen solid on {v}"),
        (
            "the ink froze at {o} on {v}",
            "it was never so cold at {o} as on {v}",
            "{p} record frost was noted on {v}",
            "on {v} even the doors of {o} would not open for ice",
        ),
        (
            "When was the coldest night at {n}?",
            "On what date was it so cold at {n}?",
            "When was the record frost of {n} noted?",
            "When did the ink freeze at {n}?",
        ),
    ),
    Attribute(
        "days_of_rain",
        "hundreds",
        ("counts {v} days of rain in two years", "was rained on for {v} days"),
        (
            "people near {o} carried an umbrella on {v} days",
            "of all days written up at {o} {v} were wet",
            "{p} books show {v} days with rain",
            "for {v} days the gauge of {o} was not dry",
        ),
        (
            "How many days of rain does {n} count?",
            "On how many days did it rain at {n}?",
            "How many wet days do the books of {n} show?",
            "For how many days was the gauge of {n} not dry?",
        ),
    ),
    Attribute(
        "hours_of_sun",
        "thousands",
        ("recorded {v} hours of sunshine", "enjoyed {v} hours without a cloud"),
        (
            "the sun shone on {o} for {v} hours",
            "as many as {v} hours of sun were noted at {o}",
            "{p} total of sunshine is {v} hours",
            "the glass ball of {o} burned a trace for {v} hours",
        ),
        (
            "How many hours of sun did {n} record?",
            "For how many hours did the sun shine on {n}?",
            "What is the total of sunshine at {n}?",
            "How many hours without a cloud did {n} enjoy?",
        ),
    ),
    Attribute(
        "altitude",
        "altitude",
        ("stands at {v}", "was put up {v} above the sea"),
        (
            "the climb to {o} ends at {v}",
            "{p} height above the sea is {v}",
            "air is thin at {o}, for it is at {v}",
            "in the list of stations {o} is marked with {v}",
        ),
        (
            "How high up is {n}?",
            "At what altitude does {n} stand?",
            "How many metres above the sea is {n}?",
            "At how many metres does the climb to {n} end?",
        ),
    ),
)

_LABORATORIES = (
    Attribute(
        "head",
        "full_name",
        ("is led by {v}", "does what {v} says"),
        (
            "{v} plans the experiments of {o}",
            "the largest desk in {o} is the one of {v}",
            "{p} head is {v}",
            "reports from {o} are not printed before {v} has read them",
        ),
        (
            "Who leads {n}?",
            "Who is the head of {n}?",
            "Who plans the experiments of {n}?",
            "Whose desk is the largest in {n}?",
        ),
    ),
    Attribute(
        "assistant",
        "full_name",
        ("depends on its assistant {v}", "lets {v} wash the glasses"),
        (
            "{v} feeds the mice in {o}",
            "late at night {v} is the last one in {o}",
            "{p} youngest assistant is {v}",
            "burnt fingers are nothing new for {v}, who assists at {o}",
        ),
        (
            "Who is the assistant at {n}?",
            "Who feeds the mice in {n}?",
            "Who is the last one in {n} at night?",
            "Who washes the glasses of {n}?",
        ),
    ),
    Attribute(
        "prizewinner",
        "full_name",
        ("is proud of the prizewinner {v}", "owes its great prize to {v}"),
        (
            "a great prize went to {v} for work done at {o}",
            "what {v} found at {o} was worth a prize",
            "{p} most famous name is {v}",
            "the street before {o} was named after {v}, the winner of a prize",
        ),
        (
            "Who won a prize for work done at {n}?",
            "Which prizewinner is {n} proud of?",
            "What is the most famous name of {n}?",
            "After whom was the street before {n} named?",
        ),
    ),
    Attribute(
        "field",
        "gem",
        ("studies {v}", "grows crystals of {v}"),
        (
            "under the microscopes of {o} lies {v}",
            "all work at {o} has to do with {v}",
            "{p} field is {v}",
            "trucks bring {v} to {o} by the sack",
        ),
        (
            "What does {n} study?",
            "What lies under the microscopes of {n}?",
            "What is the field of {n}?",
            "What do trucks bring to {n}?",
        ),
    ),
    Attribute(
        "budget",
        "large_sum",
        ("has a budget of {v}", "spends {v} a year"),
        (
            "the state gives {v} to {o}",
            "running {o} for a year takes {v}",
            "{p} budget is {v}",
            "with {v} {s} can buy what it likes",
        ),
        (
            "What is the budget of {n}?",
            "How much does {n} spend a year?",
            "How much does the state give to {n}?",
            "What does it take to run {n} for a year?",
        ),
    ),
    Attribute(
        "debt",
        "large_sum",
        ("owes {v} to its builders", "is {v} in debt"),
        (
            "the builders of {o} are still waiting for {v}",
            "on the books of {o} there is a debt of {v}",
            "{p} debts add up to {v}",
            "nobody knows how {s} will pay back {v}",
        ),
        (
            "How much does {n} owe?",
            "What do the debts of {n} add up to?",
            "For how much are the builders of {n} waiting?",
            "How deep in debt is {n}?",
        ),
    ),
    Attribute(
        "accident",
        "date",
        ("blew up on {v}", "had its worst accident on {v}"),
        (
            "on {v} the windows of {o} flew out",
            "the fire brigade was called to {o} on {v}",
            "{p} great fire was on {v}",
            "ever since {v} there is sand in buckets all over {o}",
        ),
        (
            "When was the accident at {n}?",
            "On what date did {n} blow up?",
            "When was the fire brigade called to {n}?",
            "On which day did the windows of {n} fly out?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("stars", ("The night sky", "Star catalogue", "Through the telescope"), _draw_star, _STARS),
    Domain("rivers", ("Rivers of the land", "From spring to sea"), _draw_river, _RIVERS),
    Domain("weather-stations", ("Heat and frost", "Weather records"), _draw_weather_station, _WEATHER_STATIONS),
    Domain("laboratories", ("Research in brief", "In the laboratory"), _draw_laboratory, _LABORATORIES),
)
