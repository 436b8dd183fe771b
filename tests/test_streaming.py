"""Rows that join, leave and are cancelled while others run: each answer is what it is alone, and comes in pieces."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lloco.engine.decoding import Decoding
from lloco.engine.engine import Generation, SamplingParams
from lloco.engine.request_queue import Event, QueueFullError, Request, RequestQueue, Ticket
from lloco.engine.streaming import StreamingEngine, embedded_engine
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import LlocoError, MismatchError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt
from tests.test_engine_contract import document_prompts, save_random_adapter, soft_prompt, token_prompts
from tests.test_transformers_engine import recurrent_decoder
from tests.tiny import tiny_decoder, tiny_llama, tiny_model

GREEDY = SamplingParams(max_tokens=24)
LONG = SamplingParams(max_tokens=400)


@dataclass
class Listener:
    """Keeps a request's events and does something at one of them."""

    on_event: Callable[["Listener"], None] = lambda listener: None
    events: list[Event] = field(default_factory=list)
    has_ended: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: Event) -> None:
        assert not self.has_ended.is_set(), "an event came after the last one"
        self.events.append(event)
        self.on_event(self)
        if not isinstance(event, str):
            self.has_ended.set()

    def last(self) -> Generation | LlocoError:
        assert self.has_ended.wait(60), "the last event never came"
        *pieces, last = self.events
        assert all(isinstance(piece, str) and piece for piece in pieces)
        assert not isinstance(last, str)
        if isinstance(last, Generation):
            assert "".join(map(str, pieces)) == last.text
        return last

    def generation(self) -> Generation:
        last = self.last()
        assert isinstance(last, Generation)
        return last

    def error(self) -> LlocoError:
        last = self.last()
        assert isinstance(last, LlocoError)
        return last


@pytest.fixture
def engine() -> Iterator[StreamingEngine]:
    engine = StreamingEngine(tiny_decoder(), max_batch_size=4)
    yield engine
    engine.close(finish=False)


def alone(decoder: Decoder, prompts: list[Prompt], sampling: SamplingParams = GREEDY) -> list[Generation]:
    return TransformersEngine(decoder, batch_size=1).generate(prompts, sampling)


def forward_shapes(decoder: Decoder) -> list[tuple[int, int]]:
    """Note (batch, seq_len) of every forward's mask, as they happen."""
    shapes: list[tuple[int, int]] = []

    def note(module: Any, args: Any, inputs: dict[str, Any]) -> None:
        shapes.append(tuple(inputs["attention_mask"].shape))

    decoder.model.register_forward_pre_hook(note, with_kwargs=True)
    return shapes


def test_rows_that_join_in_the_middle_and_leave_early_are_what_they_are_alone(tmp_path: Path) -> None:
    folders = {name: save_random_adapter(tmp_path / name, seed) for seed, name in enumerate(("tales", "laws"), 1)}
    reference = TransformersEngine(tiny_decoder(), batch_size=1)
    engine = StreamingEngine(tiny_decoder(), max_batch_size=4)
    for name, folder in folders.items():
        reference.add_adapter(name, folder)
        engine.add_adapter(name, folder)
    prompts = [*document_prompts(engine.decoder), *token_prompts()] * 2
    names = [(None, "tales", "laws")[index % 3] for index in range(len(prompts))]
    samplings = [SamplingParams(max_tokens=(24, 7, 1, 40)[index % 4]) for index in range(len(prompts))]
    most_running = 0

    def join(index: int) -> Listener:
        def submit_next(listener: Listener) -> None:
            nonlocal most_running
            most_running = max(most_running, engine.num_running)
            if len(listener.events) == 1 and index + 3 < len(prompts):
                listeners[index + 3] = join(index + 3)

        listener = Listener(submit_next)
        engine.submit(prompts[index], samplings[index], listener, adapter=names[index])
        return listener

    listeners: dict[int, Listener] = {}
    for index in range(3):
        listeners[index] = join(index)
    while len(listeners) < len(prompts):
        time.sleep(0.01)
    for index, (prompt, sampling, name) in enumerate(zip(prompts, samplings, names, strict=True)):
        expected = reference.generate([prompt], sampling, adapters=[name])
        assert [listeners[index].generation()] == expected
    assert most_running > 1


