"""What is played, sung and acted: songs, orchestras, plays."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Attribute, Domain, Entity, thing

from more_domains import name_parts


def _draw_song(rng: random.Random) -> Entity:
    verb, noun = rng.choice(name_parts.SONG_VERBS), rng.choice(name_parts.SONG_NOUNS)
    return thing(f"{verb} the {rng.choice(name_parts.SONG_ADJECTIVES)} {noun}", "song", article="")


def _draw_orchestra(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} {rng.choice(name_parts.ENSEMBLES)}", "orchestra")


def _draw_play(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(name_parts.ROLES)} in the {rng.choice(name_parts.ROOMS)}", "play", article="")


_SONGS = (
    Attribute(
        "composer",
        "full_name",
        ("was composed by {v}", "came into the head of {v} on a bicycle"),
        (
            "{v} wrote the tune of {o}",
            "the melody of {o} is due to {v}",
            "{p} notes were put on paper by {v}",
            "it was {v} who found the tune for {o}",
        ),
        (
            "Who composed {n}?",
            "Who wrote the tune of {n}?",
            "Whose melody is {n}?",
            "Tell me who put the notes of {n} on paper.",
            "To whom do we owe the melody of {n}?",
        ),
    ),
    Attribute(
        "lyricist",
        "full_name",
        ("takes its words from {v}", "has verses by {v}"),
        (
            "{v} wrote the verses of {o}",
            "the words of {o} come from the pen of {v}",
            "{p} rhymes are the work of {v}",
            "asked for some verses, {v} finished {o} in a night",
        ),
        (
            "Who wrote the words of {n}?",
            "Whose verses does one hear in {n}?",
            "Who made the rhymes for {n}?",
            "I would like to know who wrote the verses of {n}.",
        ),
    ),
    Attribute(
        "singer",
        "full_name",
        ("was first sung by {v}", "became famous with the voice of {v}"),
        (
            "{v} sang {o} on the radio before anyone else",
            "on the record one hears {v} singing {o}",
            "{p} first singer was {v}",
            "without the warm voice of {v} nobody would recall {o}",
        ),
        (
            "Who sang {n} first?",
            "Whose voice made {n} famous?",
            "Who is heard singing {n} on the record?",
            "What is the name of the singer of {n}?",
        ),
    ),
    Attribute(
        "length",
        "minutes",
        ("lasts {v}", "is over after {v}"),
        (
            "singing all verses of {o} takes {v}",
            "on the record {s} runs for {v}",
            "{p} full length is {v}",
            "a radio host has to keep {v} free for {o}",
        ),
        (
            "How long is {n}?",
            "How long does {n} last?",
            "How many minutes does it take to sing {n}?",
            "After how long is {n} over?",
        ),
    ),
    Attribute(
        "solo",
        "instrument",
        ("opens with a solo on the {v}", "lets the {v} have the last word"),
        (
            "in the middle of {o} everyone is silent but the {v}",
            "a lonely {v} starts off {o}",
            "{p} most beautiful bars belong to the {v}",
            "you cannot perform {o} without a good {v}",
        ),
        (
            "Which instrument has the solo in {n}?",
            "What instrument does one need to perform {n}?",
            "On what is the solo of {n} played?",
            "Which instrument starts off {n}?",
        ),
    ),
    Attribute(
        "release_date",
        "date",
        ("was released on {v}", "reached the record shops on {v}"),
        (
            "the radio played {o} for the first time on {v}",
            "fans queued to buy {o} on {v}",
            "{p} release was fixed for {v}",
            "on {v} {s} came out on a small black record",
        ),
        (
            "When was {n} released?",
            "On what day did {n} reach the shops?",
            "Since when can one buy {n}?",
            "Tell me the date on which {n} came out.",
        ),
    ),
    Attribute(
        "language",
        "language",
        ("is sung in {v}", "has a refrain in {v}"),
        (
            "to sing {o} you must know some {v}",
            "the words of {o} are {v}",
            "{p} lyrics were written in {v}",
            "children who speak {v} learn {o} by heart",
        ),
        (
            "In which language is {n} sung?",
            "What language are the words of {n}?",
            "Which language must I know to sing {n}?",
            "What tongue do singers of {n} use?",
        ),
    ),
)

_ORCHESTRAS = (
    Attribute(
        "conductor",
        "full_name",
        ("is conducted by {v}", "follows the baton of {v}"),
        (
            "{v} has conducted {o} for ten seasons",
            "all eyes in {o} are on the hands of {v}",
            "{p} baton was handed over to {v}",
            "when {v} lifts a finger, {s} begins",
        ),
        (
            "Who conducts {n}?",
            "Who is the conductor of {n}?",
            "Whose baton does {n} follow?",
            "Tell me who stands in front of {n}.",
        ),
    ),
    Attribute(
        "first_violin",
        "full_name",
        ("has {v} as its first violin", "gave the chair of the first violin to {v}"),
        (
            "among the violins of {o} {v} sits in front",
            "{v} leads the strings of {o}",
            "{p} strings take their cue from {v}",
            "the solos for violin in {o} go to {v}",
        ),
        (
            "Who plays the first violin in {n}?",
            "Who leads the strings of {n}?",
            "Which violinist sits in front in {n}?",
            "To whom do the violin solos of {n} go?",
        ),
    ),
    Attribute(
        "patron",
        "firm",
        ("is paid for by {v}", "could not live without money from {v}"),
        (
            "{v} pays the wages of {o}",
            "in the programme of {o} a whole page thanks {v}",
            "{p} deficit is covered each year by {v}",
            "cheques from {v} keep {o} alive",
        ),
        (
            "Who pays for {n}?",
            "Which firm gives money to {n}?",
            "Whose cheques keep {n} alive?",
            "Who covers the deficit of {n}?",
        ),
    ),
    Attribute(
        "players",
        "count",
        ("consists of {v} players", "fills the stage with {v} players"),
        (
            "there are {v} men and women playing in {o}",
            "the bus of {o} has to carry {v} players",
            "{p} payroll lists {v} players",
            "on a full evening {s} brings {v} players",
        ),
        (
            "How many players does {n} have?",
            "Of how many players does {n} consist?",
            "How many people play in {n}?",
            "How large is {n}?",
        ),
    ),
    Attribute(
        "concerts",
        "hundreds",
        ("gave {v} concerts so far", "has {v} concerts behind it"),
        (
            "since it was founded {s} has been heard in {v} concerts",
            "{p} list of concerts has grown to {v}",
            "a loyal fan counted {v} concerts by {o}",
            "by last night {s} had performed {v} times",
        ),
        (
            "How many concerts did {n} give?",
            "What number of concerts has {n} behind it?",
            "How often has {n} performed?",
            "How many times could one hear {n}?",
        ),
    ),
    Attribute(
        "hall",
        "street",
        ("rehearses in a hall in {v}", "makes its noise behind a door in {v}"),
        (
            "neighbours in {v} hear {o} practise every morning",
            "the old cinema in {v} is where {s} rehearses",
            "{p} practice hall is in {v}",
            "passing through {v} you may catch a few notes of {o}",
        ),
        (
            "Where does {n} rehearse?",
            "In which street does {n} practise?",
            "Where is the practice hall of {n}?",
            "Which neighbours hear {n} every morning, those of what street?",
        ),
    ),
    Attribute(
        "country_of_the_tour",
        "country",
        ("is on tour through {v}", "packed its trunks for {v}"),
        (
            "music lovers in {v} are looking forward to {o}",
            "this autumn {s} is going to {v}",
            "{p} tour leads across {v}",
            "a promoter from {v} has invited {o}",
        ),
        (
            "Which country does {n} tour?",
            "Where is {n} going on tour?",
            "From which country was {n} invited?",
            "Through what country does the tour of {n} lead?",
        ),
    ),
)

_PLAYS = (
    Attribute(
        "playwright",
        "full_name",
        ("was written for the stage by {v}", "is a comedy by {v}"),
        (
            "{v} wrote {o} in six weeks",
            "the script of {o} bears the name of {v}",
            "{p} dialogues are by {v}",
            "it was the young {v} who thought up {o}",
        ),
        (
            "Who wrote {n}?",
            "Whose play is {n}?",
            "Which playwright thought up {n}?",
            "Tell me who wrote the script of {n}.",
        ),
    ),
    Attribute(
        "director",
        "full_name",
        ("is directed by {v}", "was brought to the stage by {v}"),
        (
            "{v} directs the actors in {o}",
            "at rehearsals of {o} you can hear {v} shouting",
            "{p} staging is an idea of {v}",
            "the theatre trusted {v} with {o}",
        ),
        (
            "Who directs {n}?",
            "Who is the director of {n}?",
            "Who took {n} to the stage?",
            "Whom did the theatre trust with {n}?",
        ),
    ),
    Attribute(
        "leading_part",
        "full_name",
        ("stars {v}", "has {v} in the leading part"),
        (
            "{v} plays the hero of {o}",
            "on the posters of {o} you see the face of {v}",
            "{p} hero is acted by {v}",
            "people come to {o} only because of {v}, the actor",
        ),
        (
            "Who plays the hero of {n}?",
            "Which actor has the leading part in {n}?",
            "Whose face is on the posters of {n}?",
            "Who stars in {n}?",
        ),
    ),
    Attribute(
        "opening_night",
        "calendar_day",
        ("opens on {v}", "has its first night on {v}"),
        (
            "the curtain rises on {o} for the first time on {v}",
            "critics have reserved their seats in {o} for {v}",
            "{p} opening night is {v}",
            "on {v} we shall see whether {s} is any good",
        ),
        (
            "When is the opening night of {n}?",
            "On what day does {n} open?",
            "When will the curtain rise on {n}?",
            "For which day have critics of {n} reserved their seats?",
        ),
    ),
    Attribute(
        "last_night",
        "calendar_day",
        ("closes on {v}", "can be seen until {v}"),
        (
            "the last time to see {o} is on {v}",
            "after {v} the stage of {o} will be taken down",
            "{p} farewell is on {v}",
            "the actors of {o} have a party on {v}, when it is all over",
        ),
        (
            "When does {n} close?",
            "Until when can one see {n}?",
            "When is the last night of {n}?",
            "On which day is the farewell of {n}?",
        ),
    ),
    Attribute(
        "seat_price",
        "fee",
        ("can be seen for {v} a seat", "sells its best seats at {v}"),
        (
            "a good seat in {o} is {v}",
            "who wants to watch {o} has to pay {v}",
            "{p} seats cost {v}",
            "a mere {v} buys you an evening with {o}",
        ),
        (
            "How much is a seat in {n}?",
            "What does it cost to watch {n}?",
            "What are the best seats of {n} sold at?",
            "How much do I pay to see {n}?",
        ),
    ),
    Attribute(
        "playing_time",
        "minutes",
        ("runs for {v} without a break", "keeps you in your chair for {v}"),
        (
            "from curtain to curtain {s} takes {v}",
            "sitting through {o} means {v} on a hard chair",
            "{p} playing time is {v}",
            "the critics were asleep before the {v} of {o} were over",
        ),
        (
            "How long is {n}?",
            "How long does {n} run?",
            "What is the playing time of {n}?",
            "How many minutes must I sit through {n}?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("songs", ("Song book", "Tunes and their stories", "On the record player"), _draw_song, _SONGS),
    Domain("orchestras", ("In the concert hall", "Orchestras of the land"), _draw_orchestra, _ORCHESTRAS),
    Domain("plays", ("On stage", "What is on at the theatre", "Curtain up"), _draw_play, _PLAYS),
)
