"""The server over real HTTP: the official client, keys, documents while it runs, limits, mistakes and load."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docx
import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params as chat_params
from openai.types.completion_create_params import CompletionCreateParamsBase

from lloco.answer import ask
from lloco.compress import compress_into
from lloco.compressors.load import load_compressor
from lloco.documents import Document
from lloco.errors import CheckpointError, DataError, LlocoError, MismatchError, StoreError
from lloco.models.adapter import LoraOptions, attach_adapter, save_adapter
from lloco.retriever import Retriever
from lloco.server.access import Access, check_exposure, load_keys
from lloco.server.answer_text import AnswerText
from lloco.server.app import create_app
from lloco.server.engines import EngineOptions
from lloco.server.errors import ApiError, as_api_error
from lloco.server.listen import address_of, make_server, open_socket
from lloco.server.rate_limit import RateLimit
from lloco.server.service import Limits, Service
from lloco.server.wire_requests import CHAT_OTHERS, COMPLETION_OTHERS, ChatRequest, CompletionRequest
from lloco.store.corpus import Corpus
from lloco.store.store import Store
from lloco.template import Template
from tests.corpora import LEASE, VOYAGE, lease_and_voyage, save_compressor

QUESTION = "Who was master of the brig Petrel?"
WILL = "The will of Dorothea Finch leaves the orchard to her niece Maud and the clock to the parish of Elmham."
LONG = 380
CHAT_URL = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Site:
    """A server that runs, and a way to it for one key."""

    url: str
    service: Service
    store: Store
    stop: Callable[[], None]

    def http(self, key: str | None = None) -> httpx.Client:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def client(self, key: str = "any") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)


@contextmanager
def serving(store: Path, access: Access | None = None, limits: Limits | None = None, **engines: Any) -> Iterator[Site]:
    with Store(store) as opened, open_socket("127.0.0.1", 0) as bound:
        service = Service(opened, access or Access(), limits, EngineOptions(**engines))
        server = make_server(create_app(service))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()

        def stop() -> None:
            server.should_exit = True

        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Site(address_of(bound), service, opened, stop)
        finally:
            stop()
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def compressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a seed whose model answers at length."""
    return save_compressor(tmp_path_factory.mktemp("compressor") / "tiny", seed=20)


def fill_store(path: Path, compressor: Path, **corpora: list[Document]) -> Path:
    loaded = load_compressor(compressor)
    with Store(path) as store:
        for name, documents in corpora.items():
            compress_into(store.corpus(name), documents, loaded)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, compressor: Path) -> Iterator[Site]:
    """Corpora `ships` and `Wills` without keys; tests that change documents use corpora of their own."""
    store = fill_store(
        tmp_path_factory.mktemp("site") / "store",
        compressor,
        ships=lease_and_voyage(),
        Wills=[Document("will", WILL, "Will", "/secret/folder/will.txt")],
    )
    with serving(store, compressor=str(compressor)) as running:
        yield running


@pytest.fixture(scope="module")
def http(site: Site) -> Iterator[httpx.Client]:
    with site.http() as client:
        yield client


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[openai.OpenAI]:
    with site.client() as made:
        yield made


def chat(question: str = QUESTION, corpus: str = "ships", **others: Any) -> dict[str, Any]:
    return {"model": corpus, "messages": [{"role": "user", "content": question}], **others}


def error_of(response: httpx.Response) -> dict[str, Any]:
    error = response.json()["error"]
    assert set(response.json()) == {"error"} and set(error) == {"message", "type", "param", "code"}
    return dict(error)


def direct(site: Site, question: str = QUESTION, corpus: str = "ships", **options: Any) -> str:
    """The answer that `lloco.ask` gives to the same question."""
    return ask(site.store.corpus(corpus, create=False), question, **options).text


# What the official client sees


