"""Rich Text Format -> text by striprtf; pictures and embedded objects are named."""

import re

from lloco.documents.extracted import ExtractedText, Limits, UnreadableError, counted, row_line

_MAX_BYTES = 64 << 20
_OBJECT = re.compile(rb"\\object\b")
_TITLE = re.compile(rb"\{\\title ([^{}\\]{1,300})\}")


_SHOWN = re.compile(rb"\\(?:(?:header|footer)[lrf]?|pntext|listtext)\b ?")
"""Words that begin a group which striprtf leaves out, though it is shown: headers, footers, numbers of lists."""


def read_rtf(data: bytes, limits: Limits) -> ExtractedText:
    """Read a rich text; see `lloco.documents.formats.extract_text`."""
    from striprtf.striprtf import rtf_to_text

    if not data.lstrip().startswith(b"{\\rtf"):
        raise UnreadableError("damaged .rtf file: it does not begin as one")
    if len(data) > _MAX_BYTES:
        raise UnreadableError(f"too large: {len(data):,} bytes, the limit for .rtf is {_MAX_BYTES:,} bytes")
    try:
        text: str = rtf_to_text(_with_hidden_parts(data).decode("latin-1"), errors="replace")
    except (ValueError, LookupError, RecursionError, IndexError, TypeError) as error:
        raise UnreadableError(f"damaged .rtf file: {type(error).__name__}: {error}") from error
    limits.check_text(len(text))
    lines = (row_line(line.split("|")[:-1]) if line.endswith("|") else line for line in text.split("\n"))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    num_objects = len(_OBJECT.findall(data))
    title = _TITLE.search(data)
    return ExtractedText(
        text.strip("\n"),
        title[1].decode("cp1252", errors="replace") if title else "",
        f"{counted(num_objects, 'embedded file')} not read" if num_objects else "",
    )


def _with_hidden_parts(data: bytes) -> bytes:
    """Return the file with headers, footers, notes and numbers of lists as text, and superscripts told apart."""
    data = _SHOWN.sub(b"", data)
    data = re.sub(rb"\\footnote\b ?", rb"\\line Note: ", data)
    data = re.sub(rb"\\super\b ?", rb"^", data)
    return re.sub(rb"\\sub\b ?", rb"_", data)
