"""Finetuning against plain forward passes, against PEFT, against itself killed, and its errors."""

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from peft import PeftModel
from torch import Tensor, nn

from lloco.adapters.attach import attach_adapter
from lloco.adapters.check import check_adapter
from lloco.adapters.digest import adapter_digest
from lloco.adapters.folder import LoraOptions
from lloco.engine.engine import SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import CheckpointError, DataError, LlocoError, MismatchError
from lloco.files.durable import LOCK_FILE
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import answer_ids, build_prompt
from lloco.prompts.template import DEFAULT_TEMPLATE, Template
from lloco.training.checkpoint import CHECKPOINT
from lloco.training.finetune.example import Example
from lloco.training.finetune.examples import SoftPrompts, measure_examples
from lloco.training.finetune.run import FinetuneOptions, finetune
from lloco.training.finetune.stage import AnswerStage
from lloco.training.loop import LogLine
from tests.tiny import ARCHITECTURES, tiny_decoder, tiny_llama, tiny_model

ROOT = Path(__file__).parent.parent
LENGTHS = {"a": 3, "b": 40, "c": 1, "d": 17, "e": 9, "f": 5}
ANSWERS = {"a": "red", "b": "a very long answer", "c": "7", "d": "blue", "e": "green", "f": "no"}
EXAMPLES = [Example(name, "Which colour" + " then" * len(name), answer) for name, answer in ANSWERS.items()]
OPTIONS = FinetuneOptions(batch_size=4, micro_batch_size=2, num_steps=8, learning_rate=5e-3, save_every=3)
FINISHED_FILES = [LOCK_FILE, "adapter", CHECKPOINT, "curve.json", "curve.png"]
LEARN = replace(
    OPTIONS, batch_size=6, micro_batch_size=6, num_steps=60, learning_rate=2e-2, lora=LoraOptions(dropout=0)
)


def vectors(hidden_size: int = 48) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(length, hidden_size, generator=generator) for name, length in LENGTHS.items()}


def stage_of(decoder: Decoder, examples: list[Example] = EXAMPLES, **changes: Any) -> AnswerStage:
    soft_prompts = SoftPrompts(vectors().__getitem__, decoder.device)
    measured = measure_examples(examples, soft_prompts, DEFAULT_TEMPLATE, decoder)
    settings = {"batch_size": 4, "micro_batch_size": 2, "num_samples": 100, "seed": 0} | changes
    return AnswerStage(decoder, DEFAULT_TEMPLATE, soft_prompts, measured.examples, **settings)


def run(out: Path, options: FinetuneOptions = OPTIONS, **changes: Any) -> Path:
    given: dict[str, Any] = {
        "decoder": tiny_decoder(),
        "examples": EXAMPLES,
        "soft_prompt_of": vectors().__getitem__,
        "template": DEFAULT_TEMPLATE,
        **changes,
    }
    return finetune(options=options, out=out, **given)


def curve(out: Path) -> list[LogLine]:
    return [LogLine(**line) for line in json.loads((out / "curve.json").read_text())]


def losses(out: Path) -> list[float]:
    return [line.loss for line in curve(out)]


