"""The application: routes, error handlers and metrics around one service; engines end when it does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lloco.server.errors import ApiError, error_response, install_error_handlers
from lloco.server.metrics import CountRequests
from lloco.server.routes import completions, corpora, documents, page, responses
from lloco.server.service import Caller, Served, Service

router = APIRouter()


def create_app(service: Service) -> FastAPI:
    """Return the application of a service; when it shuts down, what runs is finished first."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(service.engines.close)

    # The pages that FastAPI makes fetch scripts from elsewhere, and the API is OpenAI's.
    app = FastAPI(title="lloco", lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.state.service = service
    app.add_middleware(CountRequests, metrics=service.metrics)
    for routes in (router, completions.router, responses.router, corpora.router, documents.router, page.router):
        app.include_router(routes)
    install_error_handlers(app)
    app.add_exception_handler(RequestValidationError, _invalid_query)
    return app


@router.get("/health")
async def health() -> Response:
    """Say that the server answers; needs no key and tells nothing else."""
    return JSONResponse({"status": "ok"})


@router.get("/metrics")
async def metrics(grant: Caller, service: Served) -> Response:
    """Return what Prometheus scrapes; needs a key for all corpora, or one for this, where there are keys."""
    if not grant.reads_metrics:
        raise ApiError(403, 'this key may not read the metrics: use one with "*" or "metrics" in the file of keys')
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _invalid_query(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = str(first["loc"][-1])
    return error_response(ApiError(400, f"{param}: {first['msg']}", param=param))
