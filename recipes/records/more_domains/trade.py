"""Goods, tools and machines that change hands: warehouses, parcels, hired machines, software releases."""

from __future__ import annotations

import random

import composed_pools
import record_pools as pools
from record_schema import Attribute, Domain, Entity, thing

from more_domains import name_parts


def _draw_warehouse(rng: random.Random) -> Entity:
    street = rng.choice(composed_pools.POOLS["street"])
    return thing(rng.choice((f"{street} Depot", f"{street} Warehouse", f"{street} Store")), "warehouse")


def _draw_parcel(rng: random.Random) -> Entity:
    letters = "".join(rng.choice(name_parts.CAPITALS) for _ in range(2))
    return thing(f"Parcel {letters} {rng.randint(101, 999)}", "parcel", article="")


def _draw_hire(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(pools.BRANDS)} {rng.choice(name_parts.MACHINES)} {rng.randint(11, 99)}", "machine")


def _draw_release(rng: random.Random) -> Entity:
    name = rng.choice(pools.BRANDS) + rng.choice(name_parts.PROGRAM_ENDS)
    return thing(f"{name} {rng.randint(1, 40)}", "release", article="")


_WAREHOUSES = (
    Attribute(
        "goods",
        "cargo",
        ("is stacked to the roof with {v}", "stores {v}"),
        (
            "the shelves in {o} are full of {v}",
            "whoever needs {v} sends a van to {o}",
            "{p} stock is mostly {v}",
            "a smell of {v} hangs around {o}",
        ),
        (
            "What is stored in {n}?",
            "What are the shelves of {n} full of?",
            "Which goods does one get from {n}?",
            "Of what does it smell around {n}?",
            "What is the stock of {n}?",
        ),
    ),
    Attribute(
        "foreman",
        "full_name",
        ("obeys the foreman {v}", "has {v} as its foreman"),
        (
            "{v} tells the men at {o} what to lift",
            "nothing leaves {o} unless {v} has signed for it",
            "{p} foreman is {v}",
            "the keys of {o} hang on the belt of {v}",
        ),
        (
            "Who is the foreman at {n}?",
            "Who must sign before something leaves {n}?",
            "Who tells the men at {n} what to lift?",
            "On whose belt hang the keys of {n}?",
        ),
    ),
    Attribute(
        "night_watch",
        "full_name",
        ("is guarded at night by {v}", "pays {v} to stay awake"),
        (
            "with a torch {v} walks through {o} all night",
            "{v} caught two boys on the roof of {o}",
            "{p} night watch is {v}",
            "while the others sleep, {v} has an eye on {o}",
        ),
        (
            "Who guards {n} at night?",
            "Who is the night watch of {n}?",
            "Who walks through {n} with a torch?",
            "Who is paid to stay awake at {n}?",
        ),
    ),
    Attribute(
        "capacity",
        "tonnes",
        ("holds {v}", "has room for {v}"),
        (
            "when it is full, {s} contains {v}",
            "the floor of {o} was made to bear {v}",
            "{p} capacity is {v}",
            "no more than {v} may be brought into {o}",
        ),
        (
            "How much does {n} hold?",
            "What is the capacity of {n}?",
            "For how many tonnes has {n} room?",
            "How much may be brought into {n}?",
        ),
    ),
    Attribute(
        "present_stock",
        "tonnes",
        ("now contains {v}", "reported a stock of {v} last night"),
        (
            "at the latest count there were {v} in {o}",
            "only {v} are left in {o}",
            "{p} present stock weighs {v}",
            "the owner would like to sell the {v} that lie in {o}",
        ),
        (
            "How much lies in {n} now?",
            "How much is left in {n}?",
            "What does the present stock of {n} weigh?",
            "How many tonnes were in {n} at the latest count?",
        ),
    ),
    Attribute(
        "owner",
        "firm",
        ("is the property of {v}", "was put up by {v}"),
        (
            "the sign over {o} reads {v}",
            "{v} owns {o} and the land around it",
            "{p} owner is the house of {v}",
            "profits made at {o} go to {v}",
        ),
        (
            "Who owns {n}?",
            "To which firm does {n} belong?",
            "What does the sign over {n} read?",
            "To whom do the profits of {n} go?",
        ),
    ),
    Attribute(
        "problem",
        "fault",
        ("has trouble with a lift that has one {v}", "lost a day to one {v}"),
        (
            "work at {o} came to a stop due to one {v}",
            "the only thing wrong with {o} is one {v}",
            "{p} loading crane has one {v}",
            "a mechanic was sent to {o} to see about one {v}",
        ),
        (
            "What is broken at {n}?",
            "What is wrong with the crane of {n}?",
            "Why did work at {n} come to a stop?",
            "What did the mechanic look at in {n}?",
        ),
    ),
)

