"""A sample as rows of the decoder: with its documents as vectors, or as text.

Knows nothing about losses.
"""

from collections.abc import Sequence

from torch import Tensor

from lloco.compressors.delta import TrainableCompressor
from lloco.prompts.branched_rows import BranchedRow
from lloco.training.adapt.samples import Sample


def read_as_vectors(compressor: TrainableCompressor, documents: Sequence[Tensor], segment_len: int) -> list[Tensor]:
    """Return the vectors of documents in the order given; with gradients where they are on."""
    order = sorted(range(len(documents)), key=lambda index: -len(documents[index]))
    if not order:
        return []
    made = compressor.read_documents([documents[index] for index in order], segment_len)
    return [vectors for _, vectors in sorted(zip(order, made, strict=True), key=lambda item: item[0])]


def vector_row(sample: Sample, vectors: Sequence[Tensor]) -> BranchedRow:
    """Lay a sample out with its documents as vectors."""
    return _row(sample, vectors)


def text_row(sample: Sample) -> BranchedRow:
    """Lay a sample out with its documents as text."""
    return _row(sample, sample.documents)


def _row(sample: Sample, documents: Sequence[Tensor]) -> BranchedRow:
    pieces = (sample.before_ids, *documents, sample.text_ids)
    return BranchedRow(tuple(piece for piece in pieces if len(piece)), sample.branches)


def row_len(sample: Sample, segment_len: int) -> float:
    """Return about how many positions the longest of the sample's rows takes."""
    around = len(sample.before_ids) + len(sample.text_ids) + sum(len(branch.ids) for branch in sample.branches)
    num_tokens = sum(len(ids) for ids in sample.documents)
    return around + (num_tokens if sample.is_text_read else num_tokens / segment_len)
