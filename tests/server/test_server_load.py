"""The server under load: many clients, some of which go away; removals in mid-answer; shutting down."""

import gc
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from lloco.answer.prepare import PreparedQuestion, prepare
from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.errors import DataError
from lloco.retrieval.retriever import Retriever
from lloco.server.access import Access
from lloco.server.service import Service
from lloco.store.corpus import Corpus
from lloco.store.store import Store
from tests.corpora import LEASE, VOYAGE, lease_and_voyage
from tests.serving import CHAT_URL, LONG, QUESTION, Site, chat, direct, error_of, fill_store, serving, wait_until


def test_64_clients_at_once_get_what_one_gets(site: Site) -> None:
    questions = [
        (QUESTION, "ships"),
        ("What does the lease say of the rent?", "ships"),
        ("Who has the clock?", "Wills"),
    ]
    alone = [direct(site, question, corpus, max_tokens=10) for question, corpus in questions]

    def ask_one(number: int) -> bool:
        question, corpus = questions[number % 3]
        with site.client() as client:
            if number % 2:
                stream = client.chat.completions.create(**chat(question, corpus, max_tokens=10), stream=True)
                return "".join(chunk.choices[0].delta.content or "" for chunk in stream) == alone[number % 3]
            made = client.chat.completions.create(**chat(question, corpus, max_tokens=10))
            return made.choices[0].message.content == alone[number % 3]

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(ask_one, range(128)))
    wait_until(lambda: not site.service.engines.num_running + site.service.engines.num_waiting)


def test_what_requests_leave_behind_does_not_grow_with_their_number(http: httpx.Client) -> None:
    def ask(number: int) -> int:
        body = chat("What does the lease say of the rent?", max_tokens=2)
        kinds: list[dict[str, Any]] = [{}, {"stream": True}, {"model": "lloco/auto"}, {"model": "none"}, {"n": 2}]
        return http.post(CHAT_URL, json=body | kinds[number % len(kinds)]).status_code

    everybody = threading.Barrier(16)

    def ask_with_all_others(number: int) -> int:
        everybody.wait()
        return ask(number)

    def num_objects() -> int:
        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(ask, range(50))) == {200, 400, 404}
        gc.collect()
        return len(gc.get_objects())

    # Connections stay, and leave something too: as many as there will ever be are opened first.
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask_with_all_others, range(16)))
    num_objects()
    counts = [num_objects() for _ in range(7)]
    assert counts[-1] - counts[0] < 300, "less than one object a request"


def tokens_written(http: httpx.Client) -> float:
    lines = http.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("lloco_completion_tokens_total"))


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (CHAT_URL, chat(max_tokens=LONG)),
        ("/v1/responses", {"model": "ships", "input": QUESTION, "max_output_tokens": LONG}),
    ],
)
def test_a_client_that_goes_away_ends_its_generation(
    site: Site, http: httpx.Client, is_stream: bool, path: str, asked: dict[str, Any]
) -> None:
    before = tokens_written(http)
    body = json.dumps({**asked, "stream": is_stream}).encode()
    host, port = site.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)))) as raw:
        head = f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
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
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole
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


@pytest.mark.parametrize("error", [FileNotFoundError("adapter_model.safetensors"), DataError("template.json")])
def test_a_question_that_meets_an_adapter_half_replaced_is_prepared_again(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    errors = [error]

    def fail_once(*args: Any, **options: Any) -> PreparedQuestion:
        if errors:
            raise errors.pop()
        return prepare(*args, **options)

    monkeypatch.setattr("lloco.server.questions.prepare", fail_once)
    assert http.post(CHAT_URL, json=chat(max_tokens=2)).status_code == 200
    assert not errors


def test_documents_are_not_looked_through_for_every_question(
    tmp_path: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())
    digests: list[str] = []
    contents_digest = Corpus.contents_digest

    def noted(corpus: Corpus) -> str:
        digests.append(contents_digest(corpus))
        return digests[-1]

    monkeypatch.setattr(Corpus, "contents_digest", noted)
    with Store(path) as store, Store(path) as other:
        library, corpus = Service(store, Access()).library, store.corpus("ships")
        first = library.retriever(corpus)
        assert library.retriever(corpus) is first
        num_read = len(digests)
        assert all(library.retriever(corpus) is first for _ in range(5))
        assert len(digests) == num_read
        other.corpus("ships").remove_document("lease")
        second = library.retriever(corpus)
        assert second is not first and not second.search("lease", 1)
        corpus.remove_document("voyage")
        assert not library.retriever(corpus).search("Petrel", 1)


def test_an_index_made_while_a_document_was_away_is_not_used_when_it_is_back(tmp_path: Path, compressor: Path) -> None:
    loaded = load_compressor(compressor)
    with Store(fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())) as store:
        corpus = store.corpus("ships")
        taken_away = ["voyage"]

        def open_retriever(given: Corpus) -> Retriever:
            if taken_away:
                given.remove_document(taken_away.pop())
            return Retriever.of_corpus(given)

        library = Service(store, Access(), open_retriever=open_retriever).library
        assert library.retriever(corpus).search("brig Petrel", 1) == []
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
            pieces += [chunk.choices[0].delta.content for chunk in stream]
            assert "".join(piece or "" for piece in pieces) == whole
            with pytest.raises(openai.APIConnectionError):
                client.models.list()


def test_a_full_queue_is_429_with_a_time_to_wait(tmp_path: Path, compressor: Path) -> None:
    store = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())
    with serving(store, max_batch_size=1, max_waiting=1) as site, ThreadPoolExecutor(6) as pool, site.http() as http:
        assert http.post(CHAT_URL, json=chat(max_tokens=1)).status_code == 200
        answers = list(pool.map(lambda _: http.post(CHAT_URL, json=chat(max_tokens=100)), range(6)))
        codes = [response.status_code for response in answers]
        assert set(codes) == {200, 429}
        full = next(response for response in answers if response.status_code == 429)
        assert full.headers["retry-after"] == "1"
        assert (error_of(full)["type"], error_of(full)["code"]) == ("rate_limit_error", "queue_full")