_PARCELS = (
    Attribute(
        "sender",
        "full_name",
        ("was sent by {v}", "was tied with string by {v}"),
        (
            "{v} took {o} to the post office",
            "on the back of {o} one reads {v}",
            "{p} sender is {v}",
            "the stamps on {o} were licked by {v}",
        ),
        (
            "Who sent {n}?",
            "Who is the sender of {n}?",
            "From whom is {n}?",
            "Who took {n} to the post office?",
            "Whose name is on the back of {n}?",
        ),
    ),
    Attribute(
        "addressee",
        "full_name",
        ("is meant for {v}", "should be handed to {v} in person"),
        (
            "{v} is waiting for {o}",
            "only {v} is allowed to open {o}",
            "{p} label bears the name of {v}",
            "with a smile {v} will unwrap {o}",
        ),
        (
            "For whom is {n}?",
            "Who is to get {n}?",
            "Who is waiting for {n}?",
            "Whose name does the label of {n} bear?",
            "To whom should {n} be handed?",
        ),
    ),
    Attribute(
        "courier",
        "full_name",
        ("is carried by the courier {v}", "travels in the van of {v}"),
        (
            "the courier {v} has loaded {o}",
            "{v} will ring the bell with {o} under one arm",
            "{p} courier is {v}",
            "ask {v} where {s} has got to",
        ),
        (
            "Who carries {n}?",
            "Which courier has {n}?",
            "In whose van does {n} travel?",
            "Whom do I ask where {n} is?",
        ),
    ),
    Attribute(
        "delivery_address",
        "address",
        ("must be delivered to {v}", "is going to {v}"),
        (
            "leave {o} on the doorstep of {v}",
            "the address on {o} says {v}",
            "{p} goal is the house at {v}",
            "the dog at {v} will bark when {s} arrives",
        ),
        (
            "Where must {n} be delivered?",
            "Which address is on {n}?",
            "On what doorstep do I leave {n}?",
            "What is the address of the house to which {n} goes?",
        ),
    ),
    Attribute(
        "storage_address",
        "address",
        ("lies for now in a depot at {v}", "was left with a neighbour at {v}"),
        (
            "since yesterday {s} has been kept at {v}",
            "in case nobody opens, collect {o} at {v}",
            "{p} place of storage is {v}",
            "people at {v} look after {o} for the moment",
        ),
        (
            "Where is {n} kept?",
            "Where can I collect {n}?",
            "Where was {n} left?",
            "At which address do people look after {n}?",
        ),
    ),
    Attribute(
        "weight",
        "grams",
        ("weighs {v}", "brings {v} to the scales"),
        (
            "the scales showed {v} for {o}",
            "postage for {o} was worked out for {v}",
            "{p} weight is {v}",
            "with only {v} {s} is easy to carry",
        ),
        (
            "How heavy is {n}?",
            "What does {n} weigh?",
            "What is the weight of {n}?",
            "How many grams did the scales show for {n}?",
        ),
    ),
    Attribute(
        "contents",
        "tool",
        ("contains {a} {v}", "hides {a} {v}"),
        (
            "wrapped in old newspaper inside {o} is {a} {v}",
            "the customs form for {o} mentions {a} {v}",
            "{p} contents are declared as {a} {v}",
            "if you shake {o} you hear {a} {v} rattle",
        ),
        (
            "What is in {n}?",
            "What does {n} contain?",
            "What is mentioned on the customs form for {n}?",
            "What rattles if I shake {n}?",
            "Tell me the contents of {n}.",
        ),
    ),
)

