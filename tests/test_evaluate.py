"""Evaluation over modes with a tiny random model: rows, files, resumption, and the data behind the pictures."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.cli.results_table import results_table
from lloco.documents.document import Document
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import DataError, LlocoError, MismatchError
from lloco.evals.evaluate import EvaluateOptions, evaluate
from lloco.evals.mode import ADAPTER_SUFFIX, DEFAULT_MODES
from lloco.evals.plots import needle_grid, needle_grids, write_plots
from lloco.evals.results import ModeResult, Results, score_of
from lloco.evals.run.log import Prediction
from lloco.evals.run.settings import questions_digest
from lloco.evals.scorer import score
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.prompts.template import DEFAULT_TEMPLATE
from lloco.tasks.needle import build_needles
from lloco.tasks.sample import Sample
from tests.test_predict import CountingEngine, compressor, document, num_tokens, samples

OPTIONS = EvaluateOptions(max_tokens=6, batch_size=4)


def save_random_adapter(folder: Path) -> Path:
    decoder = compressor().decoder
    model = attach_adapter(decoder, LoraOptions(r=4, alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) * 0.5
    wording = replace(DEFAULT_TEMPLATE, name="of the adapter", question="{question} ")
    save_adapter(model, folder, decoder=decoder, template=wording)
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_adapter(tmp_path_factory.mktemp("adapters") / "adapter")


@pytest.fixture(scope="module")
def whole(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    tiny, out = compressor(), tmp_path_factory.mktemp("whole")
    results = evaluate(
        "jsonl",
        samples(),
        TransformersEngine(tiny.decoder),
        replace(OPTIONS, adapter=adapter),
        soft_prompt_of=tiny.compress,
        out=out,
        provenance={"command": "lloco evaluate --task jsonl"},
    )
    return results, out


def needle_results() -> Results:
    """Needles of two lengths and three depths; found by `compressed` where the depth is 0, by `full` everywhere."""
    asked = build_needles([40, 80], [0.0, 0.5, 1.0], num_per_cell=2)
    rows = []
    for mode in ("compressed", "full"):
        texts = {item.id: item.references[0] if mode == "full" or item.depth == 0 else "no" for item in asked}
        predictions = tuple(Prediction(name, text, 0, 5, 50) for name, text in texts.items())
        rows.append(ModeResult(mode, score("needle", asked, texts), predictions))
    return Results("needle", tuple(rows), tuple(asked), {}, {})


def test_rows_are_the_modes_with_and_without_the_adapter(whole: tuple[Results, Path]) -> None:
    results, out = whole
    modes = [f"{mode}{end}" for mode in DEFAULT_MODES for end in ("", ADAPTER_SUFFIX)]
    assert [row.mode for row in results.rows] == modes
    assert sorted(path.name for path in (out / "predictions").glob("*.json")) == sorted(
        f"{mode}.json" for mode in modes
    )
    texts = {mode: json.loads((out / "predictions" / f"{mode}.json").read_text()) for mode in modes}
    assert texts["compressed"] != texts["compressed+adapter"]
    assert results.options["templates"]["compressed+adapter"] == "of the adapter"
    assert results.options["templates"]["compressed"] == "default"


def test_results_json_has_the_promised_shape_and_says_where_it_is_from(whole: tuple[Results, Path]) -> None:
    results, out = whole
    written = json.loads((out / "results.json").read_text())
    assert written == json.loads(json.dumps(results.to_dict()))
    assert set(written) == {"task", "rows", "options", "versions"}
    row_keys = "mode n metrics stderr context_tokens virtual_tokens compression_ratio seconds num_cut"
    for row in written["rows"]:
        assert set(row_keys.split()) <= set(row)
        assert row["n"] == 9 and set(row["stderr"]) == set(row["metrics"]) == set(row["num_samples"])
        assert all(value is not None for value in row["stderr"].values())
    assert written["options"]["command"] == "lloco evaluate --task jsonl"
    assert written["options"]["seed"] == 0 and len(written["options"]["model_digest"]) == 64
    assert {"lloco", "python", "torch", "transformers", "peft"} <= set(written["versions"])


def test_token_counts_are_means_and_budgets_are_equal(whole: tuple[Results, Path]) -> None:
    tiny, asked = compressor(), samples()
    lengths = [num_tokens(tiny, sample.document.text) for sample in asked]
    virtual = [tiny.num_virtual_tokens(length) for length in lengths]
    rows = {row["mode"]: row for row in whole[0].to_dict()["rows"]}
    for mode in ("compressed", "compressed+adapter"):
        assert rows[mode]["virtual_tokens"] == pytest.approx(sum(virtual) / 9)
        assert rows[mode]["compression_ratio"] == pytest.approx(sum(lengths) / sum(virtual))
        assert rows[mode]["context_tokens"] == 0
    assert rows["full"]["context_tokens"] == pytest.approx(sum(lengths) / 9)
    assert rows["truncated"]["context_tokens"] == rows["compressed"]["virtual_tokens"]
    assert rows["retrieval"]["context_tokens"] <= rows["compressed"]["virtual_tokens"]
    assert rows["hybrid"]["context_tokens"] > 0 and rows["hybrid"]["virtual_tokens"] > 0
    assert rows["hybrid"]["context_tokens"] + rows["hybrid"]["virtual_tokens"] <= rows["compressed"]["virtual_tokens"]
    assert rows["none"]["context_tokens"] == rows["none"]["virtual_tokens"] == 0
    assert rows["none"]["compression_ratio"] is None
    assert all(row["seconds"] > 0 and row["num_cut"] == 0 for row in rows.values())


def test_scores_are_the_scorers(whole: tuple[Results, Path]) -> None:
    results, out = whole
    for row in results.rows:
        texts = json.loads((out / "predictions" / f"{row.mode}.json").read_text())
        assert row.scores == score("jsonl", samples(), texts)


def test_a_killed_evaluation_goes_on_and_makes_no_row_twice(
    whole: tuple[Results, Path], adapter: Path, tmp_path: Path
) -> None:
    tiny = compressor()
    engine = TransformersEngine(tiny.decoder)
    options, fetched = replace(OPTIONS, adapter=adapter), list[str]()

    def soft_prompt_of(document: Document) -> SoftPrompt:
        fetched.append(document.id)
        return tiny.compress(document)

    with pytest.raises(KeyboardInterrupt):
        evaluate(
            "jsonl",
            samples(),
            CountingEngine(engine, fail_after=8),
            options,
            soft_prompt_of=soft_prompt_of,
            out=tmp_path,
        )
    assert not (tmp_path / "results.json").exists()
    counting, done = CountingEngine(engine), list[tuple[str, int]]()
    fetched.clear()
    resumed = evaluate(
        "jsonl", samples(), counting, options, soft_prompt_of=soft_prompt_of, out=tmp_path,
        on_progress=lambda row, num: done.append((row, num)),
    )  # fmt: skip
    assert len(counting.prompts) == 12 * 9 - 2 * 9 - 8
    assert done[:2] == [("compressed", 9), ("compressed+adapter", 9)]
    for one, other in zip(resumed.rows, whole[0].rows, strict=True):
        assert (one.mode, one.scores) == (other.mode, other.scores)
    for path in (tmp_path / "predictions").glob("*.json"):
        assert path.read_bytes() == (whole[1] / "predictions" / path.name).read_bytes()


def test_another_run_in_the_folder_is_refused_and_changes_nothing(adapter: Path, tmp_path: Path) -> None:
    tiny, out = compressor(), tmp_path / "out"
    begun = replace(OPTIONS, modes=("none", "truncated"))

    def run(options: EvaluateOptions, asked: list[Sample] | None = None, **changes: object) -> Results:
        engine = TransformersEngine(replace(tiny.decoder, **changes))  # type: ignore[arg-type]
        return evaluate("jsonl", asked or samples(), engine, options, soft_prompt_of=tiny.compress, out=out)

    run(begun)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for options, what in (
        (replace(begun, modes=("none",)), r"modes none,truncated \(now none\)"),
        (replace(begun, max_tokens=7), r"max_tokens 6 \(now 7\)"),
        (replace(begun, seed=1), r"seed 0 \(now 1\)"),
        (replace(begun, context_budget=9), "context_budget None"),
        (replace(begun, adapter=adapter), "adapter None"),
    ):
        with pytest.raises(DataError, match=rf"holds a run with other options, which had {what}.*give another --out"):
            run(options)
    with pytest.raises(DataError, match=r"num_questions 9 \(now 5\), samples"):
        run(begun, samples()[:5])
    with pytest.raises(DataError, match=r"model [0-9a-f]{12}\.\.\. \(now other\): "):
        run(begun, digest="other")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    run(replace(begun, batch_size=2))
    (out / "run.json").unlink()
    with pytest.raises(DataError, match="other options"):
        run(begun)


def test_a_run_that_left_nothing_is_in_nobodys_way(tmp_path: Path) -> None:
    tiny = compressor()
    options = replace(OPTIONS, modes=("full",))
    with pytest.raises(LlocoError, match="no room is left"):
        evaluate("jsonl", samples(), TransformersEngine(tiny.decoder), replace(options, max_tokens=1020), out=tmp_path)
    assert len(evaluate("jsonl", samples(), TransformersEngine(tiny.decoder), options, out=tmp_path).rows) == 1


WAITING = """
    import sys, time
    from pathlib import Path
    import tests.test_evaluate as t
    def wait(row, num_done):
        print(num_done, flush=True)
        time.sleep(60)
    options = t.EvaluateOptions(modes=("none",), max_tokens=6, batch_size=4)
    t.evaluate("jsonl", t.samples(), t.TransformersEngine(t.compressor().decoder), options, out=Path(sys.argv[1]),
               on_progress=wait)
