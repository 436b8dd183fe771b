"""Benches: their arithmetic against numbers worked out by hand, and what they feed. Times themselves are not tested."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.main import main
from benchmarks.retrieval import questions_and_documents, recall_of_documents
from benchmarks.store import StoreBenchOptions, measure_store, synthetic_document
from lloco.bench.compress import (
    CompressBenchOptions,
    compress_naively,
    compress_work,
    make_documents,
    measure_compress,
    random_compressor,
)
from lloco.bench.finetune import FinetuneBenchOptions, measure_finetune
from lloco.bench.latency import LatencyOptions, answer, make_prompts, measure_latency
from lloco.bench.measure.floor import ModelCost
from lloco.bench.measure.memory import NoMemoryError, check_fits
from lloco.bench.measure.turns import Way, take_turns
from lloco.bench.show.columns import skipped_rows
from lloco.bench.show.headline import headline
from lloco.bench.show.report import render_bench_report
from lloco.bench.show.results import BenchResults
from lloco.compressors.local import LocalCompressor
from lloco.compressors.local_encoder import LocalDesign, new_local_encoder
from lloco.documents.document import Document
from lloco.engine.engine import SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.tasks.sample import Sample
from tests.command import Run, write_lines
from tests.embedders import save_synonym_embedder
from tests.test_report import Page
from tests.tiny import tiny_decoder, tiny_llama

LLAMA = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}


@pytest.fixture
def lloco(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


@pytest.fixture
def benchmarks(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys, main)


def said_of(results: BenchResults) -> str:
    """The headline, which the page shows above a chart for every plot and a cell for every figure of the table."""
    page = Page(render_bench_report(results, command="lloco bench it"))
    assert headline(results) in page.text and "lloco bench it" in page.text
    assert page.count("figure") == sum(bool(plot.lines) for plot in results.plots())
    for plot in results.plots():
        assert len(list(csv.reader(plot.csv().splitlines()))) == 1 + sum(len(line.points) for line in plot.lines)
    return headline(results)


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA))
    return file


def test_the_floor_of_a_decoder_is_the_one_counted_by_hand() -> None:
    """Width 48, 4 heads of 12, 2 key heads, 96 between, 2 layers, 272 words, float32, tables not shared."""
    cost = ModelCost.of(tiny_llama(tie_word_embeddings=False))
    body = 2 * (48 * 48 + 2 * 48 * 24 + 48 * 48 + 3 * 48 * 96)
    head, norms = 272 * 48, 5 * 48
    assert (cost.body_weights, cost.head_weights) == (body, head)
    assert cost.weight_bytes == 4 * (body + 2 * head + norms)
    assert cost.read_bytes == 4 * (body + head + norms)
    assert cost.kv_cache_bytes(10) == 2 * 2 * 24 * 4 * 10
    decode = cost.decode(10, batch_size=3)
    assert decode.flops == 3 * (2 * (body + head) + 4 * 2 * 48 * 10)
    assert decode.num_bytes == cost.read_bytes + 3 * cost.kv_cache_bytes(10)
    assert cost.prefill(4).flops == 2 * body * 4 + 2 * head + 4 * 2 * 48 * (1 + 2 + 3 + 4)


def test_a_shared_table_is_the_output_layer_and_is_read() -> None:
    cost = ModelCost.of(tiny_llama(tie_word_embeddings=True))
    assert cost.read_bytes == cost.weight_bytes


def test_latency_feeds_the_context_or_its_share_of_vectors() -> None:
    decoder, options = tiny_decoder(), LatencyOptions(ratio=30, question_tokens=5, batch_size=2)
    full, compressed = (make_prompts(decoder, options, 100, mode) for mode in ("full", "compressed"))
    assert [len(prompt.pieces[0]) for prompt in full] == [100, 100]
    assert [tuple(prompt.pieces[0].shape) for prompt in compressed] == [(4, 48), (4, 48)]
    assert [prompt.length for prompt in (*full, *compressed)] == [105, 105, 9, 9]
    assert all(torch.equal(a.pieces[1], b.pieces[1]) for a, b in zip(full, compressed, strict=True))


def test_an_answer_of_the_latency_bench_takes_as_many_steps_as_the_engine_writes_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = tiny_decoder()
    prompts = make_prompts(decoder, LatencyOptions(question_tokens=5), 60, "compressed")
    lengths: list[int] = []
    forward = decoder.model.forward

    def counted(**inputs: Any) -> Any:
        lengths.append(inputs["attention_mask"].shape[1])
        return forward(**inputs)

    monkeypatch.setattr(decoder.model, "forward", counted)
    assert answer(decoder, prompts, 6).answer_seconds > 0
    ours, lengths[:] = list(lengths), []
    TransformersEngine(decoder).generate(prompts, SamplingParams(max_tokens=6))
    assert ours == [7, 8, 9, 10, 11, 12]
    assert len(lengths) <= 6  # the engine may meet an end token


def test_ratios_are_the_full_contexts_figures_over_the_compressed_ones() -> None:
    runs: list[tuple[int, int]] = []
    options = LatencyOptions(contexts=(64, 2000), ratio=8, new_tokens=3, repeats=2)
    results = measure_latency(tiny_decoder(), options, lambda done, total: runs.append((done, total)))
    full, compressed, too_long, long = results.rows
    assert [row["mode"] for row in results.rows] == ["full", "compressed"] * 2
    assert (compressed["context_tokens"], compressed["virtual_tokens"], full["virtual_tokens"]) == (64, 8, 0)
    assert compressed["ratio"] == pytest.approx(full["per_token_seconds"] / compressed["per_token_seconds"])
    assert compressed["ratio_first_token"] == pytest.approx(
        full["first_token_seconds"] / compressed["first_token_seconds"]
    )
    assert full["ratio"] == 1.0
    assert full["floor_fraction"] == pytest.approx(full["floor_per_token_seconds"] / full["per_token_seconds"])
    assert (full["n"], too_long["n"], long["n"]) == (2, 0, 2)
    assert "2,035 positions" in too_long["skipped"]
    assert too_long["ratio"] is long["ratio"] is None
    assert sum(done for done, _ in runs) == runs[0][1] == 12
    said = said_of(results)
    assert said.startswith("At 64 context tokens, the model writes a token in ") and "8 vectors stand for" in said
    assert f"{compressed['ratio']:.2f} times as fast, " in said
    assert f"{100 * compressed['floor_fraction']:.0f} % of that speed is reached" in said
    per_token = results.plots()[0]
    assert [line.name for line in per_token.lines] == ["full", "compressed", "full: limit", "compressed: limit"]
    assert [len(line.points) for line in per_token.lines] == [1, 2, 2, 2]  # the longer text was not measured
    nothing = said_of(replace(results, rows=(too_long, long)))
    assert nothing.startswith("There was nothing to compare: ") and "2,035 positions" in nothing


def test_the_naive_way_and_ours_make_the_same_vectors() -> None:
    compressor = random_compressor(tiny_decoder(), segment_len=16, summary_length=4)
    documents = make_documents(compressor, CompressBenchOptions(documents=3), 50)
    ours = compressor.compress_ids(documents, batch_size=3, long_documents="windows")
    for naive, one in zip(compress_naively(compressor, documents), ours, strict=True):
        assert one.shape == (16, 48)
        torch.testing.assert_close(naive, one, atol=1e-4, rtol=1e-4)


def test_the_work_of_compressing_is_every_segments_row_with_the_vectors_before_it() -> None:
    compressor = random_compressor(tiny_decoder(), segment_len=16, summary_length=4)
    cost = ModelCost.of(compressor.decoder.model)
    work = compress_work(compressor, cost, CompressBenchOptions(documents=2), 40, batch_size=2)
    rows = (0 + 16 + 4, 4 + 16 + 4, 8 + 8 + 4)
    assert work.flops == 2 * sum(cost.encode(row).flops for row in rows)
    assert work.num_bytes == 3 * cost.encode(1).num_bytes


def test_bench_compress_has_a_row_for_the_naive_way_and_each_batch_size() -> None:
    compressor = random_compressor(tiny_decoder(), segment_len=16, summary_length=4)
    results = measure_compress(compressor, CompressBenchOptions((32,), (1, 2), documents=2, repeats=1))
    naive, one, two = results.rows
    assert [row["mode"] for row in results.rows] == ["naive", "batch 1", "batch 2"]
    assert naive["ratio"] == 1.0
    assert two["ratio"] == pytest.approx(two["tokens_per_second"] / naive["tokens_per_second"])
    assert one["floor_flops"] == two["floor_flops"]
    best = max(one, two, key=lambda row: row["ratio"])
    said = said_of(results)
    assert (
        f"({best['mode']}), {best['ratio']:.2f} times the naive way's" in said
        and "best ratio of 2 rows: tokens a second over the naive way's." in said
    )


def test_bench_finetune_compares_samples_a_second_of_the_two_modes() -> None:
    options = FinetuneBenchOptions(contexts=(90,), ratio=30, batch_size=2, num_steps=1, repeats=1)
    results = measure_finetune(tiny_decoder(), options)
    full, compressed = results.rows
    assert (full["mode"], compressed["mode"]) == ("full", "compressed")
    assert compressed["ratio"] == pytest.approx(compressed["samples_per_second"] / full["samples_per_second"])
    assert compressed["floor_samples_per_second"] > 2 * full["floor_samples_per_second"]
    assert f"when it is text: {compressed['ratio']:.2f} times as many" in said_of(results)


def test_bench_store_grows_one_corpus_a_storage_dtype_and_leaves_nothing_behind(tmp_path: Path) -> None:
    options = StoreBenchOptions(100, ("float32", "int8"), virtual_tokens=32, hidden_size=128)
    results = measure_store(options, tmp_path)
    assert {row["storage_dtype"] for row in results.rows} == {"float32", "int8"}
    assert all(row["documents"] == 100 and row["retrieved_right"] > 0.5 for row in results.rows)
    plain, small = results.rows
    assert all(row["index_bytes_per_document"] > 500 for row in results.rows)  # texts have 150 words
    assert plain["floor_fraction"] == plain["ingest_documents_per_second"] / plain["floor_documents_per_second"]
    assert small["disk_bytes_per_document"] < plain["disk_bytes_per_document"]
    assert plain["quantisation_error"] == 0 < small["quantisation_error"]
    assert list(tmp_path.iterdir()) == []
    assert "With 100 documents stored as int8, one is looked up in" in said_of(results)
    for row, end in ((plain, " KB of disk."), (small, "times less than in float32.")):
        said = said_of(replace(results, rows=(row, {**row, "documents": 300})))
        assert said.startswith(f"With 300 documents stored as {row['storage_dtype']}, one is") and said.endswith(end)


def test_a_way_that_runs_out_of_memory_later_is_left_out_and_the_others_go_on() -> None:
    lengths = iter((1, 1, 50))

    def read() -> int:
        if (length := next(lengths)) > 10:
            raise MemoryError
        return length

    ways = [Way("long", read, 0), Way("short", lambda: 1, 0)]
    take_turns(ways, 3, torch.device("cpu"), lambda: None)
    assert (ways[0].measured, ways[1].measured) == ([], [1, 1, 1])
    assert ways[0].skipped is not None and "out of memory" in ways[0].skipped


def test_a_batch_of_documents_is_measured_with_as_many_documents() -> None:
    compressor = random_compressor(tiny_decoder(), segment_len=16, summary_length=4)
    results = measure_compress(compressor, CompressBenchOptions((16,), (3,), documents=1, repeats=1))
    assert results.options["documents"] == 3
    assert [row["mode"] for row in results.rows] == ["naive", "batch 3"]


def test_bench_retrieval_counts_what_is_found_by_words_and_by_meaning(tmp_path: Path, benchmarks: Run) -> None:
    lines = [
        {"id": "sea", "text": "The brig left Leith.", "questions": [{"question": "Which brig?", "answers": ["brig"]}]},
        {"id": "land", "text": "A loaf.", "questions": [{"question": "What bread is it?", "answers": ["A loaf"]}]},
        {"id": "sky", "text": "Stars shine.", "questions": [{"question": "Stars?", "answers": ["not in the text"]}]},
    ]
    data = write_lines(tmp_path / "data.jsonl", *lines)
    embedder = save_synonym_embedder(tmp_path / "embedder")
    flags = ("--task", "jsonl", "--data", data, "--embedder", embedder, "--top-k", "1,2", "--out", tmp_path / "out")
    rows = benchmarks.json("retrieval", *flags)["rows"]
    recall = {(row["method"], row["found"], row["top_k"]): row["recall"] for row in rows}
    assert recall["bm25", "document", 1] == pytest.approx(100 * 2 / 3)
    assert recall["bm25", "passage", 2] == pytest.approx(100 / 3)
    assert recall["hybrid", "document", 1] == 100
    assert recall["hybrid", "passage", 1] == recall["dense", "passage", 1] == pytest.approx(100 * 2 / 3)
    assert {row["n"] for row in rows} == {3}
    assert (tmp_path / "out" / "recall.png").stat().st_size > 1000
    shown = Page((tmp_path / "out" / "report.html").read_text()).text
    assert "finds the passage for 66.7 % of 3 questions, bm25 for 33.3 %: 2.00 times as many." in shown
    flags = ("--task", "jsonl", "--data", data, "--top-k", "1,2", "--out", tmp_path / "words")
    assert benchmarks("retrieval", *flags) == 0
    shown = Page((tmp_path / "words" / "report.html").read_text()).text
    assert "Among the first 2, bm25 finds the " in shown
    assert "times as many" not in shown and "the best ratio of" not in shown
    assert benchmarks("retrieval", "--task", "jsonl", "--data", write_lines(tmp_path / "one.jsonl", lines[0])) == 1
    assert "at least 2 documents" in benchmarks.err


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system has only UTF-8 names")
def test_data_whose_name_is_not_utf_8_is_told_of_in_every_file(tmp_path: Path, benchmarks: Run) -> None:
    asked = {"text": "The brig left.", "questions": [{"question": "Which brig?", "answers": ["brig"]}]}
    data = write_lines(tmp_path / "q\udce9.jsonl", {**asked, "id": "sea"}, {**asked, "id": "land", "text": "A loaf."})
    printed = benchmarks.json("retrieval", "--task", "jsonl", "--data", data, "--out", tmp_path / "out")
    assert printed["machine"]["options"]["data"] == str(data)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == printed
    assert r"q\udce9.jsonl" in (tmp_path / "out" / "report.html").read_text()
    results = BenchResults("store", ({"data": str(data)},), {}, {}, {})
    results.save(tmp_path / "rows")
    assert json.loads((tmp_path / "rows" / "results.json").read_text()) == results.to_dict()
    assert (tmp_path / "rows" / "store.csv").read_text().endswith("q\\udce9.jsonl\n")


def test_a_row_of_no_ratio_and_no_length_is_named_by_its_way_alone() -> None:
    row = {"mode": "full", "wanted_ratio": None, "document_tokens": None, "skipped": "too long"}
    asked = [{**row, "mode": "dense", "wanted_ratio": ratio} for ratio in (6, 12)]
    long = {**row, "document_tokens": 9000}
    assert skipped_rows([row, *asked]) == [
        "full: not measured: too long", "ratios 6, 12, dense: not measured: too long"
    ]  # fmt: skip
    assert skipped_rows([long]) == ["9,000 tokens, full: not measured: too long"]


def test_a_date_with_its_time_is_a_seed() -> None:
    options = [StoreBenchOptions(virtual_tokens=2, hidden_size=4, seed=seed) for seed in (20260115093000, 0)]
    dated, other = (synthetic_document(1, option)[1].embeds for option in options)
    assert not torch.equal(dated, other)


def test_bench_retrieval_looks_for_the_paragraphs_of_supporting_facts() -> None:
    text = "Leith\nA port.\n\nOslo\nA city.\n\nRome\nAnother."
    facts = (("Leith", 0), ("Rome", 0))
    sample = Sample("1", "hotpotqa", "Which?", Document("d", text), ("yes",), supporting_facts=facts)
    documents, [wanted] = questions_and_documents([sample])
    assert [document.id for document in documents] == ["Leith", "Oslo", "Rome"]
    assert recall_of_documents(["Rome", "Oslo"], wanted, 2) == 0.5
    assert recall_of_documents(["Rome", "Leith"], wanted, 2) == 1.0


def test_what_does_not_fit_the_memory_is_refused_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lloco.bench.measure.memory.available_bytes", lambda device: 8 << 30)
    with pytest.raises(NoMemoryError, match=r"this row needs about 1,000,000,000\.0 GB"):
        check_fits(10**18, torch.device("cpu"), "this row")


def test_a_context_larger_than_the_memory_is_a_row_that_says_so(
    lloco: Run, shape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lloco.bench.measure.memory.available_bytes", lambda device: 8 << 30)
    wide = shape.parent / "wide.json"
    wide.write_text(json.dumps({**LLAMA, "num_hidden_layers": 1, "hidden_size": 4096, "num_attention_heads": 1}))
    flags = ("--contexts", "100000000", "--ratio", "100000000", "--new-tokens", 2, "--repeats", 1)
    full, compressed = lloco.json("bench", "latency", "--random-weights", wide, *flags, "--quiet")["rows"]
    assert "GB are free" in full["skipped"]
    assert compressed["skipped"] is None and compressed["virtual_tokens"] == 1


def test_bench_prints_rows_and_machine_and_writes_files(lloco: Run, shape: Path, tmp_path: Path) -> None:
    """`--random-weights` reads contexts longer than the config's positions."""
    out = tmp_path / "out"
    flags = ("--contexts", "96", "--new-tokens", 2, "--repeats", 1, "--out", out)
    printed = lloco.json("bench", "latency", "--random-weights", shape, *flags)
    assert set(printed) == {"rows", "machine"}
    assert [row["skipped"] for row in printed["rows"]] == [None, None]
    assert printed["machine"]["matmul_flops_per_second"] > 0
    assert printed["machine"]["options"]["contexts"] == [96]
    assert json.loads((out / "results.json").read_text()) == printed
    with (out / "latency.csv").open() as file:
        assert [row["mode"] for row in csv.DictReader(file)] == ["full", "compressed"]
    is_measured = all(row["peak_memory_bytes"] is not None for row in printed["rows"])
    for name in ("per_token", "first_token", *(["memory"] if is_measured else [])):
        assert (out / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        with (out / f"{name}.csv").open() as file:
            assert {"full", "compressed"} <= {row["line"] for row in csv.DictReader(file)}
    page = Page((out / "report.html").read_text())
    assert page.count("svg") and "Run it again lloco " in page.text
    assert f"open {out / 'report.html'} in a browser" in lloco.err
    argv = ("bench", "latency", "--random-weights", shape, *flags)
    assert "ratio 30.0 (now 15.0)" in lloco.fails(*argv, "--ratio", 15)
    assert json.loads((out / "results.json").read_text()) == printed
    assert lloco(*argv) == 0


@pytest.mark.parametrize(
    ("flags", "code", "reason"),
    [
        (("latency", "--contexts", "12,x"), 2, "whole numbers"),
        (("latency", "--contexts", "12,12"), 2, "each number once"),
        (("latency", "--ratio", "0.5"), 2, "at least 1"),
        (("latency", "--new-tokens", "1"), 2, "at least 2"),
        (("latency", "--model", "no/such/folder"), 1, "no/such/folder"),
        (("latency", "--random-weights", "no-such.json"), 1, "no-such.json"),
        (("compress", "--batch-sizes", "0"), 2, "at least 1"),
        (("latency", "--out", __file__), 1, "test_bench.py"),
        (("wibble",), 2, "wibble"),
    ],
)
def test_what_a_bench_cannot_measure_is_refused(lloco: Run, flags: tuple[str, ...], code: int, reason: str) -> None:
    assert reason in lloco.fails("bench", *flags, code=code)


@pytest.mark.parametrize(("dtypes", "reason"), [("int3", "int3"), ("int8,int8", "each type once")])
def test_a_storage_dtype_that_is_none_or_comes_twice_is_refused(benchmarks: Run, dtypes: str, reason: str) -> None:
    assert reason in benchmarks.fails("store", "--storage-dtypes", dtypes, code=2)


@pytest.mark.parametrize("design", ["pooling", "interleaved"])
def test_bench_compress_measures_local_designs_beside_one_window_at_a_time(design: LocalDesign) -> None:
    decoder = tiny_decoder()
    encoder = new_local_encoder(decoder, design, summary_length=4)
    compressor = LocalCompressor(decoder, encoder, segment_lens=(16,), window_len=32).eval()
    naive, one, two = measure_compress(compressor, CompressBenchOptions((40,), (1, 2), documents=2, repeats=1)).rows
    assert [row["mode"] for row in (naive, one, two)] == ["naive", "batch 1", "batch 2"]
    assert naive["ratio"] == 1 and two["ratio"] == pytest.approx(two["tokens_per_second"] / naive["tokens_per_second"])
    # Windows of 32 and 8 tokens, in two documents; an interleaved row also has 8 and 2 summary tokens.
    rows = [32, 8] if design == "pooling" else [40, 10]
    weights = sum(weight.numel() for weight in encoder.body.parameters() if weight.ndim > 1)
    behind = 2 * 48 * 2 * 48  # from states to vectors, of which 40 tokens have 10
    pairs = [row * row if design == "pooling" else row * (row + 1) // 2 for row in rows]
    assert two["floor_flops"] == 2 * 2 * behind * 10 + sum(
        2 * 2 * weights * row + 2 * pair * 4 * 2 * 48 for row, pair in zip(rows, pairs, strict=True)
    )
    summaries = 0 if encoder.summaries is None else encoder.summaries.numel()
    assert one["floor_bytes"] == 2 * two["floor_bytes"] == 4 * 4 * (weights + behind + summaries)
