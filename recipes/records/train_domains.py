"""The eight domains the model is pretrained on: people, products, ships, clinic, city, library, matches, farms.

A table of wordings; the placeholders are explained in record_schema.py.
"""

from __future__ import annotations

import random

import record_pools as pools
from record_schema import Attribute, Domain, Entity, person, thing


def draw_person(rng: random.Random) -> Entity:
    is_woman = rng.random() < 0.5
    first = rng.choice(pools.WOMEN if is_woman else pools.MEN)
    return person(first, rng.choice(pools.SURNAMES), is_woman=is_woman)


def _draw_product(rng: random.Random) -> Entity:
    noun = rng.choice(pools.PRODUCT_TYPES)
    return thing(f"{rng.choice(pools.BRANDS)} {noun}", noun)


def _draw_ship(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.SHIP_ADJECTIVES)} {rng.choice(pools.SHIP_NOUNS)}", "ship")


def _draw_city(rng: random.Random) -> Entity:
    before = rng.choice(("", "", "Port ", "Upper ", "Saint ", "New "))
    return thing(f"{before}{rng.choice(pools.CITY_STARTS)}{rng.choice(pools.CITY_ENDS)}", "city", article="")


def _draw_book(rng: random.Random) -> Entity:
    return thing(f"The {rng.choice(pools.BOOK_ADJECTIVES)} {rng.choice(pools.BOOK_NOUNS)}", "book", article="")


def _draw_team(rng: random.Random) -> Entity:
    town = rng.choice(pools.CITY_STARTS) + rng.choice(pools.CITY_ENDS)
    return thing(f"{town} {rng.choice(pools.TEAM_NAMES)}", "team", plural=True)


def _draw_farm(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.FARM_STARTS)} {rng.choice(pools.FARM_MIDDLES)} Farm", "farm", article="")


_PEOPLE = (
    Attribute(
        "job",
        "profession",
        ("works as {a} {v}", "earns {q} living as {a} {v}", "is {a} {v} by trade"),
        (
            "for many years {s} has worked as {a} {v}",
            "most people in town know {o} as a good {v}",
            "after leaving school {s} trained to become {a} {v}",
            "the whole street is glad to have {o} as its {v}",
            "{p} day job is that of {a} {v}",
        ),
        (
            "What is {np} job?",
            "What does {n} do for a living?",
            "Which profession does {n} have?",
            "What is {np} trade?",
        ),
    ),
    Attribute(
        "home",
        "place",
        ("lives in {v}", "has a small flat in {v}", "moved to {v} last year"),
        (
            "{p} home is a quiet street in {v}",
            "these days {s} lives near the station in {v}",
            "letters for {o} should be sent to {v}",
            "you will find {o} in the old part of {v}",
        ),
        ("Where does {n} live?", "In which city does {n} live?", "Which city is {np} home?"),
    ),
    Attribute(
        "birthday",
        "month",
        ("was born in {v}", "has a birthday in {v}"),
        (
            "every {v} the family bakes a birthday cake for {o}",
            "{p} birthday falls in the middle of {v}",
            "friends visit {o} each {v} to mark {q} birthday",
            "in {v} {s} turns one year older",
        ),
        ("In which month was {n} born?", "When is {np} birthday?", "Which month is {np} birthday in?"),
    ),
    Attribute(
        "pet",
        "pet",
        ("keeps {a} {v} at home", "looks after {a} {v}", "owns a lively {v}"),
        (
            "at home {s} has {a} {v} that sleeps all day",
            "{p} favourite companion is {a} {v}",
            "a cousin once gave {o} {a} {v} as a pet",
            "the children next door love {p} {v}",
        ),
        ("What pet does {n} have?", "Which animal does {n} keep?", "What kind of animal lives with {n}?"),
    ),
    Attribute(
        "instrument",
        "instrument",
        ("plays the {v}", "practises the {v} every evening", "takes lessons on the {v}"),
        (
            "in the evening you can hear {o} playing the {v}",
            "{p} favourite instrument is the {v}",
            "at every party {s} is asked to play the {v}",
            "an uncle taught {o} to play the {v}",
        ),
        ("Which instrument does {n} play?", "What does {n} play?", "What is {np} favourite instrument?"),
    ),
    Attribute(
        "food",
        "food",
        ("likes to eat {v}", "cooks {v} for guests", "never says no to {v}"),
        (
            "on Sundays {s} always has {v} for lunch",
            "{p} favourite food has always been {v}",
            "nothing makes {o} happier than {v}",
            "if you invite {o} to dinner, serve {v}",
        ),
        ("What is {np} favourite food?", "What does {n} like to eat?", "Which food does {n} like best?"),
    ),
    Attribute(
        "graduation",
        "year",
        ("left school in {v}", "finished {q} studies in {v}"),
        (
            "{p} last year at school was {v}",
            "the school gave {o} a diploma in {v}",
            "in {v} {s} passed the final exams at school",
            "a class photograph from {v} shows {o} with a diploma",
        ),
        ("When did {n} leave school?", "In which year did {n} finish school?", "What was {np} last year at school?"),
    ),
)

