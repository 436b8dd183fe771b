"""The command line's front door: verbs, flags, exit codes, and what goes to which stream."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

import lloco
from lloco import demo
from lloco.cli.main import app
from lloco.cli.output import Output, ProgressLines
from lloco.cli.verbs.demo import TASKS as DEMO_TASKS
from lloco.evals.mode import DEFAULT_MODES
from lloco.training.finetune.run import FinetuneOptions
from lloco.training.pretrain.model import ModelShape
from lloco.training.pretrain.run import PretrainOptions
from tests.command import Run

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("home")
GROUPS = {
    "corpus": ("list", "show", "remove", "verify", "export", "import"),
    "model": ("list", "fetch"),
    "import": ("autocompressor", "icae", "adapter", "embeddings"),
    "bench": ("latency", "compress", "finetune", "serve"),
}
VERBS = (
    *("demo", "compress", "questions", "finetune", "ask", "chat", "predict", "score", "evaluate", "pretrain", "serve"),
    *("push", "pull", *GROUPS),
)
HEAVY = {"torch", "transformers", "peft", "accelerate", "numpy", "rich.markdown", "datasets", "matplotlib"}


def commands() -> Iterator[tuple[str, Any]]:
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {item}", inner[item]) for item in inner) if inner else [(name, command)]


def test_there_are_exactly_these_verbs() -> None:
    in_groups = {f"{group} {name}" for group, names in GROUPS.items() for name in names}
    assert {name for name, _ in commands()} == {*VERBS} - GROUPS.keys() | in_groups


def test_help_of_every_verb_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from lloco.cli.main import main; import lloco\n"
        f"for verb in {VERBS!r}: assert main([verb, '--help']) == 0\n"
        f"assert main(['--help']) == 0\nprint(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_launchers_find_the_command_line_by_the_name_of_the_package() -> None:
    done = subprocess.run([sys.executable, "-m", "lloco", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == lloco.__version__


def test_help_of_every_verb_has_an_example(run: Run) -> None:
    for name in ("", *VERBS, *(f"{group} {name}" for group, names in GROUPS.items() for name in names)):
        assert run(*name.split(), "--help") == 0
        assert re.search(r"(Examples?|Start here):\n +lloco ", run.out), name
        assert not re.search(r" <(str|int|float|path|list|bool)\b[^>]*>", run.out), f"{name}: a Python type"


def test_help_stands_in_panels_with_a_verbs_own_flags_first(run: Run) -> None:
    assert run("pretrain", "--help") == 0
    heads = re.findall(r"^([A-Z][\w ]+):$", run.out, re.MULTILINE)
    assert heads == ["Options", "Input", "Model", "Around a pretrained model", "Output"]
    around = run.out.partition("Around a pretrained model:")[2].partition("Output:")[0]
    assert "--reader-lora-r" in around and "--json" not in around


@pytest.mark.parametrize(
    "verb",
    [(), *[(item,) for item in VERBS if item not in ("demo", "serve")], ("corpus", "show"), ("corpus", "import")],
)
def test_a_verb_without_arguments_shows_its_help(run: Run, verb: tuple[str, ...]) -> None:
    assert run(*verb) == 2
    assert "Usage: lloco" in run.out + run.err


PREDICT = ("predict", "--task", "qasper", "--data", "x")
EVALUATE = ("evaluate", "--task", "qasper", "--data", "x")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["compress", "x"], "--corpus"),
        (["ask", "--corpus", "c"], "QUESTION"),
        ([*PREDICT, "--mode", "psychic"], "'--mode': there is no 'psychic', choose one of compressed, hybrid, full"),
        ([*PREDICT, "--modes", "full,none"], "No such option: --modes"),
        ([*PREDICT, "--limit", "0"], "'--limit': must be a whole number of at least 1, got 0"),
        ([*PREDICT, "--limit", "some"], "'--limit': must be a whole number of at least 1, got some"),
        ([*PREDICT, "--seed", "-1"], "'--seed': must be a whole number from 0 to 4294967295, got -1"),
        ([*PREDICT, "--dtype", "int4"], "there is no 'int4', choose one of auto, float32, bfloat16, float16"),
        (
            ["score", "--task", "trivia", "--data", "x", "--predictions", "y"],
            "'--task': there is no 'trivia', choose one",
        ),
        (
            ["predict", "--task", "trivia", "--data", "x"],
            "choose one of quality, qmsum, qasper, narrativeqa, hotpotqa,",
        ),
        (["evaluate", "--task", "trivia", "--data", "x"], "'--task': there is no 'trivia', choose one of quality,"),
        (["finetune", "--task", "trivia", "--data", "x"], "'--task': there is no 'trivia', choose one of quality,"),
        (["demo", "--task", "trivia"], "'--task': there is no 'trivia', choose one of museum, railway, fairytaleqa"),
        ([*EVALUATE, "--modes", "full,psychic"], "'--modes': there is no mode 'psychic', choose some of compressed,"),
        ([*EVALUATE, "--modes", "full,full"], "mode full is named twice"),
        ([*EVALUATE, "--limit", "-1"], "'--limit': must be a whole number of at least 1, got -1"),
        ([*EVALUATE, "--batch-size", "0"], "'--batch-size': must be a whole number of at least 1, got 0"),
        (["compress", "x", "--corpus", "c", "--batch-size", "0"], "--batch-size"),
        (["compress", "x", "--corpus", "c", "--ratio", "8", "--segment-len", "9"], "not both"),
        (["ask", " ", "--corpus", "c"], "empty"),
        (["corpus", "show", "a", "--corpus", "b"], "name one corpus"),
        (["finetune", "--data", "x"], "--corpus"),
        (["finetune", "--data", "x", "--corpus", "c", "--lora-dropout", "7"], "'--lora-dropout': "),
        (["finetune", "--data", "x", "--corpus", "c", "--warmup-ratio", "-1"], "'--warmup-ratio': "),
        (["pretrain", "--data", "x", "--out", "y", "--learning-rate", "-1"], "'--learning-rate': "),
        (["finetune", "--data", "x", "--corpus", "c", "--adapter", ".", "--lora-r", "4"], "leave --lora-r out"),
        (["pretrain", "--data", "x", "--out", "y", "--num-attention-heads", "5"], "multiple"),
    ],
)
def test_a_wrong_command_line_is_explained_with_exit_code_2(run: Run, argv: list[str], words: str) -> None:
    assert words in run.fails(*argv, code=2)


def test_flags_are_spelled_and_explained_the_same_everywhere() -> None:
    own_meaning = {
        "--out",
        "--data",
        "--batch-size",
        "--segment-len",
        "--document",
        "--predictions",
        "--corpus",
        "--task",
    }
    own_meaning_of_a_verb = {("finetune", "--adapter"), ("chat", "--json")}
    helps: dict[str, set[str]] = {}
    for name, command in commands():
        for option in command.params:
            for flag in option.opts:
                if flag.startswith("--") and flag not in own_meaning and (name, flag) not in own_meaning_of_a_verb:
                    helps.setdefault(flag, set()).add(str(option.help))
    shared = {"--model", "--compressor", "--adapter", "--store", "--device", "--dtype", "--limit", "--seed", "--json"}
    assert {flag for flag in shared if len(helps[flag]) != 1} == set()


def test_every_verb_can_print_json_and_be_quiet() -> None:
    for _, command in commands():
        assert {"--quiet", "--json"} <= {flag for option in command.params for flag in option.opts}


def test_the_bundled_tasks_to_choose_from_are_those_there_are() -> None:
    assert tuple(demo.TASKS) == DEMO_TASKS


def test_defaults_are_those_of_the_library() -> None:
    params = {name: {param.name: param.default for param in command.params} for name, command in commands()}
    tuned, lora = FinetuneOptions(), FinetuneOptions().lora
    for field in fields(FinetuneOptions):
        if field.name in params["finetune"]:
            assert params["finetune"][field.name] == getattr(tuned, field.name), field.name
    assert (params["finetune"]["lora_r"], params["finetune"]["lora_alpha"]) == (lora.r, lora.alpha)
    assert params["finetune"]["lora_dropout"] == lora.dropout
    assert tuple(params["finetune"]["target_modules"].split(",")) == lora.target_modules
    trained, shape = PretrainOptions(data=()), ModelShape()
    for name, value in params["pretrain"].items():
        if hasattr(trained, name) and name not in ("data", "validation", "tokenizer_text"):
            assert value == getattr(trained, name), name
        elif hasattr(shape, name):
            assert value == getattr(shape, name), name
    assert tuple(params["evaluate"]["modes"].split(",")) == DEFAULT_MODES


def test_version_is_printed(run: Run) -> None:
    assert run("--version") == 0
    assert run.out.strip() == lloco.__version__


def test_the_version_is_known_where_nothing_is_installed() -> None:
    """As under PYTHONPATH: no package's metadata is in reach without the site folders."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import lloco; print(lloco.__version__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+", done.stdout.strip())


