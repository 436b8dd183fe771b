"""POST /v1/responses: what the official client sees, its stream event by event, and what is refused by name."""

import json
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from pydantic import TypeAdapter

from lloco.prompts.streamed_answer import AnswerText
from lloco.server.wire.response_request import RESPONSE_OTHERS, ResponseRequest
from tests.serving import CHAT_URL, QUESTION, Site, chat, direct, error_of

URL = "/v1/responses"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def asked(input: Any = QUESTION, corpus: str = "ships", **others: Any) -> dict[str, Any]:
    return {"model": corpus, "input": input, **others}


def user(text: str = QUESTION) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "input_text", "text": text}]}


def text_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["output"][0]["content"][0]["text"])


def events_of(http: httpx.Client, **others: Any) -> list[dict[str, Any]]:
    """The events of a stream, each named in its `event` line as in its data."""
    with http.stream("POST", URL, json=asked(stream=True, **others)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        blocks = response.read().decode().strip().split("\n\n")
    pairs = [block.split("\n") for block in blocks]
    events = [json.loads(data.removeprefix("data: ")) for _, data in pairs]
    assert [name.removeprefix("event: ") for name, _ in pairs] == [event["type"] for event in events]
    return events


@pytest.fixture
def breaks_after_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every answer fail when some of it was sent."""
    add, num_added = AnswerText.add, 0

    def add_once(text: AnswerText, piece: str) -> str:
        nonlocal num_added
        num_added += 1
        if num_added > 8:
            raise RuntimeError("/home/me/secret broke")
        return add(text, piece)

    monkeypatch.setattr(AnswerText, "add", add_once)


def test_the_official_client_gets_the_answer_that_chat_completions_give(site: Site, client: openai.OpenAI) -> None:
    made = client.responses.create(**asked(max_output_tokens=12, metadata={"a": "b"}, user="u"))
    same = client.chat.completions.create(**chat(max_tokens=12))
    assert made.output_text == direct(site, max_tokens=12) == same.choices[0].message.content
    assert (made.object, made.model, made.status) == ("response", "ships", "incomplete")
    assert made.incomplete_details is not None and made.incomplete_details.reason == "max_output_tokens"
    assert (made.metadata, made.user, made.max_output_tokens, made.temperature) == ({"a": "b"}, "u", 12, 0)
    [message] = made.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "incomplete")
    [part] = message.content
    assert [cited.to_dict() for cited in part.annotations] == [
        {"type": "file_citation", "file_id": "voyage", "filename": "Voyage", "index": 0}
    ]
    assert message.citations == same.choices[0].message.citations
    assert made.lloco == same.lloco
    Response.model_validate(made.to_dict(), strict=False)


def test_usage_is_that_of_chat_completions(client: openai.OpenAI) -> None:
    usage = client.responses.create(**asked(max_output_tokens=5)).usage
    same = client.chat.completions.create(**chat(max_tokens=5)).usage
    assert usage is not None and same is not None and same.prompt_tokens_details is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (
        same.prompt_tokens,
        same.completion_tokens,
        same.total_tokens,
    )
    assert usage.input_tokens_details.cached_tokens > 0 and usage.output_tokens_details.reasoning_tokens == 0
    for name in ("virtual_tokens", "document_tokens", "context_tokens"):
        assert getattr(usage, name) == getattr(same, name)
    assert usage.input_tokens_details.text_tokens == usage.input_tokens - usage.virtual_tokens


def test_an_answer_that_ends_by_itself_is_completed(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    whole = client.responses.create(**asked(max_output_tokens=8))
    engine = site.service.engines.engine(site.store.corpus("ships"), None)
    submit = engine.submit

    def submit_with_stop(prompt: Any, sampling: Any, *rest: Any, **others: Any) -> Any:
        return submit(prompt, type(sampling)(max_tokens=8, stop=(whole.output_text[3:6],)), *rest, **others)

    monkeypatch.setattr(engine, "submit", submit_with_stop)
    made = client.responses.create(**asked())
    assert (made.status, made.incomplete_details, made.output[0].status) == ("completed", None, "completed")
    assert made.completed_at is not None and made.completed_at >= made.created_at
    with client.responses.stream(**asked()) as stream:
        names = [event.type for event in stream]
    assert names[-1] == "response.completed" and stream.get_final_response().output_text == made.output_text


def test_a_stream_has_the_official_events_in_their_order(http: httpx.Client) -> None:
    events = events_of(http, max_output_tokens=12, lloco={"document": "voyage"})
    names = [event["type"] for event in events]
    num_deltas = names.count("response.output_text.delta")
    assert num_deltas > 2
    assert names == [
        *("response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"),
        *("response.output_text.delta",) * num_deltas,
        *("response.output_text.annotation.added", "response.output_text.done", "response.content_part.done"),
        *("response.output_item.done", "response.incomplete"),
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        EVENT.validate_python(event)
    whole = http.post(URL, json=asked(max_output_tokens=12, lloco={"document": "voyage"})).json()
    last = events[-1]["response"]
    for answer in (whole, last):
        for name in ("id", "created_at", "usage"):
            assert answer.pop(name)
        answer["output"][0].pop("id")
    assert whole == last
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    text = whole["output"][0]["content"][0]["text"]
    assert "".join(deltas) == text == events[-4]["text"] == events[-3]["part"]["text"]
    assert len({event["item_id"] for event in events if "item_id" in event} | {events[2]["item"]["id"]}) == 1
    assert events[2]["item"]["citations"][0]["document_id"] == "voyage"
    assert events[0]["response"]["lloco"] == whole["lloco"] and events[0]["response"]["usage"] is None


def test_the_official_clients_stream_adds_up_to_the_response(client: openai.OpenAI) -> None:
    with client.responses.stream(**asked(max_output_tokens=10)) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
    plain = list(client.responses.create(**asked(max_output_tokens=10), stream=True))
    whole = client.responses.create(**asked(max_output_tokens=10))
    assert "".join(texts) == whole.output_text == plain[-1].response.output_text
    assert plain[-1].response.usage == whole.usage


def test_a_failure_after_the_beginning_is_an_event_and_tells_no_folders(
    http: httpx.Client, client: openai.OpenAI, breaks_after_a_word: None
) -> None:
    *begun, error, failed = events_of(http, max_output_tokens=40)
    assert "response.output_text.delta" in {event["type"] for event in begun}
    assert (error["type"], error["code"], error["param"]) == ("error", None, None)
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "server_error", "message": error["message"]}
    assert failed["response"]["output"] == [] and "/home" not in json.dumps(failed)
    for event in (error, failed):
        EVENT.validate_python(event)
    with pytest.raises(openai.InternalServerError):
        client.responses.create(**asked(max_output_tokens=40))


def test_instructions_and_earlier_messages_are_read_as_those_of_a_chat(client: openai.OpenAI) -> None:
    first = client.responses.create(**asked(max_output_tokens=6))
    question = "Where was the Petrel lost?"
    developer = {"type": "message", "role": "developer", "content": "In English."}
    history = [developer, user(), *(item.to_dict() for item in first.output), user(question)]
    made = client.responses.create(**asked(history, instructions="Answer in one word.", max_output_tokens=9))
    messages: list[Any] = [
        {"role": "system", "content": "Answer in one word."},
        {"role": "developer", "content": "In English."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": question},
    ]
    same = client.chat.completions.create(model="ships", messages=messages, max_tokens=9)
    assert made.output_text == same.choices[0].message.content and made.usage is not None and same.usage is not None
    assert made.usage.input_tokens == same.usage.prompt_tokens
    assert made.instructions == "Answer in one word."
    bare = client.responses.create(**asked([user()], instructions="Answer in one word.", max_output_tokens=9))
    alone = client.chat.completions.create(model="ships", messages=[messages[0], messages[2]], max_tokens=9)
    assert bare.output_text == alone.choices[0].message.content


def test_options_of_the_extension_and_document_parts_are_honoured(http: httpx.Client) -> None:
    named = http.post(URL, json=asked(max_output_tokens=4, lloco={"document": "lease", "mode": "full"})).json()
    assert named["output"][0]["citations"][0]["document_id"] == "lease" and named["lloco"]["mode"] == "full"
    parts = [{"type": "document", "document_id": "lease"}, {"type": "input_text", "text": QUESTION}]
    by_part = http.post(URL, json=asked([{"role": "user", "content": parts}], max_output_tokens=4))
    assert text_of(by_part) == text_of(http.post(URL, json=asked(max_output_tokens=4, lloco={"document": "lease"})))
    routed = http.post(URL, json=asked("Who inherits the orchard?", "lloco/auto", max_output_tokens=2)).json()
    assert routed["model"] == "Wills" and routed["lloco"]["votes"]["Wills"] == pytest.approx(1)


def test_a_temperature_and_top_p_are_honoured(http: httpx.Client) -> None:
    def text(**options: Any) -> str:
        return text_of(http.post(URL, json=asked(max_output_tokens=20, **options)))

    greedy = text()
    assert text(temperature=0) == greedy == text(temperature=1.5, top_p=1e-9)
    assert len({greedy, *(text(temperature=1.8) for _ in range(3))}) > 1


def test_every_official_field_is_honoured_or_refused_by_name(http: httpx.Client) -> None:
    official = set(ResponseCreateParamsBase.__annotations__) | {"stream"}
    assert official <= set(ResponseRequest.model_fields) | set(RESPONSE_OTHERS)
    for name in [*RESPONSE_OTHERS, "input_embeds", "max_tokens", "messages", "n"]:
        error = error_of(response := http.post(URL, json=asked(**{name: 7})))
        assert (response.status_code, error["param"]) == (400, name) and name in error["message"], name


def test_fields_that_ask_for_nothing_are_taken(http: httpx.Client) -> None:
    neutral = {name: values[0] for name, values in RESPONSE_OTHERS.items() if values}
    assert http.post(URL, json=asked(max_output_tokens=1, **neutral)).status_code == 200
    assert http.post(URL, json=asked(max_output_tokens=1, **dict.fromkeys(RESPONSE_OTHERS))).status_code == 200


@pytest.mark.parametrize("name", ["previous_response_id", "conversation", "store"])
def test_what_needs_stored_responses_is_refused_with_what_to_do(client: openai.OpenAI, name: str) -> None:
    value: Any = True if name == "store" else "resp_1"
    with pytest.raises(openai.BadRequestError, match=f"{name} is not supported here: responses are not stored") as bad:
        client.responses.create(**asked(**{name: value}))
    assert (bad.value.code, bad.value.param) == ("unsupported_parameter", name)


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": "  "}, "input[0].content"),
        ({"input": [{"role": "system", "content": "x"}]}, "input[0].role"),
        ({"input": [user(), {"role": "assistant", "content": "x"}]}, "input[1].role"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}, user()]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}, user()]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0].type",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "document", "document_id": ""}]}]}, "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "document", "document_id": "lease"}]}, user()]},
            "input[0].content",
        ),
        ({"instructions": 3}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 10_000}, "max_output_tokens"),
        ({"input": "word " * 600}, "input"),
        ({"input": "Xyzzy plugh?"}, "input"),
        ({"temperature": 3}, "temperature"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"stream_options": {}}, "stream_options"),
        ({"lloco": {"top_k": 0}}, "lloco.top_k"),
        ({"model": "nothing"}, "model"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_wrong_request_is_refused_by_name(
    http: httpx.Client, change: dict[str, Any], param: str, is_stream: bool
) -> None:
    if is_stream and change == {"stream_options": {}}:
        change = {"stream_options": {"include_usage": True}}
        param = "stream_options.include_usage"
    response = http.post(URL, json={**asked(stream=is_stream), **change})
    status = 404 if "model" in change else 400
    error = error_of(response)
    assert (response.status_code, error["param"], error["type"]) == (status, param, "invalid_request_error")


def test_completions_name_their_own_field(http: httpx.Client) -> None:
    response = http.post("/v1/completions", json={"model": "ships", "prompt": "Xyzzy plugh?"})
    assert error_of(response)["param"] == "prompt"
    assert error_of(http.post(CHAT_URL, json=chat("Xyzzy plugh?")))["param"] == "messages"


def test_a_key_asks_its_own_corpora_alone(locked: Site) -> None:
    with locked.client("key-of-ships") as client:
        assert client.responses.create(**asked(max_output_tokens=2)).model == "ships"
        with pytest.raises(openai.NotFoundError):
            client.responses.create(**asked(corpus="Wills"))
    with locked.client("wrong") as client, pytest.raises(openai.AuthenticationError):
        client.responses.create(**asked())
