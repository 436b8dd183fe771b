"""What `lloco predict` and `lloco evaluate` share: their flags, an engine, and where soft prompts come from."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lloco.answer.budget import DEFAULT_BUDGET
from lloco.cli import options
from lloco.cli.output import Output
from lloco.cli.threads import fit_threads
from lloco.evals.mode import ADAPTER_SUFFIX, BUDGET_MODES, VECTOR_MODES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lloco.compression.on_demand import SoftPromptSource
    from lloco.compressors.compressor import Compressor
    from lloco.documents.document import Document
    from lloco.engine.engine import Engine
    from lloco.evals.predict import SoftPromptOf
    from lloco.evals.run.log import Prediction
    from lloco.models.decoder import Decoder
    from lloco.store.corpus import Corpus
    from lloco.tasks.sample import Sample


MANY, MANY_SHARE = 3, 0.2
"""So many answers, and such a share of all, are warned of where they are empty or were cut."""


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

    def check_corpus(self) -> None:
        """Raise `StoreError` where a corpus is named that is not there."""
        from lloco.store.store import Store

        if self.corpus is not None:
            with Store(self.store) as opened:
                opened.corpus(self.corpus, create=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is loaded for them."""

    engine: "Engine"
    samples: "Sequence[Sample]"
    soft_prompt_of: "SoftPromptOf | None"
    adapter: Path | None
    """The one that was named, or the corpus's own if a mode reads with it."""
    provenance: dict[str, object]
    context_budget: int | None = None
    """Positions for the modes that have a budget; None where documents have their own budgets."""
    budget_of: "Callable[[Document], int] | None" = None
    """A document's budget, where the corpus tells it and no compressor is loaded."""


@contextmanager
def open_reading(
    flags: ReadingFlags,
    samples_of: "Callable[[Decoder], Sequence[Sample]]",
    modes: Sequence[str],
    output: Output,
) -> Iterator[Reading]:
    """Load what the modes need, and the questions for the decoder; the store stays open inside the block."""
    from lloco.answer.corpus_decoder import check_decoder
    from lloco.compressors.load import load_named_decoder
    from lloco.store.store import Store

    fit_threads()
    with ExitStack() as stack:
        corpus = None
        if flags.corpus is not None:
            corpus = stack.enter_context(Store(flags.store)).corpus(flags.corpus, create=False)
        compressor = _load_compressor(flags, corpus) if _needs_compressor(flags, modes) else None
        decoder = compressor.decoder if compressor else None
        if flags.model:
            decoder = load_named_decoder(
                flags.model, device=flags.device, dtype=flags.dtype, max_positions=flags.max_positions
            )
        assert decoder is not None, "without --model there is a compressor"
        reads_vectors = any(map(_reads_vectors, modes))
        is_read_with = reads_vectors or any(mode.endswith(ADAPTER_SUFFIX) for mode in modes)
        adapter = flags.adapter or (corpus.adapter_folder() if corpus and is_read_with else None)
        if adapter is not None:
            warn_of_other_model(output, adapter, decoder)
        samples = samples_of(decoder)
        engine = _engine(flags, decoder, adapter)
        if compressor is None:
            budget, budget_of = _budgets(flags, modes, corpus, decoder, output)
            yield Reading(engine, samples, None, adapter, {"corpus": flags.corpus}, budget, budget_of)
            return
        if reads_vectors:
            check_decoder(decoder, compressor, adapter)
        source = _source(flags, samples, compressor, corpus, output)
        provenance = _provenance(flags, compressor, source)
        yield Reading(engine, samples, source.soft_prompt, adapter, provenance, flags.context_budget)


def _needs_compressor(flags: ReadingFlags, modes: Sequence[str]) -> bool:
    """Whether vectors are read, the decoder is the compressor's own, or a budget is that of soft prompts to make."""
    is_named = flags.compressor is not None or flags.segment_len is not None
    return flags.model is None or any(map(_reads_vectors, modes)) or (is_named and _needs_budget(flags, modes))


def _reads_vectors(mode: str) -> bool:
    return mode.removesuffix(ADAPTER_SUFFIX) in VECTOR_MODES


def _needs_budget(flags: ReadingFlags, modes: Sequence[str]) -> bool:
    return flags.context_budget is None and any(mode.removesuffix(ADAPTER_SUFFIX) in BUDGET_MODES for mode in modes)


