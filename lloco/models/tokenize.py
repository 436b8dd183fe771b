"""A long text as token ids, piece by piece, in memory that does not grow with the text; the ids are the whole text's.

Pieces overlap and are joined where both have the same tokens at the same places: where a word starts in both, since a
pre-tokenizer that has come to the same place goes on in the same way, or inside a word of a byte-pair encoding, where
no merge crosses a boundary that both sides have kept. Where they do not meet so, the piece is made longer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers.models import BPE
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.documents.document import Document
from lloco.errors import DocumentError
from lloco.models.control_tokens import encode_text, text_ids
from lloco.models.decoder import Decoder

Progress = Callable[[int], None]
"""Called with the number of tokens or characters just done with."""
PIECE_LEN = 1 << 17
"""Characters that are tokenised at once; a shorter text is one piece."""
_OVERLAP_SHARE = 16
_NUM_EQUAL = 32
"""Tokens in a row that both pieces must have; they are joined between them, far from either edge."""


@dataclass(frozen=True, slots=True)
class TokenPiece:
    """The next tokens of a text."""

    ids: list[int]
    starts: list[int]
    """The first character of every token."""
    num_characters: int
    """Characters of the text that are done with."""


def token_pieces(tokenizer: PreTrainedTokenizerBase, text: str, piece_len: int = PIECE_LEN) -> Iterator[TokenPiece]:
    """Yield the tokens of the text, none of them a control token, as tokenising it whole gives them.

    The tokenizer must be a fast one: others do not say where a token lies.
    """
    backend: Any = tokenizer
    is_byte_pair = isinstance(backend.backend_tokenizer.model, BPE)
    piece, first = _Encoded.of(tokenizer, text, 0, piece_len), 0
    while piece.end < len(text):
        following = _Encoded.of(tokenizer, text, piece.next_begin(), piece_len)
        joint = _joint(piece, following, is_byte_pair)
        if joint is None:
            piece = _Encoded.of(tokenizer, text, piece.begin, 2 * (piece.end - piece.begin))
            continue
        yield piece.between(first, joint[0])
        piece, first = following, joint[1]
    yield piece.between(first, len(piece.ids))


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Tokens of the characters from `begin` to `end`; their spans count from `begin`."""

    begin: int
    end: int
    ids: list[int]
    spans: list[tuple[int, int]]
    is_word_start: list[bool]
    """Whether the pre-tokenizer, where there is one, has cut in front of the token."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, text: str, begin: int, length: int) -> "_Encoded":
        part = text[begin : begin + length]
        encoded = encode_text(tokenizer, part)
        words = encoded.word_ids
        is_word_start = [word != before for word, before in zip(words, [None, *words], strict=False)]
        return cls(begin, begin + len(part), encoded.ids, encoded.spans, is_word_start)

    def next_begin(self) -> int:
        """Where the piece after this one is to begin: where a word of this one does, or a token, before its end."""
        earliest = (self.end - self.begin) * (_OVERLAP_SHARE - 1) // _OVERLAP_SHARE
        late = [index for index, (start, _) in enumerate(self.spans) if start >= earliest]
        chosen = next((index for index in late if self.is_word_start[index]), late[0] if late else None)
        return self.begin + (earliest if chosen is None else self.spans[chosen][0])

    def token(self, index: int) -> tuple[int, int, int, bool]:
        """Return all that must be the same in two pieces."""
        start, end = self.spans[index]
        return self.begin + start, self.begin + end, self.ids[index], self.is_word_start[index]

    def between(self, first: int, last: int) -> TokenPiece:
        """Return the tokens from `first` to `last`, exclusive."""
        starts = [self.begin + start for start, _ in self.spans[first:last]]
        done = self.end if last == len(self.ids) else self.begin + self.spans[last][0]
        return TokenPiece(self.ids[first:last], starts, done)


def _joint(piece: _Encoded, following: _Encoded, is_byte_pair: bool) -> tuple[int, int] | None:
    """Return a place in either piece from which on the following one is right; at a word's start if there is one."""
    begin = following.begin - piece.begin
    places = {piece.token(index): index for index, (start, _) in enumerate(piece.spans) if start >= begin}
    found: tuple[int, int] | None = None
    num_equal, before = 0, -1
    for here in range(len(following.ids)):
        if following.begin + following.spans[here][0] >= piece.end:
            break
        there = places.get(following.token(here), -1)
        num_equal = 0 if there < 0 else num_equal + 1 if there == before + 1 else 1
        before = there
        middle = here - _NUM_EQUAL // 2
        if num_equal >= _NUM_EQUAL:
            found = found or (there - _NUM_EQUAL // 2, middle)
            if following.is_word_start[middle]:
                return there - _NUM_EQUAL // 2, middle
    return found if is_byte_pair else None


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> Tensor:
    """Return the ids of the text's tokens, none of them a control token."""
    return torch.tensor(text_ids(tokenizer, text), dtype=torch.int64)


def tokenize(
    decoder: Decoder, document: Document, max_tokens: int | None = None, on_progress: Progress | None = None
) -> Tensor:
    """Return the token ids of the whole text, no control tokens; of a longer one than `max_tokens` more than that.

    `on_progress` is called with the number of characters just done with, a fast tokenizer's piece by piece.

    Raises:
        DocumentError: the text is empty once tokenised.
    """
    tokenizer, parts, num_tokens, num_characters = decoder.require_tokenizer(), [], 0, 0
    if tokenizer.is_fast:
        for piece in token_pieces(tokenizer, document.text):
            parts.append(torch.tensor(piece.ids, dtype=torch.int32))
            num_tokens += len(piece.ids)
            is_enough = max_tokens is not None and num_tokens > max_tokens
            done = len(document.text) if is_enough else piece.num_characters
            if on_progress is not None:
                on_progress(done - num_characters)
            if is_enough:
                break
            num_characters = done
    else:
        parts.append(torch.tensor(text_ids(tokenizer, document.text), dtype=torch.int32))
    if not any(map(len, parts)):
        raise DocumentError(f"document {document.id} has no text: leave it out")
    return torch.cat(parts)