"""


def test_a_second_process_in_the_folder_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    options = replace(OPTIONS, modes=("none",))
    counting = CountingEngine(TransformersEngine(compressor().decoder))
    script = [sys.executable, "-c", textwrap.dedent(WAITING), str(tmp_path)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "4\n"
        with pytest.raises(DataError, match="another process is writing its results to"):
            evaluate("jsonl", samples(), counting, options, out=tmp_path)
        os.kill(process.pid, signal.SIGKILL)
    assert counting.prompts == []
    evaluate("jsonl", samples(), counting, options, out=tmp_path)
    assert len(counting.prompts) == 5


def test_rows_that_need_only_a_budget_fetch_no_soft_prompt_again(tmp_path: Path) -> None:
    tiny, fetched = compressor(), list[str]()

    def soft_prompt_of(document: Document) -> SoftPrompt:
        fetched.append(document.id)
        return tiny.compress(document)

    options = replace(OPTIONS, modes=("compressed", "truncated", "retrieval"))
    for out in (None, tmp_path):
        fetched.clear()
        evaluate("jsonl", samples(), TransformersEngine(tiny.decoder), options, soft_prompt_of=soft_prompt_of, out=out)
        assert fetched == ["story-0", "story-1", "story-2"]


def test_an_explicit_template_words_every_row(adapter: Path) -> None:
    tiny = compressor()
    counting = CountingEngine(TransformersEngine(tiny.decoder))
    options = replace(OPTIONS, modes=("none", "none+adapter"), adapter=adapter)
    evaluate("jsonl", samples(1, 1), counting, options, template=replace(DEFAULT_TEMPLATE, question="Tell: {question}"))
    tokenizer = tiny.decoder.require_tokenizer()
    worded = [tokenizer.decode(prompt.pieces[0]) for prompt in counting.prompts]
    assert len(worded) == 2 and all(item.startswith("Tell: Who keeps") for item in worded)


def test_what_cannot_be_evaluated_is_said_before_the_first_answer(adapter: Path, tmp_path: Path) -> None:
    tiny, asked = compressor(), samples()
    engine = CountingEngine(TransformersEngine(tiny.decoder), fail_after=0)
    unanswered = [replace(asked[0], references=())]
    with pytest.raises(DataError, match="reference"):
        evaluate("jsonl", unanswered, engine, OPTIONS, soft_prompt_of=tiny.compress)
    with pytest.raises(LlocoError, match="mode retrieval needs"):
        evaluate("jsonl", asked, engine, replace(OPTIONS, modes=("none", "retrieval")))
    choice = [*asked, replace(asked[0], id="choice", options=("person", "nobody"), gold_letter="A")]
    with pytest.raises(LlocoError, match="use a template made for this task"):
        evaluate("jsonl", choice, engine, OPTIONS, soft_prompt_of=tiny.compress, template=DEFAULT_TEMPLATE)
    other = CountingEngine(TransformersEngine(replace(tiny.decoder, digest="another")), fail_after=0)
    with pytest.raises(MismatchError, match="was made for"):
        evaluate("jsonl", asked, other, replace(OPTIONS, adapter=adapter), soft_prompt_of=tiny.compress)
    for modes, what in ((("fool",), "no mode 'fool'"), ((), "at least one mode"), (("none", "none"), "twice")):
        with pytest.raises(LlocoError, match=what):
            EvaluateOptions(modes=modes)
    with pytest.raises(LlocoError, match="ask for an adapter"):
        EvaluateOptions(modes=("full+adapter",))
    assert EvaluateOptions().rows == DEFAULT_MODES
    assert EvaluateOptions(modes=("full+adapter", "compressed"), adapter=adapter).rows == ("full+adapter", "compressed")


def test_needle_grid_has_every_length_and_depth() -> None:
    results = needle_results()
    grids = needle_grids(results)
    assert [grid.mode for grid in grids] == ["compressed", "full"]
    assert [grid.n for grid in grids] == [12, 12]
    assert grids[0].lengths == (40, 80) and grids[0].depths == (0.0, 0.5, 1.0)
    assert grids[0].found == ((100.0, 100.0), (0.0, 0.0), (0.0, 0.0))
    assert grids[1].found == ((100.0, 100.0),) * 3
    gap = [sample for sample in results.samples if (sample.length, sample.depth) != (80, 0.5)]
    holed = needle_grid(gap, results.rows[0])
    assert holed is not None and holed.found[1] == (0.0, None)


def test_plots_are_written_and_a_heat_map_only_for_needles(whole: tuple[Results, Path], tmp_path: Path) -> None:
    assert sorted(path.name for path in whole[1].glob("*.png")) == ["scores.png", "tokens.png"]
    assert needle_grids(whole[0]) == []
    paths = write_plots(needle_results(), tmp_path / "plots")
    names = [f"{name}.{kind}" for name in ("scores", "tokens", "needle") for kind in ("png", "csv")]
    assert [path.name for path in paths] == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths[::2])
    assert paths[1].read_text().splitlines()[0] == "mode,n,needle,stderr"
    assert "compressed,80,0.5,0.0" in paths[5].read_text().splitlines()


def test_evaluating_needles_draws_their_heat_map(tmp_path: Path) -> None:
    asked = build_needles([60, 90], [0.0, 1.0])
    tiny = compressor()
    options = EvaluateOptions(modes=("compressed", "none"), max_tokens=4)
    results = evaluate(
        "needle", asked, TransformersEngine(tiny.decoder), options, soft_prompt_of=tiny.compress, out=tmp_path
    )
    assert (tmp_path / "needle.png").stat().st_size > 1000
    assert [(grid.lengths, grid.depths) for grid in needle_grids(results)] == [((60, 90), (0.0, 1.0))] * 2


def test_the_table_shows_every_mean_with_its_error_and_n(whole: tuple[Results, Path]) -> None:
    table = results_table(whole[0])
    assert "not shown: rouge2, rougeL, rouge_geometric_mean" in table
    for row in whole[0].rows:
        line = next(line for line in table.splitlines() if f" {row.mode} " in line)
        assert f" {row.scores.n} " in line
        assert all(row.value(name) in line and "±" in row.value(name) for name in whole[0].metrics[:3])


def test_in_a_narrow_terminal_the_table_keeps_the_main_metric_and_names_the_others(
    whole: tuple[Results, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("output", "results_table"):
        monkeypatch.setattr(f"lloco.cli.{module}.text_width", lambda: 80)
    table = results_table(whole[0])
    assert "not shown: exact_match, rouge1, rouge2, rougeL, rouge_geometric_mean" in table
    assert {len(line) for line in table.splitlines()} == {80}
    assert all(f" {row.mode} " in table and f" {row.value('answer_f1')} " in table for row in whole[0].rows)


def test_a_single_question_has_a_mean_without_an_error() -> None:
    tiny = compressor()
    results = evaluate("jsonl", samples(1, 1), TransformersEngine(tiny.decoder), replace(OPTIONS, modes=("none",)))
    assert results.rows[0].scores.stderr["answer_f1"] is None
    assert "±" not in results.rows[0].value("answer_f1")
    assert results.rows[0].value("accuracy") == "–"


def test_main_metric_is_the_one_that_the_benchmark_ranks_by(whole: tuple[Results, Path]) -> None:
    def main(task: str, sample: Sample) -> str:
        one = replace(sample, task=task)
        row = ModeResult("none", score(task, [one], {one.id: "A"}), (Prediction(one.id, "A", 0, 0, 9),))
        return Results(task, (row,), (one,), {}, {}).main_metric

    sample = samples()[0]
    assert whole[0].main_metric == "answer_f1"
    assert main("qmsum", sample) == "rouge_geometric_mean"
    assert main("hotpotqa", sample) == "hotpot_f1"
    assert main("quality", replace(sample, options=("a", "b"), gold_letter="A")) == "accuracy"
    assert main("jsonl", replace(sample, options=("a", "b"), gold_letter="A")) == "accuracy"


def test_one_questions_geometric_mean_is_of_its_own_rouges() -> None:
    asked = [replace(samples()[0], task="qmsum", references=("the keeper went home late",))]
    scored = score("qmsum", asked, {asked[0].id: "the keeper went home"}).per_sample[0]
    rouges = [scored.metrics[name] for name in ("rouge1", "rouge2", "rougeL")]
    assert score_of(scored, "rouge_geometric_mean") == pytest.approx(math.prod(rouges) ** (1 / 3))
    assert score_of(scored, "rouge1") == rouges[0]
    assert score_of(scored, "answer_f1") is None


def test_a_row_counts_the_questions_that_were_cut() -> None:
    small, asked = compressor(max_position_embeddings=420), samples()
    too_long = [sample for sample in asked if num_tokens(small, sample.document.text) > 370]
    results = evaluate("jsonl", asked, TransformersEngine(small.decoder), replace(OPTIONS, modes=("full",)))
    assert {prediction.id for prediction in results.rows[0].predictions if prediction.is_cut} == {
        sample.id for sample in too_long
    }
    assert results.rows[0].num_cut == results.rows[0].means().num_cut == len(too_long) == 6


def test_a_cut_soft_prompt_has_the_ratio_that_it_was_made_at() -> None:
    small = compressor(max_position_embeddings=160)
    asked = [replace(sample, document=document(1, 40)) for sample in samples(1)]
    options = replace(OPTIONS, modes=("compressed",))
    [row] = evaluate("jsonl", asked, TransformersEngine(small.decoder), options, soft_prompt_of=small.compress).rows
    length = num_tokens(small, asked[0].document.text)
    assert row.num_cut == 3 and row.virtual_tokens < small.num_virtual_tokens(length)
    assert row.compression_ratio == pytest.approx(length / small.num_virtual_tokens(length))


def test_a_document_is_digested_once_for_all_its_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, digested = samples(), list[str]()
    digest_of_text = Document.digest.fget

    def digest(one: Document) -> str:
        digested.append(one.id)
        return str(digest_of_text(one))

    before = questions_digest(asked)
    monkeypatch.setattr(Document, "digest", property(digest))
    assert questions_digest(asked) == before
    assert digested == ["story-0", "story-1", "story-2"]
