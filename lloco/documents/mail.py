"""E-mails (.eml) and web pages saved as one file (.mht) -> text: who wrote to whom, when, about what, and the message.

Attached files are named, not read; messages that are forwarded whole are read.
"""

import email.policy
import re
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser

from lloco.documents.encoding import EncodingError, decode_text
from lloco.documents.extracted import ExtractedText, Limits, UnreadableError, counted, enumerated
from lloco.documents.html import page_text

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_MAX_BYTES = 64 << 20
_MAX_PARTS = 5_000
_MAX_FIELD_BYTES = 1 << 16
_FIELD = re.compile(rb"^[!-9;-~]{1,100}:[^\n]*(?:\n[ \t][^\n]*)*", re.MULTILINE)
"""A field of a header with the lines that go on with it; what looks like one in a text is as short (RFC 5322)."""
_MAX_FORWARDED = 5
_MAX_HEADER = 2_000


def read_mail(data: bytes, limits: Limits) -> ExtractedText:
    """Read an e-mail; see `lloco.documents.formats.extract_text`."""
    if len(data) > _MAX_BYTES:
        raise UnreadableError(f"too large: {len(data):,} bytes, the limit for e-mail is {_MAX_BYTES:,} bytes")
    _check_form(data)
    try:
        message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(data)
        if not message.keys():
            raise UnreadableError("damaged e-mail: it has no header")
        attached: list[str] = []
        lines = list(_message(message, limits, attached, 0))
        subject = _header(message, "Subject")
    except UnreadableError:
        raise
    except (ValueError, LookupError, RecursionError, AttributeError, TypeError, IndexError) as error:
        # email raises many kinds on a damaged message; each is a reason
        raise UnreadableError(f"damaged e-mail: {type(error).__name__}: {error}") from error
    text = "\n".join(lines).strip("\n")
    limits.check_text(len(text))
    unread = f"{counted(len(attached), 'attached file')} not read ({enumerated(attached)})" if attached else ""
    return ExtractedText(text, subject, unread)


def _check_form(data: bytes) -> None:
    """Refuse what Python's parser would take minutes and gigabytes for: many parts, endless header fields."""
    if (num := data.count(b"\n--")) > _MAX_PARTS:
        raise UnreadableError(f"too large: {num:,} borders of parts, the limit is {_MAX_PARTS:,}")
    if any(len(field[0]) > _MAX_FIELD_BYTES for field in _FIELD.finditer(data)):
        raise UnreadableError(f"a header field is longer than the limit of {_MAX_FIELD_BYTES:,} bytes")


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())[:_MAX_HEADER]
    except (ValueError, LookupError, AttributeError, TypeError, IndexError):  # a header that email cannot parse
        raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
        return " ".join(str(raw).split())[:_MAX_HEADER]


def _message(message: EmailMessage, limits: Limits, attached: list[str], depth: int) -> list[str]:
    lines = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))]
    body = message.get_body(("plain", "html"))
    if body is not None:
        lines += ["", _body(body, limits, attached)]
    for part in message.iter_attachments() if message.is_multipart() else ():
        limits.check_time()
        lines += _part(part, limits, attached, depth)
    return lines


def _part(part: MIMEPart, limits: Limits, attached: list[str], depth: int) -> list[str]:
    """Return the lines of a part besides the message's text; name it where it is a file."""
    is_file = part.get_filename() is not None or part.get_content_disposition() == "attachment"
    if len(attached) > _MAX_PARTS:
        raise UnreadableError(f"too large: more attached files than the limit of {_MAX_PARTS:,}")
    if part.is_multipart() and depth < _MAX_FORWARDED:
        inner = part.get_payload(0) if part.get_content_type() == "message/rfc822" else part
        return ["", *_message(inner, limits, attached, depth + 1)] if isinstance(inner, EmailMessage) else []
    if part.get_content_maintype() == "text" and not is_file and part["Content-Location"] is None:
        return ["", _body(part, limits, attached)]
    is_shown = part["Content-ID"] is not None or part["Content-Location"] is not None
    if not (is_shown and part.get_content_maintype() in ("image", "text", "font")):
        attached.append(part.get_filename() or part.get_content_type())
    return []


def _body(part: MIMEPart, limits: Limits, attached: list[str]) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return ""
    try:
        text = decode_text(data, part.get_content_charset())
    except EncodingError as error:
        raise UnreadableError(f"its text {error}") from error
    if part.get_content_type() != "text/html":
        return text
    page = page_text(text, limits, has_menus=False)
    attached += [page.unread] if page.unread else []
    return page.text