_HIRES = (
    Attribute(
        "customer",
        "firm",
        ("is on hire to {v}", "works for {v} this month"),
        (
            "{v} has hired {o}",
            "the bill for {o} goes to {v}",
            "{p} present user is {v}",
            "on a building site of {v} you can see {o} at work",
        ),
        (
            "Who has hired {n}?",
            "Which firm uses {n}?",
            "To whom does the bill for {n} go?",
            "For whom does {n} work this month?",
        ),
    ),
    Attribute(
        "operator",
        "full_name",
        ("is operated by {v}", "may only be started by {v}"),
        (
            "{v} sits in the cab of {o}",
            "the licence to work with {o} was given to {v}",
            "{p} levers are moved by {v}",
            "nobody can handle {o} like {v}",
        ),
        (
            "Who operates {n}?",
            "Who is in the cab of {n}?",
            "Who has the licence to work with {n}?",
            "Who may start {n}?",
        ),
    ),
    Attribute(
        "mechanic",
        "full_name",
        ("is serviced by {v}", "was last oiled by {v}"),
        (
            "{v} changes the filters of {o}",
            "should {s} break down, call {v}",
            "{p} mechanic is {v}",
            "covered in grease, {v} crawled out from under {o}",
        ),
        (
            "Who services {n}?",
            "Who is the mechanic for {n}?",
            "Whom do I call if {n} breaks down?",
            "Who oiled {n}?",
        ),
    ),
    Attribute(
        "daily_rate",
        "fee",
        ("costs {v} a day", "is let at a daily rate of {v}"),
        (
            "for each day with {o} you pay {v}",
            "the price list has {s} at {v} a day",
            "{p} rate is {v} per day",
            "you cannot get {o} for less than {v} a day",
        ),
        (
            "What does {n} cost a day?",
            "How much is {n} for a day?",
            "What is the daily rate of {n}?",
            "How much do I pay for each day with {n}?",
        ),
    ),
    Attribute(
        "deposit",
        "fee",
        ("requires a deposit of {v}", "is handed over against {v} in cash"),
        (
            "leave {v} at the counter before you take {o}",
            "you get {v} back when {s} is returned in one piece",
            "{p} deposit is {v}",
            "as a deposit for {o} the office keeps {v}",
        ),
        (
            "What is the deposit for {n}?",
            "How much is left at the counter for {n}?",
            "How much do I get back when {n} is returned?",
            "Against what sum in cash is {n} handed over?",
        ),
    ),
    Attribute(
        "weight",
        "tonnes",
        ("weighs {v}", "needs ground that can bear {v}"),
        (
            "a bridge must carry {v} before {s} may cross it",
            "the plate on {o} states {v}",
            "{p} weight is {v}",
            "think twice before you drive {o} over a cellar, for it is {v} of steel",
        ),
        (
            "How heavy is {n}?",
            "What does {n} weigh?",
            "What is the weight of {n}?",
            "How much must a bridge carry before {n} may cross it?",
        ),
    ),
    Attribute(
        "return_date",
        "calendar_day",
        ("comes back on {v}", "is booked until {v}"),
        (
            "the yard expects {o} on {v}",
            "from {v} on {s} is free again",
            "{p} return is noted for {v}",
            "the hire of {o} ends on {v}",
        ),
        (
            "When does {n} come back?",
            "Until when is {n} booked?",
            "From what day on is {n} free again?",
            "On which day does the hire of {n} end?",
        ),
    ),
)

