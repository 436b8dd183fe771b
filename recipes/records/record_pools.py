"""Pools of values and name parts for the record documents: short, common English words and well-known place names."""

from __future__ import annotations

from word_tables import words_of

_TABLES = words_of("record_pools")


WOMEN = _TABLES["WOMEN"]
MEN = _TABLES["MEN"]
FIRST_NAMES = WOMEN + MEN
SURNAMES = _TABLES["SURNAMES"]
PLACES = _TABLES["PLACES"]
COUNTRIES = _TABLES["COUNTRIES"]
PROFESSIONS = _TABLES["PROFESSIONS"]
COLOURS = _TABLES["COLOURS"]
MATERIALS = _TABLES["MATERIALS"]
MONTHS = _TABLES["MONTHS"]
WEEKDAYS = _TABLES["WEEKDAYS"]
YEARS = tuple(str(year) for year in range(1851, 2001))
COUNTS = tuple(str(count) for count in range(2, 100))
PRICES = tuple(f"{price} dollars" for price in range(5, 100))
TIMES = tuple(f"{hour}:{minute}" for hour in range(5, 24) for minute in ("10", "15", "20", "30", "40", "45", "50"))
FOODS = _TABLES["FOODS"]
ANIMALS = _TABLES["ANIMALS"]
PETS = _TABLES["PETS"]
INSTRUMENTS = _TABLES["INSTRUMENTS"]
CARGO = _TABLES["CARGO"]
AILMENTS = _TABLES["AILMENTS"]
REMEDIES = _TABLES["REMEDIES"]
GENRES = _TABLES["GENRES"]
WEATHER = _TABLES["WEATHER"]
CROPS = _TABLES["CROPS"]
LIVESTOCK = _TABLES["LIVESTOCK"]
DOG_NAMES = _TABLES["DOG_NAMES"]
RIVERS = _TABLES["RIVERS"]
POOLS: dict[str, tuple[str, ...]] = {
    "first_name": FIRST_NAMES,
    "surname": SURNAMES,
    "place": PLACES,
    "country": COUNTRIES,
    "profession": PROFESSIONS,
    "colour": COLOURS,
    "material": MATERIALS,
    "month": MONTHS,
    "weekday": WEEKDAYS,
    "year": YEARS,
    "count": COUNTS,
    "price": PRICES,
    "time": TIMES,
    "food": FOODS,
    "animal": ANIMALS,
    "pet": PETS,
    "instrument": INSTRUMENTS,
    "cargo": CARGO,
    "ailment": AILMENTS,
    "remedy": REMEDIES,
    "topic": GENRES,
    "weather": WEATHER,
    "crop": CROPS,
    "livestock": LIVESTOCK,
    "dog_name": DOG_NAMES,
    "river": RIVERS,
}

BRANDS = _TABLES["BRANDS"]
PRODUCT_TYPES = _TABLES["PRODUCT_TYPES"]
SHIP_ADJECTIVES = _TABLES["SHIP_ADJECTIVES"]
SHIP_NOUNS = _TABLES["SHIP_NOUNS"]
CITY_STARTS = _TABLES["CITY_STARTS"]
CITY_ENDS = _TABLES["CITY_ENDS"]
BOOK_ADJECTIVES = _TABLES["BOOK_ADJECTIVES"]
BOOK_NOUNS = _TABLES["BOOK_NOUNS"]
TEAM_NAMES = _TABLES["TEAM_NAMES"]
FARM_STARTS = _TABLES["FARM_STARTS"]
FARM_MIDDLES = _TABLES["FARM_MIDDLES"]
MUSEUM_STARTS = _TABLES["MUSEUM_STARTS"]
MUSEUM_OBJECTS = _TABLES["MUSEUM_OBJECTS"]
TRAIN_KINDS = _TABLES["TRAIN_KINDS"]
TRAIN_STARTS = _TABLES["TRAIN_STARTS"]
