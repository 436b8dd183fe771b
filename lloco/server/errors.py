"""Every error that leaves the server: its status and the OpenAI error body, made here and nowhere else.

What a client can mend is said to it. What only the operator can mend goes to the log, and the client learns no more
than that. Folders of this machine are cut out of messages.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from lloco.answer.budget import NoRoomError, Taker
from lloco.engine.request_queue import EngineUnavailableError, QueueFullError
from lloco.errors import CheckpointError, DiskFullError, ExistsError, LlocoError, MismatchError, StoreError
from lloco.retrieval.retriever import NothingFoundError
from lloco.retrieval.routing import SeveralCorporaError

LOG = logging.getLogger("lloco.server")
_FOLDERS = re.compile(r"""(?<![\w.:/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:,;'"]+[/\\])+""")
"""The folders of an absolute path, without its last part."""
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True)
class QuestionFields:
    """What an endpoint calls the parts of a question that an error may be about."""

    question: str = "messages"
    length: str = "max_tokens"

    def taking_room(self, taker: Taker) -> tuple[str, str]:
        """Return the field that takes the room which a document would need, and what to do about it."""
        advice: dict[Taker, tuple[str, str]] = {
            "question": (self.question, "send a shorter question"),
            "history": (self.question, "send fewer or shorter earlier messages"),
            "answer": (self.length, f"lower {self.length}"),
            "limit": ("lloco.max_virtual_tokens", "raise lloco.max_virtual_tokens"),
        }
        return advice[taker]


CHAT_FIELDS = QuestionFields()


class ApiError(Exception):
    """An answer other than the one that was asked for, in the words of the OpenAI API."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The OpenAI error body."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def not_found(what: str, advice: str, *, param: str, code: str) -> ApiError:
    """Say that something is not there; the same words where it is there and belongs to another key."""
    return ApiError(404, f"{what} does not exist, or this key may not use it: {advice}", param=param, code=code)


def as_api_error(error: Exception, fields: QuestionFields = CHAT_FIELDS) -> ApiError:
    """Return what the client is told of an error; `fields` are those of the question that it is about."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, QueueFullError):
        return ApiError(429, str(error), code="queue_full", headers={"retry-after": "1"})
    if isinstance(error, EngineUnavailableError):
        LOG.error("%s", error)
        message = "the engine cannot be used now: try again later, or ask the operator, whose log has the cause"
        return ApiError(503, message, code="engine_unavailable", headers={"retry-after": "5"})
    if isinstance(error, NothingFoundError):
        message = (
            "no document of this corpus has a word of the question: ask in the documents' words, or name a document "
            'with {"lloco": {"document": ID}}'
        )
        return ApiError(400, message, param=fields.question, code="no_document_found")
    if isinstance(error, SeveralCorporaError):
        shares = ", ".join(f"{name} {share:.0%}" for name, share in error.votes.items())
        message = f"passages of several corpora fit the question ({shares}): name one as the model, or leave strict out"
        return ApiError(400, message, param="lloco.strict", code="several_corpora")
    if isinstance(error, NoRoomError):
        param, advice = fields.taking_room(error.taker)
        return ApiError(400, f"{_public(error.reason)}: {advice}", param=param, code="context_length_exceeded")
    if isinstance(error, ExistsError):
        return ApiError(409, _public(str(error)), param="id", code="exists")
    if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT)):
        LOG.error("%s", error)
        return ApiError(507, "the server's disk is full: remove documents, or ask its operator", code="disk_full")
    if isinstance(error, MismatchError):
        return ApiError(409, _public(str(error)), code="mismatch")
    if isinstance(error, LlocoError) and not isinstance(error, CheckpointError | StoreError):
        return ApiError(400, _public(str(error)))
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, _http_message(error), headers=error.headers)
    if isinstance(error, ClientDisconnect):
        return ApiError(499, "the client went away before its request was read")
    LOG.error("a request failed: %s", error, exc_info=error)
    return ApiError(500, "the server could not do this, its log says why: try again, or ask its operator")


def _http_message(error: HTTPException) -> str:
    if error.status_code == 404:
        paths = "/v1/models, /v1/chat/completions, /v1/responses, /v1/corpora"
        return f"there is nothing at this address: the paths begin with {paths}"
    return f"{error.detail}: see the documentation of lloco serve"


def _public(message: str) -> str:
    return _FOLDERS.sub("", message)


def error_response(error: Exception) -> Response:
    """Return the response that tells the client of an error."""
    known = as_api_error(error)
    return JSONResponse(known.body, status_code=known.status, headers=known.headers)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of the app's routes with the OpenAI error body."""

    def respond(_: Request, error: Exception) -> Response:
        return error_response(error)

    for kind in (ApiError, LlocoError, OSError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, respond)
