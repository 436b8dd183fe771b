"""Load on a real server with a tiny model: who is asked when, what rows say, which rates are found."""

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lloco.bench.load.client import ServedAnswer
from lloco.bench.load.closed_loop import ServeBenchOptions, measure_serve
from lloco.bench.load.open_loop import OpenLoopOptions, arrival_seconds, measure_open_loop, put_open_load
from lloco.bench.load.rate_search import MAX_HALVINGS, RateSearch
from lloco.bench.load.served_corpora import ServedOptions, ServedWay, serving_corpora
from lloco.bench.measure.spread import percentile
from lloco.bench.show.headline import headline
from lloco.compressors.compressor import Compressor
from lloco.compressors.load import load_compressor
from lloco.errors import LlocoError
from tests.command import Run
from tests.corpora import save_compressor

TINY = ServedOptions(context_tokens=40, documents=2, new_tokens=5)


@pytest.fixture
def compressor(tmp_path: Path) -> Compressor:
    return load_compressor(save_compressor(tmp_path / "tiny"))


@pytest.fixture
def lloco(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def found_by(search: RateSearch, limit: float) -> tuple[float | None, list[float]]:
    """Search where every rate up to the limit passes; returns the best and the rates that were tested."""
    tested = []
    while (rate := search.rate) is not None:
        tested.append(rate)
        search.record(rate <= limit)
    return search.best, tested


def test_bench_serve_asks_a_real_server_in_both_modes_and_says_what_it_refused(compressor: Compressor) -> None:
    options = ServeBenchOptions(TINY, clients=(1, 3), questions=2, repeats=2)
    rows = measure_serve(compressor, options).rows
    assert [(row["clients"], row["mode"], row["n"]) for row in rows] == [
        (1, "full", 4), (1, "compressed", 4), (3, "full", 12), (3, "compressed", 12),
    ]  # fmt: skip
    assert {row["new_tokens"] for row in rows} == {5}
    full, compressed = rows[2:]
    assert full["prompt_tokens"] > compressed["prompt_tokens"]
    assert (full["ratio"], compressed["ratio"]) == (
        1.0,
        pytest.approx(compressed["answers_per_second"] / full["answers_per_second"]),
    )
    assert full["first_token_seconds_min"] <= full["first_token_seconds_p95"] <= full["answer_seconds_max"]
    with_cache = replace(options, served=replace(TINY, prefix_cache_mb=64), clients=(2,))
    cached = measure_serve(compressor, with_cache).rows
    assert [row["mode"] for row in cached] == ["full", "compressed", "full, cached", "compressed, cached"]
    assert [row["cached_tokens"] > 0 for row in cached] == [False, False, True, True]
    wide = replace(options, served=replace(TINY, context_tokens=5000), clients=(1,))
    too_long, short = measure_serve(compressor, wide).rows
    assert "lower --context-tokens" in too_long["skipped"]
    assert (too_long["n"], short["n"], short["ratio"]) == (0, 4, None)


def test_arrivals_depend_on_the_seed_alone_and_come_as_often_as_the_rate_says() -> None:
    arrivals = arrival_seconds(4.0, 2000, seed=3)
    assert arrivals == arrival_seconds(4.0, 2000, seed=3) != arrival_seconds(4.0, 2000, seed=4)
    assert arrival_seconds(8.0, 2000, seed=3) == pytest.approx([arrival / 2 for arrival in arrivals])
    gaps = [later - earlier for earlier, later in zip([0.0, *arrivals], arrivals, strict=False)]
    # Gaps of a Poisson process have one mean and deviation.
    assert min(gaps) > 0
    assert statistics.mean(gaps) == pytest.approx(0.25, rel=0.1)
    assert statistics.stdev(gaps) == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize(("start", "limit"), [(1.0, 23.0), (40.0, 3.0), (5.0, 5.0), (0.3, 0.31)])
def test_a_search_ends_with_the_highest_rate_of_the_grid_that_passes(start: float, limit: float) -> None:
    best, tested = found_by(RateSearch(start), limit)
    assert best is not None
    assert best <= limit < best * 2**0.25 * 1.000001
    assert len(tested) == len(set(tested)) and tested[0] <= start
    assert found_by(RateSearch(start * 1.7), limit)[0] == best


def test_a_search_gives_up_where_nothing_passes() -> None:
    best, tested = found_by(RateSearch(1.0), 0.0)
    assert best is None
    assert min(tested) == 2.0**-MAX_HALVINGS


def test_percentiles_count_what_was_never_answered() -> None:
    values = [float(value) for value in range(1, 41)]
    assert [percentile(values, percent) for percent in (50, 95, 99)] == [20.0, 38.0, 40.0]
    unanswered = [*values[:38], float("inf"), float("inf")]
    assert [percentile(unanswered, percent) for percent in (95, 99)] == [38.0, None]
    assert percentile([], 95) is None


def test_a_server_that_is_too_slow_lets_questions_wait_ever_longer(compressor: Compressor) -> None:
    options = replace(TINY, max_batch_size=1, corpora=2)
    with serving_corpora(compressor, options, None) as served:
        way = ServedWay("full", False)
        assert served.refusal(way) is None
        questions = served.questions(40, seed=0)
        assert {asked.corpus for asked in questions} == {"corpus-0", "corpus-1"}

        arrivals = arrival_seconds(1000.0, len(questions), 0)
        load = put_open_load(served.url, way.mode, questions, arrivals, options.new_tokens)
    answers = [outcome for outcome in load.outcomes if isinstance(outcome, ServedAnswer)]
    assert len(answers) == len(questions)
    # Nobody waits for an answer before asking: who comes last waits for all the others.
    seconds = [answer.answer_seconds for answer in answers]
    assert statistics.mean(seconds[30:]) > statistics.mean(seconds[:10])


def test_questions_beyond_those_that_may_wait_are_refused_and_break_the_bound(compressor: Compressor) -> None:
    served = replace(TINY, max_batch_size=1, max_waiting=1, new_tokens=60)
    options = OpenLoopOptions(served, rates=(1000.0,), p95_seconds=0.001, requests=20, repeats=1)
    for row in measure_open_loop(compressor, options).rows:
        assert row["refused"] > 1 and row["failed"] == 0
        assert row["answer_seconds_p95"] is None and row["answer_seconds_p50"] is None
        assert (row["keeps_bound"], row["is_best"], row["ratio"]) == (False, False, None)


def test_rates_that_are_found_keep_the_bound_and_their_ratio_is_the_headline(compressor: Compressor) -> None:
    options = OpenLoopOptions(TINY, p95_seconds=1.0, requests=10, repeats=1, load_bounds=2)
    rows = measure_open_loop(compressor, options).rows
    best = {row["mode"]: row for row in rows if row["is_best"]}
    assert list(best) == ["full", "compressed"]
    for mode, row in best.items():
        rate = row["offered_per_second"]
        assert row["keeps_bound"] and row["answer_seconds_p95"] <= 1.0
        assert row["n"] >= 2 * rate and row["n"] >= 10
        assert row["ratio"] == rate / best["full"]["offered_per_second"]
        above = [row for row in rows if row["mode"] == mode and row["offered_per_second"] > rate]
        assert above and not any(item["keeps_bound"] for item in above)
    assert all((row["ratio"] is None) != row["is_best"] for row in rows)


def test_the_best_of_given_rates_is_compared_with_full_text_and_with_full_text_that_was_read_before(
    compressor: Compressor,
) -> None:
    served = replace(TINY, prefix_cache_mb=16)
    rows = measure_open_loop(compressor, OpenLoopOptions(served, (4.0, 8.0), 60.0, 4, 1, load_bounds=0)).rows
    assert [(row["mode"], row["offered_per_second"]) for row in rows] == [
        (mode, rate) for mode in ("full", "compressed", "full, cached", "compressed, cached") for rate in (4.0, 8.0)
    ]
    assert [(row["n"], row["keeps_bound"]) for row in rows] == [(4, True)] * 8
    assert [(row["ratio"], row["ratio_cached"]) for row in rows] == [(None, None), (1.0, 1.0)] * 4
    assert [row["cached_tokens"] > 0 for row in rows] == [False] * 4 + [True] * 4


def test_the_headline_says_what_soft_prompts_reached_where_the_text_reached_nothing(compressor: Compressor) -> None:
    results = measure_open_loop(compressor, OpenLoopOptions(TINY, (4.0,), 60.0, 2, 1, load_bounds=0))
    full, compressed = results.rows
    alone = ({**full, "is_best": False, "ratio": None}, {**compressed, "ratio": None})
    said = headline(replace(results, rows=alone))
    assert "at 4 requests a second (compressed), and at no rate that was tried when it reads the text" in said
    assert headline(replace(results, rows=alone[:1])) == "There was nothing to compare."
    skipped = {**alone[0], "offered_per_second": None, "skipped": "the model read only 9 tokens"}
    said = headline(replace(results, rows=(skipped, alone[1])))
    assert said.endswith(
        "(compressed); the text was not measured. There was nothing to compare: the model read only 9 tokens."
    )


def test_the_command_measures_given_rates_and_writes_files(lloco: Run, tmp_path: Path) -> None:
    tiny, out = save_compressor(tmp_path / "tiny"), tmp_path / "out"
    flags = ("--rates", "5,20", "--requests", 8, "--context-tokens", 30, "--new-tokens", 3, "--corpora", 2)
    printed = lloco.json("bench", "serve", "--compressor", tiny, *flags, "--out", out)
    assert [(row["mode"], row["offered_per_second"], row["n"]) for row in printed["rows"]] == [
        ("full", 5, 16), ("full", 20, 16), ("compressed", 5, 16), ("compressed", 20, 16),
    ]  # fmt: skip
    assert printed["machine"]["options"]["corpora"] == 2
    assert json.loads((out / "results.json").read_text()) == printed
    assert (out / "open_loop.csv").is_file() and (out / "answers.png").is_file()


def test_a_shape_with_random_weights_is_served_as_a_trained_model_is(lloco: Run, tmp_path: Path) -> None:
    shape = tmp_path / "config.json"
    config: dict[str, Any] = {
        "model_type": "llama", "vocab_size": 4096, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1,
    }  # fmt: skip
    shape.write_text(json.dumps(config))
    flags = ("--context-tokens", 1700, "--documents", 1, "--clients", 1, "--questions", 1, "--repeats", 1)
    rows = lloco.json("bench", "serve", "--random-weights", shape, *flags)["rows"]
    full, compressed = rows
    assert full["prompt_tokens"] - compressed["prompt_tokens"] > 1700 - 2 * 50 - 1
    shape.write_text(json.dumps({**config, "vocab_size": 50}))
    assert "set vocab_size to 4,096" in lloco.fails("bench", "serve", "--random-weights", shape, *flags)


@pytest.mark.parametrize(
    ("flags", "code", "reason"),
    [
        (("--rates", "1,x"), 2, "numbers above 0"),
        (("--rates", "1,1"), 2, "each once"),
        (("--p95-seconds", "0"), 2, "above 0 seconds"),
        (("--rates", "1", "--clients", "2"), 2, "leave one out"),
        (("--corpora", "9"), 2, "from 1 to 8"),
        (("--engine", "wibble"), 2, "wibble"),
    ],
)
def test_what_cannot_be_measured_is_refused(lloco: Run, flags: tuple[str, ...], code: int, reason: str) -> None:
    assert reason in lloco.fails("bench", "serve", *flags, code=code)


def test_an_open_loop_wants_rates_or_a_bound(compressor: Compressor) -> None:
    with pytest.raises(LlocoError, match="p95_seconds"):
        measure_open_loop(compressor, OpenLoopOptions(TINY))
