"""`lloco serve --engine vllm`: OpenAI clients get the answers of the embedded engine, with the corpus' adapter."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from lloco.models.named import RECORDS_FOLDER
from tests.corpora import lease_and_voyage
from tests.serving import QUESTION, Site, chat, direct, fill_store, serving

# vLLM and its libraries warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")

QUESTIONS = (
    QUESTION,
    "When does the lease end?",
    "What did the brig Petrel carry?",
    "What does the lease say of rent?",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The bundled model behind vLLM."""
    store = fill_store(
        tmp_path_factory.mktemp("site") / "store",
        RECORDS_FOLDER,
        ships=lease_and_voyage(),
    )
    with serving(store, engine="vllm", dtype="float32", device="cpu") as running:
        yield running


def test_clients_at_once_get_what_the_embedded_engine_answers(site: Site) -> None:
    wanted = [direct(site, question) for question in QUESTIONS]

    def ask(question: str) -> str:
        with site.client() as client:
            stream = client.chat.completions.create(**chat(question), stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, QUESTIONS)) == wanted
    assert len(set(wanted)) > 1


def test_a_client_that_goes_away_frees_its_place(site: Site) -> None:
    with site.client() as client:
        stream = client.chat.completions.create(**chat(max_tokens=300), stream=True)
        next(stream)
        stream.close()
        assert client.chat.completions.create(**chat()).choices[0].message.content == direct(site)


def test_what_the_model_cannot_read_is_refused_in_the_words_of_the_api(site: Site) -> None:
    with site.client() as client, pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**chat("word " * 6000))