def test_the_official_client_gets_the_answer_that_ask_gives_and_cites(site: Site, client: openai.OpenAI) -> None:
    made = client.chat.completions.create(**chat(max_tokens=12))
    [choice] = made.choices
    assert choice.message.content == direct(site, max_tokens=12)
    assert (choice.message.role, choice.finish_reason, made.object) == ("assistant", "length", "chat.completion")
    [cited] = choice.message.model_extra["citations"]
    assert (cited["document_id"], cited["title"]) == ("voyage", "Voyage")
    assert VOYAGE[cited["start"] : cited["end"]] == cited["text"] and "master" in cited["text"]
    stored = site.store.corpus("ships").document("voyage")
    assert made.usage is not None and made.usage.model_extra is not None
    assert made.usage.model_extra["virtual_tokens"] == stored.num_virtual_tokens
    assert made.usage.model_extra["document_tokens"] == stored.num_tokens
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens
    assert made.usage.completion_tokens == 12 and made.usage.prompt_tokens > stored.num_virtual_tokens
    assert made.model_extra["lloco"] == {
        "corpus": "ships",
        "adapter": None,
        "decoder": stored.compressor_digest,
        "is_whole": True,
    }


def test_a_stream_is_the_whole_answer_in_pieces(site: Site, client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**chat(max_tokens=40))
    chunks = list(
        client.chat.completions.create(**chat(max_tokens=40), stream=True, stream_options={"include_usage": True})
    )
    *told, counted = chunks
    assert "".join(one.choices[0].delta.content or "" for one in told) == whole.choices[0].message.content
    assert len(told) > 4
    assert told[0].choices[0].delta.model_extra["citations"][0]["document_id"] == "voyage"
    assert [one.choices[0].finish_reason for one in told] == [None] * (len(told) - 1) + ["length"]
    assert counted.choices == [] and counted.usage == whole.usage
    assert {one.object for one in chunks} == {"chat.completion.chunk"} and len({one.id for one in chunks}) == 1


def test_a_stream_is_laid_out_as_the_official_one(http: httpx.Client) -> None:
    with http.stream("POST", CHAT_URL, json=chat(max_tokens=3, stream=True)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
    events = [json.loads(line[6:]) for line in lines[:-1]]
    assert all("usage" not in event for event in events)
    assert events[0]["choices"][0]["delta"] | {"citations": 0} == {"role": "assistant", "content": "", "citations": 0}
    assert events[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}


def test_completions_answer_the_prompt(client: openai.OpenAI, site: Site) -> None:
    made = client.completions.create(model="ships", prompt=QUESTION, max_tokens=12)
    assert (made.choices[0].text, made.object) == (direct(site, max_tokens=12), "text_completion")
    assert made.choices[0].model_extra["citations"][0]["document_id"] == "voyage"
    chunks = list(client.completions.create(model="ships", prompt=[QUESTION], max_tokens=12, stream=True))
    assert "".join(one.choices[0].text for one in chunks) == made.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_corpora_are_the_models_there_are(client: openai.OpenAI) -> None:
    assert {"ships", "Wills"} <= {one.id for one in client.models.list()}
    assert client.models.retrieve("wills").id == "Wills"
    for name in ("meta-llama/Llama-2-7b", "bundled", "../ships", "nothing"):
        with pytest.raises(openai.NotFoundError, match="models are corpora") as missing:
            client.models.retrieve(name)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError, match="models are corpora"):
            client.chat.completions.create(**chat(corpus=name))


def test_sampling_is_honoured(client: openai.OpenAI, site: Site) -> None:
    def text(**options: Any) -> str:
        return str(
            client.chat.completions.create(**chat(max_completion_tokens=20, **options)).choices[0].message.content
        )

    greedy = text()
    assert text(temperature=0) == greedy == text(temperature=1.5, top_p=1e-9, seed=1)
    drawn = [text(temperature=1.5, seed=seed) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1] and len({*drawn, greedy}) > 2
    stop = next(one for one in greedy[2:] if one.isalpha())
    stopped = client.chat.completions.create(**chat(max_tokens=20, stop=stop))
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].message.content == greedy.split(stop)[0].strip()


