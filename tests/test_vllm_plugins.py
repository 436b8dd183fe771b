"""What our plugins for vLLM decide without it: whose adapter, which settings, who passes the front."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lloco.adapters.digest import adapter_digest
from lloco.errors import LlocoError
from lloco.server.access import Access, load_access
from lloco.store.store import Store
from lloco.vllm_plugins.documents import access_of, check_settings
from lloco.vllm_plugins.front import MAX_BODY_BYTES, Front, Gate
from lloco.vllm_plugins.resolver import find_adapter
from tests.corpora import add_document
from tests.test_engine_contract import save_random_adapter

MODELS = SimpleNamespace(is_base_model=lambda name: name == "base", lora_requests={"theirs": object()})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with Store(tmp_path / "store") as opened:
        corpus = opened.corpus("ships")
        add_document(corpus, "a", "A word.")
        corpus.set_adapter(save_random_adapter(tmp_path / "adapter", seed=1))
        opened.corpus("empty")
    return tmp_path / "store"


def test_an_adapter_is_found_by_the_digest_of_its_content_and_by_nothing_else(store: Path, tmp_path: Path) -> None:
    digest = adapter_digest(tmp_path / "adapter")
    folder = find_adapter(store, f"lloco-{digest}")
    assert folder is not None and adapter_digest(folder) == digest
    hostile = ("lloco-", f"lloco-{digest[:-1]}", f"lloco-{digest}/..", f"lloco-{digest}\n", "lloco-../../etc", "ships")
    for name in (f"lloco-{'0' * 64}", digest, f"LLOCO-{digest}", *hostile):
        assert find_adapter(store, name) is None, name
    assert find_adapter(tmp_path / "nowhere", f"lloco-{digest}") is None
    assert not (tmp_path / "nowhere").exists()


def test_an_adapter_that_vllm_would_apply_wrongly_is_not_found(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "alpha_pattern": {"q_proj": 2}}))
    with Store(store) as opened:
        digest = opened.corpus("ships").set_adapter(tmp_path / "adapter")
    assert find_adapter(store, f"lloco-{digest}") is None
    assert "has patterns of ranks or scales, which vLLM ignores" in caplog.text


def test_what_vllm_would_die_of_is_said_at_its_start() -> None:
    def started(*, takes_embeds: bool = True, lora: object = None) -> Any:
        config = SimpleNamespace(enable_prompt_embeds=takes_embeds)
        return SimpleNamespace(model_config=config, vllm_config=SimpleNamespace(lora_config=lora))

    check_settings(started())
    check_settings(started(lora=SimpleNamespace(target_modules=["q_proj"])))
    with pytest.raises(LlocoError, match="--enable-prompt-embeds"):
        check_settings(started(takes_embeds=False))
    for modules in (None, [], ["q_proj", "embed_tokens"]):
        with pytest.raises(LlocoError, match="--lora-target-modules"):
            check_settings(started(lora=SimpleNamespace(target_modules=modules)))


def test_other_machines_are_let_in_with_keys_or_by_name_alone(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"key": ["ships"]}))
    for host in ("0.0.0.0", "::", "gpu-machine"):
        with pytest.raises(LlocoError, match=f"other machines reach {host} .* LLOCO_API_KEY_FILE"):
            access_of({}, host)
        assert access_of({"LLOCO_NO_AUTH": "1"}, host).keys is None
        assert access_of({"LLOCO_API_KEY_FILE": str(keys)}, host).keys is not None
    assert access_of({}, "127.0.0.1") == Access(None, is_loopback=True)


def echo(name: str) -> Starlette:
    async def answer(request: Request) -> Response:
        return JSONResponse({"by": name, "body": (await request.body()).decode()})

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"one": ["ships"], "all": "*"}))
    made = Gate()
    made.open(echo("corpora"), load_access(keys), "secret", MODELS)
    return made


def ask(gate: Gate, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(Front(echo("vllm"), gate))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            return await client.request(method, path, content=content, headers=headers)

    return anyio.run(send)


ONE, ALL = {"authorization": "Bearer one"}, {"authorization": "Bearer all"}


@pytest.mark.parametrize(
    ("headers", "path", "model", "who"),
    [
        (ONE, "/v1/chat/completions", "ships", "corpora"),
        (ONE, "/v1/chat/completions", "lloco/auto", "corpora"),
        (ONE, "/v1/completions", "never", "corpora"),
        (ONE, "/v1/responses", "ships", "corpora"),
        (ONE, "/v1/completions", "base", 404),
        (ONE, "/v1/completions", None, 404),
        (ONE, "/v1/completions", "theirs", 404),
        (ONE, "/v1/completions", f"lloco-{'0' * 64}", 404),
        (ONE, "/tokenize", "ships", 404),
        (ALL, "/v1/completions", "ships", "corpora"),
        (ALL, "/v1/completions", "base", "vllm"),
        (ALL, "/v1/responses", "base", "vllm"),
        (ALL, "/v1/completions", f"lloco-{'0' * 64}", "vllm"),
        (ALL, "/tokenize", "base", "vllm"),
        (ALL, "/v1/load_lora_adapter", None, 403),
        (ALL, "/adapters/x", None, 403),
        ({}, "/v1/completions", "base", 401),
        ({}, "/v1/completions", "ships", 401),
        ({"x-lloco-gateway-key": "secret"}, "/v1/load_lora_adapter", None, "vllm"),
        ({"x-lloco-gateway-key": "secret"}, "/v1/completions", "ships", "vllm"),
        ({"x-lloco-gateway-key": "secre"}, "/v1/completions", "base", 401),
        ({"x-lloco-gateway-key": ""}, "/v1/completions", "base", 401),
    ],
)
def test_who_answers(gate: Gate, headers: dict[str, str], path: str, model: str | None, who: str | int) -> None:
    body = {"x": 1} if model is None else {"model": model}
    response = ask(gate, "POST", path, body, **headers)
    if isinstance(who, int):
        assert response.status_code == who
    else:
        assert response.json() == {"by": who, "body": json.dumps(body)}


def test_without_a_secret_nobody_is_the_gateway() -> None:
    gate = Gate()
    gate.open(echo("corpora"), Access(), None, MODELS)
    localhost = {"host": "localhost"}
    wish = {"model": "base", "prompt_embeds": "AAAA"}
    for came in ("", "None"):
        assert (
            ask(gate, "POST", "/v1/completions", wish, **localhost, **{"x-lloco-gateway-key": came}).status_code == 400
        )
    assert ask(gate, "POST", "/v1/completions", {"model": "base"}, **localhost).json()["by"] == "vllm"
    assert ask(gate, "POST", "/v1/completions", {"model": "base"}, host="evil.example").status_code == 403


@pytest.mark.parametrize(
    "value",
    [
        {"prompt_embeds": "AAAA"},
        {"a": [{"b": {"prompt_embeds": ["AAAA"]}}]},
        {"messages": [{"content": [{"type": "prompt_embeds", "data": "AAAA"}]}]},
        [[{"type": "prompt_embeds"}]],
    ],
)
def test_embeddings_do_not_pass_whatever_the_route_and_the_encoding(gate: Gate, value: object) -> None:
    text = json.dumps(value)
    for body in (
        text.encode(),
        text.encode("utf-16"),
        text.encode("utf-8-sig"),
        text.replace("_e", "\\u005fe").encode(),
    ):
        assert ask(gate, "POST", "/any/route", body, **ALL).status_code == 400
    assert (
        ask(gate, "POST", "/any/route", {"prompt_embeds": None, "text": "prompt_embeds"}, **ALL).json()["by"] == "vllm"
    )
    assert ask(gate, "POST", "/any/route", b"no json {", **ALL).json()["body"] == "no json {"


def test_json_that_cannot_be_looked_through_does_not_pass(gate: Gate) -> None:
    deep = b'{"prompt_embeds": "AAAA", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    refused = ask(gate, "POST", "/any/route", deep, **ALL)
    assert refused.status_code == 400 and "nested too deeply" in refused.text
    for kind in ("application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"):
        for body in (b"no json {", b'{"prompt_embeds": "AAAA", "n": ' + b"9" * 5000 + b"}", b"\xff\xfe{"):
            assert ask(gate, "POST", "/any/route", body, **ALL, **{"content-type": kind}).status_code == 400
    for kind in ("text/plain", "multipart/form-data; boundary=json"):
        assert ask(gate, "POST", "/any/route", b"no json {", **ALL, **{"content-type": kind}).json()["by"] == "vllm"
    nothing = ask(gate, "POST", "/any/route", b"", **ALL, **{"content-type": "application/json"})
    assert nothing.json()["by"] == "vllm"


def test_until_vllm_is_ready_nobody_passes_and_health_always_does(gate: Gate) -> None:
    assert ask(Gate(), "POST", "/v1/completions", {"model": "base"}).status_code == 503
    for item in (Gate(), gate):
        assert ask(item, "GET", "/health").json()["by"] == "vllm"


def test_models_are_corpora_but_for_the_gateway(gate: Gate) -> None:
    assert ask(gate, "GET", "/v1/models", **ONE).json()["by"] == "corpora"
    assert ask(gate, "GET", "/v1/models/ships", **ALL).json()["by"] == "corpora"
    assert ask(gate, "GET", "/v1/models", **{"x-lloco-gateway-key": "secret"}).json()["by"] == "vllm"


def test_a_body_without_end_is_not_kept(gate: Gate) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range((MAX_BODY_BYTES >> 20) + 1):
            yield bytes(1 << 20)

    async def send() -> int:
        transport = httpx.ASGITransport(Front(echo("vllm"), gate))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return (await client.post("/v1/completions", content=endless(), headers=ALL)).status_code

    assert anyio.run(send) == 413


def test_a_socket_is_closed(gate: Gate) -> None:
    sent: list[Any] = []

    async def connect() -> None:
        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/v1/realtime", "headers": [(b"authorization", b"Bearer all")]}
        await Front(echo("vllm"), gate)(scope, receive, send)

    anyio.run(connect)
    assert sent == [{"type": "websocket.close", "code": 1008}]
