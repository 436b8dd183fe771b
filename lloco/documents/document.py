"""A document (id, text, title, source) and the reading of files and folders into documents.

Folders are walked in sorted order; what cannot be read is reported one by one, never dropped in silence. Names that
begin with a dot are not looked at inside a folder. It does not know tokens, models or the store; formats are in
formats.py.
"""

import gzip
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lloco.documents.encoding import lone_surrogate
from lloco.documents.extracted import UnreadableError
from lloco.documents.formats import (
    check_is_text,
    extract_text,
    file_format,
    file_stem,
    normalise_newlines,
    open_file,
    supported_formats,
)
from lloco.errors import DocumentError

_MAX_BYTES = 512 << 20
_MAX_GZIP_RATIO = 100  # text packs 3 to 30 times; a gzip bomb about 1000 times


@dataclass(frozen=True, slots=True)
class Document:
    """One text to be compressed; `source` says where it came from, for messages and citations."""

    id: str
    text: str
    title: str = ""
    source: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the text's UTF-8 bytes, in hex: the same text has the same digest whatever its id."""
        try:
            return hashlib.sha256(self.text.encode()).hexdigest()
        except UnicodeEncodeError as error:
            raise DocumentError(
                f"document {self.id!r} must be Unicode text, its character {error.start} is a lone surrogate "
                f"(U+{ord(self.text[error.start]):04X}): repair the text"
            ) from error


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, folder, part of a file or JSON line that was not read, and why."""

    source: str
    reason: str


OnSkip = Callable[[Skipped], None]
OnFiles = Callable[[int, int], None]
"""Called with the number of files just read and the number there are in all."""


def read_documents(
    paths: Sequence[Path], *, on_skip: OnSkip, on_files: OnFiles | None = None, max_bytes: int = _MAX_BYTES
) -> Iterator[Document]:
    """Read files and folders, in the order given; folders recursively, in sorted order.

    An id is the POSIX path below the folder given, the name of a file given by itself, or what a JSON line states.
    `max_bytes` bounds one document: a file, unpacked if it is gzipped, or one line of JSON lines.

    Raises:
        DocumentError: at once for a path that does not exist; on reaching it, for a broken JSON line or an id that
            occurs twice.
    """
    for path in paths:
        try:
            path.stat()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise DocumentError(f"{_printable(path)} cannot be found: {why}; check the path") from error
    return _read_all(paths, on_skip, on_files, max_bytes)


def _read_all(paths: Sequence[Path], on_skip: OnSkip, on_files: OnFiles | None, max_bytes: int) -> Iterator[Document]:
    sources: dict[str, str] = {}
    files = [found for path in paths for found in _files_with_ids(path, on_skip)]
    for file, document_id in files:
        for document in _read_file(file, document_id, on_skip, max_bytes):
            if document.id in sources:
                raise DocumentError(
                    f"document ids must differ, {document.id!r} occurs twice: in {sources[document.id]} and in "
                    f"{document.source}; rename one, or put both under one folder and give that"
                )
            sources[document.id] = document.source
            yield document
        if on_files is not None:
            on_files(1, len(files))


def _files_with_ids(path: Path, on_skip: OnSkip) -> Iterator[tuple[Path, str]]:
    if not path.is_dir():
        yield path, path.name
        return
    for file in _walk(path, on_skip):
        yield file, file.relative_to(path).as_posix()


def _walk(root: Path, on_skip: OnSkip) -> Iterator[Path]:
    """Yield every entry below `root` that is not a folder; enter each folder once, however many links lead to it."""
    real_root = root.resolve()
    entered: set[Path] = set()
    stack = [root]
    while stack:
        path = stack.pop()
        if path != root and path.is_symlink() and not _is_inside(path, real_root):
            on_skip(
                Skipped(_printable(path), "symbolic link out of the folder: give what it points to, to have it read")
            )
            continue
        if not path.is_dir():
            yield path
            continue
        real = path.resolve()
        if real in entered or (path != root and path.is_symlink() and _is_read_anyway(real, real_root)):
            on_skip(Skipped(_printable(path), "symbolic link to a folder that is read at its own place"))
            continue
        entered.add(real)
        try:
            children = sorted((child for child in path.iterdir() if not child.name.startswith(".")), reverse=True)
        except OSError as error:
            on_skip(Skipped(_printable(path), f"folder cannot be read: {error.strerror}"))
            continue
        stack.extend(children)


def _is_inside(link: Path, real_root: Path) -> bool:
    """Whether a link leads to something in the folder, to nowhere, or in circles; `realpath` fails on none of them."""
    target = Path(os.path.realpath(link))
    return target.is_relative_to(real_root) or real_root.is_relative_to(target) or not target.exists()


def _is_read_anyway(real: Path, real_root: Path) -> bool:
    """Whether a link's target is the root, around it, or a visible folder inside it."""
    if real_root.is_relative_to(real):
        return True
    return real.is_relative_to(real_root) and not any(
        part.startswith(".") for part in real.relative_to(real_root).parts
    )


