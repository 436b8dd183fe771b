"""Joining a real `vllm serve` over HTTP: the suite of the engine in this process, and the gateway in front."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lloco.engine.engine import SamplingParams
from lloco.engine.request_queue import EngineUnavailableError
from lloco.engine.transformers_engine import TransformersEngine
from lloco.engine.vllm.http_connection import HttpVllm
from lloco.engine.vllm.remote_engine import VllmServerEngine
from lloco.errors import MismatchError
from tests.serving import CHAT_URL, QUESTION, Site, chat, direct, error_of, serving, wait_until
from tests.tiny import tiny_decoder, tiny_llama
from tests.with_vllm.conftest import GATEWAY_KEY, Served
from tests.with_vllm.test_vllm_engine import GREEDY
from tests.with_vllm.test_vllm_engine import adapters as adapters
from tests.with_vllm.test_vllm_engine import reference as reference
from tests.with_vllm.test_vllm_engine import (
    test_adapters_and_the_base_model_mixed_in_one_batch_equal_the_transformers_engine as test_mixed_adapters,
)
from tests.with_vllm.test_vllm_engine import (
    test_requests_of_many_threads_are_streamed_side_by_side_and_can_be_cancelled as test_many_threads,
)
from tests.with_vllm.test_vllm_engine import (
    test_stop_strings_and_eos_end_answers_as_in_the_transformers_engine as test_ends,
)
from tests.with_vllm.tiny_for_vllm import decoder, prompts

# vLLM and its libraries warn of themselves, and its server takes minutes to start on a busy machine.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(1800)]
__all__ = ["test_ends", "test_many_threads", "test_mixed_adapters"]

QUESTIONS = (QUESTION, "When does the lease end?", "What did the brig Petrel carry?", "Who signed the lease?")


def joined(served: Served, key: str = GATEWAY_KEY) -> HttpVllm:
    return HttpVllm(served.vllm.url, environment={"LLOCO_GATEWAY_KEY": key})


@pytest.fixture(scope="module")
def engine(served: Served, adapters: dict[str, Path]) -> Iterator[VllmServerEngine]:
    with closing(joined(served)) as server:
        made = VllmServerEngine(decoder(), server)
        for name in ("a", "b"):
            made.add_adapter(name, adapters[name])
        yield made


@pytest.fixture(scope="module")
def site(served: Served) -> Iterator[Site]:
    with serving(served.store, vllm=joined(served)) as running:
        yield running


def test_the_gateway_gives_what_the_embedded_engine_answers_with_the_corpus_adapter(site: Site) -> None:
    wanted = [direct(site, question) for question in QUESTIONS]

    def ask(question: str) -> str:
        with site.client() as client:
            stream = client.chat.completions.create(**chat(question), stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, QUESTIONS)) == wanted
    with site.http() as http:
        whole = http.post(CHAT_URL, json=chat()).json()
    assert whole["choices"][0]["message"]["content"] == wanted[0]
    assert whole["choices"][0]["message"]["citations"][0]["document_id"] == "voyage"
    assert whole["lloco"]["adapter"] and whole["usage"]["virtual_tokens"] > 0
    assert len(set(wanted)) > 1


@pytest.mark.parametrize("name", [None, "a", "b"])
def test_greedy_equals_the_transformers_engine_and_again_from_cached_prefixes(
    engine: VllmServerEngine, reference: TransformersEngine, name: str | None
) -> None:
    names = [name] * len(prompts())
    wanted = reference.generate(prompts(), GREEDY, adapters=names)
    for _ in range(2):
        assert engine.generate(prompts(), GREEDY, adapters=names) == wanted
    assert len({item.token_ids for item in wanted}) > 4


def test_a_seed_makes_sampling_repeatable_whoever_shares_the_batch(engine: VllmServerEngine) -> None:
    sampling = SamplingParams(max_tokens=12, temperature=1.5, top_p=0.95, seed=3)
    together = engine.generate(prompts(), sampling)
    assert together == [engine.generate([prompt], sampling)[0] for prompt in prompts()]
    assert together != engine.generate(prompts(), replace(sampling, seed=4))


def test_another_model_is_refused_when_it_is_joined(served: Served) -> None:
    with closing(joined(served)) as server:
        for other in (tiny_llama(), tiny_llama(seed=9, hidden_size=128, head_dim=32)):
            with pytest.raises(MismatchError, match="it runs another model"):
                VllmServerEngine(tiny_decoder(other), server)


def test_a_gateway_without_the_secret_is_refused(served: Served) -> None:
    with closing(joined(served, "guessed")) as server, pytest.raises(EngineUnavailableError, match="LLOCO_GATEWAY_KEY"):
        VllmServerEngine(decoder(), server)


def test_a_client_that_goes_away_frees_its_place(site: Site) -> None:
    with site.client() as client:
        stream = client.chat.completions.create(**chat(max_tokens=300), stream=True)
        next(stream)
        stream.close()
    wait_until(lambda: site.service.engines.num_running == 0)


def test_a_server_killed_in_the_middle_is_an_error_and_answers_again_when_it_is_back(
    served: Served, site: Site
) -> None:
    wanted = direct(site)
    with site.http() as http, site.client() as client:
        # Many at once: beside other programs one may be answered whole before its beginning is read here.
        streams = [client.chat.completions.create(**chat(max_tokens=400), stream=True) for _ in range(16)]
        next(streams[0])
        served.vllm.kill()
        with pytest.raises(Exception, match="cannot be used now"):
            for stream in streams:
                list(stream)
        refused = http.post(CHAT_URL, json=chat())
        assert refused.status_code == 503 and error_of(refused)["code"] == "engine_unavailable"
        served.vllm.start()
        # Its adapters are forgotten, and found again by name.
        assert http.post(CHAT_URL, json=chat()).json()["choices"][0]["message"]["content"] == wanted