# What a verb says


def test_progress_in_a_log_is_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("lloco.cli.output.time.monotonic", lambda: now)
    said: list[str] = []
    lines = ProgressLines("compressing", "tokens", said.append)
    for _ in range(25):
        now += 1.0
        lines.advance(100, 5000)
    assert said == [
        "compressing: 1,000 of 5,000 tokens, 100 tokens/s, 40s left",
        "compressing: 2,000 of 5,000 tokens, 100 tokens/s, 30s left",
    ]


def test_slow_progress_is_told_in_fractions(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("lloco.cli.output.time.monotonic", lambda: now)
    said: list[str] = []
    lines = ProgressLines("learning", "steps", said.append)
    now += 20.0
    lines.advance(7, 14)
    assert said == ["learning: 7 of 14 steps, 0.35 steps/s, 20s left"]


def test_only_the_first_of_several_processes_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    output = Output()
    output.say("a")
    output.warn("b")
    output.result({"c": 1}, "d")
    with output.progress("e", "f") as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")


def test_the_public_names_are_loaded_when_they_are_used() -> None:
    code = (
        "import sys, lloco\n"
        "assert 'torch' not in sys.modules\n"
        "assert set(dir(lloco)) == set(lloco.__all__)\n"
        "first = lloco.ask\nimport lloco.answer.prepare\nassert lloco.ask is first and callable(lloco.ask)\n"
        "assert all(getattr(lloco, name) is not None for name in lloco.__all__)\n"
        "assert not hasattr(lloco, 'nonsense')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("corpus list", 0, "holds no corpus yet"),
        ("corpus show nope", 1, "'nope'"),
        ("corpus remove nope", 1, "'nope'"),
        ("corpus verify", 0, "0 problems"),
        ("ask --corpus nope question", 1, "'nope'"),
        ("chat --corpus nope", 1, "'nope'"),
        ("serve --corpus nope", 1, "'nope'"),
        ("push corpus nope someone/somewhere", 1, "'nope'"),
        ("evaluate --task jsonl --data nope.jsonl", 1, "nope.jsonl"),
        ("evaluate --task jsonl --data {data} --corpus nope", 1, "'nope'"),
        ("predict --task jsonl --data {data} --corpus nope", 1, "'nope'"),
        ("finetune --corpus mine --data nope.jsonl", 1, "nope.jsonl"),
        ("finetune --corpus nope --data {pairs}", 1, "'nope'"),
        ("pretrain --data nope.jsonl --out out", 1, "nope.jsonl"),
        ("pretrain --init smollm2 --data nope.jsonl --out out", 1, "nope.jsonl"),
        ("compress nope.pdf --corpus mine", 1, "nope.pdf"),
        ("ask --top-k 0 question", 2, "--top-k"),
        ("model list", 0, "smollm2"),
    ],
)
def test_lists_and_refusals_do_not_wait_for_torch(arguments: str, code: int, said: str, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"id": "a", "text": "A text.", "questions": [{"question": "What?", "answers": ["That."]}]}\n')
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"document": "a", "question": "What?", "answer": "That."}\n')
    program = (
        "import sys\n"
        "from lloco.cli.main import main\n"
        f"code = main({arguments.format(data=data, pairs=pairs).split()!r})\n"
        f"print(code, sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    environment = {**os.environ, "LLOCO_HOME": str(tmp_path / "store"), "COLUMNS": "200"}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
    )
    assert ran.stderr.splitlines()[-1] == f"{code} []", ran.stderr
    assert said in ran.stdout + ran.stderr
