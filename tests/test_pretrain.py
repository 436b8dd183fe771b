"""Pretraining: losses by hand, learning, exact resumption, a result that loads, a tokenizer that loses nothing."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import IO, Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from lloco.compressors.autocompressor import AutoCompressor
from lloco.compressors.choices import Design
from lloco.compressors.decoder_based import forget_settings
from lloco.compressors.delta import TrainableCompressor
from lloco.compressors.load import load_compressor
from lloco.compressors.local import LocalCompressor
from lloco.documents.document import Document
from lloco.errors import CheckpointError, DataError, LlocoError
from lloco.files import strict_json
from lloco.models.checkpoint import weights_digest
from lloco.prompts.template import REPEAT_INSTRUCTION
from lloco.training.loop import LogLine
from lloco.training.pretrain.batches import ReadingBatch, ReadingOptions, StageName
from lloco.training.pretrain.model import ModelShape
from lloco.training.pretrain.run import PretrainOptions, new_compressor, pretrain
from lloco.training.pretrain.stage import ReadingStage, divergence
from lloco.training.pretrain.text import (
    IdArray,
    ReadingDocument,
    Row,
    as_tensor,
    iter_lines,
    lookup_row,
    questions_row,
    text_row,
    tokenize_lines,
)
from lloco.training.pretrain.tokenizer import kept_tokenizer, train_tokenizer

SHAPE = ModelShape(
    vocab_size=300,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=256,
    summary_length=2,
)
NAMES = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn")
PLACES = ("Rome", "Oslo", "Lima", "Kyiv")


def write_lines(path: Path) -> Path:
    lines = []
    for number, name in enumerate(NAMES * 2):
        place = PLACES[number % len(PLACES)]
        question = {"question": f"Where does {name} live?", "answers": [place]}
        lines.append({"text": f"{name} lives in {place}. {name} is {number} years old.", "questions": [question]})
    lines.append({"text": "Plain text without questions, which is learned as text."})
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    return path


def options_for(folder: Path, **changes: object) -> PretrainOptions:
    values: dict[str, object] = {
        "data": (write_lines(folder / "lines.jsonl"),),
        "shape": SHAPE,
        "lookup_steps": 0,
        "language_model_steps": 5,
        "compressor_steps": 5,
        "batch_tokens": 200,
        "learning_rate": 1e-2,
        "compressor_learning_rate": 5e-3,
        "evaluate_every": 2,
        "ratios": (8.0,),
        "window_len": 32,
        "bf16": False,
        "device": "cpu",
        **changes,
    }
    return PretrainOptions(**values)  # type: ignore[arg-type]


def curve(folder: Path, stage: str) -> list[dict[str, object]]:
    lines = json.loads((folder / stage / "curve.json").read_text())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[PretrainOptions, Path]:
    """An uninterrupted run, long enough to learn a little."""
    folder = tmp_path_factory.mktemp("pretrain")
    lines = write_lines(folder / "valid.jsonl")
    options = options_for(folder, language_model_steps=30, compressor_steps=30, validation=(lines,), evaluate_every=10)
    pretrain(options, folder / "out")
    return options, folder / "out"


def test_answers_become_likelier_from_the_text_and_from_its_soft_prompt(trained: tuple[PretrainOptions, Path]) -> None:
    options, out = trained
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out / "tokenizer")
    documents = [line for line in tokenize_lines(iter_lines(options.data), tokenizer, 64) if line.pairs]
    rows = [((index,), questions_row(document.pairs)) for index, document in enumerate(documents)]
    contexts = [as_tensor(document.ids) for document in documents]
    nothing = [torch.zeros(len(ids)) for ids in contexts]

    def loss(compressor: TrainableCompressor, is_compressed: bool) -> float:
        stage = ReadingStage(compressor, documents, ReadingOptions(), num_steps=1, seed=0)
        batch = ReadingBatch(contexts, is_compressed, compressor.segment_len, rows, nothing)
        with torch.no_grad():
            return float(stage.loss_sum(batch)) / stage.num_targets(batch)

    for is_compressed in (False, True):
        before = loss(new_compressor(options, tokenizer), is_compressed)
        after = loss(load_compressor(out / "model"), is_compressed)
        assert after < 0.7 * before, (is_compressed, before, after)


def test_held_out_answers_are_measured_in_every_mode(trained: tuple[PretrainOptions, Path]) -> None:
    for stage, names in (
        ("language_model", {"full_exact_match"}),
        ("compressor", {"full_exact_match", "compressed_exact_match_8x"}),
    ):
        figures = [line["figures"] for line in curve(trained[1], stage)]
        measured = [figure for figure in figures if figure]
        assert len(measured) == len(figures) // 10
        assert all(isinstance(item, dict) and item.keys() == names for item in measured)


def test_the_result_loads_as_a_compressor_and_as_a_plain_model(trained: tuple[PretrainOptions, Path]) -> None:
    folder = trained[1] / "model"
    compressor = load_compressor(folder)
    assert (compressor.segment_len, compressor.summary_length, compressor.hidden_size) == (16, 2, 32)
    soft_prompt = compressor.compress(Document(id="a", text="Ada lives in Rome. " * 5))
    assert soft_prompt.num_virtual_tokens == compressor.num_virtual_tokens(soft_prompt.provenance.num_document_tokens)
    assert compressor.digest == weights_digest(folder)
    _, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not loading["missing_keys"]
    assert loading["unexpected_keys"] and all(name.startswith("compressor.") for name in loading["unexpected_keys"])
    summary = json.loads((trained[1] / "pretrain.json").read_text())
    assert summary["options"]["shape"]["summary_length"] == 2 and summary["num_documents"] == 13


@pytest.mark.parametrize("stopped_in", ["language_model", "compressor"])
@pytest.mark.parametrize("stopped_at", [0, 3])
def test_a_killed_run_goes_on_to_the_same_result(tmp_path: Path, stopped_in: str, stopped_at: int) -> None:
    options = options_for(tmp_path)
    pretrain(options, tmp_path / "whole")

    def stop(stage: str, line: LogLine) -> None:
        if (stage, line.step) == (stopped_in, stopped_at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(options, tmp_path / "parts", stop)
    assert not (tmp_path / "parts" / "model").exists()
    redone: list[tuple[str, int]] = []
    pretrain(options, tmp_path / "parts", lambda stage, line: redone.append((stage, line.step)))
    assert (stopped_in, stopped_at) in redone
    for stage in ("language_model", "compressor"):
        assert curve(tmp_path / "whole", stage) == curve(tmp_path / "parts", stage)
    assert weights_digest(tmp_path / "whole" / "model") == weights_digest(tmp_path / "parts" / "model")


def test_a_finished_run_does_nothing_more(trained: tuple[PretrainOptions, Path]) -> None:
    digest = weights_digest(trained[1] / "model")
    steps: list[int] = []
    pretrain(trained[0], trained[1], lambda stage, line: steps.append(line.step))
    assert steps == [] and weights_digest(trained[1] / "model") == digest


def test_a_folder_of_another_run_is_refused(trained: tuple[PretrainOptions, Path], tmp_path: Path) -> None:
    with pytest.raises(LlocoError, match="holds another run"):
        pretrain(options_for(tmp_path, language_model_steps=31), trained[1])


# Data.


def test_both_layouts_of_lines_and_gzip_are_read(tmp_path: Path) -> None:
    lines = [
        {"text": "One.", "questions": [{"question": "Q?", "answers": ["A", "B"]}, {"question": "No?", "answers": []}]},
        {"context": "Two.", "qas": [{"q": "R?", "a": ["C"]}]},
        {"text": "Three."},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "a.jsonl").write_text(text)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    wanted = [("One.", [("Q?", "A")]), ("Two.", [("R?", "C")]), ("Three.", [])]
    assert list(iter_lines([tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"])) == wanted * 2


@pytest.mark.parametrize(
    "line",
    [
        "{not json",
        "[1]",
        "3",
        '{"title": "no text"}',
        '{"text": 5}',
        '{"text": "a", "questions": [{"question": "q"}]}',
        '{"context": "a", "qas": [{"q": 1, "a": ["b"]}]}',
        '{"text": "a", "questions": 7}',
        '{"text": "half of a pair \\ud83d"}',
    ],
)
@pytest.mark.parametrize("is_zipped", [False, True])
def test_a_broken_line_is_named_with_its_number(tmp_path: Path, line: str, is_zipped: bool) -> None:
    text = '{"text": "good"}\n\n' + line + "\n"
    path = tmp_path / ("lines.jsonl.gz" if is_zipped else "lines.jsonl")
    path.write_bytes(gzip.compress(text.encode()) if is_zipped else text.encode())
    with pytest.raises(
        DataError, match=rf"{path.name}, line 3(, item 1|, column 2)?: (a line must have text|not valid JSON)"
    ):
        list(iter_lines([path]))


def test_a_value_over_several_lines_is_not_read_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lloco.files.strict_json.MAX_JSON_BYTES", 1000)
    read: list[int] = []
    lines = strict_json._lines

    def counted(file: IO[bytes]) -> Iterator[bytes]:
        for line in lines(file):
            read.append(len(line))
            yield line

    monkeypatch.setattr(strict_json, "_lines", counted)
    (tmp_path / "long.json.gz").write_bytes(gzip.compress(b"[\n" + b'{"text": "a"},\n' * 5000))
    with pytest.raises(DataError, match=r"long\.json\.gz: JSON longer than 1000 bytes"):
        list(iter_lines([tmp_path / "long.json.gz"]))
    assert sum(read) < 2000


def test_a_tokenizer_of_other_texts_is_not_taken_over(tmp_path: Path) -> None:
    first = kept_tokenizer(tmp_path / "tokenizer", ["Ada lives in Rome."], 300)
    assert kept_tokenizer(tmp_path / "tokenizer", ["Ada lives in Rome."], 300).get_vocab() == first.get_vocab()
    for texts, vocab_size in ((["Bob lives in Oslo."], 300), (["Ada lives in Rome."], 280)):
        with pytest.raises(LlocoError, match="holds the tokenizer of another run"):
            kept_tokenizer(tmp_path / "tokenizer", texts, vocab_size)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 100)[:-9])
    for name in ("absent.jsonl", "latin.jsonl", "cut.jsonl.gz"):
        with pytest.raises(DataError, match=rf"{name}"):
            list(iter_lines([tmp_path / name]))


def test_a_run_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file was given"):
        pretrain(PretrainOptions(data=()), tmp_path / "out")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"empty\.jsonl is empty"):
        pretrain(PretrainOptions(data=(tmp_path / "empty.jsonl",), shape=SHAPE), tmp_path / "out")


TOKENIZER = train_tokenizer(["Ada lives in Rome.\nQuestion: Where?\nAnswer: 1999, it seems." * 3], 300)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
@example("12345 67")
@example("  two  spaces , and\n\n\tbreaks .\r\n")
@example("naïve 東京 😀\u200d\u0301 \x00\ufeff")
@example("don't n't 's . , ! ?")
def test_any_text_round_trips(text: str) -> None:
    assume(not any(special in text for special in TOKENIZER.all_special_tokens))
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text
    assert 0 not in ids, "no text is unknown"


def test_a_saved_tokenizer_is_the_same_one(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = "Ada's house , No. 42\n"
    assert loaded(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert (loaded.unk_token_id, loaded.bos_token_id, loaded.eos_token_id) == (0, 1, 2)


def test_each_digit_is_a_token() -> None:
    assert [TOKENIZER.decode([item]) for item in TOKENIZER("1999")["input_ids"]] == ["1", "9", "9", "9"]


def test_long_texts_become_documents_without_questions() -> None:
    lines = iter([("Ada lives in Rome. " * 20, [("Where?", "Rome")]), ("Short.", [("What?", "It")])])
    lost: list[int] = []
    *parts, short = tokenize_lines(lines, TOKENIZER, 50, lost.append)
    assert lost == [1]
    ids = TOKENIZER("Ada lives in Rome. " * 20, add_special_tokens=False)["input_ids"]
    assert [item for part in parts for item in part.ids.tolist()] == ids
    assert all(len(part.ids) <= 50 and part.pairs == () for part in parts)
    ((question, answer),) = short.pairs
    assert answer[-1] == TOKENIZER.eos_token_id
    assert TOKENIZER.decode(answer[:-1]) == " It"
    assert "What?" in TOKENIZER.decode(question)


# Losses, against ones computed by hand.


def as_ids(text: str) -> IdArray:
    return np.asarray(TOKENIZER(text, add_special_tokens=False)["input_ids"], dtype=np.int32)


PAIRS = [(as_ids("\nWhere is Bob?"), as_ids(" Oslo")), (as_ids("\nAnd Ada?"), as_ids(" Rome"))]
CONTEXTS = [as_tensor(as_ids("Short.")), as_tensor(as_ids("Ada lives in Rome. Bob lives in Oslo. " * 2))]


def new_stage(name: StageName = "compressor", design: Design = "autocompressor", **changes: Any) -> ReadingStage:
    options = PretrainOptions(data=(), shape=SHAPE, design=design, ratios=(8.0,), window_len=32)
    documents = [
        ReadingDocument(
            as_ids(f"Ada lives in Rome. Bob lives in Oslo. {index}."),
            tuple((np.append(question, 5 + index).astype(np.int32), answer) for question, answer in PAIRS),
        )
        for index in range(8)
    ]
    chosen = replace(ReadingOptions(name, batch_tokens=400, segment_lens=(8, 16)), **changes)
    return ReadingStage(new_compressor(options, TOKENIZER), documents, chosen, num_steps=10, seed=0)


def loss_by_hand(stage: ReadingStage, context_embeds: Tensor, ids: Tensor, weights: Tensor) -> float:
    """Sum of -weight * log p(token | everything before) over the ids, which follow the context; one row, no padding."""
    row = torch.cat([context_embeds, stage.compressor.decoder.embed(ids)])[None]
    with torch.no_grad():
        log_probabilities = stage.compressor.model(inputs_embeds=row).logits[0].log_softmax(dim=-1)
    before = len(context_embeds) - 1
    return -sum(
        float(weight * log_probabilities[before + index, ids[index]]) for index, weight in enumerate(weights) if weight
    )


def test_the_loss_of_full_text_rows_is_the_cross_entropy_by_hand() -> None:
    stage = new_stage()
    weights = [torch.ones(len(CONTEXTS[0])), torch.arange(len(CONTEXTS[1])).remainder(3).eq(0).float()]
    rows = [((1,), questions_row(PAIRS)), ((0, 1), questions_row(PAIRS)), ((0,), Row(CONTEXTS[0][:0], torch.zeros(0)))]
    batch = ReadingBatch(CONTEXTS, False, 0, rows, weights)
    wanted, num_targets = 0.0, 0.0
    for places, row in rows:
        # Nothing predicts the first token of a row.
        ids = torch.cat([*(CONTEXTS[index] for index in places), row.ids])
        own = torch.cat([*(weights[index] for index in places), row.weights])
        wanted += loss_by_hand(stage, stage.compressor.decoder.embed(ids[:1]), ids[1:], own[1:])
        num_targets += float(own[1:].sum())
    assert stage.loss_sum(batch).item() == pytest.approx(wanted, rel=1e-5)
    assert stage.num_targets(batch) == num_targets


def test_targets_of_questions_are_the_answers_alone() -> None:
    row = questions_row(PAIRS)
    targets = TOKENIZER.decode(row.ids[row.weights > 0])
    assert targets == " Oslo Rome"
    assert TOKENIZER.decode(row.ids) == "\nWhere is Bob? Oslo\nAnd Ada? Rome"


@pytest.mark.parametrize("design", get_args(Design))
def test_the_loss_of_compressed_rows_is_the_cross_entropy_after_the_soft_prompts(design: Design) -> None:
    stage, chooser = new_stage(design=design), Random(0)
    stage.compressor.eval()
    lead = as_tensor(as_ids(REPEAT_INSTRUCTION))
    rows = [
        ((1,), questions_row(PAIRS)),
        ((1, 0), questions_row(PAIRS)),
        ((0,), text_row(CONTEXTS[0], 1.0, chooser, lead)),
        ((1,), text_row(CONTEXTS[1], 0.5, chooser)),
    ]
    batch = ReadingBatch(CONTEXTS, True, 7, rows, [])
    vectors = stage.compressor.compress_ids(CONTEXTS, segment_len=7)
    wanted = sum(
        loss_by_hand(stage, torch.cat([vectors[index] for index in places]), row.ids, row.weights)
        for places, row in rows
    )
    assert stage.loss_sum(batch).item() == pytest.approx(wanted, rel=1e-4)
    assert stage.num_targets(batch) == sum(float(row.weights.sum()) for _, row in rows)


def test_the_gradient_reaches_all_weights_and_the_tokens_of_every_segment() -> None:
    stage = new_stage()
    seen: list[Tensor] = []

    def note(module: nn.Module, args: object, output: Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    hook = stage.compressor.model.get_input_embeddings().register_forward_hook(note)
    loss = stage.loss_sum(ReadingBatch(CONTEXTS[1:], True, 7, [((0,), questions_row(PAIRS))], []))
    hook.remove()
    loss.backward()
    assert isinstance(stage.compressor, AutoCompressor)
    summaries = stage.compressor.embed_summary.weight.grad
    assert summaries is not None and bool((summaries.abs().sum(dim=1) > 0).all())
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in stage.compressor.model.parameters())
    num_segments = -(-len(CONTEXTS[1]) // 7)
    assert len(seen) == num_segments + 1, "one call a segment, one for the row of questions"
    assert all(item.grad is not None and bool((item.grad.abs().sum(dim=-1) > 0).all()) for item in seen[:num_segments])


def test_batches_of_a_step_are_the_same_whenever_they_are_drawn() -> None:
    for name in get_args(StageName):
        first, second = new_stage(name), new_stage(name)
        for step in (7, 2, 7):
            for a, b in zip(first.micro_batches(step), second.micro_batches(step), strict=True):
                assert (a.is_compressed, a.segment_len) == (b.is_compressed, b.segment_len)
                assert all(torch.equal(x, y) for x, y in zip(a.contexts, b.contexts, strict=True))
                assert all(torch.equal(x.ids, y.ids) for (_, x), (_, y) in zip(a.rows, b.rows, strict=True))


def test_a_lookup_row_asks_only_for_tokens_that_the_context_puts_after_the_one_before() -> None:
    ids = torch.arange(10, 22)
    row = lookup_row(ids, 4, Random(3))
    assert sorted(row.ids.tolist()) == ids.tolist() != row.ids.tolist()
    for place, weight in enumerate(row.weights.tolist()):
        assert weight == (1 if place % 4 else 0)
        assert not weight or row.ids[place] == row.ids[place - 1] + 1


def test_the_lookup_stage_comes_first_and_not_again(tmp_path: Path) -> None:
    stages: list[str] = []
    options = options_for(tmp_path, lookup_steps=3, language_model_steps=1, compressor_steps=0)
    pretrain(options, tmp_path / "out", lambda stage, _: stages.append(stage))
    assert stages == ["lookup"] * 3 + ["language_model"]
    again = options_for(tmp_path, init=tmp_path / "out/model", language_model_steps=1, compressor_steps=0)
    stages.clear()
    pretrain(replace(again, lookup_steps=3), tmp_path / "again", lambda stage, _: stages.append(stage))
    assert stages == ["language_model"]


@pytest.mark.parametrize("design", ["pooling", "interleaved", "bidirectional"])
def test_the_gradient_reaches_all_weights_of_a_local_compressor(design: Design) -> None:
    stage = new_stage(design=design)
    stage.loss_sum(ReadingBatch(CONTEXTS, True, 16, [((0, 1), questions_row(PAIRS))], [])).backward()
    for name, weight in stage.compressor.named_parameters():
        assert weight.grad is not None and bool(weight.grad.any()), name


def test_distractors_and_questions_that_nothing_answers_are_asked_as_often_as_told() -> None:
    stage = new_stage(distractor_ratio=1.0, not_answerable_ratio=1.0, copy_ratio=0.0, end_copy_ratio=0.0)
    refusal = TOKENIZER(" not answerable", add_special_tokens=False)["input_ids"]
    num_several, num_refused, num_rows = 0, 0, 0
    for step in range(5):
        for batch in stage.micro_batches(step):
            for places, row in batch.rows:
                if not any(torch.equal(row.ids[: len(item)], as_tensor(item)) for item, _ in PAIRS):
                    assert len(places) == 1, "a text is repeated or continued alone"
                    continue
                num_rows += 1
                num_several += len(places) > 1
                assert len(set(places)) == len(places)
                targets = TOKENIZER.decode(row.ids[row.weights > 0])
                num_refused += TOKENIZER.decode(refusal) in targets
    assert num_rows and num_several > 0.5 * num_rows and num_refused > 0.5 * num_rows
    none = new_stage(copy_ratio=0.0, end_copy_ratio=0.0)
    assert all(len(places) == 1 for batch in none.micro_batches(3) for places, _ in batch.rows)


def test_a_step_has_one_of_the_segment_lengths_and_the_shortest_come_first() -> None:
    stage = new_stage(segment_lens=(32, 8, 16), curriculum_ratio=0.5)
    lens = [{batch.segment_len for batch in stage.micro_batches(step) if batch.is_compressed} for step in range(10)]
    assert all(len(item) <= 1 for item in lens) and lens[0] == {8}
    seen = set().union(*(item for step in range(5, 200) for item in [_segment_lens(stage, step)]))
    assert seen == {8, 16, 32}


def _segment_lens(stage: ReadingStage, step: int) -> set[int]:
    return {batch.segment_len for batch in stage.micro_batches(step) if batch.is_compressed}


def test_distillation_adds_the_divergence_from_the_model_that_reads_the_text() -> None:
    alone, mixed = new_stage(design="pooling"), new_stage(design="pooling", distillation_ratio=0.25)
    batch = ReadingBatch(CONTEXTS, True, 8, [((1,), questions_row(PAIRS)), ((0, 1), questions_row(PAIRS))], [])
    row = questions_row(PAIRS)

    def logits(context: list[Tensor]) -> Tensor:
        embeds = torch.cat([*context, alone.compressor.decoder.embed(row.ids)])[None]
        return alone.compressor.model(inputs_embeds=embeds).logits[0, -len(row.ids) - 1 : -1][row.weights > 0]

    with torch.no_grad():
        vectors = alone.compressor.read_documents(CONTEXTS[::-1], 8)[::-1]
        texts = [alone.compressor.decoder.embed(ids) for ids in CONTEXTS]
        wanted = sum(
            float(divergence(logits([texts[i] for i in places]), logits([vectors[i] for i in places]), 20))
            for places in ((1,), (0, 1))
        )
        plain, with_teacher = float(alone.loss_sum(batch)), float(mixed.loss_sum(batch))
    assert with_teacher == pytest.approx(0.75 * plain + 0.25 * wanted, rel=1e-4)


def test_divergence_is_zero_for_the_teacher_itself_and_the_known_sum_elsewhere() -> None:
    teacher = torch.tensor([[2.0, 1.0, 0.0, -50.0], [0.0, 3.0, 0.0, 0.0]])
    assert float(divergence(teacher, teacher, 4)) == pytest.approx(0.0, abs=1e-6)
    student = torch.zeros(2, 4)
    wanted = sum(float((p * (p.log() + torch.log(torch.tensor(4.0)))).sum()) for p in teacher.softmax(dim=-1))
    assert float(divergence(teacher, student, 4)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "pair", [("autocompressor", "interleaved"), ("pooling", "autocompressor"), ("pooling", "bidirectional")]
)
def test_another_design_takes_the_decoder_of_the_run_before(tmp_path: Path, pair: tuple[Design, Design]) -> None:
    options = options_for(tmp_path, design=pair[0], language_model_steps=1, compressor_steps=1)
    first = pretrain(options, tmp_path / "first")
    assert first.design == pair[0]
    again = options_for(tmp_path, init=tmp_path / "first/model", design=pair[1], compressor_steps=0)
    second = pretrain(replace(again, language_model_steps=0), tmp_path / "second")
    assert second.design == load_compressor(tmp_path / "second/model").design == pair[1]
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name]), name


def test_a_plain_language_model_gets_a_new_compressor(tmp_path: Path) -> None:
    options = options_for(tmp_path, language_model_steps=1, compressor_steps=0)
    decoder = pretrain(options, tmp_path / "first").decoder
    forget_settings(decoder.model.config)
    decoder.model.save_pretrained(tmp_path / "plain")
    decoder.require_tokenizer().save_pretrained(tmp_path / "plain")
    made = pretrain(replace(options, init=tmp_path / "plain", compressor_steps=1), tmp_path / "second")
    assert (made.design, made.segment_lens) == ("pooling", (16,))


def test_an_encoder_begins_as_a_copy_of_the_trained_decoder(tmp_path: Path) -> None:
    made = pretrain(options_for(tmp_path, language_model_steps=5, compressor_steps=0), tmp_path / "out")
    assert isinstance(made, LocalCompressor)
    own = made.model.get_decoder().state_dict()  # type: ignore[no-untyped-call]
    for name, weight in made.encoder.body.state_dict().items():
        assert torch.equal(weight, own[name]), name
    embeddings = made.model.get_input_embeddings().weight.detach()
    assert float(made.encoder.scale.detach()[0]) == pytest.approx(float(embeddings.square().mean().sqrt()), rel=1e-5)


def test_going_on_keeps_ratios_and_window_unless_told_otherwise(tmp_path: Path) -> None:
    pretrain(options_for(tmp_path, language_model_steps=1, compressor_steps=0), tmp_path / "first")
    again = options_for(tmp_path, init=tmp_path / "first/model", ratios=None, window_len=None)
    kept = new_compressor(again, TOKENIZER)
    assert isinstance(kept, LocalCompressor) and (kept.segment_lens, kept.window_len) == ((16,), 32)
    changed = new_compressor(replace(again, ratios=(4.0, 8.0), window_len=64), TOKENIZER)
    assert isinstance(changed, LocalCompressor) and (changed.segment_lens, changed.window_len) == ((8, 16), 64)
    with pytest.raises(CheckpointError, match="segments of 400 tokens"):
        new_compressor(replace(again, ratios=(200.0,)), TOKENIZER)


@pytest.mark.parametrize("design", ["pooling", "autocompressor"])
def test_a_run_that_went_on_has_a_name_and_digest_of_its_own(tmp_path: Path, design: Design) -> None:
    first = pretrain(options_for(tmp_path, design=design, language_model_steps=1), tmp_path / "first")
    second = pretrain(options_for(tmp_path, init=tmp_path / "first/model", language_model_steps=1), tmp_path / "second")
    assert second.digest == weights_digest(tmp_path / "second/model") != first.digest
    assert second.name == str(tmp_path / "second/model")


def test_another_window_or_start_is_another_run(tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        pretrain(options_for(tmp_path, language_model_steps=1, compressor_steps=0, seed=seed), tmp_path / name)
    options = options_for(tmp_path, init=tmp_path / "one/model", language_model_steps=0, compressor_steps=1)
    pretrain(options, tmp_path / "out")
    for changed in (replace(options, window_len=64), replace(options, init=tmp_path / "two/model")):
        with pytest.raises(LlocoError, match="holds another run"):
            pretrain(changed, tmp_path / "out")