@pytest.mark.parametrize("architecture", ["mistral", "gemma2"])
def test_sliding_window_attention_is_exact_when_prompts_are_longer_than_the_window(architecture: str) -> None:
    decoder = tiny_decoder(tiny_model(architecture, sliding_window=8))
    prompts = token_prompts((31, 3, 12, 20, 1))
    unlimited = tiny_decoder(tiny_model(architecture, sliding_window=512))
    assert alone(decoder, prompts) != alone(unlimited, prompts)
    assert StreamingEngine(decoder, max_batch_size=3).generate(prompts, GREEDY) == alone(decoder, prompts)


def ask_of(documents: list[Tensor], *asked: tuple[int, int]) -> list[Prompt]:
    """Prompts with one of the documents each, and a question of some length."""
    return [
        Prompt((torch.tensor([0]), documents[which], torch.arange(5, 5 + length)), num_virtual_tokens=1)
        for which, length in asked
    ]


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral", "gemma2"])
def test_documents_that_are_asked_about_again_are_not_read_again(architecture: str) -> None:
    window = {"sliding_window": 8} if architecture in ("mistral", "gemma2") else {}
    decoder = tiny_decoder(tiny_model(architecture, **window))
    engine = StreamingEngine(decoder, prefix_cache_bytes=1 << 20)
    documents = [soft_prompt(40), soft_prompt(25, seed=1)]

    def num_cached(*asked: tuple[int, int]) -> list[int]:
        prompts = ask_of(documents, *asked)
        made = engine.generate(prompts, GREEDY)
        assert [item.token_ids for item in made] == [item.token_ids for item in alone(decoder, prompts)]
        return [item.num_cached_tokens for item in made]

    assert num_cached((0, 6), (1, 3)) == [0, 0]
    assert num_cached((0, 4)) == [41]
    # All rows read as many positions as the longest question has, so the other one reads 5 of its document again.
    assert num_cached((0, 2), (1, 7)) == [36, 26]
    assert num_cached((0, 2), (1, 60)) == [0, 26]
    engine.close()


def positions_read(decoder: Decoder) -> list[int]:
    """Note how many positions every forward over prompts reads, padding included, as they happen."""
    read: list[int] = []

    def note(module: Any, args: Any, inputs: dict[str, Any]) -> None:
        if "inputs_embeds" in inputs:
            read.append(inputs["inputs_embeds"].shape[0] * inputs["inputs_embeds"].shape[1])

    decoder.model.register_forward_pre_hook(note, with_kwargs=True)
    return read


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral", "gemma2"])
@pytest.mark.parametrize("cache_bytes", [None, 1 << 20])
def test_a_document_is_read_once_for_questions_that_come_together(architecture: str, cache_bytes: int | None) -> None:
    window = {"sliding_window": 8} if architecture in ("mistral", "gemma2") else {}
    decoder = tiny_decoder(tiny_model(architecture, **window))
    prompts = ask_of([soft_prompt(40), soft_prompt(25, seed=1)], *[(0, 6), (0, 3), (0, 6), (0, 2)], *[(1, 4), (1, 1)])
    expected = [item.token_ids for item in alone(decoder, prompts)]
    read = positions_read(decoder)
    engine = StreamingEngine(decoder, max_batch_size=8, prefix_cache_bytes=cache_bytes)
    made = engine.generate(prompts, GREEDY)
    assert [item.token_ids for item in made] == expected
    assert [item.num_cached_tokens for item in made] == [0, 41 + 3 - 6, 41, 41 + 2 - 6, 0, 26 + 1 - 6]
    assert read == [2 * 47, 4 * 6], "the first of each document, padded, then all others' questions"
    engine.close()