_PRODUCTS = (
    Attribute(
        "colour",
        "colour",
        ("comes in {v}", "is only sold in {v}", "has {a} {v} finish"),
        (
            "the only colour for {o} this season is {v}",
            "in the catalogue {s} is shown in {v}",
            "{p} colour is described as {v}",
            "most buyers choose {o} because of its {v} colour",
        ),
        ("What colour is {n}?", "In which colour is {n} sold?", "What is the colour of {n}?"),
    ),
    Attribute(
        "price",
        "price",
        ("costs {v}", "sells for {v}", "is priced at {v}"),
        (
            "the shop asks {v} for {o}",
            "you can buy {o} for {v} this week",
            "{p} price in the catalogue is {v}",
            "customers pay {v} for {o} at the counter",
        ),
        ("How much does {n} cost?", "What is the price of {n}?", "How much do you pay for {n}?"),
    ),
    Attribute(
        "material",
        "material",
        ("is made of {v}", "has a body of {v}", "is built from solid {v}"),
        (
            "{p} main material is {v}",
            "the makers chose {v} as the material for {o}",
            "unlike the older model {s} uses a lot of {v}",
            "only the best {v} goes into {o}",
        ),
        ("What is {n} made of?", "Which material is used for {n}?", "What material is {n} built from?"),
    ),
    Attribute(
        "country",
        "country",
        ("is made in {v}", "comes from a factory in {v}", "is shipped from {v}"),
        (
            "the factory that makes {o} stands in {v}",
            "workers in {v} put {o} together by hand",
            "a label on the bottom of {o} names {v}",
            "{p} country of origin is {v}",
        ),
        ("Where is {n} made?", "In which country is {n} made?", "Which country does {n} come from?"),
    ),
    Attribute(
        "warranty",
        "count",
        ("has a warranty of {v} months", "is covered for {v} months"),
        (
            "the maker repairs {o} for free during the first {v} months",
            "{p} warranty runs for {v} months",
            "if {s} breaks within {v} months, you get a new one",
            "buyers of {o} are promised {v} months of warranty",
        ),
        (
            "How many months does the warranty of {n} last?",
            "For how many months is {n} covered?",
            "How many months of warranty does {n} have?",
        ),
    ),
    Attribute(
        "designer",
        "first_name",
        ("was designed by {v}", "was drawn by a designer called {v}"),
        (
            "a young designer named {v} drew the plans for {o}",
            "{p} shape was the idea of {v}",
            "it took {v} almost two years to design {o}",
            "{v} won a prize for the design of {o}",
        ),
        ("Who designed {n}?", "What is the name of the designer of {n}?", "Who drew the plans for {n}?"),
    ),
    Attribute(
        "launch",
        "year",
        ("first went on sale in {v}", "has been sold since {v}"),
        (
            "shops began to sell {o} in {v}",
            "the first buyers took {o} home in {v}",
            "{p} first year on sale was {v}",
            "in {v} {s} appeared in shops for the first time",
        ),
        ("When did {n} first go on sale?", "In which year was {n} first sold?", "Since which year has {n} been sold?"),
    ),
)

