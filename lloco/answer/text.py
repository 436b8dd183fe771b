"""Which text of the documents found is read: all of it where it fits, else the best passages in the documents' order.

No more is tokenised than may be read, however long the documents are.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.answer.budget import Room
from lloco.answer.evidence import Evidence
from lloco.models.decoder import Decoder
from lloco.models.tokenize import token_ids, token_pieces
from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Hit, Retriever
from lloco.store.corpus import Corpus
from lloco.store.passage import PassageText

_PASSAGE_WORDS = (16, 100)
Place: TypeAlias = tuple[int, int]
"""Where a passage stands: the number of its document and its first character."""


def read_text(
    corpus: Corpus, evidence: Sequence[Evidence], decoder: Decoder, room: Room
) -> tuple[Tensor, list[Evidence], bool]:
    """Return token ids of text, no more than fit, the evidence without what was left out, and whether nothing was.

    Raises:
        NoRoomError: not even one token fits.
    """
    tokenizer = decoder.require_tokenizer()
    if room.for_text < 1:
        raise room.error("text of documents needs at least 1 position")
    separator = token_ids(tokenizer, "\n")
    if (whole := _all_of(evidence, tokenizer, separator, room.for_text)) is not None:
        return whole, list(evidence), True
    texts = _passage_texts(corpus, evidence)
    found = [(rank, index, hit.start) for index, found in enumerate(evidence) for rank, hit in enumerate(found.hits)]
    best_first = [(index, start) for _, index, start in sorted(found)]
    taken = pack_passages(
        [*best_first, *texts], lambda where: token_ids(tokenizer, texts[where]), separator, room.for_text
    )
    ids = join_pieces([taken[where] for where in sorted(taken)], separator)
    return ids, _read_parts(evidence, taken), False


def read_passages(
    evidence: Sequence[Evidence], question: str, decoder: Decoder, room: Room, budget: int
) -> tuple[Tensor, list[Evidence], bool]:
    """Return token ids of the best short passages, `budget` at most, as `read_text` does.

    Passages are so short that some fit the budget: first those with words of the question, then those of the hits.

    Raises:
        NoRoomError: not even one token fits.
    """
    tokenizer = decoder.require_tokenizer()
    if room.for_text < 1:
        raise room.error("passages of documents need at least 1 position")
    limit = min(budget, room.for_text)
    separator = token_ids(tokenizer, "\n")
    if (whole := _all_of(evidence, tokenizer, separator, limit)) is not None:
        return whole, list(evidence), True
    ids, read, _ = pack_ranked(evidence, rank_passages(evidence, question, limit), tokenizer, limit)
    return ids, read, False


def rank_passages(evidence: Sequence[Evidence], question: str, limit: int) -> list[Hit]:
    """Return the short passages of the documents, those with words of the question first, best first.

    They are so short that several fit `limit` tokens; those without a word of the question have score 0.
    """
    passages = [*chain(*(_short_passages(found, limit) for found in evidence))]
    hits = Retriever.build(passages).search(question, len(passages))
    found = {(hit.document_id, hit.start) for hit in hits}
    others = [
        Hit(each.document_id, each.start, each.end, each.text, 0.0)
        for each in passages
        if (each.document_id, each.start) not in found
    ]
    return [*hits, *others]


def pack_ranked(
    evidence: Sequence[Evidence], ranked: Sequence[Hit], tokenizer: PreTrainedTokenizerBase, limit: int
) -> tuple[Tensor, list[Evidence], list[Hit]]:
    """Return token ids of the first ranked passages, `limit` at most, in document order, what was read, and the rest.

    A passage without a word of the question is read where there is room, and cited nowhere.
    """
    separator = token_ids(tokenizer, "\n")
    numbers = {found.document.id: number for number, found in enumerate(evidence)}
    texts = {(numbers[hit.document_id], hit.start): hit.text.strip() for hit in ranked}
    taken = pack_passages(texts, lambda number: token_ids(tokenizer, texts[number]), separator, limit)
    ids = join_pieces([taken[number] for number in sorted(taken)], separator)
    scored = [
        replace(found, hits=tuple(hit for hit in ranked if hit.document_id == found.document.id and hit.score > 0))
        for found in evidence
    ]
    rest = [hit for hit in ranked if (numbers[hit.document_id], hit.start) not in taken]
    return ids, _read_parts(scored, taken), rest


def max_words_of(num_words: int) -> int:
    """Length of passages when so many words can be read: four should fit, so that a wrong hit does not take it all."""
    shortest, longest = _PASSAGE_WORDS
    return max(shortest, min(longest, num_words // 4))


def _short_passages(found: Evidence, limit: int) -> Iterator[PassageText]:
    """Split the hits, best first, then all else of the document unless passages alone are to be read."""
    document = found.document
    max_words = max_words_of(limit * len(document.text.split()) // max(1, document.num_tokens))
    spans = split_passages(document.text, max_words)
    starts = [span.start for span in spans]
    parts = [spans[max(0, bisect_right(starts, hit.start) - 1) : bisect_left(starts, hit.end)] for hit in found.hits]
    for span in dict.fromkeys(chain(*parts, [] if found.is_for_passages else spans)):
        yield PassageText(document.id, span.start, span.end, document.text[span.start : span.end])


def _all_of(
    evidence: Sequence[Evidence], tokenizer: PreTrainedTokenizerBase, separator: Tensor, limit: int
) -> Tensor | None:
    """Return all text's ids; None where that is not wanted, or more than the limit."""
    if any(found.is_for_passages for found in evidence):
        return None
    return _whole_text(tokenizer, [found.document.text for found in evidence], separator, limit)