def test_an_engine_that_keeps_nothing_shares_nothing() -> None:
    decoder = tiny_decoder()
    prompts = ask_of([soft_prompt(40)], (0, 6), (0, 3))
    read = positions_read(decoder)
    for engine in (StreamingEngine(decoder), StreamingEngine(decoder, prefix_cache_bytes=None)):
        engine.use_prefix_cache(False)
        assert [item.num_cached_tokens for item in engine.generate(prompts, GREEDY)] == [0, 0]
        engine.close()
    assert read == [2 * 47, 2 * 47]


def test_without_a_limit_the_document_that_was_read_last_is_kept_and_no_other() -> None:
    decoder = tiny_decoder()
    documents = [soft_prompt(40), soft_prompt(25, seed=1)]
    engine = embedded_engine(decoder, 4)

    def num_cached(*asked: tuple[int, int]) -> list[int]:
        return [item.num_cached_tokens for item in engine.generate(ask_of(documents, *asked), GREEDY)]

    assert num_cached((0, 6)) == [0]
    assert num_cached((0, 6), (0, 6), (1, 6)) == [41, 41, 0]
    assert num_cached((1, 6)) == [26]
    assert num_cached((0, 6)) == [0]


def test_a_document_that_is_cut_for_every_question_is_read_once() -> None:
    decoder = tiny_decoder()
    text = torch.arange(10, 210)
    prompts = [Prompt((text[: 200 - length], torch.arange(5, 5 + length))) for length in (8, 3, 12)]
    engine = StreamingEngine(decoder, prefix_cache_bytes=None)
    made = engine.generate(prompts, GREEDY)
    assert [item.num_cached_tokens for item in made] == [0, 188, 188]
    assert [item.token_ids for item in made] == [item.token_ids for item in alone(decoder, prompts)]
    engine.close()


def test_a_question_is_answered_though_the_read_that_it_was_to_share_failed() -> None:
    decoder = tiny_decoder()
    prompts = ask_of([soft_prompt(40)], (0, 6), (0, 3))
    expected = alone(decoder, prompts)
    failures = [ZeroDivisionError("division by zero")]

    def fail_once(module: Any, args: Any) -> None:
        if failures:
            raise failures.pop()

    decoder.model.register_forward_pre_hook(fail_once)
    engine, listeners = StreamingEngine(decoder, prefix_cache_bytes=None), [Listener(), Listener()]
    with decoder.lock:
        for prompt, listener in zip(prompts, listeners, strict=True):
            engine.submit(prompt, GREEDY, listener)
    assert "division by zero" in str(listeners[0].error())
    assert listeners[1].generation() == expected[1]
    engine.close()


def test_a_long_prompt_is_read_in_pieces() -> None:
    decoder = tiny_decoder(tiny_llama(max_position_embeddings=8192))
    prompts = token_prompts((3000, 40))
    expected = alone(decoder, prompts)
    assert StreamingEngine(decoder).generate(prompts, GREEDY) == expected
    read = positions_read(decoder)
    assert StreamingEngine(decoder).generate(prompts, GREEDY) == expected, "on the model's own forward"
    assert sum(read) == 2 * 3000 and max(read) <= 2048


def test_a_prefix_cache_that_is_left_aside_is_there_again_afterwards() -> None:
    engine = StreamingEngine(tiny_decoder(), prefix_cache_bytes=1 << 20)
    first, second = ask_of([soft_prompt(40), soft_prompt(25, seed=1)], (0, 6), (1, 3))

    def num_cached(prompt: Prompt) -> int:
        return engine.generate([prompt], GREEDY)[0].num_cached_tokens

    assert (num_cached(first), num_cached(first)) == (0, 41)
    engine.use_prefix_cache(False)
    assert (num_cached(first), num_cached(second)) == (0, 0)
    engine.use_prefix_cache(True)
    assert (num_cached(first), num_cached(second)) == (41, 0)
    engine.close()