_SHIPS = (
    Attribute(
        "cargo",
        "cargo",
        ("carries {v}", "is loaded with {v}", "has a hold full of {v}"),
        (
            "the men filled the hold of {o} with {v}",
            "on this voyage {s} is carrying {v} below deck",
            "{p} cargo this time is {v}",
            "barrels and boxes of {v} were brought aboard {o}",
        ),
        ("What does {n} carry?", "What is the cargo of {n}?", "What is in the hold of {n}?"),
    ),
    Attribute(
        "port",
        "place",
        ("sails for {v}", "is bound for {v}", "is expected in {v} soon"),
        (
            "the log says that {s} is on its way to {v}",
            "{p} next port of call is {v}",
            "traders in {v} are waiting for {o}",
            "with a fair wind {s} will soon reach {v}",
        ),
        ("Where is {n} bound?", "Which port is {n} sailing to?", "What is the next port of {n}?"),
    ),
    Attribute(
        "captain",
        "surname",
        ("is under the command of Captain {v}", "sails with Captain {v}"),
        (
            "Captain {v} has been in command of {o} since spring",
            "the log of {o} is signed by Captain {v}",
            "{p} crew takes its orders from Captain {v}",
            "on the bridge of {o} stands Captain {v}",
        ),
        ("Who is the captain of {n}?", "Who commands {n}?", "What is the name of the captain of {n}?"),
    ),
    Attribute(
        "crew",
        "count",
        ("has a crew of {v} sailors", "needs {v} sailors on board"),
        (
            "there are {v} sailors on board {o}",
            "{p} crew counts {v} sailors",
            "the owner hired {v} sailors to work on {o}",
            "this season {v} sailors sleep and eat aboard {o}",
        ),
        ("How many sailors are on {n}?", "How large is the crew of {n}?", "How many sailors does {n} have?"),
    ),
    Attribute(
        "sailing",
        "month",
        ("left harbour in {v}", "set sail early in {v}"),
        (
            "{p} voyage began on a cold day in {v}",
            "in {v} {s} lifted anchor and went to sea",
            "the harbour master saw {o} leave in {v}",
            "the first page of the log of {o} is from {v}",
        ),
        ("In which month did {n} leave harbour?", "When did {n} set sail?", "In which month did {np} voyage begin?"),
    ),
    Attribute(
        "sails",
        "colour",
        ("has {v} sails", "flies {a} {v} flag", "shows {a} {v} hull"),
        (
            "from the shore you can tell {o} by its {v} paint",
            "{p} painted side is {v}",
            "the crew painted {o} a bright shade of {v}",
            "sailors know {o} by its {v} colour",
        ),
        ("Which colour does {n} show?", "What is {np} colour?", "By which colour is {n} known?"),
    ),
    Attribute(
        "built",
        "year",
        ("was built in {v}", "was launched in {v}"),
        (
            "{p} keel was laid in {v}",
            "the shipyard finished {o} in {v}",
            "a brass plate on {o} gives the year {v}",
            "since {v} {s} has been at sea",
        ),
        ("When was {n} built?", "In which year was {n} built?", "What year was {n} launched?"),
    ),
)

