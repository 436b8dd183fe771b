"""Compressing with a local design, as `bench.compress` measures it: the naive way, and the work that there is.

A local design has no output layer and no cache to leave out: the naive way is one window at a time, as a loop over
documents reads them.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from lloco.bench.measure.floor import ModelCost, Work, sum_to
from lloco.compressors.local import LocalCompressor


def compress_one_by_one(compressor: LocalCompressor, documents: Sequence[Tensor]) -> list[Tensor]:
    """Return (num_virtual_tokens, hidden_size) per document of ids (num_tokens,)."""
    return [compressor.compress_ids([ids], batch_size=1)[0] for ids in documents]


def encoder_cost(compressor: LocalCompressor, decoder_cost: ModelCost) -> ModelCost:
    """Return what the encoder costs: the decoder's layout with layers of its own and no output layer."""
    weights = [weight for weight in compressor.encoder.parameters() if weight.ndim > 1]
    return replace(
        decoder_cost,
        weight_bytes=sum(weight.nbytes for weight in compressor.encoder.parameters()),
        read_bytes=sum(weight.nbytes for weight in weights),
        body_weights=sum(weight.numel() for weight in compressor.encoder.body.parameters() if weight.ndim > 1),
        head_weights=0,
        num_layers=int(compressor.encoder.body.config.num_hidden_layers),
    )


def window_rows(compressor: LocalCompressor, num_tokens: int) -> list[int]:
    """Return the positions of each window of a document of that length, summary tokens included."""
    segment_len = compressor.segment_len
    window_len = compressor.segments_at_once(segment_len) * segment_len
    windows = [min(window_len, num_tokens - start) for start in range(0, num_tokens, window_len)]
    if compressor.design == "pooling":
        return windows
    return [window + compressor.num_virtual_tokens(window) for window in windows]


def local_work(compressor: LocalCompressor, cost: ModelCost, lengths: Sequence[int], batch_size: int) -> Work:
    """Count what the windows of documents of these lengths take: every batch of windows moves the weights once.

    Layers read every position, the network behind them every vector.
    """
    rows = sorted((row for length in lengths for row in window_rows(compressor, length)), reverse=True)
    behind = compressor.encoder.weights_a_vector(compressor.segment_len)
    work = Work(2 * behind * sum(map(compressor.num_virtual_tokens, lengths)), 0)
    for first in range(0, len(rows), batch_size):
        flops = sum(
            2 * cost.body_weights * row + _attention(compressor, cost, row) for row in rows[first:][:batch_size]
        )
        work += Work(flops, cost.read_bytes)
    return work


def _attention(compressor: LocalCompressor, cost: ModelCost, row: int) -> int:
    """Count attention's products: of a causal row with what is before, else of every position with every other."""
    pairs = sum_to(row) if compressor.design == "interleaved" else row * row
    return pairs * 4 * cost.num_layers * cost.attention_width