def _budgets(
    flags: ReadingFlags, modes: Sequence[str], corpus: "Corpus | None", decoder: "Decoder", output: Output
) -> "tuple[int | None, Callable[[Document], int] | None]":
    """Return the budget of truncated text and passages where no compressor is loaded: of all documents, or of each.

    With a corpus a document's budget is as long as its soft prompt there, or as one would be at the corpus's ratio.
    """
    from lloco.models.tokenize import token_ids

    if not _needs_budget(flags, modes):
        return flags.context_budget, None
    summary = None if corpus is None else corpus.summary()
    if corpus is None or summary is None or not summary.num_virtual_tokens:
        output.say(
            f"there are no soft prompts to go by: modes {' and '.join(BUDGET_MODES)} read {DEFAULT_BUDGET} tokens; "
            "--budget says otherwise, --compressor takes the length of its soft prompts"
        )
        return DEFAULT_BUDGET, None
    stored = {document.digest: document.num_virtual_tokens for document in corpus.documents()}
    ratio = summary.num_document_tokens / summary.num_virtual_tokens

    def budget_of(document: "Document") -> int:
        known = stored.get(document.digest)
        return known or math.ceil(len(token_ids(decoder.require_tokenizer(), document.text)) / ratio)

    return None, budget_of


def warn_of_cuts(output: Output, mode: str, predictions: "Sequence[Prediction]") -> None:
    """Say how many contexts the mode could not read whole, and how much of them was read."""
    lens = [
        prediction.num_context_tokens + prediction.num_virtual_tokens for prediction in predictions if prediction.is_cut
    ]
    if lens:
        read = f"{min(lens):,}" if min(lens) == max(lens) else f"{min(lens):,} to {max(lens):,}"
        output.warn(
            f"mode {mode}: {len(lens):,} of {len(predictions):,} contexts were cut to {read} tokens, what the "
            "decoder's positions leave beside question and answer"
        )


def warn_of_answers(output: Output, predictions_of: "Mapping[str, Sequence[Prediction]]") -> None:
    """Say in one line in which modes many answers are empty, or were cut, and what the likely cause is."""
    empty = _many(predictions_of, lambda prediction: not prediction.text)
    cut = _many(predictions_of, lambda prediction: prediction.is_answer_cut)
    said = []
    if empty:
        said.append(
            f"{empty} are empty: the wording is likely one that this model does not know, such as that of a chat model "
            "without its chat template (--template)"
        )
    if cut:
        said.append(f"{cut} were cut: --max-tokens allows more, and --template a wording that asks for short answers")
    if said:
        output.warn("; ".join(said))


def _many(predictions_of: "Mapping[str, Sequence[Prediction]]", is_such: "Callable[[Prediction], bool]") -> str:
    """Name the modes in which a fifth of the answers, and at least three, are such, with their numbers; "" for none."""
    found = []
    for mode, predictions in predictions_of.items():
        num_such = sum(map(is_such, predictions))
        if num_such >= MANY and num_such >= MANY_SHARE * len(predictions):
            found.append(f"{num_such:,} of {len(predictions):,} answers in mode {mode}")
    return ", ".join(found)


def warn_of_other_model(output: Output, adapter: Path, decoder: "Decoder") -> None:
    """Say so where an adapter of the right shapes names another model than the one that is to read with it."""
    from lloco.adapters.check import other_model_named

    if (name := other_model_named(adapter, decoder)) is not None:
        output.warn(
            f"adapter {adapter} names {name} as its model, {decoder.name} is to read with it: an adapter of other "
            "weights spoils answers, use that model if they are not the same"
        )


def _engine(flags: ReadingFlags, decoder: "Decoder", adapter: Path | None) -> "Engine":
    from lloco.adapters.folder import lora_options
    from lloco.engine.streaming import embedded_engine
    from lloco.engine.vllm.engine import VllmEngine

    if flags.engine == "transformers":
        return embedded_engine(decoder, flags.batch_size)
    rank = 8 if adapter is None else lora_options(adapter, 0.0).r
    return VllmEngine(decoder, flags.batch_size, max_lora_rank=rank)


def _load_compressor(flags: ReadingFlags, corpus: "Corpus | None") -> "Compressor":
    from lloco.compression.corpus_compressor import load_corpus_compressor
    from lloco.compressors.load import load_compressor

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
    from lloco.compression.on_demand import SoftPromptSource
    from lloco.compressors.compressor import CompressOptions

    made = CompressOptions(segment_len=flags.segment_len, batch_size=flags.batch_size)
    source = SoftPromptSource([sample.document for sample in samples], compressor, made, corpus=corpus)
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