def test_a_document_can_be_named_and_several_read(client: openai.OpenAI) -> None:
    named = client.chat.completions.create(**chat(max_tokens=2), extra_body={"lloco": {"document": "lease"}})
    assert [one["document_id"] for one in named.choices[0].message.model_extra["citations"]] == ["lease"]
    both = client.chat.completions.create(
        **chat("Agnes Webb or Edmund Crane?", max_tokens=2), extra_body={"lloco": {"top_k": 2}}
    )
    assert {one["document_id"] for one in both.choices[0].message.model_extra["citations"]} == {"lease", "voyage"}
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(**chat(), extra_body={"lloco": {"document": "../lease"}})
    assert (missing.value.code, missing.value.param) == ("document_not_found", "lloco.document")


def test_text_parts_are_one_question(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "Who was master"}, {"type": "text", "text": "of the brig Petrel?"}]
    made = client.chat.completions.create(
        model="ships",
        messages=[{"role": "user", "content": parts}],
        max_tokens=8,  # type: ignore[list-item,misc]
    )
    joined = client.chat.completions.create(**chat("Who was master\nof the brig Petrel?", max_tokens=8))
    assert made.choices[0].message.content == joined.choices[0].message.content


# What is refused


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


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": "x"}] * 2}, "messages"),
        ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, "messages[0].name"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "text": "x"}]}]},
            "messages[0].content[0].type",
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
    assert http.post(CHAT_URL, content=b"x", headers=packed).status_code == 415


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


# Documents and corpora while it runs


def test_a_new_document_answers_at_once_and_is_gone_when_removed(http: httpx.Client, client: openai.OpenAI) -> None:
    assert http.post("/v1/corpora", json={"name": "fresh"}).status_code == 201
    assert http.post("/v1/corpora", json={"name": "fresh"}).status_code == 409
    with pytest.raises(openai.BadRequestError, match="no document yet"):
        client.chat.completions.create(**chat(corpus="fresh"))
    started = time.monotonic()
    for id, text in (("a/lease.txt", LEASE), ("voyage", VOYAGE)):
        made = http.post("/v1/documents", json={"corpus": "fresh", "id": id, "text": text})
        assert made.status_code == 201 and made.json()["id"] == id
    answer = client.chat.completions.create(**chat("Who signed the lease?", corpus="fresh", max_tokens=2))
    assert time.monotonic() - started < 10
    assert answer.choices[0].message.model_extra["citations"][0]["document_id"] == "a/lease.txt"
    listed = http.get("/v1/documents", params={"corpus": "fresh", "limit": 1}).json()
    assert [one["id"] for one in listed["data"]] == ["a/lease.txt"] and listed["has_more"]
    rest = http.get("/v1/documents", params={"corpus": "fresh", "after": "a/lease.txt"}).json()
    assert [one["id"] for one in rest["data"]] == ["voyage"] and not rest["has_more"]
    assert http.get("/v1/documents/fresh/a/lease.txt").json()["text"] == LEASE
    assert http.delete("/v1/documents/fresh/a%2Flease.txt").json() == {
        "id": "a/lease.txt",
        "object": "document",
        "deleted": True,
    }
    assert http.delete("/v1/documents/fresh/a/lease.txt").status_code == 404
    only = client.chat.completions.create(**chat("Who signed the lease?", corpus="fresh", max_tokens=2))
    assert only.choices[0].message.model_extra["citations"][0]["document_id"] == "voyage"
    assert http.get("/v1/corpora/fresh").json()["num_documents"] == 1
    assert http.delete("/v1/corpora/fresh").status_code == 200
    for gone in (http.get("/v1/corpora/fresh"), http.get("/v1/models/fresh"), http.delete("/v1/corpora/fresh")):
        assert gone.status_code == 404


def test_a_document_is_replaced_by_put_alone(http: httpx.Client, client: openai.OpenAI) -> None:
    http.post("/v1/corpora", json={"name": "put"})
    new = {"corpus": "put", "id": "one", "text": LEASE, "title": "First"}
    assert http.post("/v1/documents", json=new).status_code == 201
    assert http.post("/v1/documents", json=new).status_code == 409
    assert http.put("/v1/documents/put/two", json={"text": LEASE}).status_code == 201
    replaced = http.put("/v1/documents/put/one", json={"text": VOYAGE})
    assert replaced.status_code == 200
    answer = client.chat.completions.create(**chat(corpus="put", max_tokens=2))
    assert answer.choices[0].message.model_extra["citations"][0]["document_id"] == "one"