def adapter_weights(out: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(out / "adapter" / "adapter_model.safetensors")


def assert_equal_weights(first: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert first.keys() == other.keys()
    assert all(torch.equal(first[name], other[name]) for name in first)


def forward(decoder: Decoder, example: Example) -> tuple[Tensor, Tensor]:
    """Logits (num_targets, vocab_size) and target ids from the model's own forward over one unpadded row."""
    tokenizer = decoder.require_tokenizer()
    prompt = build_prompt(DEFAULT_TEMPLATE, tokenizer, example.question, soft_prompts=[vectors()[example.document_id]])
    target = answer_ids(DEFAULT_TEMPLATE, tokenizer, example.answer)
    pieces = [p if p.is_floating_point() else decoder.embed(p) for p in (*prompt.pieces, target)]
    logits = decoder.model(inputs_embeds=torch.cat(pieces)[None]).logits[0]
    return logits[-len(target) - 1 : -1], target


def test_defaults_are_the_published_recipe() -> None:
    options = FinetuneOptions()
    assert (options.lora.r, options.lora.alpha, options.lora.dropout) == (8, 16, 0.05)
    assert options.lora.target_modules == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert (options.num_epochs, options.batch_size, options.learning_rate) == (3.0, 8, 2e-5)
    assert (options.warmup_ratio, options.weight_decay) == (0.04, 0.0)


def test_training_starts_from_an_adapter_and_the_new_one_says_so(tmp_path: Path) -> None:
    first = run(tmp_path / "first", replace(LEARN, lora=LoraOptions(r=4, dropout=0)))
    options = replace(LEARN, num_steps=2, learning_rate=1e-3, save_every=1)
    adapter = run(tmp_path / "second", options, adapter=first)
    assert losses(tmp_path / "second")[0] < losses(tmp_path / "first")[0] / 4
    origin = json.loads((adapter / "lloco.json").read_text())
    assert (origin["start_adapter"], origin["lora"]["r"]) == (str(first), 4)
    assert origin["start_adapter_digest"] == adapter_digest(first)
    with pytest.raises(LlocoError, match="start_adapter_digest"):
        run(tmp_path / "second", replace(options, lora=LoraOptions(r=4, dropout=0)))
    with pytest.raises(MismatchError, match="the weights of the two models differ"):
        run(tmp_path / "third", options, adapter=first, decoder=tiny_decoder(tiny_llama(seed=1)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loss_of_a_ragged_batch_is_the_models_own_loss_over_answer_and_eos(architecture: str) -> None:
    decoder = tiny_decoder(tiny_model(architecture))
    stage = stage_of(decoder)
    (batch,) = stage_of(decoder, batch_size=6, micro_batch_size=6).micro_batches(0)
    wanted = {e.document_id: nn.functional.cross_entropy(*forward(decoder, e), reduction="sum") for e in EXAMPLES}
    assert stage.num_targets(batch) == sum(len(forward(decoder, example)[1]) for example in EXAMPLES)
    for measured in batch:
        torch.testing.assert_close(stage.loss_sum([measured]), wanted[measured.example.document_id])
    torch.testing.assert_close(stage.loss_sum(batch), torch.stack([*wanted.values()]).sum())


MANY = [
    Example(name, f"Question {number} of {name}?", answer) for name, answer in ANSWERS.items() for number in (1, 2, 3)
]


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_questions_in_one_row_have_the_losses_and_gradients_of_rows_of_their_own(architecture: str) -> None:
    decoder = tiny_decoder(tiny_model(architecture, initializer_range=0.1))
    shared = stage_of(decoder, MANY, batch_size=9, micro_batch_size=9, questions_a_row=3)
    apart = stage_of(decoder, MANY, batch_size=9, micro_batch_size=9)
    [batch] = shared.micro_batches(0)
    assert len({measured.example.document_id for measured in batch}) == 3
    parameters = [value for value in decoder.model.parameters() if value.requires_grad]
    one, other = shared.loss_sum(batch), apart.loss_sum(batch)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)
    gradients = (torch.autograd.grad(loss, parameters) for loss in (one, other))
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, atol=1e-3, rtol=1e-3)


def test_a_document_is_read_once_for_the_questions_of_its_row() -> None:
    decoder = tiny_decoder()
    stage = stage_of(decoder, MANY, batch_size=9, micro_batch_size=9, questions_a_row=3)
    [batch] = stage.micro_batches(0)
    lengths: list[int] = []
    body = decoder.model.get_decoder()  # type: ignore[no-untyped-call]
    handle = body.register_forward_pre_hook(
        lambda _, __, given: lengths.append(given["inputs_embeds"].shape[0]), with_kwargs=True
    )
    stage.loss_sum(batch)
    handle.remove()
    assert lengths == [3]


def test_rows_are_shared_in_every_epoch_and_no_example_is_lost() -> None:
    stage = stage_of(tiny_decoder(), MANY, batch_size=6, num_samples=36, questions_a_row=2)
    drawn = [measured.example for step in range(6) for batch in stage.micro_batches(step) for measured in batch]
    assert len(drawn) == 36
    for epoch in (drawn[:18], drawn[18:]):
        assert sorted(map(str, epoch)) == sorted(map(str, MANY))
    assert str(drawn[:18]) != str(drawn[18:])


def test_a_model_that_sees_a_window_only_reads_each_question_in_a_row_of_its_own() -> None:
    assert stage_of(tiny_decoder(tiny_model("gemma2")), MANY, questions_a_row=3).questions_a_row == 1


def test_targets_are_the_worded_answer_and_eos() -> None:
    decoder = tiny_decoder()
    _, target_ids = stage_of(decoder).target_logits(stage_of(decoder).examples[:2])
    tokenizer = decoder.require_tokenizer()
    assert tokenizer.decode(target_ids) == " red</s> a very long answer</s>"


def test_softcapped_logits_are_what_is_learned() -> None:
    decoder = tiny_decoder(tiny_model("gemma2", final_logit_softcapping=1.5))
    logits, _ = stage_of(decoder).target_logits(stage_of(decoder).examples)
    assert float(logits.detach().abs().max()) <= 1.5


def test_output_layer_runs_at_target_positions_only() -> None:
    decoder, seen = tiny_decoder(), []
    stage = stage_of(decoder)
    decoder.model.lm_head.register_forward_hook(lambda _, arguments, output: seen.append(tuple(output.shape)))
    stage.loss_sum(stage.examples)
    assert seen == [(1, stage.num_targets(stage.examples), 272)]


def test_every_epoch_is_a_new_order_of_all_examples_and_the_last_step_may_be_smaller() -> None:
    stage = stage_of(tiny_decoder(), num_samples=15)
    steps = [[m.example.document_id for batch in stage.micro_batches(step) for m in batch] for step in range(4)]
    again = [[m.example.document_id for batch in stage.micro_batches(step) for m in batch] for step in (3, 1)]
    assert again == [steps[3], steps[1]]
    assert [len(step) for step in steps] == [4, 4, 4, 3]
    assert sorted(steps[0] + steps[1] + steps[2]) == sorted([*LENGTHS] * 2)
    single = stage_of(tiny_decoder(), batch_size=1, micro_batch_size=1)
    names = [single.micro_batches(step)[0][0].example.document_id for step in range(12)]
    assert sorted(names[:6]) == sorted(names[6:]) == [*LENGTHS]
    assert names[:6] != names[6:]
    assert max(len(batch) for step in range(4) for batch in stage.micro_batches(step)) == 2


def test_epochs_make_the_number_of_steps(tmp_path: Path) -> None:
    run(tmp_path, replace(OPTIONS, num_steps=None, num_epochs=1.5))
    assert len(curve(tmp_path)) == 3


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_gradient_checkpointing_recomputes_layers_and_gives_the_same_gradients(
    tmp_path: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, gradients, num_calls = nn.utils.clip_grad_norm_, [], []

    def record(parameters: list[nn.Parameter], max_norm: float) -> Tensor:
        gradients[-1] += [p.grad.clone() for p in parameters if p.grad is not None]
        return clip(parameters, max_norm)

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", record)
    for is_on in (False, True):
        decoder, calls = tiny_decoder(tiny_model(architecture)), []
        decoder.model.model.layers[0].input_layernorm.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        gradients.append([])
        options = replace(OPTIONS, num_steps=3, gradient_checkpointing=is_on)
        run(tmp_path / str(is_on), options, decoder=decoder)
        num_calls.append(len(calls))
        assert not any(getattr(module, "gradient_checkpointing", False) for module in decoder.model.modules())
        assert not decoder.model.get_input_embeddings()._forward_hooks
    assert num_calls == [6, 12]
    assert len(gradients[0]) == 3 * 2 * 4 * 2
    torch.testing.assert_close(gradients[1], gradients[0])
    assert float(torch.stack([gradient.abs().max() for gradient in gradients[1][16:]]).min()) > 0


@pytest.mark.parametrize(("dtype", "bf16"), [(torch.bfloat16, False), (torch.bfloat16, True), (torch.float32, True)])
def test_adapter_is_trained_in_float32_whatever_computes(tmp_path: Path, dtype: torch.dtype, bf16: bool) -> None:
    model = tiny_llama()
    exact = losses(run(tmp_path / "exact", decoder=tiny_decoder(model)).parent)
    decoder = replace(tiny_decoder(model), model=tiny_llama().to(dtype))
    seen: set[torch.dtype] = set()

    def on_step(_: LogLine) -> None:
        seen.update(value.dtype for name, value in decoder.model.named_parameters() if "lora_" in name)

    out = run(tmp_path / "low", replace(OPTIONS, bf16=bf16), decoder=decoder, on_step=on_step).parent
    assert seen == {torch.float32}
    assert {tensor.dtype for tensor in adapter_weights(out).values()} == {torch.float32}
    assert {value.dtype for value in decoder.model.parameters()} == {dtype}
    assert losses(out) != exact
    assert losses(out) == pytest.approx(exact, rel=0.05)


def test_float16_is_refused(tmp_path: Path) -> None:
    decoder = replace(tiny_decoder(), model=tiny_llama().half())
    with pytest.raises(LlocoError, match="bfloat16 or float32"):
        run(tmp_path, decoder=decoder)


def test_adapter_learns_facts_that_the_decoder_alone_does_not_know(tmp_path: Path) -> None:
    decoder = tiny_decoder()
    folder = run(tmp_path, LEARN, decoder=decoder, validation=EXAMPLES)
    log = curve(tmp_path)
    assert log[-1].loss < 0.05 * log[0].loss
    assert log[-1].figures["validation_exact_match"] == 100.0
    assert log[-1].figures["validation_loss"] < 0.05 * log[0].loss
    engine = TransformersEngine(decoder)
    engine.add_adapter("facts", folder)
    prompts = [
        build_prompt(DEFAULT_TEMPLATE, decoder.require_tokenizer(), e.question, soft_prompts=[vectors()[e.document_id]])
        for e in EXAMPLES
    ]
    sampling = SamplingParams(max_tokens=24)
    taught = engine.generate(prompts, sampling, adapters=["facts"] * 6)
    alone = engine.generate(prompts, sampling)
    assert [DEFAULT_TEMPLATE.read_answer(generation.text) for generation in taught] == [*ANSWERS.values()]
    assert not {DEFAULT_TEMPLATE.read_answer(generation.text) for generation in alone} & {*ANSWERS.values()}


def test_validation_is_measured_in_its_rhythm_and_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path / "alone")
    run(tmp_path / "watched", replace(OPTIONS, evaluate_every=3), validation=EXAMPLES[:3])
    assert losses(tmp_path / "watched") == losses(tmp_path / "alone")
    assert_equal_weights(adapter_weights(tmp_path / "watched"), adapter_weights(tmp_path / "alone"))
    assert [line.step for line in curve(tmp_path / "watched") if line.figures] == [2, 5, 7]


def test_peft_itself_loads_the_adapter_and_computes_the_same(tmp_path: Path) -> None:
    decoder = tiny_decoder()
    last: dict[str, Tensor] = {}

    def on_step(line: LogLine) -> None:
        if line.step == OPTIONS.num_steps - 1:
            decoder.model.eval()
            last["logits"] = forward(decoder, EXAMPLES[1])[0].detach()
            decoder.model.train()

    folder = run(tmp_path, decoder=decoder, on_step=on_step)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        loaded = PeftModel.from_pretrained(tiny_llama(), folder)
    logits = forward(replace(decoder, model=loaded), EXAMPLES[1])[0]
    torch.testing.assert_close(logits, last["logits"], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(logits, forward(decoder, EXAMPLES[1])[0], atol=0.01)


def test_folder_says_what_the_adapter_was_made_from(tmp_path: Path) -> None:
    decoder = tiny_decoder()
    folder = run(tmp_path, decoder=decoder, compressor_digest="c0ffee")
    check_adapter(folder, decoder)
    assert Template.load(folder) == DEFAULT_TEMPLATE
    origin = json.loads((folder / "lloco.json").read_text())
    assert origin["base_model_digest"] == decoder.digest
    assert origin["compressor_digest"] == "c0ffee"
    assert (origin["num_examples"], origin["num_documents"], origin["num_steps"], origin["seed"]) == (6, 6, 8, 0)
    assert origin["options"]["lora"]["r"] == 8
    assert origin["options"]["learning_rate"] == OPTIONS.learning_rate
    assert len(origin["data_digest"]) == len(origin["soft_prompts_digest"]) == 64
    assert {"lloco_version", "base_model", "hidden_size", "final_loss"} <= origin.keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == FINISHED_FILES


def test_decoder_comes_back_as_it_was(tmp_path: Path) -> None:
    decoder = tiny_decoder()
    before = forward(decoder, EXAMPLES[0])[0]
    names = [name for name, _ in decoder.model.named_parameters()]
    state = torch.random.get_rng_state()
    for gradient_checkpointing in (False, True):
        out = tmp_path / str(gradient_checkpointing)
        run(out, replace(OPTIONS, num_steps=2, gradient_checkpointing=gradient_checkpointing), decoder=decoder)
        assert torch.equal(forward(decoder, EXAMPLES[0])[0], before)
        assert [name for name, value in decoder.model.named_parameters() if value.requires_grad] == names
        assert not decoder.model.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_decoder_comes_back_after_an_error(tmp_path: Path) -> None:
    decoder = tiny_decoder()
    before = forward(decoder, EXAMPLES[0])[0]

    def on_step(_: LogLine) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, decoder=decoder, on_step=on_step)
    assert torch.equal(forward(decoder, EXAMPLES[0])[0], before)
    attach_adapter(decoder, LoraOptions())


def job(out: str) -> None:
    """Run the finetuning that the test below starts in another process and is killed in the middle of."""

    def on_step(line: LogLine) -> None:
        if line.step == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    run(Path(out), replace(OPTIONS, evaluate_every=4), on_step=on_step, validation=EXAMPLES[:3])


def test_a_run_killed_by_sigkill_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    run(tmp_path / "whole", replace(OPTIONS, evaluate_every=4), validation=EXAMPLES[:3])
    script = "import sys; from tests.test_finetune import job; job(sys.argv[1])"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", script, str(tmp_path / "killed")]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [LOCK_FILE, CHECKPOINT]
    resumed_steps: list[int] = []
    run(
        tmp_path / "killed",
        replace(OPTIONS, evaluate_every=4),
        validation=EXAMPLES[:3],
        on_step=lambda line: resumed_steps.append(line.step),
    )
    assert resumed_steps == [3, 4, 5, 6, 7]
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert [line.figures for line in curve(tmp_path / "killed")] == [line.figures for line in curve(tmp_path / "whole")]
    files = sorted(path.name for path in (tmp_path / "whole" / "adapter").iterdir())
    assert len(files) == 4
    for name in files:
        assert (tmp_path / "killed" / "adapter" / name).read_bytes() == (
            tmp_path / "whole" / "adapter" / name
        ).read_bytes()


def test_two_runs_do_not_train_in_one_folder(tmp_path: Path) -> None:
    def on_step(line: LogLine) -> None:
        if line.step == 0:
            with pytest.raises(DataError, match="another process is training in"):
                run(tmp_path)

    run(tmp_path, on_step=on_step)


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    other_vectors = vectors() | {"b": vectors()["b"] + 1}
    changes: list[tuple[FinetuneOptions, dict[str, Any], str]] = [
        (OPTIONS, {"examples": EXAMPLES[:5]}, "data_digest"),
        (OPTIONS, {"soft_prompt_of": other_vectors.__getitem__}, "soft_prompts_digest"),
        (OPTIONS, {"template": replace(DEFAULT_TEMPLATE, after_context=" ")}, "template_digest"),
        (OPTIONS, {"decoder": tiny_decoder(tiny_llama(seed=1))}, "base_model_digest"),
        (OPTIONS, {"compressor_digest": "c0ffee"}, "compressor_digest"),
        (replace(OPTIONS, lora=LoraOptions(r=4)), {}, "lora"),
        (replace(OPTIONS, learning_rate=1e-4), {}, "learning_rate"),
        (replace(OPTIONS, micro_batch_size=4), {}, "micro_batch_size"),
    ]
    for options, given, named in changes:
        with pytest.raises(LlocoError, match=rf"another run .*{named}"):
            run(tmp_path, options, **given)
    assert {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()} == before


def test_a_finished_run_is_repeated_without_training_and_mends_its_adapter(tmp_path: Path) -> None:
    folder = run(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "adapter_model.safetensors").write_bytes(b"damaged")
    steps: list[LogLine] = []
    run(tmp_path, on_step=steps.append)
    assert steps == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_adapter_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("lloco.training.finetune.run.write_durably", fail)
        run(tmp_path)
    assert not (tmp_path / "adapter").exists()
    folder = run(tmp_path)
    check_adapter(folder, tiny_decoder())
    assert sorted(path.name for path in tmp_path.iterdir()) == FINISHED_FILES


def test_a_foreign_adapter_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    with pytest.raises(LlocoError, match="another --out folder"):
        run(tmp_path)


def test_documents_are_read_before_the_first_step_and_then_only_when_out_of_memory(tmp_path: Path) -> None:
    reads: list[str] = []
    run(tmp_path, soft_prompt_of=lambda name: (reads.append(name), vectors()[name])[1])
    assert reads == [*LENGTHS]

    reads.clear()
    row = 48 * 4
    kept = SoftPrompts(lambda name: (reads.append(name), vectors()[name])[1], torch.device("cpu"), max_bytes=20 * row)
    for name in ("a", "d", "a", "c", "d", "b", "b", "a"):
        assert torch.equal(kept.embeds(name), vectors()[name])
    assert reads == ["a", "d", "c", "d", "b", "a"]


def test_soft_prompts_are_computed_outside_autocast_and_gradients(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.eye(48))
    seen: list[tuple[torch.dtype, bool]] = []

    def compute(name: str) -> Tensor:
        embeds = vectors()[name] @ weight
        seen.append((embeds.dtype, embeds.requires_grad))
        return embeds

    soft_prompts = SoftPrompts(compute, torch.device("cpu"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        soft_prompts.embeds("a")
    assert seen == [(torch.float32, False)]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"examples": []}, DataError, "needs questions with answers"),
        ({"examples": [*EXAMPLES, Example("zzz", "Who?", "x")]}, DataError, r"example 7 of 7 \(document 'zzz', .*Who"),
        ({"examples": [EXAMPLES[0], Example("b", "Who?", " \n")]}, DataError, r"example 2 of 2 .*'b'.* empty answer"),
        ({"examples": [Example("a", "Who " * 200, "x")]}, DataError, r"example 1 of 1 .*takes \d+ .* tiny reads 512"),
        ({"examples": [Example("a", "Who?", "x" * 600)]}, DataError, r"example 1 of 1 .*takes \d+ .* tiny reads 512"),
        ({"examples": [Example("a", "Who?", "A", ("x", "y"))]}, DataError, "example 1 of 1 .*2 options"),
        ({"validation": [Example("zzz", "Who?", "x")]}, DataError, "validation example 1 of 1"),
        ({"soft_prompt_of": vectors(32).__getitem__}, MismatchError, r"'a'.*\(3, 32\).*48 wide"),
        ({"soft_prompt_of": lambda name: vectors()[name] / 0}, MismatchError, "'a'.*infinity"),
        ({"soft_prompt_of": lambda name: vectors()[name][:0]}, MismatchError, r"'a'.*\(0, 48\)"),
        ({"decoder": tiny_decoder(has_tokenizer=False)}, CheckpointError, "tokenizer"),
    ],
)
def test_what_cannot_be_learned_is_named_before_the_first_step(
    tmp_path: Path, changes: dict[str, Any], kind: type[LlocoError], message: str
) -> None:
    with pytest.raises(LlocoError, match=message) as caught:
        run(tmp_path, **changes)
    assert type(caught.value) is kind
    assert list(tmp_path.iterdir()) == []


def test_a_store_error_says_which_example_needed_the_document(tmp_path: Path) -> None:
    def broken(name: str) -> Tensor:
        raise LlocoError(f"{name}.safetensors is damaged")

    with pytest.raises(DataError, match=r"example 1 of 6 .*a\.safetensors is damaged"):
        run(tmp_path, soft_prompt_of=broken)


def test_options_that_make_no_sense_are_refused() -> None:
    for name in ("batch_size", "micro_batch_size", "num_epochs", "num_steps", "save_every", "evaluate_every"):
        with pytest.raises(LlocoError, match=f"{name} is 0"):
            FinetuneOptions(**{name: 0})
