"""Every field and every body that the server refuses, by name and with the right status."""

import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import completion_create_params as chat_params
from openai.types.completion_create_params import CompletionCreateParamsBase

from lloco.server.wire.requests import CHAT_OTHERS, COMPLETION_OTHERS, ChatRequest, CompletionRequest
from tests.serving import CHAT_URL, chat, error_of

DOCUMENT = {"type": "document", "document_id": "lease"}


def test_every_official_field_is_honoured_or_refused_by_name(http: httpx.Client) -> None:
    official_chat = set(chat_params.CompletionCreateParamsBase.__annotations__) | {"stream"}
    official_text = set(CompletionCreateParamsBase.__annotations__) | {"stream"}
    assert official_chat <= set(ChatRequest.model_fields) | set(CHAT_OTHERS)
    assert official_text <= set(CompletionRequest.model_fields) | set(COMPLETION_OTHERS)
    for name in [*CHAT_OTHERS, "input_embeds", "prompt_embeds"]:
        response = http.post(CHAT_URL, json=chat(**{name: 7}))
        assert response.status_code == 400 and error_of(response)["param"] == name, name
        assert name in error_of(response)["message"]
    for name in COMPLETION_OTHERS:
        response = http.post("/v1/completions", json={"model": "ships", "prompt": "x", name: 7})
        assert response.status_code == 400 and error_of(response)["param"] == name, name


def test_fields_that_ask_for_nothing_are_taken(http: httpx.Client) -> None:
    asked = {name: values[0] for name, values in CHAT_OTHERS.items() if values}
    assert http.post(CHAT_URL, json=chat(max_tokens=1, **asked)).status_code == 200
    assert http.post(CHAT_URL, json=chat(max_tokens=1, **dict.fromkeys(CHAT_OTHERS))).status_code == 200


def test_who_asks_and_what_for_changes_no_answer(http: httpx.Client) -> None:
    names = {"user": "u", "metadata": {"a": "b"}, "safety_identifier": "s", "prompt_cache_key": "p"}
    plain, named = (http.post(CHAT_URL, json=chat(max_tokens=4, **more)).json() for more in ({}, names))
    assert named["choices"][0]["message"] == plain["choices"][0]["message"]
    text = {"model": "ships", "prompt": "Who was master of the Petrel?", "max_tokens": 1, "user": "u"}
    assert http.post("/v1/completions", json=text).status_code == 200
    for name in names:
        response = http.post(CHAT_URL, json=chat(**{name: 7}))
        assert response.status_code == 400 and error_of(response)["param"] == name, name


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": 7}]}, "messages[0].name"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "text": "x"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "document_id": "lease"}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "document"}]}]},
            "messages[0].content[1]",
        ),
        (
            {"messages": [{"role": "user", "content": [DOCUMENT, DOCUMENT, {"type": "text", "text": "x"}]}]},
            "messages[0].content",
        ),
        ({"messages": [{"role": "user", "content": [DOCUMENT]}]}, "messages[0].content"),
        (
            {"messages": [{"role": "system", "content": [DOCUMENT]}, {"role": "user", "content": "x"}]},
            "messages[0].content",
        ),
        (
            {
                "messages": [{"role": "user", "content": [DOCUMENT, {"type": "text", "text": "x"}]}],
                "lloco": {"document": "voyage"},
            },
            "lloco.document",
        ),
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"max_tokens": 10_000}, "max_tokens"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"lloco": {"corpus": "Wills"}}, "lloco.corpus"),
        ({"lloco": {"top_k": 0}}, "lloco.top_k"),
        ({"lloco": {"mode": "none"}}, "lloco.mode"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_question_is_refused_by_name(http: httpx.Client, change: dict[str, Any], param: str) -> None:
    response = http.post(CHAT_URL, json={**chat(), **change})
    error = error_of(response)
    assert (response.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'"\xff"', b"[]", b"null", b"[" * 100_000, b'{"a": NaN}', b'{"model": "\\ud800"}', b"9" * 10_000],
)
def test_what_is_not_a_json_object_is_refused(http: httpx.Client, data: bytes) -> None:
    for path in (CHAT_URL, "/v1/documents", "/v1/corpora"):
        response = http.post(path, content=data, headers={"content-type": "application/json"})
        assert response.status_code == 400
        assert error_of(response)["type"] == "invalid_request_error"


def test_a_body_of_another_type_is_refused(http: httpx.Client) -> None:
    assert http.post(CHAT_URL, content=json.dumps(chat()), headers={"content-type": "text/plain"}).status_code == 415
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    response = http.post(CHAT_URL, content=b"x", headers=packed)
    assert response.status_code == 415 and "must not be compressed, got gzip" in error_of(response)["message"]


def test_a_question_that_finds_nothing_says_what_to_do(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="lloco") as error:
        client.chat.completions.create(**chat("Xyzzy plugh?"))
    assert error.value.code == "no_document_found" and "--" not in error.value.message


def test_an_answer_that_does_not_fit_names_the_limit_and_no_folder(client: openai.OpenAI, compressor: Path) -> None:
    with pytest.raises(openai.BadRequestError, match="512 positions") as error:
        client.chat.completions.create(**chat(max_tokens=600))
    assert error.value.code == "context_length_exceeded"
    assert str(compressor.parent) not in error.value.message and "--" not in error.value.message


def test_unknown_addresses_and_methods_get_the_error_body(http: httpx.Client) -> None:
    assert error_of(http.get("/v1/embeddings"))["type"] == "invalid_request_error"
    assert http.get("/v1/embeddings").status_code == 404
    assert http.get(CHAT_URL).status_code == 405 and error_of(http.get(CHAT_URL))
    assert http.get("/docs").status_code == http.get("/openapi.json").status_code == 404


def test_too_large_a_body_is_refused_whether_its_length_is_declared_or_not(http: httpx.Client) -> None:
    large = json.dumps(chat("x " * 5_000_000)).encode()
    pieces = (large[start : start + 65536] for start in range(0, len(large), 65536))
    kind = {"content-type": "application/json"}
    for content in (large, pieces):
        response = http.post(CHAT_URL, content=content, headers=kind)
        assert response.status_code == 413 and "1,048,576 bytes" in error_of(response)["message"]
    assert http.post(CHAT_URL, json=chat(max_tokens=1)).status_code == 200
