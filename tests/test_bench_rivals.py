"""Rivals: what each way reads and keeps, and that it answers as the evaluation, or the method's own code, does."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

from benchmarks.main import main
from benchmarks.rivals.kept_keys import PRESSES, KeptKeys, why_no_press
from benchmarks.rivals.pruned_text import PrunedText, QuestionLikelihood, highest, mean_by_group, surprisals, words_of
from benchmarks.rivals.run import RivalsOptions, measure_rivals
from benchmarks.rivals.timed_engine import TimedEngine
from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.bench.show.headline import headline
from lloco.compressors.compressor import Compressor
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.engine.engine import SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.evals.evaluate import EvaluateOptions, evaluate
from lloco.models.decoder import Decoder
from lloco.models.tokenize import token_ids
from lloco.prompts.prompt import Prompt, build_prompt
from lloco.prompts.template import DEFAULT_TEMPLATE, Template
from lloco.retrieval.passages import split_passages
from lloco.store.passage import PassageText
from lloco.tasks.sample import Sample
from tests.command import Run
from tests.corpora import LEASE, VOYAGE, save_compressor
from tests.embedders import save_synonym_embedder
from tests.test_report import Page
from tests.tiny import tiny_decoder, tiny_llama

HAS_KVPRESS = find_spec("kvpress") is not None
needs_kvpress = pytest.mark.skipif(not HAS_KVPRESS, reason="kvpress is not installed: make test-rivals")
SAMPLING = SamplingParams(max_tokens=8)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return tiny_decoder()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Compressor:
    return load_compressor(save_compressor(tmp_path_factory.mktemp("rivals") / "tiny"), device="cpu")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny: Compressor) -> Path:
    folder = tmp_path_factory.mktemp("rivals") / "adapter"
    decoder = load_compressor(tiny.name, device="cpu").decoder
    model = attach_adapter(decoder, LoraOptions(r=4, alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) * 0.5
    save_adapter(model, folder, decoder=decoder, template=DEFAULT_TEMPLATE)
    return folder


def samples() -> list[Sample]:
    documents = [Document("lease", LEASE), Document("voyage", VOYAGE)]
    questions = ("Who signed the lease?", "Which brig was lost?", "Of what is it?")
    return [
        Sample(f"{document.id}-{number}", "jsonl", question, document, ("Agnes Webb",))
        for number, question in enumerate(questions)
        for document in documents
    ]


def prompt_of(decoder: Decoder, text: str, question: str, template: Template = DEFAULT_TEMPLATE) -> Prompt:
    tokenizer = decoder.require_tokenizer()
    return build_prompt(template, tokenizer, question, context_ids=token_ids(tokenizer, text))


def test_the_timed_engine_writes_what_the_embedded_engine_writes(decoder: Decoder) -> None:
    prompts = [prompt_of(decoder, text, "Who?") for text in (LEASE, VOYAGE)]
    engine = TimedEngine(decoder)
    assert engine.generate(prompts, SAMPLING) == TransformersEngine(decoder).generate(prompts, SAMPLING)
    assert all(0 < timing.first_token_seconds < timing.answer_seconds for timing in engine.timings)
    assert [(timing.new_tokens, timing.num_dropped) for timing in engine.timings] == [(8, 0), (8, 0)]


def test_a_documents_kept_keys_and_values_answer_as_its_text_and_are_read_once(decoder: Decoder) -> None:
    prompts = [prompt_of(decoder, LEASE, question) for question in ("Who?", "How long does it run?")]
    kept = KeptKeys()
    engine = TimedEngine(decoder, kept)
    assert engine.generate(prompts, SAMPLING) == TransformersEngine(decoder).generate(prompts, SAMPLING)
    assert kept.num_bytes == 2 * 2 * 2 * 12 * 4 * prompts[0].num_context_tokens
    read: list[int] = []
    hook = decoder.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    engine.generate(prompts[1:], SamplingParams(max_tokens=2))
    hook.remove()
    assert read == [len(prompts[1].pieces[-1]), 1]


@needs_kvpress
@pytest.mark.parametrize("method", PRESSES)
def test_a_method_that_may_keep_all_answers_as_the_text_and_else_keeps_its_budget(
    decoder: Decoder, method: str
) -> None:
    prompt = prompt_of(decoder, LEASE, "Who signed?")
    whole, fewer = (KeptKeys(method, number) for number in (prompt.num_context_tokens, 11))
    engine = TimedEngine(decoder, whole)
    assert engine.generate([prompt], SAMPLING) == TransformersEngine(decoder).generate([prompt], SAMPLING)
    assert engine.timings[0].num_dropped == 0
    engine = TimedEngine(decoder, fewer)
    engine.generate([prompt], SAMPLING)
    assert engine.timings[0].num_dropped == prompt.num_context_tokens - 11
    assert fewer.num_bytes == whole.num_bytes // prompt.num_context_tokens * 11


@needs_kvpress
@pytest.mark.skipif(
    tuple(map(int, transformers.__version__.split(".")[:2])) > (5, 2),
    reason="kvpress's own pipeline needs an older transformers: make test-rivals",
)
@pytest.mark.parametrize("method", PRESSES)
def test_a_method_answers_as_kvpress_own_pipeline(decoder: Decoder, method: str) -> None:
    import kvpress

    tokenizer = decoder.require_tokenizer()
    template = Template("plain", "", "", "{question}\n", "{answer}", add_bos=True)
    prompt = prompt_of(decoder, LEASE, "Who signed?", template)
    engine = TimedEngine(decoder, KeptKeys(method, 11))
    [ours] = engine.generate([prompt], SAMPLING)
    name, options_for = PRESSES[method]
    press = getattr(kvpress, name)(1 - 12.5 / (1 + prompt.num_context_tokens), **options_for(12))
    pipeline = kvpress.KVPressTextGenerationPipeline(model=decoder.model, tokenizer=tokenizer)
    theirs = pipeline(LEASE, question="Who signed?", press=press, max_new_tokens=8)["answer"]
    assert ours.text == theirs
    assert TimedEngine(decoder).generate([prompt], SAMPLING)[0].text != theirs


def test_without_kvpress_or_with_a_decoder_that_it_does_not_know_the_reason_is_said() -> None:
    assert (why_no_press(tiny_decoder()) is None) == HAS_KVPRESS
    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16, n_positions=16)
    reason = why_no_press(tiny_decoder(transformers.GPT2LMHeadModel(config)))
    assert reason is not None and ("knows no GPT2LMHeadModel" if HAS_KVPRESS else "lloco[rivals]") in reason


def test_surprisal_is_minus_the_log_probability_of_each_token(decoder: Decoder) -> None:
    ids = token_ids(decoder.require_tokenizer(), LEASE)
    with torch.no_grad():
        told = cross_entropy(decoder.model(input_ids=ids[None]).logits[0, :-1], ids[1:], reduction="none")
    torch.testing.assert_close(surprisals(decoder, ids), torch.cat([told.mean()[None], told]))
    halves = decoder.max_len
    long = ids.repeat(4)[: halves + 40]
    apart = torch.cat([surprisals(decoder, long[:halves]), surprisals(decoder, long[halves:])])
    torch.testing.assert_close(surprisals(decoder, long), apart)


def test_words_are_kept_whole_in_their_order(decoder: Decoder) -> None:
    tokenizer, text = decoder.require_tokenizer(), "the  cat\nsat on"
    words = words_of(tokenizer, text)
    ids = token_ids(tokenizer, text)
    pieces = [tokenizer.decode(ids[words == item]).strip() for item in words.unique()]
    assert [piece for piece in pieces if piece] == ["the", "cat", "sat", "on"]
    scores = mean_by_group(torch.tensor([1.0, 5.0, 0.0, 4.0]), torch.tensor([0, 0, 1, 2]))
    assert scores.tolist() == [3, 3, 0, 4]
    assert highest(scores, 2).tolist() == [0, 3] and highest(scores, 3).tolist() == [0, 1, 3]


def test_what_the_decoder_can_guess_is_dropped_first() -> None:
    """A decoder that has learned a text by heart keeps the words that were put into it."""
    model = tiny_llama(initializer_range=0.05, hidden_size=48).train()
    decoder = tiny_decoder(model)
    ids = token_ids(decoder.require_tokenizer(), LEASE)[None]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    model.eval()
    document = Document("d", LEASE.replace("nine years", "nine zebra years"))
    pruned = PrunedText(document, decoder, lambda num_tokens: 24)
    context = pruned.context("retrieval", "Which animal?", 100)
    assert context.token_ids is not None and len(context.token_ids) == 24 and not context.is_cut
    assert "zebra" in decoder.require_tokenizer().decode(context.token_ids)
    cut = pruned.context("retrieval", "Which animal?", 10)
    assert cut.token_ids is not None and len(cut.token_ids) == 10 and cut.is_cut


def test_passages_come_by_the_likelihood_of_the_question_after_them(decoder: Decoder) -> None:
    tokenizer, question = decoder.require_tokenizer(), "Who was her master?"
    passages = [
        PassageText("v", passage.start, passage.end, VOYAGE[passage.start : passage.end])
        for passage in split_passages(VOYAGE, 8)
    ]
    asked = token_ids(tokenizer, question)
    alone = {}
    for passage in passages:
        before = token_ids(tokenizer, f"{passage.text}\n")
        with torch.no_grad():
            logits = decoder.model(input_ids=torch.cat([before, asked])[None]).logits[0, len(before) - 1 : -1]
        alone[passage.start] = -float(cross_entropy(logits, asked))
    hits = QuestionLikelihood(decoder, passages).search(question, 2)
    assert [hit.start for hit in hits] == sorted(alone, key=lambda start: -alone[start])[:2]
    assert [hit.score for hit in hits] == pytest.approx([alone[hit.start] for hit in hits], abs=1e-4)


def test_ways_of_the_evaluation_get_its_scores_and_no_way_reads_more_than_its_budget(
    tiny: Compressor, adapter: Path
) -> None:
    runs: list[tuple[int, int]] = []
    options = RivalsOptions("jsonl", "data", (6, 12), max_tokens=6, adapter=adapter)
    results = measure_rivals(samples(), tiny, options, on_run=lambda done, total: runs.append((done, total)))
    rows = {(row["mode"], row["wanted_ratio"]): row for row in results.rows}
    modes = ("full", "truncated", "retrieval", "compressed", "compressed+adapter")
    scored = evaluate(
        "jsonl",
        samples(),
        TransformersEngine(tiny.decoder),
        EvaluateOptions(modes, max_tokens=6, adapter=adapter),
        soft_prompt_of=tiny.compress,
    )
    for mode in modes:
        row = rows[{"retrieval": "bm25"}.get(mode, mode), None if mode == "full" else 6]
        result = scored.row(mode)
        assert result is not None
        assert row["metrics"] == result.scores.metrics and row["metric"] == scored.main_metric
        assert row["context_positions"] == result.tokens_read
    assert rows["full, cached", None]["metrics"] == rows["full", None]["metrics"]
    for (mode, ratio), row in rows.items():
        if row["skipped"] is None and ratio is not None:
            assert row["context_positions"] <= rows["compressed", ratio]["context_positions"], mode
            assert row["ratio"] == pytest.approx(rows["full", None]["answer_seconds"] / row["answer_seconds"])
    assert rows["compressed", 12]["context_positions"] < rows["compressed", 6]["context_positions"]
    assert rows["compressed", 6]["stored_bytes"] == 48 * 4 * rows["compressed", 6]["context_positions"]
    assert {row["n"] for row in results.rows if row["skipped"] is None} == {6}
    assert {mode for (mode, _), row in rows.items() if row["skipped"] is not None} == (
        {"dense"} if HAS_KVPRESS else {"dense", *PRESSES}
    )
    assert sum(done for done, _ in runs) == runs[0][1] == len(rows) * 3


def test_n_counts_the_questions_that_the_metric_is_a_mean_of(tiny: Compressor) -> None:
    asked = [
        replace(item, task="longbench", dataset=name)
        for item, name in zip(samples()[:2], ("qasper", "qmsum"), strict=True)
    ]
    results = measure_rivals(asked, tiny, RivalsOptions("longbench", "data", (6,), max_tokens=2))
    assert {(row["n"], row["metric"]) for row in results.rows if row["skipped"] is None} == {(1, "longbench_f1")}
    assert "on 1 questions" in headline(results)


def test_bench_rivals_prints_a_row_a_way_and_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], home: Path, tiny: Compressor
) -> None:
    run = Run(capsys, main)
    data, embedder = Path("data.jsonl"), save_synonym_embedder(Path("embedder").absolute())
    questions = [{"id": "q", "question": "Who signed?", "answers": ["Agnes Webb"]}]
    data.write_text(json.dumps({"id": "l", "text": LEASE, "questions": questions}) + "\n")
    flags = ("--task", "jsonl", "--data", data, "--compressor", tiny.name, "--max-tokens", 4, "--quiet")
    printed = run.json("rivals", *flags, "--embedder", embedder, "--out", "out")
    rows = {row["mode"]: row for row in printed["rows"]}
    assert rows["dense"]["context_positions"] == rows["bm25"]["context_positions"]
    assert rows["dense"]["stored_bytes"] > rows["bm25"]["stored_bytes"] == len(LEASE)
    assert rows["compressed"]["wanted_ratio"] == 6
    assert json.loads(Path("out/results.json").read_text()) == printed
    assert Path("out/quality.png").read_bytes()[:4] == b"\x89PNG"
    assert "at a ratio of 6 answers best: " in Path("out/report.html").read_text()
    other = run.fails("rivals", *flags, "--embedder", embedder, "--limit", 1, "--out", "out")
    assert "limit None (now 1)" in other and "another --out" in other
    assert json.loads(Path("out/results.json").read_text()) == printed
    assert run("rivals", *flags, "--ratios", "6,12") == 0
    assert run.err.count("dense: not measured") == 1 and "ratios 6, 12, dense: not measured" in run.err
    page = Page(Path("out/report.html").read_text()).text
    assert "Asked: document tokens per position" in page and "Dashed" not in page and "best quality" not in page
    assert run("rivals", *flags) == 0
    assert "compressed" in run.out and "dense: not measured" in run.err and "--embedder" in run.err
    assert ("lloco[rivals]" in run.err) != HAS_KVPRESS
    assert "ratio must be above 1" in run.fails("rivals", *flags, "--ratios", "1")
    assert "each number once" in run.fails("rivals", *flags, "--ratios", "6,6", code=2)
