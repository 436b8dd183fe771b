"""JSON from files that somebody else wrote: lines, arrays or one object, plain or gzipped, read strictly.

Duplicate keys, NaN, bad UTF-8, truncation and endless nesting are a `DataError` with the place, never a guess. Knows
nothing of what the values mean.
"""

import gzip
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from lloco.errors import DataError

MAX_JSON_BYTES = 1 << 30
_GZIP_MAGIC = b"\x1f\x8b"
_READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile)


def read_values(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a JSON-lines file or the items of a JSON array, each with its place; an object is one row."""
    try:
        with _open(path) as file:
            yield from _values(file, str(path))
    except _READ_ERRORS as error:
        raise _unreadable(str(path), error) from error


def read_archived_values(archive: Path, member: str) -> Iterator[tuple[str, Any]]:
    """The same from a member of a zip file."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
            yield from _values(file, f"{archive}, {member}")
    except KeyError as error:
        raise DataError(f"{archive} has no member {member}: is it another data set?") from error
    except _READ_ERRORS as error:
        raise _unreadable(str(archive), error) from error


def read_value(path: Path) -> Any:
    """The one JSON value of a file."""
    try:
        with _open(path) as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except _READ_ERRORS as error:
        raise _unreadable(str(path), error) from error
    return parse(data, str(path))


def parse(data: bytes, name: str, line: int | None = None) -> Any:
    """One JSON value from bytes; `name`, and the line where the bytes are but one, is the place in messages.

    Raises DataError.
    """
    where = name if line is None else f"{name}, line {line}"
    if len(data) > MAX_JSON_BYTES:
        raise DataError(f"{where}: JSON longer than {MAX_JSON_BYTES} bytes: split the file")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is not UTF-8 (byte {error.object[error.start]:#04x} at offset {error.start}): convert the file "
            "to UTF-8"
        ) from error  # fmt: skip
    except RecursionError as error:
        raise DataError(f"{where}: JSON nested too deeply to read: this is not the asked-for format") from error
    except json.JSONDecodeError as error:
        position = f"{name}, line {line or error.lineno}, column {error.colno}"
        raise DataError(f"{position}: not valid JSON: {error.msg}: the file is damaged or of another format") from error
    except ValueError as error:
        raise DataError(f"{where}: not valid JSON: {error}: the file is damaged or of another format") from error


def check_are_files(paths: Iterable[Path]) -> None:
    """Raise `DataError` for the first that cannot be opened as a file."""
    for path in paths:
        try:
            path.open("rb").close()
        except OSError as error:
            raise _unreadable(str(path), error) from error


def _unreadable(name: str, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"cannot read {name} ({reason}): check the file, or fetch it again")


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_gzipped = file.read(2) == _GZIP_MAGIC
    return cast(IO[bytes], gzip.open(path, "rb")) if is_gzipped else path.open("rb")


def _values(file: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    all_lines = enumerate(_lines(file), start=1)
    lines = ((number, line) for number, line in all_lines if line.strip())
    number, first = next(lines, (0, b""))
    if not number:
        raise DataError(f"{name} is empty: it must hold JSON lines or a JSON array")
    if _spans_lines(name, first):
        whole = bytearray(b"\n" * (number - 1) + first)
        for _, line in all_lines:
            whole += line
            if len(whole) > MAX_JSON_BYTES:
                break  # `parse` says so
        yield from _items(name, parse(bytes(whole), name))
        return
    for line_number, line in chain([(number, first)], lines):
        yield from _items(f"{name}, line {line_number}", parse(line, name, line_number))


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(MAX_JSON_BYTES + 1):
        yield line


def _spans_lines(name: str, first: bytes) -> bool:
    """Whether the file is one value written over several lines: only arrays, and objects in a `.json` file, may be."""
    is_json_file = name.lower().removesuffix(".gz").endswith(".json")
    if not first.strip().removeprefix(b"\xef\xbb\xbf").startswith((b"[", b"{") if is_json_file else b"["):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return True
    return False


def _items(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        yield from ((f"{where}, item {number}", item) for number, item in enumerate(value, start=1))
    else:
        yield where, value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {repeated[:80]!r} occurs twice in one object")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
