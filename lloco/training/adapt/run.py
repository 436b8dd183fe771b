"""Train a compressor around a pretrained decoder: from its options to a delta that names the decoder.

The decoder's own weights stay as they are: its LoRA and the encoder learn. A run resumes exactly from its
own checkpoint; a run whose `init` is another run's delta goes on with that one's weights and a schedule of its own.
"""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from accelerate import PartialState
from torch import Tensor, nn

from lloco.compressors.decoder_based import vocab_size
from lloco.compressors.delta import (
    DeltaSettings,
    TrainableCompressor,
    is_delta,
    load_delta,
    new_compressor_around,
    read_delta_settings,
    save_delta,
)
from lloco.compressors.dynamic_pooling import DynamicPoolingEncoder
from lloco.compressors.load import design_of, lasting_name
from lloco.compressors.local import LocalCompressor
from lloco.errors import CheckpointError, DataError
from lloco.models.checkpoint import checkpoint_folder
from lloco.models.decoder import Decoder, dtype_name, load_decoder, resolve_device
from lloco.models.tokenize import token_ids
from lloco.prompts.branched_rows import can_branch
from lloco.prompts.template import DEFAULT_TEMPLATE, Template
from lloco.training.adapt.samples import Kind, SampleOptions, Samples
from lloco.training.adapt.stage import AdaptOptions, AdaptStage
from lloco.training.adapt.validation import Measured
from lloco.training.attention import eager_attention
from lloco.training.checkpoint import claimed_run
from lloco.training.curves import write_curves
from lloco.training.loop import LogLine, LoopOptions, chosen_bf16, process_state, train
from lloco.training.pretrain.text import Line, iter_lines

OnStep = Callable[[LogLine], None]
OnNote = Callable[[str], None]
MOST_COUNTED = 4000
"""Lines whose tokens are counted to say how rare each token is."""


@dataclass(frozen=True, slots=True)
class AdaptRunOptions:
    """A whole run."""

    data: tuple[Path, ...]
    """JSON-lines files of texts, with questions or without, gzipped or not."""
    init: str
    """The pretrained decoder, or a delta to go on from."""
    validation: tuple[Path, ...] = ()
    """Held-out lines with questions that are measured meanwhile."""
    delta: DeltaSettings = field(default_factory=lambda: DeltaSettings("", ""))
    """Shape of a new compressor; a delta's own where it is gone on from, but for the ratios."""
    samples: SampleOptions = field(default_factory=SampleOptions)
    """What is learned."""
    steps: AdaptOptions = field(default_factory=AdaptOptions)
    """How a step is made."""
    num_steps: int = 1000
    """Optimiser steps."""
    learning_rate: float = 1e-3
    """Peak learning rate of the reader's LoRA."""
    encoder_rate: float = 0.5
    """Learning rate of the encoder's layers, as a share of that."""
    pooling_rate: float = 2.0
    """Learning rate of what makes vectors of the encoder's states, as a share of that."""
    warmup_ratio: float = 0.05
    """Share of the steps in which the learning rate rises."""
    min_lr_ratio: float = 0.1
    """Learning rate at the end, as a share of the peak."""
    evaluate_every: int = 250
    """Steps between measurements, and between checkpoints."""
    num_validation: int = 60
    """Held-out documents that are measured."""
    bf16: bool | None = None
    """Hold the decoder and compute in bfloat16; None does where the device does it faster."""
    seed: int = 0
    """Seed of new weights and of what is drawn."""
    device: str | None = None
    """Where to train."""
    template: Template | None = None
    """Wording of the questions; that for short answers in chat form, or the plain one of a model without a chat."""


def adapt(
    options: AdaptRunOptions, out: Path, on_step: OnStep | None = None, on_note: OnNote | None = None
) -> TrainableCompressor:
    """Train or go on training in `out`; leaves the delta in `out`/model and curves beside it.

    `on_note` is told what will be trained, before the first step.

    Raises:
        DataError: no text, or questions are wanted and no line has any.
        LlocoError: `out` holds a run with other options, or another run trains there.
        CheckpointError: `init` cannot be loaded.
    """
    lines = [line for line in iter_lines(options.data) if line[0].strip()]
    if not lines:
        raise DataError("training needs text, no file was given or all are empty: name JSON-lines files with --data")
    if options.samples.mix.get("questions") and not any(pairs for _, pairs in lines):
        raise DataError("the mix has questions and no line of --data has any: give lines with questions, or leave "
                        "questions out of --mix")  # fmt: skip
    held_out = [line for line in iter_lines(options.validation) if line[0].strip() and line[1]]
    if options.validation and not held_out:
        raise DataError("no line of --validation has questions: give held-out lines with questions, or leave it out")
    state = process_state(resolve_device(options.device))
    with claimed_run(out, state):
        return _adapt(options, lines, held_out, out, state, on_step, on_note)