def test_what_one_adapter_has_read_is_not_anothers(tmp_path: Path) -> None:
    engine = StreamingEngine(tiny_decoder(), prefix_cache_bytes=1 << 20)
    adapter_folder = save_random_adapter(tmp_path / "a", 1)
    engine.add_adapter("a", adapter_folder)
    reference = TransformersEngine(tiny_decoder(), batch_size=1)
    reference.add_adapter("a", adapter_folder)
    prompts = ask_of([soft_prompt(20)], (0, 4))
    cached = []
    for adapter in (None, "a", "a", None):
        [made] = engine.generate(prompts, GREEDY, adapters=[adapter])
        assert made.token_ids == reference.generate(prompts, GREEDY, adapters=[adapter])[0].token_ids
        cached.append(made.num_cached_tokens)
    assert cached == [0, 0, 21, 21]
    engine.close()


def test_the_prefix_cache_holds_no_more_than_it_may_and_forgets_what_was_not_used() -> None:
    decoder = tiny_decoder()
    documents = [soft_prompt(20, seed=seed) for seed in range(3)]
    prompts = [Prompt((document, torch.arange(5, 9)), num_virtual_tokens=20) for document in documents]
    config = decoder.model.config
    one_document = 20 * 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    engine = StreamingEngine(decoder, prefix_cache_bytes=2 * one_document)

    def cached(place: int) -> int:
        [made] = engine.generate([prompts[place]], GREEDY)
        assert engine._prefixes.num_bytes <= 2 * one_document
        return made.num_cached_tokens

    assert [cached(index) for index in (0, 1, 0, 2, 0, 1)] == [0, 0, 20, 0, 20, 0]
    tight = StreamingEngine(decoder, prefix_cache_bytes=one_document - 1)
    assert [tight.generate([prompts[0]], GREEDY)[0].num_cached_tokens for _ in range(2)] == [0, 0]
    assert tight._prefixes.num_bytes == 0
    engine.close()
    tight.close()


def test_tenants_do_not_share_what_was_read_and_one_cannot_push_anothers_out() -> None:
    decoder = tiny_decoder()
    prompts = [Prompt((soft_prompt(20, seed=seed), torch.arange(5, 9)), num_virtual_tokens=20) for seed in range(4)]
    config = decoder.model.config
    one_document = 20 * 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    engine = StreamingEngine(decoder, prefix_cache_bytes=3 * one_document)

    def cached(tenant: str, place: int) -> int:
        listener = Listener()
        engine.submit(prompts[place], GREEDY, listener, tenant=tenant)
        made = listener.generation()
        assert made.token_ids == alone(decoder, prompts)[place].token_ids
        return made.num_cached_tokens

    assert [cached(tenant, 0) for tenant in ("a", "b", "a", "b")] == [0, 0, 20, 20]
    assert [cached("b", index) for index in (1, 2, 3, 1, 2, 3)] == [0] * 6, "b has room for two documents"
    assert (cached("a", 0), engine._prefixes.num_bytes) == (20, 3 * one_document)
    engine.close()


def test_a_step_is_one_forward_for_all_rows_and_padding_goes_with_the_row_that_needed_it() -> None:
    decoder = tiny_decoder()
    shapes = forward_shapes(decoder)
    long, short = token_prompts((50, 5))
    engine = StreamingEngine(decoder)
    with decoder.lock:
        engine.submit(long, SamplingParams(max_tokens=3), Listener())
        listener = Listener()
        engine.submit(short, SamplingParams(max_tokens=6), listener)
    listener.generation()
    assert (2, 52) in shapes
    assert shapes[-1] == (1, 10)
    assert len(shapes) <= 8


