"""Joining a vLLM over HTTP: its tokens become our answers, and whatever is wrong with it is said and ends nowhere else.

A stand-in is asked here; `tests/with_vllm` asks vLLM itself.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest
import torch
from fastapi import FastAPI

from lloco.adapters.digest import adapter_digest
from lloco.compressors.load import load_compressor
from lloco.engine.engine import Generation, SamplingParams
from lloco.engine.request_queue import EngineUnavailableError, Event, QueueFullError
from lloco.engine.transformers_engine import TransformersEngine
from lloco.engine.vllm.http_connection import HttpVllm
from lloco.engine.vllm.remote_engine import VllmServerEngine
from lloco.errors import LlocoError, MismatchError
from lloco.models import shell
from lloco.models.decoder import checked_digest
from lloco.prompts.prompt import Prompt
from lloco.server import engines
from lloco.server.listen import address_of, open_socket, serving_in_thread
from tests.command import Run
from tests.corpora import lease_and_voyage, save_compressor
from tests.serving import CHAT_URL, chat, direct, error_of, fill_store, serving, wait_until
from tests.test_engine_contract import document_prompts, save_random_adapter
from tests.tiny import tiny_decoder, tiny_llama
from tests.vllm_stand_in import StandIn, standing_in

GREEDY = SamplingParams(max_tokens=12)
QUICKLY = (0.01, 0.01)


@pytest.fixture
def there() -> Iterator[StandIn]:
    with standing_in(tiny_decoder()) as running:
        yield running


@pytest.fixture
def server(there: StandIn) -> Iterator[HttpVllm]:
    with closing(HttpVllm(there.url, retry_seconds=QUICKLY, timeout_seconds=20)) as made:
        yield made


@pytest.fixture
def engine(there: StandIn, server: HttpVllm) -> VllmServerEngine:
    made = VllmServerEngine(tiny_decoder(), server)
    there.asked.clear()
    return made


def prompts() -> list[Prompt]:
    return document_prompts(tiny_decoder())


def test_adapters_and_the_base_model_give_what_the_transformers_engine_gives(
    engine: VllmServerEngine, there: StandIn, tmp_path: Path
) -> None:
    reference = TransformersEngine(tiny_decoder())
    folders = {name: save_random_adapter(tmp_path / name, seed) for seed, name in enumerate("ab")}
    for name, folder in folders.items():
        engine.add_adapter(name, folder)
        reference.add_adapter(name, folder)
    asked = [prompt for prompt in prompts() for _ in range(3)]
    names = [None, "a", "b"] * len(prompts())
    wanted = reference.generate(asked, GREEDY, adapters=names)
    assert engine.generate(asked, GREEDY, adapters=names) == wanted
    assert wanted[0] != wanted[1] != wanted[2]
    assert set(there.adapters) == {f"lloco-{adapter_digest(folder)}" for folder in folders.values()}
    stopped = replace(GREEDY, stop=(wanted[0].text[2:4], "never written"))
    assert engine.generate(prompts(), stopped) == reference.generate(prompts(), stopped)


def test_every_setting_is_said_so_that_the_servers_defaults_do_not_count(
    engine: VllmServerEngine, there: StandIn
) -> None:
    sampling = SamplingParams(max_tokens=3, temperature=0.5, top_p=0.9, seed=4)
    events: Queue[Event] = Queue()
    engine.submit(prompts()[0], sampling, events.put, tenant="key one")
    while isinstance(events.get(timeout=20), str):
        pass
    (asked,) = there.asked
    del asked["prompt_embeds"]
    assert asked == {
        **{"model": "base", "max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "seed": 4, "cache_salt": "key one"},
        **{"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
        **{"stop_token_ids": [1], "ignore_eos": True, "stream": True, "return_token_ids": True},
    }


def test_keys_of_the_environment_are_shown(there: StandIn) -> None:
    keys = {"VLLM_API_KEY": "theirs", "LLOCO_GATEWAY_KEY": "ours"}
    with closing(HttpVllm(there.url, environment=keys)) as server:
        VllmServerEngine(tiny_decoder(), server)
    assert {(header["authorization"], header["x-lloco-gateway-key"]) for header in there.headers} == {
        ("Bearer theirs", "ours")
    }


def test_a_server_that_is_down_is_tried_again_and_then_named() -> None:
    with open_socket("127.0.0.1", 0) as bound:
        url = address_of(bound)
    message = rf"vLLM at {url} does not answer .* 3 tries were made"
    with closing(HttpVllm(url, retry_seconds=QUICKLY)) as server, pytest.raises(EngineUnavailableError, match=message):
        VllmServerEngine(tiny_decoder(), server)


def test_a_server_that_is_not_ready_is_tried_again_a_few_times(engine: VllmServerEngine, there: StandIn) -> None:
    wanted = TransformersEngine(tiny_decoder()).generate(prompts()[:1], GREEDY)
    there.refusals = [503, 503]
    assert engine.generate(prompts()[:1], GREEDY) == wanted
    assert there.refusals == []
    there.asked.clear()
    there.refusals = [503] * 99
    with pytest.raises(EngineUnavailableError, match=r"does not answer .*503: not now.*3 tries were made"):
        engine.generate(prompts()[:1], GREEDY)
    # Once itself, then three times to see which model answers now.
    assert len(there.asked) == 4


@pytest.mark.parametrize("status", [500, 502, 504])
def test_what_failed_while_it_was_read_is_not_sent_again(
    engine: VllmServerEngine, there: StandIn, status: int, tmp_path: Path
) -> None:
    there.refusals = [status]
    with pytest.raises(EngineUnavailableError, match=rf"failed .{status}: not now"):
        engine.generate(prompts()[:1], GREEDY)
    assert len(there.asked) == 1
    there.loads_adapters = False
    there.refusals = [status]
    with pytest.raises(EngineUnavailableError, match=rf"{status}: not now"):
        engine.add_adapter("a", save_random_adapter(tmp_path / "a", seed=1))
    assert len(there.asked) == 2


def test_what_only_asks_is_sent_again_through_a_proxy(server: HttpVllm, there: StandIn) -> None:
    there.models_refusals = [502, 504]
    VllmServerEngine(tiny_decoder(), server)
    assert there.models_refusals == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_ends_in_the_middle_ends_the_answer_with_an_error_and_is_asked_again(
    engine: VllmServerEngine, there: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    wanted = TransformersEngine(tiny_decoder()).generate(prompts()[:1], GREEDY)
    there.breaks_after = 4
    events: Queue[Event] = Queue()
    engine.submit(prompts()[0], GREEDY, events.put)
    pieces = []
    while isinstance(event := events.get(timeout=20), str):
        pieces.append(event)
    assert wanted[0].text.startswith("".join(pieces)) and pieces
    assert isinstance(event, EngineUnavailableError) and "broke the connection" in str(event)
    assert len(there.asked) == 1
    there.breaks_after = None
    assert engine.generate(prompts()[:1], GREEDY) == wanted


def test_an_answer_that_is_given_up_is_no_answer(engine: VllmServerEngine, there: StandIn) -> None:
    there.ends_after = 4
    with pytest.raises(EngineUnavailableError, match="ended the answer early, after 4 tokens: give it more memory"):
        engine.generate(prompts()[:1], GREEDY)


def test_a_server_that_is_silent_is_not_waited_for_longer_than_was_said(there: StandIn) -> None:
    with closing(HttpVllm(there.url)) as known, closing(HttpVllm(there.url, timeout_seconds=0.5)) as server:
        engine = VllmServerEngine(tiny_decoder(), known)
        engine._server = server  # what is asked at first may take longer
        there.asked.clear()
        there.silent_seconds = 30
        with pytest.raises(EngineUnavailableError, match=r"was silent for 0\.5 seconds"):
            engine.generate(prompts()[:1], GREEDY)
        wait_until(lambda: there.num_gone == 1)
        assert len(there.asked) == 1
        there.silent_seconds = 0


def test_a_server_of_another_model_is_refused_at_once(server: HttpVllm, there: StandIn) -> None:
    for other, why in (
        (tiny_decoder(tiny_llama(hidden_size=64, head_dim=16)), "hidden_size 64 does not match"),
        (tiny_decoder(tiny_llama(seed=5)), "differently from tokens and from their embeddings in 3 of 3"),
    ):
        with pytest.raises(MismatchError, match=f"it runs another model: .*{why}"):
            VllmServerEngine(other, server)


def test_a_server_that_takes_no_embeddings_is_refused_at_once(server: HttpVllm, there: StandIn) -> None:
    there.takes_embeds = False
    with pytest.raises(EngineUnavailableError, match="start it with --enable-prompt-embeds"):
        VllmServerEngine(tiny_decoder(), server)


def test_a_server_that_reads_less_than_the_model_could_is_not_sent_more(server: HttpVllm, there: StandIn) -> None:
    there.max_len = 40
    engine = VllmServerEngine(tiny_decoder(), server)
    assert engine.decoder.max_len == 40
    with pytest.raises(LlocoError, match=r"prompt 0 has 30 tokens .* 12, tiny reads 40"):
        engine.generate([Prompt((torch.ones(30, 48),))], GREEDY)


def test_what_vllm_would_misread_is_never_sent(engine: VllmServerEngine, there: StandIn) -> None:
    zero, nan = torch.ones(4, 48), torch.ones(4, 48)
    zero[2], nan[1, 3] = 0.0, float("nan")
    for embeds, why in ((zero, "a row of zeros"), (nan, "NaN"), (torch.ones(3, 40), r"40 wide, .* 48 wide")):
        with pytest.raises(MismatchError, match=why):
            engine.generate([*prompts(), Prompt((embeds,))], GREEDY)
    with pytest.raises(LlocoError, match="1-D int64 token ids and 2-D float embeds"):
        Prompt((torch.ones(3, 48, dtype=torch.int32),))
    assert there.asked == []


def test_an_adapter_that_cannot_be_had_there_is_an_error_before_it_is_used(
    engine: VllmServerEngine, there: StandIn, tmp_path: Path
) -> None:
    there.loads_adapters = False
    folder = save_random_adapter(tmp_path / "a", seed=1)
    with pytest.raises(EngineUnavailableError, match=r"has no adapter lloco-\w{64} .*404: Not Found; 404: The mod"):
        engine.add_adapter("a", folder)
    with pytest.raises(LlocoError, match="no adapter is named 'a'"):
        engine.generate(prompts()[:1], GREEDY, adapters=["a"])
    there.loads_adapters = True
    engine.add_adapter("a", folder)
    with pytest.raises(LlocoError, match="'a' stands for another adapter"):
        engine.add_adapter("a", save_random_adapter(tmp_path / "b", seed=2))


def test_a_server_that_began_anew_is_given_the_adapter_again(
    engine: VllmServerEngine, there: StandIn, tmp_path: Path
) -> None:
    engine.add_adapter("a", save_random_adapter(tmp_path / "a", seed=1))
    wanted = engine.generate(prompts()[:1], GREEDY, adapters=["a"])
    there.begin_anew()
    assert engine.generate(prompts()[:1], GREEDY, adapters=["a"]) == wanted
    there.begin_anew()
    there.loads_adapters = False
    with pytest.raises(EngineUnavailableError, match="cannot load it"):
        engine.generate(prompts()[:1], GREEDY, adapters=["a"])


def test_a_server_that_came_back_with_another_model_is_not_asked(engine: VllmServerEngine, there: StandIn) -> None:
    wanted = engine.generate(prompts()[:1], GREEDY)
    there.begin_anew(tiny_decoder(tiny_llama(seed=5)))
    there.refusals = [503]
    for _ in range(2):
        with pytest.raises(EngineUnavailableError, match="it runs another model"):
            engine.generate(prompts()[:1], GREEDY)
    there.begin_anew(tiny_decoder())
    assert engine.generate(prompts()[:1], GREEDY) == wanted


def test_a_server_that_came_back_unnoticed_is_looked_at_when_it_lacks_the_adapter(
    engine: VllmServerEngine, there: StandIn, tmp_path: Path
) -> None:
    engine.add_adapter("a", save_random_adapter(tmp_path / "a", seed=1))
    there.begin_anew(tiny_decoder(tiny_llama(seed=5)))
    with pytest.raises(EngineUnavailableError, match="it runs another model"):
        engine.generate(prompts()[:1], GREEDY, adapters=["a"])


def test_a_cancelled_request_ends_at_the_server_too(engine: VllmServerEngine, there: StandIn) -> None:
    events: Queue[Event] = Queue()
    ticket = engine.submit(prompts()[0], replace(GREEDY, max_tokens=400), events.put)
    assert isinstance(events.get(timeout=20), str)
    ticket.cancel()
    while not isinstance(last := events.get(timeout=20), Generation):
        assert isinstance(last, str)
    assert last.finish_reason == "cancelled" and 0 < len(last.token_ids) < 400
    wait_until(lambda: there.num_gone == 1)
    wait_until(lambda: (engine.num_running, engine.num_waiting) == (0, 0))


def test_what_waits_is_bounded_and_closing_cancels_or_finishes_it(server: HttpVllm, there: StandIn) -> None:
    engine = VllmServerEngine(tiny_decoder(), server, max_batch_size=1, max_waiting=1)
    there.silent_seconds = 30
    events: Queue[Event] = Queue()
    engine.submit(prompts()[0], GREEDY, events.put)
    engine.submit(prompts()[1], GREEDY, events.put)
    with pytest.raises(QueueFullError, match="1 requests are waiting"):
        engine.submit(prompts()[2], GREEDY, events.put)
    engine.close(finish=False)
    ended = [events.get_nowait() for _ in range(2)]
    assert [item.finish_reason for item in ended if isinstance(item, Generation)] == ["cancelled"] * 2
    with pytest.raises(LlocoError, match="closed"):
        engine.generate(prompts()[:1], GREEDY)
    there.silent_seconds = 0


def test_what_is_cancelled_before_it_begins_waits_for_no_place(server: HttpVllm, there: StandIn) -> None:
    engine = VllmServerEngine(tiny_decoder(), server, max_batch_size=1)
    there.silent_seconds = 60
    first, second = Queue[Event](), Queue[Event]()
    there.asked.clear()
    running = engine.submit(prompts()[0], GREEDY, first.put)
    wait_until(lambda: len(there.asked) == 1)
    # The loop comes to the second only after it was cancelled.
    held = threading.Event()
    server.loop.call_soon_threadsafe(held.wait)
    engine.submit(prompts()[1], GREEDY, second.put).cancel()
    held.set()
    ended = second.get(timeout=20)
    assert isinstance(ended, Generation) and ended.finish_reason == "cancelled" and first.empty()
    running.cancel()
    engine.close()
    there.silent_seconds = 0


def test_a_ticket_may_be_cancelled_after_all_is_closed(server: HttpVllm, engine: VllmServerEngine) -> None:
    events: Queue[Event] = Queue()
    ticket = engine.submit(prompts()[0], GREEDY, events.put)
    engine.close()
    server.close()
    ticket.cancel()
    assert isinstance(list(events.queue)[-1], Generation)


def test_another_kind_of_server_is_named_as_such() -> None:
    app = FastAPI()
    app.add_api_route("/elsewhere", lambda: "hello")
    with open_socket("127.0.0.1", 0) as bound, serving_in_thread(app, bound):
        for path in ("", "/elsewhere"):
            message = "does not speak the OpenAI API: check the address"
            server = HttpVllm(address_of(bound) + path)
            with closing(server), pytest.raises(EngineUnavailableError, match=message):
                VllmServerEngine(tiny_decoder(), server)


@pytest.mark.parametrize(
    "url",
    ["gpu-machine:8000", "ftp://gpu-machine", "http://", "http://host:99999", "http://u@h", "http://a\tb", "http://["],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(LlocoError, match="the address of a vLLM server must be"):
        HttpVllm(url)


@pytest.fixture(scope="module")
def compressor_of_gateway(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_compressor(tmp_path_factory.mktemp("gateway") / "tiny", seed=20)


def test_the_gateway_answers_with_it_says_when_it_is_down_and_answers_again(
    compressor_of_gateway: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = fill_store(tmp_path / "store", compressor_of_gateway, ships=lease_and_voyage())
    with standing_in(load_compressor(compressor_of_gateway).decoder) as there:
        server = HttpVllm(there.url, retry_seconds=QUICKLY)
        with serving(store, vllm=server) as site, site.http() as http, site.client() as client:
            wanted = direct(site)
            assert http.post(CHAT_URL, json=chat()).json()["choices"][0]["message"]["content"] == wanted
            stream = client.chat.completions.create(**chat(), stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == wanted
            there.refusals = [503] * 4
            refused = http.post(CHAT_URL, json=chat())
            assert refused.status_code == 503 and refused.headers["retry-after"] == "5"
            assert error_of(refused)["code"] == "engine_unavailable" and there.url not in refused.text
            assert there.url in caplog.text
            assert http.post(CHAT_URL, json=chat()).json()["choices"][0]["message"]["content"] == wanted


def test_an_adapter_of_two_corpora_is_loaded_from_the_one_that_is_left(
    compressor_of_gateway: Path, tmp_path: Path
) -> None:
    store = fill_store(tmp_path / "store", compressor_of_gateway, ships=lease_and_voyage(), others=lease_and_voyage())
    adapter = save_random_adapter(tmp_path / "adapter", 1)
    (adapter / "lloco.json").unlink()
    with standing_in(load_compressor(compressor_of_gateway).decoder) as there:
        server = HttpVllm(there.url, retry_seconds=QUICKLY)
        with serving(store, vllm=server) as site, site.http() as http:
            for corpus in ("ships", "others"):
                site.store.corpus(corpus).set_adapter(adapter)
                assert http.post(CHAT_URL, json=chat(corpus=corpus)).status_code == 200
            site.store.remove_corpus("ships")
            there.begin_anew()
            assert http.post(CHAT_URL, json=chat(corpus="others")).status_code == 200
            assert list(there.adapters.values()) == [str(site.store.corpus("others").adapter_folder())]


def test_the_gateway_finds_a_compressor_that_has_moved_where_its_new_place_is_named(tmp_path: Path) -> None:
    old, new = save_compressor(tmp_path / "old", seed=20), tmp_path / "new"
    store = fill_store(tmp_path / "store", old, ships=lease_and_voyage())
    old.rename(new)
    with standing_in(load_compressor(new).decoder) as there:
        server = HttpVllm(there.url, retry_seconds=QUICKLY)
        with serving(store, vllm=server, compressor=str(new)) as site, site.http() as http:
            assert http.post(CHAT_URL, json=chat()).status_code == 200


def test_a_decoder_that_the_server_does_not_run_is_not_read_for_every_question(
    compressor_of_gateway: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill_store(tmp_path / "store", compressor_of_gateway, ships=lease_and_voyage())
    read: list[Path] = []

    def counted(folder: Path) -> tuple[str, str]:
        read.append(folder)
        return checked_digest(folder)

    monkeypatch.setattr(shell, "checked_digest", counted)
    with standing_in(load_compressor(save_compressor(tmp_path / "other", seed=21)).decoder) as there:
        server = HttpVllm(there.url, retry_seconds=QUICKLY)
        with serving(store, vllm=server) as site, site.http() as http:
            refused = [http.post(CHAT_URL, json=chat()) for _ in range(3)]
            assert [error_of(item)["code"] for item in refused] == ["mismatch"] * 3
            assert refused[0].text == refused[2].text and "runs another model" in refused[2].text
            assert len(read) == 1
        monkeypatch.setattr(engines, "REFUSED_SECONDS", 0.0)
        server = HttpVllm(there.url, retry_seconds=QUICKLY)
        with serving(store, vllm=server) as site, site.http() as http:
            assert error_of(http.post(CHAT_URL, json=chat()))["code"] == "mismatch"
            there.begin_anew(load_compressor(compressor_of_gateway).decoder)
            assert http.post(CHAT_URL, json=chat()).json()["choices"][0]["message"]["content"] == direct(site)


def test_serve_says_at_its_start_what_is_wrong_with_the_server(
    compressor_of_gateway: Path, tmp_path: Path, run: Run
) -> None:
    store = fill_store(tmp_path / "store", compressor_of_gateway, ships=lease_and_voyage())
    command = ("serve", "--port", "0", "--store", store, "--engine", "vllm")
    assert "the address of a vLLM server" in run.fails(*command, "--vllm-url", "gpu-machine")
    assert "it needs --engine vllm" in run.fails("serve", "--store", store, "--vllm-url", "http://x", code=2)
    with standing_in(tiny_decoder(tiny_llama(seed=3))) as there:
        assert "it runs another model" in run.fails(*command, "--vllm-url", there.url)
        there.takes_embeds = False
        assert "--enable-prompt-embeds" in run.fails(*command, "--vllm-url", there.url)
    assert "does not answer" in run.fails(*command, "--vllm-url", there.url)
