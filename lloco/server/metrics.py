"""Prometheus metrics of one server, and the middleware that counts its requests.

Labels are routes and statuses alone: nothing tells one key of another's corpora.
"""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lloco.answer.prepare import PreparedQuestion
from lloco.engine.engine import Generation

_METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters, histograms and gauges in a registry of their own."""

    def __init__(self, num_running: Callable[[], int], num_waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self.requests = Counter("lloco_requests", "Requests answered.", labels, registry=self.registry)
        self.latency = self._histogram("lloco_request_seconds", "Seconds to a whole answer.", ("route",))
        self.first_token = self._histogram("lloco_first_token_seconds", "Seconds from a question to its first text.")
        self.virtual_tokens = self._counter("lloco_virtual_tokens", "Vectors that were read instead of text.")
        self.document_tokens = self._counter("lloco_document_tokens", "Document tokens that these vectors stand for.")
        self.completion_tokens = self._counter("lloco_completion_tokens", "Tokens that were generated.")
        for name, what, count in (
            ("lloco_running", "Questions being answered now.", num_running),
            ("lloco_waiting", "Questions waiting for room in a batch.", num_waiting),
        ):
            Gauge(name, what, registry=self.registry).set_function(count)

    def count_answer(self, prepared: PreparedQuestion, generation: Generation) -> None:
        """Count an answer that has ended, or was cancelled."""
        self.virtual_tokens.inc(prepared.prompt.num_virtual_tokens)
        if prepared.mode == "compressed":
            self.document_tokens.inc(prepared.num_document_tokens)
        self.completion_tokens.inc(len(generation.token_ids))

    def text(self) -> bytes:
        """Return what Prometheus scrapes."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(name, what, registry=self.registry)

    def _histogram(self, name: str, what: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(name, what, labels, registry=self.registry, buckets=_SECONDS)


class CountRequests:
    """Middleware that counts every request by its route, not its path, and times it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            # Anybody may send a method of any name, and every new one would be kept for good.
            method = scope["method"] if route != "other" and scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, status).inc()
            self._metrics.latency.labels(route).observe(time.perf_counter() - started)
