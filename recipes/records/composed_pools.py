"""Pools of values put together from parts (names, dates, codes, sums, measures, addresses) and more pools of words.

A composed pool is a sequence that makes its values when they are drawn, so a pool of a million costs nothing. It does
not know which domain uses it. Full names have surnames that no person of `record_pools.SURNAMES` has, so no value is
the name of a person whom a test asks about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import record_pools as pools
from word_tables import words_of

_TABLES = words_of("composed_pools")


class ComposedPool(Sequence[str]):
    """Every way to fill the template's {} with one word of each part, in order; made on demand."""

    def __init__(self, template: str, *parts: Sequence[str]) -> None:
        self._template = template
        self._parts = parts
        self._len = 1
        for part in parts:
            self._len *= len(part)

    def __len__(self) -> int:
        return self._len

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._len)))
        if not 0 <= index < self._len:
            raise IndexError(f"wanted 0 to {self._len - 1}; came {index}")
        chosen: list[str] = []
        for part in reversed(self._parts):
            index, position = divmod(index, len(part))
            chosen.append(part[position])
        return self._template.format(*reversed(chosen))


def _numbers(*bounds: int) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in range(*bounds))


OTHER_SURNAMES = _TABLES["OTHER_SURNAMES"]
_TOWN_STARTS = _TABLES["TOWN_STARTS"]
_TOWN_ENDS = _TABLES["TOWN_ENDS"]
OTHER_TOWNS = ComposedPool("{}{}", _TOWN_STARTS, _TOWN_ENDS)
_STREET_STARTS = _TABLES["STREET_STARTS"]
_STREET_ENDS = _TABLES["STREET_ENDS"]
_LETTERS = tuple("ABCDEFGHJKLMNPRSTUVWXYZ")
_MINUTES = tuple(f"{minute:02d}" for minute in range(0, 60, 5))
_DAYS = _numbers(1, 29)
_YEARS = tuple(str(year) for year in range(1801, 2025))
_CURRENCIES = _TABLES["CURRENCIES"]
_SHADES = _TABLES["SHADES"]
_FAULT_STARTS = _TABLES["FAULT_STARTS"]
_FAULT_PARTS = _TABLES["FAULT_PARTS"]
_PRIZES = _TABLES["PRIZES"]
_METALS = _TABLES["METALS"]
_PAPER_STARTS = _TABLES["PAPER_STARTS"]
_PAPER_ENDS = _TABLES["PAPER_ENDS"]
_FIRMS = _TABLES["FIRMS"]
_OPENINGS = _TABLES["OPENINGS"]
_BEASTS = _TABLES["BEASTS"]

FLOWERS = _TABLES["FLOWERS"]
TREES = _TABLES["TREES"]
SPICES = _TABLES["SPICES"]
DRINKS = _TABLES["DRINKS"]
LANGUAGES = _TABLES["LANGUAGES"]
SUBJECTS = _TABLES["SUBJECTS"]
BIRDS = _TABLES["BIRDS"]
TOOLS = _TABLES["TOOLS"]
GEMS = _TABLES["GEMS"]
FISH = _TABLES["FISH"]
MILK_ANIMALS = _TABLES["MILK_ANIMALS"]
TASTES = _TABLES["TASTES"]
MOODS = _TABLES["MOODS"]
REASONS = _TABLES["REASONS"]
BUILDINGS = _TABLES["BUILDINGS"]
CHARGES = _TABLES["CHARGES"]
DANCES = _TABLES["DANCES"]

