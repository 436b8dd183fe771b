"""What `lloco predict` and `lloco evaluate` need besides questions: an engine, and where soft prompts come from."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lloco.cli.output import Output
from lloco.errors import MismatchError

if TYPE_CHECKING:
    from lloco.compressors.compressor import Compressor
    from lloco.engine.transformers_engine import TransformersEngine
    from lloco.evals.predict import SoftPromptOf
    from lloco.evals.sample import Sample
    from lloco.models.decoder import Decoder
    from lloco.store.corpus import Corpus

NEEDS_SOFT_PROMPTS = ("compressed", "truncated", "retrieval")


@dataclass(frozen=True, slots=True)
class ModelFlags:
    """The flags that choose models, as they were typed."""

    model: str | None
    compressor: str | None
    adapter: Path | None
    corpus: str | None
    store: Path | None
    device: str | None
    dtype: str | None
    batch_size: int
    segment_len: int | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What is loaded for them."""

    engine: "TransformersEngine"
    soft_prompt_of: "SoftPromptOf | None"
    adapter: Path | None
    provenance: dict[str, object]


@contextmanager
def open_reading(
    flags: ModelFlags, samples: "Sequence[Sample]", modes: Sequence[str], output: Output
) -> Iterator[Reading]:
    """Load what the modes need; the store stays open inside the block."""
    from lloco.compressors.load import load_named_decoder
    from lloco.engine.transformers_engine import TransformersEngine
    from lloco.store.store import Store

    with ExitStack() as stack:
        corpus = None
        if flags.corpus is not None:
            corpus = stack.enter_context(Store(flags.store)).corpus(flags.corpus, create=False)
        compressor = None
        if flags.model is None or any(mode.partition("+")[0] in NEEDS_SOFT_PROMPTS for mode in modes):
            compressor = _load_compressor(flags, corpus)
        decoder = load_named_decoder(flags.model, device=flags.device, dtype=flags.dtype) if flags.model else None
        decoder = decoder or (compressor.decoder if compressor else None)
        assert decoder is not None, "without --model there is a compressor"
        adapter = flags.adapter or (None if corpus is None else corpus.adapter_folder())
        engine = TransformersEngine(decoder, batch_size=flags.batch_size)
        if compressor is None:
            yield Reading(engine, None, adapter, {"corpus": flags.corpus})
            return
        _check_width(compressor, decoder)
        yield Reading(
            engine, _source(flags, samples, compressor, corpus, output), adapter, _provenance(flags, compressor)
        )


def _load_compressor(flags: ModelFlags, corpus: "Corpus | None") -> "Compressor":
    from lloco.compressors.load import load_compressor
    from lloco.corpus_models import load_corpus_compressor

    if corpus is None:
        return load_compressor(flags.compressor, device=flags.device, dtype=flags.dtype)
    return load_corpus_compressor(corpus, flags.compressor, device=flags.device, dtype=flags.dtype)


def _source(
    flags: ModelFlags, samples: "Sequence[Sample]", compressor: "Compressor", corpus: "Corpus | None", output: Output
) -> "SoftPromptOf":
    from lloco.compressors.compressor import CompressOptions
    from lloco.soft_prompt_source import SoftPromptSource

    made = CompressOptions(segment_len=flags.segment_len, batch_size=flags.batch_size)
    source = SoftPromptSource([one.document for one in samples], compressor, made, corpus=corpus)
    if corpus is not None:
        output.say(f"corpus {corpus.name} holds {source.num_stored} of the {source.num_documents} documents")
    return source.soft_prompt


def _check_width(compressor: "Compressor", decoder: "Decoder") -> None:
    if compressor.hidden_size != decoder.hidden_size:
        raise MismatchError(
            f"{compressor.name} makes virtual tokens {compressor.hidden_size} wide, {decoder.name} reads embeddings "
            f"{decoder.hidden_size} wide: use a compressor that was made for this model"
        )


def _provenance(flags: ModelFlags, compressor: "Compressor") -> dict[str, object]:
    return {
        "corpus": flags.corpus,
        "compressor": compressor.name,
        "compressor_digest": compressor.digest,
        "segment_len": flags.segment_len or compressor.segment_len,
        "summary_length": compressor.summary_length,
    }