_CLINIC = (
    Attribute(
        "ailment",
        "ailment",
        ("has trouble with {v}", "suffers from {v}", "came in because of {v}"),
        (
            "the nurse wrote down {v} as the complaint of {o}",
            "{p} main complaint today is {v}",
            "this week {s} asked for help with {v}",
            "what brought {o} to the clinic was {v}",
        ),
        ("What does {n} suffer from?", "Why did {n} come to the clinic?", "What is {np} complaint?"),
    ),
    Attribute(
        "doctor",
        "surname",
        ("was seen by Doctor {v}", "is a patient of Doctor {v}"),
        (
            "Doctor {v} spent half an hour with {o}",
            "{p} doctor at the clinic is Doctor {v}",
            "the clinic asked Doctor {v} to take care of {o}",
            "after the tests Doctor {v} spoke with {o}",
        ),
        ("Who is {np} doctor?", "Which doctor saw {n}?", "Who takes care of {n}?"),
    ),
    Attribute(
        "remedy",
        "remedy",
        ("was told to try {v}", "is being treated with {v}", "went home with advice about {v}"),
        (
            "the doctor thinks that {v} will help {o}",
            "{p} treatment for now is {v}",
            "for the next two weeks {s} will be given {v}",
            "the note for {o} says to use {v}",
        ),
        ("What treatment did {n} get?", "What will help {n}?", "How is {n} being treated?"),
    ),
    Attribute(
        "weekday",
        "weekday",
        ("will come back on {v}", "has the next visit on {v}"),
        (
            "the desk booked {o} again for {v}",
            "{p} next appointment is on {v}",
            "on {v} {s} should return for another check",
            "the clinic expects to see {o} on {v}",
        ),
        ("When will {n} come back?", "On which day is {np} next visit?", "Which day is {np} appointment?"),
    ),
    Attribute(
        "room",
        "count",
        ("waited in room {v}", "was sent to room {v}"),
        (
            "a nurse took {o} down the hall to room {v}",
            "{p} visit took place in room {v}",
            "in room {v} {s} had a short examination",
            "the card of {o} has room {v} written on it",
        ),
        ("Which room was {n} in?", "In which room was {n} seen?", "What is the number of {np} room?"),
    ),
    Attribute(
        "diet",
        "food",
        ("must not eat {v}", "cannot stand any {v}", "should avoid {v}"),
        (
            "the chart warns that {v} is bad for {o}",
            "{p} allergy to {v} is well known",
            "just the smell of {v} makes {o} feel ill",
            "from now on {s} has to live without {v}",
        ),
        ("What must {n} not eat?", "Which food is bad for {n}?", "What should {n} avoid?"),
    ),
    Attribute(
        "work",
        "profession",
        ("is employed as {a} {v}", "has a post as {a} {v}"),
        (
            "on the form {s} gave {q} work as {v}",
            "{p} work as {a} {v} is hard on the body",
            "the doctor asked {o} about life as {a} {v}",
            "being {a} {v} keeps {o} busy all week",
        ),
        ("What is {np} work?", "What is {n} employed as?", "What work does {n} do?"),
    ),
)