# Every kind of value there is: those of record_pools.py and the ones made here.
POOLS: dict[str, Sequence[str]] = {
    **pools.POOLS,
    "full_name": ComposedPool("{} {}", pools.FIRST_NAMES, OTHER_SURNAMES),
    "womans_name": ComposedPool("{} {}", pools.WOMEN, OTHER_SURNAMES),
    "other_surname": OTHER_SURNAMES,
    "other_town": OTHER_TOWNS,
    "saint": ComposedPool("Saint {}", pools.FIRST_NAMES),
    "firm": ComposedPool("{} {}", OTHER_SURNAMES, _FIRMS),
    "newspaper": ComposedPool("{} {}", _PAPER_STARTS, _PAPER_ENDS),
    "prize": ComposedPool("{} {}", _METALS, _PRIZES),
    "opening": ComposedPool("{} {}", _BEASTS, _OPENINGS),
    "date": ComposedPool("{} {} {}", _DAYS, pools.MONTHS, _YEARS),
    "calendar_day": ComposedPool("{} {}", _DAYS, pools.MONTHS),
    "month_of_year": ComposedPool("{} {}", pools.MONTHS, _YEARS),
    "any_year": _YEARS,
    "hour": ComposedPool("{}:{}", _numbers(5, 24), _MINUTES),
    "morning_hour": ComposedPool("{}:{}", _numbers(5, 12), _MINUTES),
    "evening_hour": ComposedPool("{}:{}", _numbers(15, 24), _MINUTES),
    "address": ComposedPool("{} {} {}", _numbers(2, 120), _STREET_STARTS, _STREET_ENDS),
    "street": ComposedPool("{} {}", _STREET_STARTS, _STREET_ENDS),
    "code": ComposedPool("{}{}-{}", _LETTERS, _LETTERS, tuple(str(number) for number in range(101, 1000))),
    "plate": ComposedPool("{} {}{}{}", tuple(str(n) for n in range(11, 100)), _LETTERS, _LETTERS, _LETTERS),
    "phone": ComposedPool(
        "{} {}", tuple(f"0{n}" for n in range(110, 990, 11)), tuple(str(n) for n in range(1003, 9999, 7))
    ),
    "version": ComposedPool("{}.{}.{}", _numbers(1, 20), _numbers(0, 30), _numbers(0, 10)),
    "frequency": ComposedPool("{}.{} megahertz", _numbers(87, 108), _numbers(0, 10)),
    "hundreds": tuple(str(number) for number in range(101, 1000)),
    "thousands": _numbers(1050, 99000, 50),
    "amount": ComposedPool("{} {}", _numbers(150, 20000, 50), _CURRENCIES),
    "fee": ComposedPool("{} {}", _numbers(3, 100), _CURRENCIES),
    "large_sum": ComposedPool("{} million {}", _numbers(2, 300), _CURRENCIES),
    "percent": ComposedPool("{} percent", _numbers(2, 99)),
    "metres": ComposedPool("{} metres", _numbers(3, 400)),
    "altitude": ComposedPool("{} metres", _numbers(1010, 7990, 10)),
    "kilometres": ComposedPool("{} kilometres", _numbers(5, 900)),
    "hectares": ComposedPool("{} hectares", _numbers(3, 600)),
    "tonnes": ComposedPool("{} tonnes", _numbers(3, 500)),
    "kilos": ComposedPool("{} kilos", _numbers(3, 700)),
    "grams": ComposedPool("{} grams", _numbers(15, 990, 5)),
    "litres": ComposedPool("{} litres", _numbers(3, 900)),
    "minutes": ComposedPool("{} minutes", _numbers(4, 180)),
    "hours": ComposedPool("{} hours", _numbers(2, 90)),
    "days": ComposedPool("{} days", _numbers(2, 120)),
    "weeks": ComposedPool("{} weeks", _numbers(2, 80)),
    "months": ComposedPool("{} months", _numbers(2, 80)),
    "span_of_years": ComposedPool("{} years", _numbers(2, 130)),
    "degrees": ComposedPool("{} degrees", _numbers(2, 260)),
    "light_years": ComposedPool("{} light years", _numbers(4, 3000)),
    "shade": ComposedPool("{} {}", _SHADES, pools.COLOURS),
    "fault": ComposedPool("{} {}", _FAULT_STARTS, _FAULT_PARTS),
    "flower": FLOWERS,
    "tree": TREES,
    "spice": SPICES,
    "drink": DRINKS,
    "language": LANGUAGES,
    "subject": SUBJECTS,
    "bird": BIRDS,
    "tool": TOOLS,
    "gem": GEMS,
    "fish": FISH,
    "milk_animal": MILK_ANIMALS,
    "taste": TASTES,
    "mood": MOODS,
    "reason": REASONS,
    "building": BUILDINGS,
    "charge": CHARGES,
    "dance": DANCES,
}


def has_values_for(kind: str, num_records: int, num_attributes: int) -> bool:
    """Whether a document of so many records can keep distinct the values of so many attributes of the kind."""
    return num_records == 1 or len(POOLS[kind]) >= num_records * num_attributes + 2
