"""What a generator is asked, and the replies: each kept on the disk as soon as it is there, so that none is paid twice.

Does not know what is asked for, nor who answers.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Literal, Protocol

from lloco.errors import DataError


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a generator."""

    purpose: Literal["pairs", "answer"]
    """Whether it writes questions, or answers one to check it."""
    before: str
    """What stands before all: instructions; for an answer the text to read, empty for none."""
    text: str
    """What this request is about; for an answer the question."""
    max_tokens: int
    examples: tuple[tuple[str, str], ...] = ()
    """Requests of the same kind with the replies that are wanted."""
    opening: str = ""
    """How the reply begins, for a small model to go on from."""


class Generator(Protocol):
    """Whoever writes questions and answers them."""

    @property
    def name(self) -> str:
        """Who it is, as pairs and messages name it."""
        ...

    @property
    def identity(self) -> str:
        """What its replies depend on, beside what is asked."""
        ...

    @property
    def is_small(self) -> bool:
        """Whether it is too small to follow instructions: it gets an answer of the text and writes the question."""
        ...

    @property
    def num_spans_at_once(self) -> int:
        """Spans of a text whose requests keep it busy."""
        ...

    def replies(self, asks: Sequence[Ask]) -> Iterator[tuple[int, str]]:
        """Yield the index and the reply of each request, in whatever order they come.

        Raises:
            LlocoError: it cannot be reached, or refuses.
        """
        ...


class Journal:
    """Replies by the digest of what was asked, in a file of lines beside the questions."""

    def __init__(self, path: Path, generator: Generator, on_reply: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._on_reply = on_reply
        self._generator = generator
        self._replies = _read_journal(path)
        self._file: IO[bytes] | None = None
        self.num_asked = 0
        """Replies that the generator gave now."""
        self.num_kept = 0
        """Replies that were there from an earlier part of the run."""

    def answer_all(self, asks: Sequence[Ask]) -> list[str]:
        """Return a reply to each request, in order; those that an earlier run got are not asked for again."""
        keys = [_key(self._generator.identity, ask) for ask in asks]
        new = [index for index, key in enumerate(keys) if key not in self._replies]
        self.num_kept += len(asks) - len(new)
        for _ in range(len(asks) - len(new)):
            self._on_reply()
        for index, reply in self._generator.replies([asks[index] for index in new]) if new else ():
            self._write(keys[new[index]], reply)
            self.num_asked += 1
            self._on_reply()
        return [self._replies[key] for key in keys]

    def close(self, *, is_done: bool) -> None:
        """Close the file, and remove it once every document is in the questions' file."""
        if self._file is not None:
            self._file.close()
        if is_done:
            self._path.unlink(missing_ok=True)

    def _write(self, key: str, reply: str) -> None:
        if self._file is None:
            self._file = self._path.open("ab")
        self._replies[key] = reply
        if not reply:
            return  # whoever gave none may give one to the next run
        self._file.write(json.dumps([key, reply]).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _key(identity: str, ask: Ask) -> str:
    told = json.dumps([identity, *astuple(ask)])
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read_journal(path: Path) -> dict[str, str]:
    """Read the replies; a last line that a kill cut is taken off the file."""
    if not path.is_file():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("rb+") as file:
            file.truncate(len(whole))
    try:
        return dict(map(json.loads, whole.splitlines()))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} must hold replies, one on a line, got something else ({error}): remove it") from error
