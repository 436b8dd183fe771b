"""Train a small Llama-layout language model and its compressor from text: tokenizer, three stages, one folder.

Each stage resumes exactly from its own checkpoint; the result is a compressor's checkpoint folder that stock
transformers reads as a plain Llama. What the stages learn is `batches`' and `stage`'s.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedTokenizerFast

from lloco.compressors.autocompressor import AutoCompressor
from lloco.compressors.choices import Design
from lloco.compressors.decoder_based import forget_settings
from lloco.compressors.delta import TrainableCompressor
from lloco.compressors.load import design_of, load_compressor, named_folder
from lloco.compressors.local import LocalCompressor
from lloco.compressors.local_encoder import new_local_encoder
from lloco.errors import CheckpointError, DataError
from lloco.models.checkpoint import weights_digest
from lloco.models.decoder import Decoder, load_decoder, load_tokenizer, resolve_device
from lloco.training.attention import eager_attention
from lloco.training.checkpoint import claimed_run
from lloco.training.curves import write_curves
from lloco.training.loop import LogLine, LoopOptions, chosen_bf16, process_state, train
from lloco.training.pretrain.batches import END_COPY_RATIO, ReadingOptions, StageName
from lloco.training.pretrain.model import ModelShape, new_model
from lloco.training.pretrain.stage import ReadingStage
from lloco.training.pretrain.text import ReadingDocument, documents_digest, iter_lines, tokenize_lines
from lloco.training.pretrain.tokenizer import kept_tokenizer
from lloco.training.sharding import make_whole

RATIOS = (8.0, 4.0, 16.0, 32.0)
WINDOW_LEN = 256
MAX_VALIDATION_DOCUMENTS = 200
OnStep = Callable[[str, LogLine], None]
OnWarning = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PretrainOptions:
    """A whole run: data, shape, the three stages."""

    data: tuple[Path, ...]
    """JSON-lines files: document-QA lines or plain text lines, gzipped or not."""
    validation: tuple[Path, ...] = ()
    """Held-out document-QA lines whose exact match is logged."""
    tokenizer_text: tuple[Path, ...] = ()
    """More text for the tokenizer alone, so that it also spells other prose well."""
    init: Path | None = None
    """Compressor, or language model with its tokenizer, to go on from; else a new one of `shape`."""
    shape: ModelShape = field(default_factory=ModelShape)
    """The model."""
    design: Design | None = None
    """How the compressor works; as `init` has it when not given, for a new model pooling."""
    ratios: tuple[float, ...] | None = None
    """Document tokens per virtual token that it learns, one of them a step, the first its own; else `init`'s, or 8, 4,
    16 and 32."""
    window_len: int | None = None
    """Tokens that a local design reads at once; else `init`'s, or 256."""
    max_document_tokens: int = 512
    """Longer texts are cut into documents of this length."""
    lookup_steps: int = 2500
    """Optimiser steps on random tokens, which teach a new model to look up; 0 when going on from an earlier run."""
    language_model_steps: int = 3000
    """Optimiser steps on text."""
    compressor_steps: int = 3000
    """Optimiser steps on soft prompts."""
    learning_rate: float = 2e-3
    """Peak learning rate of the lookup and language-model stages."""
    compressor_learning_rate: float = 1e-3
    """Peak learning rate of the compressor stage."""
    batch_tokens: int = 3072
    """Document and question tokens of one step."""
    copy_ratio: float = 0.5
    """Share of a stage's first tokens that are random and to be copied; less when going on from an earlier run."""
    text_target_ratio: float = 0.25
    """Share of a text's tokens whose loss is computed; the fewer, the more answers count."""
    repeat_ratio: float = 0.25
    """Share of documents read as text that are to be repeated instead of asked about."""
    text_row_ratio: float = 0.5
    """Share of compressed documents that are also to be repeated or continued, beside their questions."""
    reconstruction_ratio: float = 0.5
    """Share of compressed texts that are to be repeated; the others are continued."""
    distractor_ratio: float = 0.0
    """Share of the questions' contexts that hold other documents as well."""
    not_answerable_ratio: float = 0.0
    """Share of the questions' contexts that are also asked about a document that is not there."""
    distillation_ratio: float | None = None
    """Weight of what the same model says that reads the text, beside the targets; 0 when not given."""
    start_fraction: float = 0.1
    """Share of the documents, the shortest, that a stage's first step draws from."""
    evaluate_every: int = 250
    """Steps between exact-match measurements."""
    bf16: bool | None = None
    """Compute in bfloat16; None does where the device does it faster."""
    seed: int = 0
    """Seed of weights and data order."""
    device: str | None = None
    """Where to train."""

    @property
    def stages(self) -> dict[StageName, int]:
        """The stages that are run, in order, with their steps."""
        steps: dict[StageName, int] = {
            "lookup": 0 if self.init else self.lookup_steps,
            "language_model": self.language_model_steps,
            "compressor": self.compressor_steps,
        }
        return {name: num_steps for name, num_steps in steps.items() if num_steps}


