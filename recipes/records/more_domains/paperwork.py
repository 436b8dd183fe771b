"""What is filed in folders: court cases, insurance policies, bank loans, patents."""

from __future__ import annotations

import random

import composed_pools
import record_pools as pools
from record_schema import Attribute, Domain, Entity, thing

from more_domains import name_parts


def _draw_case(rng: random.Random) -> Entity:
    one, other = rng.sample(composed_pools.OTHER_SURNAMES, 2)
    return thing(f"{one} against {other}", "case", article="")


def _draw_policy(rng: random.Random) -> Entity:
    number = f"{rng.randint(10, 99)}-{rng.randint(100, 999)}"
    return thing(f"Policy {rng.choice(name_parts.CAPITALS)}{number}", "policy", article="")


def _draw_loan(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_SURNAMES)} {rng.choice(name_parts.LOANS)} Loan", "loan")


def _draw_patent(rng: random.Random) -> Entity:
    gadget = f"{rng.choice(name_parts.GADGET_STYLES)} {rng.choice(composed_pools.TOOLS).capitalize()}"
    return thing(f"{rng.choice(pools.BRANDS)} {gadget}", "invention")


_COURT_CASES = (
    Attribute(
        "judge",
        "full_name",
        ("is heard by Judge {v}", "lies on the desk of Judge {v}"),
        (
            "Judge {v} presides over {o}",
            "everybody in the room stands up when Judge {v} opens {o}",
            "{p} verdict will be spoken by Judge {v}",
            "the court has left {o} to Judge {v}",
        ),
        (
            "Which judge hears {n}?",
            "Who presides over {n}?",
            "Who will speak the verdict in {n}?",
            "Tell me the judge in {n}.",
            "On whose desk does {n} lie?",
        ),
    ),
    Attribute(
        "lawyer",
        "full_name",
        ("is defended by {v}", "keeps the lawyer {v} awake at night"),
        (
            "the defence in {o} is led by {v}",
            "{v} took on the defence in {o} without a fee",
            "{p} accused is represented by {v}",
            "a long speech by {v} moved everyone who followed {o}",
        ),
        (
            "Who leads the defence in {n}?",
            "Which lawyer defends in {n}?",
            "Who represents the accused in {n}?",
            "Whose speech was heard in {n}?",
            "I need the name of the lawyer in {n}.",
        ),
    ),
    Attribute(
        "witness",
        "full_name",
        ("depends on what {v} has seen", "calls {v} to the stand"),
        (
            "the most important witness in {o} is {v}",
            "under oath {v} told the truth about {o}",
            "{p} surprise was the testimony of {v}",
            "without {v}, who saw it all, there would be no {o}",
        ),
        (
            "Who is the witness in {n}?",
            "Who gave testimony in {n}?",
            "Who was called to the stand in {n}?",
            "Whose testimony does {n} depend on?",
        ),
    ),
    Attribute(
        "charge",
        "charge",
        ("is about {v}", "turns on a charge of {v}"),
        (
            "somebody is accused of {v} in {o}",
            "the file of {o} has {v} on its cover",
            "{p} subject is {v}",
            "what the court has to decide in {o} is a matter of {v}",
        ),
        (
            "What is {n} about?",
            "Of what is somebody accused in {n}?",
            "What is the charge in {n}?",
            "Which crime or quarrel does the court deal with in {n}?",
            "What does the cover of the file of {n} say?",
        ),
    ),
    Attribute(
        "file_number",
        "code",
        ("is kept under the number {v}", "has the file number {v}"),
        (
            "to find {o} ask the clerk for {v}",
            "letters about {o} must quote {v}",
            "{p} papers are tied together and marked {v}",
            "in the cellar of the court the box {v} holds {o}",
        ),
        (
            "What is the file number of {n}?",
            "Under which number is {n} kept?",
            "What must letters about {n} quote?",
            "How are the papers of {n} marked?",
        ),
    ),
    Attribute(
        "hearing",
        "date",
        ("comes to court on {v}", "was put off until {v}"),
        (
            "both sides of {o} have to appear on {v}",
            "the hearing in {o} begins on {v}",
            "{p} next day in court is {v}",
            "on {v} the doors open for all who want to follow {o}",
        ),
        (
            "When does {n} come to court?",
            "On which date is the hearing in {n}?",
            "Until when was {n} put off?",
            "When do both sides of {n} have to appear?",
        ),
    ),
    Attribute(
        "damages",
        "amount",
        ("ended with a payment of {v}", "was settled for {v}"),
        (
            "the loser of {o} has to pay {v}",
            "the winner of {o} took home {v}",
            "{p} outcome was a payment of {v}",
            "after {o} a cheque over {v} was written",
        ),
        (
            "How much does the loser of {n} pay?",
            "What sum settled {n}?",
            "With how much money did the winner of {n} go home?",
            "What was the payment at the end of {n}?",
        ),
    ),
)

