"""What grows, stands and lives outdoors: mountains, horses, gardens."""

from __future__ import annotations

import random

import composed_pools
import record_pools as pools
from record_schema import Attribute, Domain, Entity, thing

from more_domains import name_parts


def _draw_mountain(rng: random.Random) -> Entity:
    first = "".join(rng.choice(part) for part in name_parts.PEAK_SYLLABLES)
    return thing(rng.choice((f"Mount {first}", f"{first} Peak", f"{first} Horn")), "mountain", article="")


def _draw_horse(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(name_parts.ADJECTIVES)} {rng.choice(name_parts.HORSES)}", "horse", article="")


def _draw_garden(rng: random.Random) -> Entity:
    start = rng.choice((rng.choice(composed_pools.OTHER_TOWNS), rng.choice(pools.FIRST_NAMES)))
    return thing(f"{start} {rng.choice(name_parts.GARDENS)}", "garden")


_MOUNTAINS = (
    Attribute(
        "height",
        "altitude",
        ("is {v} high", "rises {v} above the sea"),
        (
            "climbers on top of {o} stand at {v}",
            "surveyors measured {o} and wrote down {v}",
            "{p} summit lies at {v}",
            "the map puts {v} beside the name of {o}",
        ),
        (
            "How high is {n}?",
            "What is the height of {n}?",
            "At how many metres is the summit of {n}?",
            "How far above the sea does {n} rise?",
        ),
    ),
    Attribute(
        "hut",
        "altitude",
        ("has a hut at {v}", "offers climbers a bed at {v}"),
        (
            "the hut on {o} was built at {v}",
            "halfway up {o}, at {v}, there is hot soup in a hut",
            "{p} shelter stands at {v}",
            "tired climbers on {o} sleep at {v}",
        ),
        (
            "How high up is the hut on {n}?",
            "At what altitude can climbers of {n} sleep?",
            "At which height is the shelter of {n}?",
            "Where on {n} is there hot soup, at how many metres?",
        ),
    ),
    Attribute(
        "first_climber",
        "full_name",
        ("was first climbed by {v}", "gave in to {v} after many attempts"),
        (
            "{v} was the first to stand on {o}",
            "a cross on top of {o} bears the name of {v}",
            "{p} first ascent was made by {v}",
            "nobody had set foot on {o} until {v} came",
        ),
        (
            "Who climbed {n} first?",
            "Who was the first to stand on {n}?",
            "Whose name is on the cross on {n}?",
            "Tell me who made the first ascent of {n}.",
        ),
    ),
    Attribute(
        "guide",
        "full_name",
        ("is best climbed with {v}", "is known to {v} like no other guide"),
        (
            "{v} leads visitors up {o}",
            "if you need a guide for {o}, ask {v}",
            "{p} only guide is {v}",
            "three times a week {v} ties a rope and goes up {o}",
        ),
        (
            "Who guides visitors up {n}?",
            "Which guide knows {n} best?",
            "Whom should I ask to lead me up {n}?",
            "Who is the guide for {n}?",
        ),
    ),
    Attribute(
        "first_ascent",
        "any_year",
        ("was conquered in {v}", "saw its first flag in {v}"),
        (
            "until {v} no one had reached the top of {o}",
            "in {v} {s} was climbed at last",
            "{p} conquest came in {v}",
            "the oldest flag on {o} was left there in {v}",
        ),
        (
            "When was {n} conquered?",
            "In which year was the top of {n} reached?",
            "From which year is the oldest flag on {n}?",
            "Since what year do people climb {n}?",
        ),
    ),
    Attribute(
        "gemstone",
        "gem",
        ("is searched for {v}", "has veins of {v}"),
        (
            "people with hammers look for {v} on {o}",
            "after rain you find {v} at the foot of {o}",
            "{p} rocks hide {v}",
            "the stream below {o} carries {v}",
        ),
        (
            "Which stones are found on {n}?",
            "What do people with hammers look for on {n}?",
            "What do the rocks of {n} hide?",
            "Which gem comes from {n}?",
        ),
    ),
    Attribute(
        "village",
        "other_town",
        ("looks down on {v}", "throws its shadow on {v}"),
        (
            "the path up {o} begins in {v}",
            "snow from {o} once buried {v}",
            "{p} foot reaches as far as {v}",
            "people in {v} see {o} from their beds",
        ),
        (
            "Which village lies below {n}?",
            "Where does the path up {n} begin?",
            "From what village does one see {n}?",
            "On which village does {n} look down?",
        ),
    ),
)

