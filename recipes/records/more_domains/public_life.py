"""What a town talks about: elections, festivals, schools, radio stations."""

from __future__ import annotations

import random

import composed_pools
from record_schema import Attribute, Domain, Entity, thing

from more_domains import name_parts


def _draw_election(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} {rng.choice(name_parts.BALLOTS)}", "vote")


def _draw_festival(rng: random.Random) -> Entity:
    what = rng.choice((*composed_pools.FLOWERS, *composed_pools.FISH)).capitalize()
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} Festival of {what}", "festival")


def _draw_school(rng: random.Random) -> Entity:
    start = rng.choice((rng.choice(composed_pools.OTHER_SURNAMES), rng.choice(composed_pools.OTHER_TOWNS)))
    return thing(f"{start} {rng.choice(name_parts.SCHOOLS)}", "school", article="")


def _draw_station(rng: random.Random) -> Entity:
    adjective, gem = rng.choice(name_parts.ADJECTIVES), rng.choice(composed_pools.GEMS).capitalize()
    return thing(f"Radio {adjective} {gem}", "station", article="")


_ELECTIONS = (
    Attribute(
        "winner",
        "full_name",
        ("was won by {v}", "made {v} very happy"),
        (
            "{v} came out on top in {o}",
            "most of those who took part in {o} chose {v}",
            "{p} winner is {v}",
            "after {o} a crowd carried {v} through the streets",
        ),
        (
            "Who won {n}?",
            "Whom did most people choose in {n}?",
            "Who is the winner of {n}?",
            "Who came out on top in {n}?",
            "Whom did {n} make happy?",
        ),
    ),
    Attribute(
        "loser",
        "full_name",
        ("was lost by {v}", "ended the career of {v}"),
        (
            "{v} came second in {o}",
            "too few people voted for {v} in {o}",
            "{p} loser is {v}",
            "the night after {o} {v} gave no interviews",
        ),
        (
            "Who lost {n}?",
            "Who came second in {n}?",
            "Whose career did {n} end?",
            "For whom did too few people vote in {n}?",
        ),
    ),
    Attribute(
        "observer",
        "full_name",
        ("was watched by the observer {v}", "had {v} as its official observer"),
        (
            "{v} stood behind the tables and observed {o}",
            "a fair count at {o} was the task of {v}",
            "{p} only observer was {v}",
            "in a long report {v} found nothing wrong with {o}",
        ),
        (
            "Who observed {n}?",
            "Who was the observer at {n}?",
            "Whose task was a fair count at {n}?",
            "Who wrote a report on {n}?",
        ),
    ),
    Attribute(
        "winning_votes",
        "thousands",
        ("brought the winner {v} votes", "was decided by {v} voices in favour"),
        (
            "in {o} the winning side had {v} votes",
            "no less than {v} crosses beside one name settled {o}",
            "{p} winning side collected {v} votes",
            "the first count of {o} gave {v} votes to the winner",
        ),
        (
            "How many votes did the winner of {n} have?",
            "What number of votes went to the winning side of {n}?",
            "How many votes decided {n}?",
            "With how many votes was {n} won?",
        ),
    ),
    Attribute(
        "void_papers",
        "hundreds",
        ("had {v} spoilt papers", "saw {v} papers thrown out"),
        (
            "at {o} the clerks found {v} papers that nobody could read",
            "in {o} {v} people drew faces in place of a cross",
            "{p} spoilt papers number {v}",
            "of all the papers of {o} {v} were void",
        ),
        (
            "How many papers were spoilt in {n}?",
            "How many papers of {n} were thrown out?",
            "How many people drew faces in {n}?",
            "What is the number of void papers in {n}?",
        ),
    ),
    Attribute(
        "turnout",
        "percent",
        ("had a turnout of {v}", "drew {v} of the voters"),
        (
            "on the day of {o} {v} of the people went to vote",
            "because of the rain only {v} took part in {o}",
            "{p} turnout reached {v}",
            "for {o} {v} of the voters left their homes",
        ),
        (
            "What was the turnout of {n}?",
            "How many percent took part in {n}?",
            "What share of the voters did {n} draw?",
            "How many of the people went to vote in {n}?",
        ),
    ),
    Attribute(
        "polling_day",
        "date",
        ("was held on {v}", "took place on {v}"),
        (
            "people queued to take part in {o} on {v}",
            "the boxes of {o} were opened on {v}",
            "{p} polling day was {v}",
            "schools were closed on {v} because of {o}",
        ),
        (
            "When was {n} held?",
            "On which date did people queue for {n}?",
            "What was the polling day of {n}?",
            "When were the boxes of {n} opened?",
        ),
    ),
)

