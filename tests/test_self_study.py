"""Self-study: what rows are made of, what they learn, and that a run is a pure function of seed and step."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions
from lloco.errors import LlocoError
from lloco.prompts.template import DEFAULT_TEMPLATE
from lloco.training.finetune.example import Example
from lloco.training.finetune.examples import MeasuredExample, SoftPrompts, measure_examples
from lloco.training.finetune.run import FinetuneOptions, finetune
from lloco.training.finetune.self_study import SelfStudyOptions, SelfStudyStage, StudyRow
from lloco.training.finetune.stage import AnswerStage
from tests.tiny import tiny_decoder, tiny_model

EXAMPLES = [
    Example(f"d{number % 4}", f"Which colour has {number}?", answer, passage=f"It is said that {number} is {answer}.")
    for number, answer in enumerate(["red", "blue", "green", "white", "black", "grey", "pink", "gold"])
]
QUIET = SelfStudyOptions(distillation_ratio=0, distractor_ratio=0, not_answerable_ratio=0, unrelated_ratio=0)


def soft_prompt(id: str) -> Tensor:
    return torch.randn(6, 48, generator=torch.Generator().manual_seed(int(id[1:])))


def stage_of(options: SelfStudyOptions, examples: list[Example] = EXAMPLES, **model: Any) -> SelfStudyStage:
    decoder = tiny_decoder(tiny_model(**model))
    attach_adapter(decoder, LoraOptions(dropout=0))
    soft_prompts = SoftPrompts(soft_prompt, decoder.device)
    measured = measure_examples(examples, soft_prompts, DEFAULT_TEMPLATE, decoder).examples
    answers = AnswerStage(
        decoder, DEFAULT_TEMPLATE, soft_prompts, measured, batch_size=8, micro_batch_size=4, num_samples=400, seed=3,
        questions_a_row=2,
    )  # fmt: skip
    return SelfStudyStage(answers, options)


def rows_of(stage: SelfStudyStage, num_steps: int = 30) -> list[StudyRow]:
    return [row for step in range(num_steps) for batch in stage.micro_batches(step) for row in batch]


def loss_of(stage: SelfStudyStage, batch: list[StudyRow]) -> float:
    return float(stage.loss_sum(batch).detach())


def without_passage(measured: MeasuredExample) -> MeasuredExample:
    return replace(measured, example=replace(measured.example, passage=""))


def test_rows_hold_distractors_strangers_and_unrelated_questions_in_their_shares() -> None:
    stage = stage_of(SelfStudyOptions(distractor_ratio=0.5, not_answerable_ratio=0.4, unrelated_ratio=0.2))
    rows = rows_of(stage)
    related = [row for row in rows if not row.is_unrelated]
    assert 0.4 < sum(len(row.document_ids) > 1 for row in related) / len(related) < 0.6
    strangers = [
        (row, item) for row in related for item in row.examples if item.example.answer == "not in the documents"
    ]
    assert 0.1 < len(strangers) / len(related) < 0.4
    assert all(item.example.document_id not in row.document_ids for row, item in strangers)
    unrelated = [row for row in rows if row.is_unrelated]
    assert 0.1 < len(unrelated) / (8 * 30) < 0.3
    assert {len(row.document_ids) for row in unrelated} == {0, 1}
    assert [row.document_ids for row in rows] == [row.document_ids for row in rows_of(stage)], "a function of the step"


def test_without_its_additions_the_loss_is_that_of_answers_read_from_vectors_and_from_text() -> None:
    stage = stage_of(QUIET)
    plain = stage_of(QUIET, [replace(item, passage="") for item in EXAMPLES])
    [batch, *_] = stage.micro_batches(0)
    bare = [replace(row, examples=tuple(without_passage(item) for item in row.examples)) for row in batch]
    from_vectors = loss_of(plain, bare)
    asked = [item for row in batch for item in row.examples]
    assert from_vectors == pytest.approx(float(plain._answers.loss_sum(asked).detach()), rel=1e-4)
    assert loss_of(stage, batch) > from_vectors
    assert stage.num_targets(batch) == 2 * plain.num_targets(bare)


def test_the_teacher_is_the_text_and_counts_where_it_is_right() -> None:
    plain, taught = stage_of(QUIET), stage_of(replace(QUIET, distillation_ratio=1.0))
    [batch, *_] = plain.micro_batches(0)
    # A random model is right about next to nothing: the answers teach.
    assert loss_of(taught, batch) == pytest.approx(loss_of(plain, batch), rel=0.2)


def test_unrelated_answers_are_held_to_the_model_without_the_adapter() -> None:
    stage = stage_of(SelfStudyOptions(unrelated_ratio=1.0))
    unrelated = [row for row in rows_of(stage, 4) if row.is_unrelated]
    alone = [row for row in unrelated if not row.document_ids]
    assert loss_of(stage, alone) == pytest.approx(0.0, abs=1e-4), "a new adapter changes nothing"
    loaded = [row for row in unrelated if row.document_ids]
    loss = stage.loss_sum(loaded)
    assert float(loss.detach()) > 0.01
    loss.backward()
    assert any(
        value.grad is not None and float(value.grad.abs().sum()) > 0
        for value in stage._answers.decoder.model.parameters()
        if value.requires_grad
    )


def test_a_model_that_reads_no_branches_studies_row_by_row() -> None:
    stage = stage_of(SelfStudyOptions(unrelated_ratio=0.5), architecture="gemma2")
    [batch, *_] = stage.micro_batches(0)
    assert torch.isfinite(stage.loss_sum(batch))


def test_a_run_learns_and_a_stopped_one_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    options = FinetuneOptions(
        batch_size=4, micro_batch_size=2, num_steps=8, learning_rate=5e-3, save_every=4, lora=LoraOptions(dropout=0)
    )

    def run(out: Path, stop_at: int | None = None) -> bytes:
        def on_step(line: Any) -> None:
            if line.step == stop_at:
                raise KeyboardInterrupt

        given = (tiny_decoder(), EXAMPLES, soft_prompt, DEFAULT_TEMPLATE, options, out, on_step)
        adapter = finetune(*given, study=SelfStudyOptions(), notes={"studied": {"d0": "x"}})
        assert '"studied"' in (adapter / "lloco.json").read_text()
        return (adapter / "adapter_model.safetensors").read_bytes()

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop_at=5)
    assert run(tmp_path / "parts") == whole
    with pytest.raises(LlocoError, match="another"):
        finetune(tiny_decoder(), EXAMPLES, soft_prompt, DEFAULT_TEMPLATE, options, tmp_path / "whole")


def test_shares_outside_0_to_1_are_refused() -> None:
    with pytest.raises(LlocoError, match="distractor_ratio must be between 0 and 1, got 2"):
        SelfStudyOptions(distractor_ratio=2)
