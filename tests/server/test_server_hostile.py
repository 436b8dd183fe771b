"""What strangers may send does not stop the server, nor hold up anybody else for longer than their fair share."""

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.requests import Request

from lloco.documents.bounded_process import BoundedProcess, ProcessLimits
from lloco.server.access import load_access
from lloco.server.errors import ApiError
from lloco.server.service import Limits
from lloco.server.writing import Turns, Writing
from tests.corpora import LEASE, VOYAGE, lease_and_voyage
from tests.serving import CHAT_URL, Site, chat, error_of, fill_store, serving, wait_until

HOSTILE = Path(__file__).parent.parent / "data" / "documents" / "hostile"
FORM = "multipart/form-data; boundary=x"


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files named slow.txt are read by a process that does not end by itself."""
    started = BoundedProcess.__init__

    def replaced(self: BoundedProcess, function: str, path: Path, *arguments: Any, limits: ProcessLimits) -> None:
        if function.endswith("extract_values") and path.read_bytes().startswith(b"slow"):
            function, arguments = "tests.stubborn:sleeps", ()
        started(self, function, path, *arguments, limits=limits)

    monkeypatch.setattr(BoundedProcess, "__init__", replaced)


@pytest.fixture
def two_keys(tmp_path: Path, compressor: Path) -> Iterator[Site]:
    (tmp_path / "keys.json").write_text('{"bad": ["theirs"], "good": ["ours"]}')
    store = fill_store(tmp_path / "store", compressor, theirs=lease_and_voyage(), ours=lease_and_voyage())
    limits = Limits(reading_seconds=5)
    with serving(store, load_access(tmp_path / "keys.json"), limits, compressor=str(compressor)) as site:
        yield site


def upload(http: httpx.Client, corpus: str, name: str, data: bytes) -> httpx.Response:
    return http.post("/v1/documents", data={"corpus": corpus}, files={"file": (name, data)})


@contextmanager
def begun(site: Site, head: str, body: bytes = b"") -> Iterator[socket.socket]:
    """A request that was sent, and whose answer nobody has read yet."""
    host, port = site.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)))) as raw:
        raw.sendall(f"{head}\r\nhost: {host}:{port}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        yield raw


def form_of(name: str, data: bytes, corpus: str) -> bytes:
    fields = f'--x\r\ncontent-disposition: form-data; name="corpus"\r\n\r\n{corpus}\r\n'
    file = f'--x\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return fields.encode() + file.encode() + data + b"\r\n--x--\r\n"


@pytest.mark.parametrize("name", ["expforms.pdf", "bomb.docx.gz"])
def test_a_hostile_file_is_refused_and_the_reason_named(http: httpx.Client, name: str) -> None:
    refused = upload(http, "ships", name, (HOSTILE / name).read_bytes())
    assert refused.status_code == 400 and "limit" in error_of(refused)["message"]


def test_what_was_not_read_of_a_file_is_said(http: httpx.Client) -> None:
    http.post("/v1/corpora", json={"name": "xxe"})
    made = upload(http, "xxe", "xxe.docx", (HOSTILE / "xxe.docx").read_bytes())
    assert made.status_code == 201 and "&x;" in made.json()["unread"]
    assert "unread" not in upload(http, "xxe", "plain.txt", LEASE.encode()).json()


def test_a_reader_that_does_not_end_is_ended_and_holds_up_nobody(stubborn: None, two_keys: Site) -> None:
    with two_keys.http("bad") as bad, two_keys.http("good") as good, ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(upload, bad, "theirs", f"slow{number}.txt", b"slow") for number in range(2)]
        wait_until(lambda: any(job.stage == "reading" for job in two_keys.service.writing.jobs))
        started = time.monotonic()
        assert upload(good, "ours", "mine.txt", VOYAGE.encode()).status_code == 201
        assert time.monotonic() - started < 9
        waiting = bad.get("/v1/queue").json()["data"]
        assert {job["stage"] for job in waiting} == {"reading", "waiting"}
        assert [job["num_ahead"] for job in waiting] == [0, 1]
        assert all(job["seconds_left"] >= 0 for job in waiting)
        assert good.get("/v1/queue").json()["data"] == []
        for refused in (sent.result() for sent in slow):
            assert refused.status_code == 400 and "the limit is 5 seconds" in error_of(refused)["message"]


def test_a_reader_ends_with_its_client(stubborn: None, two_keys: Site) -> None:
    writing, head = (
        two_keys.service.writing,
        f"POST /v1/documents HTTP/1.1\r\nauthorization: Bearer bad\r\ncontent-type: {FORM}",
    )
    with begun(two_keys, head, form_of("slow.txt", b"slow", "theirs")):
        wait_until(lambda: [job.stage for job in writing.jobs] == ["reading"])
        started = time.monotonic()
    wait_until(lambda: not writing.jobs)
    assert time.monotonic() - started < 4.5


def test_a_long_document_ends_with_its_client_and_others_have_their_turn(two_keys: Site) -> None:
    writing = two_keys.service.writing
    body = json.dumps({"corpus": "theirs", "id": "long", "text": "The brig sailed. " * 50_000}).encode()
    head = "POST /v1/documents HTTP/1.1\r\nauthorization: Bearer bad\r\ncontent-type: application/json"
    with two_keys.http("good") as good:
        with begun(two_keys, head, body):
            wait_until(lambda: [job.stage for job in writing.jobs] == ["compressing"])
            started = time.monotonic()
            new = {"corpus": "ours", "id": "short", "text": VOYAGE}
            assert good.post("/v1/documents", json=new).status_code == 201
            assert time.monotonic() - started < 20 and writing.jobs
        wait_until(lambda: not writing.jobs)
        with two_keys.http("bad") as bad:
            assert bad.get("/v1/documents/theirs/long").status_code == 404


def test_place_and_time_are_told_by_what_is_before_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    async def queue() -> None:
        writing, request = Writing(), Request({"type": "http", "headers": [(b"content-length", b"10")]})
        monkeypatch.setattr("lloco.server.writing.MAX_WAITING_OF_CALLER", 2)
        async with writing.job("a", request) as first, writing.job("b", request) as other:
            async with writing.job("a", request) as second:
                assert [writing.seconds_left(job) for job in writing.jobs] == [None] * 3
                other.size = 100
                # Of another caller as much comes before one's own documents as these are long.
                assert [writing.num_ahead(job) for job in (first, second, other)] == [1, 2, 1]
                writing._note_pace(10, 5.0)
                assert [writing.seconds_left(job) for job in (first, second, other)] == [10, 20, 60]
                with pytest.raises(ApiError) as refused:
                    async with writing.job("a", request):
                        pass
                assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "10"})
            async with writing.job("a", request):
                assert second.is_cancelled and not first.is_cancelled
        assert not writing.jobs

    anyio.run(queue)


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order = Turns(), list[str]()

    def work(name: str) -> None:
        with turns.turn():
            for _ in range(2):
                order.append(name)
                turns.pass_on()

    with turns.turn():
        threads = [threading.Thread(target=work, args=[name]) for name in "abc"]
        for number, thread in enumerate(threads, start=1):
            thread.start()
            wait_until(lambda number=number: len(turns._waiting) == number)  # type: ignore[misc]
    for thread in threads:
        thread.join()
    assert "".join(order) == "abcabc"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"ships","messages":[' + b"{}," * 340_000 + b"{}]}",
        b'{"model":"ships","messages":[{"role":"user","content":"x"}],"stop":[' + b"1," * 500_000 + b"1]}",
        b'{"model":"ships","messages":[' + b"{}," * 9_000 + b"{}]}",
        b'{"model":"ships","messages":[' + b'{"a":1,"b":2},' * 3_000 + b"{}]}",
        b"{" + b",".join(b'"k%d":1' % number for number in range(9_000)) + b"}",
        b'{"model":"' + b'\\"' * 500_000,
        b"[" * 100_000,
    ],
)
def test_a_body_of_very_many_values_is_refused_at_once(http: httpx.Client, body: bytes) -> None:
    started = time.monotonic()
    refused = http.post(CHAT_URL, content=body, headers={"content-type": "application/json"})
    assert refused.status_code == 400 and error_of(refused)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "value", [b"[" + b"[]," * 1_000_000 + b"[]]", b'{"corpus":"ships","id":"a","text":[' + b"1," * 2_000_000 + b"1]}"]
)
def test_a_large_body_is_parsed_beside_the_server(http: httpx.Client, site: Site, value: bytes) -> None:
    slowest, is_done = 0.0, threading.Event()

    def keep_asking() -> None:
        nonlocal slowest
        with site.http() as other:
            while not is_done.is_set():
                started = time.monotonic()
                assert other.get("/health").status_code == 200
                slowest = max(slowest, time.monotonic() - started)

    thread = threading.Thread(target=keep_asking)
    thread.start()
    refused = http.post("/v1/documents", content=value, headers={"content-type": "application/json"})
    is_done.set()
    thread.join()
    assert refused.status_code == 400 and error_of(refused)
    assert slowest < 3


def test_a_large_document_in_json_is_added(tmp_path: Path, compressor: Path) -> None:
    limits = Limits(question_bytes=200)
    with serving(tmp_path / "store", limits=limits, compressor=str(compressor)) as site, site.http() as http:
        http.post("/v1/corpora", json={"name": "large"})
        text = f"{LEASE}\n漢\n{VOYAGE}"
        made = http.put("/v1/documents/large/one", json={"text": text, "title": "Zoë"})
        assert (made.status_code, made.json()["title"]) == (201, "Zoë"), made.text
        assert http.get("/v1/documents/large/one").json()["text"] == text
        for wrong, param in (({"text": text, "title": []}, "title"), ({"text": text, "surprise": 1}, "surprise")):
            refused = http.put("/v1/documents/large/one", json=wrong)
            assert (refused.status_code, error_of(refused)["param"]) == (400, param)
        for wrong_text in ([text], None, 1):
            refused = http.put("/v1/documents/large/one", json={"text": wrong_text, "title": text})
            assert refused.status_code == 400 and "text" in error_of(refused)["message"]


def test_requests_whose_head_or_body_does_not_come_are_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lloco.server.connections.HEAD_SECONDS", 0.3)
    monkeypatch.setattr("lloco.server.wire.body.BODY_SECONDS", 0.3)
    monkeypatch.setattr("lloco.server.wire.body.BODY_BYTES_PER_SECOND", 1 << 40)
    host, port = site.url.removeprefix("http://").split(":")
    for sent in (b"", b"GET /health HTTP/1.1\r\nhost: x\r\n", b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET"):
        with closing(socket.create_connection((host, int(port)), timeout=8)) as raw:
            raw.sendall(sent)
            while raw.recv(1 << 16):
                pass
    head = f"POST {CHAT_URL} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
    with closing(socket.create_connection((host, int(port)), timeout=8)) as raw:
        raw.sendall(head.encode())
        assert b" 408 " in raw.recv(1 << 16)
        while raw.recv(1 << 16):
            pass


def test_many_connections_without_a_request_do_not_keep_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lloco.server.connections.max_connections", lambda: 20)
    monkeypatch.setattr("lloco.server.connections._told_at", -1e9)
    with serving(tmp_path / "store") as site, ExitStack() as stack:
        host, port = site.url.removeprefix("http://").split(":")
        for _ in range(60):
            raw = stack.enter_context(closing(socket.create_connection((host, int(port)))))
            raw.sendall(b"POST /v1/chat")
        with site.http() as http:
            assert http.get("/health").status_code == 200
    assert [record.name for record in caplog.records] == ["lloco.server"]


def test_a_client_that_is_being_answered_is_not_closed_for_others(
    tmp_path: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lloco.server.connections.max_connections", lambda: 4)
    store = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())
    with serving(store) as site, site.client() as client, ExitStack() as stack:
        stream = client.chat.completions.create(**chat(max_tokens=200), stream=True)
        next(stream)
        host, port = site.url.removeprefix("http://").split(":")
        for _ in range(12):
            stack.enter_context(closing(socket.create_connection((host, int(port)))))
        assert sum(1 for _ in stream) > 1


def test_of_two_servers_that_add_the_same_document_at_once_one_wins(tmp_path: Path, compressor: Path) -> None:
    path = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())
    with ExitStack() as stack:
        sites = [stack.enter_context(serving(path, compressor=str(compressor))) for _ in range(2)]
        clients = [stack.enter_context(site.http()) for site in sites]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for http in clients:  # both have loaded their compressor
            assert http.put("/v1/documents/ships/warm", json={"text": LEASE}).status_code in (200, 201)
        for number, texts in enumerate([(LEASE, VOYAGE), (LEASE, LEASE), (VOYAGE, LEASE)]):
            new = [{"corpus": "ships", "id": f"race{number}", "text": text} for text in texts]
            answers = list(pool.map(lambda http, body: http.post("/v1/documents", json=body), clients, new))
            assert sorted(answer.status_code for answer in answers) == [201, 409]
            refused = next(answer for answer in answers if answer.status_code == 409)
            assert error_of(refused)["code"] == "exists"
            kept = clients[0].get(f"/v1/documents/ships/race{number}").json()["text"]
            assert kept == texts[[answer.status_code for answer in answers].index(201)]


def test_questions_are_answered_while_another_process_holds_the_store(tmp_path: Path, compressor: Path) -> None:
    path = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage())
    with serving(path, compressor=str(compressor)) as site, site.http() as http, ThreadPoolExecutor(4) as pool:
        assert http.post(CHAT_URL, json=chat(max_tokens=1)).status_code == 200
        blocker = sqlite3.connect(path / "lloco.db", isolation_level=None, check_same_thread=False)
        blocker.execute("BEGIN IMMEDIATE")
        waiting = [
            pool.submit(http.put, "/v1/documents/ships/new", json={"text": LEASE}),
            pool.submit(http.delete, "/v1/documents/ships/lease"),
        ]
        time.sleep(0.5)
        started = time.monotonic()
        for _ in range(3):
            assert http.get("/v1/models").status_code == 200
            assert http.post(CHAT_URL, json=chat(max_tokens=1)).status_code == 200
        assert time.monotonic() - started < 30 and not any(sent.done() for sent in waiting)
        blocker.execute("ROLLBACK")
        blocker.close()
        assert [sent.result().status_code for sent in waiting] == [201, 200]


def test_a_full_disk_is_507(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        refused = http.put("/v1/documents/ships/new", json={"text": LEASE})
    assert (refused.status_code, error_of(refused)["code"]) == (507, "disk_full")
