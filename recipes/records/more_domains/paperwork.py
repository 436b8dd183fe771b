"""What is filed in folders: court cases, insurance policies, bank loans, patents."""

from __future__ import annotations

import random

import composed_pools
import record_pools as pools
from record_schema import Domain, Entity, thing
from word_tables import attributes_of

from more_domains import name_parts


def _draw_case(rng: random.Random) -> Entity:
    name, other = rng.sample(composed_pools.OTHER_SURNAMES, 2)
    return thing(f"{name} against {other}", "case", article="")


def _draw_policy(rng: random.Random) -> Entity:
    number = f"{rng.randint(10, 99)}-{rng.randint(100, 999)}"
    return thing(f"Policy {rng.choice(name_parts.CAPITALS)}{number}", "policy", article="")


def _draw_loan(rng: random.Random) -> Entity:
    return thing(f"{rng.choice(composed_pools.OTHER_SURNAMES)} {rng.choice(name_parts.LOANS)} Loan", "loan")


def _draw_patent(rng: random.Random) -> Entity:
    gadget = f"{rng.choice(name_parts.GADGET_STYLES)} {rng.choice(composed_pools.TOOLS).capitalize()}"
    return thing(f"{rng.choice(pools.BRANDS)} {gadget}", "invention")


DOMAINS: tuple[Domain, ...] = (
    Domain(
        "court-cases",
        ("Before the court", "The court this month", "Cases on file"),
        _draw_case,
        attributes_of("court-cases"),
    ),
    Domain("policies", ("Insurance folder", "Policies in force"), _draw_policy, attributes_of("policies")),
    Domain("loans", ("Loans of the bank", "The ledger", "Money lent"), _draw_loan, attributes_of("loans")),
    Domain("patents", ("From the patent office", "New inventions"), _draw_patent, attributes_of("patents")),
)
