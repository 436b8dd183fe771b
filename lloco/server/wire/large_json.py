"""A large JSON body with a document, read from a file in a process of its own: millions of values take gigabytes."""

from pathlib import Path
from typing import Any

import pydantic_core

from lloco.documents.extracted import UnreadableError

_MAX_FIELDS = 16
_MAX_OTHER_LEN = 1 << 16


def read_document_fields(path: Path) -> tuple[dict[str, Any], str]:
    """Return a JSON object's fields but for `text`, what is no string as an empty list or a number, and its text."""
    try:
        value = pydantic_core.from_json(path.read_bytes(), allow_inf_nan=False)
    except ValueError as error:
        raise UnreadableError(f"the body is not JSON in UTF-8 ({error}): send a JSON object") from error
    if not isinstance(value, dict) or len(value) > _MAX_FIELDS:
        raise UnreadableError(f"the body must be a JSON object of at most {_MAX_FIELDS} fields")
    text = value.get("text")
    if not isinstance(text, str):
        raise UnreadableError("text: must be a string in a body as large as this one")
    others = {name: one for name, one in value.items() if name != "text"}
    if sum(len(one) if isinstance(one, str) else 1 for one in (*others, *others.values())) > _MAX_OTHER_LEN:
        raise UnreadableError(f"fields other than text must have at most {_MAX_OTHER_LEN:,} characters together")
    return {"fields": {name: [] if isinstance(one, dict | list) else one for name, one in others.items()}}, text
