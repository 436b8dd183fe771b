"""What people make, learn and play: films, chess tournaments, banknotes, apprentices."""

from __future__ import annotations

import random

import composed_pools
import record_pools as pools
from record_schema import Attribute, Domain, Entity, thing
from train_domains import draw_person

from more_domains import name_parts


def _draw_film(rng: random.Random) -> Entity:
    number = rng.choice(name_parts.NUMBERS)
    plural = rng.choice(name_parts.FILM_PLURALS)
    return thing(f"{number} {plural} for {rng.choice(pools.FIRST_NAMES)}", "film", article="")


def _draw_tournament(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_TOWNS)} {rng.choice(name_parts.TOURNAMENTS)}", "tournament")


def _draw_banknote(rng: random.Random) -> Entity:
    island = "".join(rng.choice(part) for part in name_parts.ISLAND_SYLLABLES)
    return thing(f"{rng.choice(name_parts.NOTES)} of {island}", "note")


_FILMS = (
    Attribute(
        "director",
        "full_name",
        ("was directed by {v}", "was shot by {v}"),
        (
            "{v} shouted for silence while {s} was made",
            "on the chair with the loudspeaker, when they made {o}, sat {v}",
            "{p} director is {v}",
            "fans of {v} think that {s} is the best of all",
        ),
        (
            "Who directed {n}?",
            "Who is the director of {n}?",
            "Who shot {n}?",
            "Who shouted for silence while they made {n}?",
        ),
    ),
    Attribute(
        "star",
        "full_name",
        ("made a star of {v}", "shows {v} in the leading role"),
        (
            "{v} weeps in every scene of {o}",
            "for {o} {v} had to learn to ride",
            "{p} star is {v}",
            "the camera in {o} never leaves the face of {v}",
        ),
        (
            "Who is the star of {n}?",
            "Who has the leading role in {n}?",
            "Of whom did {n} make a star?",
            "Who weeps in every scene of {n}?",
        ),
    ),
    Attribute(
        "producer",
        "full_name",
        ("was produced by {v}", "swallowed the money of {v}"),
        (
            "{v} paid for {o} with a mortgage",
            "{p} producer was {v}",
            "without a cheque from {v} they would have stopped making {o}",
            "before the first scene of {o} was shot, {v} had hired the studio",
        ),
        (
            "Who produced {n}?",
            "Whose money was put into {n}?",
            "Who was the producer of {n}?",
            "Who paid for {n} with a mortgage?",
        ),
    ),
    Attribute(
        "running_time",
        "minutes",
        ("runs for {v}", "is {v} long"),
        (
            "after {v} the lights go on and {s} is over",
            "the reels of {o} last {v}",
            "{p} running time is {v}",
            "the studio cut {o} down to {v}",
        ),
        (
            "How long is {n}?",
            "What is the running time of {n}?",
            "How many minutes does {n} run?",
            "To what length did the studio cut {n}?",
        ),
    ),
    Attribute(
        "country_of_filming",
        "country",
        ("was filmed in {v}", "shows landscapes in {v}"),
        (
            "the crew of {o} spent a hot summer in {v}",
            "all the hills you see in {o} are in {v}",
            "{p} outdoor scenes were made in {v}",
            "a village in {v} was rebuilt for {o}",
        ),
        (
            "Where was {n} filmed?",
            "In which country are the hills that one sees in {n}?",
            "Where did the crew of {n} spend the summer?",
            "Which country's landscapes does {n} show?",
        ),
    ),
    Attribute(
        "first_buyer",
        "country",
        ("was sold to {v} first", "had its greatest success in {v}"),
        (
            "cinemas in {v} were the first to buy {o}",
            "people in {v} went to see {o} again and again",
            "{p} first buyers came from {v}",
            "there are dubbed copies of {o} for {v}",
        ),
        (
            "To which country was {n} sold first?",
            "Where did {n} have its greatest success?",
            "In which country did people see {n} again and again?",
            "From where did the first buyers of {n} come?",
        ),
    ),
    Attribute(
        "prize",
        "prize",
        ("won the {v}", "was honoured with the {v}"),
        (
            "the jury gave the {v} to {o}",
            "above the desk of the producer of {o} stands the {v}",
            "{p} award was the {v}",
            "at the end of the evening the {v} went to {o}",
        ),
        (
            "Which prize did {n} win?",
            "What award was given to {n}?",
            "With what was {n} honoured?",
            "What did the jury give to {n}?",
        ),
    ),
)

