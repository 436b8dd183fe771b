"""Latency of answering: a context read as text against the same number of tokens as a soft prompt, in one run.

The protocol is arXiv 2404.07979's: batch 1, 16 new tokens, greedy. Contexts, questions and soft prompts are random,
since time does not depend on what is read. Compressing is not counted: it is done once, offline. The two ways take
turns, so that a machine that slows down slows both.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from lloco.adapters.base_model import BASE_ADAPTER
from lloco.bench.measure.floor import ModelCost
from lloco.bench.measure.machine import Machine, measure_machine
from lloco.bench.measure.memory import memory_method
from lloco.bench.measure.spread import spread_fields, synchronize
from lloco.bench.measure.turns import OnRun, Way, count_runs, take_turns
from lloco.bench.show.results import BenchResults, Curve, Row, plain_options, ratio
from lloco.engine.decode_batch import DecodeBatch, check_cache
from lloco.errors import LlocoError
from lloco.evals.evaluate import versions
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt

DEFAULT_CONTEXTS = (1024, 2048, 4096, 8192)
MODES = ("full", "compressed")


@dataclass(frozen=True, slots=True)
class LatencyOptions:
    """What is measured; defaults are the published protocol."""

    contexts: tuple[int, ...] | None = None
    """Tokens of the context; when not given, 1024 to 8192, cut to what the decoder reads."""
    ratio: float = 30.0
    """Context tokens per virtual token."""
    new_tokens: int = 16
    """Tokens of an answer."""
    question_tokens: int = 32
    """Tokens that follow the context in both modes."""
    batch_size: int = 1
    """Questions answered together, each with a context of its own."""
    repeats: int = 3
    """Measurements of each row."""
    seed: int = 0
    """Seed of contexts, questions and soft prompts."""

    def __post_init__(self) -> None:
        if self.new_tokens < 2:
            raise LlocoError(f"new_tokens is {self.new_tokens}: time per token needs at least 2")
        if not self.ratio >= 1:
            raise LlocoError(f"ratio is {self.ratio}: it must be at least 1 context token per virtual token")

    def num_virtual_tokens(self, context_tokens: int) -> int:
        """Return the length of the soft prompt that stands for a context."""
        return math.ceil(context_tokens / self.ratio)

    def num_positions(self, context_tokens: int) -> int:
        """Return the positions that the full context, the question and the answer take."""
        return context_tokens + self.question_tokens + self.new_tokens

    def contexts_for(self, decoder: Decoder) -> tuple[int, ...]:
        """Return the contexts to measure.

        Raises:
            LlocoError: question and answer leave no position for a context.
        """
        room = decoder.max_len - self.num_positions(0)
        if room < 1:
            raise LlocoError(
                f"question and answer take {self.num_positions(0)} positions, {decoder.name} reads {decoder.max_len}: "
                "ask for fewer new tokens, or name another model"
            )
        if self.contexts is not None:
            return self.contexts
        return tuple(sorted({min(context, room - room % min(256, room)) for context in DEFAULT_CONTEXTS}))


@dataclass(frozen=True, slots=True)
class Answer:
    """Seconds of one batch of answers."""

    first_token_seconds: float
    """From the prompt to the first token."""
    answer_seconds: float
    """From the prompt to the last token."""
    new_tokens: int

    @property
    def per_token_seconds(self) -> float:
        """Mean time between two tokens."""
        return (self.answer_seconds - self.first_token_seconds) / (self.new_tokens - 1)


def measure_latency(decoder: Decoder, options: LatencyOptions, on_run: OnRun | None = None) -> BenchResults:
    """Measure every context in both modes.

    A context that does not fit the decoder's positions or the memory is a row that says so.

    Raises:
        LlocoError: the decoder keeps no plain keys and values.
    """
    check_cache(decoder)
    cost = ModelCost.of(decoder.model)
    machine = measure_machine(decoder.device, decoder.dtype, cost.read_bytes)
    contexts = options.contexts_for(decoder)
    count = count_runs(on_run, len(contexts) * len(MODES), options.repeats)
    done: dict[int, list[Way[Answer]]] = {}
    answer(decoder, make_prompts(decoder, options, 1, "compressed"), options.new_tokens)
    for context_tokens in contexts:
        done[context_tokens] = [_way(decoder, options, context_tokens, mode, cost) for mode in MODES]
        take_turns(done[context_tokens], options.repeats, decoder.device, count)
    machine = machine.best(measure_machine(decoder.device, decoder.dtype, cost.read_bytes))
    rows = [
        _row(way, ways[0], context_tokens, options, cost, machine)
        for context_tokens, ways in done.items()
        for way in ways
    ]
    described = asdict(machine) | {"memory_method": memory_method(decoder.device)}
    chosen = plain_options(options) | {"contexts": list(contexts), "model": decoder.name}
    return BenchResults("latency", tuple(rows), described, chosen, versions(), CURVES)


def _way(decoder: Decoder, options: LatencyOptions, context_tokens: int, mode: str, cost: ModelCost) -> Way[Answer]:
    prompts = make_prompts(decoder, options, context_tokens, mode)
    num_positions = prompts[0].length + options.new_tokens
    too_long = f"it takes {num_positions:,} positions, {decoder.name} reads {decoder.max_len:,}"
    return Way(
        mode,
        lambda: answer(decoder, prompts, options.new_tokens),
        cost.reading_bytes(num_positions, options.batch_size),
        too_long if num_positions > decoder.max_len else None,
    )


def make_prompts(decoder: Decoder, options: LatencyOptions, context_tokens: int, mode: str) -> list[Prompt]:
    """Return a batch of prompts: the same questions in both modes, after tokens or after virtual tokens."""
    random = torch.Generator().manual_seed(options.seed)
    vocab_size = decoder.model.config.get_text_config().vocab_size
    num_virtual_tokens = options.num_virtual_tokens(context_tokens)
    questions = torch.randint(vocab_size, (options.batch_size, options.question_tokens), generator=random)
    prompts = []
    for question in questions:
        ids = torch.randint(vocab_size, (context_tokens,), generator=random)
        if mode == "full":
            prompts.append(Prompt((ids, question), num_context_tokens=context_tokens))
            continue
        vectors = torch.randn(num_virtual_tokens, decoder.hidden_size, generator=random)
        # As large as the embeddings that the decoder reads, so that no state overflows.
        vectors = (vectors * decoder.embed(question).detach().std().cpu()).to(decoder.dtype)
        prompts.append(Prompt((vectors, question), num_virtual_tokens=num_virtual_tokens))
    return prompts


def answer(decoder: Decoder, prompts: Sequence[Prompt], new_tokens: int) -> Answer:
    """Read the prompts and decode greedily; end tokens end nothing, so that all answers have one length."""
    synchronize(decoder.device)
    started = time.perf_counter()
    batch, logits = DecodeBatch.read(decoder, prompts, [BASE_ADAPTER] * len(prompts))
    token_ids = logits.argmax(dim=-1).tolist()
    first = time.perf_counter() - started
    for _ in range(new_tokens - 1):
        token_ids = batch.step(decoder, token_ids).argmax(dim=-1).tolist()
    return Answer(first, time.perf_counter() - started, new_tokens)


def _row(
    way: Way[Answer],
    full: Way[Answer],
    context_tokens: int,
    options: LatencyOptions,
    cost: ModelCost,
    machine: Machine,
) -> Row:
    """Return one line of the results; ratios are the full context's figure over this one's."""
    num_virtual_tokens = options.num_virtual_tokens(context_tokens) if way.name == "compressed" else 0
    num_positions = (num_virtual_tokens or context_tokens) + options.question_tokens
    read = cost.prefill(num_positions, options.batch_size)
    decode = cost.decode(num_positions + options.new_tokens // 2, options.batch_size)
    working = way.working_memory_bytes
    row: Row = {
        "context_tokens": context_tokens,
        "mode": way.name,
        "virtual_tokens": num_virtual_tokens,
        "positions": num_positions,
        "batch_size": options.batch_size,
        "n": len(way.measured),
        **_times(way),
        "peak_memory_bytes": None if working is None else cost.weight_bytes + working,
        "working_memory_bytes": working,
        "kv_cache_bytes": options.batch_size * cost.kv_cache_bytes(num_positions + options.new_tokens),
        "floor_bytes_per_token": decode.num_bytes,
        "floor_flops_per_token": decode.flops,
        "floor_per_token_seconds": decode.seconds(machine),
        "floor_first_token_seconds": read.seconds(machine),
    }
    row["floor_fraction"] = ratio(row["floor_per_token_seconds"], row["per_token_seconds"])
    row["floor_fraction_first_token"] = ratio(row["floor_first_token_seconds"], row["first_token_seconds"])
    whole = _times(full)
    for key, name in {"": "per_token", "_first_token": "first_token", "_answer": "answer"}.items():
        row[f"ratio{key}"] = ratio(whole[f"{name}_seconds"], row[f"{name}_seconds"])
    row["ratio_working_memory"] = ratio(full.working_memory_bytes, working)
    return row | {"skipped": way.skipped}


def _times(way: Way[Answer]) -> Row:
    names = ("first_token_seconds", "per_token_seconds", "answer_seconds")
    fields: Row = {}
    for name in names:
        fields |= spread_fields(name, [getattr(measured, name) for measured in way.measured])
    return fields


CURVES = (
    Curve(
        "per_token", "context_tokens", "per_token_seconds", "mode", "Time per token", "context tokens", "ms", 1e3,
        "floor_per_token_seconds",
    ),
    Curve(
        "first_token", "context_tokens", "first_token_seconds", "mode", "Time to first token", "context tokens", "ms",
        1e3, "floor_first_token_seconds",
    ),
    Curve(
        "memory", "context_tokens", "peak_memory_bytes", "mode", "Weights and peak above them", "context tokens", "GB",
        1e-9,
    ),
)  # fmt: skip