_POLICIES = (
    Attribute(
        "holder",
        "full_name",
        ("was taken out by {v}", "is in the name of {v}"),
        (
            "{v} signed {o} at the kitchen table",
            "the premium for {o} is paid by {v}",
            "{p} holder is {v}",
            "the insurer sends everything about {o} to {v}",
        ),
        (
            "Who took out {n}?",
            "Who is the holder of {n}?",
            "In whose name is {n}?",
            "Who pays the premium for {n}?",
            "Who signed {n}?",
        ),
    ),
    Attribute(
        "beneficiary",
        "full_name",
        ("pays out to {v} one day", "names {v} as the one to be paid"),
        (
            "if the worst happens {v} gets the money from {o}",
            "{v} will profit from {o}",
            "{p} money is meant for {v}",
            "in case of death {s} provides for {v}",
        ),
        (
            "Who gets the money from {n}?",
            "Who is to be paid by {n}?",
            "For whom is the money of {n} meant?",
            "Who will profit from {n}?",
        ),
    ),
    Attribute(
        "agent",
        "full_name",
        ("was sold by {v}", "is looked after by the agent {v}"),
        (
            "the agent who sold {o} is called {v}",
            "with questions about {o} turn to {v}",
            "{p} small print was explained by {v}",
            "{v} earns a commission on {o}",
        ),
        (
            "Who sold {n}?",
            "Which agent looks after {n}?",
            "To whom should I turn with questions about {n}?",
            "Who earns a commission on {n}?",
        ),
    ),
    Attribute(
        "insured_building",
        "building",
        ("covers one {v}", "protects a certain {v} against fire"),
        (
            "should the {v} burn down, {s} pays",
            "what stands under the protection of {o} is an old {v}",
            "{p} subject is the {v} of the family",
            "after the storm the roof of the {v} was paid for by {o}",
        ),
        (
            "What does {n} cover?",
            "Which building is insured under {n}?",
            "What is protected by {n}?",
            "What kind of house does {n} protect?",
        ),
    ),
    Attribute(
        "premium",
        "fee",
        ("costs {v} a month", "takes {v} from an account every month"),
        (
            "the monthly premium of {o} has gone up to {v}",
            "each month {v} must be paid for {o}",
            "{p} price per month is {v}",
            "for as little as {v} a month one can have {o}",
        ),
        (
            "What does {n} cost a month?",
            "How much is the monthly premium of {n}?",
            "How much must be paid for {n} each month?",
            "What is taken from an account for {n}?",
        ),
    ),
    Attribute(
        "insured_sum",
        "amount",
        ("pays up to {v}", "is limited to {v}"),
        (
            "no more than {v} can be claimed under {o}",
            "the sum written into {o} is {v}",
            "{p} limit is {v}",
            "a total loss would bring {v} from {o}",
        ),
        (
            "How much does {n} pay at most?",
            "What sum is written into {n}?",
            "To what amount is {n} limited?",
            "What can be claimed under {n}?",
        ),
    ),
    Attribute(
        "excess",
        "fee",
        ("leaves the first {v} to you", "does not pay the first {v}"),
        (
            "of any damage under {o} you bear {v} yourself",
            "small damage below {v} is no matter for {o}",
            "{p} excess is {v}",
            "your own share under {o} comes to {v}",
        ),
        (
            "What is the excess of {n}?",
            "How much of the damage do I bear myself under {n}?",
            "Below what sum does {n} not pay?",
            "What is my own share under {n}?",
        ),
    ),
)

