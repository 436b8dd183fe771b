"""Corpora as models that can be asked, and as what they are: /v1/models and /v1/corpora."""

import time
from functools import partial

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from lloco.server.corpus_model import describe_model
from lloco.server.service import Caller, Served, Service
from lloco.server.wire.body import parse, read_json
from lloco.server.wire.requests import ROUTED, NewCorpus
from lloco.server.wire.responses import CorpusInfo, Deleted, Model, Page, respond
from lloco.store.corpus import Corpus

router = APIRouter()
STARTED = int(time.time())
"""When a corpus was made is not known here; clients want a number."""


@router.get("/v1/models")
async def list_models(grant: Caller, service: Served) -> Response:
    """List the corpora that the key may ask; several together are one more model, which finds the right one."""
    names = await run_in_threadpool(service.library.names, grant)
    if len(names) > 1:
        names.append(ROUTED)
    return respond(Page(data=[Model(id=name, created=STARTED) for name in names]))


@router.get("/v1/models/{name:path}")
async def show_model(name: str, grant: Caller, service: Served) -> Response:
    """Show one."""
    if name == ROUTED:
        return respond(Model(id=ROUTED, created=STARTED))
    corpus = await run_in_threadpool(service.library.corpus, grant, name)
    return respond(Model(id=corpus.name, created=STARTED))


@router.get("/v1/corpora")
async def list_corpora(grant: Caller, service: Served) -> Response:
    """List the corpora that the key may use, in numbers."""
    found = await run_in_threadpool(service.library.of_each, grant, partial(_info, service))
    return respond(Page(data=list(found.values())))


@router.post("/v1/corpora")
async def create_corpus(request: Request, grant: Caller, service: Served) -> Response:
    """Make an empty corpus."""
    made = parse(NewCorpus, await read_json(request, service.limits.question_bytes))
    corpus = await service.change(partial(service.library.create, grant, made.name))
    return respond(await run_in_threadpool(_info, service, corpus), 201)


@router.get("/v1/corpora/{name}")
async def show_corpus(name: str, grant: Caller, service: Served) -> Response:
    """Show one in numbers."""
    corpus = await run_in_threadpool(service.library.corpus, grant, name, "corpus")
    return respond(await run_in_threadpool(_info, service, corpus))


@router.delete("/v1/corpora/{name}")
async def delete_corpus(name: str, grant: Caller, service: Served) -> Response:
    """Remove one with all it holds; answers that are being generated end as they would."""
    corpus = await run_in_threadpool(service.library.corpus, grant, name, "corpus")
    await service.change(partial(service.library.remove, corpus))
    return respond(Deleted(id=corpus.name, object="corpus"))


def _info(service: Service, corpus: Corpus) -> CorpusInfo:
    summary = corpus.summary()
    return CorpusInfo(
        id=summary.name,
        num_documents=summary.num_documents,
        num_passages=summary.num_passages,
        document_tokens=summary.num_document_tokens,
        virtual_tokens=summary.num_virtual_tokens,
        compressor_digest=summary.compressor_digest,
        adapter=summary.adapter_digest,
        model=describe_model(corpus, service.engines),
    )
