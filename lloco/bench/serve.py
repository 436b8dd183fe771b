"""Load on a server: clients that ask at the same time, answered from documents as text and as soft prompts.

The server is the product's own, on a store of its own, and listens on a socket of this machine; the clients are threads
beside it. Documents are random words, and end tokens end nothing, so that all answers have one length: what is measured
does not depend on what is read.
"""

import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from lloco.bench.floor import ModelCost
from lloco.bench.machine import Machine, measure_machine
from lloco.bench.memory import memory_method
from lloco.bench.results import BenchResults, Curve, Row, plain_options, ratio
from lloco.bench.spread import spread_fields
from lloco.bench.store import VOCABULARY
from lloco.bench.turns import OnRun, Way, count_runs, take_turns
from lloco.compress import compress_into
from lloco.compressors.compressor import Compressor
from lloco.documents import Document
from lloco.engine.streaming import StreamingEngine
from lloco.errors import LlocoError
from lloco.evals.evaluate import versions
from lloco.server.access import Access
from lloco.server.app import create_app
from lloco.server.engines import EngineOptions
from lloco.server.listen import address_of, open_socket, serving_in_thread
from lloco.server.service import Service
from lloco.store.store import Store

MODES = ("full", "compressed")
CORPUS = "bench"
TIMEOUT_SECONDS = 600
"""How long a client waits for the next piece of an answer."""


@dataclass(frozen=True, slots=True)
class ServeBenchOptions:
    """What is measured."""

    clients: tuple[int, ...] = (1, 4, 16)
    """How many ask at the same time."""
    context_tokens: int = 1024
    """Length of a document, by the compressor's own tokenizer; a little more, since words are whole."""
    documents: int = 4
    """Documents that are asked about in turn."""
    questions: int = 2
    """Questions that each client asks, one after another, in one measurement."""
    new_tokens: int = 16
    """Tokens of an answer."""
    max_batch_size: int = 16
    """Questions that the server answers at once."""
    prefix_cache_mb: int = 0
    """Memory for documents that were read; where there is any, each mode is measured without and with it."""
    repeats: int = 2
    """Measurements of each row."""
    seed: int = 0
    """Seed of the documents."""


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """One answer as its client saw it."""

    first_token_seconds: float
    """From the request to the first piece of text."""
    answer_seconds: float
    """From the request to the end."""
    new_tokens: int
    prompt_tokens: int
    cached_tokens: int


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
    num_ways = len(MODES) * (2 if options.prefix_cache_mb else 1)
    machine = measure_machine(decoder.device, decoder.dtype, cost.read_bytes)
    count = count_runs(on_run, len(options.clients) * num_ways, options.repeats)
    done: dict[int, list[Way[Load]]] = {}
    with _server(compressor, options, device) as (url, engine):
        refused = {mode: _refusal(url, mode, options) for mode in MODES}

        def load(mode: str, cache_mb: int, clients: int) -> Load:
            engine.limit_prefix_cache(cache_mb << 20)
            if cache_mb:
                _read_all(url, mode, options)
            return put_load(url, mode, clients, options)

        for clients in options.clients:
            done[clients] = [
                Way(f"{mode}, cached" if cache_mb else mode, partial(load, mode, cache_mb, clients), 0, refused[mode])
                for cache_mb in dict.fromkeys((0, options.prefix_cache_mb))
                for mode in MODES
            ]
            take_turns(done[clients], options.repeats, decoder.device, count)
    machine = machine.best(measure_machine(decoder.device, decoder.dtype, cost.read_bytes))
    rows = [_row(way, ways[0], clients, options, cost, machine) for clients, ways in done.items() for way in ways]
    described = asdict(machine) | {"memory_method": memory_method(decoder.device)}
    chosen = plain_options(options) | {"compressor": compressor.name}
    return BenchResults("serve", tuple(rows), described, chosen, versions(), CURVES)


def make_documents(compressor: Compressor, options: ServeBenchOptions) -> list[Document]:
    """Return documents of random words, each at least `context_tokens` long."""
    chooser = random.Random(options.seed)
    tokenizer = compressor.decoder.require_tokenizer()
    documents = []
    for number in range(options.documents):
        words: list[str] = []
        num_tokens = 0
        while num_tokens < options.context_tokens:
            words.append(chooser.choice(VOCABULARY))
            num_tokens += len(tokenizer(f" {words[-1]}", add_special_tokens=False)["input_ids"])
        documents.append(
            Document(f"document-{number}", " ".join(words), f"Document {number}", f"document-{number}.txt")
        )
    return documents


@contextmanager
def _server(
    compressor: Compressor, options: ServeBenchOptions, device: str | None
) -> Iterator[tuple[str, StreamingEngine]]:
    """Serve a store with the documents in it; yields the address and what answers there."""
    with tempfile.TemporaryDirectory(prefix="lloco-bench-") as folder, Store(Path(folder)) as store:
        compress_into(store.corpus(CORPUS), make_documents(compressor, options), compressor)
        engines = EngineOptions(
            max_batch_size=options.max_batch_size,
            max_waiting=max(options.clients),
            device=device,
            dtype=str(compressor.decoder.dtype).removeprefix("torch."),
        )
        service = Service(store, Access(), engines=engines)
        engine = service.engines.engine(store.corpus(CORPUS), None)
        assert isinstance(engine, StreamingEngine)
        engine.decoder.model.generation_config.eos_token_id = []
        with open_socket("127.0.0.1", 0) as bound, serving_in_thread(create_app(service), bound):
            yield address_of(bound), engine