_LOANS = (
    Attribute(
        "lender",
        "firm",
        ("was granted by {v}", "comes from the safe of {v}"),
        (
            "the money for {o} was put up by {v}",
            "{v} lent what is known as {o}",
            "{p} creditor is {v}",
            "it was {v} who said yes to {o}",
        ),
        (
            "Who granted {n}?",
            "Who is the lender of {n}?",
            "Which firm put up the money for {n}?",
            "Who said yes to {n}?",
        ),
    ),
    Attribute(
        "guarantor",
        "full_name",
        ("is guaranteed by {v}", "is vouched for by {v}"),
        (
            "if nobody pays for {o}, {v} will have to",
            "{v} stands surety for {o}",
            "{p} guarantor is {v}",
            "the bank only gave {o} because {v} vouched for it",
        ),
        (
            "Who guarantees {n}?",
            "Who stands surety for {n}?",
            "Who will have to pay for {n} if nobody else does?",
            "Who vouched for {n}?",
        ),
    ),
    Attribute(
        "sum",
        "amount",
        ("is for {v}", "brought {v} into the till"),
        (
            "the sum of {o} is {v}",
            "a cheque for {v} was handed over with {o}",
            "{p} total was fixed at {v}",
            "whoever took {o} now owes {v}",
        ),
        (
            "How much money is {n} for?",
            "What is the sum of {n}?",
            "How much was handed over with {n}?",
            "How large is {n}?",
        ),
    ),
    Attribute(
        "instalment",
        "amount",
        ("is repaid at {v} a week", "goes down by {v} each Friday"),
        (
            "every week {v} goes towards {o}",
            "to pay off {o} you must find {v} a week",
            "{p} weekly instalment is {v}",
            "they agreed that {s} shall be repaid in pieces of {v}",
        ),
        (
            "What is the weekly instalment of {n}?",
            "How much goes towards {n} every week?",
            "At what rate is {n} repaid?",
            "How much must be found each week to pay off {n}?",
        ),
    ),
    Attribute(
        "interest",
        "percent",
        ("carries interest of {v}", "bears {v} a year"),
        (
            "the bank asks for {v} of interest on {o}",
            "each year {v} is added to {o}",
            "{p} interest rate stands at {v}",
            "with {v} of interest {s} is no bargain",
        ),
        (
            "What is the interest rate of {n}?",
            "How much interest does {n} carry?",
            "By how much does {n} grow each year?",
            "How many percent does the bank ask on {n}?",
        ),
    ),
    Attribute(
        "security",
        "building",
        ("is secured by the {v} of the borrower", "puts a family {v} at risk"),
        (
            "the bank will take the {v} if {s} is not repaid",
            "as a pledge for {o} the bank holds the deed to one {v}",
            "{p} security is an old {v}",
            "a certain {v} had to be pledged for {o}",
        ),
        (
            "What secures {n}?",
            "What will the bank take if {n} is not repaid?",
            "Which building was pledged for {n}?",
            "What is put at risk by {n}?",
        ),
    ),
    Attribute(
        "end_date",
        "month_of_year",
        ("has to be repaid by {v}", "runs out in {v}"),
        (
            "the last coin of {o} is due in {v}",
            "the debtor hopes to be rid of {o} by {v}",
            "{p} end is planned for {v}",
            "until {v} somebody will be paying for {o}",
        ),
        (
            "By when must {n} be repaid?",
            "When does {n} run out?",
            "Until when will somebody be paying for {n}?",
            "In what month does {n} end?",
        ),
    ),
)

