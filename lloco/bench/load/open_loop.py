"""A server under open load: questions come when they come, whether or not it keeps up, as those of many people do.

Arrivals are a Poisson process of a seed. Times count from when a question was due, also where it was sent late, so that
a server that stalls is charged for all who came meanwhile. The bound holds for the time to the whole answer; a question
that was refused counts as one that was never answered. Texts as they are and soft prompts take turns at every rate.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

from lloco.bench.load.client import Asked, RefusedError, ServedAnswer, ask, open_client
from lloco.bench.load.rate_search import RateSearch
from lloco.bench.load.served_corpora import ServedCorpora, ServedOptions, ServedWay, serving_corpora
from lloco.bench.measure.floor import ModelCost
from lloco.bench.measure.machine import measure_machine
from lloco.bench.measure.spread import percentile, spread_fields
from lloco.bench.measure.turns import OnRun
from lloco.bench.show.results import BenchResults, Curve, Row, plain_options, ratio
from lloco.compressors.compressor import Compressor
from lloco.errors import LlocoError
from lloco.evals.evaluate import versions

NUM_ALONE = 3
"""Questions that are asked one by one, of which the shortest is what an answer takes."""
NUM_AT_ONCE = 8
"""Questions that are asked together to guess the rate that a server can answer."""
PERCENTILES = (50, 95, 99)
Outcome: TypeAlias = ServedAnswer | LlocoError


@dataclass(frozen=True, slots=True)
class OpenLoopOptions:
    """What is measured."""

    served: ServedOptions = field(default_factory=ServedOptions)
    """What is served."""
    rates: tuple[float, ...] | None = None
    """Questions a second that come; searched for when not given."""
    p95_seconds: float | None = None
    """What 95 of 100 answers may take; needed where rates are searched for."""
    requests: int = 40
    """Questions of a load at least."""
    repeats: int = 2
    """Loads of each row, each with arrivals of its own."""
    load_bounds: int = 8
    """A load lasts at least so many times the bound: one shorter than the bound would keep it at any rate."""

    def num_requests(self, rate: float) -> int:
        """Return how many questions a load of this rate has."""
        return max(self.requests, math.ceil(rate * self.load_bounds * (self.p95_seconds or 0.0)))


@dataclass(frozen=True, slots=True)
class OpenLoad:
    """What came of one load."""

    seconds: float
    """From its begin to the last answer."""
    outcomes: list[Outcome]
    """In the order of arrival."""


@dataclass(slots=True)
class _Measured:
    """What is known of one way to be answered."""

    way: ServedWay
    skipped: str | None
    search: RateSearch | None = None
    loads: dict[float, list[OpenLoad]] = field(default_factory=dict)
    """By the rate that was offered."""


def arrival_seconds(rate: float, num_requests: int, seed: int) -> list[float]:
    """Return when questions are due; the same seed gives the same pattern, faster or slower, at every rate."""
    chooser = random.Random(seed)
    due, arrivals = 0.0, []
    for _ in range(num_requests):
        due += chooser.expovariate(1.0)
        arrivals.append(due / rate)
    return arrivals


def put_open_load(
    url: str, mode: str, questions: Sequence[Asked], arrivals: Sequence[float], new_tokens: int
) -> OpenLoad:
    """Ask each question when it is due, however many are still being answered."""
    with open_client(url) as http, ThreadPoolExecutor(len(questions)) as pool:
        begun = time.perf_counter()

        def outcome(asked: Asked, due: float) -> Outcome:
            try:
                return ask(http, mode, asked, new_tokens, due)
            except LlocoError as error:
                return error

        waited = []
        for asked, arrival in zip(questions, arrivals, strict=True):
            time.sleep(max(0.0, begun + arrival - time.perf_counter()))
            waited.append(pool.submit(outcome, asked, begun + arrival))
        outcomes = [future.result() for future in waited]
        return OpenLoad(time.perf_counter() - begun, outcomes)


def measure_open_loop(
    compressor: Compressor, options: OpenLoopOptions, device: str | None = None, on_run: OnRun | None = None
) -> BenchResults:
    """Measure every rate, or search for the highest that keeps the bound, for every way to be answered.

    Raises:
        LlocoError: neither rates nor a bound were given, or the server cannot be started.
    """
    if options.rates is None and options.p95_seconds is None:
        raise LlocoError("there are no rates to measure and no bound to search one for: give p95_seconds")
    decoder = compressor.decoder
    machine = measure_machine(decoder.device, decoder.dtype, ModelCost.of(decoder.model).read_bytes)
    with serving_corpora(compressor, options.served, device) as served:
        measured = [_begin(served, way, options) for way in served.ways]
        places = [iter(options.rates or ()) for _ in measured]
        count = _count(on_run, options, len(measured))
        while turns := [
            (search, rate)
            for search, rates in zip(measured, places, strict=True)
            if search.skipped is None
            and (rate := search.search.rate if search.search else next(rates, None)) is not None
        ]:
            for number in range(options.repeats):
                for search, rate in turns:
                    search.loads.setdefault(rate, []).append(_load(served, search.way, rate, number, options))
                    count()
            for search, rate in turns:
                if search.search is not None:
                    search.search.record(bool(_keeps_bound(search.loads[rate], options)))
    described = asdict(machine)
    chosen = plain_options(options) | {"compressor": compressor.name}
    return BenchResults("open_loop", tuple(_rows(measured, options)), described, chosen, versions(), CURVES)


def _begin(served: ServedCorpora, way: ServedWay, options: OpenLoopOptions) -> _Measured:
    """Ask for the refusal; then, with everything loaded, alone for the bound and many at once for where to begin."""
    served.prepare(ServedWay(way.mode, False))
    refusal = served.refusal(way)
    if refusal is not None or options.rates is not None:
        return _Measured(way, refusal)
    assert options.p95_seconds is not None
    served.prepare(way)

    def seconds_of(num_questions: int) -> float:
        questions, at_once = served.questions(num_questions, 0), [0.0] * num_questions
        return put_open_load(served.url, way.mode, questions, at_once, options.served.new_tokens).seconds

    alone = min(seconds_of(1) for _ in range(NUM_ALONE))
    if alone > options.p95_seconds:
        bound = f"an answer takes {alone:.2g} s with nobody else there, more than --p95-seconds {options.p95_seconds:g}"
        return _Measured(way, bound)
    return _Measured(way, None, RateSearch(NUM_AT_ONCE / seconds_of(NUM_AT_ONCE)))


def _load(served: ServedCorpora, way: ServedWay, rate: float, number: int, options: OpenLoopOptions) -> OpenLoad:
    seed, num_requests = options.served.seed + number, options.num_requests(rate)
    served.prepare(way)
    arrivals = arrival_seconds(rate, num_requests, seed)
    return put_open_load(
        served.url, way.mode, served.questions(num_requests, seed), arrivals, options.served.new_tokens
    )


def _keeps_bound(loads: Sequence[OpenLoad], options: OpenLoopOptions) -> bool | None:
    if options.p95_seconds is None:
        return None
    p95 = percentile([_seconds(outcome, "answer_seconds") for load in loads for outcome in load.outcomes], 95)
    return p95 is not None and p95 <= options.p95_seconds


def _seconds(outcome: Outcome, name: str) -> float:
    return getattr(outcome, name) if isinstance(outcome, ServedAnswer) else math.inf


def _count(on_run: OnRun | None, options: OpenLoopOptions, num_ways: int) -> Callable[[], None]:
    """A search takes about five rates."""
    total = num_ways * options.repeats * (5 if options.rates is None else len(options.rates))
    return lambda: None if on_run is None else on_run(1, total)


def _rows(measured: Sequence[_Measured], options: OpenLoopOptions) -> list[Row]:
    """Return a line for every rate of every way; ratios stand where a way is at its best rate."""
    best = {measured_way.way.name: _best_rate(measured_way, options) for measured_way in measured}
    rows = []
    for measured_way in measured:
        rates: list[float | None] = [*sorted(measured_way.loads)] or [None]
        for rate in rates:
            loads = [] if rate is None else measured_way.loads[rate]
            found = best[measured_way.way.name] if loads and rate == best[measured_way.way.name] else None
            rows.append(
                {
                    "context_tokens": options.served.context_tokens,
                    "corpora": options.served.corpora,
                    "mode": measured_way.way.name,
                    "offered_per_second": rate,
                    **_figures(loads),
                    "keeps_bound": _keeps_bound(loads, options) if loads else None,
                    "is_best": found is not None,
                    "ratio": ratio(found, best["full"]),
                    "ratio_cached": ratio(found, best.get("full, cached")),
                    "skipped": measured_way.skipped,
                }
            )
    return rows


def _best_rate(measured: _Measured, options: OpenLoopOptions) -> float | None:
    """The highest rate at which, and below which, the bound was kept wherever it was measured."""
    if measured.search is not None:
        return measured.search.best
    best = None
    for rate in sorted(measured.loads):
        if not _keeps_bound(measured.loads[rate], options):
            break
        best = rate
    return best


def _figures(loads: Sequence[OpenLoad]) -> Row:
    outcomes = [outcome for load in loads for outcome in load.outcomes]
    answers = [outcome for outcome in outcomes if isinstance(outcome, ServedAnswer)]
    refused = sum(isinstance(outcome, RefusedError) for outcome in outcomes)
    per_second = [sum(isinstance(outcome, ServedAnswer) for outcome in load.outcomes) / load.seconds for load in loads]
    row: Row = {
        "n": len(outcomes),
        "refused": refused,
        "failed": len(outcomes) - len(answers) - refused,
        **spread_fields("served_per_second", per_second),
    }
    for name in ("answer_seconds", "first_token_seconds"):
        times = [_seconds(outcome, name) for outcome in outcomes]
        row |= {f"{name}_p{percent}": percentile(times, percent) for percent in PERCENTILES}
    for name in ("prompt_tokens", "cached_tokens", "new_tokens"):
        row[name] = sum(getattr(answer, name) for answer in answers) / len(answers) if answers else None
    return row


CURVES = (
    Curve("answers", "offered_per_second", "answer_seconds_p95", "mode", "95 of 100 answers", "requests/s", "s"),
    Curve("served", "offered_per_second", "served_per_second", "mode", "Served", "requests/s offered", "requests/s"),
)