_FESTIVALS = (
    Attribute(
        "first_day",
        "calendar_day",
        ("begins on {v}", "opens with fireworks on {v}"),
        (
            "on {v} a cannon is fired to start {o}",
            "the first guests of {o} arrive on {v}",
            "{p} first day is {v}",
            "children count the days until {v}, when {s} starts",
        ),
        (
            "When does {n} begin?",
            "On which day do the first guests of {n} arrive?",
            "What is the first day of {n}?",
            "When is a cannon fired for {n}?",
        ),
    ),
    Attribute(
        "last_day",
        "calendar_day",
        ("ends on {v}", "is over on {v}"),
        (
            "the tents of {o} come down on {v}",
            "on {v} the last song of {o} is sung",
            "{p} last day is {v}",
            "the street sweepers dread {v}, the day after which {s} is gone",
        ),
        (
            "When does {n} end?",
            "On which day do the tents of {n} come down?",
            "What is the last day of {n}?",
            "When is the last song of {n} sung?",
        ),
    ),
    Attribute(
        "queen",
        "womans_name",
        ("has chosen {v} as its queen", "puts a paper crown on {v}"),
        (
            "this year {v} is the queen of {o}",
            "from a cart {v} waves to all who came to {o}",
            "{p} queen is {v}",
            "the jury of {o} voted for {v}",
        ),
        (
            "Who is the queen of {n}?",
            "Who wears the crown at {n}?",
            "For whom did the jury of {n} vote?",
            "Who waves from a cart at {n}?",
        ),
    ),
    Attribute(
        "organiser",
        "womans_name",
        ("is organised by {v}", "costs {v} a year of work"),
        (
            "{v} plans {o} from a small office",
            "if something goes wrong at {o}, blame {v}",
            "{p} organiser is {v}",
            "without the hard work of {v} there would be no {o}",
        ),
        (
            "Who organises {n}?",
            "Who plans {n}?",
            "Whom does one blame if something goes wrong at {n}?",
            "Whose hard work is behind {n}?",
        ),
    ),
    Attribute(
        "guests",
        "thousands",
        ("attracts {v} guests", "fills the town with {v} people"),
        (
            "last time {v} people danced at {o}",
            "the police counted {v} visitors at {o}",
            "{p} guests number {v}",
            "for {o} {v} tickets were printed",
        ),
        (
            "How many guests come to {n}?",
            "How many people danced at {n}?",
            "What number of visitors did the police count at {n}?",
            "How many tickets were printed for {n}?",
        ),
    ),
    Attribute(
        "drink",
        "drink",
        ("lets its fountains flow with {v}", "is not complete without {v}"),
        (
            "everyone at {o} raises a glass of {v}",
            "stalls along the road to {o} sell {v}",
            "{p} drink is {v}",
            "by midnight the last barrel of {v} at {o} is empty",
        ),
        (
            "What do people drink at {n}?",
            "Which drink flows at {n}?",
            "What is in the barrels at {n}?",
            "What do the stalls along the road to {n} sell?",
        ),
    ),
    Attribute(
        "dance",
        "dance",
        ("closes with one last {v}", "is known for its {v}"),
        (
            "old and young at {o} know how to do the {v}",
            "the band at {o} plays nothing but the {v}",
            "{p} dance is the {v}",
            "couples practise the {v} for weeks before {o}",
        ),
        (
            "Which dance is {n} known for?",
            "What do couples practise before {n}?",
            "What does the band at {n} play?",
            "With which dance does {n} close?",
        ),
    ),
)

