"""The ways to answer questions about a document from fewer positions, ours among what a user would pick instead.

Each way prepares a document before any question is known, then answers its questions with the evaluation's own
prediction, so that prompts, wording and decoding are the same. Does not know the order in which ways take turns.
"""

import copy
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmarks.rivals.kept_keys import PRESSES, KeptKeys, why_no_press
from benchmarks.rivals.pruned_text import PrunedText, QuestionLikelihood
from benchmarks.rivals.timed_engine import TimedEngine, Timing
from lloco.bench.measure.spread import synchronize
from lloco.compression.plan import segment_len_for
from lloco.compressors.compressor import CompressOptions, Compressor, compress_documents
from lloco.documents.document import Document
from lloco.evals.context import Context, DocumentContext, DocumentReading, SearchOf
from lloco.evals.predict import PredictOptions, predict
from lloco.evals.run.log import Prediction
from lloco.models.decoder import Decoder
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.prompts.template import Template
from lloco.retrieval.embedder import Embedder
from lloco.retrieval.retriever import Retriever
from lloco.tasks.sample import Sample

NO_EMBEDDER = "it searches by meaning: name an embedder with --embedder"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a way has of one document before it is asked about."""

    reading: DocumentReading
    engine: TimedEngine
    num_bytes: Callable[[], int]
    """What a store keeps of the document; asked for after its questions."""


@dataclass(frozen=True, slots=True, eq=False)
class RivalWay:
    """One way; `prepare` does what can be done before a question is known."""

    name: str
    prepare: Callable[[Document], Prepared]
    mode: str = "retrieval"
    """Of `PredictOptions`; what is read is the prepared reading's choice."""
    ratio: int | None = None
    """Document tokens per position that is read; None where all is read."""
    adapter: Path | None = None
    reads_whole: bool = False
    """Whether the decoder reads the whole document at once, before or after the question."""
    skipped: str | None = None
    """Why it cannot be measured."""


@dataclass(frozen=True, slots=True, eq=False)
class DocumentAnswers:
    """What one way answered about one document, and what that took."""

    predictions: list[Prediction]
    timings: list[Timing]
    search_seconds: list[float]
    """Time in which what to read was found, for each question."""
    prepare_seconds: float
    num_bytes: int


@dataclass(slots=True, eq=False)
class _Watched:
    """A reading and how long each choice took."""

    reading: DocumentReading
    seconds: list[float] = field(default_factory=list)

    @property
    def token_ids(self) -> Tensor:
        return self.reading.token_ids

    def context(self, mode: str, question: str, room: int) -> Context:
        started = time.perf_counter()
        context = self.reading.context(mode, question, room)
        self.seconds.append(time.perf_counter() - started)
        return context


def answer_document(
    way: RivalWay, samples: Sequence[Sample], template: Template | None, max_tokens: int | None
) -> DocumentAnswers:
    """Prepare the document of these samples and answer them one by one."""
    started = time.perf_counter()
    prepared = way.prepare(samples[0].document)
    synchronize(prepared.engine.decoder.device)
    prepare_seconds = time.perf_counter() - started
    watched, engine = _Watched(prepared.reading), prepared.engine
    num_before, engine.prepare_seconds = len(engine.timings), 0.0
    options = PredictOptions(mode=way.mode, max_tokens=max_tokens, batch_size=1, adapter=way.adapter)
    predictions = predict(samples, engine, template, options, reading_of=lambda document: watched)
    return DocumentAnswers(
        predictions,
        engine.timings[num_before:],
        watched.seconds,
        prepare_seconds + engine.prepare_seconds,
        prepared.num_bytes(),
    )