def _read_file(path: Path, document_id: str, on_skip: OnSkip, max_bytes: int) -> Iterator[Document]:
    source = _printable(path)
    try:
        _check_file(path, source)
        if file_format(path) == ".jsonl":
            with open_file(path) as file:
                yield from _read_json_lines(file, path, on_skip, max_bytes)
            return
        extracted = extract_text(path, max_bytes=max_bytes)
    except UnreadableError as error:
        on_skip(Skipped(source, str(error)))
    except OSError as error:
        on_skip(Skipped(source, f"cannot be read: {error.strerror or error}"))
    else:
        if extracted.unread:
            on_skip(Skipped(source, f"read in part: {extracted.unread}"))
        yield Document(document_id, extracted.text, extracted.title or file_stem(path), source)


def _check_file(path: Path, source: str) -> None:
    mode = path.stat().st_mode
    if source != path.as_posix():
        raise UnreadableError("the file's name is not valid UTF-8; rename it")
    if not stat.S_ISREG(mode):
        raise UnreadableError("not a regular file (a pipe, socket or device)")
    if file_format(path) is None:
        raise UnreadableError(f"unsupported file type; supported are {supported_formats()}")


def _read_json_lines(file: BinaryIO, path: Path, on_skip: OnSkip, max_bytes: int) -> Iterator[Document]:
    """Yield a document per line; the whole file may be larger than `max_bytes`, a line may not."""
    for number, line in _lines(file, path, max_bytes):
        source = f"{_printable(path)}:{number}"
        if len(line) > max_bytes:
            on_skip(Skipped(source, f"too large: the line has more than the limit of {max_bytes:,} bytes; split it"))
            continue
        if not line.strip():
            continue
        document = _parse_line(line, path, number, source)
        try:
            check_is_text(document.text)
        except UnreadableError as error:
            on_skip(Skipped(source, str(error)))
        else:
            yield document


def _lines(file: BinaryIO, path: Path, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line); of a line longer than `max_bytes` only its beginning."""
    limit = max(max_bytes, _MAX_GZIP_RATIO * path.stat().st_size)
    number = num_bytes = 0
    while True:
        number += 1
        try:
            line = piece = file.readline(max_bytes + 1)
            num_bytes += len(line)
            while len(line) > max_bytes and piece and not piece.endswith(b"\n") and num_bytes <= limit:
                piece = file.readline(1 << 20)
                num_bytes += len(piece)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise _broken(path, number, f"the gzip file is damaged or cut there ({error})") from error
        if num_bytes > limit:
            raise _broken(path, number, f"the gzip file unpacks to more than {limit:,} bytes, far beyond text")
        if not line:
            return
        yield number, line


def _parse_line(line: bytes, path: Path, number: int, source: str) -> Document:
    try:
        fields: Any = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise _broken(path, number, f"the line is not UTF-8 at its byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise _broken(path, number, f"the line is not valid JSON at its column {error.colno} ({error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise _broken(path, number, f"the line is not valid JSON ({error})") from error
    if not isinstance(fields, dict):
        raise _broken(path, number, f"the line is a JSON {type(fields).__name__}, not an object")
    fields["title"] = "" if fields.get("title") is None else fields["title"]
    for name in ("id", "text", "title"):
        value = fields.get(name)
        if not isinstance(value, str):
            fault = "is missing" if name not in fields else f"is a {type(value).__name__}, not a string"
            raise _broken(path, number, f'the field "{name}" {fault}')
        if (at := lone_surrogate(value)) is not None:
            raise _broken(path, number, f'the field "{name}" has a lone surrogate (\\ud800..\\udfff) at character {at}')
    if not fields["id"].strip():
        raise _broken(path, number, 'the field "id" is empty')
    return Document(fields["id"], normalise_newlines(fields["text"]), fields["title"], source)


def _broken(path: Path, number: int, what: str) -> DocumentError:
    return DocumentError(
        f'{path}, line {number} must be a JSON object {{"id", "title", "text"}}, {what}: repair or remove that line'
    )


def _printable(path: Path) -> str:
    """Return the path as text that can be printed and stored, whatever bytes its name has."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()