_HORSES = (
    Attribute(
        "rider",
        "full_name",
        ("is ridden by {v}", "carries {v} on its back"),
        (
            "{v} rides {o} in every race",
            "the man or woman in the saddle of {o} is {v}",
            "{p} jockey is {v}",
            "nobody but {v} stays on {o} for long",
        ),
        (
            "Who rides {n}?",
            "Who is the jockey of {n}?",
            "Who is in the saddle of {n}?",
            "Tell me who {n} carries.",
        ),
    ),
    Attribute(
        "owner",
        "full_name",
        ("belongs to {v}", "was bought as a foal by {v}"),
        (
            "{v} owns {o} and pays for the hay",
            "the prize money of {o} ends up with {v}",
            "{p} owner is {v}",
            "at an auction {v} paid too much for {o}",
        ),
        (
            "Who owns {n}?",
            "To whom does {n} belong?",
            "Whose horse is {n}?",
            "Who pays for the hay of {n}?",
        ),
    ),
    Attribute(
        "coat",
        "shade",
        ("has a coat that is {v}", "is {v} from head to tail"),
        (
            "brush {o} well and the coat shines {v}",
            "you know {o} by its {v} coat",
            "{p} hair is {v}",
            "born black, {s} later turned {v}",
        ),
        (
            "What colour is {n}?",
            "What is the colour of the coat of {n}?",
            "Which shade does {n} have?",
            "How does the coat of {n} look?",
        ),
    ),
    Attribute(
        "blanket",
        "shade",
        ("wears {a} {v} blanket", "runs under {a} {v} cloth"),
        (
            "the stable boy throws {a} {v} blanket over {o}",
            "from the stands you see {o} under {a} {v} blanket",
            "{p} blanket was dyed {v}",
            "on cold days {s} gets a blanket, {v} like the others in its stable",
        ),
        (
            "What colour is the blanket of {n}?",
            "What kind of blanket does {n} wear?",
            "Under which colour of cloth does {n} run?",
            "How was the blanket of {n} dyed?",
        ),
    ),
    Attribute(
        "birth",
        "date",
        ("was born on {v}", "saw the light of a stable on {v}"),
        (
            "the mare gave birth to {o} on {v}",
            "on {v} {s} stood on thin legs for the first time",
            "{p} birth was noted on {v}",
            "a vet signed the papers of {o} on {v}, the day it was born",
        ),
        (
            "When was {n} born?",
            "On what date was {n} born?",
            "What is the birthday of {n}?",
            "When did the mare give birth to {n}?",
        ),
    ),
    Attribute(
        "races_won",
        "count",
        ("won {v} races", "came in first {v} times"),
        (
            "{p} cups stand for {v} victories",
            "in {v} races no other horse could follow {o}",
            "so far {s} has {v} wins to its name",
            "gamblers thank {o} for {v} wins",
        ),
        (
            "How many races did {n} win?",
            "How often did {n} come in first?",
            "What number of victories has {n}?",
            "How many wins do gamblers thank {n} for?",
        ),
    ),
    Attribute(
        "temper",
        "mood",
        ("is said to be {v}", "grows {v} when strangers come near"),
        (
            "everyone in the stable finds {o} {v}",
            "by nature {s} is rather {v}",
            "{p} temper can only be called {v}",
            "do not be surprised to find {o} a little {v}",
        ),
        (
            "What temper does {n} have?",
            "How does the stable find {n}?",
            "What is {n} like by nature?",
            "How would you call the temper of {n}?",
        ),
    ),
)