def pretrain(
    options: PretrainOptions, out: Path, on_step: OnStep | None = None, on_warning: OnWarning | None = None
) -> TrainableCompressor:
    """Train or go on training in `out`; leaves the checkpoint in `out`/model and curves beside it.

    `on_warning` is told before training of questions that are left out, since their texts are too long.
    Under several processes, which may share the weights out among them (FSDP2), the first one alone writes.

    Raises:
        DataError: no data, or lines that cannot be read.
        LlocoError: `out` holds a run with other options.
    """
    if not options.data:
        raise DataError("pretraining needs text, no file was given: name JSON-lines files with --data")
    # What cannot be read is found before anything is written.
    next(iter_lines(options.data), None)
    if options.init is not None:
        design_of(named_folder(options.init))
    state = process_state(resolve_device(options.device))
    with claimed_run(out, state):
        return _pretrain(options, out, state, on_step, on_warning)


def _pretrain(
    options: PretrainOptions, out: Path, state: PartialState, on_step: OnStep | None, on_warning: OnWarning | None
) -> TrainableCompressor:
    options = replace(options, bf16=chosen_bf16(options.bf16, [out / name for name in options.stages], state))
    with state.main_process_first():
        tokenizer = _tokenizer(options, out)
    documents, validation = _read_documents(options, tokenizer, on_warning if state.is_main_process else None)
    compressor = new_compressor(options, tokenizer)
    nn.Module.to(compressor, resolve_device(options.device) if state.num_processes == 1 else state.device)
    for name, num_steps in options.stages.items():
        if name == "compressor" and not compressor.digest:
            compressor = _afresh(compressor, options)
        with eager_attention(compressor):
            log = _run_stage(name, num_steps, compressor, documents, validation, options, out, on_step)
        if state.is_main_process:
            write_curves(out / name, log)
    if "compressor" not in options.stages and not compressor.digest:
        compressor = _afresh(compressor, options)
    compressor.eval()
    # Its weights are not those of `init` any more.
    compressor.decoder = replace(compressor.decoder, digest="")
    if state.is_main_process:
        compressor.save(out / "model")
        summary = {"options": asdict(options), "num_documents": len(documents)}
        (out / "pretrain.json").write_text(json.dumps(summary, indent=2, default=str) + "\n", encoding="utf-8")
    state.wait_for_everyone()
    return compressor


def _read_documents(
    options: PretrainOptions, tokenizer: PreTrainedTokenizerFast, on_warning: OnWarning | None
) -> tuple[list[ReadingDocument], list[ReadingDocument]]:
    """Return what is learned and what is measured on.

    Raises:
        DataError: one of them is empty though files were given.
    """
    limit, lost = options.max_document_tokens, list[int]()
    documents = tokenize_lines(iter_lines(options.data), tokenizer, limit, lost.append)
    if not documents:
        raise DataError(f"pretraining needs text, {', '.join(map(str, options.data))} hold none: give other files")
    held_out = tokenize_lines(iter_lines(options.validation), tokenizer, limit, lost.append)
    validation = [document for document in held_out if document.pairs][:MAX_VALIDATION_DOCUMENTS]
    if options.validation and not validation:
        raise DataError(
            f"no text of up to {limit:,} tokens in {', '.join(map(str, options.validation))} has questions to measure "
            "on: give shorter texts, or raise --max-document-tokens"
        )
    if sum(lost) and on_warning is not None:
        on_warning(
            f"{sum(lost):,} questions of {len(lost):,} texts are left out, because these have more than {limit:,} "
            "tokens and are cut into parts: raise --max-document-tokens, or give the questions with shorter texts"
        )
    return documents, validation


def new_compressor(options: PretrainOptions, tokenizer: PreTrainedTokenizerFast) -> TrainableCompressor:
    """Return the compressor that training begins with: that of `options.init`, else a new one, without a digest.

    Where `init` is a plain language model, or of another design than is asked for, it gets a new compressor.

    Raises:
        CheckpointError: windows or segments of these lengths do not fit the model's positions.
    """
    if options.init is None:
        model = new_model(options.shape, int(tokenizer.eos_token_id), options.seed)
        return _compressor_around(Decoder(model, tokenizer, "new model", ""), options)
    design = design_of(named_folder(options.init))
    if design in (None, "icae", "dynamic_pooling") or options.design not in (None, design):
        decoder = load_decoder(options.init, device=options.device, dtype="float32")
        return _compressor_around(replace(decoder, digest=""), options)
    found = load_compressor(options.init, device=options.device, dtype="float32")
    lens = found.segment_lens if options.ratios is None else _segment_lens(options.ratios, found.summary_length)
    if isinstance(found, AutoCompressor):
        return AutoCompressor(found.decoder, found.embed_summary.weight, segment_len=lens[0], segment_lens=lens)
    assert isinstance(found, LocalCompressor)
    window_len = options.window_len or found.window_len
    return LocalCompressor(found.decoder, found.encoder, segment_lens=lens, window_len=window_len)


