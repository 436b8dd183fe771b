"""What goes over the wire to a `vllm serve` and back, as vLLM 0.32 writes its OpenAI API. Knows no connection."""

import base64
import io
import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import torch
from torch import Tensor

from lloco.engine.request_queue import EngineUnavailableError
from lloco.engine.vllm.connection import VllmRequest
from lloco.errors import LlocoError

SETTINGS = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Said in every request: a server may have other defaults, from the checkpoint's generation_config.json."""


def server_address(url: str) -> str:
    """Return the address without the API's path. Raises `LlocoError` where it is none."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(httpx.URL(url).host) and parts.port != 0
        if is_address and not (parts.query or parts.fragment or parts.username):
            return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"
    except (ValueError, httpx.InvalidURL):
        pass
    raise LlocoError(f"the address of a vLLM server must be like http://HOST:8000, got {url!r}")


def completion_body(asked: VllmRequest) -> bytes:
    """Return the JSON object of a completion, without the model's name."""
    sampling = asked.sampling
    body: dict[str, Any] = {
        **SETTINGS,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_token_ids": list(asked.eos_token_ids),
        "ignore_eos": True,
        "stream": True,
        "return_token_ids": True,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if asked.salt:
        body["cache_salt"] = asked.salt
    if asked.prompt.is_floating_point():
        body["prompt_embeds"] = _encoded(asked.prompt)
    else:
        body["prompt"] = asked.prompt.tolist()
    return json.dumps(body).encode()


def _encoded(embeds: Tensor) -> str:
    """Return the tensor as vLLM reads it: what torch.save writes, in base64."""
    file = io.BytesIO()
    # A view would be saved with all that it is a view of.
    torch.save(embeds.detach().cpu().clone(memory_format=torch.contiguous_format), file)
    return base64.b64encode(file.getvalue()).decode()


def refusal_reason(response: httpx.Response) -> str:
    """Return what the server says of a refusal, one line."""
    try:
        value = response.json()
        error = value.get("error", value)
        said = error.get("message", error.get("detail", error)) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        said = response.text
    return f"{response.status_code}: {' '.join(str(said).split())[:300]}"


def chunk_token_ids(data: str, name: str) -> list[int]:
    """Return the token ids of one chunk of a stream. Raises `EngineUnavailableError` where it holds none."""
    try:
        chunk = json.loads(data)
        if "error" not in chunk:
            return [int(token_id) for choice in chunk["choices"] for token_id in choice["token_ids"]]
    except (ValueError, LookupError, TypeError) as error:
        raise EngineUnavailableError(
            f"{name} must answer with token ids, got {data[:100]!r}: use vLLM 0.32, see docs/vllm.md"
        ) from error
    raise EngineUnavailableError(f"{name} gave an answer up: {str(chunk['error'])[:300]}: ask again")
