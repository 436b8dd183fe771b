"""What the routes of one server share, and who is calling."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import anyio
from fastapi import Depends, Request

from lloco.retrieval.retriever import Retriever
from lloco.server.access import Access, Grant
from lloco.server.engines import EngineOptions, Engines
from lloco.server.library import Library
from lloco.server.metrics import Metrics
from lloco.server.questions import Questions
from lloco.server.rate_limit import RateLimit
from lloco.server.writing import Writing
from lloco.store.corpus import Corpus
from lloco.store.store import Store

Result = TypeVar("Result")
MAX_CHANGES = 8
"""Removals and new corpora at once: each may wait for another process that writes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller may send."""

    question_bytes: int = 1 << 20
    """Size of a question's body, and of every other that holds no document."""
    document_bytes: int = 64 << 20
    """Size of a body that holds a document."""
    reading_seconds: float = 30.0
    """Time that reading one uploaded file may take."""
    reading_bytes: int = 2 << 30
    """Memory that reading one may take."""
    requests_per_minute: int | None = None
    """Requests of one key, or of one address where there are no keys."""


class Service:
    """The parts of one server."""

    def __init__(
        self,
        store: Store,
        access: Access,
        limits: Limits | None = None,
        engines: EngineOptions | None = None,
        open_retriever: Callable[[Corpus], Retriever] = Retriever.of_corpus,
    ) -> None:
        self.access = access
        self.limits = limits or Limits()
        self.engines = Engines(engines or EngineOptions())
        self.library = Library(store, self.engines, open_retriever)
        self.metrics = Metrics(lambda: self.engines.num_running, lambda: self.engines.num_waiting)
        self.questions = Questions(self.library, self.engines, self.metrics)
        self.writing = Writing()
        self._changing = anyio.CapacityLimiter(MAX_CHANGES)
        self._rate = RateLimit(self.limits.requests_per_minute)

    async def change(self, work: Callable[[], Result]) -> Result:
        """Do work that changes the store, and may wait for other processes, in a thread that no question needs."""
        return await anyio.to_thread.run_sync(work, limiter=self._changing)

    def caller(self, request: Request) -> Grant:
        """Return what the caller may use. Raises `ApiError` 401, 403 or 429."""
        headers = request.headers
        self.access.check_origin(headers.get("host", ""), headers.get("origin"))
        address = "" if request.client is None else request.client.host
        grant = self.access.grant(headers.get("authorization"), address)
        self._rate.take(grant.name)
        return grant


async def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def _caller(request: Request, service: Annotated[Service, Depends(_service)]) -> Grant:
    return service.caller(request)


Served = Annotated[Service, Depends(_service)]
Caller = Annotated[Grant, Depends(_caller)]
"""Parameter types of routes; a route with a `Caller` answers nobody without a key."""