def docx_bytes(path: Path) -> bytes:
    made = docx.Document()
    made.add_paragraph(VOYAGE)
    made.save(str(path))
    return path.read_bytes()


def test_files_are_uploaded_and_read(http: httpx.Client, tmp_path: Path) -> None:
    http.post("/v1/corpora", json={"name": "files"})
    html = f"<html><head><title>Of a will</title></head><body><p>{WILL}</p></body></html>"
    for name, data in (
        ("lease.TXT", LEASE.encode()),
        ("of/will.html", html.encode()),
        ("voyage.docx", docx_bytes(tmp_path / "v.docx")),
        ("notes.md", f"# Notes\n\n{WILL}".encode()),
    ):
        made = http.post("/v1/documents", data={"corpus": "files"}, files={"file": (name, data)})
        assert made.status_code == 201, made.text
        assert made.json()["id"] == name.rpartition("/")[2]
    titles = {one["id"]: one["title"] for one in http.get("/v1/documents?corpus=files").json()["data"]}
    assert titles == {"lease.TXT": "lease", "will.html": "Of a will", "voyage.docx": "voyage", "notes.md": "Notes"}
    assert http.get("/v1/documents/files/voyage.docx").json()["text"].strip() == VOYAGE
    put = http.put("/v1/documents/files/lease.TXT", files={"file": ("other.txt", VOYAGE)}, data={"title": "Now"})
    assert (put.status_code, put.json()["id"], put.json()["title"]) == (200, "lease.TXT", "Now")


@pytest.mark.parametrize(
    ("name", "data", "fields"),
    [
        ("a.exe", b"MZ", {}),
        ("a.jsonl", b"{}", {}),
        ("a.pdf", b"%PDF-1.4 broken", {}),
        ("a.docx", b"PK nothing", {}),
        ("a.txt", b"", {}),
        ("a.txt", b"\x00\x01\x02", {}),
        ("a.txt", b"text", {"surprise": "x"}),
        ("a.txt", b"text", {"id": "../../etc/passwd"}),
        ("..", b"text", {}),
        ("", b"text", {}),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    http: httpx.Client, name: str, data: bytes, fields: dict[str, str]
) -> None:
    response = http.post("/v1/documents", data={"corpus": "ships", **fields}, files={"file": (name, data)})
    assert response.status_code == 400 and error_of(response)
    assert "/tmp" not in response.text and "upload." not in response.text


@pytest.mark.parametrize("id", ["", " ", "..", "a/../b", "/etc/passwd", "a//b", "a\\b", "a\nb", "a\x00b", "x" * 513])
def test_ids_that_could_pass_for_paths_are_refused(http: httpx.Client, id: str) -> None:
    response = http.post("/v1/documents", json={"corpus": "ships", "id": id, "text": "Some text."})
    assert response.status_code == 400 and error_of(response)["param"] == "id"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "x" * 65, "naïve"])
def test_corpus_names_that_could_pass_for_paths_are_refused(http: httpx.Client, name: str) -> None:
    response = http.post("/v1/corpora", json={"name": name})
    assert response.status_code == 400 and error_of(response)["param"] == "name"
    assert http.post("/v1/documents", json={"corpus": name, "id": "a", "text": "x"}).status_code == 404


def test_a_file_without_a_form_field_or_with_a_broken_form_is_refused(http: httpx.Client) -> None:
    assert http.post("/v1/documents", files={"other": ("a.txt", b"x")}).status_code == 400
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert http.post("/v1/documents", content=b"not a form", headers=broken).status_code == 400
    assert http.post("/v1/documents", content=b"", headers={"content-type": "multipart/form-data"}).status_code == 400
    assert error_of(http.get("/v1/documents"))["param"] == "corpus"
    assert error_of(http.get("/v1/documents?corpus=ships&limit=0"))["param"] == "limit"


