"""Which text of the documents found is read: all of it where it fits, else the best passages in the documents' order.

No more is tokenised than may be read, however long the documents are.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.evidence import Evidence
from lloco.models.control_tokens import text_ids
from lloco.models.decoder import Decoder
from lloco.models.token_pieces import token_pieces
from lloco.room import Room
from lloco.store.corpus import Corpus

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
        raise room.error("text of documents was to be read")
    separator = token_ids(tokenizer, "\n")
    if not any(one.is_for_passages for one in evidence):
        whole = _whole_text(tokenizer, [one.document.text for one in evidence], separator, room.for_text)
        if whole is not None:
            return whole, list(evidence), True
    texts = _passage_texts(corpus, evidence)
    found = [(rank, place, hit.start) for place, one in enumerate(evidence) for rank, hit in enumerate(one.hits)]
    best_first = [(place, start) for _, place, start in sorted(found)]
    taken = pack_passages(
        [*best_first, *texts], lambda place: token_ids(tokenizer, texts[place]), separator, room.for_text
    )
    ids = join_pieces([taken[place] for place in sorted(taken)], separator)
    return ids, _read_parts(evidence, taken), False


def pack_passages(
    best_first: Iterable[Place], ids_of: Callable[[Place], Tensor], separator: Tensor, limit: int
) -> dict[Place, Tensor]:
    """Return token ids of the best passages, `limit` at most with separators; the last that is taken may be cut."""
    chosen: dict[Place, Tensor] = {}
    room = limit
    for place in dict.fromkeys(best_first):
        room -= len(separator) if chosen else 0
        if room < 1:
            break
        if len(taken := ids_of(place)[:room]):
            chosen[place] = taken
            room -= len(taken)
    return chosen


def join_pieces(pieces: Sequence[Tensor], separator: Tensor) -> Tensor:
    """Concatenate with the separator between pieces."""
    parts = [part for piece in pieces for part in (separator, piece)]
    return torch.cat(parts[1:]) if parts else torch.empty(0, dtype=torch.int64)


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> Tensor:
    """Return the ids of the text's tokens, none of them a control token."""
    return torch.tensor(text_ids(tokenizer, text), dtype=torch.int64)


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
    texts = {(place, hit.start): hit.text for place, one in enumerate(evidence) for hit in one.hits}
    for place, one in enumerate(evidence):
        if not one.is_for_passages:
            texts |= {(place, each.start): each.text for each in corpus.document_passages(one.document.id)}
    return texts


def _read_parts(evidence: Sequence[Evidence], taken: Iterable[Place]) -> list[Evidence]:
    """Keep the documents and hits of which something is read."""
    read = set(taken)
    places = {place for place, _ in read}
    return [
        replace(one, hits=tuple(hit for hit in one.hits if (place, hit.start) in read))
        for place, one in enumerate(evidence)
        if place in places
    ]
