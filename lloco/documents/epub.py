"""E-books (EPUB 2 and 3) -> text: the chapters in the order of reading, each read as a page."""

import posixpath
import re
from urllib.parse import unquote

from lloco.documents.encoding import EncodingError, decode_text
from lloco.documents.extracted import ExtractedText, Limits, UnreadableError, counted, enumerated
from lloco.documents.html import page_text
from lloco.documents.package import Package, open_package

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,100}encoding=["']([\w.:-]{1,40})""")
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def read_epub(data: bytes, limits: Limits) -> ExtractedText:
    """Read an e-book; see `lloco.documents.formats.extract_text`."""
    with open_package(data, limits, ".epub") as package:
        root = next((entry.get("full-path") for entry in package.xml(_CONTAINER).iter("{*}rootfile")), None)
        if root is None:
            raise UnreadableError(f"damaged .epub file: {_CONTAINER} names no book")
        book = package.xml(root)
        folder = posixpath.dirname(root)
        items = {item.get("id"): item for item in book.iter("{*}item")}
        chapters: list[str] = []
        lost: list[str] = []
        encrypted = _encrypted(package)
        num_chars = 0
        for entry in book.iter("{*}itemref"):
            item = items.get(entry.get("idref"))
            name = "" if item is None else posixpath.normpath(posixpath.join(folder, unquote(item.get("href") or "")))
            if name in encrypted:
                raise UnreadableError("encrypted: the book is protected against copying (DRM)")
            if item is None or name not in package or item.get("media-type") not in _PAGES:
                lost.append(name or "a missing chapter")
                continue
            chapter = page_text(_decoded(package.read(name)), limits, has_menus=False)
            chapters += [chapter.text] if chapter.text else []
            lost += [f"{name}: {chapter.unread}"] if chapter.unread else []
            num_chars += len(chapter.text)
            limits.check_text(num_chars)
        title = next((entry.text or "" for entry in book.iter("{http://purl.org/dc/elements/1.1/}title")), "")
        unread = [package.unread(), f"{counted(len(lost), 'part')} not read ({enumerated(lost)})" if lost else ""]
        return ExtractedText("\n\n".join(chapters), title, "; ".join(filter(None, unread)))


def _decoded(data: bytes) -> str:
    declared = _DECLARED.match(data[:300])
    try:
        return decode_text(data, declared[1].decode("ascii") if declared else None)
    except EncodingError as error:
        raise UnreadableError(str(error)) from error


def _encrypted(package: Package) -> set[str]:
    """Return the parts that are encrypted; fonts often are, chapters only in protected books."""
    if _ENCRYPTION not in package:
        return set()
    references = package.xml(_ENCRYPTION).iter("{*}CipherReference")
    return {posixpath.normpath(unquote(entry.get("URI") or "")) for entry in references}
