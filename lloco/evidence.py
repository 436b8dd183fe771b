"""The evidence for an answer: which documents a question is about, and which of their vectors fit the decoder.

Documents are found by BM25 over passages. A soft prompt is read whole where it fits; else the rows of the segments that
hold the passages found, best first; so is text, whose passages take their place. Knows nothing of wording, engines or
answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.corpus_models import decoder_digest_of
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.retriever import Hit, Retriever
from lloco.segment_rows import rows_of_segments, segments_of_span, token_starts
from lloco.soft_prompt import SoftPrompt
from lloco.store.corpus import Corpus
from lloco.store.rows import StoredDocument

Place: TypeAlias = tuple[int, int]
"""Where a passage stands: the number of its document and its first character."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A document to read and its passages, best first; no passage where no word of the question is in it."""

    document: StoredDocument
    hits: tuple[Hit, ...]


class NothingFoundError(LlocoError):
    """No document has a word of the question."""


class NoRoomError(LlocoError):
    """Question, answer and one segment of a document do not fit the decoder together."""


def find_evidence(
    corpus: Corpus,
    question: str,
    *,
    document_id: str | None = None,
    top_k: int = 1,
    retriever: Retriever | None = None,
    earlier: Sequence[str] = (),
) -> list[Evidence]:
    """Return the documents to read: the one that is named, the only one there is, or the best ones.

    Where no document has a word of the question, the questions asked earlier are searched for with it.

    Raises:
        NothingFoundError: there are several documents, and none has a word of the question.
        LlocoError: an empty question, or no such document.
    """
    if not question.strip():
        raise LlocoError("a question was wanted, it is empty: type one")
    if top_k < 1:
        raise LlocoError(f"at least 1 document to read was wanted, top_k is {top_k}: give a higher one")
    named = [document_id] if document_id is not None else corpus.document_ids()
    if len(named) > 1:
        retriever = retriever or Retriever.of_corpus(corpus)
        named = [hit.document_id for hit in retriever.search_documents(question, top_k)]
        if not named and earlier:
            question = "\n".join([*earlier, question])
            named = [hit.document_id for hit in retriever.search_documents(question, top_k)]
        if not named:
            raise NothingFoundError(
                f"a document about {question.strip()[:60]!r} was wanted, no document of corpus {corpus.name!r} has a "
                "word of it: ask in the documents' words, or name one with --document"
            )
    within = retriever or Retriever.build([])
    return [
        Evidence(corpus.document(one), tuple(within.search_within(one, corpus.document_passages(one), question)))
        for one in named
    ]


def read_vectors(
    corpus: Corpus, evidence: Sequence[Evidence], decoder: Decoder, room: int, *, adapter: Path | None = None
) -> list[Tensor]:
    """Return the vectors to read, at most `room`: each document's soft prompt whole, or those of its best segments.

    Raises:
        NoRoomError: not even one segment fits.
        MismatchError: the decoder is neither the one that the soft prompts were made for, nor the one that the adapter
            was trained on.
    """
    return _fitting_vectors(_checked_soft_prompts(corpus, evidence, decoder, adapter), evidence, decoder, room)


def read_text(corpus: Corpus, evidence: Sequence[Evidence], decoder: Decoder, room: int) -> tuple[Tensor, bool]:
    """Return token ids of the documents' text, at most `room`, and whether it is all of it; else its best passages.

    Raises:
        NoRoomError: not even one token fits.
    """
    tokenizer = decoder.require_tokenizer()
    if room < 1:
        raise NoRoomError(
            f"{decoder.name} reads {decoder.max_len} positions, question and answer leave {max(room, 0)} for the text "
            "of documents: shorten the question or --max-tokens"
        )
    separator = token_ids(tokenizer, "\n")
    whole = join_pieces([token_ids(tokenizer, one.document.text) for one in evidence], separator)
    if len(whole) <= room:
        return whole, True
    passages = {
        (place, passage.start): token_ids(tokenizer, passage.text)
        for place, one in enumerate(evidence)
        for passage in corpus.document_passages(one.document.id)
    }
    found = [(rank, place, hit.start) for place, one in enumerate(evidence) for rank, hit in enumerate(one.hits)]
    best_first = [(place, start) for _, place, start in sorted(found)]
    return pack_passages(passages, best_first, separator, room), False