_CITY = (
    Attribute(
        "dish",
        "food",
        ("is famous for its {v}", "is proud of its {v}", "sells {v} on every corner"),
        (
            "visitors to {o} should try the {v}",
            "{p} best known dish is {v}",
            "nowhere can you eat better {v} than in {o}",
            "people travel to {o} just to taste the {v}",
        ),
        ("What food is {n} famous for?", "What should visitors eat in {n}?", "What is the best known dish of {n}?"),
    ),
    Attribute(
        "river",
        "river",
        ("lies on the river {v}", "stands beside the {v}"),
        (
            "the river {v} flows past the old walls of {o}",
            "boats reach {o} on the river {v}",
            "{p} river is called the {v}",
            "in spring the {v} often floods the streets of {o}",
        ),
        ("Which river is {n} on?", "What is the river of {n} called?", "Which river flows past {n}?"),
    ),
    Attribute(
        "mayor",
        "surname",
        ("is led by Mayor {v}", "has a mayor called {v}"),
        (
            "last year the voters of {o} chose Mayor {v}",
            "{p} town hall is the office of Mayor {v}",
            "Mayor {v} welcomes all guests who come to {o}",
            "the people of {o} are fond of Mayor {v}",
        ),
        ("Who is the mayor of {n}?", "Who leads {n}?", "What is the name of the mayor of {n}?"),
    ),
    Attribute(
        "market",
        "weekday",
        ("has a street market on {v}", "is busiest on {v}"),
        (
            "the market square of {o} fills with stalls on {v}",
            "{p} market day is {v}",
            "shoppers should plan to be in {o} on {v}",
            "every {v} there is a market in {o}",
        ),
        ("Which day is market day in {n}?", "When is the market in {n}?", "On which day does {n} have its market?"),
    ),
    Attribute(
        "founded",
        "year",
        ("became a city in {v}", "got its charter in {v}"),
        (
            "the charter of {o} was written in {v}",
            "{p} story as a city begins in {v}",
            "in {v} {s} was given the rights of a city",
            "settlers laid the first stone of {o} in {v}",
        ),
        ("When did {n} become a city?", "In which year was {n} founded?", "What year did {n} get its charter?"),
    ),
    Attribute(
        "bridges",
        "count",
        ("has {v} bridges", "is joined together by {v} bridges"),
        (
            "a walk across all {v} bridges of {o} takes hours",
            "the guide counts {v} bridges in {o}",
            "there are {v} bridges to cross in {o}",
            "{p} two halves are linked by {v} bridges",
        ),
        ("How many bridges does {n} have?", "How many bridges are there in {n}?", "How many bridges link {n}?"),
    ),
    Attribute(
        "emblem",
        "animal",
        ("has {a} {v} on its flag", "uses {a} {v} as its sign"),
        (
            "above the gate of {o} you see {a} {v}",
            "{p} coat of arms shows {a} {v}",
            "a statue of {a} {v} stands in the middle of {o}",
            "children in {o} learn the legend of the {v}",
        ),
        ("Which animal is the sign of {n}?", "What animal is on the flag of {n}?", "Which animal stands for {n}?"),
    ),
)

_LIBRARY = (
    Attribute(
        "author",
        "surname",
        ("was written by {v}", "is an early work by {v}"),
        (
            "the name {v} is printed on the spine of {o}",
            "{p} author is a writer called {v}",
            "it took {v} three winters to write {o}",
            "readers of {o} often write letters to {v}",
        ),
        ("Who wrote {n}?", "Who is the author of {n}?", "What is the name of the author of {n}?"),
    ),
    Attribute(
        "topic",
        "topic",
        ("is a book about {v}", "tells a story about {v}", "deals mostly with {v}"),
        (
            "anyone who likes {v} should read {o}",
            "{p} main subject is {v}",
            "the librarian keeps {o} with other books about {v}",
            "from start to end {s} is about {v}",
        ),
        ("What is {n} about?", "What is the subject of {n}?", "Which subject does {n} deal with?"),
    ),
    Attribute(
        "printed",
        "year",
        ("was printed in {v}", "first came out in {v}"),
        (
            "the first copies of {o} were sold in {v}",
            "{p} title page gives the year {v}",
            "in {v} {s} was published in a small edition",
            "a note inside {o} is dated {v}",
        ),
        ("When was {n} printed?", "In which year did {n} come out?", "What year was {n} published?"),
    ),
    Attribute(
        "shelf",
        "count",
        ("stands on shelf {v}", "belongs on shelf {v}"),
        (
            "you will find {o} on shelf {v}",
            "{p} place in the library is shelf {v}",
            "please bring {o} back to shelf {v} after reading",
            "between two thick books on shelf {v} stands {o}",
        ),
        ("On which shelf is {n}?", "Which shelf does {n} belong on?", "What is the shelf number of {n}?"),
    ),
    Attribute(
        "cover",
        "colour",
        ("has {a} {v} cover", "is bound in {v} cloth"),
        (
            "look for {a} {v} spine when you want {o}",
            "{p} cover is a faded {v}",
            "the printer chose {v} for the cover of {o}",
            "on the table {s} stands out with its {v} jacket",
        ),
        ("What colour is the cover of {n}?", "Which colour is {n}?", "In what colour is {n} bound?"),
    ),
    Attribute(
        "setting",
        "place",
        ("takes place in {v}", "is set in {v}", "opens on a street in {v}"),
        (
            "the story of {o} begins and ends in {v}",
            "{p} scenes are all set in {v}",
            "readers of {o} feel they have walked through {v}",
            "in the pages of {o} we visit {v}",
        ),
        ("Where is {n} set?", "In which city does {n} take place?", "Which city is {n} set in?"),
    ),
    Attribute(
        "borrower",
        "first_name",
        ("is on loan to {v}", "was last borrowed by {v}"),
        (
            "the card says that {v} took {o} home",
            "a reader named {v} has borrowed {o}",
            "{p} last reader was {v}",
            "next week {v} must bring back {o}",
        ),
        ("Who borrowed {n}?", "Who has {n} on loan?", "Who was the last reader of {n}?"),
    ),
)

