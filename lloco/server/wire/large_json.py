"""A large JSON body with a document, read from a file in a process of its own: millions of values take gigabytes."""

from pathlib import Path
from typing import Any

import pydantic_core

from lloco.documents.extracted import UnreadableError
from lloco.server.wire.json_values import num_values

_MAX_VALUES = 64
_MAX_OTHER_LEN = 1 << 16


def read_document_fields(path: Path) -> tuple[dict[str, Any], str]:
    """Return a JSON object's fields but for `text`, what is no string as an empty list or a number, and its text."""
    data = path.read_bytes()
    if num_values(data) > _MAX_VALUES:
        raise UnreadableError(f"the body must have at most {_MAX_VALUES} JSON values: send an object with a text")
    try:
        value = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise UnreadableError(f"the body is not JSON in UTF-8 ({error}): send a JSON object") from error
    if not isinstance(value, dict):
        raise UnreadableError("the body is not a JSON object: send one")
    text = value.get("text")
    if not isinstance(text, str):
        raise UnreadableError("text must be a string in a body as large as this")
    others = {name: field for name, field in value.items() if name != "text"}
    if sum(len(part) if isinstance(part, str) else 1 for part in (*others, *others.values())) > _MAX_OTHER_LEN:
        raise UnreadableError(f"fields other than text must have at most {_MAX_OTHER_LEN:,} characters together")
    return {"fields": {name: [] if isinstance(field, dict | list) else field for name, field in others.items()}}, text
