"""Documents of a corpus, added, replaced and removed while it is served: /v1/documents.

A document comes as JSON text or as an uploaded file, is compressed in a worker thread, and can be asked about when the
response has come.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from lloco.documents.document import Document
from lloco.documents.extracted import UnreadableError
from lloco.documents.formats import (
    FILE_SUFFIXES,
    check_is_text,
    extract_text,
    file_format,
    file_stem,
    normalise_newlines,
)
from lloco.errors import StoreError
from lloco.server.access import Grant
from lloco.server.errors import ApiError
from lloco.server.service import Caller, Served, Service
from lloco.server.wire.body import parse, read_form, read_json
from lloco.server.wire.requests import DocumentText, NewDocument, parse_id
from lloco.server.wire.responses import Deleted, DocumentInfo, Page, respond
from lloco.store.corpus import Corpus
from lloco.store.rows import StoredDocument

router = APIRouter()
MAX_WAITING_DOCUMENTS = 32
"""Documents that wait until those before them are compressed; more are refused."""


@router.get("/v1/documents")
async def list_documents(
    grant: Caller,
    service: Served,
    corpus: str,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """List a corpus's documents in the order in which they were first added."""

    def read() -> Page:
        found = service.library.corpus(grant, corpus, "corpus")
        ids = found.document_ids()
        if after is not None and after not in ids:
            raise ApiError(400, f"after: corpus {found.name} has no document {after[:80]!r}", param="after")
        start = 0 if after is None else ids.index(after) + 1
        data = list(_infos(found, ids[start : start + limit]))
        return Page(data=data, has_more=start + limit < len(ids))

    return respond(await run_in_threadpool(read))


@router.post("/v1/documents")
async def add_document(request: Request, grant: Caller, service: Served) -> Response:
    """Add a document whose id is not there yet."""
    _check_room(service)
    if _is_form(request):
        return await _upload(request, grant, service, None)
    new = parse(NewDocument, await read_json(request, service.limits.document_bytes))
    document = Document(parse_id(new.id), normalise_newlines(new.text), new.title)
    return await _add(grant, service, new.corpus, lambda: document, replace=False)


@router.get("/v1/documents/{corpus}/{id:path}")
async def show_document(corpus: str, id: str, grant: Caller, service: Served) -> Response:
    """Show a document with its text, where citations point into."""

    def read() -> DocumentInfo:
        found = service.library.corpus(grant, corpus, "corpus")
        document = service.library.document(found, id)
        return _info(found, document).model_copy(update={"text": document.text})

    return respond(await run_in_threadpool(read))


@router.put("/v1/documents/{corpus}/{id:path}")
async def replace_document(corpus: str, id: str, request: Request, grant: Caller, service: Served) -> Response:
    """Put a document in the place of the one of that id, or add it."""
    parse_id(id)
    _check_room(service)
    if _is_form(request):
        return await _upload(request, grant, service, (corpus, id))
    new = parse(DocumentText, await read_json(request, service.limits.document_bytes))
    document = Document(id, normalise_newlines(new.text), new.title)
    return await _add(grant, service, corpus, lambda: document, replace=True)


@router.delete("/v1/documents/{corpus}/{id:path}")
async def delete_document(corpus: str, id: str, grant: Caller, service: Served) -> Response:
    """Remove a document; answers that read it already end as they would."""

    def remove() -> None:
        service.library.remove_document(service.library.corpus(grant, corpus, "corpus"), id)

    await run_in_threadpool(remove)
    return respond(Deleted(id=id, object="document"))


def _check_room(service: Service) -> None:
    """Raise `ApiError` 429 before a body is read that would wait in memory behind too many others."""
    if service.writing.statistics().tasks_waiting >= MAX_WAITING_DOCUMENTS:
        raise ApiError(
            429,
            f"{MAX_WAITING_DOCUMENTS} documents wait to be added: send this one again later",
            code="queue_full",
            headers={"retry-after": "5"},
        )


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def _upload(request: Request, grant: Grant, service: Service, place: tuple[str, str] | None) -> Response:
    """Add the file of a form; its fields name corpus and id where the path does not."""
    form = await read_form(request, service.limits.document_bytes)
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ApiError(400, "a file was wanted in the form's field file, none came", param="file")
        known = {"file", "title"} | (set() if place else {"corpus", "id"})
        if unknown := sorted(set(form) - known):
            raise ApiError(400, f"there is no {unknown[0]}: leave it out", param=unknown[0])
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        name = PurePosixPath((file.filename or "").replace("\\", "/")).name
        corpus, id = place or (fields.get("corpus", ""), parse_id(fields.get("id") or name))
        read = partial(_read, file, id, name, fields.get("title"), service.limits.document_bytes)
        return await _add(grant, service, corpus, read, replace=place is not None)
    finally:
        await form.close()


def _read(file: UploadFile, id: str, name: str, title: str | None, max_bytes: int) -> Document:
    """Extract the text of an uploaded file; only the ending of its name is used, never its folders."""
    format = file_format(Path(name)) if name.isprintable() else None
    if format not in FILE_SUFFIXES:
        raise ApiError(400, f"file: one of {', '.join(sorted(FILE_SUFFIXES))} was wanted, {name!r} came", param="file")
    with tempfile.TemporaryDirectory(prefix="lloco-upload-") as folder:
        path = Path(folder) / f"upload{format}{'.gz' if name.lower().endswith('.gz') else ''}"
        with path.open("wb") as target:
            while part := file.file.read(1 << 20):
                target.write(part)
        try:
            extracted = extract_text(path, max_bytes=max_bytes)
        except UnreadableError as error:
            raise ApiError(400, f"file {name!r} cannot be read: {error}", param="file") from error
    return Document(id, extracted.text, title or extracted.title or file_stem(Path(name)), name)


async def _add(grant: Grant, service: Service, name: str, read: Callable[[], Document], *, replace: bool) -> Response:
    """Read, compress and store a document in a worker thread, one at a time."""
    corpus = await run_in_threadpool(service.library.corpus, grant, name, "corpus")
    _check_room(service)  # others may have come while the body was read

    def add() -> tuple[StoredDocument, bool]:
        document = read()
        try:
            check_is_text(document.text)
        except UnreadableError as error:
            raise ApiError(400, f"text: {error}", param="text") from error
        with service.library.gone_means_404(corpus, None, "corpus"):
            return service.library.add(corpus, document, replace=replace)

    stored, is_new = await anyio.to_thread.run_sync(add, limiter=service.writing)
    return respond(_info(corpus, stored), 201 if is_new else 200)


def _infos(corpus: Corpus, ids: Sequence[str]) -> Iterator[DocumentInfo]:
    """Describe documents, one text in memory at a time, but for those that are removed meanwhile."""
    for id in ids:
        with suppress(StoreError):
            yield _info(corpus, corpus.document(id))


def _info(corpus: Corpus, document: StoredDocument) -> DocumentInfo:
    return DocumentInfo(
        id=document.id,
        corpus=corpus.name,
        title=document.title,
        document_tokens=document.num_tokens,
        virtual_tokens=document.num_virtual_tokens,
        text_digest=document.digest,
    )
