"""A row of task data with its place, whose fields are checked as they are read; and the documents rows share."""

from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite
from typing import Any

from lloco.documents.document import Document
from lloco.documents.encoding import is_encodable
from lloco.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file or a published data set; every complaint names its place."""

    fields: dict[str, Any]
    where: str

    def error(self, complaint: str) -> DataError:
        """A DataError about this row, to be raised by the caller."""
        return DataError(f"{self.where}: {complaint}")

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.fields.get(name) is not None

    def text(self, name: str, *, may_be_blank: bool = False) -> str:
        """A required text."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self.error(f"`{name}` must be a text, got {_kind(value)}: is this the format of the task?")
        return self._checked(name, value, may_be_blank)

    def identifier(self, name: str) -> str:
        """A required id; whole numbers are taken as text."""
        value = self.fields.get(name)
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return str(value) if is_number else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; a single text counts as a list of one, a missing field as an empty list."""
        value = self.fields.get(name)
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise self.error(f"`{name}` must be a list of texts, got {_kind(value)}: is this the format of the task?")
        return tuple(self._checked(name, item, True) for item in items)

    def items(self, name: str) -> list[Any]:
        """A required list."""
        value = self.fields.get(name)
        if not isinstance(value, list):
            raise self.error(f"`{name}` must be a list, got {_kind(value)}: is this the format of the task?")
        return value

    def row(self, name: str) -> "Row":
        """A required object as a row of its own."""
        return as_row(self.fields.get(name), f"{self.where}, {name}")

    def rows(self, name: str) -> list["Row"]:
        """A required list of objects as rows."""
        return [as_row(item, f"{self.where}, {name} {number}") for number, item in enumerate(self.items(name), start=1)]

    def whole_number(self, name: str) -> int:
        """A required whole number."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(f"`{name}` must be a whole number, got {_kind(value)}")
        return value

    def number(self, name: str) -> float:
        """A required finite number."""
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self.error(f"`{name}` must be a number, got {_kind(value)}")
        return float(value)

    def _checked(self, name: str, value: str, may_be_blank: bool) -> str:
        if not may_be_blank and not value.strip():
            raise self.error(f"`{name}` must be a text, got nothing but white space")
        if not is_encodable(value):
            raise self.error(f"`{name}` holds half a surrogate pair, which no UTF-8 file can hold: mend the text")
        return value


def as_row(value: Any, where: str) -> Row:
    """A JSON object as a row; anything else is a DataError."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be a JSON object, got {_kind(value)}: is this the format of the task?")
    return Row(value, where)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{type(value).__name__} {str(value)[:40]!r}"


@dataclass(slots=True)
class Documents:
    """One `Document` per text: rows about the same text get the same object, whatever id they give it."""

    by_text: dict[str, Document] = field(default_factory=dict)
    text_of: dict[str, str] = field(default_factory=dict)

    def document(self, row: Row, text: str, *, document_id: str | None = None, title: str = "") -> Document:
        """The document of this text; without an id it is named by the first 16 digits of the text's SHA-256.

        Raises DataError when the id already stands for another text.
        """
        if text in self.by_text:
            return self.by_text[text]
        name = document_id or sha256(text.encode()).hexdigest()[:16]
        if name in self.text_of:
            raise row.error(f"document id {name!r} already stands for another text: give every document its own id")
        self.text_of[name] = text
        self.by_text[text] = Document(id=name, text=text, title=title)
        return self.by_text[text]
