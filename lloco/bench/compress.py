"""Speed and memory of compressing: the product's way against the naive way, in one run, by document length and batch.

Documents are random tokens, since time does not depend on what is read. The ways take turns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from lloco.bench.local_compress import compress_one_by_one, encoder_cost, local_work, window_rows
from lloco.bench.measure.floor import ModelCost, Work
from lloco.bench.measure.machine import Machine, measure_machine
from lloco.bench.measure.memory import memory_method
from lloco.bench.measure.spread import seconds_of, spread_fields
from lloco.bench.measure.turns import OnRun, Way, count_runs, take_turns
from lloco.bench.show.results import BenchResults, Curve, Row, plain_options, ratio
from lloco.compressors.autocompressor import AutoCompressor
from lloco.compressors.compressor import Compressor, windows_of
from lloco.compressors.delta import TrainableCompressor
from lloco.compressors.local import LocalCompressor
from lloco.evals.evaluate import versions
from lloco.models.decoder import Decoder
from lloco.models.positions import PUBLISHED_MAX_SEGMENTS

NAIVE = "naive"


@dataclass(frozen=True, slots=True)
class CompressBenchOptions:
    """What is measured."""

    lengths: tuple[int, ...] = (512, 1024, 2048)
    """Tokens of a document."""
    batch_sizes: tuple[int, ...] = (1, 4)
    """Documents (windows, for long ones) that are compressed together."""
    documents: int = 4
    """Documents of a measurement; at least as many as the largest batch."""
    repeats: int = 2
    """Measurements of each row."""
    seed: int = 0
    """Seed of the documents."""


def random_compressor(decoder: Decoder, *, segment_len: int, summary_length: int, seed: int = 0) -> AutoCompressor:
    """Return a compressor around a decoder that never learned to be one: as fast, and as large, as one that did."""
    random = torch.Generator().manual_seed(seed)
    return AutoCompressor(
        decoder, torch.randn(summary_length, decoder.hidden_size, generator=random) * 0.02, segment_len=segment_len
    )


def num_positions(length: int, segment_len: int, summary_length: int) -> int:
    """Return the longest row when a document is read in one recursion, or in windows of the published reach."""
    num_segments = min(-(-length // segment_len), PUBLISHED_MAX_SEGMENTS)
    return segment_len + num_segments * summary_length


def measure_compress(
    compressor: TrainableCompressor, options: CompressBenchOptions, on_run: OnRun | None = None
) -> BenchResults:
    """Measure every length in the naive way and with every batch size."""
    options = replace(options, documents=max(options.documents, *options.batch_sizes))
    decoder = compressor.decoder
    cost = ModelCost.of(decoder.model)
    machine = measure_machine(decoder.device, decoder.dtype, cost.read_bytes)
    count = count_runs(on_run, len(options.lengths) * (1 + len(options.batch_sizes)), options.repeats)
    done: dict[int, list[Way[float]]] = {}
    compressor.compress_ids([[0] * compressor.segment_len])
    for length in options.lengths:
        done[length] = list(_ways(compressor, options, length, cost))
        take_turns(done[length], options.repeats, decoder.device, count)
    machine = machine.best(measure_machine(decoder.device, decoder.dtype, cost.read_bytes))
    rows: list[Row] = []
    for length, ways in done.items():
        for way, batch_size in zip(ways, (1, *options.batch_sizes), strict=True):
            work = compress_work(compressor, cost, options, length, batch_size)
            rows.append(_row(way, ways[0], length, batch_size, options, work, machine))
    described = asdict(machine) | {"memory_method": memory_method(decoder.device)}
    chosen = plain_options(options) | {"compressor": compressor.name, "segment_len": compressor.segment_len}
    chosen |= {"summary_length": compressor.summary_length, "design": compressor.design}
    return BenchResults("compress", tuple(rows), described, chosen, versions(), CURVES)


def make_documents(compressor: Compressor, options: CompressBenchOptions, length: int) -> list[Tensor]:
    """Return random ids (length,) per document."""
    random = torch.Generator().manual_seed(options.seed)
    vocab_size = compressor.decoder.model.config.get_text_config().vocab_size
    return list(torch.randint(vocab_size, (options.documents, length), generator=random))


def _ways(
    compressor: TrainableCompressor, options: CompressBenchOptions, length: int, cost: ModelCost
) -> Iterator[Way[float]]:
    documents, device = make_documents(compressor, options, length), compressor.decoder.device
    if isinstance(compressor, LocalCompressor):
        states = encoder_cost(compressor, cost).reading_bytes(window_rows(compressor, length)[0])
        naive_bytes, naively = states, partial(compress_one_by_one, compressor, documents)
    else:
        states, logits = _recursion_bytes(compressor, length, cost)
        naive_bytes, naively = states + logits, partial(compress_naively, compressor, documents)
    yield Way(NAIVE, partial(seconds_of, naively, device), naive_bytes)
    for batch_size in options.batch_sizes:
        compress = partial(compressor.compress_ids, documents, batch_size=batch_size, long_documents="windows")
        yield Way(f"batch {batch_size}", partial(seconds_of, compress, device), states * batch_size)


def _recursion_bytes(compressor: AutoCompressor, length: int, cost: ModelCost) -> tuple[int, int]:
    """Estimate the states of the longest row, and the logits of all rows, which the naive way keeps."""
    segment_row = min(compressor.segment_len, length) + compressor.summary_length
    longest = compressor.num_virtual_tokens(min(length, compressor.max_document_tokens)) + segment_row
    num_segments = -(-min(length, compressor.max_document_tokens) // compressor.segment_len)
    return cost.reading_bytes(longest), num_segments * longest * cost.vocab_size * cost.itemsize


def compress_work(
    compressor: TrainableCompressor, cost: ModelCost, options: CompressBenchOptions, length: int, batch_size: int
) -> Work:
    """Count what compressing takes: every row is read once, every batch of rows moves the weights once."""
    if isinstance(compressor, LocalCompressor):
        lengths = [length] * options.documents
        return local_work(compressor, encoder_cost(compressor, cost), lengths, batch_size)
    windows = [end - start for start, end in windows_of(length, compressor.max_document_tokens, "windows")]
    lengths = sorted(windows * options.documents, reverse=True)
    work = Work(0, 0)
    for first in range(0, len(lengths), batch_size):
        group = lengths[first : first + batch_size]
        for start in range(0, group[0], compressor.segment_len):
            earlier = (
                compressor.num_virtual_tokens(start)
                if compressor.accumulate
                else min(start, 1) * (compressor.summary_length)
            )
            rows = [min(compressor.segment_len, own - start) for own in group if own > start]
            works = [cost.encode(earlier + row + compressor.summary_length) for row in rows]
            work += Work(sum(work.flops for work in works), works[0].num_bytes)
    return work


def _row(
    way: Way[float],
    naive: Way[float],
    length: int,
    batch_size: int,
    options: CompressBenchOptions,
    work: Work,
    machine: Machine,
) -> Row:
    """Return one line of the results; the ratio is this way's tokens a second over the naive way's."""
    num_tokens = length * options.documents
    row: Row = {
        "document_tokens": length,
        "mode": way.name,
        "batch_size": batch_size,
        "documents": options.documents,
        "n": len(way.measured),
        **spread_fields("tokens_per_second", [num_tokens / seconds for seconds in way.measured]),
        "floor_flops": work.flops,
        "floor_bytes": work.num_bytes,
        "floor_tokens_per_second": num_tokens / work.seconds(machine),
    }
    naive_speed = spread_fields("speed", [num_tokens / seconds for seconds in naive.measured])["speed"]
    return row | {
        "floor_fraction": ratio(row["tokens_per_second"], row["floor_tokens_per_second"]),
        "working_memory_bytes": way.working_memory_bytes,
        "ratio": ratio(row["tokens_per_second"], naive_speed),
        "ratio_working_memory": ratio(naive.working_memory_bytes, way.working_memory_bytes),
        "skipped": way.skipped,
    }


CURVES = (
    Curve("speed", "document_tokens", "tokens_per_second", "mode", "Compressing", "document tokens", "tokens/s",
        floor="floor_tokens_per_second"),
    Curve(
        "memory", "document_tokens", "working_memory_bytes", "mode", "Peak memory above the weights", "document tokens",
        "MB", 1e-6,
    ),
)  # fmt: skip


@torch.no_grad()
def compress_naively(compressor: AutoCompressor, documents: Sequence[Tensor]) -> list[Tensor]:
    """Return (num_virtual_tokens, hidden_size) per document of ids (num_tokens,), one document at a time.

    Each segment is read by the whole language model, as scripts around a checkpoint do: logits of all positions are
    computed and kept until the document's end, keys and values are cached. The vectors are those of
    `AutoCompressor.compress_ids`, but for rounding.
    """
    vectors = []
    for ids in documents:
        windows = windows_of(len(ids), compressor.max_document_tokens, "windows")
        vectors.append(torch.cat([_compress_window(compressor, ids[start:end]) for start, end in windows]))
    return vectors


def _compress_window(compressor: AutoCompressor, ids: Tensor) -> Tensor:
    decoder = compressor.decoder
    reader: nn.Module = compressor.model.get_decoder()  # type: ignore[no-untyped-call]
    output_layer: nn.Module = compressor.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    summaries = compressor.embed_summary.weight
    soft_prompt, parts, all_logits = summaries[:0], [], []
    for start in range(0, len(ids), compressor.segment_len):
        tokens = decoder.embed(ids[start : start + compressor.segment_len])
        output = reader(inputs_embeds=torch.cat([soft_prompt, tokens, summaries])[None], use_cache=True)
        all_logits.append(output_layer(output.last_hidden_state))
        parts.append(output.last_hidden_state[0, -len(summaries) :])
        soft_prompt = torch.cat([soft_prompt, parts[-1]]) if compressor.accumulate else parts[-1]
    return torch.cat(parts).cpu()