_PATENTS = (
    Attribute(
        "inventor",
        "full_name",
        ("was invented by {v}", "came to {v} in a dream"),
        (
            "{v} had the idea for {o}",
            "in a shed behind the house {v} built the first model of {o}",
            "{p} inventor is {v}",
            "for {o} the world has to thank {v}",
        ),
        (
            "Who invented {n}?",
            "Who is the inventor of {n}?",
            "Who had the idea for {n}?",
            "To whom does the world owe {n}?",
            "Tell me who thought of {n} first.",
        ),
    ),
    Attribute(
        "examiner",
        "full_name",
        ("was examined by {v}", "did not convince {v} at once"),
        (
            "at the patent office {v} read the papers of {o}",
            "{v} examined {o} for weeks",
            "{p} drawings were checked by {v}",
            "the stamp on {o} was set by {v}, who works for the patent office",
        ),
        (
            "Who examined {n}?",
            "Which examiner dealt with {n}?",
            "Who checked the drawings of {n}?",
            "Who at the patent office read about {n}?",
        ),
    ),
    Attribute(
        "licensee",
        "firm",
        ("is built under licence by {v}", "earns its money through {v}"),
        (
            "{v} bought the right to make {o}",
            "a licence for {o} went to {v}",
            "{p} licence is held by {v}",
            "factories of {v} turn out {o} by the thousand",
        ),
        (
            "Who holds the licence for {n}?",
            "Which firm builds {n}?",
            "Who bought the right to make {n}?",
            "Whose factories turn out {n}?",
        ),
    ),
    Attribute(
        "patent_number",
        "thousands",
        ("got the patent number {v}", "is filed as number {v}"),
        (
            "the number given to {o} is {v}",
            "look under {v} to read about {o}",
            "{p} number in the list of patents is {v}",
            "the patent on {o} was entered as {v}",
        ),
        (
            "What is the patent number of {n}?",
            "Under which number is {n} filed?",
            "Which number was given to {n}?",
            "Where do I look to read about {n}, under what number?",
        ),
    ),
    Attribute(
        "filing_date",
        "date",
        ("was filed on {v}", "reached the patent office on {v}"),
        (
            "an envelope with {o} arrived on {v}",
            "the application for {o} bears the date {v}",
            "{p} papers were handed in on {v}",
            "since {v} nobody else may claim {o}",
        ),
        (
            "When was {n} filed?",
            "On what date were the papers of {n} handed in?",
            "Since when may nobody else claim {n}?",
            "Which date does the application for {n} bear?",
        ),
    ),
    Attribute(
        "expiry",
        "date",
        ("is protected until {v}", "becomes free for all on {v}"),
        (
            "after {v} anyone may build {o}",
            "the patent on {o} expires on {v}",
            "{p} protection ends on {v}",
            "rivals wait for {v} to copy {o}",
        ),
        (
            "When does the patent on {n} expire?",
            "Until when is {n} protected?",
            "From what date may anyone build {n}?",
            "On which day does the protection of {n} end?",
        ),
    ),
    Attribute(
        "material",
        "material",
        ("only works if it is made of {v}", "calls for plenty of {v}"),
        (
            "the moving parts of {o} consist of {v}",
            "the drawings of {o} prescribe {v}",
            "{p} core must be {v}",
            "somebody tried to build {o} without {v} and failed",
        ),
        (
            "What must {n} be made of?",
            "Which material do the drawings of {n} prescribe?",
            "Of which stuff are the moving parts of {n}?",
            "What does it take plenty of to build {n}?",
        ),
    ),
)

DOMAINS: tuple[Domain, ...] = (
    Domain("court-cases", ("Before the court", "The court this month", "Cases on file"), _draw_case, _COURT_CASES),
    Domain("policies", ("Insurance folder", "Policies in force"), _draw_policy, _POLICIES),
    Domain("loans", ("Loans of the bank", "The ledger", "Money lent"), _draw_loan, _LOANS),
    Domain("patents", ("From the patent office", "New inventions"), _draw_patent, _PATENTS),
)
