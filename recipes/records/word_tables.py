"""The words and wordings of record documents, read from the two files beside this one.

`words.json` has, for each module that uses them, words by the name of their constant; `wordings.json` has the
attributes of each domain. The placeholders in wordings are explained in record_schema.py.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from record_schema import Attribute

_FOLDER = Path(__file__).parent


def words_of(module: str) -> dict[str, Any]:
    """Tables of strings by name, of the module of this name; lists come as tuples."""
    tables: dict[str, Any] = _as_tuples(_read("words.json")[module])
    return tables


def attributes_of(domain: str) -> tuple[Attribute, ...]:
    """The attributes of a domain, in order."""
    return tuple(Attribute(**_as_tuples(attribute)) for attribute in _read("wordings.json")[domain])


@cache
def _read(name: str) -> Any:
    return json.loads((_FOLDER / name).read_text(encoding="utf-8"))


def _as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_tuples(inner) for key, inner in value.items()}
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
