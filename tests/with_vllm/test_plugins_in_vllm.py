"""Our plugins in a stock `vllm serve`: corpora and documents by name, nothing else from outside, keys."""

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
import torch

from lloco.adapters.digest import adapter_digest
from lloco.answer.ask import ask
from lloco.store.store import Store
from tests.serving import CHAT_URL, QUESTION, chat, error_of
from tests.with_vllm.conftest import GATEWAY_KEY, Served

# vLLM and its libraries warn of themselves, and its server takes minutes to start on a busy machine.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(1800)]

QUESTIONS = (QUESTION, "When does the lease end?", "What did the brig Petrel carry?", "Who signed the lease?")


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx.Client]:
    with served.vllm.http("key-of-ships") as client:
        yield client


@pytest.fixture(scope="module")
def http_of_all(served: Served) -> Iterator[httpx.Client]:
    with served.vllm.http("key-of-all") as client:
        yield client


def embedded(served: Served, question: str, document_id: str | None = None) -> str:
    """What the embedded engine answers to the question."""
    with Store(served.store) as store:
        return ask(store.corpus("ships", create=False), question, document_id=document_id).text


def naming(document_id: object, question: str = QUESTION, **others: object) -> dict[str, object]:
    parts = [{"type": "document", "document_id": document_id}, {"type": "text", "text": question}]
    return chat(**others) | {"messages": [{"role": "user", "content": parts}]}


def embeddings(width: int = 128) -> str:
    file = io.BytesIO()
    torch.save(torch.ones(4, width), file)
    return base64.b64encode(file.getvalue()).decode()


def test_a_corpus_is_a_model_with_the_answers_of_the_embedded_engine(served: Served) -> None:
    wanted = [embedded(served, question) for question in QUESTIONS]

    def answer(question: str) -> str:
        with openai.OpenAI(base_url=f"{served.vllm.url}/v1", api_key="key-of-ships", max_retries=0) as client:
            stream = client.chat.completions.create(**chat(question), stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, QUESTIONS)) == wanted
    assert len(set(wanted)) > 1


def test_a_part_of_a_message_names_the_document_that_is_read(served: Served, http: httpx.Client) -> None:
    answers = {}
    for document_id in ("lease", "voyage"):
        answer = http.post(CHAT_URL, json=naming(document_id)).json()
        message = answer["choices"][0]["message"]
        assert [citation["document_id"] for citation in message["citations"]] == [document_id]
        answers[document_id] = message["content"]
        assert message["content"] == embedded(served, QUESTION, document_id)
    assert answers["lease"] != answers["voyage"]


@pytest.mark.parametrize(
    "document_id", ["absent", "../lease", "/etc/passwd", "ships/lease", "lease\x00", "%2e%2e", "L" * 9999]
)
def test_a_document_that_is_not_there_is_404(http: httpx.Client, document_id: str) -> None:
    response = http.post(CHAT_URL, json=naming(document_id))
    assert response.status_code == 404 and error_of(response)["code"] == "document_not_found"


def test_a_part_without_a_document_is_refused(http: httpx.Client) -> None:
    for document_id in (None, "", 7, ["lease"]):
        assert http.post(CHAT_URL, json=naming(document_id)).status_code == 400


def test_adapters_are_found_in_the_store_by_their_name_alone(served: Served, http_of_all: httpx.Client) -> None:
    with Store(served.store) as store:
        folder = store.corpus("ships", create=False).adapter_folder()
        assert folder is not None
        name = f"lloco-{adapter_digest(folder)}"
    answers = [
        http_of_all.post("/v1/completions", json={"model": model, "prompt": "Who?", "max_tokens": 8, "temperature": 0})
        for model in (name, "base")
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["choices"][0]["text"] != answers[1].json()["choices"][0]["text"]
    for absent in ("lloco-" + "0" * 64, "lloco-../../etc", "../ships", "ships/../Wills"):
        response = http_of_all.post("/v1/completions", json={"model": absent, "prompt": "Who?"})
        assert response.status_code == 404, absent


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "base", "prompt_embeds": embeddings()}),
        ("/v1/completions", {"model": "base", "prompt_embeds": [embeddings()], "prompt": "x"}),
        ("/v1/completions", {"prompt_embeds": embeddings()}),
        ("/invocations", {"model": "base", "prompt_embeds": embeddings()}),
        *(
            (
                path,
                {
                    "model": "base",
                    "max_tokens": 4,
                    "messages": [{"role": "user", "content": [{"type": "prompt_embeds", "data": embeddings()}]}],
                },
            )
            for path in (CHAT_URL, "/v1/messages", "/tokenize", "/invocations")
        ),
        ("/v1/responses", {"model": "base", "input": [{"role": "user", "content": [{"type": "prompt_embeds"}]}]}),
    ],
)
def test_embeddings_are_taken_from_nobody_but_the_gateway(
    http_of_all: httpx.Client, path: str, body: dict[str, object]
) -> None:
    for kind in ("application/json", "text/plain", "application/json; charset=utf-16"):
        encoding = "utf-16" if "16" in kind else "utf-8"
        content = httpx.Request("POST", "http://x", json=body).content.decode().encode(encoding)
        response = http_of_all.post(path, content=content, headers={"content-type": kind})
        assert response.status_code == 400, (path, kind, response.text)
        assert error_of(response)["param"] == "prompt_embeds"


def test_the_gateway_may_send_embeddings(served: Served) -> None:
    body = {"model": "base", "prompt_embeds": embeddings(), "max_tokens": 2}
    with served.vllm.http(**{"x-lloco-gateway-key": GATEWAY_KEY}) as gateway:
        assert gateway.post("/v1/completions", json=body).status_code == 200
    with served.vllm.http("key-of-all", **{"x-lloco-gateway-key": GATEWAY_KEY[:-1]}) as guess:
        assert guess.post("/v1/completions", json=body).status_code == 400


def test_a_key_sees_its_own_corpora_and_nothing_else(served: Served, http: httpx.Client) -> None:
    assert [item["id"] for item in http.get("/v1/models").json()["data"]] == ["ships"]
    others, absent = (http.post(CHAT_URL, json=chat(corpus=corpus)) for corpus in ("Wills", "Never"))
    assert others.status_code == absent.status_code == 404
    assert others.text.replace("Wills", "Never") == absent.text
    base = http.post("/v1/completions", json={"model": "base", "prompt": "Who?"})
    listed = http.get("/openapi.json")
    assert base.status_code == listed.status_code == 404
    with served.vllm.http() as nobody, served.vllm.http("guess") as stranger:
        for client in (nobody, stranger):
            assert client.get("/v1/models").status_code == 401
            assert client.post(CHAT_URL, json=chat()).status_code == 401
            assert client.post("/v1/completions", json={"model": "base", "prompt": "Who?"}).status_code == 401
            assert client.get("/health").status_code == 200
    with served.vllm.http("key-of-all") as everything:
        assert [item["id"] for item in everything.get("/v1/models").json()["data"]] == ["ships", "Wills", "lloco/auto"]
        assert everything.get("/metrics").status_code == 200


def test_no_key_loads_adapters_from_other_folders(http_of_all: httpx.Client) -> None:
    wish = {"lora_name": "mine", "lora_path": "/tmp/mine"}
    for path in ("/v1/load_lora_adapter", "/v1/load_lora_adapter/", "/adapters"):
        assert http_of_all.post(path, json=wish).status_code == 403
