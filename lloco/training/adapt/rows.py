"""A sample as rows of the decoder: with its documents as vectors, or as text.

Knows nothing about losses.
"""

from collections.abc import Sequence

from torch import Tensor

from lloco.prompts.branched_rows import BranchedRow
from lloco.training.adapt.samples import Sample


def vector_row(sample: Sample, vectors: Sequence[Tensor]) -> BranchedRow:
    """Lay a sample out with its documents as vectors."""
    return _row(sample, vectors)


def text_row(sample: Sample) -> BranchedRow:
    """Lay a sample out with its documents as text."""
    return _row(sample, sample.documents)


def _row(sample: Sample, documents: Sequence[Tensor]) -> BranchedRow:
    pieces = (sample.before_ids, *documents, sample.text_ids)
    return BranchedRow(tuple(piece for piece in pieces if len(piece)), sample.branches)