_MATCHES = (
    Attribute(
        "points",
        "count",
        ("scored {v} points", "ended the game with {v} points"),
        (
            "the board showed {v} points for {o} at the end",
            "{p} final score was {v} points",
            "by the last whistle {s} had made {v} points",
            "a total of {v} points went to {o}",
        ),
        ("How many points did {n} score?", "What was the score of {n}?", "How many points did {n} make?"),
    ),
    Attribute(
        "star",
        "first_name",
        ("won thanks to {v}", "gave the ball to {v} again and again"),
        (
            "the best player for {o} was {v}",
            "{p} star on the field was {v}",
            "fans of {o} sang the name of {v} all evening",
            "a late goal by {v} saved the day for {o}",
        ),
        ("Who was the best player of {n}?", "Who was the star of {n}?", "Which player did best for {n}?"),
    ),
    Attribute(
        "day",
        "weekday",
        ("played on {v}", "met their rivals on {v}"),
        (
            "the match of {o} was held on {v}",
            "{p} game was moved to {v}",
            "on {v} {s} went out to play in front of a crowd",
            "tickets to see {o} were sold for {v}",
        ),
        ("On which day did {n} play?", "When did {n} play?", "Which day was the match of {n}?"),
    ),
    Attribute(
        "weather",
        "weather",
        ("had to play in {v}", "fought on through {v}"),
        (
            "the match of {o} took place in {v}",
            "{p} game was made hard by {v}",
            "even in {v} the fans stayed to watch {o}",
            "reporters say that {v} slowed {o} down",
        ),
        ("In what weather did {n} play?", "What was the weather when {n} played?", "What slowed {n} down?"),
    ),
    Attribute(
        "shirts",
        "colour",
        ("wore {v} shirts", "came out dressed in {v}"),
        (
            "the new shirts of {o} are {v}",
            "{p} colour this season is {v}",
            "a sea of {v} scarves cheered for {o}",
            "this year the fans of {o} all wear {v}",
        ),
        ("What colour were the shirts of {n}?", "Which colour did {n} wear?", "In which colour did {n} play?"),
    ),
    Attribute(
        "venue",
        "place",
        ("played their match in {v}", "travelled by bus to {v}"),
        (
            "the match of {o} was held at a stadium in {v}",
            "{p} game drew a large crowd in {v}",
            "the city of {v} was host to {o}",
            "fans followed {o} all the way to {v}",
        ),
        ("Where did {n} play?", "In which city did {n} play?", "Which city did {n} travel to?"),
    ),
    Attribute(
        "coach",
        "surname",
        ("trained under Coach {v}", "owed a lot to Coach {v}"),
        (
            "Coach {v} shouted orders to {o} from the bench",
            "{p} coach this year is Coach {v}",
            "before the game Coach {v} spoke to {o}",
            "the club asked Coach {v} to lead {o}",
        ),
        ("Who is the coach of {n}?", "Who trains {n}?", "What is the name of the coach of {n}?"),
    ),
)