def pack_passages(
    best_first: Iterable[Place], ids_of: Callable[[Place], Tensor], separator: Tensor, limit: int
) -> dict[Place, Tensor]:
    """Return token ids of the best passages, `limit` at most with separators; the last that is taken may be cut."""
    chosen: dict[Place, Tensor] = {}
    room = limit
    for where in dict.fromkeys(best_first):
        room -= len(separator) if chosen else 0
        if room < 1:
            break
        if len(taken := ids_of(where)[:room]):
            chosen[where] = taken
            room -= len(taken)
    return chosen


def join_pieces(pieces: Sequence[Tensor], separator: Tensor) -> Tensor:
    """Concatenate with the separator between pieces."""
    parts = [part for piece in pieces for part in (separator, piece)]
    return torch.cat(parts[1:]) if parts else torch.empty(0, dtype=torch.int64)


def _whole_text(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], separator: Tensor, limit: int
) -> Tensor | None:
    """Return all texts' ids; None where they are more than the limit, as soon as that is known."""
    pieces: list[Tensor] = []
    room = limit + len(separator)
    for text in texts:
        ids = _ids_up_to(tokenizer, text, room - len(separator))
        if ids is None:
            return None
        room -= len(ids) + len(separator)
        pieces.append(ids)
    return join_pieces(pieces, separator)


def _ids_up_to(tokenizer: PreTrainedTokenizerBase, text: str, limit: int) -> Tensor | None:
    if not tokenizer.is_fast:
        ids = token_ids(tokenizer, text)
        return ids if len(ids) <= limit else None
    found: list[int] = []
    for piece in token_pieces(tokenizer, text):
        found += piece.ids
        if len(found) > limit:
            return None
    return torch.tensor(found, dtype=torch.int64)


def _passage_texts(corpus: Corpus, evidence: Sequence[Evidence]) -> dict[Place, str]:
    """Return the passages that may be read: those found, and where documents are to be read all others after them."""
    texts = {(index, hit.start): hit.text for index, found in enumerate(evidence) for hit in found.hits}
    for number, document_evidence in enumerate(evidence):
        if not document_evidence.is_for_passages:
            texts |= {
                (number, each.start): each.text for each in corpus.document_passages(document_evidence.document.id)
            }
    return texts


def _read_parts(evidence: Sequence[Evidence], taken: Iterable[Place]) -> list[Evidence]:
    """Keep the documents and hits of which something is read."""
    read = set(taken)
    places = {index for index, _ in read}
    return [
        replace(found, hits=tuple(hit for hit in found.hits if (index, hit.start) in read))
        for index, found in enumerate(evidence)
        if index in places
    ]
