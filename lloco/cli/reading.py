"""What `lloco predict` and `lloco evaluate` share: their flags, an engine, and where soft prompts come from."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lloco.cli import options
from lloco.cli.output import Output
from lloco.evals.mode import needs_soft_prompt

if TYPE_CHECKING:
    from lloco.compressors.compressor import Compressor
    from lloco.engine.engine import Engine
    from lloco.evals.predict import SoftPromptOf
    from lloco.evals.sample import Sample
    from lloco.evals.work_log import Prediction
    from lloco.models.decoder import Decoder
    from lloco.soft_prompt_source import SoftPromptSource
    from lloco.store.corpus import Corpus


@dataclass(frozen=True, slots=True)
class ReadingFlags:
    """The flags that say what reads the documents and how, as they were typed."""

    model: options.Model = None
    compressor: options.CompressorName = None
    adapter: options.Adapter = None
    template: options.TemplateName = None
    corpus: options.OptionalCorpus = None
    store: options.StorePath = None
    segment_len: options.SegmentLen = None
    max_tokens: options.MaxTokens = None
    context_budget: options.ContextBudget = None
    limit: options.Limit = None
    seed: options.Seed = 0
    device: options.Device = None
    dtype: options.DtypeName = None
    max_positions: options.MaxPositions = None
    batch_size: options.BatchSize = 8
    engine: options.EngineName = "transformers"


@dataclass(frozen=True, slots=True)
class Reading:
    """What is loaded for them."""

    engine: "Engine"
    soft_prompt_of: "SoftPromptOf | None"
    adapter: Path | None
    provenance: dict[str, object]


@contextmanager
def open_reading(
    flags: ReadingFlags, samples: "Sequence[Sample]", modes: Sequence[str], output: Output
) -> Iterator[Reading]:
    """Load what the modes need; the store stays open inside the block."""
    from lloco.compressors.load import load_named_decoder
    from lloco.corpus_models import check_decoder
    from lloco.store.store import Store

    with ExitStack() as stack:
        corpus = None
        if flags.corpus is not None:
            corpus = stack.enter_context(Store(flags.store)).corpus(flags.corpus, create=False)
        compressor = None
        if flags.model is None or any(needs_soft_prompt(mode, flags.context_budget) for mode in modes):
            compressor = _load_compressor(flags, corpus)
        if flags.model is not None:
            decoder = load_named_decoder(
                flags.model, device=flags.device, dtype=flags.dtype, max_positions=flags.max_positions
            )
        else:
            assert compressor is not None, "without --model there is a compressor"
            decoder = compressor.decoder
        adapter = flags.adapter or (None if corpus is None else corpus.adapter_folder())
        is_read_with = flags.adapter is not None or any(mode.startswith("compressed") for mode in modes)
        if adapter is not None and is_read_with:
            warn_of_other_model(output, adapter, decoder)
        engine = _engine(flags, decoder, adapter if is_read_with else None)
        if compressor is None:
            yield Reading(engine, None, adapter, {"corpus": flags.corpus})
            return
        if any(mode.startswith("compressed") for mode in modes):
            check_decoder(decoder, compressor, adapter)
        source = _source(flags, samples, compressor, corpus, output)
        yield Reading(engine, source.soft_prompt, adapter, _provenance(flags, compressor, source))


def warn_of_cuts(output: Output, mode: str, predictions: "Sequence[Prediction]") -> None:
    """Say how many contexts the mode could not read whole, and how much of them was read."""
    lens = [one.num_context_tokens + one.num_virtual_tokens for one in predictions if one.is_cut]
    if lens:
        read = f"{min(lens):,}" if min(lens) == max(lens) else f"{min(lens):,} to {max(lens):,}"
        output.warn(
            f"mode {mode}: {len(lens):,} of {len(predictions):,} contexts were cut to {read} tokens, what the "
            "decoder's positions leave beside question and answer"
        )


def warn_of_other_model(output: Output, adapter: Path, decoder: "Decoder") -> None:
    """Say so where an adapter of the right shapes names another model than the one that is to read with it."""
    from lloco.models.adapter import other_model_named

    if (name := other_model_named(adapter, decoder)) is not None:
        output.warn(
            f"adapter {adapter} names {name} as its model, {decoder.name} is to read with it: an adapter of other "
            "weights spoils answers, use that model if they are not the same"
        )


def _engine(flags: ReadingFlags, decoder: "Decoder", adapter: Path | None) -> "Engine":
    from lloco.engine.streaming import embedded_engine
    from lloco.engine.vllm_engine import VllmEngine
    from lloco.models.adapter import lora_options

    if flags.engine == "transformers":
        return embedded_engine(decoder, flags.batch_size)
    rank = 8 if adapter is None else lora_options(adapter, 0.0).r
    return VllmEngine(decoder, flags.batch_size, max_lora_rank=rank)


def _load_compressor(flags: ReadingFlags, corpus: "Corpus | None") -> "Compressor":
    from lloco.compressors.load import load_compressor
    from lloco.corpus_models import load_corpus_compressor

    if corpus is None:
        return load_compressor(
            flags.compressor, device=flags.device, dtype=flags.dtype, max_positions=flags.max_positions
        )
    return load_corpus_compressor(
        corpus, flags.compressor, device=flags.device, dtype=flags.dtype, max_positions=flags.max_positions
    )


def _source(
    flags: ReadingFlags, samples: "Sequence[Sample]", compressor: "Compressor", corpus: "Corpus | None", output: Output
) -> "SoftPromptSource":
    from lloco.compressors.compressor import CompressOptions
    from lloco.soft_prompt_source import SoftPromptSource

    made = CompressOptions(segment_len=flags.segment_len, batch_size=flags.batch_size)
    source = SoftPromptSource([one.document for one in samples], compressor, made, corpus=corpus)
    if corpus is not None:
        others = f"; the others are compressed {source.made_as}" if source.num_stored < source.num_documents else ""
        output.say(f"corpus {corpus.name} holds {source.num_stored} of the {source.num_documents} documents{others}")
    return source


def _provenance(flags: ReadingFlags, compressor: "Compressor", source: "SoftPromptSource") -> dict[str, object]:
    segment_lens = source.segment_lens
    return {
        "corpus": flags.corpus,
        "compressor": compressor.name,
        "compressor_digest": compressor.digest,
        "segment_len": segment_lens[0] if len(segment_lens) == 1 else segment_lens,
        "summary_length": compressor.summary_length,
    }
