"""Which vectors of the documents found are read: soft prompts whole where they fit, else the rows of the best segments.

A passage has no soft prompt apart from its document's: the rows of the segments that hold it are its own. Characters
lie in tokens, tokens in segments of `segment_len`, and every segment became `summary_length` rows of the soft prompt.
Long documents are compressed in windows of whole segments, so this holds across windows too.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.answer.budget import Room
from lloco.answer.corpus_decoder import decoder_digest_of
from lloco.answer.evidence import Evidence
from lloco.models.control_tokens import text_ids
from lloco.models.decoder import Decoder
from lloco.models.tokenize import token_pieces
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.store.corpus import Corpus
from lloco.store.passage import Passage

_Segments: TypeAlias = list[list[range]]
"""For each document, for each of its hits, the numbers of the segments that hold it."""


def read_vectors(
    corpus: Corpus, evidence: Sequence[Evidence], decoder: Decoder, room: Room, *, adapter: Path | None = None
) -> tuple[list[Tensor], list[Evidence]]:
    """Return each document's vectors, no more than there is room for, and the evidence without what was left out.

    Raises:
        NoRoomError: not even one segment fits.
        MismatchError: the decoder is neither the one that the soft prompts were made for, nor the one that the adapter
            was trained on.
    """
    soft_prompts = _checked_soft_prompts(corpus, evidence, decoder, adapter)
    for soft_prompt in soft_prompts:
        if room.for_vectors < (num_rows := _num_rows(soft_prompt, 0)):
            id = soft_prompt.provenance.document_id
            raise room.error(f"the first segment of {id!r} takes {num_rows:,} virtual tokens")
    is_wanted_whole = not any(found.is_for_passages for found in evidence)
    if is_wanted_whole and sum(soft_prompt.num_virtual_tokens for soft_prompt in soft_prompts) <= room.for_vectors:
        read = [_read_stored(*found, decoder) for found in zip(evidence, soft_prompts, strict=True)]
        return [soft_prompt.embeds for soft_prompt in soft_prompts], read
    segments = _segments_of_hits(evidence, soft_prompts, decoder)
    chosen = _chosen_segments(segments, soft_prompts, room.for_vectors)
    vectors = [rows_of_segments(soft_prompts[index], chosen[index]) for index in sorted(chosen)]
    return vectors, [_read_part(evidence[index], segments[index], chosen[index]) for index in sorted(chosen)]


def are_whole(vectors: Sequence[Tensor], evidence: Sequence[Evidence]) -> bool:
    """Return whether these are all vectors of the documents, and stand for all of their tokens."""
    stored = [found.document for found in evidence]
    return sum(map(len, vectors)) == sum(document.num_virtual_tokens for document in stored) and all(
        document.num_compressed_tokens == document.num_tokens for document in stored
    )


def _checked_soft_prompts(
    corpus: Corpus, evidence: Sequence[Evidence], decoder: Decoder, adapter: Path | None
) -> list[SoftPrompt]:
    """Return each document's soft prompt, made for this decoder or read by an adapter that was trained on it."""
    soft_prompts = [corpus.soft_prompt(found.document.id, decoder.dtype) for found in evidence]
    is_learned = decoder_digest_of(adapter) == decoder.digest
    for soft_prompt in soft_prompts:
        if soft_prompt.hidden_size != decoder.hidden_size or not is_learned:
            soft_prompt.check_readable_by(decoder.name, decoder.digest, decoder.hidden_size)
    return soft_prompts


def _segments_of_hits(evidence: Sequence[Evidence], soft_prompts: Sequence[SoftPrompt], decoder: Decoder) -> _Segments:
    """Find the segments of every hit; those that a truncated soft prompt does not reach are left out."""
    tokenizer = decoder.require_tokenizer()
    segments = []
    for found, soft_prompt in zip(evidence, soft_prompts, strict=True):
        starts = token_starts(tokenizer, found.document.text) if found.hits else []
        end = _num_segments(soft_prompt)
        within = (segments_of_span(starts, hit.start, hit.end, found.document.segment_len) for hit in found.hits)
        segments.append([range(part.start, min(part.stop, end)) for part in within])
    return segments