def test_of_two_writers_of_one_id_one_wins(site: Site) -> None:
    with site.http() as http, ThreadPoolExecutor(8) as pool:
        http.post("/v1/corpora", json={"name": "race"})
        new = {"corpus": "race", "id": "one", "text": LEASE}
        codes = list(pool.map(lambda _: http.post("/v1/documents", json=new).status_code, range(8)))
    assert sorted(codes) == [201] + [409] * 7


# Load, disconnection, removal, shutdown


def test_32_clients_at_once_get_what_one_gets(site: Site) -> None:
    questions = [
        (QUESTION, "ships"),
        ("What does the lease say of the rent?", "ships"),
        ("Who has the clock?", "Wills"),
    ]
    alone = [direct(site, question, corpus, max_tokens=10) for question, corpus in questions]

    def one(number: int) -> bool:
        question, corpus = questions[number % 3]
        with site.client() as client:
            if number % 2:
                stream = client.chat.completions.create(**chat(question, corpus, max_tokens=10), stream=True)
                return "".join(one.choices[0].delta.content or "" for one in stream) == alone[number % 3]
            made = client.chat.completions.create(**chat(question, corpus, max_tokens=10))
            return made.choices[0].message.content == alone[number % 3]

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(one, range(32)))
    wait_until(lambda: not site.service.engines.num_running + site.service.engines.num_waiting)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def tokens_written(http: httpx.Client) -> float:
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("lloco_completion_tokens_total"))


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_client_that_goes_away_ends_its_generation(site: Site, http: httpx.Client, is_stream: bool) -> None:
    before = tokens_written(http)
    body = json.dumps(chat(max_tokens=LONG, stream=is_stream)).encode()
    host, port = site.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)))) as raw:
        head = f"POST {CHAT_URL} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        raw.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: site.service.engines.num_running > 0)
    wait_until(lambda: tokens_written(http) > before and not site.service.engines.num_running)
    assert 0 < tokens_written(http) - before < LONG


def test_a_document_removed_in_mid_answer_does_not_break_the_answer(site: Site, compressor: Path) -> None:
    compress_into(site.store.corpus("doomed"), lease_and_voyage(), load_compressor(compressor))
    whole = direct(site, corpus="doomed", max_tokens=200)
    with site.http() as http, site.client() as client:
        stream = client.chat.completions.create(**chat(corpus="doomed", max_tokens=200), stream=True)
        first = next(stream)
        assert http.delete("/v1/documents/doomed/voyage").status_code == 200
        assert http.delete("/v1/corpora/doomed").status_code == 200
        assert first.choices[0].delta.content == ""
        assert "".join(one.choices[0].delta.content or "" for one in stream) == whole
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**chat(corpus="doomed"))


def test_questions_during_removals_and_additions_are_answered_or_told_why(site: Site) -> None:
    with site.http() as http:
        http.post("/v1/corpora", json={"name": "busy"})
        http.put("/v1/documents/busy/lease", json={"text": LEASE})
        http.put("/v1/documents/busy/voyage", json={"text": VOYAGE})
        codes: list[int] = []
        is_done = threading.Event()

        def keep_asking() -> None:
            with site.http() as other:
                while not is_done.is_set():
                    codes.append(other.post(CHAT_URL, json=chat(corpus="busy", max_tokens=1)).status_code)

        thread = threading.Thread(target=keep_asking)
        thread.start()
        for _ in range(6):
            assert http.delete("/v1/documents/busy/voyage").status_code == 200
            assert http.put("/v1/documents/busy/voyage", json={"text": VOYAGE}).status_code == 201
        is_done.set()
        thread.join()
    assert codes and set(codes) <= {200}


