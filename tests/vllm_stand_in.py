"""A server that answers what `HttpVllm` asks as vLLM 0.32 does, with a tiny decoder of transformers behind it.

It can be told to be down, slow, or set up wrongly, which a vLLM cannot be told quickly. `tests/with_vllm` asks vLLM.
"""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from lloco.engine.engine import SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt
from lloco.server.listen import address_of, open_socket, serving_in_thread


@dataclass
class StandIn:
    """What the server does next, and what it was asked."""

    decoder: Decoder
    url: str = ""
    refusals: list[int] = field(default_factory=list)
    """Statuses that the next completions are answered with instead."""
    models_refusals: list[int] = field(default_factory=list)
    """The same for the list of models."""
    silent_seconds: float = 0.0
    """Before the first token."""
    breaks_after: int | None = None
    """Tokens after which the connection is broken."""
    ends_after: int | None = None
    """Tokens after which an answer is given up with reason "abort"."""
    takes_embeds: bool = True
    loads_adapters: bool = True
    max_len: int = 512
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    adapters: dict[str, str] = field(default_factory=dict)
    num_gone: int = 0
    """Clients that went away before their answer's end."""

    def __post_init__(self) -> None:
        self.engine = TransformersEngine(self.decoder)

    def begin_anew(self, decoder: Decoder | None = None) -> None:
        """Forget what was loaded while it ran; with another decoder where one is given."""
        self.adapters.clear()
        if decoder is not None:
            self.decoder, self.engine = decoder, TransformersEngine(decoder)


def _error(status: int, message: str, kind: str = "BadRequestError") -> Response:
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": status}}, status_code=status
    )


def _app(stand_in: StandIn) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/v1/models")
    async def models() -> Response:
        if stand_in.models_refusals:
            return _error(stand_in.models_refusals.pop(0), "not now", "ServiceUnavailableError")
        base = {"id": "base", "parent": None, "max_model_len": stand_in.max_len, "root": "/models/base"}
        return JSONResponse({"data": [base, *({"id": name, "parent": "base"} for name in stand_in.adapters)]})

    @app.post("/v1/load_lora_adapter")
    async def load_lora_adapter(request: Request) -> Response:
        wish = await request.json()
        if not stand_in.loads_adapters:
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        stand_in.adapters[wish["lora_name"]] = wish["lora_path"]
        return Response("Success")

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        asked = await request.json()
        stand_in.asked.append(asked)
        stand_in.headers.append(dict(request.headers))
        if stand_in.refusals:
            return _error(stand_in.refusals.pop(0), "not now", "ServiceUnavailableError")
        name = asked["model"]
        if name != "base" and name not in stand_in.adapters:
            return _error(404, f"The model `{name}` does not exist. Valid aliases: base.", "NotFoundError")
        if "prompt_embeds" in asked:
            if not stand_in.takes_embeds:
                return _error(400, "You must set `--enable-prompt-embeds` to input `prompt_embeds`.")
            prompt = torch.load(io.BytesIO(base64.b64decode(asked["prompt_embeds"])), weights_only=True)
            width = stand_in.decoder.hidden_size
            if prompt.shape[1] != width:
                came = prompt.shape[1]
                return _error(
                    400, f"`prompt_embeds` hidden_size {came} does not match the model's hidden_size {width}."
                )
        else:
            prompt = torch.tensor(asked["prompt"])
        if name != "base":
            stand_in.engine.add_adapter(name, Path(stand_in.adapters[name]))
        sampling = SamplingParams(asked["max_tokens"], asked["temperature"], asked["top_p"], asked.get("seed"))
        ended = stand_in.engine.generate([Prompt((prompt,))], sampling, adapters=[None if name == "base" else name])
        return StreamingResponse(_chunks(request, list(ended[0].token_ids)), media_type="text/event-stream")

    async def _chunks(request: Request, token_ids: list[int]) -> AsyncIterator[bytes]:
        try:
            await asyncio.sleep(stand_in.silent_seconds)
            for number, token_id in enumerate(token_ids):
                if number == stand_in.breaks_after:
                    raise RuntimeError("as if the process had ended")
                is_end = number == stand_in.ends_after
                reason = "abort" if is_end else None
                choice = {"index": 0, "text": "", "token_ids": [] if is_end else [token_id], "finish_reason": reason}
                yield f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
                if is_end:
                    break
                await asyncio.sleep(0.002)
            yield b"data: [DONE]\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            stand_in.num_gone += 1
            raise

    return app


@contextmanager
def standing_in(decoder: Decoder) -> Iterator[StandIn]:
    stand_in = StandIn(decoder)
    with open_socket("127.0.0.1", 0) as bound:
        stand_in.url = address_of(bound)
        with serving_in_thread(_app(stand_in), bound):
            yield stand_in
