"""Finetuning: a LoRA adapter that teaches a decoder to answer questions about documents it sees as soft prompts.

Defaults are the published recipe (arXiv 2404.07979). Adapter weights are trained in
float32 whatever the decoder's dtype is; all else computes in the decoder's dtype, as it will when answering. A killed
run goes on from its last checkpoint, and one process or several, which may share the decoder out among them (FSDP2),
give the same adapter. Does not know about the store.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from lloco.adapters.attach import attach_adapter
from lloco.adapters.check import check_adapter
from lloco.adapters.digest import adapter_digest
from lloco.adapters.folder import LoraOptions, lora_options, save_adapter
from lloco.adapters.origin import ORIGIN_FILE
from lloco.errors import DataError, LlocoError
from lloco.files.durable import fsync_folder, write_durably
from lloco.models.decoder import Decoder, dtype_name
from lloco.prompts.template import Template
from lloco.training.checkpoint import CHECKPOINT, claimed_run
from lloco.training.curves import write_curves
from lloco.training.finetune.example import Example
from lloco.training.finetune.examples import ExampleSet, SoftPrompts, measure_examples
from lloco.training.finetune.self_study import SelfStudyOptions, SelfStudyStage
from lloco.training.finetune.stage import AnswerStage
from lloco.training.loop import LogLine, LoopOptions, chosen_bf16, process_state, train
from lloco.training.sharding import decoder_layers, is_sharding_wanted, whole

__all__ = ["ADAPTER_FOLDER", "Example", "FinetuneOptions", "finetune"]

ADAPTER_FOLDER = "adapter"


@dataclass(frozen=True, slots=True)
class FinetuneOptions:
    """How an adapter is trained; defaults are the published recipe."""

    lora: LoraOptions = field(default_factory=LoraOptions)
    """Size and place of the adapter."""
    num_epochs: float = 3.0
    """Passes over the examples."""
    num_steps: int | None = None
    """Optimiser steps in all, instead of passes."""
    batch_size: int = 8
    """Examples of one optimiser step, over all processes."""
    micro_batch_size: int = 4
    """Examples that one process computes at once; batch_size / micro_batch_size processes can share a step."""
    questions_a_row: int = 4
    """Questions about one document that share a row, in which the document is read once."""
    learning_rate: float = 2e-5
    """Peak learning rate; it falls along a cosine to 0."""
    warmup_ratio: float = 0.04
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = 0.0
    """AdamW weight decay."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    seed: int = 0
    """Seed of the adapter's first weights, the order of examples and dropout."""
    save_every: int = 100
    """Steps between checkpoints."""
    evaluate_every: int = 100
    """Steps between measurements on validation examples."""
    bf16: bool | None = False
    """Compute a float32 decoder in bfloat16 while training; better load it in bfloat16, as it is to answer. None does
    where the device does it faster."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, the same gradients."""

    def __post_init__(self) -> None:
        counts = (
            "num_epochs",
            "num_steps",
            "batch_size",
            "micro_batch_size",
            "questions_a_row",
            "save_every",
            "evaluate_every",
        )
        for name in (*counts, "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise LlocoError(f"{name} is {value}: it must be greater than 0")

    def num_samples(self, num_examples: int) -> int:
        """Return how many examples are drawn in the whole run."""
        if self.num_steps is not None:
            return self.num_steps * self.batch_size
        return max(1, round(self.num_epochs * num_examples))

    def num_steps_for(self, num_examples: int) -> int:
        """Return the optimiser steps of the whole run."""
        return math.ceil(self.num_samples(num_examples) / self.batch_size)


def finetune(
    decoder: Decoder,
    examples: Sequence[Example],
    soft_prompt_of: Callable[[str], Tensor],
    template: Template,
    options: FinetuneOptions,
    out: Path,
    on_step: Callable[[LogLine], None] | None = None,
    validation: Sequence[Example] = (),
    *,
    compressor_digest: str | None = None,
    adapter: Path | None = None,
    study: SelfStudyOptions | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Train or go on training in `out`; returns out/adapter, beside which the loss curve and the checkpoint are.

    `soft_prompt_of` maps a document id to (num_virtual_tokens, hidden_size) and raises KeyError or LlocoError where
    there is none; it is called once per document before the first step, then whenever a document is no longer in
    memory, with the adapter still attached; under FSDP2 it must not run the decoder, as other processes do not at that
    time. The decoder is given back as it came, but in shares under FSDP2, for which
    it may come on a CPU: its shares go to the device that trains. With the folder of an `adapter` training starts from
    its weights, and of `options.lora` only the dropout counts. With `study` examples are learned as `self_study` says.
    `notes` are plain values that are saved in the adapter's lloco.json.

    Raises:
        DataError: no examples, or one that cannot be learned whole; nothing has been trained then.
        CheckpointError: `adapter` is incomplete, damaged, or not plain LoRA.
        MismatchError: a soft prompt, or `adapter`, was made for another decoder.
        LlocoError: `out` holds another run, or the loss is not finite.
    """
    _check_request(decoder, examples, out)
    if adapter is not None:
        check_adapter(adapter, decoder)
        options = replace(options, lora=lora_options(adapter, options.lora.dropout))
    state = process_state(decoder.device)
    if study is not None and is_sharding_wanted(state):
        raise LlocoError("self-study reads each row several times, which FSDP cannot: start it without FSDP")
    if state.num_processes > 1 and not is_sharding_wanted(state):
        decoder.model.to(state.device)
    options = replace(options, bf16=chosen_bf16(options.bf16, [out], state))
    soft_prompts = SoftPrompts(soft_prompt_of, decoder.device)
    data = measure_examples(examples, soft_prompts, template, decoder)
    held_out = measure_examples(validation, soft_prompts, template, decoder, "validation example")
    num_samples = options.num_samples(len(examples))
    run = _run(decoder, data, template, options, compressor_digest) | {"num_samples": num_samples}
    run |= {} if adapter is None else {"start_adapter_digest": adapter_digest(adapter)}
    run |= {} if study is None else {"self_study": asdict(study)}
    answers = AnswerStage(
        decoder,
        template,
        soft_prompts,
        data.examples,
        batch_size=options.batch_size,
        micro_batch_size=options.micro_batch_size,
        num_samples=num_samples,
        seed=options.seed,
        questions_a_row=options.questions_a_row,
        bf16=bool(options.bf16),
        validation=held_out.examples,
        evaluate_every=options.evaluate_every,
    )
    stage = answers if study is None else SelfStudyStage(answers, study)
    with (
        claimed_run(out, state),
        _seeded(decoder, options.seed),
        _trainable_adapter(decoder, options, adapter) as model,
    ):
        layers = decoder_layers(decoder.model)
        log = train(model, stage, _loop_options(options, len(examples)), out, on_step, run=run, layers=layers)
        learned = {name: whole(value.detach()) for name, value in model.named_parameters() if value.requires_grad}
        if state.is_main_process:
            write_curves(out, log)
            origin = run | {"options": asdict(options), "seed": options.seed, "num_steps": len(log)}
            origin |= {"num_examples": len(examples), "num_documents": data.num_documents}
            origin |= {} if adapter is None else {"start_adapter": str(adapter.resolve())}
            origin |= {**(notes or {}), "final_loss": log[-1].loss}
            _write_adapter(model, learned, out, decoder, template, origin)
        state.wait_for_everyone()
    return out / ADAPTER_FOLDER


def _check_request(decoder: Decoder, examples: Sequence[Example], out: Path) -> None:
    if not examples:
        raise DataError("finetuning needs questions with answers, got none: give a file with at least one")
    if decoder.dtype == torch.float16:
        raise LlocoError(f"{decoder.name} is in float16, where gradients vanish: load it in bfloat16 or float32")
    if (out / ADAPTER_FOLDER).exists() and not (out / CHECKPOINT).is_file():
        raise LlocoError(f"{out} holds an adapter and not the run that made it: choose another --out folder")


def _loop_options(options: FinetuneOptions, num_examples: int) -> LoopOptions:
    return LoopOptions(
        num_steps=options.num_steps_for(num_examples),
        learning_rate=options.learning_rate,
        warmup_ratio=options.warmup_ratio,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        seed=options.seed,
        save_every=options.save_every,
        bf16=bool(options.bf16),
    )


def _run(
    decoder: Decoder, data: ExampleSet, template: Template, options: FinetuneOptions, compressor_digest: str | None
) -> dict[str, Any]:
    """Say what makes this run what it is, beside the loop's options; a resumed run must have all of it."""
    return {
        "data_digest": data.data_digest,
        "soft_prompts_digest": data.soft_prompts_digest,
        "template_digest": hashlib.sha256(template.to_json().encode()).hexdigest(),
        "base_model_digest": decoder.digest,
        "compressor_digest": compressor_digest,
        "dtype": dtype_name(decoder.dtype),
        "lora": {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(options.lora).items()
        },
        "batch_size": options.batch_size,
        "micro_batch_size": options.micro_batch_size,
        "questions_a_row": options.questions_a_row,
    }


@contextmanager
def _seeded(decoder: Decoder, seed: int) -> Iterator[None]:
    """Draw from the seed inside the block; the process's random numbers are as before afterwards."""
    with torch.random.fork_rng(devices=[decoder.device] if decoder.device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _trainable_adapter(decoder: Decoder, options: FinetuneOptions, start: Path | None) -> Iterator[PeftModel]:
    """Attach a float32 adapter, a fresh one or that of `start`, in training mode; take it off again at the end."""
    base = decoder.model
    was_training, trainable = base.training, [value for value in base.parameters() if value.requires_grad]
    model = attach_adapter(decoder, options.lora, start)
    try:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        if options.gradient_checkpointing:
            _set_checkpointing(decoder, True)
        model.train()
        yield model
    finally:
        if options.gradient_checkpointing:
            _set_checkpointing(decoder, False)
        model.unload()
        base.train(was_training)
        for parameter in trainable:
            parameter.requires_grad_(True)


def _set_checkpointing(decoder: Decoder, is_on: bool) -> None:
    """Switch the recomputation of activations, without gradients of the frozen embeddings, which nobody needs.

    Raises:
        LlocoError: the architecture does not support it.
    """
    model: PreTrainedModel = decoder.model
    if not model.supports_gradient_checkpointing:
        raise LlocoError(f"{decoder.name} cannot recompute activations: set gradient_checkpointing to false")
    # transformers 5 renamed these methods on its way; calling the old names warns where the new ones are there.
    kind = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if is_on:
        getattr(model, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    else:
        getattr(model, f"{kind}_checkpointing_disable")()
    model.disable_input_require_grads()  # type: ignore[no-untyped-call]


def _write_adapter(
    model: PeftModel,
    learned: Mapping[str, Tensor],
    out: Path,
    decoder: Decoder,
    template: Template,
    origin: dict[str, Any],
) -> None:
    """Put out/adapter on the disk: whole or not at all, and file by file where the same run left it before."""
    folder, temporary = out / ADAPTER_FOLDER, out / f".{ADAPTER_FOLDER}.tmp"
    if temporary.exists():
        shutil.rmtree(temporary)
    save_adapter(model, temporary, decoder=decoder, template=template, state_dict=learned)
    origin |= json.loads((temporary / ORIGIN_FILE).read_text(encoding="utf-8"))
    write_durably(temporary / ORIGIN_FILE, (json.dumps(origin, indent=2, sort_keys=True) + "\n").encode("utf-8"))
    if folder.is_dir():
        for file in temporary.iterdir():
            file.replace(folder / file.name)
        fsync_folder(folder)
        temporary.rmdir()
    else:
        temporary.replace(folder)
    fsync_folder(out)
