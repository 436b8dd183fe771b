"""POST /v1/responses: a question to a corpus, answered whole or as a stream of events. No response is stored."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from lloco.server.routes.answering import answer_question
from lloco.server.routes.response_layout import ResponseLayout
from lloco.server.service import Caller, Served
from lloco.server.wire.body import parse, read_json
from lloco.server.wire.requests import check_others
from lloco.server.wire.response_request import INSTEAD, RESPONSE_OTHERS, ResponseRequest

router = APIRouter()


@router.post("/v1/responses")
async def responses(request: Request, grant: Caller, service: Served) -> Response:
    """Answer the input's last message."""
    body = check_others(await read_json(request, service.limits.question_bytes), RESPONSE_OTHERS, INSTEAD)
    asked = parse(ResponseRequest, body)
    return await answer_question(request, grant, service, asked, ResponseLayout(asked))