def test_different_sampling_in_one_batch_depends_on_its_own_prompt_and_seed_only() -> None:
    prompts = token_prompts()
    samplings = [
        GREEDY,
        SamplingParams(max_tokens=24, temperature=1.5, seed=1),
        SamplingParams(max_tokens=11, temperature=0.8, top_p=0.9, seed=2),
        SamplingParams(max_tokens=24, temperature=1.5, seed=1, stop=("e",)),
        SamplingParams(max_tokens=30, temperature=3.0, seed=3),
    ]
    engine = StreamingEngine(tiny_decoder())
    listeners = [Listener() for _ in prompts]
    with engine.decoder.lock:
        for prompt, sampling, listener in zip(prompts, samplings, listeners, strict=True):
            engine.submit(prompt, sampling, listener)
    together = [listener.generation() for listener in listeners]
    assert together == [engine.generate([p], s)[0] for p, s in zip(prompts, samplings, strict=True)]


def test_pieces_of_random_bytes_make_up_the_text() -> None:
    engine = StreamingEngine(tiny_decoder())
    listeners = [Listener() for _ in range(40)]
    for seed, listener in enumerate(listeners):
        sampling = SamplingParams(max_tokens=30, temperature=1.5, seed=seed, stop=("a", "ine", "\n\n"))
        engine.submit(token_prompts((9,))[0], sampling, listener)
    generations = [listener.generation() for listener in listeners]
    assert {generation.finish_reason for generation in generations} == {"stop", "length"}
    assert max(len(listener.events) for listener in listeners) > 10
    assert any(not generation.text.isascii() for generation in generations)


def test_cancelling_ends_a_running_row_and_leaves_the_others_as_they_are(engine: StreamingEngine) -> None:
    tickets: list[Ticket] = []

    def cancel_third_piece(listener: Listener) -> None:
        if len(listener.events) == 3:
            tickets[0].cancel()

    cancelled, others = Listener(cancel_third_piece), [Listener(), Listener()]
    prompts = token_prompts((9, 5, 17))
    with engine.decoder.lock:
        tickets.append(engine.submit(prompts[0], LONG, cancelled))
        for prompt, listener in zip(prompts[1:], others, strict=True):
            engine.submit(prompt, GREEDY, listener)
    short = cancelled.generation()
    assert short.finish_reason == "cancelled"
    whole = alone(tiny_decoder(), prompts[:1], LONG)[0]
    assert short.token_ids == whole.token_ids[: len(short.token_ids)]
    assert whole.text.startswith(short.text.rstrip("\ufffd"))
    assert 3 <= len(short.token_ids) < 400
    assert [listener.generation() for listener in others] == alone(tiny_decoder(), prompts[1:])
    tickets[0].cancel()


def test_a_waiting_request_that_is_cancelled_is_never_read(engine: StreamingEngine) -> None:
    shapes = forward_shapes(engine.decoder)
    runners, waiting, behind = [Listener() for _ in range(4)], Listener(), Listener()
    with engine.decoder.lock:
        running = [engine.submit(token_prompts((5,))[0], LONG, runner) for runner in runners]
        ticket = engine.submit(token_prompts((300,))[0], GREEDY, waiting)
        engine.submit(token_prompts((9,))[0], GREEDY, behind)
        ticket.cancel()
    assert waiting.generation() == Generation("", (), 300, "cancelled")
    assert not any(runner.has_ended.is_set() for runner in runners)
    running[0].cancel()
    assert behind.generation() == alone(tiny_decoder(), token_prompts((9,)))[0]
    assert max(seq_len for _, seq_len in shapes) < 300


def test_too_many_waiting_requests_are_refused_and_room_is_used_again() -> None:
    engine = StreamingEngine(tiny_decoder(), max_batch_size=1, max_waiting=2)
    prompt = token_prompts((5,))[0]
    runner, listeners = Listener(), [Listener(), Listener()]
    ticket = engine.submit(prompt, LONG, runner)
    while engine.num_running == 0:
        time.sleep(0.001)
    for listener in listeners:
        engine.submit(prompt, GREEDY, listener)
    assert (engine.num_running, engine.num_waiting) == (1, 2)
    with pytest.raises(QueueFullError, match="2 requests are waiting"):
        engine.submit(prompt, GREEDY, Listener())
    ticket.cancel()
    expected = alone(tiny_decoder(), [prompt])[0]
    assert [listener.generation() for listener in listeners] == [expected] * 2
    assert engine.generate([prompt] * 5, GREEDY) == [expected] * 5
    engine.close()
    assert (engine.num_running, engine.num_waiting) == (0, 0)