_GARDENS = (
    Attribute(
        "flower",
        "flower",
        ("is full of {v} in spring", "smells of {v} from the gate on"),
        (
            "people come to {o} when the {v} are out",
            "bees fly to {o} because of the {v}",
            "{p} beds are planted with {v}",
            "no other garden has so many {v} as {o}",
        ),
        (
            "Which flowers grow in {n}?",
            "What flowers do people come to see in {n}?",
            "What is planted in the beds of {n}?",
            "Of which flowers does {n} smell?",
        ),
    ),
    Attribute(
        "border",
        "flower",
        ("has a border of {v} along the path", "is edged with {v}"),
        (
            "along the path through {o} grow {v}",
            "a row of {v} runs around {o}",
            "{p} edge was planted with {v}",
            "step over the {v} at the border of {o} with care",
        ),
        (
            "Which flowers are at the border of {n}?",
            "What grows along the path in {n}?",
            "With which flowers is {n} edged?",
            "What runs around {n} in a row?",
        ),
    ),
    Attribute(
        "tree",
        "tree",
        ("grew up around {a} {v}", "gives shade under a large {v}"),
        (
            "the oldest tree in {o} is {a} {v}",
            "lightning once struck the {v} in {o}",
            "{p} benches stand under {a} {v}",
            "lovers carve their names into the {v} of {o}",
        ),
        (
            "What kind of tree stands in {n}?",
            "Which tree gives shade in {n}?",
            "What sort of tree is the oldest in {n}?",
            "Under which tree are the benches of {n}?",
        ),
    ),
    Attribute(
        "gardener",
        "full_name",
        ("is looked after by {v}", "is watered each evening by {v}"),
        (
            "{v} weeds the beds of {o}",
            "with rake and hose {v} cares for {o}",
            "{p} gardener is {v}",
            "the roses and hedges of {o} are cut by {v}",
        ),
        (
            "Who looks after {n}?",
            "Who is the gardener of {n}?",
            "Who waters {n}?",
            "By whom are the hedges of {n} cut?",
        ),
    ),
    Attribute(
        "planner",
        "full_name",
        ("was laid out by {v}", "follows an old plan by {v}"),
        (
            "{v} drew the paths and ponds of {o}",
            "the plan of {o} was made by {v}",
            "{p} lawns are where {v} wanted them",
            "long ago {v} turned a swamp into {o}",
        ),
        (
            "Who laid out {n}?",
            "Who made the plan of {n}?",
            "Whose plan does {n} follow?",
            "Who drew the paths of {n}?",
        ),
    ),
    Attribute(
        "size",
        "hectares",
        ("stretches over {v}", "takes up {v} of good soil"),
        (
            "the fence around {o} encloses {v}",
            "{p} lawns and woods make up {v}",
            "the gardeners of {o} have {v} to mow",
            "with its {v} {s} is no small place",
        ),
        (
            "How large is {n}?",
            "How many hectares does {n} stretch over?",
            "What is the size of {n}?",
            "How much land does the fence of {n} enclose?",
        ),
    ),
    Attribute(
        "closing_time",
        "evening_hour",
        ("locks its gate at {v}", "is open until {v}"),
        (
            "a bell in {o} calls the visitors out at {v}",
            "whoever is still in {o} after {v} has to climb the wall",
            "{p} gate falls shut at {v}",
            "the guard walks once around {o} and at {v} turns the key",
        ),
        (
            "When does {n} close?",
            "At what hour is the gate of {n} locked?",
            "Until when can I stay in {n}?",
            "When does the bell of {n} call the visitors out?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("mountains", ("Peaks and their stories", "For climbers", "Mountain guide"), _draw_mountain, _MOUNTAINS),
    Domain("horses", ("At the races", "Horses of the stable", "Racing card"), _draw_horse, _HORSES),
    Domain("gardens", ("Parks and gardens", "Over the garden wall"), _draw_garden, _GARDENS),
)
