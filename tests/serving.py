"""A server that runs for tests, ways to it, and what tests ask it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai

from lloco.answer.ask import ask
from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.server.access import Access
from lloco.server.app import create_app
from lloco.server.engines import EngineOptions
from lloco.server.listen import address_of, open_socket, serving_in_thread
from lloco.server.service import Limits, Service
from lloco.store.store import Store

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
        with serving_in_thread(create_app(service), bound) as server:

            def stop() -> None:
                server.should_exit = True

            yield Site(address_of(bound), service, opened, stop)


def fill_store(path: Path, compressor: Path, **corpora: list[Document]) -> Path:
    loaded = load_compressor(compressor)
    with Store(path) as store:
        for name, documents in corpora.items():
            compress_into(store.corpus(name), documents, loaded)
    return path


def chat(question: str = QUESTION, corpus: str = "ships", **others: Any) -> dict[str, Any]:
    return {"model": corpus, "messages": [{"role": "user", "content": question}], **others}


def error_of(response: httpx.Response) -> dict[str, Any]:
    error = response.json()["error"]
    assert set(response.json()) == {"error"} and set(error) == {"message", "type", "param", "code"}
    return dict(error)


def direct(site: Site, question: str = QUESTION, corpus: str = "ships", **options: Any) -> str:
    """The answer that `lloco.ask` gives to the same question."""
    return ask(site.store.corpus(corpus, create=False), question, **options).text


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)