_RELEASES = (
    Attribute(
        "maintainer",
        "full_name",
        ("is maintained by {v}", "was signed off by {v}"),
        (
            "{v} answers all mail about {o}",
            "patches for {o} are reviewed by {v}",
            "{p} maintainer is {v}",
            "whenever {s} crashes somebody wakes up {v}",
        ),
        (
            "Who maintains {n}?",
            "Who reviews patches for {n}?",
            "Who signed off {n}?",
            "Whom do they wake up whenever {n} crashes?",
        ),
    ),
    Attribute(
        "best_tester",
        "full_name",
        ("contains a fix for a bug found by {v}", "thanks {v} for the most bug reports"),
        (
            "most of the bugs in {o} were reported by {v}",
            "{v} broke {o} eleven times before breakfast",
            "{p} best tester was {v}",
            "in the notes of {o} there is a line of thanks to {v}",
        ),
        (
            "Who reported most of the bugs in {n}?",
            "Who was the best tester of {n}?",
            "Who is thanked in the notes of {n}?",
            "Whose bug was fixed in {n}?",
        ),
    ),
    Attribute(
        "required_library",
        "version",
        ("needs at least version {v} of the library", "refuses to run with a library older than {v}"),
        (
            "install library version {v} before you try {o}",
            "the oldest library that works with {o} is {v}",
            "{p} required library is {v}",
            "without library {v} {s} stops at once",
        ),
        (
            "Which library version does {n} need?",
            "What must I install before I try {n}?",
            "What is the oldest library that works with {n}?",
            "Which library does {n} require?",
        ),
    ),
    Attribute(
        "predecessor",
        "version",
        ("replaces version {v}", "is an update for all who still run {v}"),
        (
            "users of the program in version {v} should move to {o}",
            "everything that was wrong in {v} is right in {o}",
            "{p} predecessor was called {v}",
            "support for {v} ended when {s} came out",
        ),
        (
            "Which version does {n} replace?",
            "What was the predecessor of {n} called?",
            "Support for what ended with {n}?",
            "Users of which version should move to {n}?",
        ),
    ),
    Attribute(
        "release_date",
        "date",
        ("was released on {v}", "has been online since {v}"),
        (
            "you can download {o} since {v}",
            "the tag of {o} was set on {v}",
            "{p} notes are dated {v}",
            "after many delays {s} left the build server on {v}",
        ),
        (
            "When was {n} released?",
            "Since when can I download {n}?",
            "On what date was the tag of {n} set?",
            "What date do the notes of {n} bear?",
        ),
    ),
    Attribute(
        "end_of_support",
        "date",
        ("is supported until {v}", "gets no more fixes after {v}"),
        (
            "on {v} the support for {o} comes to an end",
            "plan to leave {o} before {v}",
            "{p} support stops on {v}",
            "the last fix for {o} is promised for {v}",
        ),
        (
            "Until when is {n} supported?",
            "When does the support for {n} end?",
            "After which date does {n} get no more fixes?",
            "Before what day should I leave {n}?",
        ),
    ),
    Attribute(
        "code_name",
        "bird",
        ("goes by the code name {v}", "shows {a} {v} on its start screen"),
        (
            "among the developers {s} was only called {v}",
            "somebody drew {a} {v} as the logo for {o}",
            "{p} code name is {v}",
            "the folder with the sources of {o} is named {v}",
        ),
        (
            "What is the code name of {n}?",
            "What did the developers call {n}?",
            "Which bird is on the start screen of {n}?",
            "How is the folder with the sources of {n} named?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("warehouses", ("Goods in store", "Round of the warehouses"), _draw_warehouse, _WAREHOUSES),
    Domain("parcels", ("At the parcel office", "In the post", "Parcels on the way"), _draw_parcel, _PARCELS),
    Domain("hires", ("Machines for hire", "Out of the yard", "Hire book"), _draw_hire, _HIRES),
    Domain("releases", ("Release notes", "What is new", "Software in use"), _draw_release, _RELEASES),
)