_TOURNAMENTS = (
    Attribute(
        "winner",
        "full_name",
        ("was won by {v}", "ended with a win for {v}"),
        (
            "nobody could beat {v} at {o}",
            "the cup of {o} went to {v}",
            "{p} winner is {v}",
            "with a quiet move of a pawn {v} decided {o}",
        ),
        (
            "Who won {n}?",
            "Who got the cup of {n}?",
            "Who is the winner of {n}?",
            "Who could not be beaten at {n}?",
        ),
    ),
    Attribute(
        "runner_up",
        "full_name",
        ("put {v} in second place", "was a near miss for {v}"),
        (
            "{v} finished {o} half a point behind",
            "second place at {o} went to {v}",
            "{p} runner up is {v}",
            "a blunder cost {v} the first place at {o}",
        ),
        (
            "Who came second at {n}?",
            "Who is the runner up of {n}?",
            "Who finished {n} half a point behind?",
            "Whom did a blunder cost the first place at {n}?",
        ),
    ),
    Attribute(
        "arbiter",
        "full_name",
        ("was judged by the arbiter {v}", "had {v} watching the clocks"),
        (
            "{v} settled every quarrel at {o}",
            "at {o} {v} told the crowd to be quiet",
            "{p} arbiter was {v}",
            "two players of {o} were sent home by {v}",
        ),
        (
            "Who was the arbiter at {n}?",
            "Who watched the clocks at {n}?",
            "Who settled quarrels at {n}?",
            "Who told the crowd at {n} to be quiet?",
        ),
    ),
    Attribute(
        "opening",
        "opening",
        ("saw the {v} again and again", "will be remembered for the {v}"),
        (
            "most games at {o} began with the {v}",
            "experts say that the {v} was refuted at {o}",
            "{p} favourite first moves were those of the {v}",
            "young players at {o} trusted in the {v}",
        ),
        (
            "Which opening was seen at {n}?",
            "How did most games at {n} begin?",
            "What was refuted at {n}?",
            "In which first moves did young players at {n} trust?",
        ),
    ),
    Attribute(
        "players",
        "hundreds",
        ("brought together {v} players", "started with {v} entries"),
        (
            "at {o} {v} people sat down at the boards",
            "the list of entries for {o} has {v} names",
            "{p} field was {v} players strong",
            "the hall for {o} was too small for {v} players",
        ),
        (
            "How many players came to {n}?",
            "How many entries did {n} have?",
            "How many people sat down at the boards of {n}?",
            "How strong was the field at {n}?",
        ),
    ),
    Attribute(
        "first_prize",
        "amount",
        ("paid the winner {v}", "offered a first prize of {v}"),
        (
            "whoever came first at {o} took away {v}",
            "in an envelope for the best of {o} were {v}",
            "{p} first prize was {v}",
            "the town had collected {v} for the winner of {o}",
        ),
        (
            "What was the first prize of {n}?",
            "How much did {n} pay the winner?",
            "How much money was in the envelope for the best of {n}?",
            "What sum did the town collect for the winner of {n}?",
        ),
    ),
    Attribute(
        "entry_fee",
        "amount",
        ("asked an entry fee of {v}", "took {v} from everyone who wanted to play"),
        (
            "to take part in {o} you had to pay {v}",
            "players complained that {s} cost them {v}",
            "{p} entry fee was {v}",
            "a seat at a board of {o} could be had for {v}",
        ),
        (
            "What was the entry fee of {n}?",
            "How much did players pay to take part in {n}?",
            "What did it cost to play at {n}?",
            "For how much could a seat at a board of {n} be had?",
        ),
    ),
)

