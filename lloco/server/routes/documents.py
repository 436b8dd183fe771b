"""Documents of a corpus, added, replaced and removed while it is served: /v1/documents.

A document comes as JSON text or as an uploaded file, which a process with limits of its own reads. It is compressed in
a worker thread, and can be asked about when the response has come.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from lloco.documents.bounded_process import ProcessLimits
from lloco.documents.document import Document
from lloco.documents.extracted import UnreadableError
from lloco.documents.formats import FILE_SUFFIXES, check_is_text, file_format, file_stem, normalise_newlines
from lloco.errors import StoreError
from lloco.server.access import Grant
from lloco.server.errors import ApiError
from lloco.server.service import Caller, Served, Service
from lloco.server.wire.body import body_file, check_is_json, parse, parse_json, read_form
from lloco.server.wire.requests import DocumentText, NewDocument, parse_id
from lloco.server.wire.responses import Deleted, DocumentInfo, Page, QueuedDocument, respond
from lloco.server.writing import Job
from lloco.store.corpus import Corpus
from lloco.store.rows import StoredDocument

router = APIRouter()


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A document as a client sent it."""

    corpus: str
    document: Document
    unread: str = ""


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
    return await _put(request, grant, service, None)


@router.get("/v1/queue")
async def list_queue(grant: Caller, service: Served) -> Response:
    """List the caller's documents that are being added, with what is before each and about how long it takes."""
    writing = service.writing
    data = [
        QueuedDocument(
            id=job.id,
            corpus=job.corpus,
            stage=job.stage,
            num_ahead=writing.num_ahead(job),
            seconds_left=writing.seconds_left(job),
        )
        for job in writing.jobs
        if job.caller == grant.name
    ]
    return respond(Page(data=data))


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
    return await _put(request, grant, service, (corpus, id))


@router.delete("/v1/documents/{corpus}/{id:path}")
async def delete_document(corpus: str, id: str, grant: Caller, service: Served) -> Response:
    """Remove a document; answers that read it already end as they would."""

    def remove() -> None:
        service.library.remove_document(service.library.corpus(grant, corpus, "corpus"), id)

    await service.change(remove)
    return respond(Deleted(id=id, object="document"))


async def _put(request: Request, grant: Grant, service: Service, given: tuple[str, str] | None) -> Response:
    """Add what the request brings; in the place of what is there, and named by the path, where it is a PUT."""
    async with service.writing.job(grant.name, request) as job:
        job.corpus, job.id = given or ("", "")
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return await _put_file(request, grant, service, job, given)
        check_is_json(request)
        limits = service.limits
        async with body_file(request, limits.document_bytes, limits.question_bytes) as body:
            if isinstance(body, bytes):
                arrived = _of_fields(parse_json(body), given)
                return await _add(request, grant, service, job, given, lambda: arrived)

            def read() -> _Arrived:
                assert isinstance(body, Path)
                found, text = job.read_apart(
                    "lloco.server.wire.large_json:read_document_fields", body, limits=_process_limits(service)
                )
                return _of_fields(found["fields"] | {"text": text}, given)

            job.is_file = True
            return await _add(request, grant, service, job, given, read)


def _of_fields(value: object, given: tuple[str, str] | None) -> _Arrived:
    if given is None:
        new = parse(NewDocument, value)
        return _Arrived(new.corpus, Document(parse_id(new.id), normalise_newlines(new.text), new.title))
    put = parse(DocumentText, value)
    return _Arrived(given[0], Document(given[1], normalise_newlines(put.text), put.title))


async def _put_file(
    request: Request, grant: Grant, service: Service, job: Job, given: tuple[str, str] | None
) -> Response:
    """Add the file of a form; its fields name corpus and id where the path does not."""
    form = await read_form(request, service.limits.document_bytes)
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ApiError(400, "the form has no file: send one in its field file", param="file")
        known = {"file", "title"} | (set() if given else {"corpus", "id"})
        if unknown := sorted(set(form) - known):
            raise ApiError(400, f"there is no {unknown[0]}: leave it out", param=unknown[0])
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        name = PurePosixPath((file.filename or "").replace("\\", "/")).name
        job.corpus, job.id = given or (fields.get("corpus", ""), parse_id(fields.get("id") or name))
        job.is_file = True
        await run_in_threadpool(service.library.corpus, grant, job.corpus, "corpus")

        def read() -> _Arrived:
            document, unread = _read(service, job, file, name, fields.get("title"))
            return _Arrived(job.corpus, document, unread)

        return await _add(request, grant, service, job, given, read)
    finally:
        await form.close()


def _read(service: Service, job: Job, file: UploadFile, name: str, title: str | None) -> tuple[Document, str]:
    """Return the text of an uploaded file, and what was not read; only the ending of its name is used."""
    format = file_format(Path(name)) if name.isprintable() else None
    if format not in FILE_SUFFIXES:
        raise ApiError(400, f"file must end in {', '.join(sorted(FILE_SUFFIXES))}, got {name!r}", param="file")
    with tempfile.TemporaryDirectory(prefix="lloco-upload-") as folder:
        path = Path(folder) / f"upload{format}{'.gz' if name.lower().endswith('.gz') else ''}"
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target, 1 << 20)
        try:
            limits = _process_limits(service)
            found, text = job.read_apart(
                "lloco.documents.formats:extract_values", path, service.limits.document_bytes, limits=limits
            )
        except UnreadableError as error:
            raise ApiError(400, f"file {name!r} cannot be read: {error}", param="file") from error
    return Document(job.id, text, title or found["title"] or file_stem(Path(name)), name), found["unread"]


def _process_limits(service: Service) -> ProcessLimits:
    limits = service.limits
    return ProcessLimits(limits.reading_seconds, limits.reading_bytes, 4 * limits.document_bytes)


async def _add(
    request: Request,
    grant: Grant,
    service: Service,
    job: Job,
    given: tuple[str, str] | None,
    read: Callable[[], _Arrived],
) -> Response:
    """Read, compress and store a document in worker threads, when it is its time."""

    def add(arrived: _Arrived) -> Response:
        document = arrived.document
        job.corpus, job.id, job.size = arrived.corpus, document.id, len(document.text)
        corpus = service.library.corpus(grant, arrived.corpus, "corpus")
        try:
            check_is_text(document.text)
        except UnreadableError as error:
            raise ApiError(400, f"text: {error}", param="text") from error
        with service.library.gone_means_404(corpus, None, "corpus"):
            stored, is_new = service.library.add(corpus, document, job, replace=given is not None)
        info = _info(corpus, stored)
        if arrived.unread:
            info = info.model_copy(update={"unread": arrived.unread})
        return respond(info, 201 if is_new else 200)

    return await service.writing.run(job, request, read, add)


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
