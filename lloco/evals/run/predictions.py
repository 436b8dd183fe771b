"""Predictions as they lie in a file: `{id: text}`, or HotpotQA's official `{"answer": {...}, "sp": {...}}`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lloco.documents.encoding import is_encodable
from lloco.errors import DataError
from lloco.evals.metrics.hotpot import Fact
from lloco.files.strict_json import read_value


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers by sample id; `facts` only where the file is HotpotQA's official form with supporting facts."""

    answers: Mapping[str, str]
    facts: Mapping[str, tuple[Fact, ...]] | None = None
    is_official_hotpot: bool = False


def read_predictions(path: str | Path) -> dict[str, Any]:
    """The JSON object of a predictions file, gzipped or not, checked to hold texts by id or HotpotQA's two maps.

    Raises DataError, with the place, when it holds anything else.
    """
    try:
        value = read_value(Path(path))
    except DataError as error:
        raise DataError(f"{error}; predictions are one JSON object {{id: text}}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold one JSON object {{id: text}}, got {_kind(value)}: write one object")
    as_predictions(value, str(path))
    return value


def as_predictions(value: Mapping[str, Any], where: str) -> Predictions:
    """Tell the two forms apart and check every value. Raises DataError."""
    if not isinstance(value.get("answer"), Mapping):
        return Predictions(_texts(value, where))
    unknown = sorted(set(value) - {"answer", "sp"})
    if unknown:
        raise DataError(f"{where}: beside HotpotQA's `answer` and `sp` there is {unknown[0][:80]!r}: remove it")
    facts = value.get("sp")
    if facts is None:
        return Predictions(_texts(value["answer"], f"{where}, answer"), is_official_hotpot=True)
    if not isinstance(facts, Mapping):
        raise DataError(f"{where}, sp: must be an object {{id: [[title, sentence], ...]}}, got {_kind(facts)}")
    checked = {name: _facts(pairs, f"{where}, sp, id {name[:80]!r}") for name, pairs in facts.items()}
    return Predictions(_texts(value["answer"], f"{where}, answer"), checked, is_official_hotpot=True)


def _texts(value: Mapping[str, Any], where: str) -> Mapping[str, str]:
    for name, text in value.items():
        if not isinstance(text, str):
            raise DataError(
                f"{where}: the value of id {str(name)[:80]!r} must be a text, got {_kind(text)}: write texts only"
            )
        if not is_encodable(name) or not is_encodable(text):
            raise DataError(f"{where}: id {ascii(name)[:80]} or its text holds half a surrogate pair: mend the text")
    return value


def _facts(pairs: Any, where: str) -> tuple[Fact, ...]:
    """Pairs of a title and a sentence number; a pair of another form is a wrong fact officially, here an error."""
    if not isinstance(pairs, list | tuple):
        raise DataError(f"{where}: must be a list of [title, sentence], got {_kind(pairs)}")
    for pair in pairs:
        is_fact = (
            isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) is int
        )
        if not is_fact:
            raise DataError(f"{where}: must be [title, sentence number], got {str(pair)[:80]}")
    return tuple((title, number) for title, number in pairs)


def _kind(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"
