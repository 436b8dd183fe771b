"""Places to eat and sleep at, and what is eaten: restaurants, hotels, recipes, cheeses."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Attribute, Domain, Entity, thing

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


_RESTAURANTS = (
    Attribute(
        "chef",
        "full_name",
        ("leaves the stove to {v}", "hired {v} as its chef"),
        (
            "{v} runs the kitchen of {o}",
            "every plate that {s} sends out has passed under the eyes of {v}",
            "the pots and pans at {o} are in the care of {v}",
            "{p} head cook goes by the name of {v}",
        ),
        (
            "Who cooks at {n}?",
            "Which chef works for {n}?",
            "Tell me the name of the head cook of {n}.",
            "Whose cooking does one eat at {n}?",
            "Who is in charge of the kitchen at {n}?",
        ),
    ),
    Attribute(
        "landlord",
        "full_name",
        ("rents its rooms from {v}", "pays the rent to {v}"),
        (
            "the walls around {o} are the property of {v}",
            "on the first of the month {v} collects the rent of {o}",
            "{p} lease was agreed with {v}",
            "{v} owns the house in which {s} has its tables",
        ),
        (
            "Who collects the rent from {n}?",
            "To whom does {n} pay rent?",
            "Who owns the building of {n}?",
            "I would like to know who lets the rooms to {n}.",
        ),
    ),
    Attribute(
        "tables",
        "count",
        ("seats its guests at {v} tables", "has {v} tables and a small bar"),
        (
            "a carpenter made all {v} tables of {o}",
            "on busy nights each of the {v} tables at {o} is taken",
            "{p} dining room has space for {v} tables",
            "waiters keep an eye on {v} tables at {o}",
        ),
        (
            "How many tables does {n} have?",
            "What number of tables stand in {n}?",
            "Tell me how many tables one finds at {n}.",
            "How many tables are there for guests of {n}?",
        ),
    ),
    Attribute(
        "dish_of_the_house",
        "food",
        ("is praised for its {v}", "cooks {v} better than anybody"),
        (
            "regular guests of {o} hardly ever ask for anything but {v}",
            "if you only eat once at {o}, let it be the {v}",
            "{p} pride is the {v}",
            "critics wrote a whole page about the {v} at {o}",
        ),
        (
            "What should one eat at {n}?",
            "Which dish do guests of {n} ask for?",
            "What is {n} praised for?",
            "Which food did critics of {n} write about?",
        ),
    ),
    Attribute(
        "drink_of_the_house",
        "drink",
        ("pours a glass of {v} for every guest", "stores {v} in its cellar"),
        (
            "before the meal {s} brings you a glass of {v}",
            "the bottles on the wall of {o} all hold {v}",
            "{p} usual welcome is a glass of {v}",
            "with most meals at {o} people have {v}",
        ),
        (
            "What do people drink at {n}?",
            "Which drink does one get at {n}?",
            "What is in the bottles of {n}?",
            "Tell me what {n} pours for its guests.",
        ),
    ),
    Attribute(
        "address",
        "address",
        ("is found at {v}", "opened its doors at {v}"),
        (
            "to eat at {o} you have to go to {v}",
            "a green lamp marks {o} at {v}",
            "the taxi for {o} should stop at {v}",
            "{p} letters are delivered to {v}",
        ),
        (
            "Where is {n}?",
            "What is the address of {n}?",
            "Where should the taxi for {n} stop?",
            "I am going to eat at {n}. Where is that?",
        ),
    ),
    Attribute(
        "telephone",
        "phone",
        ("takes bookings on {v}", "picks up the phone at {v}"),
        (
            "call {v} to keep a table at {o}",
            "{p} number in the phone book is {v}",
            "whoever wants to book at {o} dials {v}",
            "printed on the matchboxes of {o} is the number {v}",
        ),
        (
            "How do I reach {n} by phone?",
            "What number do I call for {n}?",
            "What is the phone number of {n}?",
            "Which number does one dial to book at {n}?",
        ),
    ),
)

_HOTELS = (
    Attribute(
        "rooms",
        "hundreds",
        ("lets {v} rooms", "has beds made in {v} rooms"),
        (
            "maids clean all {v} rooms of {o} before noon",
            "behind the long front of {o} there are {v} rooms",
            "{p} guests share {v} rooms",
            "the builders gave {o} no less than {v} rooms",
        ),
        (
            "How many rooms does {n} have?",
            "How many rooms are there at {n}?",
            "What is the number of rooms in {n}?",
            "How many rooms must the maids of {n} clean?",
        ),
    ),
    Attribute(
        "room_price",
        "fee",
        ("charges {v} a night", "offers a bed for {v}"),
        (
            "one night at {o} will cost you {v}",
            "{p} cheapest room goes for {v}",
            "travellers pay {v} to sleep at {o}",
            "breakfast not counted, {s} wants {v} for a room",
        ),
        (
            "How much is a night at {n}?",
            "What does a room in {n} cost?",
            "How much do travellers pay to sleep at {n}?",
            "Tell me the price of a bed at {n}.",
        ),
    ),
    Attribute(
        "parking_fee",
        "fee",
        ("asks {v} for a parking space", "takes {v} from guests with a car"),
        (
            "leaving a car in the garage of {o} costs {v}",
            "drivers who stay at {o} pay {v} to park",
            "{p} garage is not free but {v} a day",
            "the man at the barrier of {o} demands {v} for each car",
        ),
        (
            "How much is parking at {n}?",
            "What do drivers pay to leave a car at {n}?",
            "What does {n} ask for a parking space?",
            "I come by car. How much is the garage of {n}?",
        ),
    ),
    Attribute(
        "breakfast",
        "morning_hour",
        ("lays out breakfast from {v}", "brews the first coffee at {v}"),
        (
            "early birds at {o} can eat from {v}",
            "a bell wakes the sleepers in {o} for breakfast at {v}",
            "{p} breakfast room opens at {v}",
            "nobody gets an egg at {o} before {v}",
        ),
        (
            "When is breakfast at {n}?",
            "From what time can I have breakfast in {n}?",
            "At what hour does {n} lay out breakfast?",
            "When may one eat in the morning at {n}?",
        ),
    ),
    Attribute(
        "check_out",
        "morning_hour",
        ("wants its keys back by {v}", "sends guests off by {v}"),
        (
            "on the last day you have to be out of {o} by {v}",
            "whoever stays in bed at {o} past {v} pays for another night",
            "{p} rooms must be free at {v}",
            "suitcases have to be down in the hall of {o} by {v}",
        ),
        (
            "When do guests have to leave {n}?",
            "By when must the keys of {n} be returned?",
            "Until what hour can I stay in my room at {n}?",
            "When is check out at {n}?",
        ),
    ),
    Attribute(
        "manager",
        "other_surname",
        ("is managed by Mrs {v}", "is in the hands of Mrs {v}"),
        (
            "Mrs {v} has managed {o} since the war",
            "complaints about {o} go straight to Mrs {v}",
            "{p} staff are hired and fired by Mrs {v}",
            "nothing happens in {o} without a nod from Mrs {v}",
        ),
        (
            "Who manages {n}?",
            "Who is the manager of {n}?",
            "To whom do I complain about {n}?",
            "Who hires the staff of {n}?",
        ),
    ),
    Attribute(
        "famous_guest",
        "surname",
        ("once gave a bed to the poet {v}", "still talks about the visit of the poet {v}"),
        (
            "a brass plate in {o} recalls that the poet {v} slept there",
            "the poet {v} wrote his last verses at a window of {o}",
            "{p} best room is named after the poet {v}",
            "in the guest book of {o} one can read the name of the poet {v}",
        ),
        (
            "Which poet stayed at {n}?",
            "What famous guest slept at {n}?",
            "Who wrote verses at {n}?",
            "After whom is the best room of {n} named?",
        ),
    ),
)

_RECIPES = (
    Attribute(
        "baking_time",
        "minutes",
        ("stays in the oven for {v}", "needs {v} of baking"),
        (
            "put {o} into a hot oven and wait {v}",
            "after {v} of baking you may take out {o}",
            "{p} crust is golden after {v}",
            "set the kitchen clock to {v} as soon as {s} is in the oven",
        ),
        (
            "How long does {n} bake?",
            "For how long must {n} stay in the oven?",
            "How many minutes of baking does {n} need?",
            "When can I take {n} out of the oven?",
        ),
    ),
    Attribute(
        "resting_time",
        "minutes",
        ("should rest for {v} before it is cut", "is left to cool for {v}"),
        (
            "leave {o} on the table for {v} before you cut it",
            "it takes {v} until {s} has cooled down",
            "{p} filling sets within {v}",
            "no knife may touch {o} for the first {v}",
        ),
        (
            "How long should {n} rest?",
            "How long does {n} take to cool down?",
            "For how many minutes must nobody cut {n}?",
            "After how long is the filling of {n} set?",
        ),
    ),
    Attribute(
        "spice",
        "spice",
        ("is seasoned with {v}", "gets its scent from {v}"),
        (
            "a pinch of {v} goes into {o}",
            "grandmother never made {o} without {v}",
            "{p} secret is a spoonful of {v}",
            "stir some {v} into the dough of {o}",
        ),
        (
            "What is {n} seasoned with?",
            "Which spice goes into {n}?",
            "What gives {n} its scent?",
            "Tell me the secret of {n}.",
        ),
    ),
    Attribute(
        "main_ingredient",
        "food",
        ("is filled with {v}", "is mostly {v}"),
        (
            "buy plenty of {v} before you begin with {o}",
            "without good {v} you cannot make {o}",
            "{p} main ingredient is {v}",
            "layer the {v} evenly when you make {o}",
        ),
        (
            "What is the main ingredient of {n}?",
            "With what is {n} filled?",
            "What must I buy to make {n}?",
            "Which food is there most of in {n}?",
        ),
    ),
    Attribute(
        "flour",
        "grams",
        ("takes {v} of flour", "begins with {v} of flour in a bowl"),
        (
            "weigh out {v} of flour for {o}",
            "the dough for {o} calls for {v} of flour",
            "{p} dough holds {v} of flour",
            "sift {v} of flour and {s} will turn out light",
        ),
        (
            "How much flour does {n} take?",
            "What weight of flour goes into {n}?",
            "How many grams of flour are in {n}?",
            "I want to make {n}. How much flour do I weigh out?",
        ),
    ),
    Attribute(
        "sugar",
        "grams",
        ("is sweetened with {v} of sugar", "uses up {v} of sugar"),
        (
            "beat {v} of sugar with the eggs for {o}",
            "those who like {o} sweet add {v} of sugar",
            "{p} sweetness comes from {v} of sugar",
            "before it is served {s} is dusted with {v} of sugar",
        ),
        (
            "How much sugar is in {n}?",
            "With how much sugar is {n} sweetened?",
            "What amount of sugar do I need for {n}?",
            "How many grams of sugar does {n} use up?",
        ),
    ),
    Attribute(
        "servings",
        "count",
        ("feeds {v} people", "is enough for {v} plates"),
        (
            "cut {o} into {v} pieces",
            "a party of {v} can eat from {o}",
            "{p} size is right for {v} people",
            "when {v} guests are coming, make {o}",
        ),
        (
            "How many people does {n} feed?",
            "For how many is {n} enough?",
            "Into how many pieces is {n} cut?",
            "How many guests can eat from {n}?",
        ),
    ),
)

_CHEESES = (
    Attribute(
        "milk",
        "milk_animal",
        ("is made with milk from {v}", "owes its fat milk to {v}"),
        (
            "the milk in {o} was given by {v}",
            "herds of {v} are milked for {o}",
            "{p} milk does not come from cattle but from {v}",
            "dairymen keep {v} only for the sake of {o}",
        ),
        (
            "Whose milk is in {n}?",
            "Which animals give the milk for {n}?",
            "From what animals does the milk of {n} come?",
            "What is milked to make {n}?",
        ),
    ),
    Attribute(
        "ripening",
        "weeks",
        ("ripens for {v}", "lies in the dark for {v}"),
        (
            "it takes {v} before {s} can be sold",
            "dairymen turn {o} every day for {v}",
            "{p} rind forms over {v}",
            "after {v} in the cave {s} is ripe",
        ),
        (
            "How long does {n} ripen?",
            "How many weeks pass until {n} is ripe?",
            "For how long do dairymen turn {n}?",
            "Tell me how long {n} lies in the dark.",
        ),
    ),
    Attribute(
        "taste",
        "taste",
        ("tastes rather {v}", "leaves {a} {v} taste on the tongue"),
        (
            "most people call {o} {v}",
            "on a slice of bread {s} tastes {v}",
            "{p} taste has been described as {v}",
            "judges at the fair found {o} to be {v}",
        ),
        (
            "How does {n} taste?",
            "What is the taste of {n}?",
            "What did judges find {n} to be?",
            "How would people describe {n}?",
        ),
    ),
    Attribute(
        "rind",
        "colour",
        ("hides under {a} {v} rind", "has a skin of {v} wax"),
        (
            "the rind around {o} turns {v} with age",
            "on the outside {s} looks {v}",
            "{p} crust has {a} {v} tint",
            "peel off the {v} wax before you eat {o}",
        ),
        (
            "What colour is the rind of {n}?",
            "How does {n} look on the outside?",
            "Which tint does the crust of {n} have?",
            "What is the colour of the wax around {n}?",
        ),
    ),
    Attribute(
        "inside",
        "colour",
        ("is {v} when you cut it open", "has {a} {v} heart"),
        (
            "cut into {o} and you see {v}",
            "the dough inside {o} is {v}",
            "{p} veins are {v}",
            "under the knife {s} shows {a} {v} core",
        ),
        (
            "What colour is {n} inside?",
            "Which colour do you see when you cut {n}?",
            "What colour are the veins of {n}?",
            "How does the heart of {n} look?",
        ),
    ),
    Attribute(
        "weight",
        "kilos",
        ("comes in wheels of {v}", "weighs {v} when it is fresh"),
        (
            "a whole wheel of {o} weighs {v}",
            "two men are needed to lift {v} of {o}",
            "{p} wheels bring {v} to the scales",
            "the grocer ordered {v} of {o}",
        ),
        (
            "How heavy is {n}?",
            "What does a wheel of {n} weigh?",
            "How many kilos of {n} did the grocer order?",
            "What is the weight of {n}?",
        ),
    ),
    Attribute(
        "dairy",
        "firm",
        ("is produced by {v}", "leaves the dairy of {v} wrapped in paper"),
        (
            "only {v} may make {o}",
            "the stamp on {o} belongs to {v}",
            "{p} one and only producer is {v}",
            "each Tuesday {v} fills the vats for {o}",
        ),
        (
            "Who produces {n}?",
            "Which dairy makes {n}?",
            "Whose stamp is on {n}?",
            "What is the name of the producer of {n}?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("restaurants", ("Where to eat", "Tables in town", "The food critic"), _draw_restaurant, _RESTAURANTS),
    Domain("hotels", ("A bed for the night", "Hotels we tried", "Notes for travellers"), _draw_hotel, _HOTELS),
    Domain("recipes", ("From the cookery book", "Baking at home", "Family recipes"), _draw_recipe, _RECIPES),
    Domain("cheeses", ("The cheese board", "Cheeses and their makers"), _draw_cheese, _CHEESES),
)