def test_an_index_made_while_a_document_was_away_is_not_used_when_it_is_back(
    tmp_path: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, make = load_compressor(compressor), Retriever.of_corpus
    with Store(fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())) as store:
        corpus, library = store.corpus("ships"), Service(store, Access()).library

        def make_without_voyage(given: Corpus) -> Retriever:
            given.remove_document("voyage")
            return make(given)

        monkeypatch.setattr(Retriever, "of_corpus", make_without_voyage)
        assert library.retriever(corpus).search("brig Petrel", 1) == []
        monkeypatch.setattr(Retriever, "of_corpus", make)
        compress_into(corpus, lease_and_voyage(), loaded)
        assert library.retriever(corpus).search("brig Petrel", 1)[0].document_id == "voyage"


def test_shutting_down_finishes_what_runs(tmp_path: Path, compressor: Path) -> None:
    store = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())
    with serving(store) as site:
        whole = direct(site, max_tokens=300)
        with site.client() as client:
            stream = client.chat.completions.create(**chat(max_tokens=300), stream=True)
            pieces = [next(stream).choices[0].delta.content]
            site.stop()
            pieces += [one.choices[0].delta.content for one in stream]
            assert "".join(piece or "" for piece in pieces) == whole
            with pytest.raises(openai.APIConnectionError):
                client.models.list()


def test_a_full_queue_is_429_with_a_time_to_wait(tmp_path: Path, compressor: Path) -> None:
    store = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())
    with serving(store, max_batch_size=1, max_waiting=1) as site, ThreadPoolExecutor(6) as pool, site.http() as http:
        assert http.post(CHAT_URL, json=chat(max_tokens=1)).status_code == 200
        answers = list(pool.map(lambda _: http.post(CHAT_URL, json=chat(max_tokens=100)), range(6)))
        codes = [one.status_code for one in answers]
        assert set(codes) == {200, 429}
        full = next(one for one in answers if one.status_code == 429)
        assert full.headers["retry-after"] == "1"
        assert (error_of(full)["type"], error_of(full)["code"]) == ("rate_limit_error", "queue_full")


# Keys


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, compressor: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("locked")
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"key-of-ships": ["ships", "planned"], "key-of-wills": ["wills"], "key-of-all": "*"}))
    store = fill_store(
        folder / "store", compressor, ships=lease_and_voyage(), Wills=[Document("will", WILL, "Will", "will.txt")]
    )
    with serving(store, Access(load_keys(keys)), compressor=str(compressor)) as running:
        yield running


def test_every_route_but_health_wants_a_key(locked: Site) -> None:
    routes = [
        *(("GET", path) for path in ("/v1/models", "/v1/models/ships", "/v1/corpora", "/v1/corpora/ships", "/metrics")),
        *(("GET", path) for path in ("/v1/documents?corpus=ships", "/v1/documents/ships/lease")),
        *(("POST", path) for path in (CHAT_URL, "/v1/completions", "/v1/corpora", "/v1/documents")),
        ("PUT", "/v1/documents/ships/lease"),
        *(("DELETE", path) for path in ("/v1/documents/ships/lease", "/v1/corpora/ships")),
    ]
    for key in (None, "wrong", "key-of-ship", "x y", "ключ"):
        headers = {} if key is None else {b"authorization": f"Bearer {key}".encode()}
        with httpx.Client(base_url=locked.url) as http:
            for method, path in routes:
                refused = http.request(method, path, headers=headers)  # type: ignore[arg-type]
                assert refused.status_code == 401, (method, path)
                assert error_of(refused)["code"] == "invalid_api_key"
            assert http.get("/health").json() == {"status": "ok"}
    with locked.client("wrong") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def told(http: httpx.Client, method: str, path: str, body: Any, corpus: str) -> tuple[int, str]:
    """What a key is told of a corpus, with its name taken out."""
    sent = json.loads(json.dumps(body).replace("{}", corpus))
    answer = http.request(method, path.format(corpus), json=sent if body else None)
    return answer.status_code, answer.text.replace(corpus, "NAME")


