"""The vLLM engine against the transformers engine, in float32: the same greedy tokens, the same refusals."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import torch

from lloco.engine.engine import Generation, SamplingParams
from lloco.engine.request_queue import EngineUnavailableError, Event, OnEvent, QueueFullError
from lloco.engine.transformers_engine import TransformersEngine
from lloco.engine.vllm.engine import VllmEngine
from lloco.engine.vllm.start import BLOCK_LEN
from lloco.errors import LlocoError, MismatchError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt
from tests.with_vllm.tiny_for_vllm import decoder, prompts, save_random_adapter, soft_prompt

# vLLM and its libraries warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")

GREEDY = SamplingParams(max_tokens=24)
NAMES = (None, "a", "b")


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: save_random_adapter(folder / name, seed) for seed, name in enumerate(("a", "b", "c"), 1)}


@pytest.fixture(scope="module")
def reference(adapters: dict[str, Path]) -> TransformersEngine:
    engine = TransformersEngine(decoder())
    for name in ("a", "b"):
        engine.add_adapter(name, adapters[name])
    return engine


@pytest.fixture(scope="module")
def engine(adapters: dict[str, Path]) -> VllmEngine:
    # 64 positions a step, so that the longer documents are read in pieces.
    made = VllmEngine(decoder(), 16, max_adapters=2, max_lora_rank=8, kv_cache_bytes=64 << 20, max_read_len=64)
    for name in ("a", "b"):
        made.add_adapter(name, adapters[name])
    return made


def uncounted(generations: Sequence[Generation]) -> list[Generation]:
    """Leave out how many positions came from the cache, which differs where answers do not."""
    return [replace(generation, num_cached_tokens=0) for generation in generations]


@pytest.mark.parametrize("name", NAMES)
def test_greedy_equals_the_transformers_engine_for_every_adapter_and_again_from_cached_prefixes(
    engine: VllmEngine, reference: TransformersEngine, name: str | None
) -> None:
    names = [name] * len(prompts())
    wanted = reference.generate(prompts(), GREEDY, adapters=names)
    assert uncounted(engine.generate(prompts(), GREEDY, adapters=names)) == wanted
    again = engine.generate(prompts(), GREEDY, adapters=names)
    assert uncounted(again) == wanted
    assert all(0 < item.num_cached_tokens < item.num_prompt_tokens for item in again)
    assert len({item.token_ids for item in wanted}) > 4


def test_an_engine_that_is_to_keep_no_prefixes_reads_everything_again(
    engine: VllmEngine, reference: TransformersEngine
) -> None:
    engine.generate(prompts(), GREEDY)
    engine.use_prefix_cache(False)
    assert engine.generate(prompts(), GREEDY) == reference.generate(prompts(), GREEDY)
    engine.use_prefix_cache(True)
    assert any(item.num_cached_tokens for item in engine.generate(prompts(), GREEDY))


def test_adapters_and_the_base_model_mixed_in_one_batch_equal_the_transformers_engine(
    engine: VllmEngine, reference: TransformersEngine
) -> None:
    asked = [prompt for prompt in prompts() for _ in NAMES]
    names = list(NAMES) * len(prompts())
    wanted = reference.generate(asked, GREEDY, adapters=names)
    assert uncounted(engine.generate(asked, GREEDY, adapters=names)) == wanted
    assert wanted[0] != wanted[1] != wanted[2] != wanted[0]


def test_stop_strings_and_eos_end_answers_as_in_the_transformers_engine(
    engine: VllmEngine, reference: TransformersEngine
) -> None:
    free = reference.generate(prompts(), GREEDY)
    text = next(item.text for item in free if item.text[4:6].isascii() and len(item.text) > 8)
    stopped = replace(GREEDY, stop=(text[4:6], "never written"))
    wanted = reference.generate(prompts(), stopped)
    assert uncounted(engine.generate(prompts(), stopped)) == wanted
    assert "stop" in {item.finish_reason for item in wanted}
    config = engine.decoder.model.generation_config, reference.decoder.model.generation_config
    eos = [item.eos_token_id for item in config]
    try:
        for item in config:
            item.eos_token_id = [1, free[0].token_ids[3]]
        wanted = reference.generate(prompts(), GREEDY)
        assert uncounted(engine.generate(prompts(), GREEDY)) == wanted
        assert wanted[0].finish_reason == "stop"
    finally:
        for one, before in zip(config, eos, strict=True):
            one.eos_token_id = before


def test_a_seed_makes_sampling_repeatable_whoever_shares_the_batch(engine: VllmEngine) -> None:
    sampling = SamplingParams(max_tokens=12, temperature=1.5, top_p=0.95, seed=3)
    short, long = prompts()[:2], prompts()[-1]
    together = engine.generate(short, sampling)
    assert uncounted(together) == uncounted([engine.generate([prompt], sampling)[0] for prompt in short])
    assert uncounted(together) != uncounted(engine.generate(short, replace(sampling, seed=4)))
    with pytest.raises(LlocoError, match="positions for steps of 64"):
        engine.generate([*short, long], sampling)


def test_what_vllm_would_die_of_or_misread_is_refused_before_it_sees_it(engine: VllmEngine) -> None:
    zero, nan = soft_prompt(4), soft_prompt(4)
    zero[2], nan[1, 3] = 0.0, float("nan")
    for embeds, why in ((zero, "a row of zeros"), (nan, "NaN"), (torch.ones(3, 40), r"40 wide .* 128 wide")):
        with pytest.raises(MismatchError, match=why):
            engine.generate([*prompts(), Prompt((embeds,))], GREEDY)
    with pytest.raises(LlocoError, match="prompt 0 has 500 tokens"):
        engine.generate([Prompt((soft_prompt(500),))], GREEDY)
    with pytest.raises(LlocoError, match="no adapter is named 'x'"):
        engine.generate(prompts()[:1], GREEDY, adapters=["x"])
    assert engine.generate([], GREEDY) == []


def test_adapters_that_vllm_has_no_room_for_are_refused(
    engine: VllmEngine, adapters: dict[str, Path], tmp_path: Path
) -> None:
    engine.add_adapter("again", adapters["a"])
    with pytest.raises(LlocoError, match="'a' stands for another adapter"):
        engine.add_adapter("a", adapters["b"])
    with pytest.raises(EngineUnavailableError, match="this vLLM has had 2"):
        engine.add_adapter("c", adapters["c"])
    with pytest.raises(LlocoError, match="rank 16, this engine takes 8"):
        engine.add_adapter("wide", save_random_adapter(tmp_path / "wide", 9, r=16))
    with pytest.raises(LlocoError, match="carries one"):
        VllmEngine(reference_decoder_with(adapters["a"]))


def reference_decoder_with(folder: Path) -> Decoder:
    engine = TransformersEngine(decoder())
    engine.add_adapter("a", folder)
    return engine.decoder


def test_requests_of_many_threads_are_streamed_side_by_side_and_can_be_cancelled(
    engine: VllmEngine, reference: TransformersEngine
) -> None:
    wanted = reference.generate(prompts(), GREEDY, adapters=["a"] * len(prompts()))
    heard: list[list[Event]] = [[] for _ in prompts()]
    ends: Queue[int] = Queue()

    def listener(index: int) -> OnEvent:
        def on_event(event: Event) -> None:
            heard[index].append(event)
            if not isinstance(event, str):
                ends.put(index)

        return on_event

    for index, prompt in enumerate(prompts()):
        engine.submit(prompt, GREEDY, listener(index), adapter="a")
    for _ in prompts():
        ends.get(timeout=60)
    assert uncounted([event for events in heard if isinstance(event := events[-1], Generation)]) == wanted
    assert ["".join(map(str, events[:-1])) for events in heard] == [item.text for item in wanted]
    for _ in range(10):
        cancelled: Queue[Event] = Queue()
        ticket = engine.submit(prompts()[0], replace(GREEDY, max_tokens=300), cancelled.put)
        first = cancelled.get(timeout=60)
        ticket.cancel()
        while not isinstance(last := cancelled.get(timeout=60), Generation):
            assert isinstance(last, str)
        assert isinstance(first, str)
        # Beside other programs all 300 may be there before this thread is.
        if last.finish_reason == "cancelled":
            break
    assert last.finish_reason == "cancelled" and len(last.token_ids) < 300
    assert uncounted(engine.generate(prompts(), GREEDY, adapters=["a"] * len(prompts()))) == wanted
    assert (engine.num_running, engine.num_waiting) == (0, 0)


def test_answers_that_lose_their_place_to_others_for_want_of_memory_are_the_transformers_engines(
    reference: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for 24 blocks of 32 positions; every prompt's keys and values would take twice that in the end."""
    from vllm.v1.core.sched.scheduler import Scheduler

    preempted: list[str] = []
    preempt = Scheduler._preempt_request

    def note(self: Scheduler, request: Any, *args: Any, **options: Any) -> None:
        preempted.append(request.request_id)
        preempt(self, request, *args, **options)

    monkeypatch.setattr(Scheduler, "_preempt_request", note)
    bytes_of_block = 2 * BLOCK_LEN * 2 * 32 * 4 * 2
    engine = VllmEngine(decoder(), 16, kv_cache_bytes=24 * bytes_of_block, max_read_len=64)
    long = replace(GREEDY, max_tokens=96)
    wanted = reference.generate(prompts(), long)
    assert uncounted(engine.generate(prompts(), long)) == wanted
    assert preempted
    # Those that leave while others wait to be read again take nothing with them.
    ends: Queue[Event] = Queue()
    leaving = [engine.submit(prompt, long, ends.put) for prompt in prompts()]
    for ticket in leaving:
        ticket.cancel()
    assert uncounted(engine.generate(prompts(), long)) == wanted
    engine.close()
    reasons = [event.finish_reason for _ in range(ends.qsize()) if isinstance(event := ends.get(), Generation)]
    assert reasons == ["cancelled"] * len(leaving)


def test_what_runs_is_finished_or_cancelled_when_the_engine_is_closed_and_a_full_queue_refuses() -> None:
    engine = VllmEngine(decoder(), 1, kv_cache_bytes=64 << 20, max_waiting=1)
    events: Queue[Event] = Queue()
    long = replace(GREEDY, max_tokens=400)
    engine.submit(prompts()[0], long, events.put)
    events.get(timeout=60)
    engine.submit(prompts()[1], long, events.put)
    with pytest.raises(QueueFullError, match="1 requests are waiting"):
        engine.submit(prompts()[2], long, events.put)
    engine.close(finish=False)
    ended = [events.get() for _ in range(events.qsize())]
    reasons = [event.finish_reason for event in ended if isinstance(event, Generation)]
    assert reasons == ["cancelled", "cancelled"]
    with pytest.raises(LlocoError, match="closed"):
        engine.generate(prompts()[:1], GREEDY)
