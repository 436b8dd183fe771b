"""A server under closed load: clients that ask at the same time, each its next question when the last is answered.

The server is the product's own, on a store of its own, and listens on a socket of this machine; the clients are threads
beside it, so that both share the machine. Answers from documents as text and as soft prompts take turns.
"""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from lloco.bench.load.client import Asked, ServedAnswer, ask, open_client
from lloco.bench.load.served_corpora import ServedCorpora, ServedOptions, ServedWay, serving_corpora
from lloco.bench.measure.floor import ModelCost
from lloco.bench.measure.machine import Machine, measure_machine
from lloco.bench.measure.memory import memory_method
from lloco.bench.measure.spread import percentile, spread_fields
from lloco.bench.measure.turns import OnRun, Way, count_runs, take_turns
from lloco.bench.show.results import BenchResults, Curve, Row, plain_options, ratio
from lloco.compressors.compressor import Compressor
from lloco.evals.evaluate import versions


@dataclass(frozen=True, slots=True)
class ServeBenchOptions:
    """What is measured."""

    served: ServedOptions = field(default_factory=ServedOptions)
    """What is served."""
    clients: tuple[int, ...] = (1, 4, 16)
    """How many ask at the same time."""
    questions: int = 2
    """Questions that each client asks, one after another, in one measurement."""
    repeats: int = 2
    """Measurements of each row."""


@dataclass(frozen=True, slots=True)
class Load:
    """What all clients got in one measurement."""

    seconds: float
    answers: list[ServedAnswer]


def measure_serve(
    compressor: Compressor, options: ServeBenchOptions, device: str | None = None, on_run: OnRun | None = None
) -> BenchResults:
    """Measure every number of clients in both modes; the server uses this compressor.

    A mode that the server refuses, or a text that the model cannot read whole, is a row that says so.

    Raises:
        LlocoError: the compressor cannot be loaded again by its name.
    """
    decoder = compressor.decoder
    cost = ModelCost.of(decoder.model)
    machine = measure_machine(decoder.device, decoder.dtype, cost.read_bytes)
    done: dict[int, list[Way[Load]]] = {}
    # Clients that wait for their answers are not refused.
    options = replace(options, served=replace(options.served, max_waiting=max(options.clients)))
    with serving_corpora(compressor, options.served, device) as served:
        refused = {way.mode: served.refusal(way) for way in served.ways if not way.is_cached}
        count = count_runs(on_run, len(options.clients) * len(served.ways), options.repeats)
        for clients in options.clients:
            done[clients] = [
                Way(way.name, partial(_load, served, way, clients, options), 0, refused[way.mode])
                for way in served.ways
            ]
            take_turns(done[clients], options.repeats, decoder.device, count)
    machine = machine.best(measure_machine(decoder.device, decoder.dtype, cost.read_bytes))
    rows = [_row(way, ways[0], clients, options, cost, machine) for clients, ways in done.items() for way in ways]
    described = asdict(machine) | {"memory_method": memory_method(decoder.device)}
    chosen = plain_options(options) | {"compressor": compressor.name}
    return BenchResults("serve", tuple(rows), described, chosen, versions(), CURVES)


def _load(served: ServedCorpora, way: ServedWay, clients: int, options: ServeBenchOptions) -> Load:
    served.prepare(way)
    questions = served.questions(clients * options.questions, options.served.seed)
    return put_load(served.url, way.mode, questions, clients, options.served.new_tokens)


def put_load(url: str, mode: str, questions: Sequence[Asked], clients: int, new_tokens: int) -> Load:
    """Let so many clients ask at the same time, each its share of the questions."""

    def ask_in_turn(client: int) -> list[ServedAnswer]:
        return [ask(http, mode, question, new_tokens) for question in questions[client::clients]]

    with open_client(url) as http, ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        answers = [answer for answered in pool.map(ask_in_turn, range(clients)) for answer in answered]
        return Load(time.perf_counter() - started, answers)


def _row(
    way: Way[Load], full: Way[Load], clients: int, options: ServeBenchOptions, cost: ModelCost, machine: Machine
) -> Row:
    """Return one line of the results; the ratio is this way's answers a second over those of the full text."""
    answers = _answers(way)
    figures, whole = _figures(way), _figures(full)
    floor = _floor(answers, min(clients, options.served.max_batch_size), cost, machine)
    return {
        "context_tokens": options.served.context_tokens,
        "corpora": options.served.corpora,
        "clients": clients,
        "mode": way.name,
        "n": len(answers),
        "prompt_tokens": statistics.mean(answer.prompt_tokens for answer in answers) if answers else None,
        "cached_tokens": statistics.mean(answer.cached_tokens for answer in answers) if answers else None,
        "new_tokens": statistics.mean(answer.new_tokens for answer in answers) if answers else None,
        **figures,
        "floor_answers_per_second": floor,
        "floor_fraction": ratio(figures["answers_per_second"], floor),
        "working_memory_bytes": way.working_memory_bytes,
        "ratio": ratio(figures["answers_per_second"], whole["answers_per_second"]),
        "ratio_first_token": ratio(whole["first_token_seconds"], figures["first_token_seconds"]),
        "ratio_working_memory": ratio(full.working_memory_bytes, way.working_memory_bytes),
        "skipped": way.skipped,
    }


def _answers(way: Way[Load]) -> list[ServedAnswer]:
    return [answer for load in way.measured for answer in load.answers]


def _figures(way: Way[Load]) -> dict[str, float | None]:
    answers = _answers(way)
    fields = spread_fields("answers_per_second", [len(load.answers) / load.seconds for load in way.measured])
    for name in ("first_token_seconds", "answer_seconds"):
        values = [getattr(answer, name) for answer in answers]
        fields |= spread_fields(name, values)
        fields[f"{name}_p95"] = percentile(values, 95)
    return fields


def _floor(answers: list[ServedAnswer], batch_size: int, cost: ModelCost, machine: Machine) -> float | None:
    """Return the answers a second of a batch that is read and decoded at the machine's rates, without a server."""
    if not answers:
        return None
    num_positions = round(statistics.mean(answer.prompt_tokens for answer in answers))
    num_read = round(statistics.mean(answer.prompt_tokens - answer.cached_tokens for answer in answers))
    new_tokens = statistics.mean(answer.new_tokens for answer in answers)
    read = cost.prefill(num_read, batch_size).seconds(machine)
    step = cost.decode(num_positions + round(new_tokens) // 2, batch_size).seconds(machine)
    return batch_size / (read + max(0.0, new_tokens - 1) * step)


CURVES = (
    Curve("answers", "clients", "answers_per_second", "mode", "Answers", "clients at once", "answers/s",
        floor="floor_answers_per_second"),
    Curve("first_token", "clients", "first_token_seconds", "mode", "Time to first token", "clients at once", "s"),
)  # fmt: skip