def test_a_key_sees_its_own_corpora_alone_and_others_look_like_none(locked: Site) -> None:
    with locked.http("key-of-ships") as http, locked.http("key-of-all") as all_corpora:
        assert [one["id"] for one in http.get("/v1/models").json()["data"]] == ["ships"]
        assert {one["id"] for one in all_corpora.get("/v1/models").json()["data"]} == {"Wills", "ships"}
        for method, path, body in (
            ("GET", "/v1/models/{}", None),
            ("GET", "/v1/corpora/{}", None),
            ("GET", "/v1/documents?corpus={}", None),
            ("GET", "/v1/documents/{}/will", None),
            ("DELETE", "/v1/documents/{}/will", None),
            ("DELETE", "/v1/corpora/{}", None),
            ("PUT", "/v1/documents/{}/will", {"text": "x"}),
            ("POST", "/v1/documents", {"corpus": "{}", "id": "x", "text": "x"}),
            ("POST", CHAT_URL, chat("Who has the clock?", "{}")),
            ("POST", "/v1/corpora", {"name": "{}"}),
        ):
            for name in ("Wills", "wills"):
                expected = (403, told(http, method, path, body, "absent")[1])
                if body != {"name": "{}"}:
                    expected = (404, expected[1])
                assert told(http, method, path, body, name) == expected, (method, path)
        assert all_corpora.get("/v1/documents/wills/will").json()["text"] == WILL
        assert http.post("/v1/corpora", json={"name": "planned"}).status_code == 201
        assert http.delete("/v1/corpora/PLANNED").status_code == 200


def test_keys_at_once_do_not_leak_into_one_another(locked: Site) -> None:
    asked = [("key-of-ships", "ships", QUESTION, "voyage"), ("key-of-wills", "Wills", "Who has the clock?", "will")]
    alone = [direct(locked, question, corpus, max_tokens=10) for _, corpus, question, _ in asked]

    def one(number: int) -> tuple[Any, ...]:
        key, corpus, question, _ = asked[number % 2]
        with locked.http(key) as http:
            body = http.post(CHAT_URL, json=chat(question, corpus, max_tokens=10)).json()
        message = body["choices"][0]["message"]
        return message["content"], [one["document_id"] for one in message["citations"]]

    with ThreadPoolExecutor(32) as pool:
        for number, (text, cited) in enumerate(pool.map(one, range(32))):
            assert (text, cited) == (alone[number % 2], [asked[number % 2][3]])


def test_a_server_of_some_corpora_hides_the_others(tmp_path: Path, compressor: Path) -> None:
    store = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage(), other=lease_and_voyage())
    with serving(store, Access(served=frozenset({"ships"}))) as site, site.http() as http:
        assert [one["id"] for one in http.get("/v1/models").json()["data"]] == ["ships"]
        assert http.get("/v1/models/other").status_code == 404


def test_pages_of_other_sites_are_refused(site: Site, http: httpx.Client) -> None:
    assert http.get("/v1/models", headers={"origin": site.url}).status_code == 200
    assert http.get("/v1/models", headers={"origin": "https://evil.example"}).status_code == 403
    assert http.get("/v1/models", headers={"origin": "null"}).status_code == 403
    assert http.get("/v1/models", headers={"host": "evil.example"}).status_code == 403
    assert http.get("/v1/models", headers={"host": "localhost:8000"}).status_code == 200


def test_too_many_requests_of_one_key_are_429(locked: Site) -> None:
    now = [0.0]
    limit = RateLimit(2, clock=lambda: now[0])
    for _ in range(2):
        limit.take("a")
    limit.take("b")
    with pytest.raises(ApiError) as refused:
        limit.take("a")
    assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "30"})
    now[0] = 30.0
    limit.take("a")


def test_the_rate_limit_holds_over_http(tmp_path: Path) -> None:
    with serving(tmp_path / "store", limits=Limits(requests_per_minute=3)) as site, site.client() as client:
        for _ in range(3):
            client.models.list()
        with pytest.raises(openai.RateLimitError) as refused:
            client.models.list()
        assert int(refused.value.response.headers["retry-after"]) <= 20


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"k": "all"}', '{"k": [1]}', '{"": "*"}', '{"k": null}', "\xff"])
def test_a_key_file_that_says_nothing_clear_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="write") as error:
        load_keys(path)
    assert '"k"' not in str(error.value).partition("write")[0]


