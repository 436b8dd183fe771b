"""The file of questions: a line for each document, in the form that `finetune` and `evaluate` read.

A line is written at once and flushed to the disk; a last line that a kill cut is taken off when the run goes on.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lloco.documents.document import Document
from lloco.errors import DataError
from lloco.files.durable import write_durably
from lloco.files.strict_json import parse
from lloco.self_study.wording import Kind
from lloco.tasks.row import as_row

_BEGINNING = b'{"id": '
"""How every line begins."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question with its answer, where it is from, and what it passed."""

    question: str
    answer: str
    kind: Kind
    made_by: str
    """The generator's name, or the template's."""
    span: tuple[int, int]
    """Characters of the document that it was made of."""
    checks: tuple[str, ...]

    def row(self) -> dict[str, Any]:
        """Return it as a question of the document-QA form, which takes several answers."""
        values = asdict(self)
        return {"question": values.pop("question"), "answers": [values.pop("answer")], **values}


@dataclass(frozen=True, slots=True)
class DocumentQuestions:
    """What was made of one document."""

    document: Document
    pairs: Sequence[Pair]
    num_spans: int
    num_wanted: int
    discarded: Mapping[str, int] = field(default_factory=dict)
    """Pairs that were thrown away, by the check that they failed."""

    def line(self, run: Mapping[str, Any]) -> bytes:
        """Return the line of the file; `run` says what it was made with."""
        values = {
            "id": self.document.id,
            "title": self.document.title,
            "text": self.document.text,
            "questions": [pair.row() for pair in self.pairs],
            "num_spans": self.num_spans,
            "num_wanted": self.num_wanted,
            "discarded": dict(self.discarded),
            "made_with": dict(run),
        }
        return json.dumps(values, ensure_ascii=False).encode("utf-8") + b"\n"


@dataclass(slots=True)
class Counts:
    """Totals over the lines of a file."""

    num_documents: int = 0
    num_without: int = 0
    """Documents of which no question was kept."""
    num_spans: int = 0
    num_wanted: int = 0
    made_by: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    discarded: Counter[str] = field(default_factory=Counter)

    @property
    def num_pairs(self) -> int:
        """Pairs that were kept."""
        return self.made_by.total()

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line."""
        self.num_documents += 1
        self.num_without += not line["questions"]
        self.num_spans += line["num_spans"]
        self.num_wanted += line["num_wanted"]
        self.made_by.update(pair["made_by"] for pair in line["questions"])
        self.kinds.update(pair["kind"] for pair in line["questions"])
        self.discarded.update(line["discarded"])


class QuestionFile:
    """The lines of one run, which may have begun earlier."""

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        """Open the file, or begin it.

        Raises:
            DataError: it holds something else, or questions that were made otherwise.
        """
        self.path = path
        self._run = dict(run)
        self._digests = {}
        for line in self.lines():
            self._check(line)
            self._digests[line["id"]] = Document(line["id"], line["text"]).digest
        self._cut_torn_line()

    def holds(self, id: str, digest: str) -> bool:
        """Return whether the questions of this text are there."""
        return self._digests.get(id) == digest

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines from the disk."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield parse(line, str(self.path), number)

    def keep_only(self, digests: Mapping[str, str]) -> int:
        """Drop the lines of documents that are gone or have another text now; returns how many."""
        stale = {id for id, digest in self._digests.items() if digests.get(id) != digest}
        if stale:
            kept = [line for line in self.lines() if line["id"] not in stale]
            write_durably(self.path, b"".join(_encoded(line) for line in kept))
            for id in stale:
                del self._digests[id]
        return len(stale)

    def append(self, made: DocumentQuestions) -> None:
        """Write the line of a document; when this returns it survives a crash."""
        with self.path.open("ab") as file:
            file.write(made.line(self._run))
            file.flush()
            os.fsync(file.fileno())
        self._digests[made.document.id] = made.document.digest

    def _check(self, line: Any) -> None:
        wanted = {"id", "text", "questions", "num_spans", "num_wanted", "discarded", "made_with"}
        if not isinstance(line, dict) or not wanted <= set(line):
            raise DataError(f"{self.path} must hold what `lloco questions` wrote, got other lines: name another --out")
        if (made_with := line["made_with"]) != self._run:
            other = next(name for name in {**self._run, **made_with} if self._run.get(name) != made_with.get(name))
            raise DataError(
                f"{self.path} holds questions that were made with {other} {made_with.get(other)!r}, this run has "
                f"{self._run.get(other)!r}: give the same, or name another --out"
            )

    def _cut_torn_line(self) -> None:
        """Take off a last line without an end, which a kill or a full disk left."""
        data = self.path.read_bytes() if self.path.is_file() else b""
        whole = data.rfind(b"\n") + 1
        torn = data[whole:]
        if torn and not torn.startswith(_BEGINNING[: len(torn)]):
            raise DataError(f"{self.path} must hold what `lloco questions` wrote, got another end: name another --out")
        if torn:
            with self.path.open("rb+") as file:
                file.truncate(whole)


def missing_documents(path: Path, digests: Mapping[str, str]) -> set[str]:
    """Return the ids of the documents whose questions, of these texts, are not in a file, whoever made them.

    Raises:
        DataError: a line is not what `lloco questions` writes.
    """
    held: dict[str, str] = {}
    if path.is_file():
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    row = as_row(parse(line, str(path), number), f"{path}, line {number}")
                    held[row.identifier("id")] = Document(row.identifier("id"), row.text("text")).digest
    return {id for id, digest in digests.items() if held.get(id) != digest}


def count(lines: Iterable[Mapping[str, Any]]) -> Counts:
    """Count what a file holds."""
    counts = Counts()
    for line in lines:
        counts.add(line)
    return counts


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n"
