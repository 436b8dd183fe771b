"""Training in two real processes against training in one: replicated, in shares, killed, resumed, with one at fault.

Starting processes takes long: one launch trains everything that the tests of the library look at.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from accelerate import PartialState

from lloco.cli import verb
from lloco.errors import LlocoError
from lloco.training.checkpoint import CHECKPOINT
from lloco.training.finetune.run import FinetuneOptions
from lloco.training.loop import LogLine
from lloco.training.pretrain.run import PretrainOptions, pretrain
from lloco.training.sharding import decoder_layers, is_sharding_wanted, share_out
from tests import test_finetune as finetuning
from tests import test_pretrain as pretraining
from tests.command import Run, write_lines
from tests.tiny import tiny_decoder, tiny_llama

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "recipes" / "many_gpus" / "fsdp2.yaml"
FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
# Steps of three micro-batches: of two processes one has nothing left in the second round.
OPTIONS = replace(finetuning.OPTIONS, batch_size=5, evaluate_every=4)
KILLED_AT = 4


class StoppedError(Exception):
    """What ends a run in the middle."""


def stop_at(step: int) -> Callable[[LogLine], None]:
    def on_step(line: LogLine) -> None:
        if line.step == step:
            raise StoppedError

    return on_step


def tune(out: Path, options: FinetuneOptions = OPTIONS, **changes: Any) -> None:
    finetuning.run(out, options, validation=finetuning.EXAMPLES[:3], **changes)


def tune_low(out: Path) -> None:
    """Train as large decoders are: in bfloat16 but for the adapter, activations computed again."""
    decoder = replace(tiny_decoder(), model=tiny_llama().to(torch.bfloat16))
    tune(out, replace(OPTIONS, gradient_checkpointing=True, num_steps=3), decoder=decoder)


def reading_options(lines: Path, **changes: object) -> PretrainOptions:
    """Every stage, with held-out questions, and soft prompts as well as text for contexts."""
    values: dict[str, Any] = {
        "shape": pretraining.SHAPE,
        "lookup_steps": 2,
        "language_model_steps": 2,
        "compressor_steps": 4,
        "batch_tokens": 200,
        "evaluate_every": 2,
        "ratios": (8.0,),
        "window_len": 32,
        "distillation_ratio": 0.5,
        "bf16": False,
        "device": "cpu",
        **changes,
    }
    return PretrainOptions(data=(lines,), validation=(lines,), **values)


def job(folder: str) -> None:
    """Train all that is compared below; each of two processes runs this."""
    out = Path(folder)
    wrote: list[str] = []

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        is_write = event in ("os.mkdir", "os.rename", "os.remove") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if is_write and str(arguments[0]).startswith(folder):
            wrote.append(f"{event} {arguments[0]}")

    sys.addaudithook(audit)
    tune(out / "replicated")
    pretrain(reading_options(out / "lines.jsonl"), out / "reading_replicated")
    os.environ |= FSDP2
    tune(out / "shares")
    tune_low(out / "low")
    tune(out / "begun_by_one")
    pretrain(reading_options(out / "lines.jsonl"), out / "reading_shares")
    pretrain(reading_options(out / "lines.jsonl", design="autocompressor"), out / "recursive_shares")
    told = {"rank": os.environ["RANK"], "wrote": len(wrote), "bytes": bytes_of_shares()}
    print(f"\ntold {json.dumps(told)}", flush=True)

    def die(line: LogLine) -> None:
        if line.step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    tune(out / "killed", on_step=die)


def bytes_of_shares() -> list[int]:
    """Return what one process holds of a tiny model's parameters, gradients and optimiser state."""
    model = tiny_llama()
    shares = share_out(model, decoder_layers(model), PartialState())
    optimizer = torch.optim.AdamW(model.parameters())
    shares(lambda: model(torch.arange(8)[None]).logits.square().sum()).backward()
    optimizer.step()
    parameters = [parameter.to_local() for parameter in model.parameters()]
    gradients = [parameter.grad.to_local() for parameter in model.parameters()]
    moments = [state[key].to_local() for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    return [sum(tensor.nbytes for tensor in tensors) for tensors in (parameters, gradients, moments)]


def launch(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What one process trains, what two do, and what these said; `killed` is left as two processes left it."""
    folder = tmp_path_factory.mktemp("processes")
    lines = pretraining.write_lines(folder / "lines.jsonl")
    tune(folder / "one")
    with pytest.raises(StoppedError):
        tune(folder / "begun_by_one", on_step=stop_at(KILLED_AT))
    pretrain(reading_options(lines), folder / "reading_one")
    pretrain(reading_options(lines, design="autocompressor"), folder / "recursive_one")
    tune_low(folder / "low_one")
    script = folder / "job.py"
    script.write_text("import sys\nfrom tests.test_many_processes import job\njob(*sys.argv[1:])\n")
    done = launch("torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), str(folder))
    assert (folder / "killed" / CHECKPOINT).is_file(), done.stderr
    assert done.returncode == 1
    return folder, done.stdout


def assert_same_training(one: Path, other: Path) -> None:
    """Losses to 1e-5 in float32; weights to what Adam makes of rounding where gradients are tiny."""
    assert finetuning.losses(other) == pytest.approx(finetuning.losses(one), rel=1e-5)
    weights, others = finetuning.adapter_weights(one), finetuning.adapter_weights(other)
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=1e-4, atol=1e-4)
    for line, other_line in zip(finetuning.curve(one), finetuning.curve(other), strict=True):
        assert other_line.figures == pytest.approx(line.figures, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["replicated", "shares"])
def test_two_processes_give_the_adapter_of_one(trained: tuple[Path, str], kind: str) -> None:
    assert_same_training(trained[0] / "one", trained[0] / kind)
    files = {path.name for path in (trained[0] / "one" / "adapter").iterdir()}
    assert {path.name for path in (trained[0] / kind / "adapter").iterdir()} == files


@pytest.mark.slow
def test_shares_in_bfloat16_are_gathered_again_in_the_backward_pass(trained: tuple[Path, str]) -> None:
    one, two = (trained[0] / name for name in ("low_one", "low"))
    assert finetuning.losses(two) == pytest.approx(finetuning.losses(one), rel=1e-3)
    assert {tensor.dtype for tensor in finetuning.adapter_weights(two).values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "two", "tolerance"),
    [
        ("reading_one", "reading_replicated", 1e-5),
        ("reading_one", "reading_shares", 1e-5),
        # Adam makes a whole step of a gradient that is rounding alone: AVX2 and AVX-512 differ by 1e-4 in one process.
        ("recursive_one", "recursive_shares", 1e-3),
    ],
)
def test_two_processes_pretrain_the_compressor_of_one(
    trained: tuple[Path, str], one: str, two: str, tolerance: float
) -> None:
    folder, _ = trained
    for stage in ("lookup", "language_model", "compressor"):
        lines, others = pretraining.curve(folder / one, stage), pretraining.curve(folder / two, stage)
        assert [line["loss"] for line in others] == pytest.approx([line["loss"] for line in lines], rel=tolerance)
        assert [line["figures"] for line in others] == [line["figures"] for line in lines]
    weights, others = (
        safetensors.torch.load_file(folder / name / "model" / "model.safetensors") for name in (one, two)
    )
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert float((others[name] - tensor).norm()) < 1e-3 * float(tensor.norm()), name
    assert json.loads((folder / two / "pretrain.json").read_text()) == json.loads(
        (folder / one / "pretrain.json").read_text()
    )


@pytest.mark.slow
def test_what_two_processes_began_one_goes_on_with_and_the_reverse(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    redone: list[int] = []
    tune(folder / "killed", on_step=lambda line: redone.append(line.step))
    assert redone == list(range(KILLED_AT - KILLED_AT % OPTIONS.save_every, 8))
    assert_same_training(folder / "one", folder / "killed")
    assert_same_training(folder / "one", folder / "begun_by_one")


@pytest.mark.slow
def test_the_first_process_alone_writes_and_each_holds_its_half(trained: tuple[Path, str]) -> None:
    told = [json.loads(line.removeprefix("told ")) for line in trained[1].splitlines() if line.startswith("told ")]
    first, second = sorted(told, key=lambda value: value["rank"])
    assert second["wrote"] == 0 < first["wrote"]
    whole = sum(parameter.nbytes for parameter in tiny_llama().parameters())
    assert [sum(both) for both in zip(first["bytes"], second["bytes"], strict=True)] == [whole, whole, 2 * whole]
    for num_bytes, of_all in zip(first["bytes"], (whole, whole, 2 * whole), strict=True):
        assert num_bytes == pytest.approx(of_all / 2, rel=0.01)


@pytest.mark.slow
def test_accelerate_launch_finetunes_in_shares_and_says_it_once(home: Path, filled: Run, tmp_path: Path) -> None:
    lines = write_lines(
        tmp_path / "qa.jsonl",
        {"question": "Who signed?", "answer": "Agnes Webb", "document": "lease.txt"},
        {"question": "Who was master?", "answer": "Edmund Crane", "document": "voyage.md"},
        {"question": "How long?", "answer": "nine years", "document": "lease.txt"},
    )
    steps = "--num-steps 3 --batch-size 3 --micro-batch-size 1 --learning-rate 0.01 --device cpu --json"
    argv = ["finetune", "--corpus", "c", "--data", str(lines), *steps.split()]
    assert filled(*argv, "--out", "alone") == 0
    alone = json.loads(filled.out)
    launcher = ("accelerate.commands.accelerate_cli", "launch", "--config_file", str(CONFIG), "--num_processes", "2")
    done = launch(*launcher, "-m", "lloco.cli.main", *argv, "--out", "shared")
    assert done.returncode == 0, done.stderr
    shared = json.loads(done.stdout)
    assert shared["last_loss"] == pytest.approx(alone["last_loss"], rel=1e-5)
    assert done.stderr.count("next: lloco ask") == 1
    assert filled.json("corpus", "show", "c")["adapter_digest"] == shared["adapter_digest"]


@pytest.mark.slow
def test_a_fault_of_one_process_ends_all_with_one_message(home: Path, filled: Run, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "qa.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    script = tmp_path / "other_data.py"
    script.write_text(
        "import os, sys\nfrom lloco.cli import verb\nfrom lloco.cli.main import main\n"
        "name = 'qa.jsonl'\n"
        "if os.environ['RANK'] == '1':\n"
        "    verb.GRACE_SECONDS, name = 1.0, 'nowhere.jsonl'\n"
        "sys.exit(main(['finetune', '--corpus', 'c', '--device', 'cpu', '--data', name]))\n"
    )
    lines.rename("qa.jsonl")
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = launch(*launcher, str(script))
    assert (done.returncode, done.stdout) == (1, "")
    said = [line for line in done.stderr.splitlines() if "error: " in line or "fault of lloco" in line]
    assert len(said) == 1
    assert said[0].startswith("process 1: error: ") and "nowhere.jsonl" in said[0]


def test_other_processes_let_the_first_one_speak(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slept: list[float] = []
    monkeypatch.setattr(verb.time, "sleep", slept.append)
    monkeypatch.setenv("RANK", "1")
    # Without a launcher of several processes the variable is somebody else's.
    assert run.fails("corpus", "show", "nope", "--store", tmp_path).startswith("error: ")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run.fails("corpus", "show", "nope", "--store", tmp_path).startswith("process 1: error: ")
    assert slept == [verb.GRACE_SECONDS]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "fsdp_version must be 2"),
        ({**FSDP2, "FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params .*share among more processes"),
        ({**FSDP2, "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, "fsdp_cpu_ram_efficient_loading"),
        ({**FSDP2, "FSDP_ACTIVATION_CHECKPOINTING": "true"}, "give --gradient-checkpointing"),
        ({**FSDP2, "ACCELERATE_MIXED_PRECISION": "bf16"}, "give --bf16 or --dtype"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "set distributed_type to FSDP"),
    ],
)
def test_a_configuration_that_would_not_be_followed_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LlocoError, match=words):
        is_sharding_wanted(PartialState(cpu=True))


def test_one_process_has_nobody_to_share_with(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FSDP2.items():
        monkeypatch.setenv(name, value)
    assert not is_sharding_wanted(PartialState(cpu=True))
