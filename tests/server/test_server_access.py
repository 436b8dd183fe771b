"""Keys, other sites, and the rate limit: who may do what."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from lloco.errors import DataError, LlocoError
from lloco.server.access import Access, check_exposure, load_access
from lloco.server.errors import ApiError
from lloco.server.rate_limit import RateLimit
from lloco.server.service import Limits
from tests.corpora import VOYAGE, lease_and_voyage
from tests.serving import CHAT_URL, QUESTION, WILL, Site, chat, direct, error_of, fill_store, serving


def test_every_route_but_health_wants_a_key(locked: Site) -> None:
    routes = [
        *(("GET", path) for path in ("/v1/models", "/v1/models/ships", "/v1/corpora", "/v1/corpora/ships", "/metrics")),
        *(("GET", path) for path in ("/v1/documents?corpus=ships", "/v1/documents/ships/lease")),
        *(("POST", path) for path in (CHAT_URL, "/v1/completions", "/v1/responses")),
        *(("POST", path) for path in ("/v1/corpora", "/v1/documents")),
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
        assert [model["id"] for model in http.get("/v1/models").json()["data"]] == ["ships"]
        assert {model["id"] for model in all_corpora.get("/v1/models").json()["data"]} == {
            "Wills",
            "ships",
            "lloco/auto",
        }
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
            ("POST", "/v1/responses", {"model": "{}", "input": "Who has the clock?"}),
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

    def ask(number: int) -> tuple[Any, ...]:
        key, corpus, question, _ = asked[number % 2]
        with locked.http(key) as http:
            body = http.post(CHAT_URL, json=chat(question, corpus, max_tokens=10)).json()
        message = body["choices"][0]["message"]
        return message["content"], [cited["document_id"] for cited in message["citations"]]

    with ThreadPoolExecutor(32) as pool:
        for number, (text, cited) in enumerate(pool.map(ask, range(32))):
            assert (text, cited) == (alone[number % 2], [asked[number % 2][3]])


def test_a_key_cannot_learn_from_the_cache_what_another_has_asked_about(locked: Site) -> None:
    def cached(key: str, corpus: str) -> int:
        with locked.client(key) as client:
            made = client.chat.completions.create(**chat("Where did the brig Petrel go?", corpus, max_tokens=2))
        assert made.usage is not None and made.usage.prompt_tokens_details is not None
        return made.usage.prompt_tokens_details.cached_tokens or 0

    with locked.http("key-of-wills") as http:
        assert http.post("/v1/documents", json={"corpus": "Wills", "id": "guess", "text": VOYAGE}).status_code == 201
        cached("key-of-ships", "ships")
        assert cached("key-of-ships", "ships") > 0
        assert cached("key-of-wills", "Wills") == 0, "another key has asked about the same text"
        assert http.delete("/v1/documents/Wills/guess").status_code == 200


def test_a_server_of_some_corpora_hides_the_others(tmp_path: Path, compressor: Path) -> None:
    store = fill_store(tmp_path / "store", compressor, ships=lease_and_voyage(), other=lease_and_voyage())
    with serving(store, Access(served=frozenset({"ships"}))) as site, site.http() as http:
        assert [model["id"] for model in http.get("/v1/models").json()["data"]] == ["ships"]
        assert http.get("/v1/models/other").status_code == 404


def test_pages_of_other_sites_are_refused(site: Site, http: httpx.Client) -> None:
    assert http.get("/v1/models", headers={"origin": site.url}).status_code == 200
    assert http.get("/v1/models", headers={"origin": "https://evil.example"}).status_code == 403
    assert http.get("/v1/models", headers={"origin": "null"}).status_code == 403
    assert http.get("/v1/models", headers={"host": "evil.example"}).status_code == 403
    assert http.get("/v1/models", headers={"host": "localhost:8000"}).status_code == 200
    for broken in ({"host": "["}, {"origin": "http://[x"}):
        assert http.get("/v1/models", headers=broken).status_code == 400


def test_too_many_requests_of_one_key_are_429(locked: Site) -> None:
    now = [0.0]
    limit = RateLimit(2, clock=lambda: now[0])
    for _ in range(2):
        limit.take("a")
    limit.take("b")
    with pytest.raises(ApiError) as refused:
        limit.take("a")
    assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "30"})
    now[0] = 12.0
    with pytest.raises(ApiError) as sooner:
        limit.take("a")
    assert sooner.value.headers == {"retry-after": "18"}
    now[0] = 30.0
    limit.take("a")
    now[0] = 1_000_000.0
    for _ in range(2):  # no more than a minute's worth is saved up
        limit.take("a")
    with pytest.raises(ApiError):
        limit.take("a")


def test_the_rate_limit_holds_over_http(tmp_path: Path) -> None:
    with serving(tmp_path / "store", limits=Limits(requests_per_minute=3)) as site, site.client() as client:
        for _ in range(3):
            client.models.list()
        with pytest.raises(openai.RateLimitError) as refused:
            client.models.list()
        assert int(refused.value.response.headers["retry-after"]) <= 20


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"k": "all"}', '{"k": [1]}', '{"": "*"}', '{"k": null}', "\xff", '{"k": "*", "k": ["ships"]}',
     '{" k ": "*"}', '{"k k": "*"}', '{"k": ["*"]}', '{"k": [""]}', '{"k": ["../ships"]}', '{"kl\\u00fc": "*"}'],
)  # fmt: skip
def test_a_key_file_that_says_nothing_clear_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="write") as error:
        load_access(path)
    assert '"k"' not in str(error.value).partition("write")[0]


def test_a_key_of_a_server_of_some_corpora_may_use_those_of_its_own_that_are_served(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"one": ["ships", "Wills"], "all": "*"}')
    access = load_access(path, frozenset({"ships", "other"}))
    for key, allowed in (("one", ["ships"]), ("all", ["ships", "other"])):
        grant = access.grant(f"Bearer {key}", "")
        assert [name for name in ("ships", "Wills", "other", "absent") if grant.allows(name)] == allowed
    assert load_access(path).grant("Bearer one", "").allows("WILLS")


def test_every_character_of_a_key_counts(tmp_path: Path) -> None:
    path, key = tmp_path / "keys.json", "0123456789abcdef" * 6
    path.write_text(json.dumps({key: ["ships"], f"{key}x": ["wills"]}))
    access = load_access(path)
    assert access.grant(f"Bearer {key}", "").corpora == {"ships"}
    assert access.grant(f"Bearer {key}x", "").corpora == {"wills"}
    assert access.grant(f"Bearer {key}", "").tenant != access.grant(f"Bearer {key}x", "").tenant
    for wrong in (key[:-1], key[1:], f"x{key}", f"{key}y", *(f"{key[:at]}X{key[at + 1 :]}" for at in range(len(key)))):
        with pytest.raises(ApiError) as refused:
            access.grant(f"Bearer {wrong}", "")
        assert refused.value.status == 401


def test_the_metrics_of_all_keys_are_read_by_an_operators_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"tenant": ["ships"], "none": [], "operator": "*", "scraper": "metrics"}')
    with serving(tmp_path / "store", load_access(path)) as site:
        codes = []
        for key in ("tenant", "none", "operator", "scraper"):
            with site.http(key) as http:
                codes.append(http.get("/metrics").status_code)
        assert codes == [403, 403, 200, 200]
        with site.http("scraper") as http:
            assert http.get("/v1/models").json()["data"] == []
            assert http.post("/v1/corpora", json={"name": "a"}).status_code == 403


def test_other_machines_need_a_key_unless_the_operator_says_otherwise() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        check_exposure(host, False, False)
    for host in ("0.0.0.0", "::", "example.com", "192.168.1.2"):
        check_exposure(host, True, False)
        check_exposure(host, False, True)
        with pytest.raises(LlocoError, match="--api-key-file"):
            check_exposure(host, False, False)