def put_load(url: str, mode: str, clients: int, options: ServeBenchOptions) -> Load:
    """Let so many clients ask their questions at the same time."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(_ask_in_turn, url, mode, client, options) for client in range(clients)]
        answers = [answer for one in asked for answer in one.result()]
    return Load(time.perf_counter() - started, answers)


def _read_all(url: str, mode: str, options: ServeBenchOptions) -> None:
    """Ask about every document once, so that it is in the prefix cache."""
    with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
        for number in range(options.documents):
            ask(http, mode, f"document-{number}", options)


def _ask_in_turn(url: str, mode: str, client: int, options: ServeBenchOptions) -> list[ServedAnswer]:
    with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
        return [
            ask(http, mode, f"document-{(client + turn) % options.documents}", options)
            for turn in range(options.questions)
        ]


def ask(http: httpx.Client, mode: str, document: str, options: ServeBenchOptions) -> ServedAnswer:
    """Ask one question and read its answer as it is written.

    Raises:
        LlocoError: the server refused it, in the server's words.
    """
    body = {
        "model": CORPUS,
        "messages": [{"role": "user", "content": "Which word comes first in this document, and which comes last?"}],
        "max_tokens": options.new_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "lloco": {"document": document, "mode": mode},
    }
    started = time.perf_counter()
    first: float | None = None
    usage: dict[str, Any] = {}
    with _request_errors(), http.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.is_error:
            raise LlocoError(f"the server refused it: {_message(response)}")
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise LlocoError(f"the server failed: {event['error']['message']}")
            if first is None and any(choice["delta"].get("content") for choice in event["choices"]):
                first = time.perf_counter() - started
            usage = event.get("usage") or usage
    seconds = time.perf_counter() - started
    return ServedAnswer(
        seconds if first is None else first,
        seconds,
        usage["completion_tokens"],
        usage["prompt_tokens"],
        usage["prompt_tokens_details"]["cached_tokens"],
    )


@contextmanager
def _request_errors() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise LlocoError(f"the server was asked, it did not answer ({type(error).__name__}: {error})") from error


def _message(response: httpx.Response) -> str:
    response.read()
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"


def _refusal(url: str, mode: str, options: ServeBenchOptions) -> str | None:
    """Ask once, which loads the model; returns why this mode cannot be compared."""
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
            answer = ask(http, mode, "document-0", options)
    except LlocoError as error:
        return str(error)
    if mode == "full" and answer.prompt_tokens < options.context_tokens:
        return f"the model read only {answer.prompt_tokens:,} tokens, as many as it can: lower --context-tokens"
    return None


def _row(
    way: Way[Load], full: Way[Load], clients: int, options: ServeBenchOptions, cost: ModelCost, machine: Machine
) -> Row:
    """Return one line of the results; the ratio is this way's answers a second over those of the full text."""
    answers = _answers(way)
    figures, whole = _figures(way), _figures(full)
    floor = _floor(answers, min(clients, options.max_batch_size), cost, machine)
    return {
        "context_tokens": options.context_tokens,
        "clients": clients,
        "mode": way.name,
        "n": len(answers),
        "prompt_tokens": statistics.mean(one.prompt_tokens for one in answers) if answers else None,
        "cached_tokens": statistics.mean(one.cached_tokens for one in answers) if answers else None,
        "new_tokens": statistics.mean(one.new_tokens for one in answers) if answers else None,
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
        values = sorted(getattr(answer, name) for answer in answers)
        fields |= spread_fields(name, values)
        fields[f"{name}_p95"] = values[-(-95 * len(values) // 100) - 1] if values else None
    return fields


def _floor(answers: list[ServedAnswer], batch_size: int, cost: ModelCost, machine: Machine) -> float | None:
    """Return the answers a second of a batch that is read and decoded at the machine's rates, without a server."""
    if not answers:
        return None
    num_positions = round(statistics.mean(one.prompt_tokens for one in answers))
    num_read = round(statistics.mean(one.prompt_tokens - one.cached_tokens for one in answers))
    new_tokens = statistics.mean(one.new_tokens for one in answers)
    read = cost.prefill(num_read, batch_size).seconds(machine)
    step = cost.decode(num_positions + round(new_tokens) // 2, batch_size).seconds(machine)
    return batch_size / (read + max(0.0, new_tokens - 1) * step)


CURVES = (
    Curve("answers", "clients", "answers_per_second", "mode", "Answers", "clients at once", "answers/s",
        floor="floor_answers_per_second"),
    Curve("first_token", "clients", "first_token_seconds", "mode", "Time to first token", "clients at once", "s"),
)  # fmt: skip