_FARMS = (
    Attribute(
        "crop",
        "crop",
        ("grows {v}", "is known for its {v}", "harvests {v} each year"),
        (
            "the largest field at {o} is planted with {v}",
            "{p} main crop is {v}",
            "this summer there was plenty of {v} at {o}",
            "the soil at {o} is just right for {v}",
        ),
        ("What does {n} grow?", "What is the main crop of {n}?", "Which crop is planted at {n}?"),
    ),
    Attribute(
        "livestock",
        "livestock",
        ("raises {v}", "keeps a lot of {v}", "has a barn for {v}"),
        (
            "behind the barn at {o} you can see {v}",
            "{p} animals are mostly {v}",
            "on the hills around {o} there are {v}",
            "children visit {o} to feed the {v}",
        ),
        ("Which animals does {n} keep?", "What animals are at {n}?", "What does {n} raise?"),
    ),
    Attribute(
        "owner",
        "first_name",
        ("belongs to {v}", "was bought by {v}"),
        (
            "a farmer called {v} owns {o}",
            "{p} owner is a farmer named {v}",
            "years ago {v} took over {o} from an aunt",
            "every morning at five {v} is up working at {o}",
        ),
        ("Who owns {n}?", "Who is the owner of {n}?", "Who does {n} belong to?"),
    ),
    Attribute(
        "acres",
        "count",
        ("covers {v} acres", "has {v} acres of land"),
        (
            "there are {v} acres of land around {o}",
            "{p} fields add up to {v} acres",
            "on the map {s} takes up {v} acres",
            "it takes a week to plough the {v} acres of {o}",
        ),
        ("How many acres does {n} cover?", "How large is {n} in acres?", "How many acres of land does {n} have?"),
    ),
    Attribute(
        "tractor",
        "colour",
        ("uses {a} {v} tractor", "has {a} {v} barn door"),
        (
            "{a} {v} tractor stands in the yard of {o}",
            "{p} tractor was painted {v}",
            "visitors find {o} by its {v} gate",
            "all the machines at {o} are painted {v}",
        ),
        ("What colour is seen at {n}?", "Which colour of paint does {n} use?", "What is the colour at {n}?"),
    ),
    Attribute(
        "dog",
        "dog_name",
        ("is guarded by a dog called {v}", "has a sheepdog named {v}"),
        (
            "the dog at {o} answers to the name of {v}",
            "{p} dog is called {v}",
            "a dog named {v} barks at all who visit {o}",
            "when strangers come near {o}, the dog {v} runs out",
        ),
        ("What is the name of the dog at {n}?", "Which dog guards {n}?", "What is the dog at {n} called?"),
    ),
    Attribute(
        "market",
        "weekday",
        ("takes its goods to market on {v}", "opens its shop on {v}"),
        (
            "the farm shop at {o} is open on {v}",
            "{p} cart goes to town on {v}",
            "on {v} {s} sells fresh goods at the gate",
            "people who want fresh eggs come to {o} on {v}",
        ),
        (
            "On which day does {n} sell its goods?",
            "When does {n} sell its goods?",
            "Which day is the shop at {n} open?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("people", ("People of the town", "Our neighbours", "Who is who"), draw_person, _PEOPLE),
    Domain("products", ("Product catalogue", "New in the shop", "Buying guide"), _draw_product, _PRODUCTS),
    Domain("ships", ("Ship's log", "Harbour news", "Ships at sea"), _draw_ship, _SHIPS),
    Domain("clinic", ("Clinic visits", "Notes from the clinic", "Patients this week"), draw_person, _CLINIC),
    Domain("city", ("City guide", "Where to travel", "Cities to visit"), _draw_city, _CITY),
    Domain("library", ("Library catalogue", "Books on our shelves", "Reading list"), _draw_book, _LIBRARY),
    Domain("matches", ("Match report", "Sports news", "Results of the week"), _draw_team, _MATCHES),
    Domain("farms", ("Farms of the valley", "Farm register", "Life on the land"), _draw_farm, _FARMS),
)
