"""A question about one document with the answer to learn; does not know about models."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One question about one document, and the answer to learn."""

    document_id: str
    question: str
    answer: str
    options: tuple[str, ...] = ()
    passage: str = ""
    """The text that the answer stands in, for self-study; empty where nobody knows it."""

    def digest_line(self) -> str:
        """Return what a digest of the data is over, which is older than passages."""
        values = asdict(self)
        return json.dumps({key: value for key, value in values.items() if key != "passage" or value}, sort_keys=True)