def pack_passages(
    passages: Mapping[Place, Tensor], best_first: Iterable[Place], separator: Tensor, limit: int
) -> Tensor:
    """Token ids of the best passages, `limit` at most, in order of place; the last that is taken may be cut.

    Passages that are not among the best come after all others, so that the room is always used.
    """
    chosen: dict[Place, Tensor] = {}
    room = limit
    for place in dict.fromkeys([*best_first, *passages]):
        room -= len(separator) if chosen else 0
        if room < 1:
            break
        if len(taken := passages[place][:room]):
            chosen[place] = taken
            room -= len(taken)
    return join_pieces([chosen[place] for place in sorted(chosen)], separator)


def join_pieces(pieces: Sequence[Tensor], separator: Tensor) -> Tensor:
    """Concatenate with the separator between pieces."""
    parts = [part for piece in pieces for part in (separator, piece)]
    return torch.cat(parts[1:]) if parts else torch.empty(0, dtype=torch.int64)


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> Tensor:
    """Return the ids of the text's tokens, without any that the tokenizer would add."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return torch.tensor(ids, dtype=torch.int64)


def _checked_soft_prompts(
    corpus: Corpus, evidence: Sequence[Evidence], decoder: Decoder, adapter: Path | None
) -> list[SoftPrompt]:
    """Return each document's soft prompt, made for this decoder or read by an adapter that was trained on it."""
    soft_prompts = [corpus.soft_prompt(one.document.id) for one in evidence]
    is_learned = decoder_digest_of(adapter) == decoder.digest
    for soft_prompt in soft_prompts:
        if soft_prompt.hidden_size != decoder.hidden_size or not is_learned:
            soft_prompt.check_readable_by(decoder.name, decoder.digest, decoder.hidden_size)
    return soft_prompts


def _fitting_vectors(
    soft_prompts: Sequence[SoftPrompt], evidence: Sequence[Evidence], decoder: Decoder, room: int
) -> list[Tensor]:
    """Return each document's vectors: all of them where they fit together, else those of the passages found."""
    for soft_prompt in soft_prompts:
        made = soft_prompt.provenance
        if room < made.summary_length:
            raise NoRoomError(
                f"a segment of {made.document_id!r} takes {made.summary_length} virtual tokens, {max(room, 0)} may be "
                f"read ({decoder.name} has {decoder.max_len} positions for these, question and answer): shorten the "
                "question or --max-tokens, or raise --max-virtual-tokens"
            )
    if sum(soft_prompt.num_virtual_tokens for soft_prompt in soft_prompts) <= room:
        return [soft_prompt.embeds for soft_prompt in soft_prompts]
    chosen: dict[int, set[int]] = {}
    for place, segment in _segments_in_order(evidence, soft_prompts, decoder):
        size = soft_prompts[place].provenance.summary_length
        if segment in chosen.get(place, ()):
            continue
        if size > room:
            break
        room -= size
        chosen.setdefault(place, set()).add(segment)
    return [rows_of_segments(soft_prompts[place], chosen[place]) for place in sorted(chosen)]


def _segments_in_order(
    evidence: Sequence[Evidence], soft_prompts: Sequence[SoftPrompt], decoder: Decoder
) -> list[tuple[int, int]]:
    """Return (document, segment) pairs, best passages of each document first; the beginnings where there is none."""
    tokenizer = decoder.require_tokenizer()
    num_segments = [-(-one.num_virtual_tokens // one.provenance.summary_length) for one in soft_prompts]
    ranked: list[tuple[int, int, int]] = []
    for place, one in enumerate(evidence):
        starts = token_starts(tokenizer, one.document.text)
        for rank, hit in enumerate(one.hits):
            within = segments_of_span(starts, hit.start, hit.end, one.document.segment_len)
            ranked += [(rank, place, segment) for segment in within if segment < num_segments[place]]
    if not ranked:
        ranked = [(segment, place, segment) for place, n in enumerate(num_segments) for segment in range(n)]
    return [(place, segment) for _, place, segment in sorted(ranked)]