_SCHOOLS = (
    Attribute(
        "head",
        "full_name",
        ("is headed by {v}", "has {v} in the head's office"),
        (
            "{v} rings the bell at {o}",
            "bad pupils of {o} are sent to {v}",
            "{p} head is {v}",
            "parents who have a question about {o} write to {v}",
        ),
        (
            "Who is the head of {n}?",
            "Who runs {n}?",
            "To whom are bad pupils of {n} sent?",
            "Whom do parents write to about {n}?",
        ),
    ),
    Attribute(
        "best_pupil",
        "full_name",
        ("gave its medal to {v}", "boasts of its pupil {v}"),
        (
            "the best pupil at {o} is {v}",
            "nobody at {o} has better marks than {v}",
            "{p} medal was won by {v}",
            "on the wall of honour in {o} hangs a picture of {v}",
        ),
        (
            "Who is the best pupil at {n}?",
            "Who won the medal of {n}?",
            "Who has the best marks at {n}?",
            "Whose picture hangs on the wall of {n}?",
        ),
    ),
    Attribute(
        "cook",
        "full_name",
        ("is fed by {v}", "smells of the soup that {v} cooks"),
        (
            "{v} cooks lunch at {o}",
            "the children of {o} like what {v} puts on their plates",
            "{p} cook is {v}",
            "at noon {v} opens the canteen of {o}",
        ),
        (
            "Who cooks lunch at {n}?",
            "Who is the cook of {n}?",
            "Who opens the canteen of {n}?",
            "Whose soup does one eat at {n}?",
        ),
    ),
    Attribute(
        "pupils",
        "hundreds",
        ("has {v} pupils", "teaches {v} children"),
        (
            "every morning {v} children run into {o}",
            "this year {v} names are on the lists of {o}",
            "{p} roll counts {v} children",
            "there are desks for {v} pupils in {o}",
        ),
        (
            "How many pupils does {n} have?",
            "How many children go to {n}?",
            "How many names are on the lists of {n}?",
            "For how many are there desks in {n}?",
        ),
    ),
    Attribute(
        "teachers",
        "count",
        ("employs {v} teachers", "has a staff room for {v} teachers"),
        (
            "{p} work is shared by {v} teachers",
            "the school board sends {v} teachers to {o}",
            "in {o} {v} teachers stand at the blackboards",
            "the pay of {v} teachers is the largest cost of {o}",
        ),
        (
            "How many teachers does {n} employ?",
            "How many teachers work at {n}?",
            "For how many is there a place in the staff room of {n}?",
            "What number of teachers are at the blackboards of {n}?",
        ),
    ),
    Attribute(
        "strength",
        "subject",
        ("is known for teaching {v}", "wins contests in {v}"),
        (
            "for good lessons in {v} you should go to {o}",
            "every child at {o} must take {v}",
            "{p} strength is {v}",
            "a new wing of {o} was built just for {v}",
        ),
        (
            "What is {n} known for teaching?",
            "Which subject is the strength of {n}?",
            "In what does {n} win contests?",
            "Which subject must every child at {n} take?",
        ),
    ),
    Attribute(
        "weakness",
        "subject",
        ("has nobody to teach {v}", "gave up lessons in {v}"),
        (
            "those who want to learn {v} should avoid {o}",
            "inspectors were shocked by the lessons in {v} at {o}",
            "{p} weakness is {v}",
            "the worst marks at {o} are those in {v}",
        ),
        (
            "What is nobody able to teach at {n}?",
            "Which subject is the weakness of {n}?",
            "Which lessons did {n} give up?",
            "In which subject are the marks at {n} worst?",
        ),
    ),
)

