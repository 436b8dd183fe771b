"""Web pages -> text: what the page says, without the menus and footers around it.

Nothing is guessed from the wording or the length of a block: only what is marked as navigation or as a footer, or is
named so and consists of links, is left out, and never a first heading. HTML inside other formats is read here too.
"""

import re
from typing import Any

from lloco.documents.encoding import EncodingError, decode_text
from lloco.documents.equations import local_name
from lloco.documents.extracted import ExtractedText, Limits, UnreadableError, counted, enumerated
from lloco.documents.html_text import html_text

MAX_HTML_BYTES = 32 << 20
_MAX_TAGS = 1_000_000
"""Opening and closing tags of a page; the longest single-page manuals have 200,000. An element takes 200 bytes."""
_DECLARED_ENCODING = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_SCRIPT = re.compile(r"<(script|style)\b", re.IGNORECASE)
_DROPPED_ROLES = frozenset(["navigation", "search", "contentinfo", "menu", "menubar", "toolbar"])
_MENU_NAMES = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|menu|menubar|breadcrumbs?|sidebar|skip|social|share|related|footer|"
    r"cookies?|pagination)(?:$|[\s_-])",
    re.IGNORECASE,
)
_FOOTER_NAMES = re.compile(
    r"^(?:(?:site|page|main|global)[_-]?)?(?:footer|cookies?(?:[_-]?(?:banner|notice|bar))?)$", re.I
)
_CONTENT = frozenset(["article", "main", "section", "blockquote", "td", "figure"])
_MAY_BE_MENUS = ("div", "ul", "ol", "aside", "section", "header", "form", "p")
_LINKS_SHARE = 0.6
_EMBEDDED = frozenset(["iframe", "frame", "object", "embed", "video", "audio"])


def read_html(data: bytes, limits: Limits) -> ExtractedText:
    """Read a page; see `lloco.documents.formats.extract_text`."""
    if len(data) > MAX_HTML_BYTES:
        raise UnreadableError(f"too large: {len(data):,} bytes, the limit for HTML is {MAX_HTML_BYTES:,} bytes")
    declared = _DECLARED_ENCODING.search(data[:4096])
    try:
        html = decode_text(data, declared[1].decode("ascii") if declared else None)
    except EncodingError as error:
        raise UnreadableError(str(error)) from error
    if not html.strip():
        raise UnreadableError("empty: no text in it")
    if (offset := html.find("\0")) >= 0:
        raise UnreadableError(f"looks binary: NUL character at position {offset}")
    extracted = page_text(html, limits)
    if not extracted.text:
        raise UnreadableError(
            "no text in the page: only markup, scripts or styles; save the page as shown instead"
            + (f" (not read: {extracted.unread})" if extracted.unread else "")
        )
    return extracted


def page_text(html: str, limits: Limits, *, has_menus: bool = True) -> ExtractedText:
    """Return the text of HTML that is decoded already; without `has_menus` nothing is taken for a menu."""
    if (num := html.count("<")) > _MAX_TAGS:
        raise UnreadableError(f"too large: {num:,} HTML tags, the limit is {_MAX_TAGS:,}; split it")
    tree = _parse(html)
    title = " ".join((tree.findtext(".//head/title") or "").split())
    unread = _embedded(tree)
    menus = frozenset(_menus(tree)) if has_menus else frozenset()
    text = html_text(tree, limits, without=menus)
    if not text and menus:  # a page that is a menu is read as one
        text = html_text(tree, limits)
    return ExtractedText(text, title, unread)


def _parse(html: str) -> Any:
    from lxml.etree import LxmlError, ParserError
    from lxml.html import HTMLParser, document_fromstring

    # Confluence keeps code in CDATA sections, which HTML does not know: the parser would drop them as comments.
    if "<![CDATA[" in html and not _SCRIPT.search(html):
        html = _CDATA.sub(lambda match: match[1].replace("&", "&amp;").replace("<", "&lt;"), html)
    parser = HTMLParser(huge_tree=True, remove_comments=True, remove_pis=True, encoding="utf-8")
    try:
        tree = document_fromstring(html.encode(), parser=parser)
    except (LxmlError, ParserError, ValueError) as error:
        raise UnreadableError(f"not readable as HTML: {type(error).__name__}: {error}") from error
    # The parser drops whatever is nested too deeply and only logs it.
    if any("xcessive depth" in entry.message for entry in parser.error_log):
        raise UnreadableError("HTML elements are nested too deeply to be read whole: the limit is 2,048 levels")
    return tree


def _embedded(tree: Any) -> str:
    """Name what the page shows from elsewhere: pages, films, programs."""
    found = [
        element
        for element in tree.iter(*_EMBEDDED)
        if element.get("width") not in ("0", "1") and next(element.iterancestors("noscript"), None) is None
    ]
    if not found:
        return ""
    sources = [element.get("src") or element.get("data") or local_name(element) for element in found]
    return f"{counted(len(found), 'embedded item')} not read ({enumerated([source[:80] for source in sources])})"


def _menus(tree: Any) -> list[Any]:
    """Return what is around the text of a page: menus, search boxes, footers."""
    found = [
        element
        for element in tree.iter("nav", "footer", *_MAY_BE_MENUS)
        if element.tag == "nav"
        or element.get("role") in _DROPPED_ROLES
        or (_is_footer(element) and not any(ancestor.tag in _CONTENT for ancestor in element.iterancestors()))
    ]
    found += [element for element, (num, num_linked) in _lengths(tree) if num_linked >= _LINKS_SHARE * num]
    return [element for element in found if next(element.iter("h1"), None) is None]


def _names(element: Any) -> str:
    return f"{element.get('id') or ''} {element.get('class') or ''}"


def _is_footer(element: Any) -> bool:
    return element.tag == "footer" or any(_FOOTER_NAMES.match(name) for name in _names(element).split())


def _lengths(tree: Any) -> list[tuple[Any, tuple[int, int]]]:
    """Characters of text, and of text in links, below each element that is named like a menu."""
    from lxml.etree import iterwalk

    lengths: list[tuple[Any, tuple[int, int]]] = []
    open_menus: list[tuple[Any, int, int]] = []
    num_chars = num_linked = num_links = 0
    for event, element in iterwalk(tree, events=("start", "end")):
        is_start = event == "start"
        if element.tag == "a":
            num_links += 1 if is_start else -1
        if element.tag in _MAY_BE_MENUS and _MENU_NAMES.search(_names(element)):
            if is_start:
                open_menus.append((element, num_chars, num_linked))
            else:
                _, chars, linked = open_menus.pop()
                lengths.append((element, (num_chars - chars, num_linked - linked)))
        length = len(((element.text if is_start else element.tail) or "").strip())
        num_chars += length
        num_linked += length if num_links else 0
    return lengths