def _adapt(
    options: AdaptRunOptions,
    lines: list[Line],
    held_out: list[Line],
    out: Path,
    state: PartialState,
    on_step: OnStep | None,
    on_note: OnNote | None,
) -> TrainableCompressor:
    options = replace(options, bf16=chosen_bf16(options.bf16, [out / "steps"], state))
    compressor, settings = load_trainable(options, lines)
    nn.Module.to(compressor, resolve_device(options.device))
    if not can_branch(compressor.decoder):
        raise CheckpointError(
            f"{settings.base} must see its whole context in every layer, by rotary positions, to be trained around: "
            "choose a model without windows"
        )
    if not settings.reader_lora_r:
        # Without LoRA the reader is the pretrained model itself: plain text teaches it nothing.
        mix: dict[Kind, float] = {**options.samples.mix, "plain": 0.0}
        options = replace(options, samples=replace(options.samples, mix=mix))
    tokenizer = compressor.decoder.require_tokenizer()
    template = options.template or (Template.packaged("short_answer") if tokenizer.chat_template else DEFAULT_TEMPLATE)
    samples = Samples(lines, options.samples, template, tokenizer)
    if on_note is not None:
        on_note(_summary(compressor, settings, lines, options))
    stage = AdaptStage(
        compressor,
        samples,
        options.steps,
        seed=options.seed,
        bf16=bool(options.bf16),
        validation=Measured(held_out, samples, options.num_validation) if held_out else None,
        evaluate_every=options.evaluate_every,
    )
    compressor.train()
    is_on_cpu = compressor.decoder.device.type == "cpu"
    with eager_attention(compressor) if is_on_cpu else nullcontext():
        log = train(
            compressor,
            stage,
            _loop_options(options),
            out / "steps",
            on_step,
            run=_identity(options, settings, template, lines, compressor.decoder.digest),
            rate_factor=lambda name: _rate_factor(name, options),
        )
    if state.is_main_process:
        write_curves(out, log)
        save_delta(compressor, settings, template, out / "model")
        text = json.dumps({"options": asdict(options), "num_lines": len(lines)}, indent=2, default=str)
        (out / "pretrain.json").write_text(text + "\n", encoding="utf-8")
    state.wait_for_everyone()
    return load_delta(out / "model", device=options.device)


def load_trainable(options: AdaptRunOptions, lines: Sequence[Line]) -> tuple[TrainableCompressor, DeltaSettings]:
    """Return a compressor ready to be trained, and what its delta will say of itself.

    A new one that pools by information is told from the lines how rare each token is.
    """
    dtype = "bfloat16" if options.bf16 else "float32"
    folder = checkpoint_folder(options.init)
    if is_delta(folder):
        lens = options.delta.segment_lens
        settings = replace(read_delta_settings(folder), segment_lens=lens)
        loaded = load_delta(folder, device=options.device, dtype=dtype, is_trainable=True, segment_lens=lens)
        return loaded, settings
    decoder = load_decoder(options.init, device=options.device, dtype=dtype)
    if design_of(folder) == "dynamic_pooling":
        raise CheckpointError(f"{options.init} is a merged compressor: go on from the delta that it was written from")
    settings = replace(options.delta, base=lasting_name(options.init), base_digest=decoder.digest)
    compressor = new_compressor_around(decoder, settings, options.seed)
    if isinstance(compressor, LocalCompressor) and isinstance(compressor.encoder, DynamicPoolingEncoder):
        counts = _token_counts(lines, decoder)
        embeddings = decoder.embed(torch.arange(len(counts), device=decoder.device))
        digits = _digits(decoder, len(counts))
        compressor.encoder.fit_information(embeddings, counts.to(decoder.device), digits.to(decoder.device))
    return compressor, settings


def _token_counts(lines: Sequence[Line], decoder: Decoder) -> Tensor:
    """Return (vocab_size,) how often each token stands in a sample of the lines."""
    sample = random.Random(0).sample(lines, min(len(lines), MOST_COUNTED))
    ids = [token_ids(decoder.require_tokenizer(), text) for text, _ in sample]
    return torch.bincount(torch.cat(ids), minlength=vocab_size(decoder))


def _digits(decoder: Decoder, num_tokens: int) -> Tensor:
    """Return the ids of the tokens that are one digit."""
    texts = decoder.require_tokenizer().batch_decode([[index] for index in range(num_tokens)])
    return torch.tensor(
        [index for index, text in enumerate(texts) if len(text.strip()) == 1 and text.strip().isdecimal()],
        dtype=torch.int64,
    )


def _loop_options(options: AdaptRunOptions) -> LoopOptions:
    return LoopOptions(
        num_steps=options.num_steps,
        learning_rate=options.learning_rate,
        warmup_ratio=options.warmup_ratio,
        min_lr_ratio=options.min_lr_ratio,
        weight_decay=0.01,
        beta2=0.98,
        seed=options.seed,
        save_every=options.evaluate_every,
        bf16=bool(options.bf16),
    )


def _rate_factor(name: str, options: AdaptRunOptions) -> float:
    if name.startswith("encoder.") and not name.startswith("encoder.body."):
        return options.pooling_rate
    return options.encoder_rate if name.startswith("encoder.") else 1.0


def _identity(
    options: AdaptRunOptions, settings: DeltaSettings, template: Template, lines: list[Line], init_digest: str
) -> dict[str, object]:
    """Say what a resumed run must share with the run it goes on with, beside its loop's options."""
    digest = hashlib.sha256()
    for text, pairs in lines:
        digest.update(json.dumps([text, pairs]).encode())
    return {
        "delta": json.loads(json.dumps(asdict(settings))),
        "init": init_digest,
        "samples": json.loads(json.dumps(asdict(options.samples))),
        "steps": json.loads(json.dumps(asdict(options.steps))),
        "rates": [options.encoder_rate, options.pooling_rate],
        "template": template.to_json(),
        "lines": digest.hexdigest(),
    }


def _summary(
    compressor: TrainableCompressor, settings: DeltaSettings, lines: list[Line], options: AdaptRunOptions
) -> str:
    learned = sum(value.numel() for value in compressor.parameters() if value.requires_grad)
    num_questions = sum(len(pairs) for _, pairs in lines)
    ratios = ", ".join(f"{length}x" for length in settings.segment_lens)
    return (
        f"training {learned / 1e6:.1f} million weights around {settings.base} at {ratios}, from {len(lines):,} texts "
        f"with {num_questions:,} questions ({dtype_name(compressor.decoder.dtype)}, {options.num_steps:,} steps of "
        f"about {options.steps.batch_positions:,} positions)"
    )
