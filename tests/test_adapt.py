"""A compressor trained around a pretrained decoder: where it begins, that it learns, resumes, and comes back whole."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lloco.compression.plan import segment_len_for
from lloco.compressors.delta import (
    DELTA_FILE,
    DeltaDesign,
    DeltaSettings,
    checkpoint_digest,
    load_delta,
    new_compressor_around,
    segment_lens_of,
)
from lloco.compressors.dynamic_pooling import DynamicPoolingEncoder, group_starts
from lloco.compressors.load import design_of, load_compressor, load_named_decoder
from lloco.compressors.local import LocalCompressor
from lloco.errors import CheckpointError, DataError, DocumentError, LlocoError
from lloco.models.checkpoint import weights_digest
from lloco.models.decoder import load_decoder
from lloco.prompts.template import DEFAULT_TEMPLATE
from lloco.training.adapt.run import AdaptRunOptions, adapt
from lloco.training.adapt.samples import SampleOptions, Samples
from lloco.training.adapt.stage import AdaptOptions, AdaptStage
from lloco.training.adapt.windows import cut_line
from lloco.training.distillation import state_distances
from lloco.training.loop import LogLine
from lloco.training.pretrain.text import iter_lines
from tests.command import Run
from tests.tiny import tiny_llama, tiny_model, tiny_tokenizer

PLACES = ("Rome", "Oslo", "Lima", "Kyiv")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    tiny_llama(initializer_range=0.05).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    file = tmp_path / "lines.jsonl"
    made = []
    for number, name in enumerate(("Ada", "Bob", "Cleo", "Dan") * 3):
        place = PLACES[number % len(PLACES)]
        pairs = [{"question": f"Where is {name}?", "answers": [place]}]
        made.append(json.dumps({"text": f"{name} is in {place}.", "questions": pairs}))
    file.write_text("\n".join(made) + "\n", encoding="utf-8")
    return file


def options_for(
    base: Path, lines: Path, *, design: DeltaDesign = "dynamic_pooling", num_steps: int = 4
) -> AdaptRunOptions:
    lens = (4, 2) if design == "dynamic_pooling" else (8, 16)
    return AdaptRunOptions(
        data=(lines,),
        validation=(lines,),
        init=str(base),
        delta=DeltaSettings(
            base=str(base), base_digest="", design=design, segment_lens=lens,
            summary_length=1 if design == "dynamic_pooling" else 4, window_len=64, encoder_layers=1, encoder_lora_r=2,
            reader_lora_r=2, pooling_hidden_size=16,
        ),
        samples=SampleOptions(mix={"repeat": 1, "continue": 1, "questions": 2, "plain": 1}, span_lens=(4, 8),
                              text_ratio=0.5, teacher_ratio=0.5, distractor_ratio=0.3, not_answerable_ratio=0.3,
                              hybrid_ratio=0.3),
        steps=AdaptOptions(segment_lens=lens, batch_positions=200, micro_batch_positions=150, state_weight=0.1),
        num_steps=num_steps,
        learning_rate=5e-3,
        evaluate_every=2,
        num_validation=4,
        bf16=False,
    )  # fmt: skip


def test_only_what_is_added_learns(base: Path) -> None:
    compressor = new_compressor_around(
        load_decoder(base), DeltaSettings(str(base), "", encoder_layers=1, pooling_hidden_size=8)
    )
    learning = {name for name, value in compressor.named_parameters() if value.requires_grad}
    assert learning
    assert all("lora_" in name or not name.startswith("encoder.body.") for name in learning)


@pytest.mark.parametrize("design", ["dynamic_pooling", "autocompressor"])
def test_a_run_learns_and_its_delta_comes_back_as_it_was(base: Path, lines: Path, design: DeltaDesign) -> None:
    before = weights_digest(base)
    told: list[LogLine] = []
    notes: list[str] = []
    out = base.parent / "run"
    options = options_for(base, lines, design=design, num_steps=12)
    trained = adapt(options, out, told.append, notes.append)
    assert told[-1].loss < told[0].loss
    assert any(line.figures for line in told)
    assert "12 steps" in notes[0]
    loaded = load_compressor(out / "model")
    assert design_of(out / "model") == design == loaded.design
    assert loaded.digest == checkpoint_digest(out / "model") != before == weights_digest(base)
    ids = torch.arange(10, 40)
    with torch.no_grad():
        [own] = trained.read_documents([ids], trained.segment_len)
    assert trained.digest == loaded.digest
    torch.testing.assert_close(own, loaded.compress_ids([ids])[0], atol=1e-5, rtol=1e-4)
    assert not any("lora_" in name for name, _ in loaded.named_parameters())
    assert load_named_decoder(out / "model").digest == loaded.decoder.digest


def test_a_delta_taken_up_again_and_saved_whole_reads_alike(base: Path, lines: Path, tmp_path: Path) -> None:
    adapt(options_for(base, lines), tmp_path / "run")
    trainable = load_delta(tmp_path / "run/model", is_trainable=True)
    merged = load_delta(tmp_path / "run/model")
    assert isinstance(merged, LocalCompressor)
    ids = torch.arange(10, 31)
    expected = merged.compress_ids([ids], segment_len=4)[0]
    with torch.no_grad():
        torch.testing.assert_close(trainable.read_documents([ids], 4)[0], expected, atol=1e-5, rtol=1e-4)
    merged.decoder = replace(merged.decoder, digest="")
    merged.save(tmp_path / "whole")
    whole = load_compressor(tmp_path / "whole")
    torch.testing.assert_close(whole.compress_ids([ids], segment_len=4)[0], expected)
    torch.testing.assert_close(_logits(whole, ids), _logits(merged, ids))


def _logits(compressor: object, ids: Tensor) -> Tensor:
    assert isinstance(compressor, LocalCompressor)
    logits: Tensor = compressor.model(input_ids=ids[None]).logits
    return logits.detach()


def test_a_killed_run_goes_on_to_the_same_weights(base: Path, lines: Path, tmp_path: Path) -> None:
    adapt(options_for(base, lines, num_steps=4), tmp_path / "whole")

    class KilledError(Exception):
        pass

    def kill(line: LogLine) -> None:
        if line.step == 2:
            raise KilledError

    with pytest.raises(KilledError):
        adapt(options_for(base, lines, num_steps=4), tmp_path / "killed", kill)
    adapt(options_for(base, lines, num_steps=4), tmp_path / "killed")
    assert weights_digest(tmp_path / "killed/model") == weights_digest(tmp_path / "whole/model")
    with pytest.raises(LlocoError, match="another run"):
        adapt(replace(options_for(base, lines, num_steps=4), encoder_rate=0.1), tmp_path / "killed")


def test_a_run_goes_on_from_a_delta_at_other_ratios(base: Path, lines: Path, tmp_path: Path) -> None:
    adapt(options_for(base, lines), tmp_path / "first")
    again = options_for(tmp_path / "first/model", lines)
    adapt(replace(again, delta=replace(again.delta, segment_lens=(2,)), steps=AdaptOptions((2,), batch_positions=100)),
          tmp_path / "second")  # fmt: skip
    second = load_compressor(tmp_path / "second/model")
    assert second.segment_lens == (2,)
    with pytest.raises(DocumentError, match="choose one of those it learned, 2"):
        second.compress_ids([[5] * 8], segment_len=4)
    with pytest.raises(DocumentError, match=r"--ratio must be one that .* learned, 2, got 4"):
        segment_len_for(4.0, second)


def test_a_run_at_a_higher_ratio_goes_on_with_what_was_learned(base: Path, lines: Path, tmp_path: Path) -> None:
    low = options_for(base, lines)
    low = replace(low, delta=replace(low.delta, segment_lens=(2,)), steps=replace(low.steps, segment_lens=(2,)))
    adapt(low, tmp_path / "low")
    first = load_delta(tmp_path / "low/model", is_trainable=True)
    higher = load_delta(tmp_path / "low/model", is_trainable=True, segment_lens=(4,))
    assert isinstance(first, LocalCompressor) and isinstance(higher, LocalCompressor)
    torch.testing.assert_close(first.encoder.state_dict(), higher.encoder.state_dict(), rtol=0, atol=0)
    assert first.encoder.information[:-1].abs().max() > 0
    ids = torch.arange(10, 26)
    with torch.no_grad():
        assert [len(first.read_documents([ids], 2)[0]), len(higher.read_documents([ids], 4)[0])] == [8, 4]
    adapt(replace(options_for(tmp_path / "low/model", lines), num_steps=1), tmp_path / "high")
    assert load_compressor(tmp_path / "high/model").segment_lens == (4, 2)


def test_the_delta_names_its_base_whichever_it_went_on_from(base: Path, lines: Path, tmp_path: Path) -> None:
    adapt(options_for(base, lines, num_steps=1), tmp_path / "first")
    adapt(replace(options_for(tmp_path / "first/model", lines), num_steps=1), tmp_path / "second")
    assert json.loads((tmp_path / "second/model" / DELTA_FILE).read_text())["base"] == str(base)


def test_a_delta_of_another_base_or_a_newer_format_is_refused(base: Path, lines: Path, tmp_path: Path) -> None:
    adapt(options_for(base, lines, num_steps=1), tmp_path / "run")
    file = tmp_path / "run/model" / DELTA_FILE
    values = json.loads(file.read_text())
    for other in (1, 3):
        file.write_text(json.dumps({**values, "format": other}))
        with pytest.raises(CheckpointError, match=f"format {other}, this lloco reads format 2: "):
            load_compressor(tmp_path / "run/model")
    file.write_text(json.dumps({**values, "unknown": 2}))
    with pytest.raises(CheckpointError, match="no others"):
        load_compressor(tmp_path / "run/model")
    file.write_text(json.dumps({**values, "pooling_hidden_size": 20}))
    with pytest.raises(CheckpointError, match="do not fit its settings"):
        load_compressor(tmp_path / "run/model")
    file.write_text(json.dumps(values))
    tiny_llama(seed=3).save_pretrained(base)
    with pytest.raises(CheckpointError, match="fetch the same version"):
        load_compressor(tmp_path / "run/model")


def test_the_ratios_of_dynamic_pooling_are_whole_numbers(base: Path) -> None:
    assert segment_lens_of((4.0, 3.0, 2.0)) == (4, 3, 2)
    assert segment_lens_of((30.0,), 4) == (120,)
    for wrong in (1.0, 2.5):
        with pytest.raises(CheckpointError, match=f"whole numbers from 2 on, got {wrong:g}"):
            segment_lens_of((wrong,))


def test_questions_of_a_long_text_stay_with_the_window_that_answers_them() -> None:
    parts = [f"Part {number} is about {name}. " + "Words fill it up. " * 30 for number, name in enumerate(PLACES)]
    pairs = [(f"What is part {number} about?", name) for number, name in enumerate(PLACES)]
    text = "\n".join(parts)
    asked = set()
    for seed in range(40):
        window, own = cut_line((text, pairs), 160, random.Random(seed), with_questions=True)
        assert len(window) <= 640
        assert own
        assert all(answer in window for _, answer in own)
        asked |= {question for question, _ in own}
    assert asked == {question for question, _ in pairs}


def test_samples_are_the_same_for_a_seed_and_ask_as_served(base: Path, lines: Path) -> None:
    tokenizer = tiny_tokenizer()
    made = Samples(
        [("Ada is in Rome.", [("Where is Ada?", "Rome")])],
        SampleOptions(mix={"questions": 1}),
        DEFAULT_TEMPLATE,
        tokenizer,
    )
    sample = made.draw(random.Random(1))
    [branch] = sample.branches
    assert tokenizer.decode(branch.ids) == "\nQuestion: Where is Ada?\nAnswer: Rome</s>"
    assert tokenizer.decode(branch.ids[branch.weights > 0]) == " Rome</s>"
    assert tokenizer.decode(sample.documents[0]) == "Ada is in Rome."


def test_plain_text_pulls_the_reader_back_to_the_pretrained_model(base: Path, lines: Path) -> None:
    options = options_for(base, lines)
    decoder = load_decoder(base)
    compressor = new_compressor_around(decoder, options.delta)
    samples = Samples(
        list(iter_lines(options.data)), SampleOptions(mix={"plain": 1}), DEFAULT_TEMPLATE, tiny_tokenizer()
    )
    stage = AdaptStage(compressor, samples, AdaptOptions((2,), batch_positions=60), seed=0)
    [batch] = stage.micro_batches(0)
    assert stage.loss_sum(batch).item() == pytest.approx(0, abs=1e-5)  # LoRA begins at zero
    with torch.no_grad():
        for name, weight in decoder.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    assert stage.loss_sum(batch).item() > 0.01


def test_states_are_pulled_to_those_of_the_reader_of_the_text(base: Path, lines: Path) -> None:
    options = options_for(base, lines)
    compressor = new_compressor_around(load_decoder(base), options.delta)
    samples = Samples(
        list(iter_lines(options.data)),
        SampleOptions(mix={"questions": 1}, text_ratio=0.0, teacher_ratio=1.0),
        DEFAULT_TEMPLATE,
        tiny_tokenizer(),
    )

    def gradients(state_weight: float) -> tuple[float, dict[str, Tensor]]:
        steps = AdaptOptions((2,), batch_positions=60, distillation_ratio=0.0, state_weight=state_weight)
        stage = AdaptStage(compressor, samples, steps, seed=0)
        [batch] = stage.micro_batches(0)
        assert all(sample.is_taught and not sample.is_text_read for sample in batch.samples)
        assert stage.num_targets(batch) == sum(
            float(branch.weights.sum()) for sample in batch.samples for branch in sample.branches
        )
        compressor.zero_grad()
        loss = stage.loss_sum(batch)
        loss.backward()
        named = compressor.named_parameters()
        return loss.item(), {name: value.grad.clone() for name, value in named if value.grad is not None}

    without, with_states, twice = gradients(0.0), gradients(0.5), gradients(1.0)
    assert with_states[0] > without[0] + 0.1
    assert twice[0] - without[0] == pytest.approx(2 * (with_states[0] - without[0]), rel=1e-3)
    assert any(not torch.equal(without[1][name], value) for name, value in with_states[1].items() if "encoder" in name)


def test_states_are_apart_in_the_teachers_own_measure() -> None:
    teacher = torch.tensor([[[0.0, 100.0], [2.0, 300.0]]])
    assert state_distances(teacher, teacher).tolist() == [0.0, 0.0]
    # One standard deviation of either dimension, which are 1 and 100, counts alike.
    moved = teacher + torch.tensor([[[1.0, 0.0], [0.0, 100.0]]])
    assert state_distances(moved, teacher).tolist() == pytest.approx([0.5, 0.5])


def test_questions_are_wanted_and_there_are_none(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "plain.jsonl"
    file.write_text('{"text": "No question here."}\n')
    with pytest.raises(DataError, match="no line of --data has any"):
        adapt(options_for(base, file), tmp_path / "run")


def test_blank_lines_are_left_out_and_validation_needs_questions(base: Path, lines: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.jsonl"
    blank.write_text('{"text": " "}\n' + lines.read_text())
    adapt(replace(options_for(base, blank, num_steps=1), data=(blank,)), tmp_path / "run")
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"text": "  \\n"}\n')
    with pytest.raises(DataError, match="training needs text"):
        adapt(options_for(base, empty), tmp_path / "none")
    plain = tmp_path / "plain.jsonl"
    plain.write_text('{"text": "No question here."}\n')
    with pytest.raises(DataError, match="no line of --validation has questions"):
        adapt(replace(options_for(base, lines), validation=(plain,)), tmp_path / "none")


def test_a_reader_without_lora_learns_its_encoder_alone(base: Path, lines: Path, tmp_path: Path) -> None:
    for design in ("dynamic_pooling", "autocompressor"):
        options = options_for(base, lines, design=design, num_steps=2)
        without = replace(options, delta=replace(options.delta, reader_lora_r=0))
        assert adapt(without, tmp_path / design).design == design


def test_the_base_is_found_from_another_folder(
    base: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.parent)
    adapt(replace(options_for(base, lines, num_steps=1), init="base"), tmp_path / "run")
    monkeypatch.chdir("/")
    assert json.loads((tmp_path / "run/model" / DELTA_FILE).read_text())["base"] == str(base)
    assert load_compressor(tmp_path / "run/model").design == "dynamic_pooling"


def test_models_that_cannot_be_trained_around_are_refused(base: Path, lines: Path, tmp_path: Path) -> None:
    tiny_model("gemma2").save_pretrained(tmp_path / "gemma")
    tiny_tokenizer().save_pretrained(tmp_path / "gemma")
    with pytest.raises(CheckpointError, match="choose a model without windows"):
        adapt(options_for(tmp_path / "gemma", lines), tmp_path / "run")
    adapt(options_for(base, lines, num_steps=1), tmp_path / "first")
    merged = load_delta(tmp_path / "first/model")
    merged.decoder = replace(merged.decoder, digest="")
    merged.save(tmp_path / "whole")
    with pytest.raises(CheckpointError, match="is a merged compressor: go on from the delta"):
        adapt(options_for(tmp_path / "whole", lines), tmp_path / "second")


def test_going_on_from_a_delta_keeps_its_design_and_ratios(
    base: Path, lines: Path, tmp_path: Path, home: Path, run: Run
) -> None:
    adapt(options_for(base, lines, design="autocompressor", num_steps=1), tmp_path / "first")
    argv = ("pretrain", "--init", tmp_path / "first/model", "--data", lines, "--no-bf16", "--compressor-steps", 1)
    run.json(*argv, "--batch-tokens", 100, "--out", tmp_path / "second")
    second = load_compressor(tmp_path / "second/model")
    assert (second.design, second.segment_lens, second.summary_length) == ("autocompressor", (8, 16), 4)


def test_a_delta_is_pushed_with_its_base_and_one_of_a_local_folder_is_not(
    base: Path, lines: Path, tmp_path: Path, home: Path, run: Run
) -> None:
    adapt(options_for(base, lines, num_steps=1), tmp_path / "run")
    delta = tmp_path / "run/model"
    assert "a folder of this machine" in run.fails("push", "compressor", delta, tmp_path / "shared")
    values = json.loads((delta / DELTA_FILE).read_text())
    (delta / DELTA_FILE).write_text(json.dumps({**values, "base": "smollm2"}))
    run.json("push", "compressor", delta, tmp_path / "shared")
    assert (tmp_path / "shared" / DELTA_FILE).is_file()
    assert (tmp_path / "shared" / "template.json").is_file()


def test_pretrain_around_a_model_from_the_command_line(
    base: Path, lines: Path, tmp_path: Path, home: Path, run: Run
) -> None:
    common = ("pretrain", "--init", base, "--data", lines, "--encoder-layers", 1, "--no-bf16")
    values = run.json(
        *common, "--out", tmp_path / "run", "--ratios", "2", "--reader-lora-r", 2, "--encoder-lora-r", 0,
        "--compressor-steps", 2, "--batch-tokens", 100, "--teacher-ratio", 1, "--state-weight", 0.2, "--merged",
    )  # fmt: skip
    assert values["step"] == 2
    assert "million weights around" in run.err
    assert load_compressor(tmp_path / "run/model").design == "dynamic_pooling"
    assert load_compressor(tmp_path / "run/merged").design == "dynamic_pooling"


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--mix", "other=1"), 2, "--mix must be such as"),
        (("--span-lens", "9,3"), 2, "--span-lens must be such as 8,24"),
        (("--ratios", "2.5"), 1, "whole numbers from 2 on, got 2.5"),
        (("--encoder-layers", "9"), 1, "1 to 2 layers"),
    ],
)
def test_wrong_flags_of_training_around_a_model_write_nothing(
    base: Path, lines: Path, tmp_path: Path, home: Path, run: Run, flags: tuple[str, str], code: int, message: str
) -> None:
    error = run.fails("pretrain", "--init", base, "--data", lines, "--out", tmp_path / "x", *flags, code=code)
    assert message in " ".join(error.split())
    assert not (tmp_path / "x/model").exists()


def test_groups_hold_about_as_much_information_each_and_at_least_a_token() -> None:
    said_much = torch.tensor([[1.0, 1, 1, 9, 9, 1, 1, 1], [20.0, 1, 1, 1, 1, 0, 0, 0], [3.0, 0, 0, 0, 0, 0, 0, 0]])
    starts = group_starts(said_much.double(), torch.tensor([8, 5, 1]), 2)
    assert starts.tolist() == [[0, 3, 4, 5], [0, 1, 2, 5], [0, 1, 1, 1]]
    even = group_starts(torch.ones(1, 9).double(), torch.tensor([9]), 3)
    assert even.tolist() == [[0, 3, 6]]


@torch.no_grad()
def test_an_untrained_group_is_the_sum_of_its_tokens_weighted_by_information(base: Path) -> None:
    decoder = load_decoder(base)
    settings = DeltaSettings(str(base), "", encoder_layers=1, pooling_hidden_size=8)
    compressor = new_compressor_around(decoder, settings)
    assert isinstance(compressor, LocalCompressor) and isinstance(compressor.encoder, DynamicPoolingEncoder)
    encoder = compressor.encoder
    ids = torch.randint(5, 60, (23,), generator=torch.Generator().manual_seed(0))
    embeddings = decoder.embed(torch.arange(64))
    # Rare tokens say more, also where a token's frequency is only read off its embedding.
    counts = torch.where(torch.arange(64) % 2 == 0, 1000, 1)
    encoder.fit_information(embeddings, counts, torch.tensor([10, 20]))
    information = encoder.information_of(embeddings)
    assert information[1::2].mean() > information[0::2].mean() + 1
    # A digit counts as rare, however common it is.
    assert information[[10, 20]].min() > information[0:40:2].median() + 1
    [vectors] = compressor.read_documents([ids], 2)
    said = information[ids]
    starts = group_starts(said[None], torch.tensor([23]), 2)[0].tolist()
    for vector, start, end in zip(vectors, starts, [*starts[1:], 23], strict=True):
        weights = said[start:end].float().square()[:, None]
        wanted = (decoder.embed(ids[start:end]) * weights).sum(dim=0) / weights.square().sum().sqrt()
        torch.testing.assert_close(vector, wanted)


def test_a_windows_vectors_do_not_depend_on_the_rows_beside_it(base: Path, lines: Path, tmp_path: Path) -> None:
    adapt(options_for(base, lines, num_steps=2), tmp_path / "run")
    compressor = load_compressor(tmp_path / "run/model")
    documents = [torch.arange(5, 5 + length) for length in (60, 33, 7, 1)]
    for segment_len in (2, 4):
        together = compressor.compress_ids(documents, segment_len=segment_len)
        for ids, vectors in zip(documents, together, strict=True):
            [alone] = compressor.compress_ids([ids], segment_len=segment_len)
            torch.testing.assert_close(vectors, alone, rtol=1e-4, atol=1e-5)
