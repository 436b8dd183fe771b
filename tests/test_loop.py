"""The training loop: its schedule, its checkpoints, and what it refuses."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lloco.errors import LlocoError
from lloco.training.checkpoint import CHECKPOINT
from lloco.training.curves import write_curves
from lloco.training.loop import LogLine, LoopOptions, chosen_bf16, learning_rate_at, process_state, train

OPTIONS = LoopOptions(num_steps=12, learning_rate=0.05, save_every=5, seed=3)


class LineStage:
    """Learn y = x W from seeded points; a step has micro-batches of 3, 1 and 2 points, with dropout on x."""

    def __init__(self, module: nn.Linear, *, scale: float = 1.0) -> None:
        self.module = module
        self.scale = scale

    def micro_batches(self, step: int) -> Sequence[Tensor]:
        generator = torch.Generator().manual_seed(step)
        return torch.randn(6, 4, generator=generator).split([3, 1, 2])

    def num_targets(self, batch: Tensor) -> float:
        return float(len(batch))

    def loss_sum(self, batch: Tensor) -> Tensor:
        seen = nn.functional.dropout(batch, 0.1)
        return self.scale * (self.module(seen) - batch.sum(dim=1, keepdim=True)).square().sum()

    def is_measured(self, step: int) -> bool:
        return step % 4 == 3

    def evaluate(self, step: int) -> dict[str, float]:
        return {"validation_loss": 1.0 / (step + 1), "exact_match": 10.0 * step}


class StoppedError(Exception):
    """What ends a run in the middle."""


def new_module() -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(4, 1)


def run(folder: Path, options: LoopOptions = OPTIONS, *, stop_at: int | None = None) -> tuple[nn.Linear, list[LogLine]]:
    module = new_module()

    def on_step(line: LogLine) -> None:
        if line.step == stop_at:
            raise StoppedError

    return module, train(module, LineStage(module), options, folder, on_step)


def losses(log: Sequence[LogLine]) -> list[float]:
    return [line.loss for line in log]


@pytest.mark.parametrize("is_faster", [True, False])
def test_a_run_goes_on_in_the_type_it_began_in_and_a_new_one_takes_the_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_faster: bool
) -> None:
    monkeypatch.setattr("lloco.training.loop.is_bfloat16_faster", lambda device: is_faster)
    state = process_state(torch.device("cpu"))
    run(tmp_path / "begun", replace(OPTIONS, bf16=not is_faster))
    assert chosen_bf16(None, [tmp_path / "new"], state) is is_faster
    assert chosen_bf16(None, [tmp_path / "new", tmp_path / "begun"], state) is not is_faster
    assert chosen_bf16(is_faster, [tmp_path / "begun"], state) is is_faster


def test_learning_rate_rises_linearly_then_falls_along_a_cosine() -> None:
    options = LoopOptions(num_steps=100, learning_rate=1.0, warmup_ratio=0.1, min_lr_ratio=0.2)
    rates = [learning_rate_at(step, options) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.6)
    assert rates[99] == pytest.approx(0.2, abs=1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_loss_falls_and_every_step_is_logged(tmp_path: Path) -> None:
    _, log = run(tmp_path, replace(OPTIONS, num_steps=80))
    assert [line.step for line in log] == list(range(80))
    assert log[0].num_targets == 6
    assert sum(losses(log)[-10:]) < 0.3 * sum(losses(log)[:10])
    assert log[3].figures == {"validation_loss": 0.25, "exact_match": 30.0}


def test_a_date_with_its_time_is_a_seed(tmp_path: Path) -> None:
    _, log = run(tmp_path / "dated", replace(OPTIONS, num_steps=2, seed=20260115093000))
    assert len(log) == 2 and losses(log) != losses(run(tmp_path / "other", replace(OPTIONS, num_steps=2))[1])


def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    class Whole(LineStage):
        def micro_batches(self, step: int) -> Sequence[Tensor]:
            return [torch.cat(list(super().micro_batches(step)))]

        def loss_sum(self, batch: Tensor) -> Tensor:
            return (self.module(batch) - batch.sum(dim=1, keepdim=True)).square().sum()

    class Parts(Whole):
        def micro_batches(self, step: int) -> Sequence[Tensor]:
            return LineStage.micro_batches(self, step)

    whole, parts = new_module(), new_module()
    whole_log = train(whole, Whole(whole), OPTIONS, tmp_path / "whole")
    parts_log = train(parts, Parts(parts), OPTIONS, tmp_path / "parts")
    torch.testing.assert_close(parts.weight, whole.weight)
    assert losses(parts_log) == pytest.approx(losses(whole_log), rel=1e-5)


@pytest.mark.parametrize("stop_at", [2, 4, 7, 11])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    module, log = run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", stop_at=stop_at)
    resumed, resumed_log = run(tmp_path / "stopped")
    assert torch.equal(resumed.weight, module.weight)
    assert torch.equal(resumed.bias, module.bias)
    assert losses(resumed_log) == losses(log)
    assert [line.figures for line in resumed_log] == [line.figures for line in log]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    module, log = run(tmp_path)
    again, again_log = run(tmp_path, stop_at=0)
    assert torch.equal(again.weight, module.weight)
    assert again_log == log


def test_another_run_in_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    module = new_module()
    train(module, LineStage(module), OPTIONS, tmp_path, run={"data_digest": "a", "lora": {"r": 8}})
    before = (tmp_path / CHECKPOINT).read_bytes()
    for options, identity, named in (
        (replace(OPTIONS, seed=4), {"data_digest": "a", "lora": {"r": 8}}, "seed"),
        (OPTIONS, {"data_digest": "b", "lora": {"r": 8}}, "data_digest"),
        (OPTIONS, {"data_digest": "a", "lora": {"r": 4}}, "lora"),
        (OPTIONS, None, "data_digest, lora"),
    ):
        with pytest.raises(LlocoError, match=rf"another run \(it differs in {named}\)"):
            train(module, LineStage(module), options, tmp_path, run=identity)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_the_rhythm_of_checkpoints_may_change(tmp_path: Path) -> None:
    module, _ = run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", stop_at=6)
    resumed, _ = run(tmp_path / "stopped", replace(OPTIONS, save_every=2))
    assert torch.equal(resumed.weight, module.weight)


@pytest.mark.parametrize("num_bytes", [0, 2, 1000, -20])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, num_bytes: int) -> None:
    run(tmp_path)
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:num_bytes])
    with pytest.raises(LlocoError, match=rf"{CHECKPOINT} cannot be read as a training checkpoint \(.+\): remove it"):
        run(tmp_path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoppedError):
        run(tmp_path, stop_at=6)
    before = (tmp_path / CHECKPOINT).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(tmp_path, stop_at=6)
    before = (tmp_path / CHECKPOINT).read_bytes()
    module = new_module()
    with pytest.raises(LlocoError, match=r"step 5 .* gave inf"):
        train(module, LineStage(module, scale=1e38), OPTIONS, tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_launcher_that_this_process_did_not_join_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    process_state(torch.device("cpu"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LlocoError, match="2 processes"):
        process_state(torch.device("cpu"))


def test_curves_are_written_as_numbers_and_as_a_picture(tmp_path: Path) -> None:
    _, log = run(tmp_path / "run")
    write_curves(tmp_path / "curves", log)
    lines = json.loads((tmp_path / "curves" / "curve.json").read_text())
    assert [LogLine(**line) for line in lines] == log
    assert (tmp_path / "curves" / "curve.png").read_bytes().startswith(b"\x89PNG\r\n")