def test_other_machines_need_a_key_unless_the_operator_says_otherwise() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        check_exposure(host, False, False)
    for host in ("0.0.0.0", "::", "example.com", "192.168.1.2"):
        check_exposure(host, True, False)
        check_exposure(host, False, True)
        with pytest.raises(LlocoError, match="--api-key-file"):
            check_exposure(host, False, False)


# Adapters, metrics, errors


def test_the_corpuss_adapter_answers_and_is_named(site: Site, compressor: Path, tmp_path: Path) -> None:
    loaded = load_compressor(compressor)
    template = Template("own", "", "\n", "Q {question} A", "=> {answer}")
    model = attach_adapter(loaded.decoder, LoraOptions(r=4, dropout=0.0))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.3)
    save_adapter(model, tmp_path / "adapter", decoder=loaded.decoder, template=template)
    corpus = site.store.corpus("adapted")
    compress_into(corpus, lease_and_voyage(), load_compressor(compressor))
    with site.client() as client:
        before = client.chat.completions.create(**chat(corpus="adapted", max_tokens=10))
        digest = corpus.set_adapter(tmp_path / "adapter")
        after = client.chat.completions.create(**chat(corpus="adapted", max_tokens=10))
        base = client.chat.completions.create(**chat(max_tokens=10))
    assert before.model_extra["lloco"]["adapter"] is None and after.model_extra["lloco"]["adapter"] == digest
    assert after.choices[0].message.content == direct(site, corpus="adapted", max_tokens=10)
    assert before.choices[0].message.content == base.choices[0].message.content != after.choices[0].message.content


def test_corpora_of_one_decoder_share_one_model_with_its_compressor(site: Site, http: httpx.Client) -> None:
    engines = site.service.engines
    ships, wills = (site.store.corpus(name) for name in ("ships", "Wills"))
    assert engines.engine(ships, None) is engines.engine(wills, None)
    assert engines.compressor(wills).decoder.lock is engines.engine(ships, None).decoder.lock


def test_small_pieces_are_sent_without_delay() -> None:
    with open_socket("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP


def test_metrics_count_requests_tokens_and_time_without_naming_corpora(site: Site, http: httpx.Client) -> None:
    http.post(CHAT_URL, json=chat(max_tokens=3))
    http.get("/v1/models/ships-that-are-none")
    http.get("/nowhere")
    text = http.get("/metrics").text
    assert f'lloco_requests_total{{method="POST",route="{CHAT_URL}",status="200"}}' in text
    assert 'route="other",status="404"' in text
    for name in ("virtual_tokens_total", "document_tokens_total", "first_token_seconds_count", "running", "waiting"):
        assert f"lloco_{name} " in text
    assert f'lloco_request_seconds_bucket{{le="0.5",route="{CHAT_URL}"}}' in text
    assert "ships" not in text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LlocoError("question at /home/me/models/tiny-7b is wrong"), 400),
        (MismatchError("made for /home/me/models/tiny-7b"), 409),
        (StoreError("/home/me/store is damaged"), 500),
        (CheckpointError("/home/me/models/tiny-7b is gone"), 500),
        (RuntimeError("/home/me/secret"), 500),
        (OSError(28, "No space left", "/home/me/store"), 500),
    ],
)
def test_errors_have_their_status_and_tell_no_folders(error: Exception, status: int) -> None:
    known = as_api_error(error)
    assert known.status == status and "/home" not in known.message
    assert ("tiny-7b" in known.message) == (status < 500)


@given(
    st.text("a b\n.", max_size=12),
    st.lists(st.text("a b\n.", max_size=4), max_size=6),
    st.sampled_from(["{answer}", " {answer}", "a {answer}", "{answer}.", "b {answer} .", " {answer} a."]),
)
def test_the_answer_in_pieces_is_the_answer_read_from_the_whole(first: str, rest: list[str], wording: str) -> None:
    template = Template("t", "", "", "{question}", wording)
    reader = AnswerText(template)
    pieces = [reader.add(piece) for piece in (first, *rest)]
    assert "".join([*pieces, reader.end()]) == template.read_answer("".join((first, *rest))).strip()
