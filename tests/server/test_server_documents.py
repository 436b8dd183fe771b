"""Documents and corpora that are added, replaced and removed while they are served."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import docx
import httpx
import openai
import pytest

from lloco.compressors.compressor import Compressor
from lloco.prompts.soft_prompt import SoftPrompt
from tests.corpora import LEASE, VOYAGE
from tests.serving import WILL, Site, chat, error_of


def test_a_new_document_answers_at_once_and_is_gone_when_removed(http: httpx.Client, client: openai.OpenAI) -> None:
    assert http.post("/v1/corpora", json={"name": "fresh"}).status_code == 201
    assert http.post("/v1/corpora", json={"name": "fresh"}).status_code == 409
    with pytest.raises(openai.BadRequestError, match="no document yet"):
        client.chat.completions.create(**chat(corpus="fresh"))
    for id, text in (("a/lease.txt", LEASE), ("voyage", VOYAGE)):
        made = http.post("/v1/documents", json={"corpus": "fresh", "id": id, "text": text})
        assert made.status_code == 201 and made.json()["id"] == id
    answer = client.chat.completions.create(**chat("Who signed the lease?", corpus="fresh", max_tokens=2))
    assert answer.choices[0].message.model_extra["citations"][0]["document_id"] == "a/lease.txt"
    listed = http.get("/v1/documents", params={"corpus": "fresh", "limit": 1}).json()
    assert [document["id"] for document in listed["data"]] == ["a/lease.txt"] and listed["has_more"]
    rest = http.get("/v1/documents", params={"corpus": "fresh", "after": "a/lease.txt"}).json()
    assert [document["id"] for document in rest["data"]] == ["voyage"] and not rest["has_more"]
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


def test_documents_behind_too_many_others_are_refused(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    http.post("/v1/corpora", json={"name": "full"})
    with monkeypatch.context() as patch:
        patch.setattr("lloco.server.writing.MAX_WAITING_OF_CALLER", 0)
        new = {"corpus": "full", "id": "one", "text": LEASE}
        for refused in (http.post("/v1/documents", json=new), http.put("/v1/documents/full/one", json={"text": LEASE})):
            assert (refused.status_code, error_of(refused)["code"]) == (429, "queue_full")
            assert refused.headers["retry-after"] == "5"
    assert http.post("/v1/documents", json=new).status_code == 201


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


def test_a_document_whose_vectors_cannot_be_stored_is_refused_and_the_one_before_stays(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(compressor: Compressor, made: SoftPrompt, *args: Any, **options: Any) -> SoftPrompt:
        return replace(made, embeds=made.embeds * math.nan)

    http.post("/v1/corpora", json={"name": "spoilt"})
    assert http.put("/v1/documents/spoilt/one", json={"text": LEASE}).status_code == 201
    monkeypatch.setattr("lloco.compression.run.refine", spoil)
    for id in ("one", "two"):
        refused = http.put(f"/v1/documents/spoilt/{id}", json={"text": VOYAGE})
        assert (refused.status_code, error_of(refused)["param"]) == (400, "text")
        assert "NaN" in error_of(refused)["message"]
    assert http.get("/v1/documents/spoilt/one").json()["text"] == LEASE
    assert http.get("/v1/documents/spoilt/two").status_code == 404


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
    titles = {document["id"]: document["title"] for document in http.get("/v1/documents?corpus=files").json()["data"]}
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
