"""Rivals on one task and one decoder, in one run: what each way answers, reads, takes and stores at the same budget.

The budget of a document is the length of its soft prompt. Ways take turns document by document, and questions are
answered one at a time, so that what quality is scored on is what was timed. Does not know how a way works.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from benchmarks.rivals.ways import DocumentAnswers, RivalWay, answer_document, make_ways
from lloco.adapters.check import check_adapter
from lloco.bench.measure.floor import ModelCost
from lloco.bench.measure.machine import measure_machine
from lloco.bench.measure.memory import memory_method
from lloco.bench.measure.spread import spread_fields
from lloco.bench.measure.turns import OnRun, Way, count_runs, take_turns
from lloco.bench.show.results import BenchResults, Curve, Row, plain_options, ratio
from lloco.compressors.compressor import Compressor
from lloco.engine.decode_batch import check_cache
from lloco.evals.evaluate import versions
from lloco.evals.predict import by_document
from lloco.evals.results import ModeResult, Results
from lloco.evals.scorer import score
from lloco.models.tokenize import token_ids
from lloco.prompts.template import Template
from lloco.retrieval.embedder import Embedder
from lloco.tasks.sample import Sample

_ROOM = 512
"""Positions beside the document that memory is expected for."""


@dataclass(frozen=True, slots=True)
class RivalsOptions:
    """What is measured."""

    task: str
    """Its questions are asked."""
    data: str
    """Where they are from."""
    ratios: tuple[int, ...] | None = None
    """Document tokens per position that is read; the compressor's own when not given."""
    max_tokens: int | None = None
    """Tokens that an answer has at most; the task's own when not given."""
    embedder: str | None = None
    """Name of the embedder that passages are found by meaning with."""
    adapter: Path | None = None
    """Folder of an adapter; adds a row that reads soft prompts with it."""
    template: str | None = None
    """Name of the wording of all rows; else the adapter's own for its row and the task's for others."""
    seed: int = 0
    """Seed of the bootstrap behind the standard error of ROUGE's geometric mean; decoding is greedy."""


def measure_rivals(
    samples: Sequence[Sample],
    compressor: Compressor,
    options: RivalsOptions,
    embedder: Embedder | None = None,
    template: Template | None = None,
    on_run: OnRun | None = None,
) -> BenchResults:
    """Answer all samples in every way.

    Raises:
        DataError: samples have no references.
        DocumentError: the compressor cannot compress by such a ratio.
        LlocoError: the decoder keeps no plain keys and values, or a question leaves no room.
        MismatchError: the adapter was made for another model.
    """
    decoder, device = compressor.decoder, compressor.decoder.device
    _check(samples, compressor, options)
    ratios = options.ratios or (round(compressor.segment_len / compressor.summary_length),)
    documents = by_document(samples)
    rivals = make_ways(compressor, ratios, embedder, options.adapter)
    own = Template.of_adapter(options.adapter)
    cost = ModelCost.of(decoder.model)
    longest = max(len(token_ids(decoder.require_tokenizer(), group[0].document.text)) for group in documents)
    ways = [
        Way(
            rival.name,
            _answers(rival, documents, template or (own if rival.adapter else None), options.max_tokens).__next__,
            cost.reading_bytes(min(longest, decoder.max_len) if rival.reads_whole else _ROOM),
            rival.skipped,
        )
        for rival in rivals
    ]
    machine = measure_machine(device, decoder.dtype, cost.read_bytes)
    take_turns(ways, len(documents), device, count_runs(on_run, len(ways), len(documents)))
    machine = machine.best(measure_machine(device, decoder.dtype, cost.read_bytes))
    ordered = [sample for group in documents for sample in group]
    rows = [_row(rival, way, ordered, options) for rival, way in zip(rivals, ways, strict=True)]
    whole = rows[0]
    for row in rows:
        row["ratio"] = ratio(whole["answer_seconds"], row["answer_seconds"])
        row["ratio_first_token"] = ratio(whole["first_token_seconds"], row["first_token_seconds"])
    described = {
        **asdict(machine),
        "memory_method": memory_method(device),
        "num_documents": len(documents),
        "num_questions": len(ordered),
    }
    chosen = plain_options(options) | {"ratios": list(ratios), "compressor": compressor.name, "model": decoder.name}
    return BenchResults("rivals", tuple(rows), described, chosen, versions(), CURVES)


def _check(samples: Sequence[Sample], compressor: Compressor, options: RivalsOptions) -> None:
    """Refuse before the first turn what would be refused after many."""
    score(options.task, samples, {sample.id: "" for sample in samples})
    check_cache(compressor.decoder)
    if options.adapter is not None:
        check_adapter(options.adapter, compressor.decoder)


def _answers(
    way: RivalWay, documents: Sequence[Sequence[Sample]], template: Template | None, max_tokens: int | None
) -> Iterator[DocumentAnswers]:
    """Answer about the first document, to warm up, then about one document a turn."""
    for samples in (documents[0], *documents):
        yield answer_document(way, samples, template, max_tokens)


def _row(rival: RivalWay, way: Way[DocumentAnswers], samples: Sequence[Sample], options: RivalsOptions) -> Row:
    """Return one line of the results; means and medians are over questions, what is prepared and stored by document."""
    timings = [timing for document in way.measured for timing in document.timings]
    searches = [seconds for document in way.measured for seconds in document.search_seconds]
    seconds = list(zip(searches, timings, strict=True))
    return {
        "mode": rival.name,
        "wanted_ratio": rival.ratio,
        **(_answered(way, samples, options) if way.measured else dict.fromkeys(_ANSWERED)),
        **spread_fields("search_seconds", searches),
        **spread_fields("first_token_seconds", [search + timing.first_token_seconds for search, timing in seconds]),
        **spread_fields("answer_seconds", [search + timing.answer_seconds for search, timing in seconds]),
        **spread_fields("prepare_seconds", [document.prepare_seconds for document in way.measured]),
        "stored_bytes": mean(document.num_bytes for document in way.measured) if way.measured else None,
        "working_memory_bytes": way.working_memory_bytes,
        "skipped": way.skipped,
    }


_ANSWERED = (
    "n", "metric", "quality", "quality_stderr", "metrics", "stderr", "document_tokens", "context_positions",
    "compression_ratio", "new_tokens", "num_cut",
)  # fmt: skip


def _answered(way: Way[DocumentAnswers], samples: Sequence[Sample], options: RivalsOptions) -> Row:
    """Return how good the answers are and what was read for them, a question on average."""
    predictions = tuple(prediction for document in way.measured for prediction in document.predictions)
    timings = [timing for document in way.measured for timing in document.timings]
    scores = score(
        options.task, samples, {prediction.id: prediction.text for prediction in predictions}, seed=options.seed
    )
    result = ModeResult(way.name, scores, predictions)
    metric = Results(options.task, (result,), tuple(samples), {}, {}).main_metric
    positions = result.tokens_read - mean(timing.num_dropped for timing in timings)
    values = (
        scores.num_samples[metric], metric, scores.metrics[metric], scores.stderr[metric], scores.metrics,
        scores.stderr, result.document_tokens, positions, result.document_tokens / positions,
        mean(timing.new_tokens for timing in timings), result.num_cut,
    )  # fmt: skip
    return dict(zip(_ANSWERED, values, strict=True))


CURVES = (
    Curve("quality", "context_positions", "quality", "mode", "Quality", "positions of the document that are read", "%"),
    Curve(
        "first_token", "context_positions", "first_token_seconds", "mode", "Time to first token",
        "positions of the document that are read", "ms", 1e3,
    ),
)  # fmt: skip