_BANKNOTES = (
    Attribute(
        "portrait",
        "full_name",
        ("shows a portrait of {v}", "bears the head of {v}"),
        (
            "the face on {o} is that of {v}",
            "{v} looks out from {o} with a stern eye",
            "{p} portrait is of {v}",
            "since it was printed {v} has been known to all who pay with {o}",
        ),
        (
            "Whose portrait is on {n}?",
            "Who is shown on {n}?",
            "Whose face is on {n}?",
            "Who looks out from {n}?",
        ),
    ),
    Attribute(
        "signature",
        "full_name",
        ("was signed by {v}", "carries the signature of {v}"),
        (
            "the name under the number on {o} is {v}",
            "as head of the bank {v} put a signature on {o}",
            "{p} signature reads {v}",
            "it is {v} who promises to pay the bearer of {o}",
        ),
        (
            "Who signed {n}?",
            "Whose signature is on {n}?",
            "What name is under the number on {n}?",
            "Who promises to pay the bearer of {n}?",
        ),
    ),
    Attribute(
        "designer",
        "full_name",
        ("was drawn by {v}", "is the masterpiece of {v}"),
        (
            "{v} cut the plate for {o}",
            "every fine line on {o} comes from the hand of {v}",
            "{p} design is the work of {v}",
            "for a year {v} drew nothing but {o}",
        ),
        (
            "Who drew {n}?",
            "Who cut the plate for {n}?",
            "Whose masterpiece is {n}?",
            "From whose hand are the lines on {n}?",
        ),
    ),
    Attribute(
        "front",
        "shade",
        ("is {v} on the front", "has a front in {v}"),
        (
            "the printers used {v} ink for the front of {o}",
            "you can tell {o} in a purse by its {v} front",
            "{p} face was printed in {v}",
            "hold {o} up and the front looks {v}",
        ),
        (
            "What colour is the front of {n}?",
            "Which ink was used for the front of {n}?",
            "In what was the face of {n} printed?",
            "How does the front of {n} look?",
        ),
    ),
    Attribute(
        "back",
        "shade",
        ("is {v} on the back", "has a back in {v}"),
        (
            "turn {o} over and you see {v}",
            "the printers used {v} ink for the back of {o}",
            "{p} back was printed in {v}",
            "on the other side {s} is {v}",
        ),
        (
            "What colour is the back of {n}?",
            "Which ink was used for the back of {n}?",
            "What does one see when one turns {n} over?",
            "In what was the back of {n} printed?",
        ),
    ),
    Attribute(
        "building",
        "building",
        ("has a picture of one famous {v}", "shows one old {v} beside the number"),
        (
            "the picture in the middle of {o} is that of one {v}",
            "behind the head on {o} you can make out one {v}",
            "{p} back is adorned by one {v}",
            "tourists look for the {v} that they know from {o}",
        ),
        (
            "Which building is on {n}?",
            "What is pictured in the middle of {n}?",
            "What can one make out behind the head on {n}?",
            "What do tourists know from {n}?",
        ),
    ),
    Attribute(
        "last_day",
        "date",
        ("was withdrawn on {v}", "was good for paying until {v}"),
        (
            "shops took {o} for the last time on {v}",
            "after {v} only collectors wanted {o}",
            "{p} last day was {v}",
            "on {v} the bank began to burn {o}",
        ),
        (
            "When was {n} withdrawn?",
            "Until when was {n} good for paying?",
            "On what date did shops take {n} for the last time?",
            "When did the bank begin to burn {n}?",
        ),
    ),
)

