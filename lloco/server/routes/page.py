"""The page at /: files of this package, sent with headers that let nothing but them run.

It asks the same routes as every other client, so it can do no more than the key that is typed into it.
"""

from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from lloco.documents.formats import FILE_SUFFIXES

router = APIRouter()
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_FILE_TYPES = "{file_types}"
"""What stands in the page for the endings of the files that can be added."""
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@router.get("/")
async def page() -> Response:
    """Send the page; it holds nothing of anybody's, so it needs no key."""
    return _send("index.html")


@router.get("/page/{name}")
async def part(name: str) -> Response:
    """Send a file that the page is made of."""
    return _send(name)


def _send(name: str) -> Response:
    for file in (files("lloco") / "server" / "page").iterdir():
        if file.name == name:
            kind = _KINDS[name.rpartition(".")[2]]
            content = file.read_text(encoding="utf-8").replace(_FILE_TYPES, ",".join(sorted(FILE_SUFFIXES)))
            return Response(content, media_type=f"{kind}; charset=utf-8", headers=HEADERS)
    raise HTTPException(404)