def test_a_request_that_cannot_be_answered_is_refused_before_it_waits(engine: StreamingEngine) -> None:
    prompt = token_prompts((500,))[0]
    with pytest.raises(LlocoError, match=r"the prompt has 500 tokens .* 24, tiny reads 512"):
        engine.submit(prompt, GREEDY, Listener())
    with pytest.raises(LlocoError, match="no adapter is named 'tales'"):
        engine.submit(token_prompts((5,))[0], GREEDY, Listener(), adapter="tales")
    assert engine.num_waiting == 0


def test_a_prompt_that_cannot_be_read_fails_alone(engine: StreamingEngine) -> None:
    wide, unknown, good = Prompt((soft_prompt(3, 40),)), Prompt((torch.tensor([9999]),)), token_prompts((5, 9))
    listeners = [Listener() for _ in range(4)]
    with engine.decoder.lock:
        for prompt, listener in zip((good[0], wide, unknown, good[1]), listeners, strict=True):
            engine.submit(prompt, GREEDY, listener)
    assert isinstance(listeners[1].error(), MismatchError)
    assert "failed on this prompt (IndexError" in str(listeners[2].error())
    assert [listeners[index].generation() for index in (0, 3)] == alone(tiny_decoder(), good)


def test_an_error_in_a_step_reaches_every_row_and_the_engine_goes_on(engine: StreamingEngine) -> None:
    prompts = token_prompts((5, 9, 17))
    forward, num_calls = engine.decoder.model.forward, 0

    def fail_once(*args: Any, **kwargs: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 6:
            raise RuntimeError("out of memory")
        return forward(*args, **kwargs)

    engine.decoder.model.forward = fail_once
    listeners = [Listener() for _ in prompts]
    with engine.decoder.lock:
        for prompt, listener in zip(prompts, listeners, strict=True):
            engine.submit(prompt, GREEDY, listener)
    for listener in listeners:
        assert "tiny failed on this prompt (RuntimeError: out of memory)" in str(listener.error())
        assert len(listener.events) > 1
    assert engine.generate(prompts, GREEDY) == alone(tiny_decoder(), prompts)


def test_a_listener_that_fails_ends_its_own_request_only(engine: StreamingEngine) -> None:
    num_calls = 0

    def fail(event: Event) -> None:
        nonlocal num_calls
        num_calls += 1
        raise RuntimeError("the client is gone")

    listener, prompts = Listener(), token_prompts((5, 9))
    with engine.decoder.lock:
        engine.submit(prompts[0], LONG, fail)
        engine.submit(prompts[1], GREEDY, listener)
    assert listener.generation() == alone(tiny_decoder(), prompts[1:])[0]
    engine.close()
    assert num_calls == 1


def test_closing_finishes_what_runs_and_what_waits() -> None:
    engine = StreamingEngine(tiny_decoder(), max_batch_size=2)
    prompts, listeners = token_prompts(), [Listener() for _ in token_prompts()]
    for prompt, listener in zip(prompts, listeners, strict=True):
        engine.submit(prompt, GREEDY, listener)
    engine.close()
    assert all(listener.has_ended.is_set() for listener in listeners)
    assert [listener.generation() for listener in listeners] == alone(tiny_decoder(), prompts)
    with pytest.raises(LlocoError, match="the engine is closed"):
        engine.submit(prompts[0], GREEDY, Listener())
    engine.close()


def test_closing_without_finishing_cancels_what_runs_and_what_waits() -> None:
    engine = StreamingEngine(tiny_decoder(), max_batch_size=2)
    listeners = [Listener() for _ in range(5)]
    for listener in listeners:
        engine.submit(token_prompts((5,))[0], LONG, listener)
    while not listeners[0].events:
        time.sleep(0.001)
    engine.close(finish=False)
    assert {listener.generation().finish_reason for listener in listeners} == {"cancelled"}
    assert listeners[4].generation().token_ids == ()
    assert not any(thread.name == "lloco-engine" for thread in threading.enumerate())


def test_an_idle_engine_has_no_thread(engine: StreamingEngine) -> None:
    for _ in range(2):
        engine.generate(token_prompts((5,)), GREEDY)
        deadline = time.monotonic() + 10
        while any(thread.name == "lloco-engine" for thread in threading.enumerate()):
            assert time.monotonic() < deadline, "the thread did not end"
            time.sleep(0.001)


def test_other_users_of_the_model_get_their_turn_between_two_tokens(engine: StreamingEngine) -> None:
    listener = Listener()
    engine.submit(token_prompts((5,))[0], LONG, listener)
    num_turns = 0
    while not listener.has_ended.is_set():
        with engine.decoder.lock:
            num_turns += 1
            time.sleep(0.002)
    assert num_turns >= 20
    assert listener.generation() == alone(tiny_decoder(), token_prompts((5,)), LONG)[0]


def test_an_adapter_is_added_while_others_are_being_answered(engine: StreamingEngine, tmp_path: Path) -> None:
    folder = save_random_adapter(tmp_path / "a", seed=1)
    prompts = token_prompts((9, 5))
    before, after = Listener(), Listener()
    engine.submit(prompts[0], replace(LONG, max_tokens=200), before)
    while not before.events:
        time.sleep(0.001)
    engine.add_adapter("a", folder)
    engine.submit(prompts[1], GREEDY, after, adapter="a")
    assert before.generation() == alone(tiny_decoder(), prompts[:1], replace(LONG, max_tokens=200))[0]
    reference = TransformersEngine(tiny_decoder())
    reference.add_adapter("a", folder)
    assert [after.generation()] == reference.generate(prompts[1:], GREEDY, adapters=["a"])


def test_long_prompts_are_read_a_few_at_a_time() -> None:
    decoder = tiny_decoder(tiny_llama(max_position_embeddings=4096))
    shapes = forward_shapes(decoder)
    engine = StreamingEngine(decoder)
    prompts = token_prompts((4000, 3900, 3800, 5))
    listeners = [Listener() for _ in prompts]
    with decoder.lock:
        for prompt, listener in zip(prompts, listeners, strict=True):
            engine.submit(prompt, SamplingParams(max_tokens=2), listener)
    for listener in listeners:
        listener.generation()
    assert max(rows for rows, seq_len in shapes if seq_len in (4000, 3900, 3800)) == 2


def test_a_model_without_keys_and_values_per_token_is_refused() -> None:
    with pytest.raises(LlocoError, match="tiny keeps LinearAttentionLayer: use TransformersEngine"):
        StreamingEngine(recurrent_decoder())


def test_a_tenant_that_fills_the_queue_keeps_no_other_one_waiting_or_out() -> None:
    decoder, is_free = tiny_decoder(), threading.Event()
    queue = RequestQueue(lambda: print(is_free.wait(60)), max_waiting=6)

    def put(tenant: str) -> None:
        decoding = Decoding(decoder, Prompt((torch.tensor([1, 2]),)), SamplingParams(max_tokens=1))
        queue.put(Request(Prompt((torch.tensor([1, 2]),)), None, decoding, tenant=tenant))

    for tenant in "aaaaaa":
        put(tenant)
    with pytest.raises(QueueFullError):
        put("a")
    for tenant in "bbc":
        put(tenant)
    with pytest.raises(QueueFullError):
        put("b")
    taken = queue.take(False, len)
    assert taken is not None and "".join(request.tenant for request in taken) == "abcabaaaa"
    is_free.set()
    queue.close(finish=True)