_STATIONS = (
    Attribute(
        "frequency",
        "frequency",
        ("sends on {v}", "can be heard at {v}"),
        (
            "turn the dial to {v} for {o}",
            "the antenna of {o} works on {v}",
            "{p} frequency is {v}",
            "between two louder neighbours, at {v}, you find {o}",
        ),
        (
            "On which frequency does {n} send?",
            "What is the frequency of {n}?",
            "Where do I turn the dial for {n}?",
            "At how many megahertz is {n} heard?",
        ),
    ),
    Attribute(
        "morning_host",
        "full_name",
        ("wakes its listeners with {v}", "gives the mornings to {v}"),
        (
            "over breakfast {v} talks to those who hear {o}",
            "{v} reads the morning news on {o}",
            "{p} mornings are hosted by {v}",
            "long before sunrise {v} walks into the studio of {o}",
        ),
        (
            "Who is heard on {n} in the morning?",
            "Who reads the morning news on {n}?",
            "Who wakes the listeners of {n}?",
            "Who hosts the mornings of {n}?",
        ),
    ),
    Attribute(
        "night_host",
        "full_name",
        ("sends its listeners to bed with {v}", "leaves the late hours to {v}"),
        (
            "after midnight {v} plays records on {o}",
            "people who cannot sleep call {v} at {o}",
            "{p} nights are hosted by {v}",
            "in the small hours only {v} is left in the studio of {o}",
        ),
        (
            "Who is heard on {n} at night?",
            "Who plays records on {n} after midnight?",
            "Whom do people call at {n} when they cannot sleep?",
            "Who hosts the nights of {n}?",
        ),
    ),
    Attribute(
        "owner",
        "firm",
        ("is owned by {v}", "was sold to {v}"),
        (
            "{v} bought {o} with all its records",
            "the profits of {o} belong to {v}",
            "{p} owner is {v}",
            "whoever is on the air at {o} is paid by {v}",
        ),
        (
            "Who owns {n}?",
            "Which firm bought {n}?",
            "To whom was {n} sold?",
            "To whom do the profits of {n} belong?",
        ),
    ),
    Attribute(
        "hotline",
        "phone",
        ("takes calls on {v}", "answers at {v}"),
        (
            "to hear your song on {o} call {v}",
            "listeners of {o} ring {v}",
            "{p} number for requests is {v}",
            "every ten minutes {s} repeats the number {v}",
        ),
        (
            "What number do listeners of {n} ring?",
            "How do I call {n}?",
            "What is the number for requests of {n}?",
            "Where do I call to hear my song on {n}?",
        ),
    ),
    Attribute(
        "signature",
        "instrument",
        ("starts every hour with a note on the {v}", "has a jingle played on the {v}"),
        (
            "the jingle of {o} was recorded with one {v}",
            "when you hear the {v} you know that {s} is on",
            "{p} call sign is played on the {v}",
            "before the news on {o} somebody plays the {v}",
        ),
        (
            "On which instrument is the jingle of {n} played?",
            "What does one hear before the news on {n}?",
            "Which instrument starts every hour on {n}?",
            "With which instrument was the jingle of {n} recorded?",
        ),
    ),
    Attribute(
        "listeners",
        "thousands",
        ("reaches {v} listeners", "has {v} people at their sets"),
        (
            "a survey found {v} listeners for {o}",
            "in {v} kitchens the radio is tuned to {o}",
            "{p} audience is {v}",
            "every day {v} people switch on {o}",
        ),
        (
            "How many listeners does {n} have?",
            "How large is the audience of {n}?",
            "How many people switch on {n}?",
            "In how many kitchens is the radio tuned to {n}?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("elections", ("Results of the votes", "Polling news"), _draw_election, _ELECTIONS),
    Domain("festivals", ("Festivals in the area", "What is on this summer"), _draw_festival, _FESTIVALS),
    Domain("schools", ("Schools of the district", "For parents", "School report"), _draw_school, _SCHOOLS),
    Domain("stations", ("On the air", "Radio guide"), _draw_station, _STATIONS),
)