def make_ways(
    compressor: Compressor, ratios: Sequence[int], embedder: Embedder | None, adapter: Path | None
) -> list[RivalWay]:
    """Return the ways that read all, then for every ratio the ways that read so much less.

    Raises:
        DocumentError: the compressor cannot compress so much, or so little.
    """
    decoder = compressor.decoder
    # Adapters stay in a model that they were added to and would slow the ways that read without one.
    apart = decoder if adapter is None else replace(decoder, model=copy.deepcopy(decoder.model), lock=threading.RLock())
    engines = TimedEngine(decoder), TimedEngine(apart)
    ways = [
        RivalWay("full", partial(_full, engines[0]), "full", reads_whole=True),
        RivalWay("full, cached", partial(_kept, decoder, None, None), "full", reads_whole=True),
    ]
    no_press = why_no_press(decoder)
    for ratio in ratios:
        budget = _Budget(compressor, segment_len_for(ratio, compressor))
        text, passages = partial(_text, engines[0], budget), partial(_passages, engines[0], budget)
        soft_prompt = partial(_soft_prompt, compressor, budget.segment_len)
        by_words, by_meaning = Retriever.build, partial(Retriever.build, method="dense", embedder=embedder)
        by_likelihood = partial(QuestionLikelihood, decoder)
        ways += [
            RivalWay("truncated", text, "truncated", ratio),
            RivalWay("bm25", partial(passages, by_words, None), ratio=ratio),
            RivalWay(
                "dense",
                partial(passages, by_meaning, embedder),
                ratio=ratio,
                skipped=NO_EMBEDDER if embedder is None else None,
            ),
            RivalWay("question-likelihood", partial(passages, by_likelihood, None), ratio=ratio),
            RivalWay("self-information", partial(_pruned, engines[0], budget), ratio=ratio, reads_whole=True),
        ]
        for method in PRESSES:
            prepare = partial(_kept, decoder, method, budget)
            ways.append(RivalWay(method, prepare, "full", ratio, reads_whole=True, skipped=no_press))
        ways.append(RivalWay("compressed", partial(soft_prompt, engines[0]), "compressed", ratio))
        if adapter is not None:
            ways.append(RivalWay("compressed+adapter", partial(soft_prompt, engines[1]), "compressed", ratio, adapter))
    return ways


@dataclass(frozen=True, slots=True, eq=False)
class _Budget:
    """As many positions as a document's soft prompt has."""

    compressor: Compressor
    segment_len: int

    def of(self, num_tokens: int) -> int:
        """Return the positions for a document of so many tokens."""
        return self.compressor.num_virtual_tokens(num_tokens, self.segment_len)


def _document(decoder: Decoder, document: Document, budget: Callable[[int], int]) -> DocumentContext:
    """Return the evaluation's way to read text of a document."""
    reading = DocumentContext(
        document, decoder.require_tokenizer(), _no_soft_prompt, lambda: budget(len(reading.token_ids))
    )
    return reading


def _no_soft_prompt() -> SoftPrompt:
    raise AssertionError("ways that read text are given their budget")


def _full(engine: TimedEngine, document: Document) -> Prepared:
    return Prepared(_document(engine.decoder, document, _all), engine, lambda: _text_bytes(document))


def _all(num_tokens: int) -> int:
    return num_tokens


def _text(engine: TimedEngine, budget: _Budget, document: Document) -> Prepared:
    reading = _document(engine.decoder, document, budget.of)
    return Prepared(reading, engine, lambda: _ids_bytes(engine.decoder, reading.token_ids[: reading.budget]))


def _passages(
    engine: TimedEngine,
    budget: _Budget,
    search_of: SearchOf,
    embedder: Embedder | None,
    document: Document,
) -> Prepared:
    """Split and index the passages; an index by words is not counted as stored."""
    reading = _document(engine.decoder, document, budget.of)
    reading.search_of = search_of
    num_passages = len(reading.passages)

    def num_bytes() -> int:
        vectors = 0 if embedder is None else num_passages * embedder.embed_question("a").nbytes
        return _text_bytes(document) + vectors

    return Prepared(reading, engine, num_bytes)


def _pruned(engine: TimedEngine, budget: _Budget, document: Document) -> Prepared:
    reading = PrunedText(document, engine.decoder, budget.of)
    return Prepared(reading, engine, lambda: _ids_bytes(engine.decoder, reading.kept_ids(reading.num_kept)))


def _kept(decoder: Decoder, method: str | None, budget: _Budget | None, document: Document) -> Prepared:
    """Keys and values are computed by the engine, when it is shown the first prompt."""
    reading = _document(decoder, document, _all)
    kept = KeptKeys(method, None if budget is None else budget.of(len(reading.token_ids)))
    return Prepared(reading, TimedEngine(decoder, kept), lambda: kept.num_bytes)


def _soft_prompt(compressor: Compressor, segment_len: int, engine: TimedEngine, document: Document) -> Prepared:
    options = CompressOptions(segment_len=segment_len, batch_size=1)
    (soft_prompt,) = compress_documents(compressor, [document], options)
    reading = _document(engine.decoder, document, _all)
    reading.soft_prompt_of = lambda: soft_prompt
    return Prepared(reading, engine, lambda: soft_prompt.embeds.nbytes)


def _text_bytes(document: Document) -> int:
    return len(document.text.encode(errors="surrogatepass"))


def _ids_bytes(decoder: Decoder, ids: Tensor) -> int:
    return len(str(decoder.require_tokenizer().decode(ids)).encode())
