"""Vectors and text of the documents found, within one budget: the best passages as text, vectors of what lies around.

Where the vectors of whole documents have no room beside the passages, those of the next best passages are read.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from lloco.answer.budget import NoRoomError, Room
from lloco.answer.evidence import Evidence
from lloco.answer.text import pack_ranked, rank_passages, read_passages
from lloco.answer.vectors import are_whole, read_vectors
from lloco.models.decoder import Decoder
from lloco.store.corpus import Corpus

TEXT_SHARE = 0.5
"""Share of the budget that passages get as text; vectors get the rest."""


def read_both(
    corpus: Corpus,
    question: str,
    evidence: Sequence[Evidence],
    decoder: Decoder,
    room: Room,
    budget: int,
    *,
    adapter: Path | None = None,
) -> tuple[list[Tensor], Tensor, list[Evidence], bool]:
    """Return vectors, token ids of passages, the evidence without what was left out, and whether nothing was.

    Text alone is read where all of it fits.

    Raises:
        NoRoomError: not even one token fits.
        MismatchError: as for `read_vectors`.
    """
    limit = min(budget, room.for_text)
    share = round(limit * TEXT_SHARE)
    if share < 1 or sum(found.document.num_tokens for found in evidence) <= limit:
        return [], *read_passages(evidence, question, decoder, room, limit)
    ranked, tokenizer = rank_passages(evidence, question, share), decoder.require_tokenizer()
    text, read, rest = pack_ranked(evidence, ranked, tokenizer, share)
    around = [
        replace(found, hits=tuple(hit for hit in rest if hit.document_id == found.document.id)) for found in evidence
    ]
    beside = replace(room, max_virtual_tokens=limit - len(text))
    try:
        vectors, read_as_vectors = read_vectors(corpus, around, decoder, beside, adapter=adapter)
    except NoRoomError:
        # Not even one segment's vectors fit: passages take what is left.
        text, read, _ = pack_ranked(evidence, ranked, tokenizer, limit)
        return [], text, read, False
    return vectors, text, _merged(evidence, read, read_as_vectors), are_whole(vectors, evidence)


def _merged(evidence: Sequence[Evidence], read: Sequence[Evidence], beside: Sequence[Evidence]) -> list[Evidence]:
    """Return the documents of which something was read, cited by the passages that were read as text, if any."""
    parts = {part.document.id: part for part in beside} | {part.document.id: part for part in read if part.hits}
    return [parts[found.document.id] for found in evidence if found.document.id in parts]