def _afresh(compressor: TrainableCompressor, options: PretrainOptions) -> TrainableCompressor:
    """Return a new compressor around the decoder as it is now, of which an encoder begins as a copy."""
    made = _compressor_around(compressor.decoder, options)
    nn.Module.to(made, compressor.decoder.device)
    return made


def _compressor_around(decoder: Decoder, options: PretrainOptions) -> TrainableCompressor:
    torch.manual_seed(options.seed)
    forget_settings(decoder.model.config)
    length = options.shape.summary_length
    segment_lens = _segment_lens(options.ratios or RATIOS, length)
    if options.design == "autocompressor":
        summaries = torch.randn(length, decoder.hidden_size) * 0.05
        return AutoCompressor(decoder, summaries, segment_len=segment_lens[0], segment_lens=segment_lens)
    encoder = new_local_encoder(decoder, options.design or "pooling", summary_length=length)
    return LocalCompressor(decoder, encoder, segment_lens=segment_lens, window_len=options.window_len or WINDOW_LEN)


def _segment_lens(ratios: Sequence[float], summary_length: int) -> tuple[int, ...]:
    return tuple(round(ratio * summary_length) for ratio in ratios)


def _tokenizer(options: PretrainOptions, out: Path) -> PreTrainedTokenizerFast:
    """Train the tokenizer once per run: a resumed run reads the one it began with."""
    if options.init is not None:
        found = load_tokenizer(named_folder(options.init))
        if not isinstance(found, PreTrainedTokenizerFast):
            raise CheckpointError(
                f"the model must have a fast tokenizer, {options.init} has "
                f"{'none' if found is None else type(found).__name__}: put its tokenizer.json beside it"
            )
        return found
    chooser = random.Random(options.seed)
    texts = [text for text, _ in iter_lines(options.data) if chooser.random() < 0.2]
    texts += [f"\nQuestion: {q}\nAnswer: {a}" for _, pairs in iter_lines(options.data[:1]) for q, a in pairs[:1]]
    texts += [text for text, _ in iter_lines(options.tokenizer_text)]
    return kept_tokenizer(out / "tokenizer", texts, options.shape.vocab_size)


def _run_stage(
    name: StageName,
    num_steps: int,
    compressor: TrainableCompressor,
    documents: Sequence[ReadingDocument],
    validation: Sequence[ReadingDocument],
    options: PretrainOptions,
    out: Path,
    on_step: OnStep | None,
) -> list[LogLine]:
    loop = LoopOptions(
        num_steps=num_steps,
        learning_rate=options.compressor_learning_rate if name == "compressor" else options.learning_rate,
        # What lookup needs comes all at once, at a step that nobody knows beforehand.
        min_lr_ratio=1.0 if name == "lookup" else 0.05,
        weight_decay=0.01,
        beta2=0.98,
        seed=options.seed,
        save_every=options.evaluate_every,
        bf16=bool(options.bf16),
    )
    reading = ReadingOptions(
        stage=name,
        batch_tokens=options.batch_tokens,
        copy_ratio=options.copy_ratio,
        end_copy_ratio=min(options.copy_ratio, END_COPY_RATIO),
        text_target_ratio=options.text_target_ratio,
        repeat_ratio=options.repeat_ratio,
        start_fraction=options.start_fraction,
        segment_lens=compressor.segment_lens,
        text_row_ratio=options.text_row_ratio,
        reconstruction_ratio=options.reconstruction_ratio,
        distractor_ratio=options.distractor_ratio,
        not_answerable_ratio=options.not_answerable_ratio,
        distillation_ratio=options.distillation_ratio or 0.0,
    )
    run = {
        "reading": asdict(reading),
        "shape": asdict(options.shape),
        "documents": documents_digest(documents),
        "init": weights_digest(named_folder(options.init)) if options.init else "",
        "design": compressor.design,
        "window_len": compressor.window_len if isinstance(compressor, LocalCompressor) else None,
    }
    stage = ReadingStage(
        compressor,
        documents,
        reading,
        num_steps=num_steps,
        seed=options.seed,
        validation=validation,
        evaluate_every=options.evaluate_every,
        num_processes=process_state(compressor.decoder.device).num_processes,
    )
    compressor.train()
    report = None if on_step is None else lambda line: on_step(name, line)
    # Before there are soft prompts the decoder learns alone.
    learner: nn.Module = compressor if name == "compressor" else compressor.model
    log = train(learner, stage, loop, out / name, report, run=run)
    make_whole(learner)
    return log