def best_rows(soft_prompt: SoftPrompt, starts: list[int], best_first: Iterable[Passage], room: int) -> Tensor:
    """Return the rows (num_rows, hidden_size) of the segments that hold the first of these passages, `room` at most.

    Args:
        soft_prompt: of the document.
        starts: the first character of each of its tokens.
        best_first: passages of it.
        room: rows that may be read.
    """
    segment_len, end = soft_prompt.provenance.segment_len, _num_segments(soft_prompt)
    within = [segments_of_span(starts, span.start, span.end, segment_len) for span in best_first]
    segments = [range(part.start, min(part.stop, end)) for part in within]
    chosen = _chosen_segments([segments], [soft_prompt], room)
    return rows_of_segments(soft_prompt, chosen.get(0, ()))


def _chosen_segments(segments: _Segments, soft_prompts: Sequence[SoftPrompt], room: int) -> dict[int, set[int]]:
    """Return which segments of which documents fit: best passages of each first; where none was found, beginnings."""
    ranked = [
        (rank, number, segment)
        for number, hits in enumerate(segments)
        for rank, within in enumerate(hits)
        for segment in within
    ] or [
        (segment, index, segment)
        for index, soft_prompt in enumerate(soft_prompts)
        for segment in range(_num_segments(soft_prompt))
    ]
    chosen: dict[int, set[int]] = {}
    for _, index, segment in sorted(ranked):
        size = _num_rows(soft_prompts[index], segment)
        if segment in chosen.get(index, ()):
            continue
        if size > room:
            break
        room -= size
        chosen.setdefault(index, set()).add(segment)
    return chosen


def _num_rows(soft_prompt: SoftPrompt, segment: int) -> int:
    """Return the virtual tokens of a segment; the last one may have fewer than the others."""
    length = soft_prompt.provenance.summary_length
    return min(length, soft_prompt.num_virtual_tokens - segment * length)


def _num_segments(soft_prompt: SoftPrompt) -> int:
    return -(-soft_prompt.num_virtual_tokens // soft_prompt.provenance.summary_length)


def _read_stored(evidence: Evidence, soft_prompt: SoftPrompt, decoder: Decoder) -> Evidence:
    """Leave out the hits that a truncated soft prompt, read whole, does not reach."""
    if evidence.document.num_compressed_tokens == evidence.document.num_tokens:
        return evidence
    [segments] = _segments_of_hits([evidence], [soft_prompt], decoder)
    return _read_part(evidence, segments, set(range(_num_segments(soft_prompt))))


def _read_part(evidence: Evidence, segments: Sequence[range], chosen: set[int]) -> Evidence:
    """Keep the hits of which something is read."""
    hits = [hit for hit, within in zip(evidence.hits, segments, strict=True) if chosen.intersection(within)]
    return replace(evidence, hits=tuple(hits))


def token_starts(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the first character of every token of the text, in order."""
    if tokenizer.is_fast:
        return [start for piece in token_pieces(tokenizer, text) for start in piece.starts]
    # Without offsets, the text that the first n tokens spell is as long as the place of the next one, or nearly so.
    starts, position = [], 0
    for token_id in text_ids(tokenizer, text):
        starts.append(min(position, max(len(text) - 1, 0)))
        position += len(str(tokenizer.decode([token_id], clean_up_tokenization_spaces=False)))
    return starts


def segments_of_span(starts: list[int], start: int, end: int, segment_len: int) -> range:
    """Return the numbers of the segments that the characters `start` to `end` (exclusive) lie in."""
    first = max(bisect_right(starts, start) - 1, 0)
    last = max(bisect_left(starts, end) - 1, first)
    return range(first // segment_len, last // segment_len + 1)


def rows_of_segments(soft_prompt: SoftPrompt, segments: Iterable[int]) -> Tensor:
    """Return the rows (num_virtual_tokens, hidden_size) of these segments, in the document's order, each once.

    Segments that a truncated soft prompt does not reach have no rows.
    """
    size = soft_prompt.provenance.summary_length
    total = soft_prompt.num_virtual_tokens
    rows = [row for number in sorted(set(segments)) for row in range(number * size, min((number + 1) * size, total))]
    return soft_prompt.embeds[torch.tensor(rows, dtype=torch.int64)]