_APPRENTICES = (
    Attribute(
        "trade",
        "profession",
        ("is learning to be {a} {v}", "wants to become {a} {v}"),
        (
            "in three years {s} will be {a} {v}",
            "the contract says that {o} is trained as {a} {v}",
            "{p} chosen trade is that of {a} {v}",
            "an aunt told {o} to become {a} {v}",
        ),
        (
            "What is {n} learning to be?",
            "Which trade has {n} chosen?",
            "What will {n} be in three years?",
            "As what is {n} trained?",
            "What does {n} want to become?",
        ),
    ),
    Attribute(
        "father",
        "profession",
        ("is the child of {a} {v}", "grew up in the house of {a} {v}"),
        (
            "{p} father was {a} {v}",
            "the family of {o} has lived from the work of {a} {v}",
            "at home {s} had to listen to the stories of {a} {v}, the father",
            "it was no secret that the old {v} had other plans for {o}",
        ),
        (
            "What was {np} father?",
            "What was the work of the father of {n}?",
            "In whose house did {n} grow up?",
            "Whose child is {n}?",
        ),
    ),
    Attribute(
        "master",
        "other_surname",
        ("learns from Master {v}", "signed on with Master {v}"),
        (
            "Master {v} shows {o} how it is done",
            "every evening Master {v} looks over the work of {o}",
            "{p} teacher is Master {v}",
            "when {s} makes a mistake, Master {v} only sighs",
        ),
        (
            "Who is {np} master?",
            "From whom does {n} learn?",
            "Who shows {n} how it is done?",
            "Who looks over the work of {n}?",
        ),
    ),
    Attribute(
        "firm",
        "firm",
        ("is employed by {v}", "gets up at five to work for {v}"),
        (
            "the gates of {v} open early for {o}",
            "{v} took {o} on after a test",
            "{p} firm is called {v}",
            "on the back of the overalls of {o} one reads {v}",
        ),
        (
            "Which firm employs {n}?",
            "For whom does {n} work?",
            "Who took {n} on?",
            "What is {np} firm called?",
        ),
    ),
    Attribute(
        "wage",
        "fee",
        ("earns {v} a week", "goes home with {v} on Fridays"),
        (
            "a week of hard work brings {o} {v}",
            "{p} weekly wage is {v}",
            "the cashier counts out {v} for {o}",
            "with {v} a week {s} cannot afford much",
        ),
        (
            "How much does {n} earn?",
            "What is {np} weekly wage?",
            "What does the cashier count out for {n}?",
            "With how much money does {n} go home?",
        ),
    ),
    Attribute(
        "rent",
        "fee",
        ("pays {v} a week for a bed", "hands {v} to a landlady"),
        (
            "the room under the roof costs {o} {v}",
            "every Saturday {s} puts {v} on the table of the landlady",
            "{p} rent is {v}",
            "a bed and a lamp are let to {o} for {v}",
        ),
        (
            "How much rent does {n} pay?",
            "What does the room of {n} cost?",
            "How much does {n} hand to a landlady?",
            "What is {np} rent?",
        ),
    ),
    Attribute(
        "exam",
        "date",
        ("has an exam on {v}", "must show a finished piece on {v}"),
        (
            "the guild wants to examine {o} on {v}",
            "until {v} {s} has to study every night",
            "{p} exam was set for {v}",
            "on {v} three old masters will question {o}",
        ),
        (
            "When is {np} exam?",
            "On what date will {n} be examined?",
            "Until when does {n} have to study?",
            "When must {n} show a finished piece?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("films", ("At the cinema", "Film reviews", "On the screen"), _draw_film, _FILMS),
    Domain("tournaments", ("Chess news", "Over the board"), _draw_tournament, _TOURNAMENTS),
    Domain("banknotes", ("Paper money", "For collectors of money"), _draw_banknote, _BANKNOTES),
    Domain("apprentices", ("Learning a trade", "The new apprentices"), draw_person, _APPRENTICES),
)
